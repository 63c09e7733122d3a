# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The dead letter queue of contract v1: a consumer group reads it while the service runs.

An entry that was stored is acknowledged and stays in the stream: its length does not go down again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from redis.exceptions import ResponseError

from reference_datastorage.dlq import ENQUEUE_TIMEOUT, EVENTS_STREAM, DeadLetterQueue, DlqError, Replay, decode
from reference_datastorage.events import Event
from reference_datastorage.gotime import format_rfc3339_nano, parse_rfc3339
from reference_datastorage.log import Logger
from reference_datastorage.store import Store, StoreError
from reference_datastorage.v1.rules import V1

NOTIFICATIONS_STREAM = "audit:dlq:notifications"
DEAD_LETTERS = "audit:dead-letter:events"
GROUP = "data-storage-retry-workers"
POLL = 30.0  # seconds
BACKOFF = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 60, 240, 1440))
UNIQUE_VIOLATION = "23505"
_PAGE = 100
_CLAIM_AFTER = 15_000  # milliseconds; less than the time between two polls, so that each looks at every open entry

_log = Logger("datastorage")


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry that nobody has acknowledged. ``event`` is None for what is no audit event."""

    id: str
    message: str
    event: Event | None
    retries: int
    since: datetime

    def due(self) -> datetime:
        """Return the moment from which on the entry may be tried."""
        return self.since + BACKOFF[min(self.retries, len(BACKOFF) - 1)]


class RetryQueue(DeadLetterQueue):
    """The queue as its consumer group sees it."""

    cluster = V1.cluster
    approximate = True
    _consumer = socket.gethostname()

    async def create_groups(self) -> None:
        """Make both streams with their group, where they are not there. Raises DlqError."""
        for stream in (EVENTS_STREAM, NOTIFICATIONS_STREAM):
            try:
                await self._call(ENQUEUE_TIMEOUT, self._client.xgroup_create(stream, GROUP, id="0", mkstream=True))
            except DlqError as error:
                if not isinstance(error.__cause__, ResponseError) or "BUSYGROUP" not in str(error.__cause__):
                    raise

    async def open_entries(self, idle: int = _CLAIM_AFTER) -> AsyncGenerator[Entry, None]:
        """Yield what nobody has acknowledged: entries taken before, ``idle`` milliseconds ago, then new ones."""
        cursor = "0-0"
        while True:
            claim = self._client.xautoclaim(EVENTS_STREAM, GROUP, self._consumer, idle, cursor, count=_PAGE)
            cursor, claimed, *_deleted = await self._call(ENQUEUE_TIMEOUT, claim)
            for found in claimed:
                yield parse_entry(*found)
            if cursor == "0-0":
                break
        while True:
            read = self._client.xreadgroup(GROUP, self._consumer, {EVENTS_STREAM: ">"}, count=_PAGE)
            answer = await self._call(ENQUEUE_TIMEOUT, read)
            if not answer:
                break
            for found in answer[0][1]:
                yield parse_entry(*found)

    async def acknowledge(self, entry: Entry) -> None:
        """Say that nothing is left to do about an entry. Raises DlqError."""
        await self._call(ENQUEUE_TIMEOUT, self._client.xack(EVENTS_STREAM, GROUP, entry.id))

    async def retry_later(self, entry: Entry, reason: str) -> None:
        """Put an entry back with one more failed try. Raises DlqError."""
        changes = {
            "timestamp": format_rfc3339_nano(datetime.now(UTC)),
            "retry_count": entry.retries + 1,
            "last_error": reason,
        }
        await self._append(EVENTS_STREAM, {"message": json.dumps(json.loads(entry.message) | changes)})
        await self.acknowledge(entry)

    async def bury(self, entry: Entry) -> None:
        """Move an entry to the dead letters. Raises DlqError."""
        fields = {
            "message": entry.message,
            "original_id": entry.id,
            "moved_at": format_rfc3339_nano(datetime.now(UTC)),
            "final_retry_count": entry.retries,
        }
        await self._append(DEAD_LETTERS, fields)
        await self.acknowledge(entry)

    async def work(self, store: Store) -> None:
        """Look at the queue every 30 seconds, for as long as the task lives."""
        while True:
            await asyncio.sleep(POLL)
            try:
                await self.create_groups()  # a Redis that was restarted has forgotten them
                await self.try_entries(store, datetime.now(UTC))
            except (DlqError, StoreError) as error:
                _log.error(error, "DLQ retry failed, the next look is in 30 s")

    async def try_entries(self, store: Store, now: datetime | None) -> Replay:
        """Offer what is due at ``now`` to PostgreSQL, with None all there is, at the end of the service.

        Raises DlqError when Redis fails, and the StoreError of a PostgreSQL that is away: that is no failed try.
        """
        stored = kept = 0
        async with contextlib.aclosing(self.open_entries(_CLAIM_AFTER if now else 0)) as entries:
            async for entry in entries:
                if now is not None and entry.due() > now:
                    kept += 1
                elif now is not None and (entry.event is None or entry.retries >= len(BACKOFF)):
                    _log.error("no more tries", "DLQ entry moved to the dead letters", entry_id=entry.id)
                    await self.bury(entry)
                elif entry.event is not None and await self._try(store, entry, entry.event, last=now is None):
                    stored += 1
                else:
                    kept += 1
        return Replay(stored, kept)

    async def _try(self, store: Store, entry: Entry, event: Event, *, last: bool) -> bool:
        try:
            await store.insert(event)
        except StoreError as error:
            if error.sqlstate is None:
                raise
            if error.sqlstate != UNIQUE_VIOLATION:  # else it is stored already
                _log.error(error, "DLQ retry failed", entry_id=entry.id, retry_count=entry.retries)
                if not last:
                    await self.retry_later(entry, str(error))
                return False
        await self.acknowledge(entry)
        _log.info("DLQ message processed successfully", entry_id=entry.id, retry_count=entry.retries)
        return True


def parse_entry(entry_id: str, fields: dict[str, Any]) -> Entry:
    """Read an entry; one that is no audit event counts as tried for the first time when it was written."""
    message = str(fields.get("message", ""))
    written = datetime.fromtimestamp(int(entry_id.partition("-")[0]) / 1000, UTC)
    try:
        envelope = json.loads(message)
        retries, since = int(envelope["retry_count"]), parse_rfc3339(envelope["timestamp"])
        return Entry(entry_id, message, decode(message, V1.cluster), retries, since)
    except (ValueError, LookupError, TypeError, AttributeError):
        return Entry(entry_id, message, None, 0, written)
