# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The audit proof: what is sent, what counts as the same, and what each failure is called.

DataStorage is a small HTTP server in this process; PostgreSQL and Redis are stand-ins for the few calls that are made.
"""

from __future__ import annotations

import datetime
import itertools
import json
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
import redis.exceptions

from ansible_collections.kubernaut.integration.plugins.module_utils import _audit
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import Context, PhaseError

UTC = datetime.UTC
V0 = _audit.CONTRACTS["v0"]
NOW = datetime.datetime(2026, 11, 23, 18, 0, 0, 123456, tzinfo=UTC)


def events(now: datetime.datetime = NOW) -> list[dict[str, Any]]:
    return _audit.build_events(V0, "workflowexecution", "kubernaut-integration-x", now)


# What is sent.


def test_seven_events_three_started_three_completed_one_failed() -> None:
    built = events()
    assert [(event["event_type"], event["event_action"], event["event_outcome"]) for event in built] == [
        *[("workflow.started", "started", "success")] * 3,
        *[("workflow.completed", "completed", "success")] * 3,
        ("workflow.failed", "failed", "failure"),
    ]
    assert {event["event_category"] for event in built} == {"workflow"}
    assert {event["actor_id"] for event in built} == {"workflowexecution-controller"}


@pytest.mark.parametrize(
    "now",
    [
        NOW,
        NOW.replace(microsecond=0),
        NOW.replace(microsecond=999999),
        datetime.datetime(2026, 12, 1, 0, 0, 1, 0, tzinfo=UTC),
        datetime.datetime(2026, 12, 1, 0, 0, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=14))),
    ],
)
def test_timestamps_increase_lie_in_the_past_and_need_microseconds(now: datetime.datetime) -> None:
    texts = [event["event_timestamp"] for event in events(now)]
    moments = [_audit.parse_timestamp(text) for text in texts]
    gaps = {later - earlier for earlier, later in itertools.pairwise(moments)}
    assert gaps == {datetime.timedelta(microseconds=1001)}
    assert datetime.timedelta(seconds=1) <= now - moments[-1] < datetime.timedelta(seconds=1.1)
    assert all(text.endswith("Z") and moment.microsecond % 1000 for text, moment in zip(texts, moments, strict=True))


def test_event_data_has_no_placeholder_left_and_fits_the_columns() -> None:
    for event in events():
        assert (
            "{"
            not in json.dumps({key: value for key, value in event["event_data"].items() if isinstance(value, str)})[1:]
        )
        assert event["event_data"]["execution_name"] == event["resource_id"]
        assert len(event["version"]) <= 10
        assert len(event["event_type"]) <= 100
    started, completed = events()[0], events()[3]
    assert started["event_data"]["started_at"] == completed["event_data"]["started_at"] == started["event_timestamp"]
    assert completed["event_data"]["completed_at"] == completed["event_timestamp"]


# What counts as the same.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-23T18:00:00Z", "2026-11-23T18:00:00.000000Z"),
        ("2026-11-23T18:00:00.1Z", "2026-11-23T18:00:00.100000Z"),
        ("2026-11-23T18:00:00.123456000Z", "2026-11-23T18:00:00.123456Z"),
        ("2026-11-24T08:00:00.000001+14:00", "2026-11-23T18:00:00.000001Z"),
        ("2026-11-23T12:30:00-05:30", "2026-11-23T18:00:00.000000Z"),
    ],
)
def test_timestamps_are_compared_as_moments(text: str, expected: str) -> None:
    assert _audit.timestamp_text(_audit.parse_timestamp(text)) == expected


@pytest.mark.parametrize("text", ["", "now", "2026-11-23", "2026-11-23T18:00:00", "2026-11-23T18:00:00.1234567Z"])
def test_what_is_no_timestamp_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not an RFC 3339|does not match"):
        _audit.parse_timestamp(text)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("event_outcome", "failure"),
        ("event_outcome", None),
        ("namespace", ""),
        ("event_timestamp", "2026-11-23T17:59:59.116000Z"),
        ("event_timestamp", "nonsense"),
        ("event_data", None),
        ("event_data", {}),
    ],
)
def test_a_field_that_differs_is_named_with_both_values(name: str, value: Any) -> None:
    event = events()[0]
    (line,) = _audit.differences(event, {**event, name: value})
    assert line.startswith("%s: expected " % name)
    assert "got " in line


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("REPLICAS", 3.0),
        ("REPLICAS", "3"),
        ("DRY_RUN", 0),
        ("RATIO", 0.50001),
        ("NOTE", "gr??er"),
        ("ZONES", ["b", "a"]),
    ],
)
def test_event_data_is_compared_deeply_and_by_type(key: str, value: Any) -> None:
    event = events()[0]
    data = {**event["event_data"], "parameters": {**event["event_data"]["parameters"], key: value}}
    assert len(_audit.differences(event, {**event, "event_data": data})) == 1


def test_rows_are_compared_as_postgresql_gives_them() -> None:
    ids = [str(uuid.uuid4()) for _again in events()]
    rows = [
        {**event, "event_id": uuid.UUID(identity), "event_timestamp": _audit.parse_timestamp(event["event_timestamp"])}
        for event, identity in zip(events(), ids, strict=True)
    ]
    assert _audit.compare(events(), rows, ids) == (7, [])
    assert _audit.compare(events(), rows[:-1], ids) == (6, ["events: expected 7, got 6"])
    right, lines = _audit.compare(events(), rows, ids[1:])
    assert right == 6
    assert lines[0].startswith("event 1 (workflow.started) event_id: expected one of the acknowledged ids")
    right, lines = _audit.compare(events(), rows[::-1], ids)
    assert right < 7, "the order counts"
    double = [{**row, "event_id": rows[0]["event_id"]} for row in rows]
    assert _audit.compare(events(), double, ids)[1] == ["event_id: expected 7 distinct ids, got 1"]


def test_evidence_is_bounded() -> None:
    message = _audit._failure("id", "cause\nin one line", ["x" * 1000] * 40).message.splitlines()
    assert message[0] == "cause in one line"
    assert len(message) == 1 + _audit.EVIDENCE_LINES + 1
    assert max(map(len, message)) <= _audit.EVIDENCE_WIDTH + 2
    assert message[-1] == "  ... and 28 more"


# What each failure is called.


class Stack:
    """A DataStorage that answers what a test wants, with a PostgreSQL and a Redis that hold what it stored."""

    def __init__(self) -> None:
        self.status = 201
        self.problem: Any = None
        self.stored: list[dict[str, Any]] = []
        self.queue: list[tuple[str, dict[str, str]]] = [("1-0", {"message": json.dumps({"last_error": "old"})})]
        self.delay_queries = 0
        self.change: dict[str, Any] = {}
        self.shift_days = 0
        self.refuse_connection: Exception | None = None
        self.refuse_insert: Exception | None = None
        self.refuse_redis: Exception | None = None
        self.lose_rows = False
        self.clock_ahead = 0.0
        self.posts = 0

    def post(self, batch: list[dict[str, Any]]) -> tuple[int, Any]:
        self.posts += 1
        if self.status != 201:
            if self.status == 202:
                entry = {
                    "last_error": "database write failed",
                    "payload": {"correlation_id": batch[0]["correlation_id"]},
                }
                self.queue.append(("2-0", {"message": json.dumps(entry)}))
            return self.status, self.problem
        self.stored = [{**event, "event_id": str(uuid.uuid4()), **self.change} for event in batch]
        return 201, {"event_ids": [event["event_id"] for event in self.stored]}

    def get(self, correlation_id: str) -> tuple[int, Any]:
        if self.delay_queries > 0:
            self.delay_queries -= 1
            return 500, {"title": "Database Error"}
        found = [event for event in self.stored if event["correlation_id"] == correlation_id]
        return 200, {"data": found[::-1], "pagination": {"total": len(found)}}


class Cursor:
    """What the statements of the proof answer."""

    def __init__(self, rows: list[Any], rowcount: int = 0) -> None:
        self.rows = rows
        self.rowcount = rowcount

    def fetchall(self) -> list[Any]:
        return self.rows

    def fetchone(self) -> Any:
        return self.rows[0]


class Connection:
    """The few calls of psycopg's connection that are made."""

    closed = False

    def __init__(self, stack: Stack) -> None:
        self.stack = stack

    def cursor(self, **_options: Any) -> Connection:
        return self

    def close(self) -> None:
        pass

    def transaction(self, force_rollback: bool) -> Connection:
        assert force_rollback, "a diagnosis writes nothing"
        return self

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def execute(self, query: Any, _values: Any = None) -> Cursor:
        text = query if isinstance(query, str) else query.as_string()
        stack = self.stack
        if text.startswith("INSERT"):
            if stack.refuse_insert:
                raise stack.refuse_insert
            return Cursor([])
        if text.startswith("DELETE"):
            removed, stack.stored = len(stack.stored), []
            return Cursor([], removed)
        if "clock_timestamp" in text:
            return Cursor([(_audit.time.time() + stack.clock_ahead,)])
        if text.startswith("SELECT event_id"):
            rows = []
            for event in [] if stack.lose_rows else stack.stored:
                moment = _audit.parse_timestamp(event["event_timestamp"])
                day = moment.date() + datetime.timedelta(days=stack.shift_days)
                rows.append({**event, "event_timestamp": moment, "event_date": day})
            return Cursor(rows)
        return Cursor([])


