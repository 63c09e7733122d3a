# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What clients may take of the service: connections, bytes, memory, time.

Contract v0 has no limits of its own, and v1 has few. These lie beyond what suites send, and keep the service alive in a
container of 512 MiB whatever arrives.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import sys
import termios
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import h11
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from reference_datastorage.problems import ProblemError

MIB = 1024 * 1024
MAX_BODY = 16 * MIB  # bytes of one request
MAX_HEAD = 32 * 1024  # bytes of a request's line and headers, while they are incomplete
MAX_NESTING = 200  # levels of JSON; Python's own limit would be met when an event is written or read, not when it comes
MAX_CONNECTIONS = 512  # beyond, a request is answered with 503; beyond twice as many, a connection is closed at once
MAX_BUFFERED = 32 * MIB  # bytes of all bodies that are being read or handled
MAX_DECODED = 160 * MIB  # estimated bytes of all documents that are being handled
SMALL = 64 * 1024  # bytes of a body, or of a document, that nobody counts
FAREWELL = 0.5  # seconds for the end of TLS when the server ends
LINGER = 5.0  # seconds that a client may go on sending after an answer that did not wait for its body

# Bytes that a token of a document may take in memory beside its text, from what short strings and keys take.
TOKENS = ",:[{"
TOKEN_BYTES = 160
# Times that a document's text is in memory: as it came, decoded, in its strings, once more for PostgreSQL. A single
# character decides how wide Python keeps all of a text.
COPIES_OF_ASCII, COPIES = 4, 14


def weigh(body: bytes | bytearray) -> int:
    """Return an upper bound, in bytes, of the memory that a JSON document takes while it is handled."""
    copies = COPIES_OF_ASCII if body.isascii() else COPIES
    return copies * len(body) + TOKEN_BYTES * sum(body.count(token) for token in TOKENS.encode())


def nested_too_deeply(value: object) -> bool:
    """Tell whether lists and objects are nested deeper than MAX_NESTING. Does not recurse itself."""
    level = [value]
    for _depth in range(MAX_NESTING):
        level = [
            child
            for outer in level
            for child in (outer.values() if isinstance(outer, dict) else outer if isinstance(outer, list) else ())
            if isinstance(child, (dict, list))
        ]
        if not level:
            return False
    return True


class Budget:
    """A number of bytes that tasks share; who wants more than is left waits for others to give theirs back."""

    def __init__(self, size: int) -> None:
        """Start with ``size`` bytes, all of them free."""
        self._size = self._free = size
        self._changed = asyncio.Condition()

    @contextlib.asynccontextmanager
    async def hold(self, size: int) -> AsyncIterator[None]:
        """Take ``size`` bytes, at most all there are, once they are free, and give them back in the end."""
        share = 0 if size <= SMALL else min(size, self._size)
        async with self._changed:
            await self._changed.wait_for(lambda: self._free >= share)
            self._free -= share
        try:
            yield
        finally:
            async with self._changed:
                self._free += share
                self._changed.notify_all()


