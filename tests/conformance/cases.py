# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a sound service answers and stores, as data."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

from ansible_collections.kubernaut.integration.tests.conformance.contract import (
    ABSENT,
    BATCH,
    CHAIN,
    COMMITS,
    EVENTS,
    FORGED,
    HUMAN,
    MARK,
    NOBODY,
    STRANGER,
    TEXT,
    Answer,
    Case,
    Effect,
    Every,
    JsonText,
    Moment,
    Origin,
    Partial,
    Request,
    batch,
    event,
    get,
    invalid,
    is_timestamp,
    is_uuid,
    mine,
    post,
    problem,
    rfc3339,
    within_month,
)

Origins = dict[str, Origin]

#: The day on which the real services were asked, with this very suite.
DATE = "2026-11-29"


def v0(result: str, section: str = "10.1") -> Origins:
    """A real v0 service was seen to do so."""
    return {"v0": Origin(section, COMMITS["v0"], DATE, result)}


def v1(result: str, section: str = "10.2") -> Origins:
    """A real v1 service was seen to do so."""
    return {"v1": Origin(section, COMMITS["v1"], DATE, result)}


def both(result: str, section: str) -> Origins:
    """Both were."""
    return {**v0(result, section), **v1(result, section)}


STORED = Answer(
    status=201,
    body={"event_id": is_uuid, "event_timestamp": is_timestamp, "message": "Audit event created successfully"},
)
QUEUED = Answer(status=202, body={"status": "accepted", "message": "audit event queued for async processing"})
ONE_ROW = Effect(rows=1)
NO_EVENT = "00000000-0000-4000-8000-000000000000"


def all_stored(count: int) -> Answer:
    """Return the answer to a batch."""
    return Answer(
        status=201,
        body={"event_ids": Every(is_uuid, count), "message": f"{count} audit events created successfully"},
    )


def probed(body: dict[str, Any], status: int = 200) -> Answer:
    """Return the answer of a probe: JSON that calls itself text."""
    return Answer(status=status, content_type=TEXT, body=JsonText(body))


def named(*methods: str) -> re.Pattern[str]:
    """Expect these methods in any order, and no other."""
    either = "|".join(methods)
    return re.compile("".join(f"(?=.*{method})" for method in methods) + f"^({either})(, ({either}))*$")


NO_SUCH_PATH = Answer(
    status=404, content_type=TEXT, body="404 page not found\n", headers={"x-content-type-options": "nosniff"}
)


def page(count: int, total: int | None = None, *, limit: int = 100, offset: int = 0) -> Partial:
    """Return the expected body of a query: so many events of so many."""
    whole = count if total is None else total
    return Partial(
        data=Every(Partial(correlation_id=lambda it: it.correlation), count),
        pagination={"limit": limit, "offset": offset, "total": whole, "has_more": offset + count < whole},
    )


# ------------------------------------------------------------------------------------------------- health and metrics

HEALTH = (
    Case(
        name="health",
        origins=v0('200 {"status":"healthy","database":"connected"}'),
        request=get("/health"),
        answer=probed({"status": "healthy", "database": "connected"}),
    ),
    Case(
        name="health-ready",
        origins=v0('200 {"status":"ready"}'),
        request=get("/health/ready"),
        answer=probed({"status": "ready"}),
    ),
    Case(
        name="health-live",
        origins=v0('200 {"status":"alive"}'),
        request=get("/health/live"),
        answer=probed({"status": "alive"}),
    ),
    Case(
        name="readyz-absent",
        origins=v0("404"),
        request=get("/readyz"),
        answer=NO_SUCH_PATH,
    ),
    *(
        Case(
            name=f"no-path-{kind}",
            origins=both("404 page not found", "3.1"),
            request=get(path),
            answer=NO_SUCH_PATH,
        )
        for kind, path in (
            ("unknown", "/api/v1/no-such-thing"),
            ("root", "/"),
            ("health-with-slash", "/health/"),
            ("events-with-slash", f"{EVENTS}/"),
        )
    ),
    *(
        Case(
            name=f"no-method-{method.lower()}-{kind}",
            origins=both("405 with Allow and without a body", "3.1")
            if path.startswith("/api")
            else v0("405 with Allow and without a body", "3.1"),
            request=Request(method=method, path=path),
            answer=Answer(status=405, content_type="", body="", headers={"allow": named(*allowed)}),
        )
        for method, kind, path, allowed in (
            ("PUT", "events", EVENTS, ("GET", "POST")),
            ("DELETE", "events", EVENTS, ("GET", "POST")),
            ("PATCH", "events", EVENTS, ("GET", "POST")),
            ("GET", "batch", BATCH, ("POST",)),
            ("HEAD", "health", "/health", ("GET",)),
            ("POST", "health", "/health", ("GET",)),
        )
    ),
    Case(
        name="readyz",
        origins=v1('200 {"status":"ready"}'),
        request=get("/readyz", port="health"),
        answer=probed({"status": "ready"}),
    ),
    Case(
        name="readyz-of-the-api",
        origins=v1("200"),
        request=get("/readyz", identity=NOBODY),
        answer=probed({"status": "ready"}),
    ),
    Case(
        name="healthz",
        origins=v1('200 {"status":"healthy","timestamp":…}'),
        request=get("/healthz", port="health"),
        answer=probed({"status": "healthy", "timestamp": is_timestamp}),
    ),
    *(
        Case(
            name=f"{path.strip('/')}-absent-from-{port}",
            origins=v1("404"),
            request=get(path, port=port),
            answer=Answer(status=404, content_type=""),
        )
        for port, path in (("api", "/health"), ("api", "/healthz"), ("api", "/metrics"), ("health", "/health"))
    ),
    Case(
        name="metrics",
        origins=v0("200") | v1("200 on the metrics port"),
        request=get("/metrics", port="metrics"),
        answer=Answer(status=200, content_type=TEXT, body=re.compile(r"^# TYPE \w+ \w+$", re.MULTILINE)),
    ),
    Case(
        name="metrics-of-events",
        origins=v0("datastorage_audit_traces_total, datastorage_audit_lag_seconds, datastorage_write_duration_seconds"),
        given=post(EVENTS, event()),
        request=get("/metrics", port="metrics"),
        answer=Answer(
            status=200,
            content_type=TEXT,
            body=re.compile(
                r"(?ms)(?=.*^# TYPE datastorage_audit_traces_total counter$)"
                r"(?=.*^# TYPE datastorage_audit_lag_seconds histogram$)"
                r"(?=.*^# TYPE datastorage_write_duration_seconds histogram$)"
            ),
        ),
    ),
)

