# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The HTTP side of contract v1: three applications, one per port."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Protocol

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from reference_datastorage.app import EventQueue, EventStore, Probed, RequestLog, Service, cors
from reference_datastorage.dlq import DlqError
from reference_datastorage.events import Event, parse_json
from reference_datastorage.gotime import format_rfc3339
from reference_datastorage.log import Logger
from reference_datastorage.problems import (
    ProblemError,
    QueryProblemError,
    SchemaError,
    WindowError,
    database_problem,
    undecodable_problem,
    validation_problem,
)
from reference_datastorage.store import StoreError
from reference_datastorage.v1.auth import Authentication, attribute
from reference_datastorage.v1.config import Server
from reference_datastorage.v1.kube import Reviewer
from reference_datastorage.v1.rules import V1
from reference_datastorage.v1.store import MAX_CHAIN, ChainTooLongError, Verification

MAX_CORRELATION_ID = 256

_log = Logger("datastorage")


class ChainedStore(EventStore, Protocol):
    """What the routes need of PostgreSQL."""

    async def verify(self, correlation_id: str) -> Verification:
        """Follow a chain. Raises StoreError and ChainTooLongError."""


class PingedQueue(EventQueue, Protocol):
    """What the routes need of the dead letter queue."""

    async def ping(self) -> None:
        """Ask Redis for its PONG. Raises DlqError."""


class ServiceV1(Service):
    """The routes of contract v1, where they are not those of contract v0."""

    rules = V1

    def __init__(self, store: ChainedStore, queue: PingedQueue, reviewer: Reviewer, server: Server) -> None:
        """Take the two stores, whom to ask about tokens, and the limits."""
        super().__init__(store, queue, server.read_timeout)
        self._chains, self._redis, self._reviewer, self._server = store, queue, reviewer, server

    def app(self) -> Starlette:
        """Return the application of the API's port."""
        middleware = [Middleware(RequestLog)]
        if self._server.origins:
            middleware.append(cors(self._server.origins))
        routes = [
            Route("/readyz", self.ready),
            Route("/api/v1/audit/events", self.query, methods=["GET"]),
            Route("/api/v1/audit/events", self.create, methods=["POST"]),
            Route("/api/v1/audit/events/batch", self.create_batch, methods=["POST"]),
            Route("/api/v1/audit/verify-chain", self.verify_chain, methods=["POST"]),
        ]
        authentication = Middleware(Authentication, reviewer=self._reviewer)
        return self.application(routes, [*middleware, authentication, self.limits()])

    def health_app(self) -> Starlette:
        """Return the application of the health port."""
        return self.application([Route("/readyz", self.ready), Route("/healthz", self.live)])

    def metrics_app(self) -> Starlette:
        """Return the application of the metrics port."""
        return self.application([Route("/metrics", self.metrics)])

    async def ready(self, _request: Request) -> Response:
        """200 while PostgreSQL and Redis answer and no stop is under way, else 503 with the reason."""
        reason = "shutting_down" if self.shutting_down else await self._unreachable()
        if reason is None:
            return Probed({"status": "ready"})
        return Probed({"status": "not_ready", "reason": reason}, 503)

    async def live(self, _request: Request) -> Response:
        """200 as long as the process can answer at all."""
        return Probed({"status": "healthy", "timestamp": format_rfc3339(datetime.now(UTC))})

    async def verify_chain(self, request: Request) -> Response:
        """200 with what the look at one correlation id's chain has shown, good or bad."""
        correlation_id = _correlation_id(parse_json(await self._body(request)))
        try:
            result = await self._chains.verify(correlation_id)
        except ChainTooLongError:
            raise ProblemError(
                400, "chain-too-long", "Chain Too Long", f"more than {MAX_CHAIN} events of one correlation_id"
            ) from None
        except StoreError as error:
            _log.error(error, "Failed to verify hash chain", correlation_id=correlation_id)
            raise database_problem("Failed to query audit events from database") from error
        return JSONResponse(result.answer(correlation_id, datetime.now(UTC)))

    def accept(self, request: Request, events: list[Event]) -> list[Event]:
        """Refuse a batch that is too large, and write a human sender into the events."""
        if len(events) > self._server.max_batch:
            raise ProblemError(
                400,
                "batch-size-exceeded",
                "Batch Size Exceeded",
                f"batch size {len(events)} exceeds maximum allowed batch size of {self._server.max_batch}",
            )
        return [attribute(request, event) for event in events]

    def with_parent(self, event: Event, day: date) -> Event:
        """Return an event with both parts of the key by which its parent is found."""
        return replace(event, parent_event_date=f"{day}T00:00:00Z")

    async def find_parents(self, events: list[Event]) -> list[Event]:
        """Return a batch as it is to be stored. Raises StoreError, and ProblemError where a parent is not stored."""
        return [await self.find_parent(event, f"event at index {index}: ") for index, event in enumerate(events)]

    async def keep_batch(self, events: Sequence[Event], error: StoreError) -> Response:
        """Answer a batch that PostgreSQL did not take: 202 when the dead letter queue has it all, else 500."""
        count = len(events)
        for queued, event in enumerate(events):
            try:
                await self._queue.enqueue(event, self.last_error(error))
            except DlqError as failure:
                _log.error(failure, "DLQ fallback failed for batch item - data loss risk", event_type=event.event_type)
                # The rest would wait for the same Redis, each for its own time-out.
                detail = f"Batch write failed; {queued} of {count} events queued to DLQ, {count - queued} lost"
                raise database_problem(detail) from failure
            self._metrics.traces.labels(event.event_category, "dlq_fallback").inc()
        _log.info("Batch DLQ fallback succeeded - all events queued", count=count)
        message = f"{count} audit events queued for async processing via DLQ"
        return JSONResponse({"status": "accepted", "message": message, "count": count}, 202)

    def last_error(self, _reason: StoreError) -> str:
        """Return what a dead letter says about its failure: the log knows more."""
        return "database write failed"

    def max_body(self) -> int:
        """Return the bytes that a request's body may have."""
        return self._server.max_body

    async def refuse(self, request: Request, error: Exception) -> Response:
        """Answer, log and count a refusal; what exactly was wrong is often only in the log."""
        told = _told(error, batch=request.url.path.endswith("/batch")) if isinstance(error, ProblemError) else None
        if told is not None:
            _log.info("Request validation failed", path=request.url.path, error=str(error))
        return await super().refuse(request, told or error)

    async def _unreachable(self) -> str | None:
        try:
            await self._chains.ping()
        except StoreError as error:
            _log.error(error, "Readiness probe failed - database unreachable")
            return "database_unreachable"
        try:
            await self._redis.ping()
        except DlqError as error:
            _log.error(error, "Readiness probe failed - Redis unreachable")
            return "redis_unreachable"
        return None


