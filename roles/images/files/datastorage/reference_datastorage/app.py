# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The HTTP side: all of contract v0, and what contract v1 takes over from it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Protocol
from uuid import UUID

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.process_collector import ProcessCollector
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reference_datastorage.dlq import DlqError
from reference_datastorage.events import V0, Event, EventQuery, Rules, parse_batch, parse_event, parse_json, parse_query
from reference_datastorage.gotime import format_rfc3339
from reference_datastorage.limits import MAX_BODY, RequestLimits
from reference_datastorage.log import Logger
from reference_datastorage.problems import (
    ProblemError,
    SchemaError,
    database_problem,
    respond,
    validation_problem,
)
from reference_datastorage.store import Page, PageTooLargeError, StoreError

_log = Logger("datastorage")


class EventStore(Protocol):
    """What the routes need of PostgreSQL; every method raises StoreError."""

    async def ping(self) -> None:
        """Ask for a sign of life."""

    async def insert(self, event: Event) -> None:
        """Store one event."""

    async def insert_batch(self, events: Sequence[Event]) -> None:
        """Store all events or none."""

    async def day_of(self, event_id: UUID) -> date | None:
        """Return the day of a stored event."""

    async def query(self, query: EventQuery) -> Page:
        """Return a page of events."""


class EventQueue(Protocol):
    """What the routes need of the dead letter queue."""

    async def enqueue(self, event: Event, last_error: str) -> None:
        """Keep one event. Raises DlqError."""


