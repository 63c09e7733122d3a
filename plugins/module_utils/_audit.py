# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prove that audit events arrive: write seven, read seven back over two independent ways. PRIVATE to the collection.

An audit client counts any 2xx answer as written, and DataStorage answers 202 for what is not in PostgreSQL. So nothing
the service says is believed here: the events are read back over its query API and, past the service, from the table
itself, and the dead letter queue is searched for them.
"""

from __future__ import annotations

import datetime
import json
import re
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple
from urllib.parse import urlencode

from ansible_collections.kubernaut.integration.plugins.module_utils import _gate, _http
from ansible_collections.kubernaut.integration.plugins.module_utils._causes import (
    DATASTORAGE,
    POSTGRES,
    UNKNOWN,
    Evidence,
    explain,
)
from ansible_collections.kubernaut.integration.plugins.module_utils._contract import Contract
from ansible_collections.kubernaut.integration.plugins.module_utils._contracts import CONTRACTS, customised
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import (
    Context,
    Options,
    Phase,
    PhaseError,
    Result,
)
from ansible_collections.kubernaut.integration.plugins.module_utils._postgres import POSTGRES_SPEC, connect
from ansible_collections.kubernaut.integration.plugins.module_utils._redis import REDIS_SPEC, client

if TYPE_CHECKING:
    import psycopg

Event = Dict[str, Any]

#: Seconds for one connection or one statement; all of them are small.
STEP_TIMEOUT = 10.0
#: Lines of evidence and characters per line in a failure message.
EVIDENCE_LINES = 12
EVIDENCE_WIDTH = 400
#: Seconds between this machine's clock and PostgreSQL's that are worth a word.
SKEW_TOLERANCE = 30.0
#: Events wait this many seconds in the past, so that a service whose clock is a little behind takes them.
EVENT_AGE = 1.0


class Finding(NamedTuple):
    """A cause by its id, and in words with the next action."""

    id: str
    text: str


#: SQLSTATE of the probe's own insert -> what it means for the service and what to do.
SQL_CAUSES: Mapping[str, Finding] = {
    "42P01": Finding(
        "schema-missing",
        "the table audit_events does not exist; apply the migrations (role kubernaut.integration.migrations)",
    ),
    "23514": Finding(
        "partition-missing",
        "no partition of audit_events takes {date}; create it (role kubernaut.integration.migrations)",
    ),
    "42703": Finding(
        "schema-generation",
        "audit_events lacks a column of contract {contract}: its schema is another one; reset the database",
    ),
    "42501": Finding(
        "table-permission", "{user} may not write to audit_events: it belongs to another role; reset the database"
    ),
    "25006": Finding(
        "postgres-read-only", "PostgreSQL is read-only: it is in recovery or default_transaction_read_only is on"
    ),
    "57014": Finding(
        "table-locked", "another session holds a lock on audit_events; end it (pg_stat_activity names it)"
    ),
    "53100": Finding("disk-full", "PostgreSQL has no disk space left: free some on its volume"),
}
_REFUSED = Finding("insert-refused", "PostgreSQL refuses the insert")
#: What contract v1 answers when it cannot ask about a token.
_API_SERVER = re.compile(r"\b(?:Authentication|Authorization) service unavailable")


@dataclass
class Proof:
    """What is proven so far; a failure returns it too.

    :param written: events that the service acknowledged with 201 and an id of their own.
    :param read_http: events that came back over HTTP exactly as they were sent.
    :param read_sql: rows of ``audit_events`` that are exactly what was sent.
    :param dlq: entries of the dead letter queue that carry the correlation id.
    :param chained: events whose hashes the service has verified as one chain; None where it keeps none.
    :param timings: seconds per step.
    """

    correlation_id: str
    expected: int
    written: int = 0
    read_http: int = 0
    read_sql: int = 0
    dlq: int = 0
    chained: Optional[int] = None
    event_ids: List[str] = field(default_factory=list)
    timings: Dict[str, float] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """The proof in one line."""
        chain = "" if self.chained is None else ", %d/%d in a verified chain" % (self.chained, self.expected)
        return "%d/%d written, %d/%d read back over HTTP, %d/%d in PostgreSQL%s, %d in the DLQ" % (
            *(self.written, self.expected),
            *(self.read_http, self.expected),
            *(self.read_sql, self.expected),
            chain,
            self.dlq,
        )

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a step under ``name``, however it ends."""
        begin = time.monotonic()
        try:
            yield
        finally:
            self.timings[name] = round(time.monotonic() - begin, 4)

    def as_dict(self) -> Result:
        """The values that the task returns."""
        return {
            "correlation_id": self.correlation_id,
            "expected": self.expected,
            "written": self.written,
            "read_http": self.read_http,
            "read_sql": self.read_sql,
            "dlq": self.dlq,
            "chained": self.chained,
            "event_ids": list(self.event_ids),
            "timings": dict(self.timings),
            "summary": self.summary,
            "lines": ["  " + self.summary],
        }


