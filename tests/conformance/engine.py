# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Try one case: ask, compare the answer, and look into PostgreSQL and Redis past the service."""

from __future__ import annotations

import base64
import json
import re
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any, Protocol

import httpx

from ansible_collections.kubernaut.integration.tests.conformance.contract import (
    FORGED,
    JSON,
    NOBODY,
    PROBLEM,
    Answer,
    Case,
    Moment,
    Request,
    differences,
    new_mark,
    shown,
)
from ansible_collections.kubernaut.integration.tests.conformance.target import Target

#: Seconds for one answer; v0 gives a batch 30.
TIMEOUT = 35.0
#: Seconds between two tries of a case that may take a while.
GAP = 0.05
#: Field of the request -> column, where the two differ. A batch of v0 has never written the version.
COLUMNS: Mapping[str, str] = {"version": "event_version"}
#: Columns that v0's batch leaves to the table's defaults, whatever was sent.
LEFT_OUT: Mapping[str, tuple[str, ...]] = {"v0": ("version",), "v1": ()}


class Database(Protocol):
    """What the engine asks PostgreSQL."""

    def rows(self, mark: str) -> list[dict[str, Any]]:
        """Return the rows of ``audit_events`` with this correlation id or mark, in the order of their events' time."""


class Queue(Protocol):
    """What the engine asks Redis."""

    def entries(self, correlation: str) -> list[dict[str, Any]]:
        """Return the dead letter queue's messages about events of this correlation id."""


@dataclass
class Bench:
    """A service and what is behind it.

    :param target: its addresses and tokens.
    :param http: a client that neither follows a proxy nor a redirect.
    """

    target: Target
    http: httpx.Client
    database: Database
    queue: Queue

    def at(self, url: str) -> Bench:
        """Return the same for another service on the same PostgreSQL and Redis."""
        return replace(self, target=replace(self.target, url=url))

    def send(self, request: Request, it: Moment) -> httpx.Response:
        """Send a request and return the answer, whatever it is."""
        url = {"api": self.target.url, "health": self.target.health_url, "metrics": self.target.metrics_url}
        query = {name: value(it) if callable(value) else value for name, value in request.query.items()}
        headers = {"Accept": JSON, **({"Content-Type": JSON} if request.body is not None else {})}
        return self.http.request(
            request.method,
            url[request.port] + request.path,
            params=query or None,
            content=request.document(it),
            headers={**headers, **self.authorization(request.identity), **request.headers},
        )

    def authorization(self, identity: str) -> dict[str, str]:
        """Return the header that says who asks; v0 has none."""
        if self.target.contract == "v0" or identity == NOBODY:
            return {}
        token = "forged" if identity == FORGED else self.target.tokens[identity]
        return {"Authorization": f"Bearer {token}"}


def client(ca_file: str = "") -> httpx.Client:
    """Return a client for a service on this machine; ``ca_file`` is the one of :class:`Target`."""
    trusted = ssl.create_default_context(cafile=ca_file or None)
    return httpx.Client(timeout=TIMEOUT, trust_env=False, follow_redirects=False, verify=trusted)


def attempt(case: Case, bench: Bench) -> list[str]:
    """Try a case and return in words what was wrong; nothing is right."""
    it = Moment(new_mark(case.name), datetime.now(UTC), bench.target.contract)
    for _time in range(case.times if case.given is not None else 0):
        assert case.given is not None
        response = bench.send(case.given, it)
        if response.status_code != 201:
            return [f"what the case builds on was answered {said(response)}, expected 201"]
        body = response.json()
        it.earlier += it.sent
        it.earlier_ids += body["event_ids"] if "event_ids" in body else [body["event_id"]]
    it.sent = []
    known = _known(case, bench, it)
    deadline = time.monotonic() + case.within
    while True:
        try:
            response = bench.send(case.request, it)
        except httpx.HTTPError as error:
            wrong = [f"no answer: {type(error).__name__}: {error}"]
        else:
            wrong = list(judge(case.answer, response, it))
        if not wrong or time.monotonic() >= deadline:
            break
        time.sleep(GAP)
    return [*wrong, *_stored(case, bench, it, known), *_queued(case, bench, it)]


def judge(answer: Answer, response: httpx.Response, it: Moment) -> Iterator[str]:
    """Yield where an answer is not what it must be."""
    if response.status_code != answer.status:
        yield f"answered {said(response)}, expected {answer.status}"
        return
    media_type = response.headers.get("content-type", "").split(";")[0].strip().lower()
    if answer.content_type and media_type != answer.content_type:
        yield f"the content type is {media_type!r}, expected {answer.content_type!r}"
    for name, value in answer.headers.items():
        yield from differences(value, response.headers.get(name), it, f"header {name}")
    if answer.body is None:
        return
    found: Any = response.text
    if answer.content_type in (JSON, PROBLEM):
        try:
            found = response.json()
        except ValueError:
            yield f"the body is no JSON: {shown(response.text)}"
            return
    yield from differences(answer.body, found, it, "body")