class Redis:
    """The few calls of redis-py's client that are made; only the events' queue holds anything."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack

    def close(self) -> None:
        pass

    def _entries(self, queue: str) -> list[tuple[str, dict[str, str]]]:
        if self.stack.refuse_redis:
            raise self.stack.refuse_redis
        return self.stack.queue if queue == "audit:dlq:events" else []

    def xrevrange(self, queue: str, count: int) -> list[tuple[str, dict[str, str]]]:
        return self._entries(queue)[::-1][:count]

    def xrange(self, queue: str, **bounds: str) -> list[tuple[str, dict[str, str]]]:
        return [entry for entry in self._entries(queue) if entry[0] >= bounds["min"]]

    def xdel(self, queue: str, identity: str) -> None:
        self.stack.queue = [entry for entry in self._entries(queue) if entry[0] != identity]


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Stack:
    """A healthy stack."""
    stack = Stack()

    def connect(*_arguments: Any) -> Connection:
        if stack.refuse_connection:
            raise stack.refuse_connection
        return Connection(stack)

    monkeypatch.setattr(_audit, "connect", connect)
    monkeypatch.setattr(_audit, "client", lambda *_arguments: Redis(stack))
    return stack


@pytest.fixture
def options(stack: Stack) -> Iterator[dict[str, Any]]:
    """The options of the module, with a server for ``stack``."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self, status: int, document: Any) -> None:
            body = document.encode() if isinstance(document, str) else json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            assert self.path == "/api/v1/audit/events/batch"
            self.answer(*stack.post(json.loads(self.rfile.read(int(self.headers["Content-Length"])))))

        def do_GET(self) -> None:
            (correlation_id,) = parse_qs(urlsplit(self.path).query)["correlation_id"]
            self.answer(*stack.get(correlation_id))

        def log_message(self, *_arguments: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    given = {name: spec.get("default") for name, spec in _audit.PHASE.argument_spec.items()}
    given.update(postgres_port=5432, redis_port=6379, postgres_password="s3cr3t", timeout=0.3)
    given["datastorage_port"] = server.server_port
    yield given
    server.shutdown()
    thread.join()
    server.server_close()


def fail(options: dict[str, Any]) -> PhaseError:
    """Return the failure that the proof ends in."""
    with pytest.raises(PhaseError) as caught:
        _audit.run(options, Context())
    assert "s3cr3t" not in caught.value.message + str(caught.value.result)
    return caught.value


def test_a_service_that_wants_tls_and_one_that_speaks_none(stack: Stack, options: dict[str, Any]) -> None:
    stack.post = lambda _events: (400, "Client sent an HTTP request to an HTTPS server.\n")  # type: ignore[method-assign]
    failure = fail(options)
    assert (failure.cause, failure.message.partition(": ")[0]) == ("tls-wanted", "DataStorage's API speaks TLS only")
    failure = fail({**options, "datastorage_tls": True})
    assert (failure.cause, failure.message.partition(": ")[0]) == ("tls-unwanted", "DataStorage's API speaks no TLS")


@pytest.mark.parametrize("who", ["Authentication", "Authorization"])
def test_an_api_server_that_cannot_be_asked_is_named(stack: Stack, options: dict[str, Any], who: str) -> None:
    refusal = (500, {"title": "Internal Server Error", "detail": who + " service unavailable"})
    stack.post = lambda _events: refusal  # type: ignore[method-assign]
    failure = fail({**options, "contract": "v1", "datastorage_token": "any"})
    assert failure.cause == "api-server-away"
    assert failure.message.startswith("DataStorage cannot ask its API server about the token: start that server")


def sql_error(state: str, text: str = "PostgreSQL said so") -> psycopg.Error:
    return psycopg.errors.lookup(state)(text)


def test_a_healthy_stack_is_proven_and_left_as_it_was(stack: Stack, options: dict[str, Any]) -> None:
    result = _audit.run(options, Context())
    assert result["summary"] == "7/7 written, 7/7 read back over HTTP, 7/7 in PostgreSQL, 0 in the DLQ"
    assert (result["written"], result["read_http"], result["read_sql"], result["dlq"]) == (7, 7, 7, 0)
    assert len(set(result["event_ids"])) == 7
    assert result["correlation_id"].startswith("kubernaut-integration-")
    assert list(result["timings"]) == ["connect", "dlq_before", "write", "read_http", "read_sql", "dlq_after", "remove"]
    assert result["changed"] is False
    assert stack.stored == []
    assert [identity for identity, _entry in stack.queue] == ["1-0"], "entries of others do not count and stay"


def test_kept_rows_are_a_change(stack: Stack, options: dict[str, Any]) -> None:
    result = _audit.run({**options, "keep": True}, Context())
    assert result["changed"] is True
    assert len(stack.stored) == 7


def test_check_mode_touches_nothing(stack: Stack, options: dict[str, Any]) -> None:
    result = _audit.run(options, Context(check=True))
    assert stack.posts == 0
    assert result["skipped"] is True
    assert result["summary"].startswith("would write 7 audit events")
    assert result["lines"] == ["  " + result["summary"]]
    assert "changed" not in result


def test_the_read_back_waits_for_a_slow_service(stack: Stack, options: dict[str, Any]) -> None:
    stack.delay_queries = 2
    assert _audit.run({**options, "timeout": 5.0}, Context())["read_http"] == 7


@pytest.mark.parametrize(
    ("state", "cause"),
    [
        ("42P01", "the table audit_events does not exist; apply the migrations"),
        ("23514", "no partition of audit_events takes 20"),
        ("42703", "audit_events lacks a column of contract v0"),
        ("42501", "slm_user may not write to audit_events"),
        ("25006", "PostgreSQL is read-only"),
        ("57014", "another session holds a lock on audit_events"),
        ("53100", "PostgreSQL has no disk space left"),
        ("22001", "PostgreSQL refuses the insert (22001: PostgreSQL said so)"),
    ],
)
@pytest.mark.parametrize("status", [202, 500])
def test_a_refused_write_is_named_by_postgresqls_own_error(
    stack: Stack, options: dict[str, Any], status: int, state: str, cause: str
) -> None:
    stack.status, stack.refuse_insert = status, sql_error(state)
    stack.problem = {"type": "https://kubernaut.ai/problems/database-error", "title": "Database Error", "detail": "no"}
    failure = fail(options)
    first, second = failure.message.splitlines()[:2]
    assert cause in first
    assert state in first
    assert second == "  DataStorage said: %d database-error: Database Error: no" % status
    assert failure.result["changed"] is False
    assert failure.result["written"] == 0


def test_202_is_not_written_and_its_queue_entry_is_shown_and_removed(stack: Stack, options: dict[str, Any]) -> None:
    stack.status = 202
    stack.problem = {"status": "accepted", "message": "7 audit events queued for async processing via DLQ"}
    failure = fail(options)
    assert failure.message.startswith("The events are queued in the DLQ, not in PostgreSQL: PostgreSQL at")
    assert "last_error: database write failed" in failure.message
    assert failure.result["summary"].endswith("1 in the DLQ")
    assert [identity for identity, _entry in stack.queue] == ["1-0"]


def test_500_although_postgresql_takes_the_event_points_at_the_services_connection(
    stack: Stack, options: dict[str, Any]
) -> None:
    stack.status, stack.problem = 500, "plain words"
    assert "the service looks elsewhere or lost its connection" in fail(options).message.splitlines()[0]


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        ("connection refused", "does not answer: start it"),
        ('FATAL:  password authentication failed for user "slm_user"', "refuses slm_user: correct its database, user"),
    ],
)
def test_postgresql_that_cannot_be_reached_is_named_before_anything_is_written(
    stack: Stack, options: dict[str, Any], error: str, cause: str
) -> None:
    stack.refuse_connection = psycopg.OperationalError(error)
    assert cause in fail(options).message.splitlines()[0]
    assert stack.posts == 0


