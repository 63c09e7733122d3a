# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Validation of events and of the query's parameters."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reference_datastorage.events import CATEGORIES, parse_batch, parse_event, parse_json, parse_query
from reference_datastorage.problems import ProblemError

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def event(**changes: object) -> dict[str, Any]:
    """Return a valid event with some fields changed; those changed to Ellipsis are left out."""
    fields: dict[str, Any] = {
        "version": "1.0",
        "event_type": "workflow.started",
        "event_timestamp": "2026-11-23T12:00:00Z",
        "event_category": "workflow",
        "event_action": "started",
        "event_outcome": "success",
        "correlation_id": "rr-1",
        "event_data": {"phase": "Running"},
    } | changes
    return {name: value for name, value in fields.items() if value is not ...}


def refusal(*args: Any, parse: Any = parse_event) -> ProblemError:
    with pytest.raises(ProblemError) as caught:
        parse(*args)
    return caught.value


def test_defaults() -> None:
    stored = parse_event(event(), NOW)
    assert (stored.actor_type, stored.actor_id) == ("service", "workflow-service")
    assert (stored.resource_type, stored.resource_id) == ("workflow", "rr-1")
    assert (stored.severity, stored.namespace, stored.cluster_name) == (None,) * 3
    assert (stored.duration_ms, stored.parent_event_id) == (None,) * 2
    assert parse_event(event(), NOW).event_id != stored.event_id


def test_given_values_are_kept_and_empty_ones_become_null() -> None:
    given = {"actor_type": "user", "actor_id": "a", "resource_type": "Pod", "resource_id": "p"}
    stored = parse_event(event(**given, severity="", namespace="", duration_ms=0, cluster_name="c", extra=1), NOW)
    assert {name: getattr(stored, name) for name in given} == given
    assert (stored.severity, stored.namespace, stored.duration_ms, stored.cluster_name) == ("", None, None, "c")


@pytest.mark.parametrize("category", CATEGORIES)
def test_every_category_of_the_contract(category: str) -> None:
    assert parse_event(event(event_category=category), NOW).event_category == category


@pytest.mark.parametrize("version", ["1", "12345678901234", "x" * 20])
def test_a_version_longer_than_its_column_is_valid(version: str) -> None:
    assert parse_event(event(version=version), NOW).event_version == version


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        *[({name: ...}, name, f'property "{name}" is missing') for name in event()],
        *[({name: None}, name, "Value is not nullable") for name in event()],
        ({"version": ""}, "version", "minimum string length is 1"),
        ({"version": "x" * 21}, "version", "maximum string length is 20"),
        ({"event_type": "x" * 101}, "event_type", "maximum string length is 100"),
        ({"event_action": "x" * 51}, "event_action", "maximum string length is 50"),
        ({"correlation_id": "x" * 256}, "correlation_id", "maximum string length is 255"),
        ({"correlation_id": 7}, "correlation_id", "value must be a string"),
        ({"event_category": "workflowexecution"}, "event_category", "value is not one of the allowed values ["),
        ({"event_outcome": "unknown"}, "event_outcome", "value is not one of the allowed values ["),
        ({"event_timestamp": "today"}, "event_timestamp", 'string doesn\'t match the format "date-time"'),
        ({"actor_id": None}, "actor_id", "Value is not nullable"),
        ({"actor_id": 1}, "actor_id", "value must be a string"),
        ({"namespace": 1}, "namespace", "value must be a string"),
        ({"duration_ms": "1"}, "duration_ms", "value must be an integer"),
        ({"duration_ms": True}, "duration_ms", "value must be an integer"),
    ],
)
def test_schema_violations(changes: dict[str, Any], field: str, message: str) -> None:
    problem = refusal(event(**changes), NOW)
    assert (problem.status, problem.slug, problem.title) == (400, "validation-error", "Validation Error")
    prefix = "request body has an error: doesn't match schema #/components/schemas/AuditEventRequest: "
    assert problem.detail.startswith(f'{prefix}Error at "/{field}": {message}')
    assert problem.field_errors[field].startswith(message)


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"parent_event_id": "parent"}, "invalid UUID length: 6"),
        ({"parent_event_id": ""}, "invalid UUID length: 0"),
        ({"parent_event_id": "x" * 36}, "invalid UUID format"),
        (
            {"event_timestamp": "2026-11-23T12:00:00"},
            'parsing time "2026-11-23T12:00:00" as "2006-01-02T15:04:05Z07:00": cannot parse "" as "Z07:00"',
        ),
    ],
)
def test_what_the_schema_takes_and_the_decoder_does_not(changes: dict[str, Any], detail: str) -> None:
    problem = refusal(event(**changes), NOW)
    assert (problem.status, problem.slug, problem.title) == (400, "invalid_request", "Invalid Request")
    assert problem.detail == detail
    in_batch = refusal([event(), event(**changes)], NOW, parse=parse_batch)
    assert in_batch.detail == f"request body must be a JSON array: {detail}"


