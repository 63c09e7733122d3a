# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The audit events in PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import select
import socket
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import cast

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row

from reference_datastorage.config import Database
from reference_datastorage.events import RETENTION_DAYS, Event, EventQuery
from reference_datastorage.gotime import format_rfc3339_nano
from reference_datastorage.limits import COPIES, COPIES_OF_ASCII, MAX_DECODED, MIB, TOKEN_BYTES, TOKENS, room_for_page

SINGLE_TIMEOUT = 5.0  # seconds, of this and the following
BATCH_TIMEOUT = 30.0
QUERY_TIMEOUT = 10.0
HEALTH_TIMEOUT = 2.0
START_TIMEOUT = 10.0

# Columns of audit_events that a client decides about, with the type that its JSON form is read as. Texts are read as
# text, so that one too long for its column is an error and not cut off.
COLUMNS = {
    "event_id": "uuid",
    "event_version": "text",
    "event_timestamp": "timestamptz",
    "event_date": "date",
    "event_type": "text",
    "event_category": "text",
    "event_action": "text",
    "event_outcome": "text",
    "correlation_id": "text",
    "parent_event_id": "uuid",
    "resource_type": "text",
    "resource_id": "text",
    "namespace": "text",
    "cluster_name": "text",
    "actor_type": "text",
    "actor_id": "text",
    "severity": "text",
    "duration_ms": "integer",
    "retention_days": "integer",
    "event_data": "jsonb",
}


def insert_statement(columns: Mapping[str, str]) -> bytes:
    """Return the INSERT of any number of rows, given as one array of JSON objects; ``columns`` maps names to types."""
    names = ", ".join(columns)
    typed = ", ".join(f"{name} {kind}" for name, kind in columns.items())
    # One parameter and one round trip for any number of rows; a single statement is atomic by itself.
    rows = f"jsonb_to_recordset(%s::jsonb) AS event({typed})"
    return f"INSERT INTO audit_events ({names}) SELECT {names} FROM {rows}".encode()  # noqa: S608 - constants only


_INSERT_ONE = insert_statement(COLUMNS)
# The batch has never written event_version: the column's default applies, whatever the client sent.
_INSERT_BATCH = insert_statement({name: kind for name, kind in COLUMNS.items() if name != "event_version"})
# Read in UTC by the server: the session keeps the server's time zone, and the image has no time zone data.
_SELECT = """
    SELECT event_id, event_version, event_type, event_category, event_action, correlation_id,
           event_timestamp AT TIME ZONE 'UTC' AS utc_timestamp, event_outcome, severity, resource_type, resource_id,
           actor_type, actor_id, parent_event_id, event_data, event_date::text AS event_date, namespace, cluster_name
    FROM audit_events
"""

# What limits.weigh() says of a document, for the events of a page together.
_WEIGH = f"""
    SELECT count(*) AS events, coalesce(sum(
        octet_length(data)::bigint * CASE octet_length(data) WHEN length(data) THEN {COPIES_OF_ASCII} ELSE {COPIES} END
        + {TOKEN_BYTES}::bigint * (length(data) - length(translate(data, '{TOKENS}', '')))
    ), 0)::bigint AS bytes
    FROM (SELECT event_data::text AS data FROM audit_events
"""  # noqa: S608 - constants only

# Newer releases of psycopg say it in words; older ones give the resolver's own error, whose numbers are negative.
_FAILED_HOST = re.compile(r"failed to resolve host|\[Errno -\d+\]")
_FAILED_SERVER = re.compile(r'connection to server at "([^"]*)"(?: \(([^)]*)\))?, port (\d+) failed: (.*)', re.DOTALL)
# libpq gives no SQLSTATE for a refused login, only the server's (English) sentence.
_LOGIN_FAILURES = (
    (re.compile(r"password authentication failed"), "failed SASL auth", "28P01"),
    (re.compile(r'database ".*" does not exist'), "server error", "3D000"),
    (re.compile(r'role ".*" does not exist|no pg_hba.conf entry'), "server error", "28000"),
    (re.compile(r"too many clients|remaining connection slots"), "server error", "53300"),
    (re.compile(r"the database system is"), "server error", "57P03"),
)


