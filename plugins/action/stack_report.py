# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action front of stack_report."""

from __future__ import annotations

from ansible_collections.kubernaut.integration.plugins.module_utils._report import PHASE
from ansible_collections.kubernaut.integration.plugins.plugin_utils._action import TellingAction


class ActionModule(TellingAction):
    """Run the phase here or send the module, and show what it says to a person."""

    phase = PHASE
