# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a sound service answers and stores, as data."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
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
    Moment,
    Origin,
    Partial,
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

Origins = Mapping[str, Origin]

#: Dates on which the real services were asked.
FIRST, AGAIN = "2026-11-22", "2026-11-25"
V1_FIRST = "2026-11"


def v0(result: str, section: str = "10.1", date: str = FIRST) -> Origins:
    """A real v0 service was seen to do so."""
    return {"v0": Origin(section, COMMITS["v0"], date, result)}


def v1(result: str, section: str = "10.2", date: str = V1_FIRST) -> Origins:
    """A real v1 service was seen to do so."""
    return {"v1": Origin(section, COMMITS["v1"], date, result)}


def read(section: str, *contracts: str) -> Origins:
    """The source says so."""
    return {contract: Origin(section, COMMITS[contract]) for contract in contracts}


V0, V1 = ("v0",), ("v1",)
BOTH = ("v0", "v1")

STORED = Answer(
    status=201,
    body={"event_id": is_uuid, "event_timestamp": is_timestamp, "message": "Audit event created successfully"},
)
QUEUED = Answer(status=202, body={"status": "accepted", "message": "audit event queued for async processing"})
ONE_ROW = Effect(rows=1)


def all_stored(count: int) -> Answer:
    """Return the answer to a batch."""
    return Answer(
        status=201,
        body={"event_ids": Every(is_uuid, count), "message": f"{count} audit events created successfully"},
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
        answer=Answer(status=200, body={"status": "healthy", "database": "connected"}),
    ),
    Case(
        name="health-ready",
        origins=v0('200 {"status":"ready"}'),
        request=get("/health/ready"),
        answer=Answer(status=200, body={"status": "ready"}),
    ),
    Case(
        name="health-live",
        origins=v0('200 {"status":"alive"}'),
        request=get("/health/live"),
        answer=Answer(status=200, body={"status": "alive"}),
    ),
    Case(
        name="readyz-absent",
        origins=v0("404"),
        request=get("/readyz"),
        answer=Answer(status=404, content_type=""),
    ),
    Case(
        name="readyz",
        origins=v1('200 {"status":"ready"}'),
        request=get("/readyz", port="health"),
        answer=Answer(status=200, body={"status": "ready"}),
    ),
    Case(
        name="readyz-of-the-api",
        origins=v1("200"),
        request=get("/readyz", identity=NOBODY),
        answer=Answer(status=200, body={"status": "ready"}),
    ),
    Case(
        name="healthz",
        origins=v1('200 {"status":"healthy","timestamp":…}'),
        request=get("/healthz", port="health"),
        answer=Answer(status=200, body={"status": "healthy", "timestamp": is_timestamp}),
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
        name="unknown-path",
        origins=read("3.1", *BOTH),
        request=get("/api/v1/no-such-thing"),
        answer=Answer(status=404, content_type=""),
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
        origins=read("3.2", *BOTH),
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
        origins=read("3.2", *BOTH),
        request=post(EVENTS, event(**OPTIONAL)),
        answer=STORED,
        effect=ONE_ROW,
    ),
    Case(
        name="event-cluster-name",
        origins=read("3.2", *V0),
        request=post(EVENTS, event(cluster_name="test")),
        answer=STORED,
        effect=ONE_ROW,
    ),
    Case(
        name="event-cluster-id",
        origins=read("3.2", *V1),
        request=post(EVENTS, event(cluster_id="test")),
        answer=STORED,
        effect=ONE_ROW,
    ),
    Case(
        name="event-version-is-kept",
        origins=read("3.2", *BOTH),
        request=post(EVENTS, event(version="1.1")),
        answer=STORED,
        effect=Effect(rows=1, values={"event_version": "1.1"}),
    ),
    Case(
        name="event-data-of-every-type",
        origins=read("3.2", *V0),
        request=post(EVENTS, event(event_data=rich)),
        answer=STORED,
        effect=ONE_ROW,
    ),
    Case(
        name="event-with-parent",
        origins=read("3.3", *BOTH),
        given=post(EVENTS, event()),
        request=post(EVENTS, event(parent_event_id=parent)),
        answer=STORED,
        effect=Effect(rows=1, values={"parent_event_id": parent}),
    ),
    Case(
        name="event-with-unknown-parent",
        origins=read("3.3", *BOTH),
        request=post(EVENTS, event(parent_event_id="00000000-0000-4000-8000-000000000000")),
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
            origins=read("3.2", *V0),
            request=post(EVENTS, event(event_category=category)),
            answer=STORED,
            effect=ONE_ROW,
        )
        for category in ("notification", "analysis", "signalprocessing", "workflow", "orchestration")
    ),
    *(
        Case(
            name=f"event-outcome-{outcome}",
            origins=read("3.2", *BOTH),
            request=post(EVENTS, event(event_outcome=outcome)),
            answer=STORED,
            effect=ONE_ROW,
        )
        for outcome in ("failure", "pending")
    ),
    Case(
        name="event-four-minutes-ahead",
        origins=read("3.2", *BOTH),
        request=post(EVENTS, event(age=timedelta(minutes=-4))),
        answer=STORED,
        effect=ONE_ROW,
    ),
    Case(
        name="event-six-days-old",
        origins=read("3.2", *BOTH),
        request=post(EVENTS, event(event_timestamp=within_month(timedelta(days=6)))),
        answer=STORED,
        effect=ONE_ROW,
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
        effect=Effect(queued=1, last_error=re.compile(r"SQLSTATE 22001")),
    ),
)

