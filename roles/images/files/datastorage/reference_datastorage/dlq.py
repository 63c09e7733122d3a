# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The dead letter queue: a Redis stream that keeps single events which PostgreSQL did not take."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import socket
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import redis.asyncio as redis
from redis.exceptions import RedisError

from reference_datastorage.config import Redis
from reference_datastorage.events import V0, Event
from reference_datastorage.gotime import format_rfc3339_nano, parse_rfc3339
from reference_datastorage.log import Logger
from reference_datastorage.store import StoreError

EVENTS_STREAM = "audit:dlq:events"
ENQUEUE_TIMEOUT = 3.0  # seconds
START_TIMEOUT = 5.0  # seconds
_PAGE = 100
_MORE = ("actor_ip", "parent_event_date", "error_code", "error_message")
_ADDRESS = re.compile(r"\('([^']+)', (\d+)")

_log = Logger("datastorage")


class DlqError(Exception):
    """Redis could not do what was asked."""


@dataclass(frozen=True, slots=True)
class Replay:
    """What a replay did: entries stored and removed, and entries that stay because they could not be stored."""

    stored: int
    kept: int


class DeadLetterQueue:
    """The stream ``audit:dlq:events``: beyond ``dlq_max_len`` Redis drops the oldest entry.

    ``cluster`` is what an entry calls the cluster's name; ``approximate`` lets Redis drop entries when it likes.
    """

    cluster = V0.cluster
    approximate = False

    def __init__(self, config: Redis) -> None:
        """Prepare the client; nothing is opened before the first use. Raises DlqError for an address without a port."""
        self._host, _colon, port = config.addr.rpartition(":")
        if not self._host or not port.isdecimal():
            raise DlqError(f"dial tcp: address {config.addr}: missing port in address")
        self._port, self._max_len = int(port), config.dlq_max_len
        self._client = redis.Redis(
            host=self._host.strip("[]"),
            port=self._port,
            password=config.password or None,
            socket_connect_timeout=ENQUEUE_TIMEOUT,
            socket_timeout=ENQUEUE_TIMEOUT,
            decode_responses=True,
        )

    async def ping(self) -> None:
        """Ask Redis for its PONG. Raises DlqError."""
        await self._call(START_TIMEOUT, self._client.ping())

    async def enqueue(self, event: Event, last_error: str) -> None:
        """Keep an event that PostgreSQL refused for the reason ``last_error``. Raises DlqError."""
        await self._append(EVENTS_STREAM, {"message": encode(event, last_error, datetime.now(UTC), self.cluster)})

    async def replay(self, store: Callable[[Event], Awaitable[None]]) -> Replay:
        """Offer every entry to ``store``, oldest first; one that it takes is removed, one that it refuses stays.

        Raises DlqError when Redis fails, and the StoreError of a PostgreSQL that is away: it would refuse the rest too.
        """
        stored = kept = 0
        start = "-"
        while True:
            page = await self._call(ENQUEUE_TIMEOUT, self._client.xrange(EVENTS_STREAM, min=start, count=_PAGE))
            if not page:
                return Replay(stored, kept)
            for entry_id, fields in page:
                try:
                    await store(decode(fields.get("message", ""), self.cluster))
                except (ValueError, LookupError, TypeError, AttributeError) as error:
                    _log.error(error, "DLQ entry kept: not an audit event", entry_id=entry_id)
                    kept += 1
                except StoreError as error:
                    if error.sqlstate is None:
                        raise
                    _log.error(error, "DLQ entry kept: refused by PostgreSQL", entry_id=entry_id)
                    kept += 1
                else:
                    await self._call(ENQUEUE_TIMEOUT, self._client.xdel(EVENTS_STREAM, entry_id))
                    stored += 1
            start = f"({page[-1][0]}"

    async def close(self) -> None:
        """Close the connections to Redis."""
        await self._client.aclose()

    async def _append(self, stream: str, fields: Any) -> None:
        await self._call(
            ENQUEUE_TIMEOUT, self._client.xadd(stream, fields, maxlen=self._max_len, approximate=self.approximate)
        )

    async def _call(self, timeout: float, command: Any) -> Any:
        try:
            async with asyncio.timeout(timeout):
                return await command
        except (RedisError, OSError) as error:  # TimeoutError is an OSError
            raise DlqError(describe(error, self._host, self._port)) from error


def encode(event: Event, last_error: str, now: datetime, cluster: str = V0.cluster) -> str:
    """Return an entry's ``message``. ``event_data`` is base64 of its JSON there, as in the original."""
    data = base64.b64encode(json.dumps(event.event_data, allow_nan=False).encode()).decode()
    payload: dict[str, object] = {
        "event_id": str(event.event_id),
        "version": event.event_version,
        "event_timestamp": format_rfc3339_nano(event.event_timestamp),
        "event_type": event.event_type,
        "event_category": event.event_category,
        "event_action": event.event_action,
        "event_outcome": event.event_outcome,
        "actor_type": event.actor_type,
        "actor_id": event.actor_id,
        "resource_type": event.resource_type,
        "resource_id": event.resource_id,
        "correlation_id": event.correlation_id,
        "event_data": data,
        "retention_days": event.retention_days,
        "is_sensitive": event.is_sensitive,
    }
    optional = {
        "parent_event_id": str(event.parent_event_id) if event.parent_event_id else None,
        "namespace": event.namespace,
        cluster: event.cluster_name,
        "severity": event.severity,
        "duration_ms": event.duration_ms,
    } | {name: getattr(event, name) for name in _MORE}
    return json.dumps(
        {
            "type": "audit_event",
            "payload": payload | {name: value for name, value in optional.items() if value is not None},
            "timestamp": format_rfc3339_nano(now),
            "retry_count": 0,
            "last_error": last_error,
        }
    )


def decode(message: str, cluster: str = V0.cluster) -> Event:
    """Return an entry's event. Raises ValueError, LookupError, TypeError or AttributeError for what is no entry."""
    payload = json.loads(message)["payload"]
    parent = payload.get("parent_event_id")
    return Event(
        event_id=uuid.UUID(payload["event_id"]),
        event_version=payload["version"],
        event_timestamp=parse_rfc3339(payload["event_timestamp"]),
        event_type=payload["event_type"],
        event_category=payload["event_category"],
        event_action=payload["event_action"],
        event_outcome=payload["event_outcome"],
        correlation_id=payload["correlation_id"],
        parent_event_id=uuid.UUID(parent) if parent else None,
        resource_type=payload["resource_type"],
        resource_id=payload["resource_id"],
        namespace=payload.get("namespace"),
        cluster_name=payload.get(cluster),
        actor_type=payload["actor_type"],
        actor_id=payload["actor_id"],
        severity=payload.get("severity"),
        duration_ms=payload.get("duration_ms"),
        event_data=json.loads(base64.b64decode(payload["event_data"])),
        retention_days=payload.get("retention_days", 0),
        is_sensitive=payload.get("is_sensitive", False),
        **{name: payload[name] for name in _MORE if name in payload},
    )


def describe(error: Exception, host: str, port: int) -> str:
    """Return an error of redis-py in the words of the contract, from the system's own error among its causes."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, TimeoutError):
        return f"dial tcp {host}:{port}: i/o timeout"
    if isinstance(cause, socket.gaierror):
        return f"dial tcp: lookup {host}: no such host"
    found = _ADDRESS.search(str(cause))
    if found:
        reason = "connection refused" if isinstance(cause, ConnectionRefusedError) else str(cause).lower()
        return f"dial tcp {found[1]}:{found[2]}: connect: {reason}"
    return " ".join(str(error).split()) or type(error).__name__
