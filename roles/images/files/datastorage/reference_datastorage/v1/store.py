# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The audit events of contract v1 in PostgreSQL: chained by hashes, in partitions that the service makes itself."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, cast

import psycopg

from reference_datastorage.events import Event
from reference_datastorage.gotime import format_rfc3339_nano
from reference_datastorage.limits import MIB
from reference_datastorage.store import (
    BATCH_TIMEOUT,
    COLUMNS,
    QUERY_TIMEOUT,
    SINGLE_TIMEOUT,
    Store,
    StoreError,
    dump,
    insert_statement,
    record,
)

ALGORITHM = "sha256-unkeyed"
PARTITIONS_TIMEOUT = 30.0  # seconds
MONTHS_AHEAD = 3
MAX_CHAIN = 10_000  # events that one verification looks at
_PARTITIONS_LOCK = 0x6B75_6265_7061_7274  # any number will do, as long as every service of one database takes the same

_EVENT_COLUMNS = {("cluster_id" if name == "cluster_name" else name): kind for name, kind in COLUMNS.items()} | {
    "actor_ip": "inet",
    "parent_event_date": "date",
    "error_code": "text",
    "error_message": "text",
    "is_sensitive": "boolean",
}
_HASH_COLUMNS = {"event_hash": "text", "previous_event_hash": "text", "hash_algorithm": "text"}
_INSERT = insert_statement(_EVENT_COLUMNS | _HASH_COLUMNS)

# What a hash is made of: the event as PostgreSQL keeps it, so that an event about to be stored and the same event read
# back give the same text. Without the date, which follows from the timestamp.
_HASHED = "jsonb_build_object({})::text AS hashed".format(
    ", ".join(
        f"'{name}', "
        + (
            "to_char(event_timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US')"
            if kind == "timestamptz"
            else name
        )
        for name, kind in _EVENT_COLUMNS.items()
        if name != "event_date"
    )
)
_TYPED = ", ".join(f"{name} {kind}" for name, kind in _EVENT_COLUMNS.items())
# The WITH reads nothing; naming the table's columns makes a schema of another generation fail here, by a column's name.
_HASH_INPUTS = f"""
    WITH known AS (SELECT {", ".join((*_EVENT_COLUMNS, *_HASH_COLUMNS))} FROM audit_events LIMIT 0)
    SELECT event_id::text AS id, {_HASHED} FROM jsonb_to_recordset(%s::jsonb) AS event({_TYPED})
""".encode()  # noqa: S608 - constants only
_LOCK = b"SELECT pg_advisory_xact_lock(audit_event_lock_id(id)) FROM unnest(%s::text[]) AS chain(id)"
# "Last" by timestamp, not by insertion: the original's choice, and why whole-second timestamps break its chains.
_LAST_HASHES = b"""
    SELECT id, (
        SELECT event_hash FROM audit_events WHERE correlation_id = id AND event_hash IS NOT NULL
        ORDER BY event_timestamp DESC, event_id DESC LIMIT 1
    ) AS event_hash
    FROM unnest(%s::text[]) AS chain(id)
"""
_CHAIN = f"""
    SELECT event_id::text AS id, event_timestamp AT TIME ZONE 'UTC' AS utc_timestamp, event_hash,
           coalesce(previous_event_hash, '') AS previous_event_hash, {_HASHED}
    FROM audit_events WHERE correlation_id = %s ORDER BY audit_events.event_timestamp, event_id LIMIT {MAX_CHAIN + 1}
""".encode()  # noqa: S608 - constants only
_SELECT = f"""
    SELECT {", ".join(name for name in _EVENT_COLUMNS if name not in ("event_date", "parent_event_date", "actor_ip"))},
           event_date::text, parent_event_date::text, host(actor_ip) AS actor_ip, event_hash, previous_event_hash,
           event_timestamp AT TIME ZONE 'UTC' AS utc_timestamp, legal_hold, legal_hold_reason,
           legal_hold_placed_by, legal_hold_placed_at AT TIME ZONE 'UTC' AS utc_hold
    FROM audit_events
"""  # noqa: S608 - constants only
# Left out where they are empty, as the original does.
_WITHOUT_EMPTY = (
    "resource_type",
    "resource_id",
    "namespace",
    "cluster_id",
    "severity",
    "duration_ms",
    "error_code",
    "error_message",
    "actor_id",
    "actor_type",
    "actor_ip",
)


