# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The consumer group: what is tried when, what becomes of an entry, and what a service that stops leaves behind."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from reference_datastorage.config import Redis
from reference_datastorage.dlq import EVENTS_STREAM, DlqError, Replay, decode, encode
from reference_datastorage.events import Event, parse_event
from reference_datastorage.store import StoreError
from reference_datastorage.v1.dlq import DEAD_LETTERS, NOTIFICATIONS_STREAM, RetryQueue, parse_entry
from reference_datastorage.v1.rules import V1

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
REQUEST = {
    "version": "1.0",
    "event_type": "gateway.config.reloaded",
    "event_timestamp": "2026-11-23T12:00:00.25Z",
    "event_category": "gateway",
    "event_action": "reloaded",
    "event_outcome": "success",
    "correlation_id": "rr-1",
    "event_data": {"event_type": "gateway.config.reloaded", "component": "x"},
    "cluster_id": "c",
    "actor_ip": "10.0.0.1",
    "error_code": "E",
    "error_message": "m",
    "retention_days": 30,
    "is_sensitive": True,
    "parent_event_date": "2026-11-22T00:00:00Z",
}


def message(retries: int = 0, age: timedelta = timedelta(hours=1)) -> str:
    entry = json.loads(encode(parse_event(REQUEST, NOW, V1), "database write failed", NOW - age, V1.cluster))
    return json.dumps(entry | {"retry_count": retries})


class FakeRedis:
    """Streams in lists, and one group: what it has been given and nobody has acknowledged."""

    def __init__(self, *messages: str) -> None:
        self.streams: dict[str, list[tuple[str, dict[str, Any]]]] = {EVENTS_STREAM: []}
        for text in messages:
            self._add(EVENTS_STREAM, {"message": text})
        self.pending: dict[str, dict[str, Any]] = {}
        self.given = 0
        self.refusal: Exception | None = None

    def _add(self, stream: str, fields: dict[str, Any]) -> None:
        entries = self.streams.setdefault(stream, [])
        entries.append((f"{len(entries) + 1}000-0", fields))

    async def xadd(self, stream: str, fields: dict[str, Any], maxlen: int, approximate: bool) -> None:
        assert (maxlen, approximate) == (9, True)
        self._add(stream, fields)

    async def xgroup_create(self, stream: str, _group: str, **_options: object) -> None:
        if self.refusal:
            raise self.refusal
        self.streams.setdefault(stream, [])

    async def xautoclaim(
        self, _stream: str, _group: str, _consumer: str, _idle: int, cursor: str, count: int
    ) -> list[Any]:
        entries = list(self.pending.items())
        begin = int(cursor.removesuffix("-0"))
        end = begin + count
        return [f"{end}-0" if end < len(entries) else "0-0", entries[begin:end], []]

    async def xreadgroup(self, _group: str, _consumer: str, streams: dict[str, str], count: int) -> list[Any]:
        assert streams == {EVENTS_STREAM: ">"}
        new = self.streams[EVENTS_STREAM][self.given : self.given + count]
        self.given += len(new)
        self.pending |= dict(new)
        return [[EVENTS_STREAM, new]] if new else []

    async def xack(self, _stream: str, _group: str, entry: str) -> None:
        del self.pending[entry]


class FakeStore:
    """PostgreSQL; raises ``failure`` instead of storing once that is set."""

    def __init__(self, failure: StoreError | None = None) -> None:
        self.failure = failure
        self.events: list[Event] = []

    async def insert(self, event: Event) -> None:
        if self.failure:
            raise self.failure
        self.events.append(event)


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> RetryQueue:
    return over(FakeRedis(), monkeypatch)


def over(client: FakeRedis, monkeypatch: pytest.MonkeyPatch) -> RetryQueue:
    queue = RetryQueue(Redis(addr="redis:6379", dlq_max_len=9, password=""))
    monkeypatch.setattr(queue, "_client", client)
    return queue


def attempt(queue: RetryQueue, store: Any, now: datetime | None = NOW) -> Replay:
    return asyncio.run(queue.try_entries(store, now))


def test_what_goes_in_comes_out() -> None:
    event = parse_event(REQUEST, NOW, V1)
    assert decode(encode(event, "x", NOW, V1.cluster), V1.cluster) == event
    assert json.loads(encode(event, "x", NOW, V1.cluster))["payload"]["cluster_id"] == "c"


