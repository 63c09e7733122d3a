# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action front of the images phase: brings the collection's build contexts along."""

from __future__ import annotations

import os
from typing import Any, Dict

from ansible.errors import AnsibleActionFail

from ansible_collections.kubernaut.integration.plugins.module_utils._images import PHASE
from ansible_collections.kubernaut.integration.plugins.plugin_utils._action import PhaseAction

CONTEXTS = os.path.join(os.path.dirname(__file__), "..", "..", "roles", "images", "files")


class ActionModule(PhaseAction):
    """Front of the phase ``images``."""

    phase = PHASE

    def localize(self, options: Dict[str, Any], task_vars: Dict[str, Any]) -> Dict[str, Any]:
        """Read the build contexts here, since the target may have no copy of the collection; given ones are kept."""
        if options.get("contexts") is None:
            options["contexts"] = read_contexts(CONTEXTS)
        return options


def read_contexts(root: str) -> Dict[str, Dict[str, Dict[str, str]]]:
    """Read every build context below ``root``: name -> relative path -> ``text`` and ``mode``.

    :raises AnsibleActionFail: a file cannot be read as UTF-8 text.
    """
    contexts: Dict[str, Dict[str, Dict[str, str]]] = {}
    for name in sorted(os.listdir(root)):
        files = contexts[name] = {}
        for directory, folders, entries in os.walk(os.path.join(root, name)):
            folders[:] = sorted(folder for folder in folders if folder != "__pycache__")
            for entry in sorted(entries):
                path = os.path.join(directory, entry)
                try:
                    with open(path, encoding="utf-8", newline="") as file:
                        text = file.read()
                except (OSError, UnicodeDecodeError) as error:
                    raise AnsibleActionFail("The build context file %s cannot be read: %s" % (path, error)) from error
                mode = "0755" if os.stat(path).st_mode & 0o100 else "0644"
                files[os.path.relpath(path, os.path.join(root, name))] = {"text": text, "mode": mode}
    return contexts