def timestamp_text(moment: datetime.datetime) -> str:
    """Return an aware ``moment`` as RFC 3339 in UTC with microseconds, such as ``2026-11-23T18:00:00.000001Z``."""
    return moment.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def whole_second(text: str) -> str:
    """Return what :func:`timestamp_text` made, without its fraction of a second."""
    return re.sub(r"\.\d+", "", text)


def parse_timestamp(text: str) -> datetime.datetime:
    """Return an RFC 3339 timestamp as a moment in UTC; digits beyond microseconds must be 0, as PostgreSQL has none.

    :raises ValueError: ``text`` is no such timestamp. (``fromisoformat`` of Python 3.9 takes neither Z nor 4 digits.)
    """
    match = re.fullmatch(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d{1,6})0*)?([Zz]|[+-]\d\d:\d\d)", text)
    if match is None:
        raise ValueError("not an RFC 3339 timestamp: %s" % text[:60])
    day, clock, fraction, offset = match.groups()
    zone = "+0000" if offset in "Zz" else offset.replace(":", "")
    moment = datetime.datetime.strptime(
        "%s %s.%s %s" % (day, clock, (fraction or "0").ljust(6, "0"), zone), "%Y-%m-%d %H:%M:%S.%f %z"
    )
    return moment.astimezone(datetime.timezone.utc)