def test_redis_that_cannot_be_reached_is_named_before_anything_is_written(
    stack: Stack, options: dict[str, Any]
) -> None:
    stack.refuse_redis = redis.exceptions.ConnectionError("refused")
    assert "Redis at 127.0.0.1:6379 does not answer" in fail(options).message.splitlines()[0]
    assert stack.posts == 0


@pytest.mark.parametrize(
    ("status", "detail", "ahead", "cause"),
    [
        (400, "invalid timestamp: timestamp is in the future", 0.0, "refused the events' time"),
        (400, "validation", -3600.0, "refused the events' time"),
        (400, "validation", 0.0, "not of contract v0, or stricter"),
        (401, "Missing Authorization header", 0.0, "asks for a token"),
        (403, "Insufficient permissions", 0.0, "asks for a token"),
        (404, "page not found", 0.0, "takes no audit events"),
        (200, "fine", 0.0, "takes no audit events"),
    ],
)
def test_other_answers_are_named(
    stack: Stack, options: dict[str, Any], status: int, detail: str, ahead: float, cause: str
) -> None:
    stack.status, stack.problem, stack.clock_ahead = status, {"title": "T", "detail": detail}, ahead
    message = fail(options).message
    assert cause in message.splitlines()[0]
    assert "DataStorage said: %d T: %s" % (status, detail) in message


