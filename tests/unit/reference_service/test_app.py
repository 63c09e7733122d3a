# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The routes, with PostgreSQL and Redis replaced by objects that succeed or fail on demand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import pytest
from starlette.testclient import TestClient

from reference_datastorage.app import Service
from reference_datastorage.dlq import DlqError
from reference_datastorage.events import Event, EventQuery
from reference_datastorage.store import Page, StoreError

EVENTS = "/api/v1/audit/events"
BATCH = f"{EVENTS}/batch"


class FakeStore:
    """Remembers what it was given; raises ``failure`` instead once that is set."""

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.single: list[Event] = []
        self.batches: list[list[Event]] = []
        self.known: set[UUID] = set()

    async def ping(self) -> None:
        if self.failure:
            raise self.failure

    async def insert(self, event: Event) -> None:
        await self.ping()
        self.single.append(event)

    async def insert_batch(self, events: Sequence[Event]) -> None:
        await self.ping()
        self.batches.append(list(events))

    async def day_of(self, event_id: UUID) -> date | None:
        await self.ping()
        return date(2026, 11, 22) if event_id in self.known else None

    async def query(self, query: EventQuery) -> Page:
        await self.ping()
        return Page([{"correlation_id": query.equals.get("correlation_id")}], 3)


class FakeQueue:
    """Remembers events with the reason they came for; raises ``failure`` instead once that is set."""

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.entries: list[tuple[Event, str]] = []

    async def enqueue(self, event: Event, last_error: str) -> None:
        if self.failure:
            raise self.failure
        self.entries.append((event, last_error))


class World:
    """A service, the two stores behind it, and a client in front of it."""

    def __init__(self) -> None:
        self.store, self.queue = FakeStore(), FakeQueue()
        self.service = Service(self.store, self.queue, read_timeout=5)
        self.client = TestClient(self.service.app(), raise_server_exceptions=False)


@pytest.fixture
def world() -> World:
    return World()


def event(**changes: object) -> dict[str, Any]:
    return {
        "version": "1.0",
        "event_type": "workflow.started",
        "event_timestamp": datetime.now(UTC).isoformat(),
        "event_category": "workflow",
        "event_action": "started",
        "event_outcome": "success",
        "correlation_id": "rr-1",
        "event_data": {},
    } | changes


def test_health(world: World) -> None:
    assert world.client.get("/health").json() == {"status": "healthy", "database": "connected"}
    assert world.client.get("/health/ready").json() == {"status": "ready"}
    assert world.client.get("/health/live").json() == {"status": "alive"}
    assert world.client.get("/readyz").status_code == 404


def test_health_without_postgresql(world: World) -> None:
    world.store.failure = StoreError("gone")
    answer = world.client.get("/health")
    assert (answer.status_code, answer.json()) == (
        503,
        {"status": "unhealthy", "database": "unreachable", "error": "gone"},
    )
    ready = world.client.get("/health/ready")
    assert (ready.status_code, ready.json()["reason"]) == (503, "database_unreachable")
    assert world.client.get("/health/live").status_code == 200


def test_readiness_ends_before_the_service_does(world: World) -> None:
    world.service.shutting_down = True
    ready = world.client.get("/health/ready")
    assert (ready.status_code, ready.json()) == (503, {"status": "not_ready", "reason": "shutting_down"})
    assert world.client.get("/health").status_code == 200
    assert world.client.post(EVENTS, json=event()).status_code == 201


def test_one_event(world: World) -> None:
    answer = world.client.post(EVENTS, json=event())
    assert answer.status_code == 201
    stored = world.store.single[-1]
    assert answer.json() == {
        "event_id": str(stored.event_id),
        "event_timestamp": stored.event_timestamp.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "message": "Audit event created successfully",
    }


def test_a_failed_write_is_accepted_by_the_queue(world: World) -> None:
    world.store.failure = StoreError("ERROR: value too long (SQLSTATE 22001)", "22001")
    answer = world.client.post(EVENTS, json=event())
    assert (answer.status_code, answer.json()) == (
        202,
        {"status": "accepted", "message": "audit event queued for async processing"},
    )
    assert world.queue.entries[0][1] == "failed to insert audit event: ERROR: value too long (SQLSTATE 22001)"


def test_a_failed_write_and_a_failed_queue(world: World) -> None:
    world.store.failure, world.queue.failure = StoreError("gone"), DlqError("gone too")
    answer = world.client.post(EVENTS, json=event())
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == {
        "type": "https://kubernaut.ai/problems/database_error",
        "title": "Database Error",
        "status": 500,
        "detail": "Failed to write audit event to database and DLQ",
    }


