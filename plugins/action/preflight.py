# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action front of preflight."""

from __future__ import annotations

import os
from typing import Any

from ansible_collections.kubernaut.integration.plugins.module_utils._contracts import AUTO, of_migrations
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import PhaseError
from ansible_collections.kubernaut.integration.plugins.module_utils._plan import PlanError, choose
from ansible_collections.kubernaut.integration.plugins.module_utils._preflight import PHASE, check_migrations
from ansible_collections.kubernaut.integration.plugins.plugin_utils._action import PhaseAction
from ansible_collections.kubernaut.integration.plugins.plugin_utils._told import told


class ActionModule(PhaseAction):
    """Run the phase here or send the module, after a look at what lies on the controller."""

    phase = PHASE

    def localize(self, options: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Check the directory of migrations: it lies on the controller, wherever the stack runs."""
        if options["migrations"]:
            check_migrations(os.path.abspath(options["migrations"]))
        return {**options, "variables": self._named(options["variables"])}

    def _named(self, variables: dict[str, Any]) -> dict[str, Any]:
        """Let files of the controller tell the contract, and name it to the phase, which may run elsewhere."""
        contract, path = str(variables.get("stack_contract", "")), str(variables.get("stack_contract_file") or "")
        if not path and contract != AUTO:
            return variables
        try:
            here = told(variables)
            if not path and of_migrations(here.migrations) is None and variables.get("datastorage_external"):
                return variables  # the phase asks the service, which the controller may not reach
            chosen = choose(contract, path, here)
        except PlanError as error:
            raise PhaseError(str(error)) from None
        return {**variables, "stack_contract": chosen.name, "stack_contract_file": ""}
