# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Monthly partitions: which a table has, which it needs, how the missing ones are called. PRIVATE to the collection.

The service accepts events that are up to seven days old and its schema is migrated once, so a database serves
for months only if its partitions do. All of it but :func:`read` and :func:`create` is arithmetic on dates.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Sequence

from ansible_collections.kubernaut.integration.plugins.module_utils._phase import PhaseError

if TYPE_CHECKING:
    import psycopg

#: How far back the service accepts an event.
PAST = timedelta(days=7)
#: Months after the current one that must be there; the service itself keeps as many.
FUTURE_MONTHS = 3
#: By how much "today" may be another day a moment later, or by another clock: partitions are made for all of them, so
#: that midnight may pass between their making and the gate.
LEEWAY = timedelta(days=1)

#: Types of a partition key for which "a month" means something.
DATE_TYPES = ("date", "timestamp without time zone", "timestamp with time zone")

#: Every range- or otherwise partitioned table of schema public with its direct partitions, one row each.
PARTITIONS_SQL = """
SELECT parent.relname, pg_get_partkeydef(parent.oid),
       key.partstrat = 'r' AND key.partnatts = 1 AND format_type(attribute.atttypid, NULL) = ANY (%s),
       child.relname, pg_get_expr(child.relpartbound, child.oid)
  FROM pg_partitioned_table key
  JOIN pg_class parent ON parent.oid = key.partrelid AND parent.relnamespace = to_regnamespace('public')
  LEFT JOIN pg_attribute attribute ON attribute.attrelid = parent.oid AND attribute.attnum = key.partattrs[0]
  LEFT JOIN pg_inherits ON inhparent = parent.oid
  LEFT JOIN pg_class child ON child.oid = inhrelid
 ORDER BY parent.relname, child.relname
"""

#: Within a transaction, dates mean what they say, whatever PGTZ and PGDATESTYLE made of the session.
_PLAIN_DATES = "SELECT set_config('datestyle', 'ISO', true), set_config('TimeZone', 'UTC', true)"

_BOUNDS = re.compile(r"FOR VALUES FROM \((.+)\) TO \((.+)\)")
_MOMENT = re.compile(r"'(\d{4})-(\d\d)-(\d\d)(?: (\S+))?'")
_LIMITS = {"MINVALUE": date.min, "'-infinity'": date.min, "MAXVALUE": date.max, "'infinity'": date.max}


@dataclass(frozen=True)
class Partition:
    """One partition of a table.

    :param name: its own name.
    :param begin: first day in it, None for a default partition, which has no bounds.
    :param end: first day after it, None likewise.
    """

    name: str
    begin: Optional[date]
    end: Optional[date]

    def as_dict(self) -> Dict[str, Optional[str]]:
        return {
            "name": self.name,
            "from": None if self.begin is None else self.begin.isoformat(),
            "to": None if self.end is None else self.end.isoformat(),
        }


@dataclass
class Partitioned:
    """A partitioned table.

    :param key: partition key as PostgreSQL writes it, such as ``RANGE (event_date)``.
    :param by_date: the key is a single column of dates or moments, so months can be counted.
    :param partitions: its direct partitions; without those whose bounds are no dates.
    """

    key: str
    by_date: bool
    partitions: List[Partition]


def parse_today(text: str) -> date:
    """Return the date that ``text`` (YYYY-MM-DD) names, or the current one in UTC when ``text`` is empty.

    :raises PhaseError: the text is not a date.
    """
    if not text:
        return datetime.now(timezone.utc).date()
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise PhaseError("today is %r, which is not a date: write it as YYYY-MM-DD (UTC)." % text) from error


