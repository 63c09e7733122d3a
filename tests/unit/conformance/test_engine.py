# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The conformance suite can fail: a service with one flaw, behind a real socket, does not pass its cases."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ansible_collections.kubernaut.integration.tests.conformance.cases import sound_cases
from ansible_collections.kubernaut.integration.tests.conformance.contract import BATCH, EVENTS, Case
from ansible_collections.kubernaut.integration.tests.conformance.engine import Bench, attempt, client, decoded, when
from ansible_collections.kubernaut.integration.tests.conformance.target import Target

V0_CASES = {case.name: case for case in sound_cases() if "v0" in case.origins}


@dataclass
class Fake:
    """A service with the memory of a PostgreSQL and a Redis, that takes every event; ``flaw`` is what it does wrong."""

    flaw: str = ""
    table: list[dict[str, Any]] = field(default_factory=list)
    stream: list[str] = field(default_factory=list)

    def rows(self, mark: str) -> list[dict[str, Any]]:
        return [row for row in self.table if row["correlation_id"] == mark]

    def entries(self, correlation: str) -> list[dict[str, Any]]:
        return [decoded(message) for message in self.stream if correlation in message]

    def store(self, event: dict[str, Any]) -> str:
        moment = when(event["event_timestamp"])
        row = {
            **{name: value for name, value in event.items() if name != "version"},
            "event_id": uuid.uuid4(),
            "event_version": "9" if self.flaw == "another value" else event["version"],
            "event_timestamp": moment,
            "event_date": moment.date(),
            "retention_days": 2555,
            "partition": "audit_events" if self.flaw == "no partition" else f"audit_events_{moment:%Y_%m}",
        }
        if self.flaw != "row missing":
            self.table.append(row)
        if self.flaw == "row twice":
            self.table.append({**row, "event_id": uuid.uuid4()})
        if self.flaw == "in the queue as well":
            self.queue(event)
        return str(row["event_id"])

    def queue(self, event: dict[str, Any]) -> None:
        data = json.dumps({} if self.flaw == "other data queued" else event["event_data"])
        payload = {**event, "event_data": base64.b64encode(data.encode()).decode()}
        reason = "because" if self.flaw == "no reason" else "ERROR: value too long for type character varying(10)"
        reason = f"failed to insert audit event: {reason} (SQLSTATE 22001)"
        self.stream.append(json.dumps({"type": "audit_event", "payload": payload, "last_error": reason}))

    def answer(self, body: dict[str, Any], status: int, kind: str = "application/json") -> Response:
        if self.flaw == "another status":
            status = 202 if status == 201 else 200
        if self.flaw == "another type":
            kind = "text/html"
        if self.flaw == "one member too many":
            body = {**body, "more": 1}
        return JSONResponse(body, status, media_type=kind)

    async def create(self, request: Request) -> Response:
        event = await request.json()
        if event["event_category"] == "astrology":
            if self.flaw == "refused and stored":
                self.store(event)
            place = "/event_type" if self.flaw == "another detail" else "/event_category"
            schema = "doesn't match schema #/components/schemas/AuditEventRequest"
            detail = f'request body has an error: {schema}: Error at "{place}": no'
            slug = "other" if self.flaw == "another problem" else "validation-error"
            problem = {"type": f"https://kubernaut.ai/problems/{slug}", "title": "Validation Error", "detail": detail}
            return self.answer({**problem, "status": 400}, 400, "application/problem+json")
        if len(event["version"]) > 10:
            if self.flaw != "not queued":
                self.queue(event)
            return self.answer({"status": "accepted", "message": "audit event queued for async processing"}, 202)
        body = {"event_id": self.store(event), "event_timestamp": event["event_timestamp"]}
        if self.flaw != "no message":
            body["message"] = "Audit event created successfully"
        return self.answer(body, 201)

    async def create_batch(self, request: Request) -> Response:
        ids = [self.store(event) for event in await request.json()]
        ids = ids[1:] if self.flaw == "an id missing" else ids
        return self.answer({"event_ids": ids, "message": "7 audit events created successfully"}, 201)

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route(EVENTS, self.create, methods=["POST"]),
                Route(BATCH, self.create_batch, methods=["POST"]),
            ]
        )


