# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Go's durations and timestamps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from reference_datastorage.gotime import (
    format_duration,
    format_rfc3339,
    format_rfc3339_nano,
    parse_duration,
    parse_rfc3339,
    parse_time_parameter,
)

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", timedelta()),
        ("30s", timedelta(seconds=30)),
        ("1h30m", timedelta(minutes=90)),
        ("1.5h", timedelta(minutes=90)),
        (".5s", timedelta(milliseconds=500)),
        ("5.s", timedelta(seconds=5)),
        ("-2m", timedelta(minutes=-2)),
        ("+2m", timedelta(minutes=2)),
        ("250ms", timedelta(milliseconds=250)),
        ("7us", timedelta(microseconds=7)),
        ("7µs", timedelta(microseconds=7)),
        ("7μs", timedelta(microseconds=7)),
        ("1999ns", timedelta(microseconds=1)),
    ],
)
def test_parse_duration(text: str, expected: timedelta) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", 'time: invalid duration ""'),
        ("-", 'time: invalid duration "-"'),
        ("abc", 'time: invalid duration "abc"'),
        ("1h.m", 'time: invalid duration "1h.m"'),
        ("30", 'time: missing unit in duration "30"'),
        ("1h30", 'time: missing unit in duration "1h30"'),
        ("7d", 'time: unknown unit "d" in duration "7d"'),
        ("5 s", 'time: unknown unit " s" in duration "5 s"'),
        ("9999999h", 'time: invalid duration "9999999h"'),
    ],
)
def test_parse_duration_refuses_in_the_words_of_go(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"^time: ") as caught:
        parse_duration(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("duration", "expected"),
    [
        (timedelta(), "0s"),
        (timedelta(microseconds=3), "3µs"),
        (timedelta(microseconds=1500), "1.5ms"),
        (timedelta(seconds=30), "30s"),
        (timedelta(minutes=1), "1m0s"),
        (timedelta(hours=1, seconds=2.5), "1h0m2.5s"),
        (timedelta(days=8), "192h0m0s"),
        (timedelta(seconds=-5), "-5s"),
    ],
)
def test_format_duration(duration: timedelta, expected: str) -> None:
    assert format_duration(duration) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-23T12:00:00Z", NOW),
        ("2026-11-23T14:00:00+02:00", NOW),
        ("2026-11-23T12:00:00.123456789Z", NOW.replace(microsecond=123456)),
        ("2026-11-23T12:00:00.5Z", NOW.replace(microsecond=500000)),
    ],
)
def test_parse_rfc3339(text: str, expected: datetime) -> None:
    assert parse_rfc3339(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-23",
        "2026-11-23T12:00:00",
        "2026-11-23 12:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-11-23T12:00:60Z",
        "x",
    ],
)
def test_parse_rfc3339_refuses(text: str) -> None:
    with pytest.raises(ValueError, match=r"RFC 3339|must be in"):
        parse_rfc3339(text)


@pytest.mark.parametrize(
    ("moment", "seconds", "nano"),
    [
        (NOW, "2026-11-23T12:00:00Z", "2026-11-23T12:00:00Z"),
        (NOW.replace(microsecond=120000), "2026-11-23T12:00:00Z", "2026-11-23T12:00:00.12Z"),
        (
            NOW.astimezone(timezone(timedelta(hours=1))).replace(microsecond=1),
            "2026-11-23T13:00:00+01:00",
            "2026-11-23T13:00:00.000001+01:00",
        ),
    ],
)
def test_format_rfc3339(moment: datetime, seconds: str, nano: str) -> None:
    assert format_rfc3339(moment) == seconds
    assert format_rfc3339_nano(moment) == nano


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("24h", NOW - timedelta(hours=24)),
        ("7d", NOW - timedelta(days=7)),
        ("30m", NOW - timedelta(minutes=30)),
        ("1.5d", NOW - timedelta(hours=36)),
        ("2026-11-20T01:02:03+01:00", datetime(2026, 11, 20, 0, 2, 3, tzinfo=UTC)),
        ("2026-11-20T01:02:03", datetime(2026, 11, 20, 1, 2, 3, tzinfo=UTC)),
        ("2026-11-20", datetime(2026, 11, 20, tzinfo=UTC)),
    ],
)
def test_parse_time_parameter(text: str, expected: datetime) -> None:
    assert parse_time_parameter(text, NOW) == expected


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "2026-11-20T25:00:00Z", "20261120", "99999999d", "7"])
def test_parse_time_parameter_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="expected: 24h, 7d, or RFC3339 timestamp") as caught:
        parse_time_parameter(text, NOW)
    assert str(caught.value).startswith(f"invalid time format: {text} ")