# ---------------------------------------------------------------------------------------------------------- refusals

TOO_OLD = r"invalid timestamp: timestamp is too old \(must be within 7 days, age: \S+\)"
_SCHEMA = "doesn't match schema #/components/schemas/AuditEventRequest: Error at "

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
        answer=problem(400, "invalid_event_data", "Invalid Event Data", str),
    ),
    Case(
        name="ten-minutes-ahead",
        origins=v0('400 "invalid timestamp: timestamp is in the future (server time: …, event time: …)"'),
        request=post(EVENTS, event(age=timedelta(minutes=-10))),
        answer=invalid(r"invalid timestamp: timestamp is in the future \(server time: \S+, event time: \S+\)"),
    ),
    Case(
        name="two-hours-ahead",
        origins=read("3.2", *V1),
        request=post(EVENTS, event(age=timedelta(hours=-2))),
        answer=invalid("timestamp is in the future"),
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
            origins=read("3.2", *V0),
            request=post(EVENTS, event(**{name: ABSENT})),
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
            origins=read("3.2", *V0),
            request=post(EVENTS, event(**{name: "x" * length})),
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
            origins=read("3.2", *V0),
            request=post(EVENTS, event(**{name: value})),
            answer=invalid(f'Error at "/{name}": '),
        )
        for name, kind, value in (
            ("event_outcome", "unknown", "perhaps"),
            ("event_timestamp", "no-time", "yesterday"),
            ("parent_event_id", "no-uuid", "parent"),
            ("duration_ms", "text", "long"),
            ("event_type", "a-number", 7),
            ("event_action", "null", None),
        )
    ),
    Case(
        name="no-json",
        origins=read("3.3", *V0),
        request=post(EVENTS, b"{"),
        answer=invalid("^request body has an error: "),
    ),
    Case(
        name="no-body",
        origins=read("3.3", *V0),
        request=post(EVENTS, b""),
        answer=invalid("^request body has an error: "),
    ),
    Case(
        name="no-json-by-its-content-type",
        origins=read("3.3", *V0),
        request=post(EVENTS, event(), headers={"Content-Type": "text/plain"}),
        answer=invalid("Content-Type"),
    ),
    Case(
        name="list-instead-of-an-event",
        origins=read("3.3", *V0),
        request=post(EVENTS, batch(1)),
        answer=invalid("value must be an object"),
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
        origins=read("3.4", *BOTH),
        request=post(BATCH, batch(1, **OPTIONAL)),
        answer=all_stored(1),
        effect=ONE_ROW,
    ),
    Case(
        name="batch-leaves-the-version-out",
        origins=read("3.4", *V0),
        request=post(BATCH, batch(2, version="1.1")),
        answer=all_stored(2),
        effect=Effect(rows=2, values={"event_version": "1.0"}),
    ),
    Case(
        name="batch-of-an-object",
        origins=v0('400 title "Validation Error"; detail "…value must be an array…"'),
        request=post(BATCH, event()),
        answer=invalid("value must be an array"),
    ),
    Case(
        name="batch-of-nothing",
        origins=v0('400 title "Validation Error"; detail "batch cannot be empty"'),
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
        origins=read("3.4", *V0),
        request=post(BATCH, batch(7, spoil={3: {"age": timedelta(days=8)}})),
        answer=invalid("event at index 3: invalid timestamp: "),
    ),
    Case(
        name="batch-with-unknown-category",
        origins=read("3.4", *V0),
        request=post(BATCH, batch(3, spoil={1: {"event_category": "astrology"}})),
        answer=invalid('^request body has an error: .*Error at "/1/event_category"'),
    ),
    Case(
        name="batch-that-postgresql-refuses",
        origins=read("3.4", *V0),
        request=post(BATCH, batch(3, spoil={1: {"severity": "x" * 21}})),
        answer=problem(500, "database-error", "Database Error", "Failed to write audit events batch to database"),
    ),
    Case(
        name="batch-of-501",
        origins=read("3.4", *V0),
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


def same_time(text: str) -> re.Pattern[str]:
    """Expect this time, with or without zeros at the end of its fraction."""
    return re.compile("^" + re.escape(text.removesuffix("Z").rstrip("0")) + "0*Z$")


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
        origins=v0("newest first"),
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
        origins=read("3.6", *V1),
        given=post(EVENTS, event()),
        request=mine(),
        answer=Answer(
            status=200, body=Partial(data=[Partial(event_date=lambda it: it.earlier[0]["event_timestamp"][:10])])
        ),
    ),
    Case(
        name="query-of-nothing",
        origins=read("3.6", *BOTH),
        request=mine(),
        answer=Answer(status=200, body=Partial(pagination={"limit": 100, "offset": 0, "total": 0, "has_more": False})),
    ),
    Case(
        name="query-first-page",
        origins=read("3.6", *BOTH),
        given=SEVEN,
        request=mine(limit="3"),
        answer=Answer(status=200, body=page(3, 7, limit=3)),
    ),
    Case(
        name="query-last-page",
        origins=read("3.6", *BOTH),
        given=SEVEN,
        request=mine(limit="3", offset="6"),
        answer=Answer(status=200, body=page(1, 7, limit=3, offset=6)),
    ),
    Case(
        name="query-without-limit",
        origins=read("3.6", *V0),
        given=post(BATCH, batch(101)),
        request=get(EVENTS, query={"correlation_id": lambda it: it.correlation}),
        answer=Answer(status=200, body=page(100, 101)),
    ),
    *(
        Case(
            name=f"query-by-{name.replace('_', '-')}",
            origins=read("3.6", *V0),
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
            origins=read("3.6", *BOTH),
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
            name=f"query-{name}-{kind}",
            origins=read("3.6", *V0),
            request=mine(**{name: value}),
            answer=invalid("time format" if kind == "no-time" else name),
        )
        for name, kind, value in (
            ("limit", "zero", "0"),
            ("limit", "too-large", "1001"),
            ("limit", "no-number", "many"),
            ("offset", "negative", "-1"),
            ("since", "no-time", "yesterday"),
            ("event_outcome", "unknown", "perhaps"),
        )
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
        origins=read("3.7", *V1),
        request=get(EVENTS, identity=NOBODY),
        answer=refused(401, "Missing Authorization header"),
    ),
    Case(
        name="token-that-v0-does-not-ask-for",
        origins=read("3.7", *V0),
        request=post(EVENTS, event(), headers={"Authorization": "Bearer nobody"}),
        answer=STORED,
        effect=ONE_ROW,
    ),
    Case(
        name="any-origin",
        origins=read("3.7", *V0),
        request=get("/health", headers={"Origin": "http://example.com"}),
        answer=Answer(status=200, headers={"access-control-allow-origin": "*"}),
    ),
    Case(
        name="body-of-6-mib",
        origins=read("3.7", *V1),
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
        name="chain-of-nothing",
        origins=v1("is_valid true, total 0, No events found for correlation_id"),
        request=_OF_CHAIN,
        answer=chain(True, 0, int, re.compile("No events found for correlation_id")),
    ),
)


def sound_cases() -> Iterator[Case]:
    """Yield every case that needs a sound service only."""
    for table in (HEALTH, SINGLE, REFUSED, BATCHES, QUERIES, IDENTITIES, CHAINS):
        yield from table
