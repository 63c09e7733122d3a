# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: ARG002 - a stand-in takes what the real one takes
"""What each service must answer, and what a gate says when it does not."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from ansible_collections.kubernaut.integration.plugins.module_utils import _http, _ready, _watch
from ansible_collections.kubernaut.integration.plugins.module_utils._gate import Observation, Seen, Verdict
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import Context, PhaseError
from ansible_collections.kubernaut.integration.plugins.module_utils._podman import Answer, Podman

FAILED = 'connection failed: connection to server at "127.0.0.1", port 15443 failed: '


@pytest.mark.parametrize(
    ("text", "state", "final", "detail"),
    [
        (
            FAILED + "Connection refused\n\tIs the server running on that host and accepting TCP/IP connections?",
            "refused",
            False,
            "nothing listens at the port yet (connection refused)",
        ),
        (
            FAILED + "FATAL:  the database system is starting up",
            "starting",
            False,
            "the database system is starting up",
        ),
        (
            FAILED + "FATAL:  the database system is shutting down",
            "starting",
            False,
            "the database system is shutting down",
        ),
        (
            FAILED + "FATAL:  the database system is in recovery mode",
            "starting",
            False,
            "the database system is in recovery mode",
        ),
        (
            FAILED + "FATAL:  the database system is not yet accepting connections\n"
            "DETAIL:  Consistent recovery state has not been yet reached.",
            "starting",
            False,
            "the database system is not yet accepting connections "
            "DETAIL: Consistent recovery state has not been yet reached.",
        ),
        (
            FAILED + 'FATAL:  password authentication failed for user "slm_user"',
            "password",
            True,
            'password authentication failed for user "slm_user"',
        ),
        (FAILED + "fe_sendauth: no password supplied", "password", True, FAILED + "fe_sendauth: no password supplied"),
        (FAILED + 'FATAL:  role "slm_user" does not exist', "authorization", True, 'role "slm_user" does not exist'),
        (
            FAILED + 'FATAL:  no pg_hba.conf entry for host "10.0.2.2", user "a", database "b", no encryption',
            "authorization",
            True,
            'no pg_hba.conf entry for host "10.0.2.2", user "a", database "b", no encryption',
        ),
        (
            FAILED
            + 'FATAL:  pg_hba.conf rejects connection for host "10.0.2.2", user "a", database "b", no encryption',
            "authorization",
            True,
            'pg_hba.conf rejects connection for host "10.0.2.2", user "a", database "b", no encryption',
        ),
        (FAILED + 'FATAL:  database "nosuch" does not exist', "no database", True, 'database "nosuch" does not exist'),
        (FAILED + "FATAL:  sorry, too many clients already", "connections", False, "sorry, too many clients already"),
        (
            FAILED + "FATAL:  remaining connection slots are reserved for non-replication superuser connections",
            "connections",
            False,
            "remaining connection slots are reserved for non-replication superuser connections",
        ),
        (
            FAILED + 'FATAL:  database "closed" is not currently accepting connections',
            "unreachable",
            False,
            FAILED + 'FATAL: database "closed" is not currently accepting connections',
        ),
        ("connection timeout expired", "unreachable", False, "connection timeout expired"),
        (
            "failed to resolve host 'nosuch': [Errno -2] Name or service not known",
            "unreachable",
            False,
            "failed to resolve host 'nosuch': [Errno -2] Name or service not known",
        ),
        (
            FAILED
            + "server closed the connection unexpectedly\n\tThis probably means the server terminated abnormally",
            "unreachable",
            False,
            FAILED + "server closed the connection unexpectedly This probably means the server terminated abnormally",
        ),
    ],
)
def test_postgres_refusal(text: str, state: str, final: bool, detail: str) -> None:
    """The texts are libpq 15's and psycopg 3.3's own."""
    assert _ready._postgres_refusal(None, text) == Observation(False, state, detail, final)


@pytest.mark.parametrize(
    ("sqlstate", "state", "final"),
    [
        ("57P03", "starting", False),
        ("28P01", "password", True),
        ("3D000", "no database", True),
        ("57P01", "unreachable", False),
    ],
)
def test_postgres_refusal_with_a_code(sqlstate: str, state: str, final: bool) -> None:
    seen = _ready._postgres_refusal(sqlstate, "FATAL:  was auch immer")
    assert (seen.state, seen.final, seen.ready) == (state, final, False)


def test_postgres_that_nobody_started_is_refused() -> None:
    with closed_port() as port:
        options = {
            "postgres_host": "127.0.0.1",
            "postgres_port": port,
            "postgres_database": "d",
            "postgres_user": "u",
            "postgres_password": "p",
        }
        assert _ready.postgres_observation(options, 1.0).state == "refused"


@contextmanager
def closed_port() -> Iterator[int]:
    """Reserve a port at which nobody listens."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


