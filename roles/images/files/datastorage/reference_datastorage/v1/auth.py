# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""No request under ``/api/v1`` without a bearer token whose user may use the service."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from http import HTTPStatus

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from reference_datastorage.events import Event
from reference_datastorage.log import Logger
from reference_datastorage.problems import ProblemError, respond
from reference_datastorage.v1.kube import Reviewer, ReviewError

PREFIX = "/api/v1/"
_BEARER = "Bearer "
_SERVICE_ACCOUNT = "system:serviceaccount:"
_USER = "user"

_log = Logger("datastorage")


class Authentication:
    """Asks who sends a request and whether that user may, before anything of its body is read.

    Every route needs the verb ``get``; what is sent with POST needs ``create``, too.
    """

    def __init__(self, app: ASGIApp, reviewer: Reviewer) -> None:
        """Take what comes behind, and whom to ask."""
        self._app, self._reviewer = app, reviewer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through with its user's name in its state, or answer it."""
        if scope["type"] != "http" or not scope["path"].startswith(PREFIX):
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        try:
            request.state.user = await self._user(request)
        except ProblemError as problem:
            _log.info("Request refused", path=scope["path"], status=problem.status, error=problem.detail)
            await respond(request, problem)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _user(self, request: Request) -> str:
        header = request.headers.get("authorization", "")
        if not header:
            raise _problem(HTTPStatus.UNAUTHORIZED, "Missing Authorization header")
        if not header.startswith(_BEARER):
            raise _problem(HTTPStatus.UNAUTHORIZED, "Invalid Authorization header format")
        token = header.removeprefix(_BEARER)
        if not token:
            raise _problem(HTTPStatus.UNAUTHORIZED, "Empty Bearer token")
        verbs = ("get", "create") if request.method == "POST" else ("get",)
        try:
            verdict = await asyncio.to_thread(self._reviewer.review, token, verbs)
        except ReviewError as error:
            _log.error(error, "Token review failed: the API server of the kubeconfig gave no answer")
            raise _problem(HTTPStatus.INTERNAL_SERVER_ERROR, "Authentication service unavailable") from None
        if verdict.user is None:
            raise _problem(HTTPStatus.UNAUTHORIZED, "Invalid or expired token")
        if not verdict.allowed:
            raise _problem(HTTPStatus.FORBIDDEN, "Insufficient permissions")
        return verdict.user


def _problem(status: HTTPStatus, detail: str) -> ProblemError:
    return ProblemError(status.value, "", status.phrase, detail)


def attribute(request: Request, event: Event) -> Event:
    """Return the event with a human sender as its actor; of a service account, the event's own word is taken."""
    user: str = request.state.user
    return event if user.startswith(_SERVICE_ACCOUNT) else replace(event, actor_type=_USER, actor_id=user)
