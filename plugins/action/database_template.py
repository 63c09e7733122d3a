# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action front of kubernaut.integration.database_template."""

from __future__ import annotations

from typing import Any, Dict

from ansible_collections.kubernaut.integration.plugins.action import sql_migrations
from ansible_collections.kubernaut.integration.plugins.module_utils import _template
from ansible_collections.kubernaut.integration.plugins.plugin_utils._action import TellingAction


class ActionModule(sql_migrations.ActionModule, TellingAction):
    """Make copies in-process where that is possible; a template may have to be migrated, from files that lie here."""

    phase = _template.PHASE

    def localize(self, options: Dict[str, Any], task_vars: Dict[str, Any]) -> Dict[str, Any]:
        """Fill ``files`` where they can be needed."""
        return super().localize(options, task_vars) if options["state"] == "kept" else options
