# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start-up and graceful stop of contract v1: a cluster at once, everything else within ten tries."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import ssl
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from reference_datastorage import log
from reference_datastorage.dlq import DlqError
from reference_datastorage.serving import Server, StartError, drain, listen, make_server, read_config, run
from reference_datastorage.store import DsnError, StoreError
from reference_datastorage.v1.app import ServiceV1
from reference_datastorage.v1.config import Config, load, override_ports
from reference_datastorage.v1.dlq import RetryQueue
from reference_datastorage.v1.kube import Cluster, ClusterReviewer, KubeconfigError, load_kubeconfig
from reference_datastorage.v1.store import ChainStore

ATTEMPTS = 10
PAUSE = 2.0  # seconds between two attempts
PING_TIMEOUT = 5.0  # seconds
DRAIN_TIMEOUT = 30.0  # seconds for requests in flight
REPLAY_TIMEOUT = 10.0  # seconds for the dead letter queue
SIDE_TIMEOUT = 2  # seconds for the health and the metrics port, each
_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}

_log = log.Logger("datastorage")


def main() -> int:
    """Run until SIGTERM or SIGINT. Return 1 if the service could not start, 0 otherwise."""
    log.configure(production=True)  # contract v1 always writes JSON
    config = read_config(load)
    if config is None:
        return 1
    config = override_ports(config, os.environ)
    try:
        cluster = find_cluster(os.environ.get("KUBECONFIG", ""))
    except StartError as error:
        _log.error(error, "Failed to create Kubernetes client for auth middleware (DD-AUTH-014)")
        return 1
    logging.getLogger("datastorage").setLevel(_LEVELS[config.log_level])
    reviewer = ClusterReviewer(cluster, namespace(os.environ.get("POD_NAMESPACE", ""), _NAMESPACE_FILE))
    return run(lambda: connect(config), partial(_serve, config, reviewer), "Failed to create server after all retries")


def find_cluster(kubeconfig: str) -> Cluster:
    """Return the API server to ask about tokens. Raises StartError.

    The original would look for the cluster it runs in when there is no kubeconfig; the reference service runs in none.
    """
    if not kubeconfig:
        raise StartError(
            "failed to load in-cluster kubernetes config (DD-AUTH-014): unable to load in-cluster configuration,"
            " KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT must be defined"
        )
    try:
        return load_kubeconfig(kubeconfig)
    except KubeconfigError as error:
        raise StartError(
            f"failed to load kubeconfig from KUBECONFIG env var (DD-AUTH-014, path={kubeconfig}): {error}"
        ) from error


def namespace(configured: str, file: Path) -> str:
    """Return the namespace that access is asked for: the configured one, else the service account's, else default."""
    if configured:
        return configured
    try:
        return file.read_text(encoding="utf-8").strip() or "default"
    except OSError:
        return "default"


async def connect(config: Config) -> tuple[ChainStore, RetryQueue]:
    """Try ten times, two seconds apart, to have all that the service needs. Raises StartError.

    Every failure counts as one that may pass, those of configuration, too; each is logged when it happens.
    """
    _log.info("Connecting to PostgreSQL and Redis (with retry logic)...", max_retries=ATTEMPTS, retry_delay=PAUSE)
    for attempt in range(1, ATTEMPTS):
        try:
            found = await _connect(config)
        except (StoreError, DlqError, StartError) as error:
            _log.info(
                "Failed to connect, retrying...",
                attempt=attempt,
                max_retries=ATTEMPTS,
                error=str(error),
                next_retry_in=PAUSE,
            )
            await asyncio.sleep(PAUSE)
        else:
            return found
    try:
        return await _connect(config)
    except (StoreError, DlqError, StartError) as error:
        raise StartError(f"failed to create server after {ATTEMPTS} attempts: {error}") from error


async def _connect(config: Config) -> tuple[ChainStore, RetryQueue]:
    """Ask PostgreSQL, make its partitions, ask Redis, read the certificates. Raises one of the start's errors."""
    async with contextlib.AsyncExitStack() as undo:
        first = ChainStore(config.database)
        undo.push_async_callback(first.close)
        await _prepare(first)
        try:
            store = ChainStore(config.database, config.database.pool())
        except ValueError as error:
            raise StartError(str(error)) from error
        _log.info("PostgreSQL connection established")
        queue = RetryQueue(config.redis)
        try:
            undo.push_async_callback(queue.close)
            await queue.ping()
            await queue.create_groups()
        except DlqError as error:
            raise DlqError(f"failed to connect to Redis: {error}") from error
        _log.info("Redis connection established", addr=config.redis.addr)
        check_signer(Path(config.server.signer_dir))
        find_tls(config.server.tls_dir)
        undo.pop_all()
        await first.close()
    return store, queue


