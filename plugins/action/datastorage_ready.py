# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action front of datastorage_ready."""

from __future__ import annotations

from ansible_collections.kubernaut.integration.plugins.module_utils._ready import DATASTORAGE_PHASE
from ansible_collections.kubernaut.integration.plugins.plugin_utils._action import PhaseAction


class ActionModule(PhaseAction):
    """Run the phase here or send the module."""

    phase = DATASTORAGE_PHASE
