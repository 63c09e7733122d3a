# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action front of kubernaut.integration.schema_info."""

from __future__ import annotations

from ansible_collections.kubernaut.integration.plugins.module_utils import _schema
from ansible_collections.kubernaut.integration.plugins.plugin_utils._action import PhaseAction


class ActionModule(PhaseAction):
    """Read the schema in-process where that is possible."""

    phase = _schema.PHASE
