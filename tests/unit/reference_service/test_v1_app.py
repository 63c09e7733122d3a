# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The routes of contract v1, with everything behind them replaced by objects that succeed or fail on demand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from starlette.testclient import TestClient

from reference_datastorage.dlq import DlqError
from reference_datastorage.events import Event, EventQuery
from reference_datastorage.store import Page, StoreError
from reference_datastorage.v1.app import ServiceV1
from reference_datastorage.v1.config import Server
from reference_datastorage.v1.kube import ReviewError, Verdict
from reference_datastorage.v1.store import ChainTooLongError, Verification

EVENTS = "/api/v1/audit/events"
BATCH = f"{EVENTS}/batch"
CHAIN = "/api/v1/audit/verify-chain"
SERVICE_ACCOUNT = "system:serviceaccount:default:we"
DOWN = StoreError("gone")


class Backend:
    """PostgreSQL, Redis and the API server in one; ``broken`` names those that fail."""

    def __init__(self) -> None:
        self.broken: set[str] = set()
        self.events: list[Event] = []
        self.dead: list[tuple[Event, str]] = []
        self.asked: list[tuple[str, tuple[str, ...]]] = []
        self.room = 1000
        self.chain_too_long = False


class FakeStore:
    """PostgreSQL."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    async def ping(self) -> None:
        if "postgres" in self.backend.broken:
            raise DOWN

    async def insert(self, event: Event) -> None:
        await self.insert_batch([event])

    async def insert_batch(self, events: Sequence[Event]) -> None:
        await self.ping()
        self.backend.events += events

    async def day_of(self, event_id: UUID) -> date | None:
        days = {event.event_id: event.event_timestamp.date() for event in self.backend.events}
        return days.get(event_id)

    async def query(self, query: EventQuery) -> Page:
        return Page([{"limit": query.limit}], 1)

    async def verify(self, correlation_id: str) -> Verification:
        await self.ping()
        if self.backend.chain_too_long:
            raise ChainTooLongError
        return Verification(total=len(correlation_id))


class FakeQueue:
    """Redis, with room for a number of entries."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    async def ping(self) -> None:
        if "redis" in self.backend.broken:
            raise DlqError("gone")

    async def enqueue(self, event: Event, last_error: str) -> None:
        await self.ping()
        if len(self.backend.dead) == self.backend.room:
            raise DlqError("full")
        self.backend.dead.append((event, last_error))


