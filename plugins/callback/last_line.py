# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Callback: the last line of a run says which DataStorage was proven."""

from __future__ import annotations

DOCUMENTATION = r"""
name: last_line
type: notification
short_description: The last line of a run says which DataStorage was proven
description:
  - After the recap, one line per stack that was brought up names the DataStorage behind it, so that nobody takes the
    reference service for a real one.
author: The kubernaut.integration authors (@kubernaut)
requirements:
  - Enable it with C(callbacks_enabled = kubernaut.integration.last_line); the checkout's C(ansible.cfg) does.
"""

from typing import Any

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):
    """Remember what M(kubernaut.integration.stack_report) said, and repeat it last."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "kubernaut.integration.last_line"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, display: Any = None) -> None:
        super().__init__(display)
        self._lines: dict[str, str] = {}

    def v2_runner_on_ok(self, result: Any) -> None:
        """Keep the line of a report."""
        line = result._result.get("last_line")
        if line and result._task.action == "kubernaut.integration.stack_report":
            self._lines[result._host.get_name()] = line

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Say it after everybody else has spoken."""
        for host, line in self._lines.items():
            self._display.display("%s: %s" % (host, line))