def next_month(first: date) -> date:
    """Return the first day of the month after the one of ``first``."""
    return date(first.year + first.month // 12, first.month % 12 + 1, 1)


def current(connection: psycopg.Connection[Any], text: str) -> date:
    """Return the date that ``text`` names, or the current one in UTC by PostgreSQL's clock, which dates the rows.

    :raises PhaseError: the text is not a date, or PostgreSQL's clock is a day away from the one here.
    :raises psycopg.Error: the server refused.
    """
    here = parse_today(text)
    if text:
        return here
    row = connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
    there = datetime.fromtimestamp(row[0] if row else 0, timezone.utc).date()
    if abs(there - here) > LEEWAY:
        raise PhaseError(
            "It is %s by PostgreSQL's clock and %s by the one here (UTC), so nobody can tell which partitions are "
            "needed: set the clocks right, or say which day it is (migrations_today)." % (there, here),
            cause="clock-skew",
        )
    return there


def needed_months(today: date, leeway: timedelta = timedelta(0)) -> List[date]:
    """Return the first days of the months that events may fall into: from today - 7 days to today + 3 months.

    :param leeway: by how much today may be another day.
    """
    months = [(today - leeway - PAST).replace(day=1)]
    last = (today + leeway).replace(day=1)
    for _month in range(FUTURE_MONTHS):
        last = next_month(last)
    while months[-1] < last:
        months.append(next_month(months[-1]))
    return months


def missing_months(partitions: Sequence[Partition], today: date, leeway: timedelta = timedelta(0)) -> List[date]:
    """Return the first days of the needed months that the partitions do not cover from end to end.

    A default partition covers nothing here: rows in it stand in the way of the proper partition later.
    """
    spans = sorted((part.begin, part.end) for part in partitions if part.begin is not None and part.end is not None)
    missing = []
    for first in needed_months(today, leeway):
        reached = first
        for begin, end in spans:
            if begin <= reached < end:
                reached = end
        if reached < next_month(first):
            missing.append(first)
    return missing


def partition_name(table: str, partitions: Sequence[Partition], month: date) -> str:
    """Return the name of ``table``'s partition for ``month``, formed like that of its newest monthly partition.

    Upstream has ``audit_events_2026_03`` and ``resource_action_traces_y2026m03``; a table without an example to follow
    gets the former style.
    """
    monthly = [part for part in partitions if part.begin is not None and part.end == _month_end(part.begin)]
    for part in sorted(monthly, key=lambda part: part.begin or date.min, reverse=True):
        begin = part.begin or date.min
        parts = re.fullmatch(r"(.*)%04d(\D*)%02d(\D*)" % (begin.year, begin.month), part.name)
        if parts:
            return "%s%04d%s%02d%s" % (parts[1], month.year, parts[2], month.month, parts[3])
    return "%s_%04d_%02d" % (table, month.year, month.month)


def plan(table: str, partitions: Sequence[Partition], today: date) -> List[Partition]:
    """Return the partitions that ``table`` lacks for ``today`` and the days beside it, oldest first."""
    return [
        Partition(partition_name(table, partitions, month), month, next_month(month))
        for month in missing_months(partitions, today, LEEWAY)
    ]


def parse_bounds(bounds: str) -> Optional[Sequence[date]]:
    """Return first day and first day after, from PostgreSQL's own words; None when they are no dates.

    A bound that is not midnight is moved inwards, so that a partition never seems to cover a day that it cuts in two.
    """
    parts = _BOUNDS.fullmatch(bounds)
    if not parts:
        return None
    begin = _day(parts[1], inwards=timedelta(days=1))
    end = _day(parts[2], inwards=timedelta(0))
    return None if begin is None or end is None else (begin, end)


def read(connection: psycopg.Connection[Any]) -> Dict[str, Partitioned]:
    """Return every partitioned table of schema public by name.

    :raises psycopg.Error: the server refused.
    """
    tables: Dict[str, Partitioned] = {}
    with connection.transaction():
        # Bounds are read in PostgreSQL's output format, which server, role or PGDATESTYLE may have changed.
        connection.execute(_PLAIN_DATES)
        rows = connection.execute(PARTITIONS_SQL, (list(DATE_TYPES),)).fetchall()
    for parent, key, by_date, child, bounds in rows:
        table = tables.setdefault(parent, Partitioned(key, bool(by_date), []))
        if child is None:
            continue
        if bounds == "DEFAULT":
            table.partitions.append(Partition(child, None, None))
            continue
        days = parse_bounds(bounds)
        if days is not None:
            table.partitions.append(Partition(child, days[0], days[1]))
    return tables


def create(connection: psycopg.Connection[Any], table: str, partitions: Sequence[Partition]) -> None:
    """Create ``partitions`` of ``table`` in schema public, all or none.

    Without IF NOT EXISTS: a table of that name that is *not* a partition must not pass for one. Bounds are plain dates,
    as upstream's are; where the key is a moment, they are midnight in UTC.

    :raises psycopg.Error: the server refused; an overlap with a partition that is no month is such a case.
    """
    from psycopg import sql

    with connection.transaction():
        connection.execute(_PLAIN_DATES)
        for part in partitions:
            connection.execute(
                sql.SQL("CREATE TABLE public.{} PARTITION OF public.{} FOR VALUES FROM ({}) TO ({})").format(
                    sql.Identifier(part.name),
                    sql.Identifier(table),
                    sql.Literal(str(part.begin)),
                    sql.Literal(str(part.end)),
                )
            )


def _month_end(begin: date) -> Optional[date]:
    """Return where a partition that begins on ``begin`` ends if it is a month's; None when it begins within one."""
    return next_month(begin) if begin.day == 1 and begin < date(9999, 12, 1) else None


def _day(bound: str, inwards: timedelta) -> Optional[date]:
    if bound in _LIMITS:
        return _LIMITS[bound]
    parts = _MOMENT.fullmatch(bound)
    if not parts:
        return None
    day = date(int(parts[1]), int(parts[2]), int(parts[3]))
    midnight = parts[4] is None or re.fullmatch(r"00:00:00(?:[+-]\S+)?", parts[4]) is not None
    return day if midnight else day + inwards
