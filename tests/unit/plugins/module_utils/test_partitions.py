# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Months, names and bounds of partitions."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.kubernaut.integration.plugins.module_utils import _partitions
from ansible_collections.kubernaut.integration.plugins.module_utils._partitions import Partition
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import PhaseError


def month(name: str, year: int, number: int) -> Partition:
    """Return the partition of one month."""
    begin = date(year, number, 1)
    return Partition(name, begin, _partitions.next_month(begin))


@pytest.mark.parametrize(
    ("today", "months"),
    [
        ("2026-11-23", ["2026-11", "2026-12", "2027-01", "2027-02"]),
        ("2026-12-01", ["2026-11", "2026-12", "2027-01", "2027-02", "2027-03"]),
        ("2026-12-31", ["2026-12", "2027-01", "2027-02", "2027-03"]),
        ("2027-01-01", ["2026-12", "2027-01", "2027-02", "2027-03", "2027-04"]),
        ("2027-01-07", ["2026-12", "2027-01", "2027-02", "2027-03", "2027-04"]),
        ("2027-01-08", ["2027-01", "2027-02", "2027-03", "2027-04"]),
        ("2026-03-31", ["2026-03", "2026-04", "2026-05", "2026-06"]),
        ("2028-02-29", ["2028-02", "2028-03", "2028-04", "2028-05"]),
        ("2028-03-07", ["2028-02", "2028-03", "2028-04", "2028-05", "2028-06"]),
        ("2027-03-01", ["2027-02", "2027-03", "2027-04", "2027-05", "2027-06"]),
        ("2026-11-30", ["2026-11", "2026-12", "2027-01", "2027-02"]),
    ],
)
def test_needed_months(today: str, months: list[str]) -> None:
    """Days 1 to 7 need the month before, whatever the lengths of the months."""
    needed = _partitions.needed_months(date.fromisoformat(today))
    assert [first.strftime("%Y-%m") for first in needed] == months


@given(st.dates(min_value=date(1970, 1, 1), max_value=date(9990, 1, 1)))
def test_every_accepted_day_is_covered(today: date) -> None:
    """What is planned covers seven days back and 89 ahead without a gap, and is then complete."""
    planned = _partitions.plan("audit_events", [], today)
    for offset in range(-7, 90):
        day = today + timedelta(days=offset)
        assert sum(part.begin <= day < part.end for part in planned if part.begin and part.end) == 1
    assert _partitions.plan("audit_events", planned, today) == []


@pytest.mark.parametrize(
    ("partitions", "missing"),
    [
        ([], ["2026-11", "2026-12", "2027-01", "2027-02"]),
        # v0's file 013, applied in November 2025, and again a year later: a hole between the two.
        ([month("p_2026_02", 2026, 2), month("p_2026_12", 2026, 12)], ["2026-11", "2027-01", "2027-02"]),
        ([Partition("all", date.min, date.max)], []),
        ([Partition("year", date(2026, 1, 1), date(2027, 1, 1))], ["2027-01", "2027-02"]),
        (
            [
                Partition("b", date(2026, 11, 15), date(2027, 3, 1)),
                Partition("a", date(2026, 11, 1), date(2026, 11, 15)),
            ],
            [],
        ),
        ([Partition("half", date(2026, 11, 1), date(2026, 11, 29))], ["2026-11", "2026-12", "2027-01", "2027-02"]),
        ([Partition("default", None, None)], ["2026-11", "2026-12", "2027-01", "2027-02"]),
    ],
)
def test_missing_months(partitions: list[Partition], missing: list[str]) -> None:
    """A month counts only when it is covered from end to end; a default partition covers nothing."""
    months = _partitions.missing_months(partitions, date(2026, 11, 23))
    assert [first.strftime("%Y-%m") for first in months] == missing


@pytest.mark.parametrize(
    ("table", "partitions", "name"),
    [
        ("audit_events", [month("audit_events_2026_03", 2026, 3)], "audit_events_2027_01"),
        (
            "resource_action_traces",
            [month("resource_action_traces_y2026m02", 2026, 2)],
            "resource_action_traces_y2027m01",
        ),
        ("t", [month("t_202603", 2026, 3)], "t_202701"),
        ("t", [month("t_2026_03_part", 2026, 3)], "t_2027_01_part"),
        ("t2026", [month("t2026_y2026m03", 2026, 3)], "t2026_y2027m01"),
        # The newest one is the example: v1 renamed them.
        ("t", [month("t_y2025m12", 2025, 12), month("t_2026_03", 2026, 3)], "t_2027_01"),
        # No month's partition, or one whose name does not tell its month, is no example.
        ("t", [Partition("t_2026", date(2026, 1, 1), date(2027, 1, 1))], "t_2027_01"),
        ("t", [month("march", 2026, 3)], "t_2027_01"),
        ("t", [Partition("t_default", None, None), Partition("t_old", date.min, date(2020, 1, 1))], "t_2027_01"),
        ("t", [], "t_2027_01"),
    ],
)
def test_partition_name(table: str, partitions: list[Partition], name: str) -> None:
    """A new partition is called as its newest sibling is."""
    assert _partitions.partition_name(table, partitions, date(2027, 1, 1)) == name


@pytest.mark.parametrize(
    ("bounds", "days"),
    [
        ("FOR VALUES FROM ('2025-11-01') TO ('2025-12-01')", (date(2025, 11, 1), date(2025, 12, 1))),
        (
            "FOR VALUES FROM ('2025-11-01 00:00:00+00') TO ('2025-12-01 00:00:00+00')",
            (date(2025, 11, 1), date(2025, 12, 1)),
        ),
        ("FOR VALUES FROM ('2025-11-01 00:00:00') TO (MAXVALUE)", (date(2025, 11, 1), date.max)),
        ("FOR VALUES FROM (MINVALUE) TO ('infinity')", (date.min, date.max)),
        (
            "FOR VALUES FROM ('2025-11-01 05:00:00+00') TO ('2025-12-01 05:00:00+00')",
            (date(2025, 11, 2), date(2025, 12, 1)),
        ),
        ("FOR VALUES FROM (1) TO (10)", None),
        ("FOR VALUES FROM ('2025-11-01', 1) TO ('2025-12-01', 1)", None),
        ("FOR VALUES IN ('a')", None),
        ("DEFAULT", None),
    ],
)
def test_parse_bounds(bounds: str, days: object) -> None:
    """Bounds are PostgreSQL's own words; what cuts a day in two does not cover it."""
    assert _partitions.parse_bounds(bounds) == days


def test_today() -> None:
    """Empty means now, a date means that date, and anything else is refused."""
    assert _partitions.parse_today("2028-02-29") == date(2028, 2, 29)
    assert isinstance(_partitions.parse_today(""), date)
    for wrong in ("2027-02-29", "tomorrow", "01.12.2026"):
        with pytest.raises(PhaseError, match="YYYY-MM-DD"):
            _partitions.parse_today(wrong)
