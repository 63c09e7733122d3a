# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action front of stack."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any

from ansible_collections.kubernaut.integration.plugins.module_utils._lock import this_owner
from ansible_collections.kubernaut.integration.plugins.module_utils._stack import PHASE
from ansible_collections.kubernaut.integration.plugins.plugin_utils._action import PhaseAction


class ActionModule(PhaseAction):
    """Run the phase here or send the module, and say whose run this is."""

    phase = PHASE

    def localize(self, options: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Name the run that holds the lock: a task's worker process is a child of ansible-playbook."""
        return {**options, "owner": asdict(this_owner(os.getppid()))}
