# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an audit event is: the request's schema, the rules beyond it, the defaults, and the parameters of the query."""

from __future__ import annotations

import json
import math
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from reference_datastorage.gotime import format_duration, format_rfc3339, parse_rfc3339, parse_time_parameter
from reference_datastorage.limits import nested_too_deeply
from reference_datastorage.problems import (
    ProblemError,
    QueryProblemError,
    SchemaError,
    WindowError,
    undecodable_problem,
    validation_problem,
)

CATEGORIES = ("gateway", "notification", "analysis", "signalprocessing", "workflow", "execution", "orchestration")
OUTCOMES = ("success", "failure", "pending")
RETENTION_DAYS = 2555
MAX_AHEAD = timedelta(minutes=5)
MAX_AGE = timedelta(days=7)
MAX_LIMIT = 1000
DEFAULT_LIMIT = 50
EMPTY_LIMIT = 100  # of a parameter that is there and empty

# The longest text of each required string. `version` may be longer than its column, varchar(10): such an event is
# valid, cannot be stored and ends in the dead letter queue. That is part of the contract.
_REQUIRED = {
    "version": 20,
    "event_type": 100,
    "event_timestamp": None,
    "event_category": 50,
    "event_action": 50,
    "event_outcome": None,
    "correlation_id": 255,
    "event_data": None,
}
_OPTIONAL_STRINGS = ("actor_type", "actor_id", "resource_type", "resource_id")
_SCHEMA = "#/components/schemas/AuditEventRequest"
_BODY = "request body has an error: "
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_NULL, _NO_OBJECT = "Value is not nullable", "value must be an object"
_UUID_LENGTHS = (32, 36, 38, 45)  # bare, with hyphens, in braces, as a URN
_WITHOUT_ZONE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?")  # the schema takes it, the decoder does not
_JSON_NAMES: dict[type, str] = {str: "string", bool: "bool", int: "number", float: "number", list: "array"}


@dataclass(frozen=True, slots=True)
class Event:
    """One event as it is stored; the attributes are the columns of ``audit_events``. Timestamps are aware."""

    event_id: uuid.UUID
    event_version: str
    event_timestamp: datetime
    event_type: str
    event_category: str
    event_action: str
    event_outcome: str
    correlation_id: str
    parent_event_id: uuid.UUID | None
    resource_type: str
    resource_id: str
    namespace: str | None
    cluster_name: str | None
    actor_type: str
    actor_id: str
    severity: str | None  # None is stored as ``info``, an empty text as NULL
    duration_ms: int | None
    event_data: dict[str, object]
    # What only contract v1 takes; its name for the column cluster_name is cluster_id.
    actor_ip: str | None = None
    parent_event_date: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    retention_days: int = 0  # nothing above 0 is stored as RETENTION_DAYS
    is_sensitive: bool = False


#: Says what is wrong with a value, or None.
Check = Callable[[object], str | None]


def is_string(value: object) -> str | None:
    """Demand a text."""
    return None if isinstance(value, str) else "value must be a string"


def is_integer(value: object) -> str | None:
    """Demand a whole number; true and false are none."""
    return None if isinstance(value, int) and not isinstance(value, bool) else "value must be an integer"


def is_boolean(value: object) -> str | None:
    """Demand true or false."""
    return None if isinstance(value, bool) else "value must be a boolean"


def is_date_time(value: object) -> str | None:
    """Demand a moment as RFC 3339 writes it."""
    if not isinstance(value, str):
        return "value must be a string"
    try:
        parse_rfc3339(value)
    except ValueError:
        return 'string doesn\'t match the format "date-time"'
    return None


def _is_moment(value: object) -> str | None:
    """Demand a moment that need not say its zone."""
    return None if isinstance(value, str) and _WITHOUT_ZONE.fullmatch(value) else is_date_time(value)


def _anything(_value: object) -> str | None:
    return None


def _as_it_is(data: dict[str, object]) -> dict[str, object]:
    return data