# ------------------------------------------------------------------------------------------------------- one event

#: Every optional field of the request that both contracts have.
OPTIONAL: Mapping[str, Any] = {
    "actor_type": "controller",
    "actor_id": "conformance-controller",
    "resource_type": "Deployment",
    "resource_id": "shop/web",
    "namespace": "shop",
    "severity": "warning",
    "duration_ms": 1234,
}
#: ``event_data`` of every JSON type; the second contract has a schema for it, which leaves less room.
RICH = {
    MARK: lambda it: it.correlation,
    "text": "größer",
    "number": 3,
    "ratio": 0.5,
    "yes": True,
    "nothing": None,
    "list": ["a", {"b": []}],
}


def rich(it: Moment) -> dict[str, Any]:
    """Return event data of every JSON type."""
    return {**RICH, MARK: it.correlation}


def parent(it: Moment) -> str:
    """Return the id of the event that was stored before."""
    return it.earlier_ids[0]


def parents_day(it: Moment) -> date | None:
    """Return what is stored of that event beside its id: its day, by which it is partitioned, from contract v1 on."""
    if it.contract == "v0":
        return None
    return datetime.fromisoformat(it.earlier[0]["event_timestamp"]).astimezone(UTC).date()


def with_field(name: str, value: Any) -> Callable[[Moment], Any]:
    """Return a builder of an event with another value of one field."""
    changes: dict[str, Any] = {name: value}
    return event(**changes)


def in_another_zone(it: Moment) -> str:
    """Return a minute ago, by a clock in the east."""
    return (it.begin - timedelta(seconds=60)).astimezone(timezone(timedelta(hours=2))).isoformat()


def entry(it: Moment) -> dict[str, Any]:
    """Expect the payload of a queued event that has no optional field."""
    sent = it.sent[0]
    return {
        **{name: value for name, value in sent.items() if name not in ("event_data", "event_timestamp")},
        "event_id": is_uuid,
        "event_timestamp": same_time(sent["event_timestamp"]),
        "actor_type": "service",
        "actor_id": "gateway-service",
        "resource_type": "gateway",
        "resource_id": it.correlation,
        "retention_days": 0,
        "is_sensitive": False,
    }


def same_time(text: str) -> re.Pattern[str]:
    """Expect this time, with or without zeros at the end of its fraction."""
    return re.compile("^" + re.escape(text.removesuffix("Z").rstrip("0")) + "0*Z$")


#: Kinds of events that v1 refuses.
ONLY_V0 = ("with-empty-data", "with-null-parent")
#: PostgreSQL's words for a text that does not fit into its column.
TOO_LONG = re.compile(
    r"^failed to insert audit event: ERROR: value too long for type character varying\(\d+\) \(SQLSTATE 22001\)$"
)

