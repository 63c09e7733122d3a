# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Callback: what a person reads about a stack is the end of a run."""

from __future__ import annotations

DOCUMENTATION = r"""
name: summary
type: notification
short_description: What a person reads about a stack is the end of a run
description:
  - Shows what M(kubernaut.integration.stack_report) says after the recap instead of in its middle, so that the last
    line of a run names the DataStorage that was proven, and nobody takes the reference service for a real one.
author: The kubernaut.integration authors (@kubernaut)
requirements:
  - Enable it with C(callbacks_enabled = kubernaut.integration.summary); the checkout's C(ansible.cfg) does.
"""

from typing import Any

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):
    """Keep what M(kubernaut.integration.stack_report) said, and show it last."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "kubernaut.integration.summary"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, display: Any = None) -> None:
        super().__init__(display)
        self._lines: dict[str, list[str]] = {}

    def v2_runner_on_ok(self, result: Any) -> None:
        """Keep a report's lines."""
        if result._task.action == "kubernaut.integration.stack_report":
            self._lines[result._host.get_name()] = result._result.get("lines", [])

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Show them after everybody else has spoken."""
        for lines in self._lines.values():
            for line in lines:
                self._display.display(str(line))