class ChainTooLongError(Exception):
    """There are more events of one correlation id than a verification looks at."""


@dataclass(frozen=True, slots=True)
class Tampered:
    """One thing about an event that does not fit the chain."""

    event_id: str
    event_timestamp: str
    expected_hash: str
    actual_hash: str
    previous_hash: str
    message: str


@dataclass(slots=True)
class Verification:
    """What a look at a chain has shown so far. ``skipped`` are events without a hash; they are not among ``total``."""

    total: int = 0
    verified: int = 0
    skipped: int = 0
    tampered: list[Tampered] = field(default_factory=list)
    previous: str = ""  # hash of the event before

    def look_at(self, row: Mapping[str, Any]) -> None:
        """Judge the next event of the chain; the oldest is the first."""
        if row["event_hash"] is None:
            self.skipped += 1
            return
        self.total += 1
        expected, actual = chain_hash(self.previous, row["hashed"]), row["event_hash"]
        where = (row["id"], format_rfc3339_nano(row["utc_timestamp"].replace(tzinfo=UTC)))
        if row["previous_event_hash"] != self.previous:
            message = "Previous hash mismatch: event claims different previous_event_hash"
            self.tampered.append(Tampered(*where, "", "", self.previous, message))
        if expected == actual:
            self.verified += 1
        else:
            message = "Event hash mismatch: event data has been tampered"
            self.tampered.append(Tampered(*where, expected, actual, self.previous, message))
        self.previous = actual

    def answer(self, correlation_id: str, now: datetime) -> dict[str, object]:
        """Return the answer's JSON."""
        message = "Hash chain verified successfully: no tampering detected"
        if self.tampered:
            message = "Hash chain verification FAILED: tampering detected"
        elif not self.total:
            message = "No events found for correlation_id"
        body: dict[str, object] = {
            "correlation_id": correlation_id,
            "is_valid": not self.tampered,
            "total_events": self.total,
            "verified_events": self.verified,
            "verification_time": format_rfc3339_nano(now),
            "message": message,
        }
        if self.skipped:
            body["skipped_null_hash"] = self.skipped
        if self.tampered:
            body["tampered_events"] = [asdict(item) for item in self.tampered]
        return body