SINGLE = (
    Case(
        name="event-stored",
        origins=v0('201 {"event_id":…,"event_timestamp":…,"message":"Audit event created successfully"}')
        | v1("201 for gateway.config.reloaded"),
        request=post(EVENTS, event()),
        answer=STORED,
        effect=Effect(rows=1, values={"event_version": "1.0", "retention_days": 2555}),
    ),
    Case(
        name="event-defaults",
        origins=both("201", "3.2"),
        request=post(EVENTS, event()),
        answer=STORED,
        effect=Effect(
            rows=1,
            values={
                "actor_type": "service",
                "actor_id": "gateway-service",
                "resource_type": "gateway",
                "resource_id": lambda it: it.correlation,
                "severity": "info",
                "retention_days": 2555,
                "parent_event_id": None,
                "namespace": None,
                "duration_ms": None,
            },
        ),
    ),
    Case(
        name="event-optional-fields",
        origins=both("201", "3.2"),
        request=post(EVENTS, event(**OPTIONAL)),
        answer=STORED,
        effect=ONE_ROW,
    ),
    Case(
        name="event-cluster-name",
        origins=v0("201", "3.2"),
        request=post(EVENTS, event(cluster_name="test")),
        answer=STORED,
        effect=ONE_ROW,
    ),
    Case(
        name="event-cluster-id",
        origins=v1("201", "3.2"),
        request=post(EVENTS, event(cluster_id="test")),
        answer=STORED,
        effect=ONE_ROW,
    ),
    Case(
        name="event-version-is-kept",
        origins=both("201", "3.2"),
        request=post(EVENTS, event(version="1.1")),
        answer=STORED,
        effect=Effect(rows=1, values={"event_version": "1.1"}),
    ),
    Case(
        name="event-data-of-every-type",
        origins=v0("201", "3.2"),
        request=post(EVENTS, event(event_data=rich)),
        answer=STORED,
        effect=ONE_ROW,
    ),
    Case(
        name="event-with-parent",
        origins=both("201", "3.3"),
        given=post(EVENTS, event()),
        request=post(EVENTS, event(parent_event_id=parent)),
        answer=STORED,
        effect=Effect(rows=1, values={"parent_event_id": parent, "parent_event_date": parents_day}),
    ),
    Case(
        name="event-with-unknown-parent",
        origins=both("400 validation-error", "3.3"),
        request=post(EVENTS, event(parent_event_id=NO_EVENT)),
        answer=invalid("parent event does not exist"),
    ),
    Case(
        name="event-category-execution",
        origins=v0("201"),
        request=post(EVENTS, event(event_category="execution", event_type="execution.started")),
        answer=STORED,
        effect=ONE_ROW,
    ),
    *(
        Case(
            name=f"event-category-{category}",
            origins=v0("201", "3.2"),
            request=post(EVENTS, event(event_category=category)),
            answer=STORED,
            effect=ONE_ROW,
        )
        for category in ("notification", "analysis", "signalprocessing", "workflow", "orchestration")
    ),
    *(
        Case(
            name=f"event-outcome-{outcome}",
            origins=both("201", "3.2"),
            request=post(EVENTS, event(event_outcome=outcome)),
            answer=STORED,
            effect=ONE_ROW,
        )
        for outcome in ("failure", "pending")
    ),
    Case(
        name="event-four-minutes-ahead",
        origins=both("201", "3.2"),
        request=post(EVENTS, event(age=timedelta(minutes=-4))),
        answer=STORED,
        effect=ONE_ROW,
    ),
    Case(
        name="event-six-days-old",
        origins=both("201", "3.2"),
        request=post(EVENTS, event(event_timestamp=within_month(timedelta(days=6)))),
        answer=STORED,
        effect=ONE_ROW,
    ),
    *(
        Case(
            name=f"event-{kind}",
            origins=v0("201", "3.2") if kind in ONLY_V0 else both("201", "3.2"),
            request=post(EVENTS, event(**changes)),
            answer=STORED,
            effect=Effect(rows=1, values=values),
        )
        for kind, changes, values in (
            ("with-an-unknown-field", {"colour": "red"}, {}),
            ("with-empty-data", {"event_data": {}}, {}),
            ("with-null-namespace", {"namespace": None}, {}),
            ("with-empty-namespace", {"namespace": ""}, {"namespace": None}),
            ("with-null-parent", {"parent_event_id": None}, {}),
            ("with-empty-severity", {"severity": ""}, {"severity": None}),
            ("with-no-duration", {"duration_ms": 0}, {"duration_ms": None}),
            ("with-a-negative-duration", {"duration_ms": -5}, {}),
            ("with-an-empty-actor", {"actor_type": "", "actor_id": ""}, {"actor_type": "", "actor_id": ""}),
            ("with-50-umlauts", {"event_action": "ä" * 50}, {}),
            ("in-another-zone", {"event_timestamp": in_another_zone}, {}),
            ("with-nanoseconds", {"event_timestamp": lambda it: rfc3339(it.begin)[:19] + ".123456789Z"}, {}),
        )
    ),
    Case(
        name="event-with-charset",
        origins=both("201", "3.3"),
        request=post(EVENTS, event(), headers={"Content-Type": "application/json; charset=utf-8"}),
        answer=STORED,
        effect=ONE_ROW,
    ),
    *(
        Case(
            name=f"event-{name.replace('_', '-')}-of-{length}-characters",
            origins=v0("202, last_error with SQLSTATE 22001", "3.3"),
            request=post(EVENTS, with_field(name, "x" * length)),
            answer=QUEUED,
            effect=Effect(queued=1, last_error=TOO_LONG),
        )
        for name, length in (("severity", 21), ("actor_type", 51), ("namespace", 254), ("resource_id", 256))
    ),
    Case(
        name="event-of-v0-at-v1",
        origins=v1("400 The request did not pass OpenAPI schema validation"),
        request=post(EVENTS, event(event_category="execution", event_type="workflow.started", event_data=rich)),
        answer=Answer(status=400, content_type="", body=re.compile("did not pass OpenAPI schema validation")),
    ),
    Case(
        name="event-from-a-person",
        origins=v1("201, the row has actor_type user, actor_id = user name"),
        request=post(EVENTS, event(), identity=HUMAN),
        answer=STORED,
        effect=Effect(rows=1, values={"actor_type": "user", "actor_id": str}),
    ),
    Case(
        name="event-hash",
        origins=v1("event_hash / previous_event_hash present"),
        request=post(EVENTS, event()),
        answer=STORED,
        effect=Effect(
            rows=1,
            values={"event_hash": re.compile("^[0-9a-f]{64}$"), "hash_algorithm": "sha256-unkeyed"},
        ),
    ),
    Case(
        name="event-version-too-long-for-its-column",
        origins=v0("202 queued in DLQ (SQLSTATE 22001), XLEN 1") | v1("202, same hole as v0"),
        request=post(EVENTS, event(version="1.0.0-rc.1+abc")),
        answer=QUEUED,
        effect=Effect(queued=1, last_error=str),
    ),
    Case(
        name="event-version-too-long-says-why",
        origins=v0("last_error with SQLSTATE 22001; payload.event_data is base64 of the JSON"),
        request=post(EVENTS, event(version="1.0.0-rc.1+abc")),
        answer=QUEUED,
        effect=Effect(queued=1, last_error=TOO_LONG),
    ),
    Case(
        name="entry-of-an-event",
        origins=v0("payload with retention_days 0 and without what was not sent", "3.5"),
        request=post(EVENTS, event(version="1.0.0-rc.1+abc")),
        answer=QUEUED,
        effect=Effect(queued=1, payload=entry),
    ),
    Case(
        name="entry-of-a-complete-event",
        origins=v0("payload with every field that was sent", "3.5"),
        request=post(EVENTS, event(version="1.0.0-rc.1+abc", **OPTIONAL, cluster_name="test")),
        answer=QUEUED,
        effect=Effect(queued=1, payload=lambda it: {**entry(it), **OPTIONAL, "cluster_name": "test"}),
    ),
)

# ---------------------------------------------------------------------------------------------------------- refusals

TOO_OLD = r"invalid timestamp: timestamp is too old \(must be within 7 days, age: \S+\)"
_SCHEMA = "doesn't match schema #/components/schemas/AuditEventRequest: Error at "


