# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action front of stack."""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict
from typing import Any

from ansible_collections.kubernaut.integration.plugins.module_utils._lock import Owner, ended_here, this_owner
from ansible_collections.kubernaut.integration.plugins.module_utils._stack import PHASE
from ansible_collections.kubernaut.integration.plugins.plugin_utils._action import TellingAction
from ansible_collections.kubernaut.integration.plugins.plugin_utils._commands import controller_directory


class ActionModule(TellingAction):
    """Run the phase here or send the module, and say whose run this is."""

    phase = PHASE
    _dead: Owner | None = None

    def localize(self, options: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Name the run that holds the lock: a task's worker process is a child of ansible-playbook."""
        dead = asdict(self._dead) if self._dead else None
        return {**options, "owner": asdict(this_owner(os.getppid())), "dead_owner": dead}

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the phase; where a run of this controller left its lock on the target, only here can that be seen."""
        result = super().run(tmp, task_vars)
        holder = result.get("holder")
        if holder and ended_here(Owner(**holder)):
            self._dead = Owner(**holder)
            result = super().run(tmp, task_vars)
        removed = self._task.args.get("state") == "absent" and not result.get("failed") and not self._task.check_mode
        if removed and self._connection.transport != "local":
            host = (task_vars or {})["inventory_hostname"]
            shutil.rmtree(controller_directory(host, self._task.args["name"]), ignore_errors=True)
        return result