def test_nobody_listens(options: dict[str, Any]) -> None:
    assert "does not listen on 127.0.0.1:1:" in fail({**options, "datastorage_port": 1}).message.splitlines()[0]


@pytest.mark.parametrize(
    "change", [{"event_outcome": "pending"}, {"event_data": {}}, {"event_timestamp": "2026-11-23T17:59:59.116000Z"}]
)
def test_other_events_than_were_sent_are_a_failure_and_are_removed(
    stack: Stack, options: dict[str, Any], change: dict[str, Any]
) -> None:
    stack.change = change
    failure = fail(options)
    assert "gave back other events than it was given" in failure.message.splitlines()[0]
    assert "event 1 (workflow.started) %s: expected" % next(iter(change)) in failure.message
    assert failure.result["read_http"] < 7
    assert stack.stored == []


def test_acknowledged_but_never_given_back(stack: Stack, options: dict[str, Any]) -> None:
    stack.delay_queries = 10_000
    failure = fail(options)
    assert failure.message.startswith("DataStorage acknowledged 7 events with 201 but does not give them back")
    assert failure.result["summary"] == "7/7 written, 0/7 read back over HTTP, 0/7 in PostgreSQL, 0 in the DLQ"


def test_same_ids_for_all_events_are_not_seven(stack: Stack, options: dict[str, Any]) -> None:
    stack.change = {"event_id": str(uuid.uuid4())}
    assert fail(options).result["written"] == 1


