# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What contract v1 demands of an event."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reference_datastorage.dlq import decode, encode
from reference_datastorage.events import Event, parse_event, parse_query
from reference_datastorage.problems import ProblemError, QueryProblemError, SchemaError
from reference_datastorage.store import record
from reference_datastorage.v1.rules import CATEGORIES, PAYLOADS, V1

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
EXECUTION = {
    "event_type": "workflowexecution.execution.started",
    "workflow_id": "w",
    "workflow_version": "v1.0.0",
    "target_resource": "ns/deployment/app",
    "phase": "Running",
    "container_image": "i",
    "execution_name": "e",
}


def event(data: object = None, **changes: object) -> dict[str, Any]:
    return {
        "version": "1.0",
        "event_type": "gateway.config.reloaded",
        "event_timestamp": "2026-11-23T12:00:00Z",
        "event_category": "gateway",
        "event_action": "reloaded",
        "event_outcome": "success",
        "correlation_id": "rr-1",
        "event_data": {"event_type": "gateway.config.reloaded", "component": "x"} if data is None else data,
    } | changes


def parse(value: object) -> Event:
    return parse_event(value, NOW, V1)


@pytest.mark.parametrize("kind", sorted(PAYLOADS))
def test_every_type_demands_what_it_says(kind: str) -> None:
    words = {
        "phase": "Completed",
        "auth_method": "jwt",
        "component": "health",
        "action": "create",
        "cleared_at": "2026-11-23T12:00:00Z",
        "previous_state": "Blocked",
        "new_state": "Running",
    }
    data = {"event_type": kind} | {name: words.get(name, "x") for name in PAYLOADS[kind].required}
    assert parse(event(data)).event_data == data
    for name in PAYLOADS[kind].required:
        with pytest.raises(SchemaError, match=f'property "{name}" is missing'):
            parse(event({key: value for key, value in data.items() if key != name}))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("text", "value must be an object"),
        ({}, "does not contain the discriminator property"),
        ({"event_type": "workflow.started"}, 'discriminator property "event_type" has invalid value'),
        ({"event_type": "gateway.config.reloaded", "component": 1}, 'Error at "/component": value must be a string'),
        (EXECUTION | {"phase": "running"}, "is not one of the allowed values"),
        (EXECUTION | {"parameters": {"a": 1}}, 'Error at "/parameters": value must be a string'),
        (EXECUTION | {"parameters": "a"}, 'Error at "/parameters": value must be an object'),
        (EXECUTION | {"started_at": "today"}, 'Error at "/started_at": string doesn\'t match the format "date-time"'),
        (EXECUTION | {"failure_reason": "Other"}, "is not one of the allowed values"),
    ],
)
def test_data_that_does_not_fit_its_type(data: object, reason: str) -> None:
    with pytest.raises(SchemaError) as caught:
        parse(event(data))
    assert reason in caught.value.detail


def test_what_the_type_does_not_know_is_dropped() -> None:
    data = EXECUTION | {"parameters": {"a": "1"}}
    assert parse(event(data | {"note": "x"})).event_data == data


def test_a_category_of_the_other_contract_is_refused() -> None:
    assert len(CATEGORIES) == 14
    for category in CATEGORIES:
        assert parse(event(event_category=category)).event_category == category
    with pytest.raises(SchemaError):
        parse(event(event_category="execution"))


def test_fields_that_only_v1_has() -> None:
    more: dict[str, Any] = {
        "cluster_id": "c",
        "actor_ip": "10.0.0.1",
        "error_code": "E",
        "error_message": "m",
        "retention_days": 30,
        "is_sensitive": True,
        "parent_event_date": "2026-11-22T00:00:00Z",
    }
    found = parse(event(**more, cluster_name="ignored"))
    assert found.cluster_name == "c"
    assert {name: getattr(found, name) for name in more if name != "cluster_id"} == {
        name: value for name, value in more.items() if name != "cluster_id"
    }
    assert parse(event(**dict.fromkeys(more))).retention_days == 0


@pytest.mark.parametrize(("asked", "stored"), [(None, 2555), (0, 2555), (-1, 2555), (30, 30), (100_000, 100_000)])
def test_how_long_an_event_is_kept(asked: int | None, stored: int) -> None:
    found = parse(event(retention_days=asked))
    for kept in (found, decode(encode(found, "x", NOW, V1.cluster), V1.cluster)):
        assert record(kept)["retention_days"] == stored


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("retention_days", "30"),
        ("retention_days", True),
        ("is_sensitive", "yes"),
        ("actor_ip", "1" * 46),
        ("actor_ip", 1),
    ],
)
def test_fields_of_another_type(field: str, value: object) -> None:
    with pytest.raises(SchemaError):
        parse(event(**{field: value}))


def test_the_window_reaches_an_hour_ahead() -> None:
    assert parse(event(event_timestamp=(NOW + timedelta(minutes=60)).isoformat()))
    with pytest.raises(ProblemError, match="timestamp is in the future"):
        parse(event(event_timestamp=(NOW + timedelta(minutes=61)).isoformat()))


def nested(levels: int) -> dict[str, object]:
    """Data of so many levels, in a field whose inside nobody judges."""
    inner: object = "x"
    for _level in range(levels - 1):
        inner = [inner]
    return EXECUTION | {"error_details": inner}


def test_limits_of_size_and_depth() -> None:
    assert parse(event(nested(10)))
    large = EXECUTION | {"duration": "x" * 256 * 1024}
    for data in (nested(11), nested(500), large):
        with pytest.raises(ProblemError) as caught:
            parse(event(data))
        assert caught.value.detail == "event_data exceeds size or nesting depth limits"
        assert not isinstance(caught.value, SchemaError)
    for unknown in ("x" * 300 * 1024, nested(20)):  # dropped before anything is measured
        assert parse(event(EXECUTION | {"note": unknown})).event_data == EXECUTION


def test_the_query() -> None:
    assert parse_query({}, NOW, V1).limit == 50
    assert parse_query({"detail_key": "a", "detail_value": "b"}, NOW, V1).detail == ("a", "b")
    for half in ({"detail_key": "a"}, {"detail_value": "b"}, {"detail_key": "a", "detail_value": ""}):
        with pytest.raises(QueryProblemError):
            parse_query(half, NOW, V1)
    assert parse_query({"detail_key": "a", "detail_value": "b"}, NOW).detail is None
    nothing = parse_query(dict.fromkeys(("correlation_id", "event_type", "severity", "since", "until"), ""), NOW, V1)
    assert (nothing.equals, nothing.since, nothing.until) == ({}, None, None)
    for wrong in ({"event_outcome": ""}, {"detail_key": "a\0", "detail_value": "b"}, {"severity": "\0"}):
        with pytest.raises(SchemaError):
            parse_query(wrong, NOW, V1)


def test_a_moment_needs_its_zone() -> None:
    with pytest.raises(SchemaError):
        parse(event(event_timestamp="2026-11-23T12:00:00"))
