# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start-up, graceful stop and exit codes of the service: ``python3 -m reference_datastorage``."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from datetime import timedelta
from functools import partial

from reference_datastorage import log
from reference_datastorage.app import Service
from reference_datastorage.config import Config, load
from reference_datastorage.dlq import DeadLetterQueue, DlqError
from reference_datastorage.events import Event
from reference_datastorage.gotime import format_duration, parse_duration
from reference_datastorage.serving import Server, drain, listen, make_server, read_config, run
from reference_datastorage.store import START_TIMEOUT, Store, StoreError

DEFAULT_SHUTDOWN_TIMEOUT = timedelta(seconds=30)
PROPAGATION_DELAY = 5.0  # seconds between "not ready" and the end of the listener, for a load balancer to notice
DRAIN_TIMEOUT = 30.0  # seconds for requests in flight
REPLAY_TIMEOUT = 10.0  # seconds for the dead letter queue
UNIQUE_VIOLATION = "23505"

_log = log.Logger("datastorage")


def main() -> int:
    """Run the contract that ``REFERENCE_CONTRACT`` names (default v0). Return the exit code."""
    contract = os.environ.get("REFERENCE_CONTRACT", "") or "v0"
    if contract == "v1":
        from reference_datastorage.v1 import start

        return start.main()
    log.configure(production=os.environ.get("ENV") == "production")
    if contract != "v0":
        _log.error(f"there is no contract {contract}", "REFERENCE_CONTRACT must be v0 or v1")
        return 1
    config = read_config(load)
    return 1 if config is None else run(lambda: _connect(config), partial(_serve, config))


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
    listener = listen(config.server.port)
    if listener is None:
        return
    read_timeout = config.server.read_timeout.total_seconds()
    service = Service(store, queue, read_timeout)
    server = make_server(service.app(), read_timeout, config.server.write_timeout.total_seconds())
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    _log.info("HTTP server listening", addr=f"{config.server.host}:{config.server.port}")
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        _log.error(serving.exception() or "listener ended", "Server error")
        return
    await _stop(service, server, serving, store, queue, timeout.total_seconds())


async def _stop(
    service: Service,
    server: Server,
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

    await drain(queue.replay(write), timeout)


def shutdown_timeout(text: str) -> timedelta:
    """Return the time a graceful stop may take, from ``SHUTDOWN_TIMEOUT``; what is no Go duration counts as absent."""
    try:
        return parse_duration(text) if text else DEFAULT_SHUTDOWN_TIMEOUT
    except ValueError:
        return DEFAULT_SHUTDOWN_TIMEOUT


if __name__ == "__main__":
    sys.exit(main())