class FakeRedis(threading.Thread):
    """Answers every command by its name with bytes of the protocol; unknown ones with +OK."""

    def __init__(self, answers: Mapping[str, bytes]) -> None:
        super().__init__(daemon=True)
        self._answers = answers
        self.commands: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def run(self) -> None:
        connection, _address = self._listener.accept()
        with connection, connection.makefile("rb") as lines:
            while header := lines.readline():
                words = []
                for _word in range(int(header[1:])):
                    lines.readline()
                    words.append(lines.readline().strip().decode().upper())
                self.commands.append(words[0])
                connection.sendall(self._answers.get(words[0], b"+OK\r\n"))
        self._listener.close()


def info(loading: int) -> bytes:
    text = "# Persistence\r\nloading:%d\r\nasync_loading:0\r\n" % loading
    return b"$%d\r\n%s\r\n" % (len(text), text.encode())


@pytest.mark.parametrize(
    ("answers", "password", "state", "final"),
    [
        ({"PING": b"+PONG\r\n", "INFO": info(0)}, "", "ready", False),
        ({"PING": b"+PONG\r\n", "INFO": info(0)}, "secret", "ready", False),
        ({"PING": b"+PONG\r\n", "INFO": info(1)}, "", "loading", False),
        ({"PING": b"-LOADING Redis is loading the dataset in memory\r\n"}, "", "loading", False),
        ({"PING": b"-NOAUTH Authentication required.\r\n"}, "", "noauth", True),
        ({"PING": b"+QUEUED\r\n", "INFO": info(0)}, "", "answer", False),
        (
            {"AUTH": b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"},
            "wrong",
            "wrongpass",
            True,
        ),
        ({"PING": b"-MISCONF Redis is configured to save RDB snapshots\r\n"}, "", "unreachable", False),
    ],
)
def test_redis_observation(answers: Mapping[str, bytes], password: str, state: str, final: bool) -> None:
    server = FakeRedis(answers)
    server.start()
    options = {"redis_host": "127.0.0.1", "redis_port": server.port, "redis_password": password}
    seen = _ready.redis_observation(options, 2.0)
    server.join(5)
    assert (seen.state, seen.final, seen.ready) == (state, final, state == "ready"), seen.detail
    assert ("AUTH" in server.commands) == bool(password)


def test_redis_that_nobody_started_is_refused() -> None:
    with closed_port() as port:
        options = {"redis_host": "127.0.0.1", "redis_port": port, "redis_password": ""}
        assert _ready.redis_observation(options, 1.0).state == "refused"


HEALTHY = {"status": "healthy", "database": "connected"}
DATASTORAGE = {"datastorage_host": "127.0.0.1", "datastorage_port": 18100, "path": "/health", "expect": HEALTHY}


@pytest.mark.parametrize(
    ("status", "body", "state", "says"),
    [
        (200, json.dumps(HEALTHY), "ready", "answered 200"),
        (200, json.dumps({**HEALTHY, "version": "1"}), "ready", "version"),
        (200, json.dumps({**HEALTHY, "database": "down"}), "body", "{'database': 'down'}"),
        (200, json.dumps({"status": "healthy"}), "body", "{'database': None}"),
        (503, json.dumps({"status": "unhealthy", "database": "unreachable"}), "unhealthy", "503: database unreachable"),
        (503, json.dumps(HEALTHY), "unhealthy", "503"),
        (200, "<html>It works!</html>", "body", "<html>It works!</html>"),
        (200, "[]", "body", "without a JSON object"),
        (404, "404 page not found", "body", "answered 404"),
        (200, "", "body", "without a JSON object"),
    ],
)
def test_datastorage_observation(
    monkeypatch: pytest.MonkeyPatch, status: int, body: str, state: str, says: str
) -> None:
    monkeypatch.setattr(_http, "get", lambda *_: _http.Response(status, {}, body.encode()))
    seen = _ready.datastorage_observation(DATASTORAGE, 1.0)
    assert (seen.state, seen.ready, seen.final) == (state, state == "ready", False)
    assert says in seen.detail


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (_http.HttpRefusedError("no connection"), "refused"),
        (_http.HttpTimeoutError("no complete answer"), "unreachable"),
        (_http.HttpBrokenError("broken answer"), "unreachable"),
    ],
)
def test_datastorage_that_cannot_be_asked(monkeypatch: pytest.MonkeyPatch, error: Exception, state: str) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(_http, "get", fail)
    assert _ready.datastorage_observation(DATASTORAGE, 1.0).state == state