def no_object(kind: str, prefix: str = "") -> Answer:
    """Return the answer to event data that is no object."""
    reason = f"json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"
    detail = f"{prefix}failed to unmarshal event_data: {reason}"
    return problem(400, "invalid_event_data", "Invalid Event Data", detail)


def undecodable(detail: Any) -> Answer:
    """Return the answer to what the schema takes and the decoder does not."""
    return problem(400, "invalid_request", "Invalid Request", detail)


REFUSED = (
    Case(
        name="unknown-category",
        origins=v0(
            '400, detail starts "request body has an error: doesn\'t match schema …: Error at "/event_category""'
        ),
        request=post(EVENTS, event(event_category="astrology")),
        answer=invalid(f'^request body has an error: {_SCHEMA}"/event_category"'),
    ),
    Case(
        name="event-data-is-text",
        origins=v0('400 type …/invalid_event_data, title "Invalid Event Data"'),
        request=post(EVENTS, event(event_data="text")),
        answer=no_object("string"),
    ),
    *(
        Case(
            name=f"event-data-is-{kind}",
            origins=v0("400 invalid_event_data", "3.2"),
            request=post(EVENTS, event(event_data=value)),
            answer=no_object(kind),
        )
        for kind, value in (("array", [1]), ("number", 7), ("bool", True))
    ),
    Case(
        name="ten-minutes-ahead",
        origins=v0('400 "invalid timestamp: timestamp is in the future (server time: …, event time: …)"'),
        request=post(EVENTS, event(age=timedelta(minutes=-10))),
        answer=invalid(r"invalid timestamp: timestamp is in the future \(server time: \S+, event time: \S+\)"),
    ),
    Case(
        name="two-hours-ahead",
        origins=v1("400 validation-error", "3.2"),
        request=post(EVENTS, event(age=timedelta(hours=-2))),
        answer=invalid("audit event request failed validation"),
    ),
    Case(
        name="eight-days-old",
        origins=v0('400 "invalid timestamp: timestamp is too old (must be within 7 days, age: …)"'),
        request=post(EVENTS, event(age=timedelta(days=8))),
        answer=invalid(TOO_OLD),
    ),
    *(
        Case(
            name=f"without-{name.replace('_', '-')}",
            origins=v0("400 validation-error", "3.2"),
            request=post(EVENTS, with_field(name, ABSENT)),
            answer=invalid(f'Error at "/{name}": property "{name}" is missing'),
        )
        for name in (
            "version",
            "event_type",
            "event_timestamp",
            "event_category",
            "event_action",
            "event_outcome",
            "correlation_id",
            "event_data",
        )
    ),
    *(
        Case(
            name=f"{name.replace('_', '-')}-of-{length}-characters",
            origins=v0("400 validation-error", "3.2"),
            request=post(EVENTS, with_field(name, "x" * length)),
            answer=invalid(f'Error at "/{name}": m(ax|in)imum string length is '),
        )
        for name, length in (
            ("version", 21),
            ("version", 0),
            ("event_type", 101),
            ("event_type", 0),
            ("event_action", 51),
            ("event_action", 0),
            ("correlation_id", 256),
            ("correlation_id", 0),
        )
    ),
    *(
        Case(
            name=f"{name.replace('_', '-')}-is-{kind}",
            origins=v0("400 validation-error", "3.2"),
            request=post(EVENTS, with_field(name, value)),
            answer=invalid(f'Error at "/{name}": '),
        )
        for name, kind, value in (
            ("event_outcome", "unknown", "perhaps"),
            ("event_timestamp", "no-time", "yesterday"),
            ("event_timestamp", "in-small-letters", lambda it: rfc3339(it.begin).lower()),
            ("event_timestamp", "with-a-blank", lambda it: rfc3339(it.begin).replace("T", " ")),
            ("event_timestamp", "empty", ""),
            ("event_data", "null", None),
            ("actor_type", "null", None),
            ("severity", "a-number", 3),
            ("actor_id", "a-number", 3),
            ("duration_ms", "a-fraction", 1.5),
            ("duration_ms", "text", "long"),
            ("event_type", "a-number", 7),
            ("event_action", "null", None),
        )
    ),
    Case(
        name="event-action-of-51-umlauts",
        origins=v0("400 validation-error", "3.2"),
        request=post(EVENTS, event(event_action="ä" * 51)),
        answer=invalid('Error at "/event_action": maximum string length is 50'),
    ),
    *(
        Case(
            name=f"parent-event-id-{kind}",
            origins=v0("400 invalid_request, invalid UUID length", "3.3"),
            request=post(EVENTS, event(parent_event_id=value)),
            answer=undecodable(f"invalid UUID length: {len(value)}"),
        )
        for kind, value in (("is-no-uuid", "parent"), ("is-empty", ""))
    ),
    Case(
        name="event-timestamp-without-a-zone",
        origins=v0("400 invalid_request, parsing time …", "3.3"),
        request=post(EVENTS, event(event_timestamp=lambda it: rfc3339(it.begin)[:19])),
        answer=undecodable(
            re.compile('^parsing time "[^"]+" as "2006-01-02T15:04:05Z07:00": cannot parse "" as "Z07:00"$')
        ),
    ),
    Case(
        name="no-json",
        origins=v0("400 validation-error", "3.3"),
        request=post(EVENTS, b"{"),
        answer=invalid("^request body has an error: failed to decode request body: "),
    ),
    Case(
        name="no-body",
        origins=v0("400 validation-error", "3.3"),
        request=post(EVENTS, b""),
        answer=invalid("^request body has an error: value is required but missing$"),
    ),
    Case(
        name="no-json-by-its-content-type",
        origins=v0("400 validation-error", "3.3"),
        request=post(EVENTS, event(), headers={"Content-Type": "text/plain"}),
        answer=invalid('^request body has an error: header Content-Type has unexpected value "text/plain"$'),
    ),
    Case(
        name="null-instead-of-an-event",
        origins=v0("400 validation-error", "3.3"),
        request=post(EVENTS, b"null"),
        answer=invalid("AuditEventRequest: Value is not nullable"),
    ),
    Case(
        name="list-instead-of-an-event",
        origins=v0("400 validation-error", "3.3"),
        request=post(EVENTS, batch(1)),
        answer=invalid("AuditEventRequest: value must be an object"),
    ),
)