class StoreError(Exception):
    """PostgreSQL could not do what was asked. The text is fit for logs and the dead letter queue: no secrets."""

    def __init__(self, message: str, sqlstate: str | None = None) -> None:
        """Keep the SQLSTATE where the server gave one."""
        super().__init__(message)
        self.sqlstate = sqlstate


class PageTooLargeError(StoreError):
    """A page of a query would take more memory than there is for one."""


class DsnError(StoreError):
    """The connection string cannot be used, so nobody was asked."""


@dataclass(frozen=True, slots=True)
class Pool:
    """How many connections there may be, how many of them may be idle, and how long one is used (seconds)."""

    size: int = 25
    idle: int = 5
    lifetime: float = 300.0
    idle_time: float = 600.0


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a query's result: rows as the API renders them, and the number of rows there are in all."""

    rows: list[dict[str, object]]
    total: int


@dataclass(frozen=True, slots=True)
class _Pooled:
    connection: psycopg.AsyncConnection[dict[str, object]]
    opened: float  # on the monotonic clock, as is the next
    used: float

    def usable(self, pool: Pool) -> bool:
        """Tell, without asking the server, whether the connection can be used once more.

        A server has nothing to say on an idle connection: bytes to read are its farewell, or the end of the stream.
        """
        if self.connection.closed or self.connection.pgconn.transaction_status != TransactionStatus.IDLE:
            return False
        now = time.monotonic()
        if now - self.opened > pool.lifetime or now - self.used > pool.idle_time:
            return False
        poll = select.poll()
        poll.register(self.connection.fileno(), select.POLLIN)
        return not poll.poll(0)