def test_rows_that_are_in_no_database_of_ours(stack: Stack, options: dict[str, Any]) -> None:
    stack.lose_rows = True
    assert "connected to another database" in fail(options).message.splitlines()[0]


def test_rows_in_the_wrong_day(stack: Stack, options: dict[str, Any]) -> None:
    stack.shift_days = 1
    failure = fail(options)
    assert "timezone=UTC" in failure.message.splitlines()[0]
    assert failure.result["read_sql"] == 0


@pytest.fixture
def undeletable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every DELETE fail."""
    execute = Connection.execute

    def refuse(self: Connection, query: Any, values: Any = None) -> Cursor:
        if str(query).startswith("DELETE"):
            raise sql_error("42501", "permission denied for table audit_events")
        return execute(self, query, values)

    monkeypatch.setattr(Connection, "execute", refuse)


@pytest.mark.usefixtures("undeletable")
def test_what_cannot_be_removed_is_said(stack: Stack, options: dict[str, Any]) -> None:
    failure = fail(options)
    assert "could not be taken back cleanly" in failure.message
    assert "permission denied" in failure.message
    assert failure.result["changed"] is True
    assert len(stack.stored) == 7


@pytest.mark.usefixtures("undeletable")
@pytest.mark.parametrize(("status", "in_doubt"), [(400, False), (500, True)])
def test_rows_of_a_service_that_ran_out_of_time_may_come_later(
    stack: Stack, options: dict[str, Any], status: int, in_doubt: bool
) -> None:
    stack.status, stack.problem = status, {}
    assert ("may still be in audit_events" in fail(options).message) is in_doubt