# ------------------------------------------------------------------------------------------------------------ batches

BATCHES = (
    Case(
        name="batch-stored",
        origins=v0('201 {"event_ids":[7 uuids],"message":"7 audit events created successfully"}') | v1("201, 7 ids"),
        request=post(BATCH, batch(7)),
        answer=all_stored(7),
        effect=Effect(rows=7),
    ),
    Case(
        name="batch-of-one",
        origins=both("201", "3.4"),
        request=post(BATCH, batch(1, **OPTIONAL)),
        answer=all_stored(1),
        effect=ONE_ROW,
    ),
    Case(
        name="batch-leaves-the-version-out",
        origins=v0("201", "3.4"),
        request=post(BATCH, batch(2, version="1.1")),
        answer=all_stored(2),
        effect=Effect(rows=2, values={"event_version": "1.0"}),
    ),
    Case(
        name="batch-of-an-object",
        origins=v0('400 title "Validation Error"; detail "…value must be an array…"'),
        request=post(BATCH, event()),
        answer=invalid("^request body has an error: doesn't match schema: value must be an array(\n|$)"),
    ),
    Case(
        name="batch-of-nothing",
        origins=v0('400 title "Validation Error"; detail "batch cannot be empty"') | v1("the same"),
        request=post(BATCH, batch(0)),
        answer=invalid("batch cannot be empty"),
    ),
    Case(
        name="batch-eight-days-old",
        origins=v0('400, detail with "event at index 0: "'),
        request=post(BATCH, batch(1, age=timedelta(days=8))),
        answer=invalid(
            r"event at index 0: invalid timestamp: timestamp is too old \(must be within 7 days, age: \S+\)"
        ),
    ),
    Case(
        name="batch-is-all-or-nothing",
        origins=v0("400 validation-error", "3.4"),
        request=post(BATCH, batch(7, spoil={3: {"age": timedelta(days=8)}})),
        answer=invalid("event at index 3: invalid timestamp: "),
    ),
    Case(
        name="batch-with-unknown-category",
        origins=v0("400 validation-error", "3.4"),
        request=post(BATCH, batch(3, spoil={1: {"event_category": "astrology"}})),
        answer=invalid('^request body has an error: doesn\'t match schema: Error at "/1/event_category": '),
    ),
    *(
        Case(
            name=f"batch-with-{kind}",
            origins=v0("400 validation-error", "3.4"),
            request=post(BATCH, body),
            answer=invalid(detail),
        )
        for kind, body, detail in (
            ("null", b"[null]", 'doesn\'t match schema: Error at "/0": Value is not nullable'),
            ("a-text", b'["a"]', 'doesn\'t match schema: Error at "/0": value must be an object'),
            ("nothing-sent", b"", "^request body has an error: value is required but missing$"),
            ("half-a-list", b"[", "^request body has an error: failed to decode request body: "),
        )
    ),
    Case(
        name="batch-with-text-as-data",
        origins=v0("400 invalid_event_data", "3.4"),
        request=post(BATCH, batch(2, spoil={1: {"event_data": "text"}})),
        answer=no_object("string", "event at index 1: "),
    ),
    Case(
        name="batch-with-a-parent-that-is-no-uuid",
        origins=v0("400 invalid_request", "3.4"),
        request=post(BATCH, batch(2, spoil={1: {"parent_event_id": "nope"}})),
        answer=undecodable("request body must be a JSON array: invalid UUID length: 4"),
    ),
    Case(
        name="batch-with-an-unknown-parent",
        origins=v0("201: a batch does not look for parents", "3.4"),
        request=post(BATCH, batch(2, spoil={1: {"parent_event_id": NO_EVENT}})),
        answer=all_stored(2),
        effect=Effect(rows=2),
    ),
    Case(
        name="batch-that-postgresql-refuses",
        origins=v0("500", "3.4"),
        request=post(BATCH, batch(3, spoil={1: {"severity": "x" * 21}})),
        answer=problem(
            500, "database-error", "Database Error", "Failed to write audit events batch to database", instance=BATCH
        ),
    ),
    Case(
        name="batch-of-501",
        origins=v0("201", "3.4"),
        request=post(BATCH, batch(501)),
        answer=all_stored(501),
        effect=Effect(rows=501),
    ),
    Case(
        name="batch-of-501-refused",
        origins=v1('400 type …/batch-size-exceeded, "batch size 501 exceeds maximum allowed batch size of 500"'),
        request=post(BATCH, batch(501)),
        answer=problem(
            400, "batch-size-exceeded", str, re.compile("batch size 501 exceeds maximum allowed batch size of 500")
        ),
    ),
)

# ------------------------------------------------------------------------------------------------------------ queries

SEVEN = post(BATCH, batch(7))
THREE_KINDS = post(
    BATCH,
    batch(
        5,
        spoil={
            1: {"event_outcome": "failure"},
            2: {"event_type": "gateway.signal.received", "event_category": "workflow"},
            3: {"severity": "critical"},
        },
    ),
)


def newest_first(it: Moment) -> list[Any]:
    """Expect the events that were stored before, the last of them first."""
    times = [entry["event_timestamp"] for entry in it.earlier]
    return [Partial(event_timestamp=same_time(time)) for time in reversed(times)]