class Store:
    """Writes and reads audit events over a bounded number of connections.

    The pool is made here because psycopg's own opens connections in the background and backs off when that fails: a
    caller would wait for its timeout while PostgreSQL is away, and for the rest of the back-off once it has returned.
    Here the caller who needs a connection opens it, and gets the error at once, as with Go's ``database/sql``.
    """

    select = _SELECT

    def __init__(self, database: Database, pool: Pool | None = None) -> None:
        """Remember where PostgreSQL is; nothing is opened before the first use."""
        self._database, self._pool = database, pool or Pool()
        self._slots = asyncio.Semaphore(self._pool.size)
        self._idle: deque[_Pooled] = deque()

    async def ping(self, timeout: float = HEALTH_TIMEOUT) -> None:
        """Ask the server for a sign of life within ``timeout`` seconds. Raises StoreError."""
        async with self._connection(timeout) as connection:
            await connection.execute(b"SELECT 1")

    async def insert(self, event: Event) -> None:
        """Store one event. Raises StoreError."""
        await self._write(SINGLE_TIMEOUT, _INSERT_ONE, _records([event]))

    async def insert_batch(self, events: Sequence[Event]) -> None:
        """Store all events or none. Raises StoreError."""
        await self._write(BATCH_TIMEOUT, _INSERT_BATCH, _records(events))

    async def _write(self, timeout: float, statement: bytes, records: str) -> None:
        async with self._connection(timeout) as connection:
            await connection.execute(statement, [records])
            if len(records) > MIB:
                await connection.close()  # libpq would keep its largest buffer

    async def day_of(self, event_id: uuid.UUID) -> date | None:
        """Return the day of a stored event, by which it is partitioned; None when there is none. Raises StoreError."""
        async with self._connection(SINGLE_TIMEOUT) as connection:
            question = b"SELECT event_date AS day FROM audit_events WHERE event_id = %s LIMIT 1"
            row = await (await connection.execute(question, [event_id])).fetchone()
            return None if row is None else cast(date, row["day"])

    async def query(self, query: EventQuery) -> Page:
        """Return the newest matching events first. Raises StoreError; PageTooLargeError for too many large ones."""
        conditions = [f"{column} = %s" for column in query.equals]
        parameters: list[object] = list(query.equals.values())
        if query.detail is not None:
            conditions.append("event_data ->> %s = %s")
            parameters.extend(query.detail)
        for moment, operator in ((query.since, ">="), (query.until, "<=")):
            if moment is not None:
                conditions.append(f"event_timestamp {operator} %s::timestamptz")
                parameters.append(moment.isoformat())
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        order = "ORDER BY audit_events.event_timestamp DESC, audit_events.event_id DESC LIMIT %s OFFSET %s"
        async with self._connection(QUERY_TIMEOUT) as connection:
            counted = await connection.execute(
                f"SELECT count(*) AS total FROM audit_events {where}".encode(),  # noqa: S608 - column names only
                parameters,
            )
            total = await counted.fetchone()
            parameters += [query.limit, query.offset]
            weighed = await connection.execute(f"{_WEIGH} {where} {order}) AS page".encode(), parameters)
            events, weight = _weighed(await weighed.fetchone())
        if weight > MAX_DECODED and events > 1:  # a single event can always be read
            raise PageTooLargeError(
                f"the page of {events} events would take more than {MAX_DECODED} bytes of memory: set a lower limit"
            )
        await room_for_page(weight)
        async with self._connection(QUERY_TIMEOUT) as connection:
            found = await connection.execute(f"{self.select} {where} {order}".encode(), parameters)
            rows = [self.render(row) for row in await found.fetchall()]
            if weight > MIB:
                await connection.close()
        return Page(rows, int(str(total["total"])) if total else 0)

    def render(self, row: dict[str, object]) -> dict[str, object]:
        """Return a row as contract v0 renders it: NULL as "" or 0, and some columns never read at all."""
        timestamp, parent = cast(datetime, row["utc_timestamp"]), row["parent_event_id"]
        return {
            "event_id": str(row["event_id"]),
            "event_timestamp": format_rfc3339_nano(timestamp.replace(tzinfo=UTC)),
            "event_date": row["event_date"],
            "event_type": row["event_type"],
            "version": row["event_version"],
            "event_category": row["event_category"],
            "event_action": row["event_action"],
            "event_outcome": row["event_outcome"],
            "correlation_id": row["correlation_id"],
            "parent_event_id": str(parent) if parent else None,
            "parent_event_date": None,
            "resource_type": row["resource_type"],
            "resource_id": row["resource_id"],
            "namespace": row["namespace"] or "",
            "cluster_name": row["cluster_name"] or "",
            "severity": row["severity"] or "",
            "duration_ms": 0,
            "error_code": "",
            "error_message": "",
            "actor_id": row["actor_id"],
            "actor_type": row["actor_type"],
            "retention_days": 0,
            "is_sensitive": False,
            "event_data": row["event_data"],
        }

    async def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            await self._idle.pop().connection.close()

    @contextlib.asynccontextmanager
    async def _connection(self, timeout: float) -> AsyncIterator[psycopg.AsyncConnection[dict[str, object]]]:
        """Lend a connection for at most ``timeout`` seconds, waiting included, and turn failures into StoreError."""
        deadline = time.monotonic() + timeout
        pooled: _Pooled | None = None
        try:
            async with asyncio.timeout(timeout):
                await self._slots.acquire()
            try:
                pooled = await self._take(deadline)
                # A server that hangs cannot be asked to cancel: at the deadline the socket is shut down, and the
                # statement fails like on any other lost connection.
                watchdog = asyncio.get_running_loop().call_later(
                    max(deadline - time.monotonic(), 0), _shut_down, pooled.connection
                )
                try:
                    yield pooled.connection
                finally:
                    watchdog.cancel()
            finally:
                self._slots.release()
                if pooled is not None:
                    await self._give_back(pooled)
        except (psycopg.Error, OSError) as error:  # TimeoutError is an OSError
            if time.monotonic() >= deadline:
                raise StoreError("context deadline exceeded") from error
            raise StoreError(describe(error, self._database), getattr(error, "sqlstate", None)) from error

    async def _take(self, deadline: float) -> _Pooled:
        while self._idle:
            pooled = self._idle.pop()
            if pooled.usable(self._pool):
                return pooled
            await pooled.connection.close()
        if not self._database.ssl_mode_is_valid:
            raise DsnError(_unparsable(self._database, "failed to configure TLS (sslmode is invalid)"))
        conninfo = self._database.conninfo()
        try:
            conninfo_to_dict(conninfo)
        except psycopg.ProgrammingError:
            # libpq's own message would quote a piece of the password.
            reason = "failed to parse as keyword/value (invalid keyword/value)"
            raise DsnError(_unparsable(self._database, reason)) from None
        async with asyncio.timeout(max(deadline - time.monotonic(), 0)):
            connection = await psycopg.AsyncConnection.connect(
                conninfo,
                autocommit=True,
                application_name="datastorage",
                client_encoding="UTF8",
                row_factory=dict_row,
            )
        return _Pooled(connection, time.monotonic(), time.monotonic())

    async def _give_back(self, pooled: _Pooled) -> None:
        if len(self._idle) < self._pool.idle and pooled.usable(self._pool):
            self._idle.append(replace(pooled, used=time.monotonic()))
        else:
            await pooled.connection.close()


