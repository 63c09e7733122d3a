# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Chains of hashes and months of partitions, without a database."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from reference_datastorage.v1.store import Verification, chain_hash, months

NOW = datetime(2026, 11, 23, 12, 0)  # noqa: DTZ001 - as the query gives it


def chain(count: int) -> list[dict[str, Any]]:
    """Return rows as they are read back, oldest first, of a chain that holds."""
    rows: list[dict[str, Any]] = []
    for index in range(count):
        previous = rows[-1]["event_hash"] if rows else ""
        hashed = f'{{"n": {index}}}'
        rows.append(
            {
                "id": str(index),
                "utc_timestamp": NOW + timedelta(seconds=index),
                "hashed": hashed,
                "event_hash": chain_hash(previous, hashed),
                "previous_event_hash": previous,
            }
        )
    return rows


def answer(rows: list[dict[str, Any]]) -> dict[str, Any]:
    verification = Verification()
    for row in rows:
        verification.look_at(row)
    return verification.answer("rr-1", datetime(2026, 11, 23, tzinfo=UTC))


@pytest.mark.parametrize("count", [1, 7])
def test_a_chain_that_holds(count: int) -> None:
    assert answer(chain(count)) == {
        "correlation_id": "rr-1",
        "is_valid": True,
        "total_events": count,
        "verified_events": count,
        "verification_time": "2026-11-23T00:00:00Z",
        "message": "Hash chain verified successfully: no tampering detected",
    }


def test_nothing_is_valid() -> None:
    found = answer([])
    assert (found["is_valid"], found["total_events"]) == (True, 0)
    assert found["message"] == "No events found for correlation_id"


def test_a_changed_event() -> None:
    rows = chain(3)
    rows[1]["hashed"] = "{}"
    found = answer(rows)
    assert (found["is_valid"], found["total_events"], found["verified_events"]) == (False, 3, 2)
    assert found["message"] == "Hash chain verification FAILED: tampering detected"
    assert [(item["event_id"], item["actual_hash"]) for item in found["tampered_events"]] == [
        ("1", rows[1]["event_hash"])
    ]


def test_an_event_that_is_gone() -> None:
    rows = chain(3)
    del rows[1]
    found = answer(rows)
    assert (found["is_valid"], found["verified_events"], len(found["tampered_events"])) == (False, 1, 2)


def test_the_order_of_insertion_is_not_the_one_that_is_checked() -> None:
    found = answer(chain(7)[::-1])
    assert (found["is_valid"], found["verified_events"]) == (False, 0)


def test_events_without_a_hash_are_passed_over() -> None:
    rows = [*chain(2), {"id": "x", "event_hash": None}]
    assert answer(rows)["skipped_null_hash"] == 1
    assert answer(rows)["total_events"] == 2


def test_months_across_a_year() -> None:
    assert months(date(2026, 11, 30), 3) == [
        (date(2026, 11, 1), date(2026, 12, 1)),
        (date(2026, 12, 1), date(2027, 1, 1)),
        (date(2027, 1, 1), date(2027, 2, 1)),
        (date(2027, 2, 1), date(2027, 3, 1)),
    ]