class FakeReviewer:
    """The API server: a token is its user's name, ``bad`` is nobody's, ``weak`` may only read."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    def review(self, token: str, verbs: Sequence[str]) -> Verdict:
        if "api" in self.backend.broken:
            raise ReviewError("refused")
        self.backend.asked.append((token, tuple(verbs)))
        return Verdict(None if token == "bad" else token, token != "weak" or "create" not in verbs)


def settings(**changes: Any) -> Server:
    values: dict[str, Any] = {
        "port": 8080,
        "health_port": 8081,
        "metrics_port": 9090,
        "host": "",
        "read_timeout": 5.0,
        "write_timeout": 5.0,
        "shutdown_timeout": 60.0,
        "propagation_delay": 1.0,
        "max_body": 10_000,
        "max_batch": 7,
        "signer_dir": "",
        "tls_dir": "",
        "origins": (),
    }
    return Server(**values | changes)


class World:
    """A service, what is behind it, and clients in front of its three ports."""

    def __init__(self, **changes: Any) -> None:
        self.backend = Backend()
        parts = FakeStore(self.backend), FakeQueue(self.backend), FakeReviewer(self.backend)
        self.service = ServiceV1(*parts, settings(**changes))
        apps = self.service.app(), self.service.health_app(), self.service.metrics_app()
        self.api, self.health, self.metrics = (TestClient(app, raise_server_exceptions=False) for app in apps)
        self.api.headers["Authorization"] = f"Bearer {SERVICE_ACCOUNT}"


@pytest.fixture
def world() -> World:
    return World()


def event(**changes: object) -> dict[str, Any]:
    return {
        "version": "1.0",
        "event_type": "gateway.config.reloaded",
        "event_timestamp": datetime.now(UTC).isoformat(),
        "event_category": "gateway",
        "event_action": "reloaded",
        "event_outcome": "success",
        "correlation_id": "rr-1",
        "event_data": {"event_type": "gateway.config.reloaded", "component": "x"},
    } | changes


def test_each_port_has_its_own_paths(world: World) -> None:
    assert world.health.get("/readyz").json() == world.api.get("/readyz").json() == {"status": "ready"}
    assert world.health.get("/healthz").json().keys() == {"status", "timestamp"}
    assert world.metrics.get("/metrics").status_code == 200
    for client, path in (
        (world.api, "/health"),
        (world.api, "/healthz"),
        (world.api, "/metrics"),
        (world.health, "/health"),
        (world.health, EVENTS),
        (world.metrics, "/readyz"),
    ):
        assert client.get(path).status_code == 404, path


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ({"postgres"}, "database_unreachable"),
        ({"redis"}, "redis_unreachable"),
        ({"postgres", "redis"}, "database_unreachable"),
    ],
)
def test_readiness_and_its_reasons(world: World, broken: set[str], reason: str) -> None:
    world.backend.broken = broken
    for client in (world.api, world.health):
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json()) == (503, {"status": "not_ready", "reason": reason})
    assert world.health.get("/healthz").status_code == 200
    world.service.shutting_down = True
    assert world.health.get("/readyz").json()["reason"] == "shutting_down"


@pytest.mark.parametrize(
    ("header", "status", "title", "detail"),
    [
        (None, 401, "Unauthorized", "Missing Authorization header"),
        ("Basic x", 401, "Unauthorized", "Invalid Authorization header format"),
        ("Bearer ", 401, "Unauthorized", "Empty Bearer token"),
        ("Bearer bad", 401, "Unauthorized", "Invalid or expired token"),
        ("Bearer weak", 403, "Forbidden", "Insufficient permissions"),
    ],
)
@pytest.mark.parametrize("path", [EVENTS, BATCH, CHAIN, "/api/v1/nothing"])
def test_no_request_without_a_token(
    world: World, path: str, header: str | None, status: int, title: str, detail: str
) -> None:
    world.api.headers.pop("Authorization")
    answer = world.api.request("POST", path, headers={"Authorization": header} if header else {}, content=b"not JSON")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == {"type": "about:blank", "title": title, "status": status, "detail": detail}
    assert not world.backend.events


def test_reading_needs_get_and_writing_create_too(world: World) -> None:
    world.api.get(EVENTS)
    world.api.post(CHAIN, json={"correlation_id": "x"})
    assert world.backend.asked == [(SERVICE_ACCOUNT, ("get",)), (SERVICE_ACCOUNT, ("get", "create"))]
    assert world.api.get(EVENTS, headers={"Authorization": "Bearer weak"}).status_code == 200


def test_an_api_server_that_is_away(world: World) -> None:
    world.backend.broken = {"api"}
    answer = world.api.get(EVENTS)
    assert (answer.status_code, answer.json()["detail"]) == (500, "Authentication service unavailable")
    assert world.health.get("/readyz").status_code == 200


def test_a_human_is_the_actor_whatever_the_event_says(world: World) -> None:
    for user in (SERVICE_ACCOUNT, "alice"):
        body = event(actor_type="robot", actor_id="r2")
        headers = {"Authorization": f"Bearer {user}"}
        assert world.api.post(EVENTS, json=body, headers=headers).status_code == 201
        assert world.api.post(BATCH, json=[body], headers=headers).status_code == 201
    actors = [(found.actor_type, found.actor_id) for found in world.backend.events]
    assert actors == [("robot", "r2")] * 2 + [("user", "alice")] * 2


def test_a_batch_and_its_limit(world: World) -> None:
    answer = world.api.post(BATCH, json=[event()] * 7)
    assert (answer.status_code, len(answer.json()["event_ids"])) == (201, 7)
    answer = world.api.post(BATCH, json=[event()] * 8)
    assert (answer.status_code, answer.json()) == (
        400,
        {
            "type": "https://kubernaut.ai/problems/batch-size-exceeded",
            "title": "Batch Size Exceeded",
            "status": 400,
            "detail": "batch size 8 exceeds maximum allowed batch size of 7",
            "instance": BATCH,
        },
    )
    assert world.api.post(BATCH, json=[]).json()["detail"] == "batch cannot be empty"


@pytest.mark.parametrize("body", [event(event_category="execution"), event(event_data={}), {}, [], "x"])
def test_the_schema_is_not_explained(world: World, body: object) -> None:
    answer = world.api.post(EVENTS, json=body)
    assert answer.status_code == 400
    assert answer.json()["detail"] == "The request did not pass OpenAPI schema validation"
    assert "field_errors" not in answer.json()


def ago(**age: float) -> str:
    return (datetime.now(UTC) - timedelta(**age)).isoformat()


NOBODY = "00000000-0000-4000-8000-000000000000"
NO_PARENT = "parent event does not exist"
RULE, UNREADABLE = ("validation-error", "Validation Error"), ("invalid_request", "Invalid Request")
NO_EVENT = "The request body could not be parsed as valid JSON"
NO_EVENTS = "The request body must be a valid JSON array of audit event objects"


@pytest.mark.parametrize(
    ("path", "wrong", "problem", "detail"),
    [
        (EVENTS, {"event_timestamp": ago(days=8)}, RULE, "audit event request failed validation"),
        (EVENTS, {"event_timestamp": ago(hours=-2)}, RULE, "audit event request failed validation"),
        (BATCH, {"event_timestamp": ago(hours=-2)}, RULE, "event at index 1 failed validation"),
        (EVENTS, {"parent_event_id": "nope"}, UNREADABLE, NO_EVENT),
        (EVENTS, {"parent_event_id": ""}, UNREADABLE, NO_EVENT),
        (BATCH, {"parent_event_id": "nope"}, UNREADABLE, NO_EVENTS),
        (EVENTS, {"parent_event_id": NOBODY}, RULE, NO_PARENT),
        (EVENTS, {"parent_event_id": None}, RULE, NO_PARENT),
        (BATCH, {"parent_event_id": NOBODY}, RULE, f"event at index 1: {NO_PARENT}"),
    ],
)
def test_what_a_refused_request_is_told(
    world: World, path: str, wrong: dict[str, object], problem: tuple[str, str], detail: str
) -> None:
    answer = world.api.post(path, json=event(**wrong) if path == EVENTS else [event(), event(**wrong)])
    slug, title = problem
    assert (answer.status_code, answer.json()) == (
        400,
        {"type": f"https://kubernaut.ai/problems/{slug}", "title": title, "status": 400, "detail": detail},
    )
    assert not world.backend.events


def test_a_parent_that_is_stored(world: World) -> None:
    parent = world.api.post(EVENTS, json=event()).json()["event_id"]
    assert world.api.post(EVENTS, json=event(parent_event_id=f"urn:uuid:{parent}")).status_code == 201
    assert world.api.post(BATCH, json=[event(parent_event_id=parent)]).status_code == 201
    first, *children = world.backend.events
    assert [str(child.parent_event_id) for child in children] == [parent, parent]
    day = f"{first.event_timestamp.date()}T00:00:00Z"
    assert [child.parent_event_date for child in children] == [day, day]


@pytest.mark.parametrize("query", ["since=1w", "until=tomorrow", "detail_key=component"])
def test_what_a_refused_query_is_told(world: World, query: str) -> None:
    answer = world.api.get(f"{EVENTS}?{query}")
    assert (answer.status_code, answer.json()) == (
        400,
        {
            "type": "https://kubernaut.ai/problems/validation-error",
            "title": "Validation Error",
            "status": 400,
            "detail": "Validation failed for query parameters: query - invalid query parameters",
            "field_errors": {"query": "invalid query parameters"},
            "instance": "/audit/query parameters",
            "resource": "query parameters",
        },
    )


def test_every_port_answers_what_it_does_not_know_as_the_originals_router(world: World) -> None:
    for client in (world.api, world.health, world.metrics):
        answer = client.get("/nothing")
        assert (answer.status_code, answer.text) == (404, "404 page not found\n")
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    for method, path in (("PUT", EVENTS), ("HEAD", EVENTS), ("GET", BATCH), ("GET", CHAIN)):
        answer = world.api.request(method, path)
        assert (answer.status_code, answer.text) == (405, ""), path
    assert world.api.get(f"{EVENTS}/").status_code == 404
    assert world.health.get("/readyz").headers["content-type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large(world: World, chunked: bool) -> None:
    body = b" " * 10_001
    headers = {"Content-Type": "application/json"}
    answer = world.api.post(EVENTS, content=iter([body]) if chunked else body, headers=headers)
    assert (answer.status_code, answer.json()) == (
        413,
        {
            "type": "https://kubernaut.ai/problems/request-too-large",
            "title": "Request Entity Too Large",
            "status": 413,
            "detail": "Request body exceeds the maximum allowed size.",
        },
    )


def test_what_postgresql_does_not_take_is_kept(world: World) -> None:
    world.backend.broken = {"postgres"}
    single = world.api.post(EVENTS, json=event())
    assert (single.status_code, single.json()["status"]) == (202, "accepted")
    batch = world.api.post(BATCH, json=[event()] * 7)
    assert (batch.status_code, batch.json()) == (
        202,
        {"status": "accepted", "message": "7 audit events queued for async processing via DLQ", "count": 7},
    )
    assert [reason for _event, reason in world.backend.dead] == ["database write failed"] * 8


def test_a_batch_that_is_lost_in_part(world: World) -> None:
    world.backend.broken, world.backend.room = {"postgres"}, 3
    answer = world.api.post(BATCH, json=[event()] * 7)
    assert (answer.status_code, answer.json()["detail"]) == (
        500,
        "Batch write failed; 3 of 7 events queued to DLQ, 4 lost",
    )
    world.backend.broken = {"postgres", "redis"}
    assert world.api.post(BATCH, json=[event()]).json()["detail"].endswith("0 of 1 events queued to DLQ, 1 lost")
    single = world.api.post(EVENTS, json=event())
    assert (single.status_code, single.json()["type"]) == (500, "https://kubernaut.ai/problems/database_error")


def test_verify_chain(world: World) -> None:
    assert world.api.post(CHAIN, json={"correlation_id": "abc"}).json()["total_events"] == 3
    assert world.api.post(CHAIN, json={"correlation_id": ""}).json()["title"] == "Missing Required Field"
    assert world.api.post(CHAIN, json={"correlation_id": "x" * 257}).json()["title"] == "Invalid Correlation ID"
    assert world.api.post(CHAIN, json={}).status_code == 400
    world.backend.chain_too_long = True
    assert world.api.post(CHAIN, json={"correlation_id": "abc"}).json()["title"] == "Chain Too Long"
    world.backend.broken = {"postgres"}
    assert world.api.post(CHAIN, json={"correlation_id": "abc"}).status_code == 500


def test_the_query_has_another_default(world: World) -> None:
    assert world.api.get(EVENTS).json()["data"] == [{"limit": 50}]


def test_no_origin_unless_configured(world: World) -> None:
    origin = {"Origin": "http://a"}
    assert "access-control-allow-origin" not in world.api.get("/readyz", headers=origin).headers
    allowed = World(origins=("http://a",)).api.get("/readyz", headers=origin)
    assert allowed.headers["access-control-allow-origin"] == "http://a"
