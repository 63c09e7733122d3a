# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a case of the contract is written down: what is asked, what must come back, what must be in PostgreSQL and Redis.

Everything that is expected is a value of one of these kinds, which :func:`differences` compares with what was found:

- a compiled pattern, found somewhere in a text;
- a type, the very one (``bool`` is no ``int``);
- a callable that takes the case's :class:`Moment` and returns an expected value;
- a :class:`Partial` mapping, a plain mapping (no key more or less), a list, :class:`Every` element of one;
- :class:`JsonText`, a text that is JSON;
- anything else: equal.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

EVENTS = "/api/v1/audit/events"
BATCH = f"{EVENTS}/batch"
CHAIN = "/api/v1/audit/verify-chain"
JSON = "application/json"
PROBLEM = "application/problem+json"
TEXT = "text/plain"
#: Every event carries its case's mark here as well, so that one with a spoilt correlation id is found, too.
MARK = "component"

#: How every correlation id of this run begins.
PREFIX = f"conformance-{uuid.uuid4().hex[:12]}-"


# -------------------------------------------------------------------------------------------------------------- origins


@dataclass(frozen=True)
class Origin:
    """Where an expectation comes from.

    :param section: of the contract's description that says so.
    :param commit: of kubernaut.
    :param date: on which a real service of that commit answered so; empty for what was only read in its source.
    :param result: what it answered then, in words.
    """

    section: str
    commit: str
    date: str = ""
    result: str = ""

    @property
    def observed(self) -> bool:
        """Whether a real service was seen to do so."""
        return bool(self.date)


COMMITS: Mapping[str, str] = {"v0": "eb5185b73", "v1": "d5a4a8709"}


# -------------------------------------------------------------------------------------------------------------- moments


@dataclass
class Moment:
    """One case while it is tried.

    :param correlation: its events' correlation id, which nobody else has.
    :param begin: when it began (aware, UTC).
    :param contract: which generation is asked.
    :param earlier: events that were stored before the request, as they were sent; ``earlier_ids``: the ids they got.
    :param sent: events of the request itself.
    """

    correlation: str
    begin: datetime
    contract: str
    earlier: list[dict[str, Any]] = field(default_factory=list)
    earlier_ids: list[str] = field(default_factory=list)
    sent: list[dict[str, Any]] = field(default_factory=list)


def rfc3339(moment: datetime) -> str:
    """Return a time as a client writes it."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


#: A field with this value is left out.
ABSENT: Any = type("Absent", (), {"__repr__": lambda _self: "ABSENT"})()


def event(*, age: timedelta = timedelta(seconds=60), number: int = 0, **changes: Any) -> Callable[[Moment], Any]:
    """Return a builder of an event that both contracts take.

    :param age: how long ago it happened; events of a batch follow each other by a millisecond.
    :param number: its place in the batch.
    :param changes: field -> another value, a callable that takes the moment, or :data:`ABSENT`.
    """

    def build(it: Moment) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "version": "1.0",
            "event_type": "gateway.config.reloaded",
            "event_timestamp": rfc3339(it.begin - age + timedelta(milliseconds=number)),
            "event_category": "gateway",
            "event_action": "reloaded",
            "event_outcome": "success",
            "correlation_id": it.correlation,
            "event_data": {"event_type": "gateway.config.reloaded", MARK: it.correlation},
        }
        for name, value in changes.items():
            fields[name] = value(it) if callable(value) else value
        return {name: value for name, value in fields.items() if value is not ABSENT}

    return build


def batch(
    count: int,
    *,
    spoil: Mapping[int, Mapping[str, Any]] | None = None,
    same_time: bool = False,
    newest_first: bool = False,
    **changes: Any,
) -> Callable[[Moment], Any]:
    """Return a builder of a batch; ``spoil`` changes single events of it, ``changes`` all."""

    def build(it: Moment) -> list[Any]:
        return [
            event(
                number=0 if same_time else count - index if newest_first else index,
                **{**changes, **(spoil or {}).get(index, {})},
            )(it)
            for index in range(count)
        ]

    return build


def within_month(age: timedelta) -> Callable[[Moment], str]:
    """Return a timestamp of that age, but of this month: the one before may have no partition any more."""

    def build(it: Moment) -> str:
        first = it.begin.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        return rfc3339(max(first, it.begin - age))

    return build


# ------------------------------------------------------------------------------------------------- requests and answers

#: How a request of contract v1 identifies itself; v0 never does.
SERVICE, NOBODY, FORGED, STRANGER, HUMAN = "service", "nobody", "forged", "stranger", "human"


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked.

    :param port: ``api``, ``health`` or ``metrics``: two of them are others at v1.
    :param query: parameter -> its text, or a callable that takes the moment.
    :param body: builder of a JSON document, or the body itself.
    :param headers: further header fields; ``Content-Type`` replaces JSON's.
    :param identity: whose token is sent.
    """

    method: str = "GET"
    path: str
    port: str = "api"
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Callable[[Moment], Any] | bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    identity: str = SERVICE

    def document(self, it: Moment) -> bytes | None:
        """Return the body, and let the moment remember the events in it."""
        if self.body is None or isinstance(self.body, bytes):
            return self.body
        document = self.body(it)
        it.sent = [entry for entry in (document if isinstance(document, list) else [document]) if is_event(entry)]
        return json.dumps(document).encode()


def is_event(document: Any) -> bool:
    """Tell whether that is meant to be an event."""
    return isinstance(document, dict) and "event_action" in document


def get(path: str, **parts: Any) -> Request:
    """Ask for something."""
    return Request(path=path, **parts)


def mine(**query: Any) -> Request:
    """Ask for the case's own events."""
    return get(EVENTS, query={"correlation_id": lambda it: it.correlation, "limit": "100", **query})


