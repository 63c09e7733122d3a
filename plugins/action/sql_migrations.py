# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action front of kubernaut.integration.sql_migrations: the files lie on the controller."""

from __future__ import annotations

import os
from typing import Any, Dict, Optional

from ansible.errors import AnsibleActionFail

from ansible_collections.kubernaut.integration.plugins.module_utils import _migrations, _sql_files
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import PhaseError, Result
from ansible_collections.kubernaut.integration.plugins.plugin_utils._action import PhaseAction


class ActionModule(PhaseAction):
    """Read the migrations here, unless O(remote_src); cut them here too when they are to travel."""

    phase = _migrations.PHASE

    def localize(self, options: Dict[str, Any], task_vars: Dict[str, Any]) -> Dict[str, Any]:
        """Fill ``files``.

        :raises AnsibleActionFail: the directory or a file in it is refused.
        """
        written = str(self._task.args["directory"])
        if not written or (options["remote_src"] and not written.startswith(("/", "~"))):
            raise AnsibleActionFail(
                "migrations_dir is %r: name a directory, with remote_src an absolute one." % written
            )
        if options["remote_src"]:
            # As it was written: `~` is the target user's home.
            return {**options, "directory": written}
        try:
            files = _sql_files.read_directory(os.path.abspath(options["directory"]))
            if not self._in_process(task_vars):
                # In-process, only what turns out to be pending is cut; a target may have no parser.
                files = _sql_files.split_files(files)
        except PhaseError as error:
            raise AnsibleActionFail(error.message) from None  # the cause would be printed behind its own sentence
        return {**options, "files": files}

    def run(self, tmp: Optional[str] = None, task_vars: Optional[Dict[str, Any]] = None) -> Result:
        """Run the phase, and leave the files' texts out of what is logged and registered."""
        result = super().run(tmp, task_vars)
        result.get("invocation", {}).get("module_args", {}).pop("files", None)
        return result
