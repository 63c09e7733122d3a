# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action front of kubernaut.integration.queues_empty."""

from __future__ import annotations

from ansible_collections.kubernaut.integration.plugins.module_utils import _queues
from ansible_collections.kubernaut.integration.plugins.plugin_utils._action import TellingAction


class ActionModule(TellingAction):
    """Empty the queues in-process where that is possible, and show what was in them."""

    phase = _queues.PHASE
