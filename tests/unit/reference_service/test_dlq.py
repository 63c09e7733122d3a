# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The form of an entry in the dead letter queue, and the texts of Redis' failures."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from datetime import UTC, datetime
from typing import Any

import pytest
from redis import exceptions

from reference_datastorage.config import Redis
from reference_datastorage.dlq import DeadLetterQueue, DlqError, Replay, decode, describe, encode
from reference_datastorage.events import Event, parse_event
from reference_datastorage.store import StoreError

NOW = datetime(2026, 11, 23, 12, 0, 0, 500000, tzinfo=UTC)
REQUEST = {
    "version": "1.0",
    "event_type": "workflow.started",
    "event_timestamp": "2026-11-23T12:00:00.25Z",
    "event_category": "workflow",
    "event_action": "started",
    "event_outcome": "success",
    "correlation_id": "rr-1",
    "event_data": {"name": "ü", "list": [1, 2.5, None]},
}
OPTIONAL = {
    "parent_event_id": "0b5ad3a4-5f66-4a0f-9c46-0f1cbd3ae0b2",
    "namespace": "default",
    "cluster_name": "c",
    "severity": "error",
    "duration_ms": 7,
}


def test_the_shape_of_a_message() -> None:
    event = parse_event(REQUEST, NOW)
    message = json.loads(encode(event, "failed to insert audit event: x", NOW))
    payload = message.pop("payload")
    assert message == {
        "type": "audit_event",
        "timestamp": "2026-11-23T12:00:00.5Z",
        "retry_count": 0,
        "last_error": "failed to insert audit event: x",
    }
    assert json.loads(base64.b64decode(payload.pop("event_data"))) == REQUEST["event_data"]
    assert payload == {
        "event_id": str(event.event_id),
        "version": "1.0",
        "event_timestamp": "2026-11-23T12:00:00.25Z",
        "event_type": "workflow.started",
        "event_category": "workflow",
        "event_action": "started",
        "event_outcome": "success",
        "actor_type": "service",
        "actor_id": "workflow-service",
        "resource_type": "workflow",
        "resource_id": "rr-1",
        "correlation_id": "rr-1",
        "retention_days": 0,
        "is_sensitive": False,
    }


@pytest.mark.parametrize("request_fields", [REQUEST, REQUEST | OPTIONAL], ids=["minimal", "complete"])
def test_what_goes_in_comes_out(request_fields: dict[str, object]) -> None:
    event = parse_event(request_fields, NOW)
    assert decode(encode(event, "x", NOW)) == event


@pytest.mark.parametrize(
    "message", ["", "{}", "[]", '{"payload": {}}', '{"payload": "x"}', '{"payload": {"event_id": "x"}}']
)
def test_what_is_no_entry_raises(message: str) -> None:
    with pytest.raises((ValueError, LookupError, TypeError, AttributeError)):
        decode(message)


@pytest.mark.parametrize("addr", ["redis", "redis:", ":6379", "redis:port"])
def test_an_address_without_a_port(addr: str) -> None:
    with pytest.raises(DlqError, match=f"dial tcp: address {addr}: missing port in address"):
        DeadLetterQueue(Redis(addr=addr, dlq_max_len=1, password=""))


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            caused(exceptions.ConnectionError("x"), socket.gaierror(-2, "Name or service not known")),
            "dial tcp: lookup redis: no such host",
        ),
        (
            caused(
                exceptions.ConnectionError("x"), ConnectionRefusedError(111, "Connect call failed ('10.0.0.2', 6379)")
            ),
            "dial tcp 10.0.0.2:6379: connect: connection refused",
        ),
        (exceptions.TimeoutError("x"), "x"),
        (caused(exceptions.TimeoutError("x"), TimeoutError()), "dial tcp redis:6379: i/o timeout"),
        (exceptions.AuthenticationError("invalid username-password pair"), "invalid username-password pair"),
    ],
)
def test_failures_in_the_words_of_the_contract(error: Exception, text: str) -> None:
    assert describe(error, "redis", 6379) == text


class FakeRedis:
    """A stream of entries in a dictionary."""

    def __init__(self, *messages: str) -> None:
        self.entries = {f"{number}-0": {"message": message} for number, message in enumerate(messages, 1)}

    async def xrange(self, _name: str, **bounds: Any) -> list[tuple[str, dict[str, str]]]:
        after = 0 if bounds["min"] == "-" else int(bounds["min"].strip("(").removesuffix("-0"))
        return [(name, fields) for name, fields in self.entries.items() if int(name.removesuffix("-0")) > after]

    async def xdel(self, _name: str, entry: str) -> None:
        del self.entries[entry]


def queue_over(client: FakeRedis, monkeypatch: pytest.MonkeyPatch) -> DeadLetterQueue:
    queue = DeadLetterQueue(Redis(addr="redis:6379", dlq_max_len=1, password=""))
    monkeypatch.setattr(queue, "_client", client)
    return queue


@pytest.mark.parametrize(
    ("sqlstate", "replay", "left"), [(None, None, ["1-0", "2-0", "3-0"]), ("22001", Replay(1, 2), ["1-0", "2-0"])]
)
def test_a_replay_removes_only_what_was_stored(
    monkeypatch: pytest.MonkeyPatch, sqlstate: str | None, replay: Replay | None, left: list[str]
) -> None:
    refused, good = parse_event(REQUEST, NOW), parse_event(REQUEST, NOW)
    client = FakeRedis("no entry", encode(refused, "x", NOW), encode(good, "x", NOW))

    async def store(event: Event) -> None:
        if event == refused:
            raise StoreError("refused", sqlstate)

    queue = queue_over(client, monkeypatch)
    if replay is None:  # PostgreSQL is away
        with pytest.raises(StoreError):
            asyncio.run(queue.replay(store))
    else:
        assert asyncio.run(queue.replay(store)) == replay
    assert list(client.entries) == left
