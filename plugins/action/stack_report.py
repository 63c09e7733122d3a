# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action front of stack_report."""

from __future__ import annotations

import os
from typing import Any

from ansible import constants

from ansible_collections.kubernaut.integration.plugins.module_utils._report import (
    JSON_FILE,
    PHASE,
    VARIABLES_FILE,
    json_text,
    variables,
)
from ansible_collections.kubernaut.integration.plugins.module_utils._state import make_private, write_private
from ansible_collections.kubernaut.integration.plugins.plugin_utils._action import TellingAction
from ansible_collections.kubernaut.integration.plugins.plugin_utils._commands import (
    controller_directory,
    playbook_command,
)
from ansible_collections.kubernaut.integration.plugins.plugin_utils._kept import absolute, given


class ActionModule(TellingAction):
    """Run the phase here or send the module, show what it says, and keep on the controller what the next run needs."""

    phase = PHASE

    def localize(self, options: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Say with which commands this controller reaches this very stack again."""
        remote = self._connection.transport != "local"
        self._directory = controller_directory(options["host"], options["name"]) if remote else options["state_dir"]
        named = {**given(options["settings"]), **options["variables"]}
        options = {**options, "variables": absolute(named, remote)}
        self._variables = variables(options)
        arguments = ["-e", "@" + os.path.join(self._directory, VARIABLES_FILE)]
        playbooks = {"verify": "verify", "teardown": "teardown", "finish": "datastorage"}
        commands = {
            "%s_command" % name: playbook_command(playbook, arguments, task_vars, remote)
            for name, playbook in playbooks.items()
        }
        return {**options, **commands}

    def tells(self) -> bool:
        """Leave it to the callback, where that is enabled: there, the summary is the end of the run."""
        return super().tells() and "kubernaut.integration.summary" not in constants.config.get_config_value(
            "CALLBACKS_ENABLED"
        )

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the phase, then keep its facts and the stack's variables."""
        result = super().run(tmp, task_vars)
        check = self._task.check_mode
        if result.get("failed") or (check and not os.path.isdir(self._directory)):
            return result
        make_private(self._directory)
        texts = {VARIABLES_FILE: json_text(self._variables), JSON_FILE: json_text(result["stack"])}
        written = [
            write_private(os.path.join(self._directory, name), text, check=check) for name, text in texts.items()
        ]
        result["changed"] = result["changed"] or any(written)
        return result