def rendered(it: Moment) -> dict[str, Any]:
    """Expect v0's rendering of a stored event: no column is null, and some are not what the row holds."""
    sent = it.earlier[0]
    return {
        "event_id": it.earlier_ids[0],
        "version": "1.0",
        "event_timestamp": same_time(sent["event_timestamp"]),
        "event_date": sent["event_timestamp"][:10],
        "event_type": sent["event_type"],
        "event_category": "gateway",
        "event_action": "reloaded",
        "event_outcome": "success",
        "correlation_id": it.correlation,
        "parent_event_id": None,
        "parent_event_date": None,
        "resource_type": "gateway",
        "resource_id": it.correlation,
        "namespace": "",
        "cluster_name": "",
        "severity": "info",
        "duration_ms": 0,
        "error_code": "",
        "error_message": "",
        "actor_id": "gateway-service",
        "actor_type": "service",
        "retention_days": 0,
        "is_sensitive": False,
        "event_data": sent["event_data"],
    }


def of_query(reason: str) -> Answer:
    """Return the answer to parameters that pass the schema and mean nothing."""
    return problem(
        400,
        "validation-error",
        "Validation Error",
        f"Validation failed for query parameters: query - {reason}",
        instance="/audit/query parameters",
        resource="query parameters",
        field_errors={"query": reason},
    )


QUERIES = (
    Case(
        name="query-by-correlation-id",
        origins=v0("200, has_more false") | v1("200"),
        given=SEVEN,
        request=mine(),
        answer=Answer(status=200, body=page(7)),
    ),
    Case(
        name="query-newest-first",
        origins=v0("newest first") | v1("newest first"),
        given=SEVEN,
        request=mine(),
        answer=Answer(status=200, body=Partial(data=newest_first)),
    ),
    Case(
        name="query-rendering",
        origins=v0("retention_days is rendered 0 although the row holds 2555; null columns are rendered as '' or 0"),
        given=post(EVENTS, event()),
        request=mine(),
        answer=Answer(status=200, body=Partial(data=[rendered])),
    ),
    Case(
        name="query-rendering-of-v1",
        origins=v1("retention_days 2555, event_hash / previous_event_hash present"),
        given=post(BATCH, batch(2)),
        request=mine(),
        answer=Answer(
            status=200,
            body=Partial(
                data=Every(Partial(retention_days=2555, event_hash=str, previous_event_hash=str), 2),
            ),
        ),
    ),
    Case(
        name="query-event-date",
        origins=v1("200", "3.6"),
        given=post(EVENTS, event()),
        request=mine(),
        answer=Answer(
            status=200, body=Partial(data=[Partial(event_date=lambda it: it.earlier[0]["event_timestamp"][:10])])
        ),
    ),
    Case(
        name="query-of-nothing",
        origins=both("200", "3.6"),
        request=mine(),
        answer=Answer(status=200, body=Partial(pagination={"limit": 100, "offset": 0, "total": 0, "has_more": False})),
    ),
    Case(
        name="query-first-page",
        origins=both("200", "3.6"),
        given=SEVEN,
        request=mine(limit="3"),
        answer=Answer(status=200, body=page(3, 7, limit=3)),
    ),
    Case(
        name="query-last-page",
        origins=both("200", "3.6"),
        given=SEVEN,
        request=mine(limit="3", offset="6"),
        answer=Answer(status=200, body=page(1, 7, limit=3, offset=6)),
    ),
    Case(
        name="query-without-limit",
        origins=both("200, limit 50", "3.6"),
        given=post(BATCH, batch(51)),
        request=get(EVENTS, query={"correlation_id": lambda it: it.correlation}),
        answer=Answer(status=200, body=page(50, 51, limit=50)),
    ),
    *(
        Case(
            name=f"query-{kind}",
            origins=both("200", "3.6"),
            given=SEVEN,
            request=mine(**query),
            answer=Answer(status=200, body=page(count, total, **where)),
        )
        for kind, query, count, total, where in (
            ("with-an-empty-limit", {"limit": ""}, 7, 7, {}),
            ("with-the-largest-limit", {"limit": "1000"}, 7, 7, {"limit": 1000}),
            ("with-a-signed-limit", {"limit": "+5"}, 5, 7, {"limit": 5}),
            ("with-two-limits", {"limit": ["2", "3"]}, 2, 7, {"limit": 2}),
            ("past-the-end", {"offset": "1000"}, 0, 7, {"offset": 1000}),
            ("with-an-unknown-parameter", {"colour": "red"}, 7, 7, {}),
            ("of-an-unknown-category", {"event_category": "astrology"}, 0, 0, {}),
        )
    ),
    *(
        Case(
            name=f"query-by-{name.replace('_', '-')}",
            origins=both("200", "3.6"),
            given=THREE_KINDS,
            request=mine(**{name: value}),
            answer=Answer(status=200, body=page(count)),
        )
        for name, value, count in (
            ("event_type", "gateway.signal.received", 1),
            ("event_category", "workflow", 1),
            ("event_outcome", "failure", 1),
            ("severity", "critical", 1),
        )
    ),
    *(
        Case(
            name=f"query-{name}-{kind}",
            origins=both("200", "3.6"),
            given=SEVEN,
            request=mine(**{name: value}),
            answer=Answer(status=200, body=page(count)),
        )
        for name, kind, value, count in (
            ("since", "hours", "24h", 7),
            ("since", "days", "7d", 7),
            ("since", "minutes", "30m", 7),
            ("until", "minutes", "30m", 0),
            ("since", "time", lambda it: it.earlier[4]["event_timestamp"], 3),
            ("until", "time", lambda it: it.earlier[4]["event_timestamp"], 5),
            ("since", "date", lambda it: rfc3339(it.begin - timedelta(days=1))[:10], 7),
        )
    ),
    *(
        Case(
            name=f"query-{name.replace('_', '-')}-{kind}",
            origins=v0("400 validation-error", "3.6"),
            request=mine(**{name: value}),
            answer=invalid(f'^parameter "{name}" in query has an error: '),
        )
        for name, kind, value in (
            ("limit", "zero", "0"),
            ("limit", "too-large", "1001"),
            ("limit", "no-number", "many"),
            ("offset", "negative", "-1"),
            ("limit", "a-fraction", "1.5"),
            ("event_outcome", "unknown", "perhaps"),
        )
    ),
    *(
        Case(
            name=f"query-{name.replace('_', '-')}-empty",
            origins=v0("400 empty value is not allowed", "3.6"),
            request=mine(**{name: ""}),
            answer=invalid(f'^parameter "{name}" in query has an error: empty value is not allowed$'),
        )
        for name in ("since", "until", "event_outcome", "correlation_id")
    ),
    *(
        Case(
            name=f"query-{name}-{value}",
            origins=v0("400 with instance, resource and field_errors", "3.6"),
            request=mine(**{name: value}),
            answer=of_query(f"invalid time format: {value} (expected: 24h, 7d, or RFC3339 timestamp)"),
        )
        for name, value in (("since", "yesterday"), ("until", "tomorrow"), ("since", "1w"))
    ),
)

