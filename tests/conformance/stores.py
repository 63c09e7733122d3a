# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL and Redis past the service, and the tidying up of what the cases left in them."""

from __future__ import annotations

from typing import Any

import psycopg
import redis
from psycopg.rows import dict_row

from ansible_collections.kubernaut.integration.tests.conformance.contract import MARK, PREFIX
from ansible_collections.kubernaut.integration.tests.conformance.engine import decoded
from ansible_collections.kubernaut.integration.tests.conformance.target import Target, TargetError

#: Seconds for connecting and for one question.
TIMEOUT = 5
STREAM = "audit:dlq:events"

_ROWS = f"""
    SELECT *, tableoid::regclass::text AS partition FROM audit_events
    WHERE correlation_id = %(mark)s OR event_data ->> '{MARK}' = %(mark)s ORDER BY event_timestamp
"""  # noqa: S608 - a constant
_TIDY = f"""
    DELETE FROM audit_events
    WHERE (correlation_id LIKE %(run)s OR event_data ->> '{MARK}' LIKE %(run)s)
    AND (parent_event_id IS NOT NULL) = %(child)s
"""  # noqa: S608 - a constant


class Postgres:
    """The table of events. A connection that was lost is made anew, since some cases stop the server."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._connection: psycopg.Connection[dict[str, Any]] | None = None

    def connection(self) -> psycopg.Connection[dict[str, Any]]:
        """Return an open connection that commits every statement."""
        if self._connection is None or self._connection.closed:
            given: dict[str, Any] = {}
            if self._target.passwords.get("postgres"):
                given["password"] = self._target.passwords["postgres"]
            self._connection = psycopg.connect(
                self._target.postgres,
                autocommit=True,
                connect_timeout=TIMEOUT,
                client_encoding="UTF8",
                row_factory=dict_row,
                **given,
            )
        return self._connection

    def execute(self, statement: Any, values: Any = None) -> psycopg.Cursor[dict[str, Any]]:
        """Execute a statement, once more where the server has ended the connection since the last one."""
        try:
            return self.connection().execute(statement, values)
        except psycopg.OperationalError:
            self.close()
            return self.connection().execute(statement, values)

    def rows(self, mark: str) -> list[dict[str, Any]]:
        """Return the rows with this correlation id or mark, in the order of their events' time."""
        return self.execute(_ROWS, {"mark": mark}).fetchall()

    def tidy(self) -> None:
        """Remove the rows that this run's cases have left: a parent can only go after its children."""
        for child in (True, False):
            self.execute(_TIDY, {"run": PREFIX + "%", "child": child})

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()


def redis_client(target: Target) -> redis.Redis:
    """Return a client of the target's Redis; nothing is opened before its first use."""
    password = target.passwords.get("redis")
    client: redis.Redis = redis.Redis.from_url(
        target.redis,
        **({"password": password} if password else {}),
        socket_timeout=TIMEOUT,
        socket_connect_timeout=TIMEOUT,
        decode_responses=True,
    )
    return client


class Redis:
    """The dead letter queue, from its state at the beginning on."""

    def __init__(self, target: Target) -> None:
        self._client = redis_client(target)
        newest: Any = self._client.xrevrange(STREAM, count=1)
        self._begin = newest[0][0] if newest else "0-0"
        self._own: set[str] = set()

    def entries(self, correlation: str) -> list[dict[str, Any]]:
        """Return the messages about events of this correlation id that came since the beginning."""
        found = []
        page: Any = self._client.xrange(STREAM, min=f"({self._begin}")
        for entry, fields in page:
            if correlation not in fields.get("message", ""):
                continue
            self._own.add(entry)
            message = decoded(fields["message"])
            if message["payload"].get("correlation_id") == correlation:
                found.append(message)
        return found

    def tidy(self) -> None:
        """Remove the entries that cases have left."""
        if self._own:
            self._client.xdel(STREAM, *self._own)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def opened(target: Target) -> tuple[Postgres, Redis]:
    """Return both, or say which of them does not answer.

    :raises TargetError: one does not.
    """
    postgres = Postgres(target)
    try:
        postgres.connection()
    except (psycopg.Error, ValueError) as error:
        raise TargetError(f"POSTGRES: no connection ({' '.join(str(error).split())[:300]}).") from None
    try:
        return postgres, Redis(target)
    except (redis.RedisError, ValueError) as error:
        postgres.close()
        raise TargetError(f"REDIS: no connection ({str(error)[:300]}).") from None