def test_a_stored_entry_is_acknowledged_and_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    client, store = FakeRedis(*[message()] * 250), FakeStore()
    queue = over(client, monkeypatch)
    assert attempt(queue, store) == Replay(250, 0)
    assert attempt(queue, store) == Replay(0, 0)
    assert (len(store.events), len(client.streams[EVENTS_STREAM]), client.pending) == (250, 250, {})


@pytest.mark.parametrize(("retries", "minutes"), [(0, 1), (1, 5), (2, 15), (3, 60), (4, 240), (5, 1440)])
def test_an_entry_is_tried_when_its_time_has_come(monkeypatch: pytest.MonkeyPatch, retries: int, minutes: int) -> None:
    client, store = FakeRedis(message(retries, timedelta(0))), FakeStore()
    queue = over(client, monkeypatch)
    due = NOW + timedelta(minutes=minutes)
    assert attempt(queue, store, due - timedelta(seconds=1)) == Replay(0, 1)
    assert len(client.pending) == 1
    assert attempt(queue, store, due) == Replay(1, 0)


def test_a_refused_entry_comes_back_with_one_more_try(monkeypatch: pytest.MonkeyPatch) -> None:
    client = FakeRedis(message(2))
    assert attempt(over(client, monkeypatch), FakeStore(StoreError("too long", "22001"))) == Replay(0, 2)
    _first, second = client.streams[EVENTS_STREAM]
    entry = json.loads(second[1]["message"])
    assert (entry["retry_count"], entry["last_error"]) == (3, "too long")
    assert list(client.pending) == [second[0]]


def test_an_entry_that_is_stored_already_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    client = FakeRedis(message())
    assert attempt(over(client, monkeypatch), FakeStore(StoreError("duplicate", "23505"))) == Replay(1, 0)
    assert not client.pending


@pytest.mark.parametrize("text", [message(6, timedelta(days=2)), "no entry"])
def test_an_entry_without_hope_becomes_a_dead_letter(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    client, store = FakeRedis(text), FakeStore()
    assert attempt(over(client, monkeypatch), store) == Replay(0, 0)
    [(_id, fields)] = client.streams[DEAD_LETTERS]
    assert fields.keys() == {"message", "original_id", "moved_at", "final_retry_count"}
    assert (fields["message"], fields["original_id"]) == (text, "1000-0")
    assert not client.pending
    assert not store.events


def test_postgresql_that_is_away_is_no_failed_try(monkeypatch: pytest.MonkeyPatch) -> None:
    client = FakeRedis(message())
    queue = over(client, monkeypatch)
    with pytest.raises(StoreError):
        attempt(queue, FakeStore(StoreError("gone")))
    assert attempt(queue, FakeStore()) == Replay(1, 0)


def test_the_last_look_takes_all_and_puts_nothing_back(monkeypatch: pytest.MonkeyPatch) -> None:
    client = FakeRedis(message(0, timedelta(0)), message(6), "no entry")
    store = FakeStore()
    assert attempt(over(client, monkeypatch), store, None) == Replay(2, 1)
    assert len(client.streams[EVENTS_STREAM]) == 3
    assert DEAD_LETTERS not in client.streams
    refusing = FakeRedis(message())
    assert attempt(over(refusing, monkeypatch), FakeStore(StoreError("x", "22001")), None) == Replay(0, 1)
    assert len(refusing.pending) == len(refusing.streams[EVENTS_STREAM]) == 1


def test_groups_are_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    client = FakeRedis()
    queue = over(client, monkeypatch)
    asyncio.run(queue.create_groups())
    assert NOTIFICATIONS_STREAM in client.streams
    client.refusal = ResponseError("BUSYGROUP Consumer Group name already exists")
    asyncio.run(queue.create_groups())
    for error in (ResponseError("NOPERM"), RedisConnectionError("gone")):
        client.refusal = error
        with pytest.raises(DlqError):
            asyncio.run(queue.create_groups())


def test_an_entry_that_is_none_counts_from_when_it_was_written() -> None:
    assert parse_entry("60000-0", {"message": "x"}).due() == datetime(1970, 1, 1, 0, 2, tzinfo=UTC)