# -------------------------------------------------------------------------------------------------- who may, and chains


def refused(status: int, detail: str) -> Answer:
    """Return the answer to somebody who may not."""
    return problem(status, "about:blank", str, re.compile(re.escape(detail)))


IDENTITIES = (
    Case(
        name="no-token",
        origins=v1('401 "Missing Authorization header"'),
        request=post(EVENTS, event(), identity=NOBODY),
        answer=refused(401, "Missing Authorization header"),
    ),
    Case(
        name="forged-token",
        origins=v1('401 "Invalid or expired token"'),
        request=post(EVENTS, event(), identity=FORGED),
        answer=refused(401, "Invalid or expired token"),
    ),
    Case(
        name="token-without-rights",
        origins=v1('403 "Insufficient permissions"'),
        request=post(EVENTS, event(), identity=STRANGER),
        answer=refused(403, "Insufficient permissions"),
    ),
    Case(
        name="query-without-token",
        origins=v1("401", "3.7"),
        request=get(EVENTS, identity=NOBODY),
        answer=refused(401, "Missing Authorization header"),
    ),
    Case(
        name="token-that-v0-does-not-ask-for",
        origins=v0("201", "3.7"),
        request=post(EVENTS, event(), headers={"Authorization": "Bearer nobody"}),
        answer=STORED,
        effect=ONE_ROW,
    ),
    Case(
        name="any-origin",
        origins=v0("200", "3.7"),
        request=get("/health", headers={"Origin": "http://example.com"}),
        answer=Answer(
            status=200,
            content_type=TEXT,
            headers={"access-control-allow-origin": "*", "access-control-expose-headers": "Link, X-Request-Id"},
        ),
    ),
    Case(
        name="preflight",
        origins=v0("200", "3.7"),
        request=Request(
            method="OPTIONS",
            path=EVENTS,
            headers={
                "Origin": "http://example.com",
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "content-type",
            },
        ),
        answer=Answer(
            status=200,
            content_type="",
            headers={
                "access-control-allow-origin": "*",
                "access-control-allow-methods": re.compile("POST"),
                "access-control-allow-headers": re.compile("Content-Type"),
                "access-control-max-age": "300",
            },
        ),
    ),
    Case(
        name="body-of-6-mib",
        origins=v1("200", "3.7"),
        request=post(EVENTS, event(event_data=lambda it: {MARK: it.correlation, "text": "x" * 6 * 1024 * 1024})),
        answer=problem(413, "request-too-large", str, str),
    ),
)


def chain(valid: bool, total: int, verified: Any, message: Any) -> Answer:
    """Return the answer about a chain of events."""
    return Answer(
        status=200,
        body=Partial(is_valid=valid, total_events=total, verified_events=verified, message=message),
    )


_OF_CHAIN = post(CHAIN, lambda it: {"correlation_id": it.correlation})

CHAINS = (
    Case(
        name="chain-of-one",
        origins=v1("is_valid true, 1/1"),
        given=post(EVENTS, event()),
        request=_OF_CHAIN,
        answer=chain(True, 1, 1, str),
    ),
    Case(
        name="chain-in-order",
        origins=v1("timestamps strictly increasing by 1 s, 1 ms or 1 µs: is_valid true, 7/7"),
        given=SEVEN,
        request=_OF_CHAIN,
        answer=chain(True, 7, 7, str),
    ),
    Case(
        name="chain-of-equal-timestamps",
        origins=v1("is_valid false, verified 0-1 of 7, Hash chain verification FAILED: tampering detected"),
        given=post(BATCH, batch(7, same_time=True)),
        request=_OF_CHAIN,
        answer=chain(False, 7, int, "Hash chain verification FAILED: tampering detected"),
    ),
    Case(
        name="chain-in-reverse",
        origins=v1("decreasing timestamps: is_valid false, 0/7"),
        given=post(BATCH, batch(7, newest_first=True)),
        request=_OF_CHAIN,
        answer=chain(False, 7, 0, str),
    ),
    Case(
        name="chain-of-singles",
        origins=v1("7 singles with ns timestamps: is_valid true"),
        given=post(EVENTS, event(event_timestamp=lambda _it: rfc3339(datetime.now(UTC)))),
        times=7,
        request=_OF_CHAIN,
        answer=chain(True, 7, 7, str),
    ),
    Case(
        name="chain-of-singles-of-one-second",
        origins=v1("7 singles in a row with whole-second timestamps: is_valid false"),
        given=post(EVENTS, event(event_timestamp=lambda it: rfc3339(it.begin.replace(microsecond=0)))),
        times=7,
        request=_OF_CHAIN,
        answer=chain(False, 7, int, str),
    ),
    Case(
        name="chain-of-nothing",
        origins=v1("is_valid true, total 0, No events found for correlation_id"),
        request=_OF_CHAIN,
        answer=chain(True, 0, int, re.compile("No events found for correlation_id")),
    ),
)


# ---------------------------------------------------------------------- what v0 is asked, too, and v1 answers otherwise

