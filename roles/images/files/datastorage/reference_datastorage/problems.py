# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Error answers as RFC 7807 problem details."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

TYPE_PREFIX = "https://kubernaut.ai/problems/"
_LOCATED = ("database-error", "internal-error", "batch-size-exceeded")


class ProblemError(Exception):
    """Ends a request with a problem; ``slug`` is the last part of its type. The text is the problem's detail.

    A problem without a slug has no type beyond its status (``about:blank``), and no instance.
    """

    def __init__(
        self, status: int, slug: str, title: str, detail: str, field_errors: Mapping[str, str] | None = None
    ) -> None:
        """Keep what the answer is made of."""
        super().__init__(detail)
        self.status, self.slug, self.title, self.detail = status, slug, title, detail
        self.field_errors = dict(field_errors or {})

    def body(self, instance: str) -> dict[str, object]:
        """Return the answer's JSON; ``instance`` is the path of the request."""
        body: dict[str, object] = {"title": self.title, "status": self.status, "detail": self.detail}
        if not self.slug:
            return {"type": "about:blank"} | body
        body = {"type": TYPE_PREFIX + self.slug} | body
        # Only these failures say where they happened; ``field_errors`` of a refusal are for the metrics.
        return body | {"instance": instance} if self.slug in _LOCATED else body


class QueryProblemError(ProblemError):
    """The 400 for a time that the query cannot read: it tells the resource and the fault once more."""

    def __init__(self, reason: str) -> None:
        """Keep what is wrong."""
        detail = f"Validation failed for query parameters: query - {reason}"
        super().__init__(400, "validation-error", "Validation Error", detail, {"query": reason})

    def body(self, instance: str) -> dict[str, object]:
        """Return the answer's JSON."""
        more = {
            "instance": "/audit/query parameters",
            "resource": "query parameters",
            "field_errors": self.field_errors,
        }
        return super().body(instance) | more


class WindowError(ProblemError):
    """The 400 for an event from the future or from long ago. ``what`` names the event: one of a batch by its index."""

    def __init__(self, prefix: str, reason: str) -> None:
        """Keep which event it is, by what stands before the reason."""
        super().__init__(400, "validation-error", "Validation Error", f"{prefix}invalid timestamp: {reason}")
        self.what = prefix.removesuffix(": ") or "audit event request"


class SchemaError(ProblemError):
    """The 400 for a request that breaks the published schema, as opposed to a rule beyond it."""

    def __init__(self, detail: str, field_errors: Mapping[str, str] | None = None) -> None:
        """Keep which part of the schema was broken."""
        super().__init__(400, "validation-error", "Validation Error", detail, field_errors)


def validation_problem(detail: str, field_errors: Mapping[str, str] | None = None) -> ProblemError:
    """Return the 400 for a request that breaks a rule."""
    return ProblemError(400, "validation-error", "Validation Error", detail, field_errors)


def undecodable_problem(detail: str) -> ProblemError:
    """Return the 400 for a body that fits the schema and cannot be read all the same."""
    return ProblemError(400, "invalid_request", "Invalid Request", detail)


def database_problem(detail: str) -> ProblemError:
    """Return the 500 of the batch and the query; a single event's has a slug of its own in the contract."""
    return ProblemError(500, "database-error", "Database Error", detail)


def respond(request: Request, error: Exception) -> Response:
    """Answer with a problem; whatever is not one becomes a 500 that tells nothing about the inside."""
    problem = (
        error
        if isinstance(error, ProblemError)
        else ProblemError(500, "internal-error", "Internal Server Error", "unexpected failure, see the service's log")
    )
    return JSONResponse(problem.body(request.url.path), problem.status, media_type="application/problem+json")