@dataclass(frozen=True, slots=True)
class Rules:
    """What a contract demands of an event, where the contracts differ.

    ``cluster`` is the field (and column) that names the cluster; ``more`` are further fields that may be left out or
    null, each the attribute of an event. ``data`` judges ``event_data``, which is an object of at most ``max_data``
    bytes of JSON, at most ``max_depth`` levels deep (None: no limit), once ``trim`` has made of it what is stored.
    ``timestamp`` judges ``event_timestamp``; ``null_parent`` is what a ``parent_event_id`` of null is read as.
    ``details``: the query can ask for a key of ``event_data``; ``empty_filters``: an empty parameter counts as absent.
    """

    categories: tuple[str, ...]
    cluster: str
    max_ahead: timedelta
    more: Mapping[str, Check] = field(default_factory=dict)
    data: Check = _anything
    max_data: int | None = None
    max_depth: int | None = None
    trim: Callable[[dict[str, object]], dict[str, object]] = _as_it_is
    timestamp: Check = is_date_time
    null_parent: uuid.UUID | None = None
    details: bool = False
    empty_filters: bool = True

    def nullable(self) -> dict[str, Check]:
        """Return every field that may be null, with its check."""
        common: dict[str, Check] = {
            "parent_event_id": is_string,
            "namespace": is_string,
            self.cluster: is_string,
            "severity": is_string,
            "duration_ms": is_integer,
        }
        return common | dict(self.more)


V0 = Rules(
    categories=CATEGORIES,
    cluster="cluster_name",
    max_ahead=MAX_AHEAD,
    timestamp=_is_moment,
    empty_filters=False,
)


@dataclass(frozen=True, slots=True)
class EventQuery:
    """A query for events. ``equals`` maps columns to wanted values; the times are aware and inclusive.

    ``detail`` is a key of ``event_data`` with the text it must have.
    """

    equals: Mapping[str, str]
    since: datetime | None
    until: datetime | None
    limit: int
    offset: int
    detail: tuple[str, str] | None = None


def parse_json(body: bytes) -> object:
    """Decode a request's body. Raises ProblemError (400) for what is not JSON, or is JSON that no database can hold."""
    if not body:
        raise SchemaError(f"{_BODY}value is required but missing")
    try:
        value: object = json.loads(body.decode(), parse_constant=_reject_constant, parse_float=_finite)
        if nested_too_deeply(value):
            raise RecursionError
        if _NUL.search(body):
            raise ValueError("a string holds U+0000")
        if b"\\u" in body:
            json.dumps(value, ensure_ascii=False).encode()  # fails on half a surrogate pair
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise SchemaError(f"{_BODY}failed to decode request body: {reason}") from None
    return value


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"number {text[:40]} is out of range")
    return number


def _reject_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def parse_event(value: object, now: datetime, rules: Rules = V0) -> Event:
    """Validate one event against schema and rules, fill in the defaults. Raises ProblemError (400)."""
    fields = _check_schema(value, rules)
    _check_decodable(fields)
    return _build(fields, now, rules)


def parse_batch(value: object, now: datetime, rules: Rules = V0) -> list[Event]:
    """Validate a batch; every event or none is accepted. Raises ProblemError (400)."""
    if not isinstance(value, list):
        raise SchemaError(f"{_BODY}doesn't match schema: value must be an array")
    if not value:
        raise validation_problem("batch cannot be empty")
    fields = [_check_schema(item, rules, index) for index, item in enumerate(value)]
    for item in fields:
        _check_decodable(item, "request body must be a JSON array: ")
    return [_build(item, now, rules, f"event at index {index}: ") for index, item in enumerate(fields)]


def _check_schema(value: object, rules: Rules, index: int | None = None) -> dict[str, object]:
    """Return the event's fields once the published schema holds, with every violation in one problem."""
    path = "/" if index is None else f"/{index}/"
    matched = f"{_BODY}doesn't match schema {_SCHEMA}: " if index is None else f"{_BODY}doesn't match schema: "
    if not isinstance(value, dict):
        where = "" if index is None else f'Error at "/{index}": '
        raise SchemaError(f"{matched}{where}{_NO_OBJECT if value is not None else _NULL}")
    errors: dict[str, str] = {}
    for name, longest in _REQUIRED.items():
        error = _check_required(value, name, longest, rules)
        if error:
            errors[name] = error
    for name in _OPTIONAL_STRINGS:
        error = _check_optional(value, name, is_string, nullable=False)
        if error:
            errors[name] = error
    for name, check in rules.nullable().items():
        error = _check_optional(value, name, check, nullable=True)
        if error:
            errors[name] = error
    if errors:
        detail = " | ".join(f'Error at "{path}{name}": {error}' for name, error in errors.items())
        raise SchemaError(matched + detail, errors)
    return value


