# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action front of ``stack_stable``."""

from __future__ import annotations

from ansible_collections.kubernaut.integration.plugins.module_utils._stability import PHASE
from ansible_collections.kubernaut.integration.plugins.plugin_utils._action import TellingAction


class ActionModule(TellingAction):
    """Run the phase in-process when the target is this machine, else as a module."""

    phase = PHASE