class RequestLimits:
    """ASGI middleware that bounds what a request and its answer take.

    A body is handed over as one piece, within the limits and in time. It is read only once the application asks, and
    the ProblemError is raised there: such a refusal is one like any other. A large answer is sent in pieces, so that it
    waits for its reader here, while its share of memory is held, and not in the server's buffer.
    """

    def __init__(self, app: ASGIApp, read_timeout: float, max_body: int = MAX_BODY) -> None:
        """Wrap ``app``; a body may take ``read_timeout`` seconds to arrive, and as long again to find room.

        It may have ``max_body`` bytes; one beyond MAX_BUFFERED waits until it is alone.
        """
        self._app, self._read_timeout, self._max_body = app, read_timeout, max_body
        self._buffered, self._decoded, self._pages = Budget(MAX_BUFFERED), Budget(MAX_DECODED), Budget(MAX_DECODED)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request, and give its share back in the end."""
        async with contextlib.AsyncExitStack() as shares:
            read = False

            async def bounded() -> Message:
                nonlocal read
                if read:
                    return await receive()
                read = True
                return await self._read(scope, receive, shares)

            async def in_pieces(message: Message) -> None:
                body, sent = message.get("body", b""), 0
                while len(body) - sent > SMALL:
                    await send({**message, "body": body[sent : sent + SMALL], "more_body": True})
                    sent += SMALL
                await send({**message, "body": body[sent:]} if sent else message)

            async def page(size: int) -> None:
                await self._find_room(self._pages, size, shares)

            _page.set(page)
            await self._app(scope, bounded, in_pieces)

    async def _read(self, scope: Scope, receive: Receive, shares: contextlib.AsyncExitStack) -> Message:
        expected = _declared_length(scope)
        if expected is not None:
            if expected > self._max_body:
                raise _too_large(f"request body exceeds maximum of {self._max_body} bytes")
            await self._find_room(self._buffered, expected, shares)
        deadline = asyncio.get_running_loop().time() + self._read_timeout
        body = bytearray()
        while True:
            message = await self._next(receive, deadline)
            if message["type"] == "http.disconnect":
                return message
            body += message.get("body", b"")
            if expected is None and len(body) > SMALL:  # it counts as the longest, because nobody said how long it is
                expected = self._max_body
                await self._find_room(self._buffered, expected, shares)
            if len(body) > self._max_body:
                raise _too_large(f"request body exceeds maximum of {self._max_body} bytes")
            if not message.get("more_body", False):
                break
        weight = weigh(body)
        if weight > MAX_DECODED:
            raise _too_large(f"request body would take more than {MAX_DECODED} bytes of memory once it is decoded")
        await self._find_room(self._decoded, weight, shares)
        return {"type": "http.request", "body": bytes(body), "more_body": False}

    @staticmethod
    async def _next(receive: Receive, deadline: float) -> Message:
        try:
            async with asyncio.timeout_at(deadline):
                return await receive()
        except TimeoutError:
            detail = "request body did not arrive in time"
            raise ProblemError(408, "request-timeout", "Request Timeout", detail) from None

    async def _find_room(self, budget: Budget, size: int, shares: contextlib.AsyncExitStack) -> None:
        try:
            async with asyncio.timeout(self._read_timeout):
                await shares.enter_async_context(budget.hold(size))
        except TimeoutError:
            detail = "other large requests take all the memory that there is for them"
            raise ProblemError(503, "service-busy", "Service Busy", detail) from None


#: Finds room for the page that the current request asks for; set for each request.
_page: ContextVar[Callable[[int], Awaitable[None]] | None] = ContextVar("page", default=None)


async def room_for_page(size: int) -> None:
    """Hold the memory of a page, at most all there is for pages, until the current request has been answered."""
    find = _page.get()
    if find is not None:
        await find(size)


def _declared_length(scope: Scope) -> int | None:
    """Return the Content-Length, which the server has checked; None for a body that comes in chunks."""
    headers = dict(scope["headers"])
    if b"transfer-encoding" in headers:
        return None
    return int(headers.get(b"content-length", b"0"))


def _too_large(detail: str) -> ProblemError:
    return ProblemError(413, "request-too-large", "Request Too Large", detail)


class BoundedProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 with an end to everything that a client can leave unfinished.

    uvicorn waits for ever for a request's head, for a client that does not read its answer, and for the rest of a body
    that nobody reads. ``config.timeout_keep_alive``, which is the service's read timeout, bounds the head, too.
    """

    #: Seconds that an answer may wait for its reader. Set by :func:`settings`.
    write_timeout = 30.0

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        """Take what uvicorn gives."""
        super().__init__(*arguments, **keywords)
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Refuse one connection too many, and give the others time for their request."""
        super().connection_made(transport)  # type: ignore[arg-type]
        if len(self.connections) > 2 * MAX_CONNECTIONS:
            self.transport.abort()
            return
        self._start("head", self.timeout_keep_alive, self._no_head)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers."""
        for what in list(self._timers):
            self._cancel(what)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Watch whether a request's head is complete, and its body."""
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:  # what came is a part of the next head, and uvicorn waits no longer
            self._start("head", self.timeout_keep_alive, self._no_head)
        else:
            self._cancel("head")
        if self.conn.their_state is not h11.SEND_BODY:
            self._cancel("rest")

    def on_response_complete(self) -> None:
        """Wait for the rest of a body that nobody reads, but not long."""
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY:
            self._start("rest", LINGER, self.transport.close)

    def pause_writing(self) -> None:
        """Give a client that does not read its answer some time."""
        super().pause_writing()
        self._start("reader", self.write_timeout, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on: the client reads again."""
        self._cancel("reader")
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection; one whose last answer nobody reads would never be closed in order."""
        super().timeout_keep_alive_handler()
        if self.transport.get_write_buffer_size():
            self.transport.abort()

    def shutdown(self) -> None:
        """End with the server: with TLS, a client that only waits would not say farewell for half a minute."""
        super().shutdown()
        if self.transport.get_extra_info("ssl_object") is not None:
            self._start("farewell", FAREWELL, self._leave)

    def _leave(self) -> None:
        """End a connection that is closed and has nothing more to send; look again later at another."""
        if self.transport.is_closing() and not self.transport.get_write_buffer_size() and not self._unsent():
            self.transport.abort()
        else:
            self._timers.pop("farewell")
            self._start("farewell", FAREWELL, self._leave)

    def _unsent(self) -> int:
        """Return the bytes that the kernel still has for the client; with TLS, the transport knows its own only."""
        try:
            queued = fcntl.ioctl(self.transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
        except (OSError, ValueError):  # closed meanwhile
            return 0
        return int.from_bytes(queued, sys.byteorder)

    def _no_head(self) -> None:
        """End the wait for a request: with an answer where a part of one came."""
        if self.conn.trailing_data[0] and not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        self.transport.close()

    def _start(self, what: str, seconds: float, then: Callable[[], None]) -> None:
        if what not in self._timers:
            self._timers[what] = self.loop.call_later(seconds, then)

    def _cancel(self, what: str) -> None:
        timer = self._timers.pop(what, None)
        if timer is not None:
            timer.cancel()


def settings(read_timeout: float, write_timeout: float) -> dict[str, Any]:
    """Return uvicorn's settings that are limits.

    :param read_timeout: seconds for a request's head, and for an idle connection, which a client may expect to reuse.
    :param write_timeout: seconds that an answer may wait for its reader.
    """
    return {
        "http": type("Protocol", (BoundedProtocol,), {"write_timeout": write_timeout}),
        "timeout_keep_alive": max(int(read_timeout), 1),
        "h11_max_incomplete_event_size": MAX_HEAD,
        "limit_concurrency": MAX_CONNECTIONS,
    }