class Metrics:
    """The service's metrics, under the original's names, with those of the process."""

    def __init__(self) -> None:
        """Make a registry of its own, so that two applications in one process do not meet."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.traces = Counter(
            "datastorage_audit_traces_total",
            "Audit events by category and outcome.",
            ["service", "status"],
            registry=self.registry,
        )
        self.lag = Histogram(
            "datastorage_audit_lag_seconds",
            "Age of an event when it was stored.",
            ["service"],
            registry=self.registry,
            buckets=(0.1, 0.5, 1, 2, 5, 10, 30, 60),
        )
        self.writes = Histogram(
            "datastorage_write_duration_seconds",
            "Time taken by a write to PostgreSQL.",
            ["table"],
            registry=self.registry,
        )
        self.refused = Counter(
            "datastorage_validation_failures_total",
            "Requests refused, by problem.",
            ["field", "reason"],
            registry=self.registry,
        )


class Service:
    """The routes and what they share. ``shutting_down`` turns readiness off; everything else keeps working.

    What another contract does otherwise, it overrides: the rules of an event, and the methods that say so.
    """

    rules: Rules = V0

    def __init__(self, store: EventStore, queue: EventQueue, read_timeout: float) -> None:
        """Take the two stores, and the seconds that a request's body may take to arrive."""
        self._store, self._queue, self._read_timeout = store, queue, read_timeout
        self._metrics = Metrics()
        self.shutting_down = False

    def app(self) -> Starlette:
        """Return the ASGI application."""
        routes = [
            Route("/health", self.health),
            Route("/health/ready", self.ready),
            Route("/health/live", self.live),
            Route("/metrics", self.metrics),
            Route("/api/v1/audit/events", self.query, methods=["GET"]),
            Route("/api/v1/audit/events", self.create, methods=["POST"]),
            Route("/api/v1/audit/events/batch", self.create_batch, methods=["POST"]),
        ]
        return self.application(routes, [Middleware(RequestLog), cors(["*"], ["Link", "X-Request-Id"]), self.limits()])

    def application(self, routes: Sequence[Route], middleware: Sequence[Middleware] = ()) -> Starlette:
        """Return an application that answers what it does not know as the original's router does."""
        app = Starlette(
            routes=routes,
            middleware=middleware,
            exception_handlers={ProblemError: self.refuse, HTTPException: _no_route, Exception: respond},
        )
        # The original's router neither answers HEAD for GET nor redirects /health/ to /health.
        app.router.redirect_slashes = False
        for route in routes:
            if route.methods:
                route.methods.discard("HEAD")
        return app

    def limits(self) -> Middleware:
        """Return what bounds requests and answers."""
        return Middleware(RequestLimits, read_timeout=self._read_timeout, max_body=self.max_body())

    async def health(self, _request: Request) -> Response:
        """200 while PostgreSQL answers, else 503. Says nothing about the schema or Redis: so does the original."""
        try:
            await self._store.ping()
        except StoreError as error:
            _log.error(error, "Health check failed - database unreachable")
            return Probed({"status": "unhealthy", "database": "unreachable", "error": str(error)}, 503)
        return Probed({"status": "healthy", "database": "connected"})

    async def ready(self, _request: Request) -> Response:
        """200 while PostgreSQL answers and no stop is under way, else 503 with the reason."""
        if self.shutting_down:
            return Probed({"status": "not_ready", "reason": "shutting_down"}, 503)
        try:
            await self._store.ping()
        except StoreError as error:
            body = {"status": "not_ready", "reason": "database_unreachable", "error": str(error)}
            return Probed(body, 503)
        return Probed({"status": "ready"})

    async def live(self, _request: Request) -> Response:
        """200 as long as the process can answer at all."""
        return Probed({"status": "alive"})

    async def metrics(self, _request: Request) -> Response:
        """Metrics in Prometheus' text format."""
        return Response(generate_latest(self._metrics.registry), media_type=CONTENT_TYPE_LATEST)

    async def create(self, request: Request) -> Response:
        """201 when the event is in PostgreSQL, 202 when only the dead letter queue has it, 500 when nobody does."""
        value = parse_json(await self._body(request))
        [event] = self.accept(request, [parse_event(value, datetime.now(UTC), self.rules)])
        started = time.monotonic()
        try:
            event = await self.find_parent(event)
            await self._store.insert(event)
        except StoreError as error:
            _log.error(error, "Database write failed", **_identify(event))
            return await self._enqueue(event, error)
        self._stored([event], "audit_events", started)
        return JSONResponse(
            {
                "event_id": str(event.event_id),
                "event_timestamp": format_rfc3339(event.event_timestamp.astimezone(UTC)),
                "message": "Audit event created successfully",
            },
            201,
        )

    async def create_batch(self, request: Request) -> Response:
        """201 when every event is in PostgreSQL; else what the contract has for a failed batch."""
        value = parse_json(await self._body(request))
        events = self.accept(request, parse_batch(value, datetime.now(UTC), self.rules))
        started = time.monotonic()
        try:
            events = await self.find_parents(events)
            await self._store.insert_batch(events)
        except StoreError as error:
            _log.error(error, "Batch database write failed", count=len(events))
            return await self.keep_batch(events, error)
        self._stored(events, "audit_events_batch", started)
        message = f"{len(events)} audit events created successfully"
        return JSONResponse({"event_ids": [str(event.event_id) for event in events], "message": message}, 201)

    async def query(self, request: Request) -> Response:
        """200 with a page of events, newest first."""
        # Of a parameter that comes twice the first one counts.
        query = parse_query(dict(reversed(request.query_params.multi_items())), rules=self.rules)
        try:
            page = await self._store.query(query)
        except PageTooLargeError as error:
            raise ProblemError(413, "response-too-large", "Response Too Large", str(error)) from None
        except StoreError as error:
            _log.error(error, "Failed to query audit events")
            raise database_problem("Failed to query audit events from database") from error
        pagination = {
            "limit": query.limit,
            "offset": query.offset,
            "total": page.total,
            "has_more": query.offset + len(page.rows) < page.total,
        }
        return JSONResponse({"data": page.rows, "pagination": pagination})

    def accept(self, _request: Request, events: list[Event]) -> list[Event]:
        """Judge valid events once more, all of a request together. Contract v0 takes them as they are."""
        return events

    async def find_parent(self, event: Event, prefix: str = "") -> Event:
        """Return an event as it is to be stored. Raises StoreError, and ProblemError where its parent is not stored."""
        if event.parent_event_id is None:
            return event
        day = await self._store.day_of(event.parent_event_id)
        if day is None:
            raise validation_problem(f"{prefix}parent event does not exist")
        return self.with_parent(event, day)

    def with_parent(self, event: Event, _day: date) -> Event:
        """Return an event with what is stored of its parent: contract v0 keeps only the id."""
        return event

    async def find_parents(self, events: list[Event]) -> list[Event]:
        """Return a batch as it is to be stored. Contract v0 does not look for parents."""
        return events

    async def keep_batch(self, _events: Sequence[Event], error: StoreError) -> Response:
        """Answer a batch that PostgreSQL did not take: contract v0 has no second way for it."""
        raise database_problem("Failed to write audit events batch to database") from error

    def last_error(self, reason: StoreError) -> str:
        """Return what a dead letter says about its failure."""
        return f"failed to insert audit event: {reason}"

    def max_body(self) -> int:
        """Return the bytes that a request's body may have."""
        return MAX_BODY

    async def _body(self, request: Request) -> bytes:
        """Return the request's body. Raises ProblemError for the wrong type, and what the limits have."""
        content_type = request.headers.get("content-type", "")
        if content_type.split(";")[0].strip().lower() != "application/json":
            raise SchemaError(f'request body has an error: header Content-Type has unexpected value "{content_type}"')
        try:
            return await request.body()
        except ClientDisconnect:
            raise validation_problem("request body has an error: connection closed before its end") from None

    async def _enqueue(self, event: Event, reason: StoreError) -> Response:
        try:
            await self._queue.enqueue(event, self.last_error(reason))
        except DlqError as error:
            _log.error(
                error, "DLQ fallback also failed - data loss risk", original_error=str(reason), **_identify(event)
            )
            detail = "Failed to write audit event to database and DLQ"
            raise ProblemError(500, "database_error", "Database Error", detail) from error
        _log.info("DLQ fallback succeeded", **_identify(event))
        self._metrics.traces.labels(event.event_category, "dlq_fallback").inc()
        return JSONResponse({"status": "accepted", "message": "audit event queued for async processing"}, 202)

    def _stored(self, events: Sequence[Event], table: str, started: float) -> None:
        now = datetime.now(UTC)
        self._metrics.writes.labels(table).observe(time.monotonic() - started)
        for event in events:
            self._metrics.traces.labels(event.event_category, "success").inc()
            self._metrics.lag.labels(event.event_category).observe((now - event.event_timestamp).total_seconds())

    async def refuse(self, request: Request, error: Exception) -> Response:
        """Answer, log and count a refusal."""
        if isinstance(error, ProblemError) and error.status < 500:
            _log.info("Request refused", path=request.url.path, status=error.status, error=error.detail)
            self._metrics.refused.labels(next(iter(error.field_errors), "body"), error.slug).inc()
        return respond(request, error)