class FakePodman(Podman):
    """Answers every call the same and remembers what was asked."""

    def __init__(self, answer: Answer) -> None:
        super().__init__("podman")
        self.answer = answer
        self.calls: list[tuple[str, ...]] = []

    def call(self, *arguments: str, timeout: float = 60.0, stdin: str | None = None) -> Answer:
        self.calls.append(arguments)
        return self.answer


NAMES = {"container": "wf_postgres_1", "names": ["wf_postgres_1", "wf_redis_1"]}
BOTH = "10.89.0.2       wf_postgres_1.dns.podman\n10.89.0.3       wf_redis_1.dns.podman  wf_redis_1\n"


@pytest.mark.parametrize(
    ("answer", "state", "final", "says"),
    [
        (Answer(0, BOTH, ""), "ready", False, "wf_redis_1.dns.podman is 10.89.0.3"),
        (Answer(0, BOTH.replace(".dns.podman", ""), ""), "ready", False, "wf_postgres_1 is 10.89.0.2"),
        (Answer(2, BOTH.splitlines()[0] + "\n", ""), "no such name", False, "wf_redis_1 cannot be resolved"),
        (Answer(2, "", ""), "no such name", False, "wf_postgres_1, wf_redis_1 cannot be resolved"),
        (Answer(0, BOTH.replace("wf_redis_1", "wf_redis_10"), ""), "no such name", False, "wf_redis_1 cannot"),
        (Answer(124, "", "no answer within 2 s"), "no such name", False, "the name server hangs"),
        (
            Answer(127, "", "Error: crun: executable file `getent` not found in $PATH: No such file or directory"),
            "no getent",
            True,
            "executable file `getent` not found",
        ),
        (
            Answer(255, "", "Error: can only create exec sessions on running containers: container state improper"),
            "exec",
            False,
            "can only create exec sessions on running containers",
        ),
    ],
)
def test_names_observation(answer: Answer, state: str, final: bool, says: str) -> None:
    podman = FakePodman(answer)
    seen = _ready.names_observation(podman, NAMES, 2.0)
    assert (seen.state, seen.final, seen.ready) == (state, final, state == "ready")
    assert says in seen.detail
    assert podman.calls == [("exec", "wf_postgres_1", "getent", "hosts", "wf_postgres_1", "wf_redis_1")]


def test_names_are_not_asked_for_in_check_mode() -> None:
    result = _ready.run_names({**NAMES, "podman": "/nonexistent"}, Context(check=True))
    assert (result["ready"], result["attempts"], result["changed"]) == (False, 0, False)


def verdict(last: Observation) -> Verdict:
    return Verdict(last.ready, 1.25, 7, [Seen(last.state, last.detail, 0.0, 7)], last)


class Container(FakePodman):
    """A container with a log that is as ``state`` says, and no other."""

    def __init__(self, **state: Any) -> None:
        super().__init__(Answer(0, "", "line\n" * 99 + "\x1b[31mpanic: " + "x" * 999 + "\x1b[0m\n"))
        self.facts: dict[str, Any] | None = {
            "Id": "1",
            "RestartCount": 0,
            "HostConfig": {"PortBindings": {"5432/tcp": [{"HostIp": "127.0.0.1", "HostPort": "15443"}]}},
            "State": {"Running": True, "Pid": 1, "ConmonPid": 0, "StartedAt": "then", "ExitCode": 0, **state},
        }

    def inspect(self, *names: str, kind: str = "all") -> list[dict[str, Any]]:
        self.calls.append(("inspect", *names))
        return [self.facts] if self.facts else []

    def become(self, **state: Any) -> None:
        assert self.facts
        self.facts = {**self.facts, "State": {**self.facts["State"], **state}}


def test_open_gate_returns_its_evidence() -> None:
    result = _ready.conclude("Redis", verdict(Observation(True, "ready", "PONG")), None)
    assert (result["ready"], result["changed"], result["attempts"], result["elapsed"]) == (True, False, 7, 1.25)
    assert "identity" not in result


def test_gate_does_not_prove_one_stack_while_it_watches_another() -> None:
    watch = _watch.Watch(Container(), "c")
    watch.demand_port("postgres_port", 15443)
    with pytest.raises(PhaseError, match=r"\Apostgres_port: the container c is published on port 15443, not on 31443"):
        watch.demand_port("postgres_port", 31443)


