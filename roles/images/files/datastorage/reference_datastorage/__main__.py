# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start-up, graceful stop and exit codes of the service: ``python3 -m reference_datastorage``."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from datetime import timedelta

import uvicorn

from reference_datastorage import limits, log
from reference_datastorage.app import Service
from reference_datastorage.config import Config, ConfigError, load
from reference_datastorage.dlq import DeadLetterQueue, DlqError
from reference_datastorage.events import Event
from reference_datastorage.gotime import format_duration, parse_duration
from reference_datastorage.store import START_TIMEOUT, Store, StoreError

DEFAULT_SHUTDOWN_TIMEOUT = timedelta(seconds=30)
PROPAGATION_DELAY = 5.0  # seconds between "not ready" and the end of the listener, for a load balancer to notice
DRAIN_TIMEOUT = 30.0  # seconds for requests in flight
REPLAY_TIMEOUT = 10.0  # seconds for the dead letter queue
UNIQUE_VIOLATION = "23505"

_log = log.Logger("datastorage")


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: what SIGTERM means is decided below."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def main() -> int:
    """Run until SIGTERM or SIGINT. Return 1 if the service could not start, 0 otherwise.

    A port that is taken ends in 0 as well: contract v0 treats a failed listener as a normal stop.
    """
    log.configure(production=os.environ.get("ENV") == "production")
    path = os.environ.get("CONFIG_PATH", "")
    if not path:
        _log.error("CONFIG_PATH not set", "CONFIG_PATH environment variable required (ADR-030)", env_var="CONFIG_PATH")
        return 1
    _log.info("Loading configuration from YAML file (ADR-030)", config_path=path)
    try:
        config = load(path)
    except ConfigError as error:
        _log.error(error, error.summary, config_path=path)
        return 1
    _log.info(
        "Configuration loaded successfully (ADR-030)",
        service="reference-datastorage",
        port=config.server.port,
        database_host=config.database.host,
        database_port=config.database.port,
        redis_addr=config.redis.addr,
        log_level=config.log_level,
    )
    return asyncio.run(_run(config))


async def _run(config: Config) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):  # from the start: process 1 of a container has no default handlers
        loop.add_signal_handler(number, stop.set)
    connecting = asyncio.create_task(_connect(config))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({connecting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not connecting.done():
        connecting.cancel()
        _log.info("Shutdown signal received before the service had started")
        return 0
    try:
        store, queue = connecting.result()
    except (StoreError, DlqError) as error:
        _log.error(error, "Failed to create server")
        return 1
    try:
        await _serve(config, store, queue, stopping)
    finally:
        await store.close()
        await queue.close()
    _log.info("Data Storage service stopped (ADR-030 + DD-007)")
    return 0


async def _connect(config: Config) -> tuple[Store, DeadLetterQueue]:
    """Prove that PostgreSQL and then Redis answer, once each, without a retry. Raises StoreError or DlqError."""
    store = Store(config.database)
    try:
        await store.ping(START_TIMEOUT)
    except StoreError as error:
        raise StoreError(f"failed to ping PostgreSQL: {error}") from error
    _log.info("PostgreSQL connection established")
    try:
        queue = DeadLetterQueue(config.redis)
        await queue.ping()
    except DlqError as error:
        raise DlqError(f"failed to connect to Redis: {error}") from error
    _log.info("Redis connection established", addr=config.redis.addr)
    return store, queue


async def _serve(config: Config, store: Store, queue: DeadLetterQueue, stopping: asyncio.Task[bool]) -> None:
    timeout = shutdown_timeout(os.environ.get("SHUTDOWN_TIMEOUT", ""))
    _log.info(
        "Starting Data Storage service (ADR-030 + DD-007)",
        port=config.server.port,
        host=config.server.host,
        shutdown_timeout=format_duration(timeout),
    )
    try:
        listener = _listen(config.server.port)
    except OSError as error:
        reason = os.strerror(error.errno or errno.EIO).lower()
        _log.error(f"listen tcp :{config.server.port}: bind: {reason}", "Server error")
        return
    read_timeout = config.server.read_timeout.total_seconds()
    service = Service(store, queue, read_timeout)
    server = _Server(
        uvicorn.Config(
            service.app(),
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            **limits.settings(read_timeout, config.server.write_timeout.total_seconds()),
        )
    )
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    _log.info("HTTP server listening", addr=f"{config.server.host}:{config.server.port}")
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        _log.error(serving.exception() or "listener ended", "Server error")
        return
    await _stop(service, server, serving, store, queue, timeout.total_seconds())


async def _stop(
    service: Service,
    server: _Server,
    serving: asyncio.Task[None],
    store: Store,
    queue: DeadLetterQueue,
    timeout: float,
) -> None:
    """Stop in four steps that together take at most ``timeout`` seconds: not ready, wait, drain, replay."""
    deadline = time.monotonic() + timeout

    def allowed(wanted: float) -> float:
        return max(min(wanted, deadline - time.monotonic()), 0)

    service.shutting_down = True
    _log.info("Shutdown flag set - readiness probe now returns 503", shutdown_timeout=timeout)
    await asyncio.sleep(allowed(PROPAGATION_DELAY))
    _log.info("Draining in-flight HTTP connections")
    server.config.timeout_graceful_shutdown = max(int(allowed(DRAIN_TIMEOUT)), 1)
    server.should_exit = True
    await serving
    _log.info("HTTP connections drained")
    await _replay(store, queue, allowed(REPLAY_TIMEOUT))


async def _replay(store: Store, queue: DeadLetterQueue, timeout: float) -> None:
    """Offer the dead letter queue's entries to PostgreSQL; whatever is not stored stays in Redis."""

    async def write(event: Event) -> None:
        try:
            await store.insert(event)
        except StoreError as error:
            # Stored before: the write had succeeded after its deadline, or Redis failed to remove the entry.
            if error.sqlstate != UNIQUE_VIOLATION:
                raise

    try:
        async with asyncio.timeout(timeout):
            replay = await queue.replay(write)
    except TimeoutError:
        _log.error("timed out", "DLQ drain incomplete, the rest stays in Redis")
    except (DlqError, StoreError) as error:
        _log.error(error, "DLQ drain incomplete, the rest stays in Redis")
    else:
        _log.info("DLQ drain complete", events_processed=replay.stored, events_kept=replay.kept)


def shutdown_timeout(text: str) -> timedelta:
    """Return the time a graceful stop may take, from ``SHUTDOWN_TIMEOUT``; what is no Go duration counts as absent."""
    try:
        return parse_duration(text) if text else DEFAULT_SHUTDOWN_TIMEOUT
    except ValueError:
        return DEFAULT_SHUTDOWN_TIMEOUT


def _listen(port: int) -> socket.socket:
    """Bind every interface, IPv6 included where the machine has it. Raises OSError."""
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


if __name__ == "__main__":
    sys.exit(main())
