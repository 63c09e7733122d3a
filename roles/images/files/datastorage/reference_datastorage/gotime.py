# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Durations and timestamps in the notation of the Go standard library, which the contract uses everywhere."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_NANOSECONDS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,  # U+00B5, micro sign
    "μs": 1_000,  # U+03BC, Greek letter mu
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_MAX_NANOSECONDS = 2**63 - 1
_TERM = re.compile(r"([0-9]*)(?:\.([0-9]*))?([^0-9.]*)")
_RFC3339 = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})")
_LOCAL_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def parse_duration(text: str) -> timedelta:
    """Read a Go duration such as ``30s``, ``1h30m`` or ``-1.5h``; what is finer than a microsecond is dropped.

    Raises ValueError with the text of Go's ``time.ParseDuration``.
    """
    rest = text[1:] if text[:1] in ("+", "-") else text
    if rest == "0":
        return timedelta()
    invalid = ValueError(f'time: invalid duration "{text}"')
    if not rest:
        raise invalid
    total = 0
    while rest:
        match = _TERM.match(rest)
        whole, fraction, unit = match.groups() if match else ("", None, "")
        if match is None or not (whole or fraction):
            raise invalid
        if not unit:
            raise ValueError(f'time: missing unit in duration "{text}"')
        if unit not in _NANOSECONDS:
            raise ValueError(f'time: unknown unit "{unit}" in duration "{text}"')
        total += int(whole or "0") * _NANOSECONDS[unit]
        if fraction:
            total += int(fraction) * _NANOSECONDS[unit] // 10 ** len(fraction)
        if total > _MAX_NANOSECONDS:
            raise invalid
        rest = rest[match.end() :]
    duration = timedelta(microseconds=total // 1_000)
    return -duration if text.startswith("-") else duration


def format_duration(duration: timedelta) -> str:
    """Write a duration as Go does: ``1h30m0s``, ``250ms``, ``0s``."""
    if duration < timedelta():
        return f"-{format_duration(-duration)}"
    micros = duration // timedelta(microseconds=1)
    if micros == 0:
        return "0s"
    if micros < 1_000:
        return f"{micros}µs"
    if micros < 1_000_000:
        return f"{_trim(micros, 1_000)}ms"
    minutes, rest = divmod(micros, 60_000_000)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{_trim(rest, 1_000_000)}s"
    if hours:
        return f"{hours}h{minutes}m{seconds}"
    return f"{minutes}m{seconds}" if minutes else seconds


def _trim(value: int, unit: int) -> str:
    return f"{value / unit:.6f}".rstrip("0").rstrip(".")


def parse_rfc3339(text: str) -> datetime:
    """Read an RFC 3339 timestamp with its offset, down to microseconds. Raises ValueError."""
    if not _RFC3339.fullmatch(text):
        raise ValueError(f"not an RFC 3339 timestamp: {text}")
    return datetime.fromisoformat(text)


def format_rfc3339(moment: datetime) -> str:
    """Write an aware datetime in its own offset with a resolution of seconds, as Go's ``time.RFC3339``."""
    return _zulu(moment.isoformat(timespec="seconds"))


def format_rfc3339_nano(moment: datetime) -> str:
    """Write an aware datetime in its own offset, the fraction without trailing zeros, as Go's ``RFC3339Nano``."""
    fraction = f".{moment.microsecond:06d}".rstrip("0").rstrip(".")
    whole = moment.replace(microsecond=0).isoformat()
    return _zulu(whole[:19] + fraction + whole[19:])


def _zulu(text: str) -> str:
    return text.removesuffix("+00:00") + "Z" if text.endswith("+00:00") else text


def parse_time_parameter(text: str, now: datetime) -> datetime:
    """Read ``since`` or ``until``: an age (``24h``, ``7d``, ``30m``), RFC 3339, a local time or a date (both as UTC).

    ``now`` is the aware moment that ages count back from. Raises ValueError with the service's own text.
    """
    try:
        if text.endswith("d"):
            return now - parse_duration(f"{text[:-1]}h") * 24
        return now - parse_duration(text)
    except (ValueError, OverflowError):
        pass  # not an age that a calendar can hold: the absolute forms are next
    try:
        if _RFC3339.fullmatch(text):
            return datetime.fromisoformat(text)
        if _LOCAL_TIME.fullmatch(text) or _DATE.fullmatch(text):
            return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        pass  # right in form, but no such day or hour
    raise ValueError(f"invalid time format: {text} (expected: 24h, 7d, or RFC3339 timestamp)")
