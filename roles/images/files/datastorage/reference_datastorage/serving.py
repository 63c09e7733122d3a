# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a service of either contract does between its first line and its last: configuration, start, listeners, exit."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Protocol, TypeVar

import uvicorn
from starlette.types import ASGIApp

from reference_datastorage import config, limits, log
from reference_datastorage.config import ConfigError
from reference_datastorage.dlq import DeadLetterQueue, DlqError, Replay
from reference_datastorage.store import Store, StoreError

_log = log.Logger("datastorage")


class _Described(Protocol):
    """What the first lines of the log tell of a configuration, whatever its contract."""

    @property
    def server(self) -> _Port: ...

    @property
    def database(self) -> config.Database: ...

    @property
    def redis(self) -> config.Redis: ...

    @property
    def log_level(self) -> str: ...


class _Port(Protocol):
    @property
    def port(self) -> int: ...


AnyConfig = TypeVar("AnyConfig", bound=_Described)
AnyStore = TypeVar("AnyStore", bound=Store)
AnyQueue = TypeVar("AnyQueue", bound=DeadLetterQueue)


class StartError(Exception):
    """The service cannot start for a reason that is neither PostgreSQL's nor Redis'."""


class Server(uvicorn.Server):
    """uvicorn without its signal handlers: what SIGTERM means is decided by :func:`run`."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def read_config(load: Callable[[str], AnyConfig]) -> AnyConfig | None:
    """Return the configuration that ``CONFIG_PATH`` names; None, and a line in the log, when there is none to use."""
    path = os.environ.get("CONFIG_PATH", "")
    if not path:
        _log.error("CONFIG_PATH not set", "CONFIG_PATH environment variable required (ADR-030)", env_var="CONFIG_PATH")
        return None
    _log.info("Loading configuration from YAML file (ADR-030)", config_path=path)
    try:
        found = load(path)
    except ConfigError as error:
        _log.error(error, error.summary, config_path=path)
        return None
    _log.info(
        "Configuration loaded successfully (ADR-030)",
        service="reference-datastorage",
        port=found.server.port,
        database_host=found.database.host,
        database_port=found.database.port,
        redis_addr=found.redis.addr,
        log_level=found.log_level,
    )
    return found


def run(
    connect: Callable[[], Awaitable[tuple[AnyStore, AnyQueue]]],
    serve: Callable[[AnyStore, AnyQueue, asyncio.Task[bool]], Awaitable[None]],
    failed: str = "Failed to create server",
) -> int:
    """Connect, then serve until SIGTERM or SIGINT. Return 1 if the service could not start, 0 otherwise.

    A port that is taken ends in 0 as well: the contracts treat a failed listener as a normal stop. ``failed`` is the
    message of the line that says why ``connect`` raised.
    """
    return asyncio.run(_run(connect, serve, failed))


async def _run(
    connect: Callable[[], Awaitable[tuple[AnyStore, AnyQueue]]],
    serve: Callable[[AnyStore, AnyQueue, asyncio.Task[bool]], Awaitable[None]],
    failed: str,
) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):  # from the start: process 1 of a container has no default handlers
        loop.add_signal_handler(number, stop.set)
    connecting = asyncio.ensure_future(connect())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({connecting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not connecting.done():
        connecting.cancel()
        _log.info("Shutdown signal received before the service had started")
        return 0
    try:
        store, queue = connecting.result()
    except (StoreError, DlqError, StartError) as error:
        _log.error(error, failed)
        return 1
    try:
        await serve(store, queue, stopping)
    finally:
        await store.close()
        await queue.close()
    _log.info("Data Storage service stopped (ADR-030 + DD-007)")
    return 0


async def drain(replay: Awaitable[Replay], timeout: float) -> None:
    """Let the dead letter queue's last replay take ``timeout`` seconds, and log what came of it."""
    try:
        async with asyncio.timeout(timeout):
            done = await replay
    except TimeoutError:
        _log.error("timed out", "DLQ drain incomplete, the rest stays in Redis")
    except (DlqError, StoreError) as error:
        _log.error(error, "DLQ drain incomplete, the rest stays in Redis")
    else:
        _log.info("DLQ drain complete", events_processed=done.stored, events_kept=done.kept)


def make_server(
    app: ASGIApp, read_timeout: float, write_timeout: float, tls: tuple[Path, Path] | None = None
) -> Server:
    """Return a server that is not started yet, with the limits of connections; both timeouts are seconds.

    ``tls``: certificate and key, where it speaks TLS.
    """
    certificate, key = tls or (None, None)
    return Server(
        uvicorn.Config(
            app,
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            ssl_certfile=certificate,
            ssl_keyfile=key,
            **limits.settings(read_timeout, write_timeout),
        )
    )


def listen(port: int) -> socket.socket | None:
    """Bind every interface, IPv6 included where the machine has it; None, and a line in the log, when that fails."""
    try:
        return _listen(port)
    except OSError as error:
        reason = os.strerror(error.errno or errno.EIO).lower()
        _log.error(f"listen tcp :{port}: bind: {reason}", "Server error")
        return None


def _listen(port: int) -> socket.socket:
    listener = _bind(port)
    # For every connection: asyncio does that only for sockets that name their protocol. Without, the second part of an
    # answer waits 40 ms for a client that is slow to acknowledge the first.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _bind(port: int) -> socket.socket:
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:  # IPv6 compiled in, but switched off
                raise
    return socket.create_server(("", port))