def _check_required(fields: Mapping[str, object], name: str, longest: int | None, rules: Rules) -> str | None:
    if name not in fields:
        return f'property "{name}" is missing'
    value = fields[name]
    if value is None:
        return _NULL
    if name == "event_data":
        return rules.data(value)
    if name == "event_timestamp":
        return rules.timestamp(value)
    if not isinstance(value, str):
        return "value must be a string"
    allowed = {"event_category": rules.categories, "event_outcome": OUTCOMES}.get(name)
    if allowed is not None:
        return None if value in allowed else f"value is not one of the allowed values {_compact(allowed)}"
    if not value:
        return "minimum string length is 1"
    return f"maximum string length is {longest}" if longest is not None and len(value) > longest else None


def _check_optional(fields: Mapping[str, object], name: str, check: Check, *, nullable: bool) -> str | None:
    value = fields.get(name)
    if value is None:
        return None if nullable or name not in fields else _NULL
    return check(value)


def _compact(names: Sequence[str]) -> str:
    return json.dumps(names, separators=(",", ":"))


def _check_decodable(fields: Mapping[str, object], prefix: str = "") -> None:
    """Refuse what the schema takes and Go's decoder does not. Raises ProblemError (400)."""
    text = str(fields["event_timestamp"])
    if _WITHOUT_ZONE.fullmatch(text):
        layout = "2006-01-02T15:04:05Z07:00"
        raise undecodable_problem(f'{prefix}parsing time "{text}" as "{layout}": cannot parse "" as "Z07:00"')
    parent = fields.get("parent_event_id")
    if parent is None:
        return
    try:
        uuid.UUID(str(parent))
    except ValueError:
        length = len(str(parent).encode())
        reason = "invalid UUID format" if length in _UUID_LENGTHS else f"invalid UUID length: {length}"
        raise undecodable_problem(prefix + reason) from None


def _build(fields: Mapping[str, object], now: datetime, rules: Rules, prefix: str = "") -> Event:
    timestamp = parse_rfc3339(str(fields["event_timestamp"]))
    check_window(timestamp, now, prefix, rules.max_ahead)
    data = fields["event_data"]
    if not isinstance(data, dict):
        kind = _JSON_NAMES[type(data)]
        go_type = "map[string]interface {}"
        detail = (
            f"{prefix}failed to unmarshal event_data: json: cannot unmarshal {kind} into Go value of type {go_type}"
        )
        raise ProblemError(400, "invalid_event_data", "Invalid Event Data", detail)
    data = rules.trim(data)
    _check_limits(data, rules, prefix)
    category, correlation_id = str(fields["event_category"]), str(fields["correlation_id"])
    parent, duration = fields.get("parent_event_id", ""), fields.get("duration_ms")
    severity = fields.get("severity")
    return Event(
        event_id=uuid.uuid4(),
        event_version=str(fields["version"]),
        event_timestamp=timestamp,
        event_type=str(fields["event_type"]),
        event_category=category,
        event_action=str(fields["event_action"]),
        event_outcome=str(fields["event_outcome"]),
        correlation_id=correlation_id,
        parent_event_id=uuid.UUID(str(parent)) if parent else rules.null_parent if parent is None else None,
        resource_type=str(fields.get("resource_type", category)),
        resource_id=str(fields.get("resource_id", correlation_id)),
        namespace=_text_or_none(fields.get("namespace")),
        cluster_name=_text_or_none(fields.get(rules.cluster)),
        actor_type=str(fields.get("actor_type", "service")),
        actor_id=str(fields.get("actor_id", f"{category}-service")),
        severity=None if severity is None else str(severity),
        duration_ms=duration if isinstance(duration, int) and duration != 0 else None,
        event_data=data,
        **{name: fields[name] for name in rules.more if fields.get(name) is not None},  # type: ignore[arg-type]
    )


def _check_limits(data: dict[str, object], rules: Rules, prefix: str) -> None:
    too_large = rules.max_data is not None and len(json.dumps(data, ensure_ascii=False).encode()) > rules.max_data
    too_deep = rules.max_depth is not None and _depth(data, rules.max_depth) > rules.max_depth
    if too_large or too_deep:
        raise validation_problem(f"{prefix}event_data exceeds size or nesting depth limits")