@pytest.fixture(scope="module")
def running() -> Iterator[Bench]:
    """The fake behind a real socket."""
    fake = Fake()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(fake.app(), log_level="error", lifespan="off", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            deadline = time.monotonic() + 10
            while not server.started:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            with client() as http:
                yield Bench(Target("v0", url, url, url, "", ""), http, fake, fake)
        finally:
            server.should_exit = True
            thread.join(10)


@pytest.fixture
def bench(running: Bench) -> Bench:
    """The fake, which has forgotten what came before."""
    vars(running.database).update(vars(Fake()))
    return running


STORED, BATCHED, REFUSED, QUEUED = (
    V0_CASES[name] for name in ("event-stored", "batch-stored", "unknown-category", "event-version-too-long-says-why")
)


@pytest.mark.parametrize("case", [STORED, BATCHED, REFUSED, QUEUED], ids=lambda case: case.name)
def test_a_service_without_a_flaw_passes(bench: Bench, case: Case) -> None:
    assert attempt(case, bench) == []


@pytest.mark.parametrize(
    ("flaw", "case", "complaint"),
    [
        ("another status", STORED, "answered 202"),
        ("another status", BATCHED, "answered 202"),
        ("another status", REFUSED, "answered 200"),
        ("another status", QUEUED, "answered 200"),
        ("another type", STORED, "the content type is 'text/html', expected 'application/json'"),
        ("another type", REFUSED, "the content type is 'text/html', expected 'application/problem+json'"),
        ("no message", STORED, "body.message is missing"),
        ("one member too many", STORED, "body has more than expected: more"),
        ("one member too many", REFUSED, "body has more than expected: more"),
        ("an id missing", BATCHED, "body.event_ids has 6 elements, expected 7"),
        ("another detail", REFUSED, "body.detail is"),
        ("another problem", REFUSED, "body.type is"),
        ("row missing", STORED, "0 new rows in PostgreSQL, expected 1"),
        ("row missing", BATCHED, "0 new rows in PostgreSQL, expected 7"),
        ("row twice", STORED, "2 new rows in PostgreSQL, expected 1"),
        ("refused and stored", REFUSED, "1 new rows in PostgreSQL, expected 0"),
        ("another value", STORED, "row[0].event_version is '9', expected '1.0'"),
        ("no partition", BATCHED, "row[6].partition is 'audit_events'"),
        ("in the queue as well", STORED, "1 new entries in the DLQ, expected 0"),
        ("not queued", QUEUED, "0 new entries in the DLQ, expected 1"),
        ("no reason", QUEUED, "entry[0].last_error is"),
        ("other data queued", QUEUED, "entry[0].payload.event_data.component is missing"),
    ],
)
def test_a_flaw_is_found(bench: Bench, flaw: str, case: Case, complaint: str) -> None:
    vars(bench.database)["flaw"] = flaw
    wrong = attempt(case, bench)
    assert [words for words in wrong if complaint in words], wrong


def test_a_service_that_is_not_there_fails_its_case(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    wrong = attempt(STORED, bench.at(f"http://127.0.0.1:{port}"))
    assert wrong[0].startswith("no answer: ConnectError")


def test_a_case_that_builds_on_something_says_so(bench: Bench) -> None:
    (complaint,) = attempt(V0_CASES["query-of-nothing"], bench)
    assert complaint.startswith("answered 405")
    (complaint,) = attempt(V0_CASES["event-with-parent"], bench.at(bench.target.url + "/nowhere"))
    assert complaint.startswith("what the case builds on was answered 404")


def test_times_are_compared_as_postgresql_keeps_them() -> None:
    moment = datetime(2026, 11, 25, 12, 0, 0, 123456, tzinfo=UTC)
    assert when("2026-11-25T12:00:00.123456789Z") == moment
    assert when("2026-11-25T14:00:00.123456+02:00") == moment