class ChainStore(Store):
    """Writes audit events as chains, one per correlation id, and reads and verifies them."""

    select = _SELECT

    async def insert(self, event: Event) -> None:
        """Store one event. Raises StoreError."""
        await self._append([event], SINGLE_TIMEOUT)

    async def insert_batch(self, events: Sequence[Event]) -> None:
        """Store all events or none. Raises StoreError."""
        await self._append(events, BATCH_TIMEOUT)

    async def verify(self, correlation_id: str) -> Verification:
        """Follow a chain from its oldest timestamp on. Raises StoreError and ChainTooLongError."""
        result = Verification()
        # The server keeps the rows and gives a few at a time: a chain may be larger than the memory here.
        async with (
            self._connection(QUERY_TIMEOUT) as connection,
            connection.transaction(),
            connection.cursor("chain") as cursor,
        ):
            cursor.itersize = 50
            await cursor.execute(_CHAIN, [correlation_id])
            async for row in cursor:
                if result.total + result.skipped == MAX_CHAIN:
                    raise ChainTooLongError
                result.look_at(row)
        return result

    async def ensure_partitions(self, today: date) -> None:
        """Make the partitions of this month and the next three, one service at a time. Raises StoreError."""
        name = ""
        try:
            async with self._connection(PARTITIONS_TIMEOUT) as connection, connection.transaction():
                await connection.execute(b"SELECT pg_advisory_xact_lock(%s)", [_PARTITIONS_LOCK])
                for first, following in months(today, MONTHS_AHEAD):
                    name = f"audit_events_{first:%Y_%m}"
                    await connection.execute(
                        f"CREATE TABLE IF NOT EXISTS {name} PARTITION OF audit_events"
                        f" FOR VALUES FROM ('{first}') TO ('{following}')".encode()
                    )
        except StoreError as error:
            failed = f"failed to create partition {name}: {error}" if name else str(error)
            raise StoreError(failed, error.sqlstate) from error

    def render(self, row: dict[str, object]) -> dict[str, object]:
        """Return a row as contract v1 renders it."""
        timestamp, hold = cast(datetime, row["utc_timestamp"]), cast("datetime | None", row["utc_hold"])
        parent, parent_date = row["parent_event_id"], row["parent_event_date"]
        rendered = {
            "event_id": str(row["event_id"]),
            "event_timestamp": format_rfc3339_nano(timestamp.replace(tzinfo=UTC)),
            "event_date": row["event_date"],
            "version": row["event_version"],
            "correlation_id": row["correlation_id"],
            "parent_event_id": str(parent) if parent else None,
            "parent_event_date": f"{parent_date}T00:00:00Z" if parent_date else None,
            "event_data": row["event_data"],
            "retention_days": row["retention_days"] or 0,
            "is_sensitive": bool(row["is_sensitive"]),
            "legal_hold": bool(row["legal_hold"]),
            "legal_hold_placed_at": format_rfc3339_nano(hold.replace(tzinfo=UTC)) if hold else None,
        }
        for name in ("event_type", "event_category", "event_action", "event_outcome", "event_hash"):
            rendered[name] = row[name] or ""
        for name in ("previous_event_hash", "legal_hold_reason", "legal_hold_placed_by"):
            rendered[name] = row[name] or ""
        return rendered | {name: row[name] for name in _WITHOUT_EMPTY if row[name]}

    async def _append(self, events: Sequence[Event], timeout: float) -> None:
        rows = [record(event) for event in events]
        chains = sorted({event.correlation_id for event in events})  # sorted, so that two batches cannot deadlock
        async with self._connection(timeout) as connection:
            async with connection.transaction():
                inputs = await _pairs(connection, _HASH_INPUTS, "hashed", dump(rows))
                await connection.execute(_LOCK, [chains])
                last = await _pairs(connection, _LAST_HASHES, "event_hash", chains)
                for row in rows:
                    chain = str(row["correlation_id"])
                    previous = last[chain] or ""
                    last[chain] = chain_hash(previous, inputs.pop(str(row["event_id"])) or "")
                    row |= {"event_hash": last[chain], "previous_event_hash": previous, "hash_algorithm": ALGORITHM}
                records = dump(rows)
                await connection.execute(_INSERT, [records])
            if len(records) > MIB:
                await connection.close()  # libpq would keep its largest buffer


async def _pairs(
    connection: psycopg.AsyncConnection[Any], query: bytes, value: str, parameter: object
) -> dict[str, str | None]:
    found = await connection.execute(query, [parameter])
    return {row["id"]: row[value] for row in await found.fetchall()}


def chain_hash(previous: str, hashed: str) -> str:
    """Return the hash of an event that comes after the one with the hash ``previous`` (empty: it is the first)."""
    return hashlib.sha256(f"{previous}{hashed}".encode()).hexdigest()


def months(today: date, ahead: int) -> list[tuple[date, date]]:
    """Return the first day of this month and of ``ahead`` more, each with the first day of the month after it."""
    firsts = [today.replace(day=1)]
    for _month in range(ahead + 1):
        firsts.append((firsts[-1] + timedelta(days=32)).replace(day=1))
    return list(itertools.pairwise(firsts))