def test_a_parent_must_exist(world: World) -> None:
    parent = "0b5ad3a4-5f66-4a0f-9c46-0f1cbd3ae0b2"
    answer = world.client.post(EVENTS, json=event(parent_event_id=parent))
    assert (answer.status_code, answer.json()["detail"]) == (400, "parent event does not exist")
    world.store.known.add(UUID(parent))
    assert world.client.post(EVENTS, json=event(parent_event_id=parent)).status_code == 201
    assert world.store.single[-1].parent_event_date is None


def test_a_batch(world: World) -> None:
    answer = world.client.post(BATCH, json=[event() for _again in range(7)])
    assert answer.status_code == 201
    assert answer.json()["message"] == "7 audit events created successfully"
    assert answer.json()["event_ids"] == [str(item.event_id) for item in world.store.batches[0]]


def test_a_failed_batch_has_no_queue(world: World) -> None:
    world.store.failure = StoreError("gone")
    answer = world.client.post(BATCH, json=[event()])
    assert answer.status_code == 500
    assert answer.json() == {
        "type": "https://kubernaut.ai/problems/database-error",
        "title": "Database Error",
        "status": 500,
        "detail": "Failed to write audit events batch to database",
        "instance": BATCH,
    }
    assert not world.queue.entries


def test_the_query(world: World) -> None:
    answer = world.client.get(EVENTS, params={"correlation_id": "rr-1", "limit": 1, "offset": 1})
    assert answer.json() == {
        "data": [{"correlation_id": "rr-1"}],
        "pagination": {"limit": 1, "offset": 1, "total": 3, "has_more": True},
    }
    last = world.client.get(EVENTS, params={"limit": 1, "offset": 2})
    assert last.json()["pagination"]["has_more"] is False


def test_a_failed_query(world: World) -> None:
    world.store.failure = StoreError("gone")
    answer = world.client.get(EVENTS)
    assert (answer.status_code, answer.json()["detail"]) == (500, "Failed to query audit events from database")


def test_a_refusal_has_four_members(world: World) -> None:
    answer = world.client.post(EVENTS, json=event(version=""))
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(answer.json()) == {"type", "title", "status", "detail"}


def test_a_time_that_the_query_cannot_read_is_told_once_more(world: World) -> None:
    answer = world.client.get(EVENTS, params={"since": "yesterday"})
    reason = "invalid time format: yesterday (expected: 24h, 7d, or RFC3339 timestamp)"
    assert answer.status_code == 400
    assert answer.json() == {
        "type": "https://kubernaut.ai/problems/validation-error",
        "title": "Validation Error",
        "status": 400,
        "detail": f"Validation failed for query parameters: query - {reason}",
        "instance": "/audit/query parameters",
        "resource": "query parameters",
        "field_errors": {"query": reason},
    }


def test_of_a_parameter_that_comes_twice_the_first_one_counts(world: World) -> None:
    assert world.client.get(f"{EVENTS}?limit=1&limit=2").json()["pagination"]["limit"] == 1


@pytest.mark.parametrize("path", ["/", "/readyz", "/health/", EVENTS + "/"])
def test_a_path_that_is_not_there(world: World, path: str) -> None:
    answer = world.client.get(path, follow_redirects=False)
    assert (answer.status_code, answer.text) == (404, "404 page not found\n")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", EVENTS, {"GET", "POST"}),
        ("GET", BATCH, {"POST"}),
        ("HEAD", "/health", {"GET"}),
        ("POST", "/health", {"GET"}),
    ],
)
def test_a_method_that_a_path_does_not_have(world: World, method: str, path: str, allowed: set[str]) -> None:
    answer = world.client.request(method, path)
    assert (answer.status_code, answer.text) == (405, "")
    assert set(answer.headers["allow"].split(", ")) == allowed


@pytest.mark.parametrize("path", ["/health", "/health/ready", "/health/live"])
def test_health_calls_its_json_text(world: World, path: str) -> None:
    assert world.client.get(path).headers["content-type"] == "text/plain; charset=utf-8"


def test_a_body_of_another_type(world: World) -> None:
    answer = world.client.post(EVENTS, content=b"{}", headers={"content-type": "text/plain"})
    assert answer.json()["detail"] == 'request body has an error: header Content-Type has unexpected value "text/plain"'


def test_an_unexpected_failure_tells_nothing(world: World) -> None:
    world.store.failure = RuntimeError("password=hunter2")
    answer = world.client.get(EVENTS)
    assert (answer.status_code, answer.json()["title"]) == (500, "Internal Server Error")
    assert "hunter2" not in answer.text


def test_cors_and_metrics(world: World) -> None:
    assert world.client.get("/health", headers={"origin": "http://x"}).headers["access-control-allow-origin"] == "*"
    world.client.post(EVENTS, json=event())
    world.client.post(EVENTS, json=[])
    metrics = world.client.get("/metrics").text
    assert 'datastorage_audit_traces_total{service="workflow",status="success"} 1.0' in metrics
    assert 'datastorage_validation_failures_total{field="body",reason="validation-error"} 1.0' in metrics