def post(path: str, body: Callable[[Moment], Any] | bytes, **parts: Any) -> Request:
    """Send something."""
    return Request(method="POST", path=path, body=body, **parts)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What must come back.

    :param status: HTTP status.
    :param content_type: media type without its parameters; empty for any.
    :param body: expected value of the decoded JSON, or of the text where the media type is another; None for any.
    :param headers: name in lower case -> expected value.
    """

    status: int
    content_type: str = JSON
    body: Any = None
    headers: Mapping[str, Any] = field(default_factory=dict)


def problem(status: int, slug: str, title: Any, detail: Any, **more: Any) -> Answer:
    """Return an answer in RFC 7807's form; ``more`` are its further members, of which v1 may have others."""
    body = {
        "type": f"https://kubernaut.ai/problems/{slug}" if slug != "about:blank" else slug,
        "title": title,
        "status": status,
        "detail": detail,
        **more,
    }
    return Answer(status=status, content_type=PROBLEM, body=lambda it: body if it.contract == "v0" else Partial(body))


def invalid(detail: str, **more: Any) -> Answer:
    """Return the answer to a request that breaks the schema or a rule; ``detail`` is a regular expression."""
    return problem(400, "validation-error", "Validation Error", re.compile(detail), **more)


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What must be there afterwards that was not there before.

    :param rows: new rows of the case in PostgreSQL, each as it was sent and in its month's partition; None: cannot be
        asked.
    :param values: column -> expected value in every new row.
    :param queued: new entries of the case in the dead letter queue; None: cannot be asked.
    :param last_error: expected value of the entries' last_error.
    :param payload: expected value of the entries' payload beside the event's data; None for any.
    """

    rows: int | None = 0
    values: Mapping[str, Any] = field(default_factory=dict)
    queued: int | None = 0
    last_error: Any = str
    payload: Any = None


@dataclass(frozen=True, kw_only=True)
class Case:
    """One sentence of the contract.

    :param name: of the test; unique in each contract.
    :param origins: contract -> where its expectation comes from; the case is tried for these contracts.
    :param request: what is asked.
    :param answer: what must come back.
    :param effect: what must have been stored.
    :param given: a request before, which must be answered 201; ``times`` says how often it is sent.
    :param fault: a state of the stack in which that is asked; empty for a sound one.
    :param within: seconds in which the answer must become right; only for what may be asked again.
    """

    name: str
    origins: Mapping[str, Origin]
    request: Request
    answer: Answer
    effect: Effect = Effect()
    given: Request | None = None
    times: int = 1
    fault: str = ""
    within: float = 0.0


# ----------------------------------------------------------------------------------------------------------- comparison


class Partial(dict[str, Any]):
    """A mapping that may have further keys."""


@dataclass(frozen=True)
class JsonText:
    """A text that is JSON."""

    expected: Any


@dataclass(frozen=True)
class Every:
    """A list of so many elements, each of them as expected."""

    expected: Any
    count: int


def is_uuid(_it: Moment) -> Any:
    """Expect a UUID."""
    return re.compile(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")


def is_timestamp(_it: Moment) -> Any:
    """Expect a time in RFC 3339's form."""
    return re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$")


def differences(expected: Any, found: Any, it: Moment, place: str) -> Iterator[str]:
    """Yield in words where ``found`` is not what was expected."""
    if isinstance(expected, type):
        # Not even True is an int here.
        if found.__class__ is not expected:
            yield f"{place} is {shown(found)}, expected some {expected.__name__}"
    elif isinstance(expected, re.Pattern):
        if not isinstance(found, str) or not expected.search(found):
            yield f"{place} is {shown(found)}, expected a text with {expected.pattern!r}"
    elif callable(expected):
        yield from differences(expected(it), found, it, place)
    elif isinstance(expected, Mapping) and isinstance(found, Mapping):
        yield from _of_mappings(expected, found, it, place)
    elif isinstance(expected, JsonText):
        yield from _of_json(expected.expected, found, it, place)
    elif isinstance(expected, Every):
        yield from differences([expected.expected] * expected.count, found, it, place)
    elif isinstance(expected, list) and isinstance(found, list):
        yield from _of_lists(expected, found, it, place)
    elif type(expected) is not type(found) or expected != found:
        yield f"{place} is {shown(found)}, expected {shown(expected)}"


def _of_json(expected: Any, found: Any, it: Moment, place: str) -> Iterator[str]:
    try:
        decoded = json.loads(found)
    except (TypeError, ValueError):
        yield f"{place} is {shown(found)}, expected JSON"
    else:
        yield from differences(expected, decoded, it, place)


def _of_lists(expected: list[Any], found: list[Any], it: Moment, place: str) -> Iterator[str]:
    if len(expected) != len(found):
        yield f"{place} has {len(found)} elements, expected {len(expected)}"
    for index, (wanted, got) in enumerate(zip(expected, found, strict=False)):
        yield from differences(wanted, got, it, f"{place}[{index}]")


def _of_mappings(expected: Mapping[str, Any], found: Mapping[str, Any], it: Moment, place: str) -> Iterator[str]:
    for name, value in expected.items():
        if name in found:
            yield from differences(value, found[name], it, f"{place}.{name}")
        else:
            yield f"{place}.{name} is missing"
    if not isinstance(expected, Partial):
        more = sorted(set(found) - set(expected))
        if more:
            yield f"{place} has more than expected: {', '.join(more)}"


def shown(value: Any) -> str:
    """Return a value for a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 300 else text[:300] + "..."


def new_mark(name: str) -> str:
    """Return a correlation id that nobody has used, and by which a person knows whose it is."""
    return f"{PREFIX}{uuid.uuid4().hex[:12]}-{name}"[:200]