def said(response: httpx.Response) -> str:
    """Return an answer for a message."""
    return f"{response.status_code} {shown(response.text)}"


def _known(case: Case, bench: Bench, it: Moment) -> set[str]:
    """Return the ids of the case's rows so far."""
    if case.effect.rows is None:
        return set()
    return {str(row["event_id"]) for row in bench.database.rows(it.correlation)}


def _stored(case: Case, bench: Bench, it: Moment, known: set[str]) -> Iterator[str]:
    """Yield where PostgreSQL does not hold what it must, and what it holds beside that."""
    if case.effect.rows is None:
        return
    rows = [row for row in bench.database.rows(it.correlation) if str(row["event_id"]) not in known]
    if len(rows) != case.effect.rows:
        yield f"{len(rows)} new rows in PostgreSQL, expected {case.effect.rows}"
        return
    sent = sorted(it.sent, key=lambda each: when(each["event_timestamp"])) if rows else []
    left_out = LEFT_OUT[it.contract] if case.request.path.endswith("/batch") else ()
    for index, (row, fields) in enumerate(zip(rows, sent, strict=False)):
        columns = {COLUMNS.get(name, name): value for name, value in fields.items() if name not in left_out}
        # A field that is no column is not stored, and an empty text is not where NULL is meant: the case says so then.
        expected = {name: value for name, value in columns.items() if name in row and value != ""}
        moment = when(fields["event_timestamp"])
        expected["event_timestamp"] = moment
        expected["event_date"] = moment.date()
        expected["partition"] = partition(moment.date())
        yield from differences({**expected, **case.effect.values}, _only(row, expected, case), it, f"row[{index}]")


def _only(row: Mapping[str, Any], expected: Mapping[str, Any], case: Case) -> dict[str, Any]:
    """Return the columns that are looked at, ids as text and times in UTC."""
    wanted = {*expected, *case.effect.values}
    found = {name: value for name, value in row.items() if name in wanted}
    for name, value in found.items():
        if isinstance(value, datetime):
            found[name] = value.astimezone(UTC)
        elif value is not None and not isinstance(value, str | int | float | bool | dict | list | date):
            found[name] = str(value)
    return found


def when(text: str) -> datetime:
    """Return a request's timestamp as PostgreSQL keeps it: in microseconds."""
    trimmed = re.sub(r"(\.\d{6})\d+", r"\1", text)
    return datetime.fromisoformat(trimmed.replace("Z", "+00:00")).astimezone(UTC)


def partition(day: date) -> str:
    """Return the name of the partition that holds events of a day."""
    return f"audit_events_{day:%Y_%m}"


def _queued(case: Case, bench: Bench, it: Moment) -> Iterator[str]:
    """Yield where the dead letter queue did not grow as it must."""
    if case.effect.queued is None:
        return
    entries = bench.queue.entries(it.correlation)
    if len(entries) != case.effect.queued:
        reasons = "; ".join(shown(entry.get("last_error")) for entry in entries)
        yield f"{len(entries)} new entries in the DLQ, expected {case.effect.queued}" + (
            f" (last_error: {reasons})" if reasons else ""
        )
        return
    sent = sorted(it.sent, key=lambda each: when(each["event_timestamp"])) if entries else []
    for index, (entry, fields) in enumerate(zip(_in_order(entries), sent, strict=False)):
        place = f"entry[{index}]"
        yield from differences("audit_event", entry.get("type"), it, f"{place}.type")
        yield from differences(case.effect.last_error, entry.get("last_error"), it, f"{place}.last_error")
        yield from differences(fields["event_data"], entry["event_data"], it, f"{place}.payload.event_data")
        payload = {name: value for name, value in entry["payload"].items() if name != "event_data"}
        if case.effect.payload is not None:
            yield from differences(case.effect.payload, payload, it, f"{place}.payload")
        for name in ("version", "event_type", "event_category", "event_action", "event_outcome"):
            yield from differences(fields[name], entry["payload"].get(name), it, f"{place}.payload.{name}")


def _in_order(entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(entries, key=lambda entry: when(entry["payload"]["event_timestamp"]))


def decoded(message: str) -> dict[str, Any]:
    """Return an entry of the dead letter queue, with the event's data, which is base64 of its JSON, beside it."""
    entry: dict[str, Any] = json.loads(message)
    data = entry["payload"].get("event_data")
    try:
        entry["event_data"] = json.loads(base64.b64decode(data, validate=True)) if isinstance(data, str) else None
    except ValueError:
        entry["event_data"] = None
    return entry
