# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person types next, and where the controller keeps it. PRIVATE to the collection."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from typing import Any

from ansible_collections.kubernaut.integration.plugins.module_utils._state import state_home


def controller_directory(host: str, stack: str) -> str:
    """Return where the controller keeps what it knows of a stack on another host."""
    return os.path.join(state_home(), "_hosts", host, stack)


def playbook_command(name: str, arguments: Sequence[str], task_vars: dict[str, Any], remote: bool) -> str:
    """Return the command that runs a playbook of the collection against this very host.

    :param name: playbook without the collection.
    :param arguments: further arguments, not yet quoted.
    :param task_vars: for the inventory that names a remote host.
    """
    program = "ansible-playbook"
    beside = os.path.join(os.path.dirname(sys.executable), program)
    if os.path.exists(beside) and sys.prefix != sys.base_prefix and "VIRTUAL_ENV" not in os.environ:
        # An environment that the reader's shell has not activated.
        program = min(os.path.relpath(beside), beside, key=lambda path: (path.startswith(".."), len(path)))
    inventory = [part for source in task_vars.get("ansible_inventory_sources") or () for part in ("-i", str(source))]
    words = [program, *(inventory if remote else ()), "kubernaut.integration." + name, *arguments]
    return " ".join(shlex.quote(word) for word in words)