def _depth(data: dict[str, object], enough: int) -> int:
    """Return how many levels of objects and arrays there are, or ``enough`` + 1 when there are more."""
    depth = 1
    level: list[dict[str, object] | list[object]] = [data]
    while depth <= enough:
        items = (item for box in level for item in (box.values() if isinstance(box, dict) else box))
        level = [item for item in items if isinstance(item, dict | list)]
        if not level:
            break
        depth += 1
    return depth


def _text_or_none(value: object) -> str | None:
    """Return None for an empty text: it is stored as NULL, and read back as an empty text."""
    return str(value) if value else None


def check_window(timestamp: datetime, now: datetime, prefix: str = "", max_ahead: timedelta = MAX_AHEAD) -> None:
    """Refuse an event from the future or from long ago. Raises ProblemError (400) that names both clocks."""
    if timestamp > now + max_ahead:
        clocks = f"server time: {format_rfc3339(now)}, event time: {format_rfc3339(timestamp)}"
        raise WindowError(prefix, f"timestamp is in the future ({clocks})")
    if timestamp < now - MAX_AGE:
        age = format_duration(now - timestamp)
        raise WindowError(prefix, f"timestamp is too old (must be within 7 days, age: {age})")


_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")  # so many digits as fit into PostgreSQL's bigint
_FILTERS = ("correlation_id", "event_type", "event_category", "event_outcome", "severity")
_DETAIL = ("detail_key", "detail_value")


def parse_query(parameters: Mapping[str, str], now: datetime | None = None, rules: Rules = V0) -> EventQuery:
    """Read the parameters of the query. Raises ProblemError (400)."""
    moment = now or datetime.now(UTC)
    for name in (*_FILTERS, "since", "until"):
        if parameters.get(name) == "" and not rules.empty_filters:
            raise _parameter_problem(name, "empty value is not allowed")
    for name in (*_FILTERS, *(_DETAIL if rules.details else ())):
        if "\0" in parameters.get(name, ""):
            raise _parameter_problem(name, "a text of PostgreSQL cannot hold U+0000")
    equals = {name: parameters[name] for name in _FILTERS if parameters.get(name)}
    if parameters.get("event_outcome", OUTCOMES[0]) not in OUTCOMES:
        raise _parameter_problem("event_outcome", f"value is not one of the allowed values {_compact(OUTCOMES)}")
    limit = _integer(parameters, "limit", EMPTY_LIMIT if "limit" in parameters else DEFAULT_LIMIT, lowest=1)
    if limit > MAX_LIMIT:
        raise _parameter_problem("limit", f"number must be at most {MAX_LIMIT}")
    return EventQuery(
        equals=equals,
        since=_moment(parameters, "since", moment),
        until=_moment(parameters, "until", moment),
        limit=limit,
        offset=_integer(parameters, "offset", 0, lowest=0),
        detail=_detail(parameters) if rules.details else None,
    )


def _detail(parameters: Mapping[str, str]) -> tuple[str, str] | None:
    key, value = (parameters.get(name, "") for name in _DETAIL)
    if bool(key) != bool(value):
        raise QueryProblemError("detail_key and detail_value need each other")
    return (key, value) if key else None


def _integer(parameters: Mapping[str, str], name: str, default: int, *, lowest: int) -> int:
    text = parameters.get(name)
    if not text:
        return default
    if not _INTEGER.fullmatch(text):
        raise _parameter_problem(name, f"value {text[:40]}: an invalid integer: invalid syntax")
    number = int(text)
    if number < lowest:
        raise _parameter_problem(name, f"number must be at least {lowest}")
    return number


def _moment(parameters: Mapping[str, str], name: str, now: datetime) -> datetime | None:
    text = parameters.get(name)
    if not text:
        return None
    try:
        moment = parse_time_parameter(text, now)
    except ValueError as error:
        raise QueryProblemError(str(error)) from None
    try:
        return moment.astimezone(UTC)  # PostgreSQL knows no offset of 16 hours or more
    except OverflowError:  # within a day of the calendar's end
        return datetime.min.replace(tzinfo=UTC) if moment.year == 1 else datetime.max.replace(tzinfo=UTC)


def _parameter_problem(name: str, reason: str) -> ProblemError:
    return SchemaError(f'parameter "{name}" in query has an error: {reason}', {name: reason})