def test_open_gate_says_which_container_answered() -> None:
    watch = _watch.Watch(Container(), "c")
    result = _ready.conclude("Redis", verdict(Observation(True, "ready", "PONG")), watch)
    assert result["identity"] == {"id": "1", "started_at": "then", "restarts": 0}


@pytest.mark.parametrize(
    ("state", "advice"),
    [*_ready._REMEDIES.items(), ("refused", "raise stack_patience")],
)
def test_first_line_of_a_failure_is_cause_and_next_action(state: str, advice: str) -> None:
    with pytest.raises(PhaseError) as failure:
        _ready.conclude("PostgreSQL", verdict(Observation(False, state, "the cause")), None)
    first = failure.value.message.splitlines()[0]
    assert first.startswith("PostgreSQL is not ready after 1.2 s and 7 attempts: the cause; ")
    assert advice in first
    assert failure.value.result["ready"] is False
    assert failure.value.result["observations"][0]["detail"] == "the cause"


def test_failure_quotes_the_log_within_bounds_and_without_colours() -> None:
    watch = _watch.Watch(Container(), "c")
    with pytest.raises(PhaseError) as failure:
        _ready.conclude("Redis", verdict(Observation(False, "exited", "it exited", final=True)), watch)
    log = failure.value.result["log"]
    assert len(log) == _watch.LOG_LINES
    assert log[-1].startswith("panic: x")
    assert len(log[-1]) == _watch.LOG_WIDTH
    assert "\x1b" not in failure.value.message
    assert "Last lines of `podman logs c`:" in failure.value.message


def test_container_that_is_not_there_is_not_waited_for() -> None:
    podman = Container()
    podman.facts = None
    with pytest.raises(PhaseError, match="There is no container c to wait for"):
        _watch.Watch(podman, "c")


def test_watch_asks_podman_only_when_the_process_is_gone_or_it_must_be_certain() -> None:
    podman = Container()  # pid 1 is always there, and has no parent
    watch = _watch.Watch(podman, "c")
    asked = len(podman.calls)
    assert watch(False) is None
    assert len(podman.calls) == asked
    assert watch(True) is None
    assert len(podman.calls) == asked + 1


def test_watch_is_not_taken_in_by_a_process_of_another_machine_with_the_same_number() -> None:
    """A remote podman's container died, and a process here went on with its number."""
    podman = Container(ConmonPid=4711)
    watch = _watch.Watch(podman, "c")
    assert watch(False) is None
    podman.become(Running=False, ExitCode=137)
    seen = watch(False)
    assert seen is not None
    assert seen.state == "exited"


@pytest.mark.parametrize(
    ("now", "state", "says"),
    [
        ({"Running": False, "ExitCode": 3}, "exited", "exited with status 3"),
        ({"StartedAt": "later"}, "replaced", "was started anew"),
        (None, "removed", "was removed"),
    ],
)
def test_watch_sees_what_happened(now: dict[str, Any] | None, state: str, says: str) -> None:
    podman = Container(Pid=2**22 + 1)  # beyond the highest pid: the process is gone
    watch = _watch.Watch(podman, "c")
    if now is None:
        podman.facts = None
    else:
        podman.become(**now)
    for certain in (False, True):
        seen = watch(certain)
        assert seen is not None
        assert (seen.ready, seen.final, seen.state) == (False, True, state)
        assert says in seen.detail


def test_watch_sees_another_container_of_the_same_name() -> None:
    podman = Container()
    watch = _watch.Watch(podman, "c")
    assert podman.facts
    podman.facts = {**podman.facts, "Id": "2"}
    seen = watch(True)
    assert seen is not None
    assert seen.state == "replaced"


def test_check_mode_makes_one_attempt_with_time_to_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """It got 50 ms once, which a healthy service may need longer than."""
    lefts: list[float] = []

    def probe(_options: Any, left: float) -> Observation:
        lefts.append(left)
        return Observation(False, "refused", "")

    monkeypatch.setattr(_ready, "redis_observation", probe)
    options = {"container": "c", "podman": "/nonexistent", "timeout": 30.0}
    result = _ready.run_redis(options, Context(check=True))
    assert (result["ready"], result["attempts"]) == (False, 1)
    assert lefts == [_ready.ATTEMPT]


@pytest.mark.parametrize(
    "phase", [_ready.POSTGRES_PHASE, _ready.REDIS_PHASE, _ready.DATASTORAGE_PHASE, _ready.NAMES_PHASE]
)
def test_every_gate_has_a_deadline_a_container_and_a_podman(phase: Any) -> None:
    assert set(_ready.GATE_SPEC) <= set(phase.argument_spec)