@pytest.mark.parametrize(("data", "kind"), [("x", "string"), (1, "number"), ([1], "array"), (True, "bool")])
def test_event_data_must_be_an_object(data: object, kind: str) -> None:
    problem = refusal(event(event_data=data), NOW)
    assert (problem.slug, problem.title) == ("invalid_event_data", "Invalid Event Data")
    assert kind in problem.detail


@pytest.mark.parametrize(
    ("offset", "detail"),
    [
        (timedelta(minutes=5), None),
        (
            timedelta(minutes=5, seconds=1),
            (
                "invalid timestamp: timestamp is in the future (server time: 2026-11-23T12:00:00Z,"
                " event time: 2026-11-23T12:05:01Z)"
            ),
        ),
        (timedelta(days=-7), None),
        (timedelta(days=-8), "invalid timestamp: timestamp is too old (must be within 7 days, age: 192h0m0s)"),
    ],
)
def test_timestamp_window(offset: timedelta, detail: str | None) -> None:
    fields = event(event_timestamp=(NOW + offset).isoformat())
    if detail is None:
        assert parse_event(fields, NOW).event_timestamp == NOW + offset
        return
    assert refusal(fields, NOW).detail == detail
    assert refusal([event(), fields], NOW, parse=parse_batch).detail == f"event at index 1: {detail}"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({}, "value must be an array"),
        ([None], 'Error at "/0": Value is not nullable'),
        ([], "batch cannot be empty"),
        ([1], 'Error at "/0": value must be an object'),
        ([event(), event(version="")], 'Error at "/1/version": minimum string length is 1'),
        ([event(event_data=1)], "event at index 0: failed to unmarshal event_data"),
    ],
)
def test_batches_that_are_refused(value: object, message: str) -> None:
    assert message in refusal(value, NOW, parse=parse_batch).detail


def test_a_batch_keeps_its_order() -> None:
    batch = parse_batch([event(correlation_id=str(number)) for number in range(7)], NOW)
    assert [item.correlation_id for item in batch] == list("0123456")


def test_an_event_that_is_no_object() -> None:
    assert refusal([], NOW).detail.endswith("AuditEventRequest: value must be an object")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "value is required but missing"),
        (b"{", "failed to decode request body"),
        (b"NaN", "NaN is not JSON"),
        (b'"\xff"', "failed to decode request body"),
        (b'"\\ud800"', "failed to decode request body"),
        (b"[" * 100_000, "nested too deeply"),
        (b"9" * 5000, "failed to decode request body"),
    ],
)
def test_bodies_that_are_not_json(body: bytes, message: str) -> None:
    assert message in refusal(body, parse=parse_json).detail


def test_json_with_a_surrogate_pair() -> None:
    assert parse_json(json.dumps("😀").encode()) == "😀"


def test_query_defaults() -> None:
    query = parse_query({}, NOW)
    assert (dict(query.equals), query.since, query.until, query.limit, query.offset) == ({}, None, None, 50, 0)
    assert parse_query({"limit": "", "offset": ""}, NOW).limit == 100


def test_query_takes_every_filter_and_ignores_unknown_ones() -> None:
    query = parse_query(
        {
            "correlation_id": "c",
            "event_type": "t",
            "event_category": "no-enum-here",
            "event_outcome": "pending",
            "severity": "info",
            "since": "24h",
            "until": "2026-11-23",
            "limit": "1000",
            "offset": "5",
            "unknown": "x",
        },
        NOW,
    )
    assert query.equals == {
        "correlation_id": "c",
        "event_type": "t",
        "event_category": "no-enum-here",
        "event_outcome": "pending",
        "severity": "info",
    }
    assert (query.since, query.until) == (NOW - timedelta(days=1), NOW.replace(hour=0))
    assert (query.limit, query.offset) == (1000, 5)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-23T10:00:00+20:00", "2026-11-22T14:00:00+00:00"),
        ("0001-01-01T00:00:00+23:59", "0001-01-01T00:00:00+00:00"),
        ("9999-12-31T23:59:59-23:59", "9999-12-31T23:59:59.999999+00:00"),
    ],
)
def test_query_asks_postgresql_for_moments_that_it_can_read(text: str, moment: str) -> None:
    """An offset of 16 hours or more, which RFC 3339 has, ended in 500."""
    since = parse_query({"since": text}, NOW).since
    assert since is not None
    assert since.isoformat() == moment


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("limit", "0", "number must be at least 1"),
        ("limit", "1001", "number must be at most 1000"),
        ("limit", "ten", "an invalid integer"),
        ("limit", "1_0", "an invalid integer"),
        ("offset", "-1", "number must be at least 0"),
        ("offset", "9" * 30, "an invalid integer"),
        ("event_outcome", "x", "value is not one of the allowed values"),
        ("correlation_id", "a\0b", "cannot hold U+0000"),
        ("correlation_id", "", "empty value is not allowed"),
        ("since", "", "empty value is not allowed"),
    ],
)
def test_query_refusals(name: str, value: str, message: str) -> None:
    problem = refusal({name: value}, NOW, parse=parse_query)
    assert (problem.status, problem.slug) == (400, "validation-error")
    assert message in problem.detail
    assert message in problem.field_errors[name]
