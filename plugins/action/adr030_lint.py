# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action front of ``adr030_lint``."""

from __future__ import annotations

import os
from typing import Any

from ansible_collections.kubernaut.integration.plugins.module_utils._adr030_checkout import PHASE
from ansible_collections.kubernaut.integration.plugins.plugin_utils._action import TellingAction


class ActionModule(TellingAction):
    """Run the phase here or send the module, and show what it found."""

    phase = PHASE

    def localize(self, options: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Let relative paths on this machine start where ansible-playbook was called; a module starts elsewhere."""
        local = self._connection.transport == "local"
        return {**options, "root": options["root"] or (os.getcwd() if local else None)}