BY_SCHEMA = invalid("^The request did not pass OpenAPI schema validation$")
BY_RULE = invalid("^audit event request failed validation$")
NO_PARENT = invalid("^parent event does not exist$")


def otherwise(table: tuple[Case, ...], names: str, answer: Answer, result: str, **changes: Any) -> Iterator[Case]:
    """Yield cases of v0 with v1's answer.

    :param names: regular expression that a whole name must match.
    :param changes: further fields of the case that differ.
    """
    for case in table:
        if "v1" not in case.origins and re.fullmatch(names, case.name):
            yield replace(case, origins=v1(result, "3.4"), answer=answer, **{"effect": Effect(), **changes})


_SCHEMA_REFUSES = (
    r"unknown-category|(without|version|event|correlation|duration|actor|severity|no|null|list)-.*"
    r"(?<!-ahead)(?<!-old)"
)

OTHERWISE = (
    *otherwise(REFUSED, _SCHEMA_REFUSES, BY_SCHEMA, "400 The request did not pass OpenAPI schema validation"),
    *otherwise(REFUSED, "eight-days-old", BY_RULE, "400 audit event request failed validation"),
    *otherwise(
        REFUSED,
        "parent-event-id-.*",
        undecodable("The request body could not be parsed as valid JSON"),
        "400 invalid_request",
    ),
    *otherwise(REFUSED, "ten-minutes-ahead", STORED, "201", effect=ONE_ROW),
    *otherwise(SINGLE, "event-with-empty-data", BY_SCHEMA, "400 The request did not pass OpenAPI schema validation"),
    *otherwise(SINGLE, "event-with-null-parent", NO_PARENT, "400 parent event does not exist"),
    *otherwise(
        SINGLE,
        "event-.*-of-[0-9]+-characters",
        QUEUED,
        "202, last_error database write failed",
        effect=Effect(queued=1, last_error="database write failed"),
    ),
    *otherwise(
        BATCHES,
        "batch-of-an-object|batch-with-(unknown-category|null|a-text|nothing-sent|half-a-list|text-as-data)",
        BY_SCHEMA,
        "400 The request did not pass OpenAPI schema validation",
    ),
    *otherwise(
        BATCHES,
        "batch-with-a-parent-that-is-no-uuid",
        undecodable("The request body must be a valid JSON array of audit event objects"),
        "400 invalid_request",
    ),
    *otherwise(
        BATCHES,
        "batch-with-an-unknown-parent",
        invalid("^event at index 1: parent event does not exist$"),
        "400 event at index 1: parent event does not exist",
    ),
    *otherwise(BATCHES, "batch-eight-days-old", invalid("^event at index 0 failed validation$"), "400"),
    *otherwise(BATCHES, "batch-is-all-or-nothing", invalid("^event at index 3 failed validation$"), "400"),
    *otherwise(
        BATCHES,
        "batch-that-postgresql-refuses",
        Answer(
            status=202,
            body={
                "status": "accepted",
                "message": "3 audit events queued for async processing via DLQ",
                "count": 3,
            },
        ),
        "202, all of it in the DLQ",
        effect=Effect(queued=3, last_error="database write failed"),
    ),
    *otherwise(
        BATCHES,
        "batch-leaves-the-version-out",
        all_stored(2),
        "201, and the version is stored",
        effect=Effect(rows=2, values={"event_version": "1.1"}),
    ),
    *otherwise(
        QUERIES,
        "query-(limit|offset)-.*|query-event-outcome-.*",
        BY_SCHEMA,
        "400 The request did not pass OpenAPI schema validation",
    ),
    *otherwise(
        QUERIES, "query-(since|until)-(yesterday|tomorrow|1w)", of_query("invalid query parameters"), "400, no reason"
    ),
    Case(
        name="event-fifty-nine-minutes-ahead",
        origins=v1("201", "3.2"),
        request=post(EVENTS, event(age=timedelta(minutes=-59))),
        answer=STORED,
        effect=ONE_ROW,
    ),
    Case(
        name="event-of-another-type-than-its-data",
        origins=v1("201: only the type in the data is looked at", "3.2"),
        request=post(EVENTS, event(event_type="something.else")),
        answer=STORED,
        effect=ONE_ROW,
    ),
    *(
        Case(
            name=f"event-data-{kind}",
            origins=v1("400 The request did not pass OpenAPI schema validation", "3.2"),
            request=post(EVENTS, event(event_data=data)),
            answer=BY_SCHEMA,
        )
        for kind, data in (
            ("of-an-unknown-type", {"event_type": "something.else", MARK: "x"}),
            ("without-a-type", {MARK: "x"}),
            ("without-a-required-field", {"event_type": "gateway.config.reloaded"}),
        )
    ),
    Case(
        name="event-with-the-fields-of-v1",
        origins=v1("201", "3.2"),
        request=post(
            EVENTS,
            event(
                **OPTIONAL,
                cluster_id="test",
                actor_ip="10.0.0.1",
                error_code="E1",
                error_message="broken",
                retention_days=30,
                is_sensitive=True,
            ),
        ),
        answer=STORED,
        effect=ONE_ROW,
    ),
    Case(
        name="authorization-of-another-kind",
        origins=v1('401 "Invalid Authorization header format"', "3.7"),
        request=get(EVENTS, identity=NOBODY, headers={"Authorization": "Basic abc"}),
        answer=refused(401, "Invalid Authorization header format"),
    ),
    Case(
        name="query-without-rights",
        origins=v1('403 "Insufficient permissions"', "3.7"),
        request=get(EVENTS, identity=STRANGER),
        answer=refused(403, "Insufficient permissions"),
    ),
)


def sound_cases() -> Iterator[Case]:
    """Yield every case that needs a sound service only."""
    for table in (HEALTH, SINGLE, REFUSED, BATCHES, QUERIES, IDENTITIES, CHAINS, OTHERWISE):
        yield from table
