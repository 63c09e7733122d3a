# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action front of diagnose."""

from __future__ import annotations

from typing import Any

from ansible_collections.kubernaut.integration.plugins.module_utils._diagnose import PHASE
from ansible_collections.kubernaut.integration.plugins.module_utils._plan import DEFAULTS
from ansible_collections.kubernaut.integration.plugins.plugin_utils._action import TellingAction
from ansible_collections.kubernaut.integration.plugins.plugin_utils._commands import playbook_command


class ActionModule(TellingAction):
    """Run the phase here or send the module, and show what it says to a person."""

    phase = PHASE

    def localize(self, options: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Say where the evidence will lie, and with which command this controller takes this very stack down."""
        remote = self._connection.transport != "local"
        given = {**options["variables"], **({"stack_hosts": task_vars["inventory_hostname"]} if remote else {})}
        told = {name: value for name, value in given.items() if value and value != DEFAULTS.get(name)}
        arguments = [word for name, value in told.items() for word in ("-e", "%s=%s" % (name, value))]
        command = playbook_command("teardown", arguments, task_vars, remote)
        return {**options, "host": task_vars["inventory_hostname"] if remote else "", "teardown_command": command}