async def _prepare(store: ChainStore) -> None:
    try:
        await store.ping(PING_TIMEOUT)
    except DsnError as error:
        raise StoreError(f"failed to connect to PostgreSQL: {error}") from error
    except StoreError as error:
        raise StoreError(f"failed to ping PostgreSQL: {error}", error.sqlstate) from error
    try:
        await store.ensure_partitions(datetime.now(UTC).date())
    except StoreError as error:
        raise StoreError(f"failed to ensure monthly partitions at startup: {error}", error.sqlstate) from error


def check_signer(directory: Path) -> None:
    """Demand the pair that exports are signed with. Raises StartError. The reference service exports nothing."""
    certificate, key = _pair(directory)
    for kind, path in (("certificate", certificate), ("key", key)):
        if not path.exists():
            raise StartError(f"signing {kind} not found at {path}: cert-manager Certificate must be provisioned (AU-9)")
    wrong = _wrong(certificate, key)
    if wrong:
        raise StartError(f"signing certificate at {certificate} is invalid or corrupt: {wrong}")


def find_tls(directory: str) -> tuple[Path, Path] | None:
    """Return certificate and key with which the API speaks TLS; None, for plain HTTP, where not both are there.

    Raises StartError.
    """
    certificate, key = _pair(Path(directory))
    if not (directory and certificate.exists() and key.exists()):
        return None
    wrong = _wrong(certificate, key)
    if wrong:
        raise StartError(f"failed to configure TLS: failed to load TLS certificate from {directory}: {wrong}")
    return certificate, key


def _pair(directory: Path) -> tuple[Path, Path]:
    """Return where certificate and key lie in a directory, as Kubernetes' secrets have them."""
    return directory / "tls.crt", directory / "tls.key"


def _wrong(certificate: Path, key: Path) -> str:
    """Return why certificate and key cannot be used together; empty when they can."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except OSError as error:  # SSLError is one
        return error.strerror or type(error).__name__
    return ""


async def _serve(
    config: Config, reviewer: ClusterReviewer, store: ChainStore, queue: RetryQueue, stopping: asyncio.Task[bool]
) -> None:
    settings = config.server
    service = ServiceV1(store, queue, reviewer, settings)
    ports = (
        (settings.metrics_port, service.metrics_app(), None),
        (settings.health_port, service.health_app(), None),
        (settings.port, service.app(), find_tls(settings.tls_dir)),
    )
    async with contextlib.AsyncExitStack() as undo:
        listeners = []
        for port, _app, _tls in ports:
            listener = listen(port)
            if listener is None:
                return
            undo.callback(listener.close)
            listeners.append(listener)
        servers = [make_server(app, settings.read_timeout, settings.write_timeout, tls) for _port, app, tls in ports]
        serving = [
            asyncio.create_task(server.serve(sockets=[listener]))
            for server, listener in zip(servers, listeners, strict=True)
        ]
        for port, _app, tls in ports:
            _log.info("HTTP server listening", addr=f"{settings.host}:{port}", tls=tls is not None)
        working = asyncio.create_task(queue.work(store))
        undo.push_async_callback(_end, working)
        await asyncio.wait({*serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for task in serving:
            if task.done():
                _log.error(task.exception() or "listener ended", "Server error")
                return
        await _stop(service, settings.propagation_delay, settings.shutdown_timeout, servers, serving)
        await _end(working)
        # Offer what nobody has acknowledged to PostgreSQL; whatever is not stored stays in Redis.
        await drain(queue.try_entries(store, None), REPLAY_TIMEOUT)


async def _stop(
    service: ServiceV1, delay: float, timeout: float, servers: list[Server], serving: list[asyncio.Task[None]]
) -> None:
    """Stop listening, the API's port last: first no longer ready for ``delay`` seconds, then requests in flight."""
    deadline = time.monotonic() + timeout - REPLAY_TIMEOUT
    service.shutting_down = True
    _log.info("Shutdown flag set - readiness probe now returns 503", shutdown_timeout=timeout)
    await asyncio.sleep(delay)
    _log.info("Draining in-flight HTTP connections")
    limits = (SIDE_TIMEOUT, SIDE_TIMEOUT, max(int(min(DRAIN_TIMEOUT, deadline - time.monotonic())), 1))
    for server, limit in zip(servers, limits, strict=True):
        server.config.timeout_graceful_shutdown = limit
        server.should_exit = True
    await asyncio.gather(*serving)
    _log.info("HTTP connections drained")


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
