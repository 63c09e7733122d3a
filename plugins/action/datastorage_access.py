# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action front of ``datastorage_access``."""

from __future__ import annotations

from ansible_collections.kubernaut.integration.plugins.module_utils._access import PHASE
from ansible_collections.kubernaut.integration.plugins.plugin_utils._action import PhaseAction


class ActionModule(PhaseAction):
    """Run the phase in-process when the target is this machine, else as a module."""

    phase = PHASE