def _weighed(page: Mapping[str, object] | None) -> tuple[int, int]:
    """Return the number of a page's events and their weight."""
    return (cast(int, page["events"]), cast(int, page["bytes"])) if page else (0, 0)


def _shut_down(connection: psycopg.AsyncConnection[dict[str, object]]) -> None:
    if not connection.closed:
        with socket.socket(fileno=os.dup(connection.fileno())) as duplicate, contextlib.suppress(OSError):
            duplicate.shutdown(socket.SHUT_RDWR)


def _records(events: Sequence[Event]) -> str:
    return dump([record(event) for event in events])


def dump(rows: Sequence[Mapping[str, object]]) -> str:
    """Return rows as the JSON that the INSERT reads."""
    return json.dumps(rows, ensure_ascii=False, allow_nan=False)


def record(event: Event) -> dict[str, object]:
    """Return an event by the columns of all contracts; an INSERT reads those that it knows."""
    utc = event.event_timestamp.astimezone(UTC)
    return {
        "event_id": str(event.event_id),
        "event_version": event.event_version,
        "event_timestamp": utc.isoformat(),
        "event_date": utc.date().isoformat(),
        "event_type": event.event_type,
        "event_category": event.event_category,
        "event_action": event.event_action,
        "event_outcome": event.event_outcome,
        "correlation_id": event.correlation_id,
        "parent_event_id": str(event.parent_event_id) if event.parent_event_id else None,
        "resource_type": event.resource_type,
        "resource_id": event.resource_id,
        "namespace": event.namespace,
        "cluster_name": event.cluster_name,
        "cluster_id": event.cluster_name,
        "actor_type": event.actor_type,
        "actor_id": event.actor_id,
        "actor_ip": event.actor_ip,
        "parent_event_date": event.parent_event_date,
        "error_code": event.error_code,
        "error_message": event.error_message,
        "severity": "info" if event.severity is None else event.severity or None,
        "duration_ms": event.duration_ms,
        "retention_days": event.retention_days if event.retention_days > 0 else RETENTION_DAYS,
        "is_sensitive": event.is_sensitive,
        "event_data": event.event_data,
    }


def _unparsable(database: Database, reason: str) -> str:
    shown = f"host={database.host} port={database.port} dbname={database.name} user={database.user} password=xxxxx"
    return f"cannot parse `{shown}`: {reason}"


def describe(error: Exception, database: Database) -> str:
    """Return an error of psycopg in the words of the contract, on one line, with the SQLSTATE where there is one."""
    if isinstance(error, psycopg.Error) and error.sqlstate:
        return f"{error.diag.severity}: {error.diag.message_primary} (SQLSTATE {error.sqlstate})"
    text = str(error)
    target = f"failed to connect to `user={database.user} database={database.name}`: "
    if _FAILED_HOST.search(text):
        return f"{target}hostname resolving error: lookup {database.host}: no such host"
    refused = _FAILED_SERVER.search(text)
    if refused:
        address = f"{refused[2] or refused[1]}:{refused[3]}"
        return f"{target}{address} ({database.host}): {_describe_refusal(refused[4], address)}"
    return " ".join(text.split()) or type(error).__name__


def _describe_refusal(reason: str, address: str) -> str:
    # Only the first line: what follows is advice, or the same failure of a second try without TLS.
    first = " ".join(reason.split("\n", 1)[0].split())
    for pattern, stage, sqlstate in _LOGIN_FAILURES:
        if pattern.search(first):
            return f"{stage}: {first} (SQLSTATE {sqlstate})"
    if first.startswith("FATAL"):
        return f"server error: {first}"
    return f"dial error: dial tcp {address}: connect: {first[:1].lower()}{first[1:]}"