def _told(problem: ProblemError, *, batch: bool) -> ProblemError | None:
    """Return the problem that a client gets instead of one that says more; None where it says no more than it may."""
    if isinstance(problem, SchemaError):
        return validation_problem("The request did not pass OpenAPI schema validation")
    if isinstance(problem, WindowError):
        return validation_problem(f"{problem.what} failed validation")
    if isinstance(problem, QueryProblemError):
        return QueryProblemError("invalid query parameters")
    if problem.slug == "invalid_request":
        body = "must be a valid JSON array of audit event objects" if batch else "could not be parsed as valid JSON"
        return undecodable_problem(f"The request body {body}")
    if problem.slug == "request-too-large":
        detail = "Request body exceeds the maximum allowed size."
        return ProblemError(413, problem.slug, "Request Entity Too Large", detail)
    return None


def _correlation_id(value: object) -> str:
    found = value.get("correlation_id") if isinstance(value, dict) else None
    if not isinstance(found, str):
        raise SchemaError('request body has an error: Error at "/correlation_id": value must be a string')
    if not found:
        raise ProblemError(
            400, "missing-correlation-id", "Missing Required Field", "Field 'correlation_id' is required"
        )
    if len(found) > MAX_CORRELATION_ID:
        detail = f"Field 'correlation_id' exceeds maximum length of {MAX_CORRELATION_ID} characters"
        raise ProblemError(400, "invalid-correlation-id", "Invalid Correlation ID", detail)
    return found