def cors(origins: Sequence[str], exposed: Sequence[str] = ()) -> Middleware:
    """Return what lets pages of ``origins`` use the service, and read the headers ``exposed`` of its answers."""
    return Middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=["GET", "POST", "OPTIONS"],
        allow_headers=["Accept", "Authorization", "Content-Type", "X-Request-ID"],
        expose_headers=exposed,
        max_age=300,
    )


class Probed(JSONResponse):
    """An answer of a health probe: JSON that the original calls text."""

    media_type = "text/plain"


async def _no_route(request: Request, error: Exception) -> Response:
    """Answer a path that does not exist, or a method that it does not have, as the original's router does."""
    if not isinstance(error, HTTPException) or error.status_code != 405:
        return PlainTextResponse("404 page not found\n", 404, {"X-Content-Type-Options": "nosniff"})
    routes = (route for route in request.app.routes if isinstance(route, Route) and route.path == request.url.path)
    return Response(status_code=405, headers={"Allow": ", ".join(m for route in routes for m in route.methods or ())})


def _identify(event: Event) -> dict[str, str]:
    return {"event_type": event.event_type, "correlation_id": event.correlation_id}


class RequestLog:
    """Logs one line per request. Plain ASGI: Starlette's base class would put a task and a queue around each."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started, status = time.monotonic(), 0

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, observed)
        finally:
            _log.info(
                "HTTP request",
                method=scope["method"],
                path=scope["path"],
                status=status,
                duration=round(time.monotonic() - started, 6),
            )