def build_events(contract: Contract, team: str, correlation_id: str, now: datetime.datetime) -> List[Event]:
    """Return the probe's requests, oldest first.

    :param team: goes into namespace and names, so that rows which are kept say whose they are.
    :param now: aware moment; the last event lies a little more than :data:`EVENT_AGE` before it. Timestamps are
        1.001 ms apart and none ends in 000 µs: they strictly increase, and a store that keeps only milliseconds is
        found out.
    """
    step = datetime.timedelta(microseconds=1001)
    latest = now.astimezone(datetime.timezone.utc) - datetime.timedelta(seconds=EVENT_AGE) - len(contract.batch) * step
    first = latest.replace(microsecond=latest.microsecond // 1000 * 1000 + 1)
    namespace = "kubernaut-integration-%s" % team
    started: Dict[int, str] = {}
    events: List[Event] = []
    for index, (kind, number) in enumerate(contract.batch):
        moment = timestamp_text(first + index * step)
        execution = "%s-probe-%d" % (team, number)
        began = started.setdefault(number, moment)
        words = {
            "namespace": namespace,
            "execution": execution,
            "started": began,
            "started_second": whole_second(began),
            "now": moment,
            "now_second": whole_second(moment),
        }
        data = {key: value.format(**words) if isinstance(value, str) else value for key, value in kind.data.items()}
        events.append(
            {
                "version": "1.0",
                "event_type": kind.event_type,
                "event_timestamp": moment,
                "event_category": contract.category,
                "event_action": kind.action,
                "event_outcome": kind.outcome,
                "correlation_id": correlation_id,
                "actor_type": "service",
                "actor_id": "workflowexecution-controller",
                "resource_type": "WorkflowExecution",
                "resource_id": execution,
                "namespace": namespace,
                "event_data": data,
            }
        )
    return events


def _same(expected: Any, got: Any) -> bool:
    """Tell whether two JSON values are equal in value and type; to Python True is 1, to an auditor it is not."""
    return json.dumps(expected, sort_keys=True) == json.dumps(got, sort_keys=True, default=str)


def _normal(name: str, value: Any) -> Any:
    """Return a field's value in the one form in which values are compared."""
    if name != "event_timestamp":
        return value
    if isinstance(value, datetime.datetime):
        return timestamp_text(value)
    try:
        return timestamp_text(parse_timestamp(str(value)))
    except ValueError:
        return value


def differences(expected: Mapping[str, Any], got: Mapping[str, Any]) -> List[str]:
    """Return a line ``field: expected ..., got ...`` for each field that ``got`` lacks or has otherwise."""
    lines = []
    for name, value in expected.items():
        wanted, found = _normal(name, value), _normal(name, got.get(name))
        if not _same(wanted, found):
            lines.append("%s: expected %s, got %s" % (name, _short(wanted), _short(found)))
    return lines


def compare(events: Sequence[Event], found: Sequence[Mapping[str, Any]], ids: Sequence[str]) -> Tuple[int, List[str]]:
    """Compare what came back with what was sent.

    :param events: requests, oldest first, each with a timestamp of its own.
    :param found: what came back, in the same order, each with ``event_id`` and the request's fields.
    :param ids: ids that the service acknowledged.
    :returns: number of events that are exactly right, and one line per difference.
    """
    lines: List[str] = []
    right = 0
    if len(found) != len(events):
        lines.append("events: expected %d, got %d" % (len(events), len(found)))
    for number, (expected, got) in enumerate(zip(events, found), 1):
        wrong = differences(expected, got)
        if str(got.get("event_id")) not in ids:
            wrong.append("event_id: expected one of the acknowledged ids, got %s" % _short(got.get("event_id")))
        right += not wrong
        lines += ["event %d (%s) %s" % (number, expected["event_type"], line) for line in wrong]
    distinct = {str(got.get("event_id")) for got in found}
    if len(distinct) != len(found):
        lines.append("event_id: expected %d distinct ids, got %d" % (len(found), len(distinct)))
    return right, lines


def _short(value: Any) -> str:
    """Return a value as JSON, short enough for a line."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
    return text if len(text) <= 160 else text[:160] + "..."


def _failure(cause: str, text: str, evidence: Sequence[str] = ()) -> PhaseError:
    """Return the failure whose first line is ``text``, with bounded evidence below it.

    :param cause: id of the cause.
    """
    lines = [" ".join(line.split())[:EVIDENCE_WIDTH] for line in evidence if line]
    left = len(lines) - EVIDENCE_LINES
    shown = lines[:EVIDENCE_LINES] + (["... and %d more" % left] if left > 0 else [])
    return PhaseError("\n".join([" ".join(text.split()), *("  " + line for line in shown)]), cause=cause)


def _reason(error: Exception) -> str:
    """Return a library's error in one line."""
    return " ".join(str(error).split())[:EVIDENCE_WIDTH] or type(error).__name__


def _no_tls(error: _http.HttpTlsError) -> PhaseError:
    """Return the failure that the two sides found no TLS; cause and remedy are those of a gate."""
    named = explain(Evidence(DATASTORAGE, error.state, str(error)))
    plain = isinstance(error, _http.HttpPlainError)
    wrong = named.sentence if plain else "DataStorage and this host find no TLS"
    return _failure(named.id, "%s: %s." % (wrong, named.action), [str(error)])


class Verifier:
    """One proof against one stack."""

    def __init__(self, options: Options, contract: Contract, events: Sequence[Event], proof: Proof) -> None:
        self.options = options
        self.contract = contract
        self.events = events
        self.proof = proof
        self.http = _http.Service(
            options["datastorage_host"], options["datastorage_port"], options["datastorage_token"], _http.trust(options)
        )
        #: The batch was sent; and whether the service took it is unknown.
        self.posted = False
        self.in_doubt = False
        self._marks: Dict[str, str] = {}
        self._connection: Optional[psycopg.Connection[Any]] = None

    @property
    def service(self) -> str:
        """Where DataStorage should answer."""
        return "%s:%d" % (self.options["datastorage_host"], self.options["datastorage_port"])

    @property
    def database(self) -> str:
        """Where PostgreSQL should answer."""
        return "%s:%d" % (self.options["postgres_host"], self.options["postgres_port"])

    # The proof, step by step.

    def prove(self) -> None:
        """Write, read back twice, search the queue.

        :raises PhaseError: the first thing that is not as it must be.
        """
        with self.proof.step("connect"):
            self.reach_database()
        with self.proof.step("dlq_before"):
            self.mark_queues()
        with self.proof.step("write"):
            self.write()
        with self.proof.step("read_http"):
            self.read_http()
        with self.proof.step("read_sql"):
            self.read_sql()
        if self.contract.chain_path:
            with self.proof.step("chain"):
                self.read_chain()
        with self.proof.step("dlq_after"):
            entries = self.queued()
        if entries:
            raise _failure(
                "queued-twice",
                "DataStorage answered 201, but %d entries of the DLQ carry these events: it wrote them twice or lost"
                " its database in between; read its log." % len(entries),
                [_last_error(entry) for entry in entries],
            )

    def write(self) -> None:
        """Send the batch once; a second POST would be a second set of rows."""
        self.posted = self.in_doubt = True
        path = self.contract.events_path + "/batch"
        try:
            response = self.http.post_json(path, list(self.events), self.contract.write_timeout)
        except _http.HttpRefusedError as error:
            self.posted = self.in_doubt = False
            raise _failure(
                "datastorage-away",
                "DataStorage does not listen on %s: it is stopped or was never started; read its container's log."
                % self.service,
                [str(error)],
            ) from error
        except _http.HttpTlsError as error:
            self.posted = self.in_doubt = False
            raise _no_tls(error) from error
        except _http.HttpTimeoutError as error:
            found = self.diagnosis()
            raise _failure(
                found.id,
                "DataStorage took the batch and did not answer within %.0f s: %s"
                % (self.contract.write_timeout, found.text),
                [str(error)],
            ) from error
        except _http.HttpBrokenError as error:
            raise _failure(
                "wrong-service",
                "What answers on %s broke off or is no DataStorage: read its container's log, and see whether it speaks"
                " TLS (datastorage_tls)." % self.service,
                [str(error)],
            ) from error
        # A service that ran out of time answers 500, and its transaction may still be committed later.
        self.in_doubt = response.status >= 500
        if response.status != 201:
            raise self.refusal(response)
        ids = _acknowledged(response)
        self.proof.event_ids = ids
        self.proof.written = min(len(set(ids)), len(self.events))
        if len(ids) != len(self.events) or len(set(ids)) != len(ids):
            raise _failure(
                "wrong-contract",
                "DataStorage answered 201, but not with %d distinct event ids: it is not of contract %s."
                % (len(self.events), self.options["contract"]),
                ["expected %d ids, got %d, %d of them distinct" % (len(self.events), len(ids), len(set(ids)))],
            )

    def refusal(self, response: _http.Response) -> PhaseError:
        """Return the failure that a status other than 201 means."""
        said = "DataStorage said: %d %s" % (response.status, problem(response))
        if response.status == 202:
            entries = self.queued()
            found = self.diagnosis()
            text = "The events are queued in the DLQ, not in PostgreSQL: %s" % found.text
            return _failure(found.id, text, [said, *("last_error: " + _last_error(entry) for entry in entries)])
        if response.status >= 500 and _API_SERVER.search(said):
            return _failure(
                "api-server-away",
                "DataStorage cannot ask its API server about the token: start that server (playbooks/integration.yml"
                " starts the stub), or correct address and certificate authority in DataStorage's kubeconfig"
                " (datastorage_kubeconfig).",
                [said],
            )
        if response.status >= 500:
            found = self.diagnosis()
            return _failure(found.id, "DataStorage could not write the events: %s" % found.text, [said])
        if response.wants_tls:
            return _failure("tls-wanted", "DataStorage's API speaks TLS only: set datastorage_tls.", [said])
        if response.status == 400:
            skew = self.clock_skew()
            if "timestamp" in said or (skew is not None and abs(skew) > SKEW_TOLERANCE):
                found = Finding(
                    "clock-skew",
                    "DataStorage refused the events' time: set the clocks right, in podman's machine, too.",
                )
            else:
                found = Finding(
                    "wrong-contract",
                    "DataStorage refused the events: it is not of contract %s, or stricter." % self.options["contract"],
                )
            clock = "PostgreSQL's clock: " + ("unknown" if skew is None else "%+.1f s" % skew)
            return _failure(found.id, found.text, [said, clock])
        if response.status in (401, 403):
            found = self.unwelcome(response.status)
            return _failure(found.id, found.text, [said])
        return _failure(
            "wrong-service",
            "What answers on %s takes no audit events: is it DataStorage, and of contract %s?"
            % (self.service, self.options["contract"]),
            [said],
        )

    def unwelcome(self, status: int) -> Finding:
        """Return what it means that DataStorage does not let the proof in."""
        if not self.contract.tokens:
            text = "DataStorage asks for a token, which contract %s does not know: use the image of this contract."
            return Finding("token-wanted", text % self.options["contract"])
        if status == 403:
            return Finding(
                "token-forbidden",
                "DataStorage knows the token, but its user may not write audit events: allow it to get and create the"
                " service data-storage-service (resource services, namespace of POD_NAMESPACE) in its cluster.",
            )
        if self.options["datastorage_token"]:
            return Finding(
                "token-refused",
                "DataStorage does not accept the token: it is expired, or of another API server than that of its"
                " kubeconfig; make a new one (datastorage_token).",
            )
        return Finding("token-missing", "DataStorage asks for a token, and there is none: set datastorage_token.")

    def read_chain(self) -> None:
        """Let the service verify the chain of the events: all of them, since an unknown chain is a valid one to it."""
        try:
            response = self.http.post_json(
                self.contract.chain_path, {"correlation_id": self.proof.correlation_id}, STEP_TIMEOUT
            )
            answer = response.json() if response.status == 200 else None
        except _http.HttpError as error:
            text = "DataStorage does not verify the chain of the events: read its container's log."
            raise _failure("chain-unverified", text, [str(error)]) from error
        if not isinstance(answer, dict):
            text = "DataStorage does not verify the chain of the events: is it of contract %s?"
            said = "%d %s" % (response.status, problem(response))
            raise _failure("wrong-contract", text % self.options["contract"], [said])
        self.proof.chained = int(answer.get("verified_events") or 0)
        whole = (answer.get("is_valid"), answer.get("total_events"), self.proof.chained)
        if whole != (True, len(self.events), len(self.events)):
            raise _failure(
                "chain-broken",
                "DataStorage calls the chain of the events broken: something else changes audit_events.",
                ["is_valid %s, total %s, verified %s, %s" % (*whole, answer.get("message", ""))],
            )

    def read_http(self) -> None:
        """Ask the service for the events until it has as many as were sent, then compare every field."""
        query = urlencode({"correlation_id": self.proof.correlation_id, "limit": 100})
        found: List[Event] = []

        def probe(left: float) -> _gate.Observation:
            try:
                response = self.http.get("%s?%s" % (self.contract.events_path, query), min(left, STEP_TIMEOUT))
                if response.status != 200:
                    return _gate.Observation(False, "status", "%d %s" % (response.status, problem(response)))
                answer = response.json()
                total, rows = answer["pagination"]["total"], answer["data"]
                found[:] = [dict(row) for row in rows]
            except _http.HttpError as error:
                return _gate.Observation(False, "unreachable", str(error))
            except (KeyError, TypeError, ValueError):
                return _gate.Observation(False, "malformed", "an answer without pagination.total and data", True)
            return _gate.Observation(total == len(self.events), "total", "total %s" % total, total > len(self.events))

        verdict = _gate.wait(probe, self.options["timeout"])
        # Newest first is the contract; turned round, it is the order in which they were sent.
        self.proof.read_http, lines = compare(self.events, found[::-1], self.proof.event_ids)
        if not verdict.ready:
            found_out = (
                Finding("reads-elsewhere", "it reads another database than it writes, or wrote them twice.")
                if verdict.last.state == "total"
                else self.diagnosis()
            )
            text = "DataStorage acknowledged %d events with 201 but does not give them back: %s"
            raise _failure(
                found_out.id,
                text % (self.proof.written, found_out.text),
                ["after %.1f s: %s" % (verdict.elapsed, verdict.last.detail)],
            )
        if lines:
            raise _failure(
                "wrong-contract",
                "DataStorage gave back other events than it was given: its contract or its schema is not %s."
                % self.options["contract"],
                lines,
            )

    def read_sql(self) -> None:
        """Read the rows past the service and compare every column."""
        from psycopg import Error, errors, sql
        from psycopg.rows import dict_row

        columns = self.contract.columns
        query = sql.SQL("SELECT event_id, event_date, {} FROM audit_events WHERE correlation_id = %s").format(
            sql.SQL(", ").join(
                sql.SQL("{} AS {}").format(sql.Identifier(column), sql.Identifier(name))
                for name, column in columns.items()
            )
        )
        try:
            rows = (
                self.sql()
                .cursor(row_factory=dict_row)
                .execute(query + sql.SQL(" ORDER BY event_timestamp"), [self.proof.correlation_id])
                .fetchall()
            )
        except errors.UndefinedTable:
            rows = []
        except Error as error:
            found = self.diagnosis()
            raise _failure(
                found.id,
                "The events could not be read from PostgreSQL at %s: %s" % (self.database, found.text),
                [_reason(error)],
            ) from error
        if not rows:
            raise _failure(
                "other-database",
                "DataStorage gave the events back, but database %s at %s has none of them: the service is connected to"
                " another database; compare its config.yaml." % (self.options["postgres_database"], self.database),
            )
        self.proof.read_sql, lines = compare(self.events, rows, self.proof.event_ids)
        shifted = []
        for event, row in zip(self.events, rows):
            day = parse_timestamp(event["event_timestamp"]).date()
            if row["event_date"] != day:
                shifted.append("event_date: expected %s, got %s" % (day, row["event_date"]))
        if shifted:
            self.proof.read_sql = max(0, self.proof.read_sql - len(shifted))
            raise _failure(
                "postgres-time-zone",
                "The rows lie in the wrong day: run PostgreSQL with timezone=UTC.",
                shifted + lines,
            )
        if lines:
            raise _failure(
                "schema-generation",
                "PostgreSQL holds other events than were sent: the schema is not of this contract.",
                lines,
            )

    # The dead letter queue.

    def mark_queues(self) -> None:
        """Note the newest entry of every queue: suites leave entries behind, only those that come later count."""
        with self.redis("The DLQ cannot be watched") as connection:
            for queue in self.contract.queues:
                newest = connection.xrevrange(queue, count=1)
                self._marks[queue] = newest[0][0] if newest else "0-0"

    def queued(self) -> List[Mapping[str, str]]:
        """Return the entries that came since :meth:`mark_queues` and carry the correlation id, and count them."""
        with self.redis("The DLQ cannot be searched") as connection:
            entries = [entry for _queue, _id, entry in self._own_entries(connection)]
        self.proof.dlq = len(entries)
        return entries

    def _own_entries(self, connection: Any) -> List[Tuple[str, str, Mapping[str, str]]]:
        """Return queue, id and fields of this proof's entries; its fresh uuid in the text is evidence enough."""
        return [
            (queue, identity, entry)
            for queue, mark in self._marks.items()
            for identity, entry in connection.xrange(queue, min=mark)
            if self.proof.correlation_id in entry.get("message", "")
        ]

    @contextmanager
    def redis(self, purpose: str) -> Iterator[Any]:
        """Give a Redis client; name Redis when it fails. (redis-py types every answer as any of all its protocols'.)"""
        from redis.exceptions import RedisError

        connection = client(self.options, STEP_TIMEOUT)
        try:
            yield connection
        except RedisError as error:
            raise _failure(
                "redis-away",
                "%s: Redis at %s:%d does not answer as it must; start it or correct its password."
                % (purpose, self.options["redis_host"], self.options["redis_port"]),
                [_reason(error)],
            ) from error
        finally:
            connection.close()

    # PostgreSQL, past the service.

    def sql(self) -> psycopg.Connection[Any]:
        """Return the proof's one connection, made anew when it broke; no statement takes longer than STEP_TIMEOUT.

        :raises psycopg.Error: PostgreSQL cannot be reached or refuses the user.
        """
        if self._connection is None or self._connection.closed:
            self._connection = connect(self.options, STEP_TIMEOUT, "kubernaut-integration-audit")
            # A database made without a locale is SQL_ASCII, and psycopg would give its texts as bytes.
            self._connection.execute(
                "SELECT set_config('statement_timeout', %s, false), set_config('client_encoding', 'UTF8', false)",
                ["%ds" % STEP_TIMEOUT],
            )
        return self._connection

    def close(self) -> None:
        """Close the connection to PostgreSQL."""
        if self._connection is not None:
            self._connection.close()

    def reach_database(self) -> None:
        """Connect before anything is written: rows that nobody could read or remove must not come into being."""
        import psycopg

        try:
            self.sql()
        except psycopg.Error as error:
            found = self.unreachable(error)
            raise _failure(found.id, found.text, [_reason(error)]) from error

    def unreachable(self, error: Exception) -> Finding:
        """Return what a failed connection means; only a server that answers says FATAL."""
        if "FATAL" in str(error):
            user = self.options["postgres_user"]
            named = explain(Evidence(POSTGRES, said=str(error), values={"user": user}))
            text = "PostgreSQL at %s refuses %s: correct its database, user or password." % (self.database, user)
            return Finding("postgres-access" if named.id == UNKNOWN else named.id, text)
        return Finding(
            "postgres-away", "PostgreSQL at %s does not answer: start it or correct its address." % self.database
        )

    def diagnosis(self) -> Finding:
        """Return cause and next action, found by trying the service's own insert on PostgreSQL and rolling it back.

        The service keeps PostgreSQL's error in its log; asking PostgreSQL the same question gets the same SQLSTATE.
        """
        import psycopg
        from psycopg import sql
        from psycopg.types.json import Jsonb

        event = self.events[-1]
        day = parse_timestamp(event["event_timestamp"]).date()
        row = {column: event[name] for name, column in self.contract.columns.items()}
        # As the service writes it: letters, not escapes, which not every database encoding takes.
        row["event_data"] = Jsonb(event["event_data"], dumps=lambda data: json.dumps(data, ensure_ascii=False))
        row["event_date"] = day
        insert = sql.SQL("INSERT INTO audit_events ({}) VALUES ({})").format(
            sql.SQL(", ").join(sql.Identifier(name) for name in (*row, *self.contract.insert_columns)),
            sql.SQL(", ").join([sql.Placeholder()] * len(row) + [sql.DEFAULT] * len(self.contract.insert_columns)),
        )
        try:
            connection = self.sql()
        except psycopg.Error as error:
            return self.unreachable(error)
        try:
            with connection.transaction(force_rollback=True):
                connection.execute(insert, list(row.values()))
        except psycopg.Error as error:
            if connection.closed:
                gone = "PostgreSQL at %s went away: start it, and read its log if nobody stopped it." % self.database
                return Finding("postgres-away", gone)
            state = error.sqlstate or "no SQLSTATE"
            cause = SQL_CAUSES.get(state, _REFUSED)
            text = cause.text.format(date=day, contract=self.options["contract"], user=self.options["postgres_user"])
            said = "%s (%s: %s)." % (text, state, error.diag.message_primary or _reason(error))
            return Finding(cause.id, said)
        return Finding(
            "service-elsewhere",
            "PostgreSQL at %s takes the same event from %s, so the service looks elsewhere or lost its connection;"
            " compare database.host and database.port in its config.yaml and read its log."
            % (self.database, self.options["postgres_user"]),
        )

    def clock_skew(self) -> Optional[float]:
        """Return how many seconds PostgreSQL's clock is ahead of this machine's, or None when it cannot be asked."""
        import psycopg

        try:
            row = self.sql().execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
        except psycopg.Error:
            return None
        return None if row is None else float(row[0]) - time.time()

    # What is left behind.

    def remove(self) -> Optional[str]:
        """Remove this proof's rows and queue entries, nothing else.

        :returns: None when nothing is left and exactly the rows of the proof were there, else what is wrong.
        """
        import psycopg

        wrong: List[str] = []
        expected = self.proof.written
        try:
            removed = (
                self.sql()
                .execute("DELETE FROM audit_events WHERE correlation_id = %s", [self.proof.correlation_id])
                .rowcount
            )
        except psycopg.errors.UndefinedTable:
            removed = 0
        except psycopg.Error as error:
            removed = expected
            if expected or self.in_doubt:
                wrong.append(
                    "the rows of %s may still be in audit_events: %s" % (self.proof.correlation_id, _reason(error))
                )
        # Without an acknowledgement nobody knows how many rows there should be.
        if expected and removed != expected:
            wrong.append("%d rows were removed where %d were acknowledged" % (removed, expected))
        try:
            with self.redis("The DLQ could not be cleaned") as connection:
                for queue, identity, _entry in self._own_entries(connection):
                    connection.xdel(queue, identity)
        except PhaseError as error:
            wrong.append(error.message)
        return "; ".join(wrong) or None


def problem(response: _http.Response) -> str:
    """Return what a response says in one bounded line: title and detail of a problem document, else its text."""
    try:
        document = response.json()
    except _http.HttpBrokenError:
        return response.text(EVIDENCE_WIDTH)
    if not isinstance(document, dict):
        return response.text(EVIDENCE_WIDTH)
    slug = str(document.get("type", "")).rsplit("/", 1)[-1]
    words = [slug, document.get("title"), document.get("detail") or document.get("message")]
    return ": ".join(str(word) for word in words if word)[:EVIDENCE_WIDTH] or response.text(EVIDENCE_WIDTH)


def _acknowledged(response: _http.Response) -> List[str]:
    """Return the ids of a 201 in canonical form; what is not a uuid is not an id."""
    try:
        answer = response.json()
    except _http.HttpBrokenError:
        return []
    ids = answer.get("event_ids") if isinstance(answer, dict) else None
    canonical: List[str] = []
    for identity in ids if isinstance(ids, list) else []:
        try:
            canonical.append(str(uuid.UUID(str(identity))))
        except ValueError:
            continue
    return canonical


def _last_error(entry: Mapping[str, str]) -> str:
    """Return why an entry is in the queue."""
    try:
        return str(json.loads(entry["message"])["last_error"])
    except (KeyError, TypeError, ValueError):
        return "entry without last_error"


def run(options: Options, context: Context) -> Result:
    """Prove the stack, or say what is in the way.

    :raises PhaseError: the proof failed; its result tells how far it came.
    """
    contract = customised(CONTRACTS[options["contract"]], options["contract_differences"])
    correlation_id = "kubernaut-integration-%s" % uuid.uuid4()
    proof = Proof(correlation_id, len(contract.batch))
    if context.check:
        where = (proof.expected, options["datastorage_host"], options["datastorage_port"])
        plan = "would write %d audit events to DataStorage at %s:%d and read them back twice" % where
        said = {"summary": plan, "lines": ["  " + plan], "msg": plan}
        return {**proof.as_dict(), **said, "correlation_id": "", "elapsed": 0.0, "skipped": True}
    begin = time.monotonic()
    events = build_events(contract, options["team"], correlation_id, datetime.datetime.now(datetime.timezone.utc))
    verifier = Verifier(options, contract, events, proof)
    failure: Optional[PhaseError] = None
    leftover: Optional[str] = None
    try:
        verifier.prove()
    except PhaseError as error:
        failure = error
    finally:  # also when the user interrupts: rows of a proof that nobody will see are only in the way
        if verifier.posted and not options["keep"]:
            with proof.step("remove"):
                leftover = verifier.remove()
        verifier.close()
    result = {
        **proof.as_dict(),
        "elapsed": round(time.monotonic() - begin, 3),
        "changed": proof.written > 0 and (options["keep"] or leftover is not None),
    }
    if failure is not None:
        lines = [failure.message] + (["  left behind: " + leftover] if leftover else [])
        raise PhaseError("\n".join(lines), cause=failure.cause, **result) from failure
    if leftover is not None:
        text = "The events are proven but could not be taken back cleanly: %s" % leftover
        raise PhaseError(text, cause="not-taken-back", **result)
    return result


PHASE = Phase(
    name="audit_verify",
    run=run,
    argument_spec={
        **POSTGRES_SPEC,
        **REDIS_SPEC,
        "datastorage_host": {"type": "str", "default": "127.0.0.1"},
        "datastorage_port": {"type": "int", "required": True},
        "datastorage_token": {"type": "str", "default": "", "no_log": True},
        **_http.TLS_SPEC,
        "contract": {"type": "str", "choices": sorted(CONTRACTS), "default": "v0"},
        "contract_differences": {"type": "dict", "default": {}},
        "team": {"type": "str", "default": "workflowexecution"},
        "keep": {"type": "bool", "default": False},
        "timeout": {"type": "float", "default": 20.0},
    },
    libraries=("psycopg", "redis"),
)
