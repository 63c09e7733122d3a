# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Spans of time as Go writes them. PRIVATE to the collection."""

from __future__ import annotations

import re
from typing import Optional

_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_TERM = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_DURATION = re.compile(r"[-+]?(?:0|(?:%s)+)" % _TERM.pattern)


def nanoseconds(text: str) -> Optional[int]:
    """Return a Go duration such as ``1h30m``, or None when Go's parser refuses it."""
    if not _DURATION.fullmatch(text):
        return None
    total = 0
    for number, unit in _TERM.findall(text):
        whole, _dot, fraction = number.partition(".")
        total += int(whole or 0) * _UNITS[unit] + int(fraction or 0) * _UNITS[unit] // 10 ** len(fraction)
    if total >= 2**63:
        return None
    return -total if text.startswith("-") else total
