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
        ("connection timeout expired", "silent", False, "no answer within 2 s"),
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
            FAILED + "server closed the connection unexpectedly",
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
        assert _ready.PostgresProbe()(options, 1.0).state == "refused"


NOW = 1_766_304_000.0


@pytest.mark.parametrize(
    ("answer", "state", "detail"),
    [
        ({}, "ready", "SELECT as the service's user, UTF8, UTC"),
        ({"zone": "Etc/UTC"}, "ready", "UTC"),
        ({"zone": "Europe/Berlin", "source": "client"}, "ready", "UTC"),
        ({"zone": "Europe/Berlin"}, "time zone", "Europe/Berlin"),
        ({"encoding": "SQL_ASCII"}, "encoding", "SQL_ASCII"),
        ({"clock": NOW + 240.0}, "ready", "UTC"),
        ({"clock": NOW + 600.5}, "clock", "600 s further ahead"),
        ({"clock": NOW - 600.0}, "clock", "600 s further back"),
    ],
)
def test_what_postgres_says_is_judged(answer: dict[str, Any], state: str, detail: str) -> None:
    said = {"started": 1.0, "encoding": "UTF8", "clock": NOW, "zone": "UTC", "source": "command line", **answer}
    seen = _ready.PostgresProbe().judge((NOW, NOW + 0.5), **said)
    assert (seen.state, seen.ready, seen.final) == (state, state == "ready", state != "ready")
    assert detail in seen.detail


def test_a_slow_answer_is_no_wrong_clock() -> None:
    seen = _ready.PostgresProbe().judge((NOW, NOW + 900.0), 1.0, "UTF8", NOW + 450.0, "UTC", "default")
    assert seen.ready


def test_postgres_that_was_started_anew_is_another_one() -> None:
    probe = _ready.PostgresProbe()
    assert probe.judge((NOW, NOW), 1.0, "UTF8", NOW, "UTC", "default").ready
    seen = probe.judge((NOW, NOW), 2.0, "UTF8", NOW, "UTC", "default")
    assert (seen.state, seen.final) == ("restarted", True)


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
        ({"PING": b"-MISCONF Redis is configured to save RDB snapshots\r\n"}, "", "refuses writes", True),
        (
            {
                "PING": b"+PONG\r\n",
                "INFO": info(0),
                "SET": b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
            },
            "",
            "refuses writes",
            True,
        ),
        (
            {
                "PING": b"+PONG\r\n",
                "INFO": info(0),
                "SET": b"-READONLY You can't write against a read only replica.\r\n",
            },
            "",
            "refuses writes",
            True,
        ),
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
    if seen.ready:
        assert server.commands[-2:] == ["SET", "DEL"]


def test_redis_is_not_written_to_in_check_mode() -> None:
    server = FakeRedis({"PING": b"+PONG\r\n", "INFO": info(0)})
    server.start()
    options = {"redis_host": "127.0.0.1", "redis_port": server.port, "redis_password": "", "container": ""}
    assert _ready.run_redis(options, Context(check=True))["ready"]
    server.join(5)
    assert "SET" not in server.commands


def test_redis_that_nobody_started_is_refused() -> None:
    with closed_port() as port:
        options = {"redis_host": "127.0.0.1", "redis_port": port, "redis_password": ""}
        assert _ready.redis_observation(options, 1.0).state == "refused"


HEALTHY = {"status": "healthy", "database": "connected"}
DATASTORAGE = {
    "datastorage_host": "127.0.0.1",
    "datastorage_port": 18100,
    "health_port": 0,
    "path": "/health",
    "expect": HEALTHY,
    "datastorage_tls": False,
    "datastorage_ca_file": "",
}


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
    monkeypatch.setattr(_http.Service, "get", lambda *_: _http.Response(status, {}, body.encode()))
    seen = _ready.datastorage_observation(DATASTORAGE, 1.0)
    assert (seen.state, seen.ready, seen.final) == (state, state == "ready", False)
    assert says in seen.detail


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (_http.HttpRefusedError("no connection"), "refused"),
        (_http.HttpTimeoutError("no complete answer"), "silent"),
        (_http.HttpBrokenError("broken answer"), "unreachable"),
        (_http.HttpTlsError("no TLS"), "tls"),
    ],
)
def test_datastorage_that_cannot_be_asked(monkeypatch: pytest.MonkeyPatch, error: Exception, state: str) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(_http.Service, "get", fail)
    assert _ready.datastorage_observation(DATASTORAGE, 1.0).state == state


@pytest.mark.parametrize(("health_port", "inner"), [(0, 8080), (28100, 8081)])
def test_a_datastorage_behind_a_dead_port_is_looked_for_at_its_own_address(
    monkeypatch: pytest.MonkeyPatch, health_port: int, inner: int
) -> None:
    asked = []

    class Aside(_watch.Watch):
        """A container that runs and listens at an address of its own."""

        def __init__(self, _podman: Podman, name: str) -> None:
            self.name = name
            self._first = {"Id": "1", "State": {"StartedAt": "now"}, "RestartCount": 0}

        def __call__(self, certain: bool) -> None:
            pass

        def demand_port(self, variable: str, port: int) -> None:
            pass

        def own_address(self, port: int) -> tuple[str, int]:
            assert port == (health_port or 18100)
            return "10.89.0.5", inner

        def last_words(self) -> list[str]:
            return []

        log = last_words

        def evidence(self) -> Any:
            return frozenset(), {}, None

    def get(service: _http.Service, _path: str, _timeout: float) -> _http.Response:
        asked.append((service.host, service.port))
        if service.host == "127.0.0.1":
            raise _http.HttpRefusedError("no connection")
        return _http.Response(200, {}, json.dumps(HEALTHY).encode())

    monkeypatch.setattr(_ready, "Watch", Aside)
    monkeypatch.setattr(_http.Service, "get", get)
    given = {**{name: option.get("default") for name, option in _ready.DATASTORAGE_PHASE.argument_spec.items()}}
    given |= {**DATASTORAGE, "health_port": health_port, "container": "ds", "timeout": 0.0}
    with pytest.raises(PhaseError) as failure:
        _ready.run_datastorage(given, Context())
    assert failure.value.cause == "published-port-dead"
    assert asked[0] == ("127.0.0.1", health_port or 18100)
    assert asked[-1] == ("10.89.0.5", inner)


def test_a_datastorage_of_another_contract_answers_only_at_its_api(monkeypatch: pytest.MonkeyPatch) -> None:
    def get(service: _http.Service, _path: str, _timeout: float) -> _http.Response:
        if service.port == 28100:
            raise _http.HttpRefusedError("no connection")
        return _http.Response(404, {}, b"")

    monkeypatch.setattr(_http.Service, "get", get)
    given = {**{name: option.get("default") for name, option in _ready.DATASTORAGE_PHASE.argument_spec.items()}}
    given |= {**DATASTORAGE, "health_port": 28100, "timeout": 0.0}
    with pytest.raises(PhaseError, match=r"datastorage_port \(18100\), and nothing at .*_health_port \(28100\)") as it:
        _ready.run_datastorage(given, Context())
    assert it.value.cause == "wrong-contract"


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
    return Verdict(last.ready, False, 1.25, 7, [Seen(last.state, last.detail, 0.0, 7)], last)


GATE: dict[str, Any] = {"container": "c", "postgres_user": "slm_user", "postgres_port": 15443, "redis_port": 16389}
GATE |= {"postgres_host": "127.0.0.1"}


class Container(FakePodman):
    """A container with a log that is as ``state`` says, and no other."""

    def __init__(self, **state: Any) -> None:
        super().__init__(Answer(0, "", "line\n" * 99 + "\x1b[31mpanic: " + "x" * 999 + "\x1b[0m\n"))
        self.facts: dict[str, Any] | None = {
            "Id": "1",
            "RestartCount": 0,
            "Name": "c",
            "Config": {"Labels": {}},
            "HostConfig": {"PortBindings": {"5432/tcp": [{"HostIp": "127.0.0.1", "HostPort": "15443"}]}},
            "NetworkSettings": {"Networks": {"net": {"IPAddress": "10.89.0.2"}}},
            "State": {
                "Status": "running",
                "Running": True,
                "Pid": 1,
                "ConmonPid": 0,
                "StartedAt": "then",
                "ExitCode": 0,
                **state,
            },
        }

    def inspect(self, *names: str, kind: str = "all") -> list[dict[str, Any]]:
        self.calls.append(("inspect", *names))
        return [self.facts] if self.facts else []

    def become(self, **state: Any) -> None:
        assert self.facts
        self.facts = {**self.facts, "State": {**self.facts["State"], **state}}


def test_open_gate_returns_its_evidence() -> None:
    result = _ready.conclude("Redis", verdict(Observation(True, "ready", "PONG")), None, GATE)
    assert (result["ready"], result["changed"], result["attempts"], result["elapsed"]) == (True, False, 7, 1.25)
    assert "identity" not in result


def test_gate_does_not_prove_one_stack_while_it_watches_another() -> None:
    watch = _watch.Watch(Container(), "c")
    watch.demand_port("postgres_port", 15443)
    with pytest.raises(PhaseError, match=r"\Apostgres_port: the container c is published on port 15443, not on 31443"):
        watch.demand_port("postgres_port", 31443)


def test_open_gate_says_which_container_answered() -> None:
    watch = _watch.Watch(Container(), "c")
    result = _ready.conclude("Redis", verdict(Observation(True, "ready", "PONG")), watch, GATE)
    assert result["identity"] == {"id": "1", "started_at": "then", "restarts": 0}


@pytest.mark.parametrize(
    ("state", "said", "cause", "advice"),
    [
        ("refused", "nothing listens", "not-listening", "raise stack_patience"),
        ("starting", "the database system is starting up", "slow-start", "raise stack_patience"),
        ("password", 'password authentication failed for user "slm_user"', "postgres-password", "stack_fresh"),
        ("no database", 'database "x" does not exist', "postgres-database", "postgres_database"),
        ("clock", "600 s further back", "clock-skew", "set the clocks right"),
        ("unreachable", "green smoke", "unknown", "read the log lines"),
    ],
)
def test_first_line_of_a_failure_is_cause_and_next_action(state: str, said: str, cause: str, advice: str) -> None:
    with pytest.raises(PhaseError) as failure:
        _ready.conclude("PostgreSQL", verdict(Observation(False, state, said)), None, GATE)
    first = failure.value.message.splitlines()[0]
    assert first.startswith("PostgreSQL is not ready after 1.2 s and 7 attempts: ")
    assert advice in first
    assert failure.value.cause == cause
    assert said in failure.value.message
    assert failure.value.result["ready"] is False
    assert failure.value.result["observations"][0]["detail"] == said


@pytest.mark.parametrize("state", ["refused", "silent", "unreachable"])
def test_what_has_no_container_is_somewhere_else(state: str) -> None:
    said = r"is not reached at 127\.0\.0\.1, port 15443: why; start it, or correct its address \(postgres_external\)"
    with pytest.raises(PhaseError, match=said) as it:
        _ready.conclude("PostgreSQL", verdict(Observation(False, state, "why")), None, {**GATE, "container": ""})
    assert it.value.cause == "outside-away"


def test_what_is_busy_need_not_say_so_every_time() -> None:
    """Redis loads a data set, answers LOADING now and then, and was called silent."""
    seen = [Seen("loading", "Redis is loading its data set", 0.1, 3), Seen("silent", "no answer within 2 s", 0.4, 2)]
    last = Observation(False, "silent", "no answer within 2 s")
    with pytest.raises(PhaseError) as failure:
        _ready.conclude("Redis", Verdict(False, False, 4.0, 5, seen, last), None, GATE)
    assert failure.value.cause == "redis-loading"


def test_gate_finds_the_service_behind_a_dead_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_ready, "Podman", lambda _executable: Container())
    asked: list[tuple[str, int]] = []

    def ask(options: Any, _left: float) -> Observation:
        asked.append((options["postgres_host"], options["postgres_port"]))
        return Observation(options["postgres_host"] == "10.89.0.2", "silent", "no answer")

    options = {**GATE, "postgres_host": "127.0.0.1", "podman": "podman", "timeout": 0.0, "stable_for": 0.0}
    with pytest.raises(PhaseError, match=r"not at the published port 15443: .*podman network reload c`\.") as failure:
        _ready._gate("PostgreSQL", options, Context(), ask)
    assert failure.value.cause == "published-port-dead"
    assert asked == [("127.0.0.1", 15443), ("10.89.0.2", 5432)]


def test_failure_quotes_the_log_within_bounds_and_without_colours() -> None:
    watch = _watch.Watch(Container(), "c")
    with pytest.raises(PhaseError) as failure:
        _ready.conclude("Redis", verdict(Observation(False, "exited", "it exited", final=True)), watch, GATE)
    log = [line[2:] for line in failure.value.message.splitlines() if line.startswith("  ")]
    assert len(log) == _watch.LOG_LINES
    assert log[-1].startswith("panic: x")
    assert len(log[-1]) == _watch.LOG_WIDTH
    assert "\x1b" not in failure.value.message
    assert "Last lines of `podman logs c`:" in failure.value.message


def test_exit_status_is_waited_for() -> None:
    """Podman 4.3 calls a container stopped, with another exit status, until it has tidied up."""
    podman = Container(Pid=2**22 + 1)
    watch = _watch.Watch(podman, "c")
    podman.become(Running=False, Status="stopped", ExitCode=0)
    assert watch(False) is not None
    threading.Timer(0.1, lambda: podman.become(Status="exited", ExitCode=137)).start()
    assert watch.evidence()[2] == 137


def test_first_words_are_older_than_the_start() -> None:
    """What a process says at once is in the log before podman takes the time of its start."""
    podman = Container(Running=False, Status="exited", StartedAt="2026-01-01T00:00:01.010Z")
    _watch.Watch(podman, "c").log()
    assert podman.calls[-1][podman.calls[-1].index("--since") + 1] == "2026-01-01T00:00:00.010000+00:00"


def test_a_log_that_is_written_late_is_waited_for() -> None:
    podman = Container(Running=False, Status="exited")
    full, podman.answer = podman.answer, Answer(0, "", "")
    threading.Timer(0.15, lambda: setattr(podman, "answer", full)).start()
    assert _watch.Watch(podman, "c").log()


def test_old_complaints_of_a_living_container_are_no_cause_of_now() -> None:
    """A gate that met silence was once told that there were too many clients, because there had been."""
    podman = Container(StartedAt="2026-01-01T00:00:01Z")
    watch = _watch.Watch(podman, "c")
    watch.last_words()
    watch.log()
    since = [call[call.index("--since") + 1] for call in podman.calls if call[0] == "logs"]
    assert since[0] > "2026-11"
    assert since[1] == "2026-01-01T00:00:00+00:00"
    podman.become(Running=False, Status="exited", ExitCode=1)
    watch(True)
    watch.last_words()
    assert podman.calls[-1][podman.calls[-1].index("--since") + 1] == "2026-01-01T00:00:00+00:00"


@pytest.mark.parametrize(
    ("state", "line", "final"),
    [
        ("refused", '{"error":"signing certificate not found at /etc/certs/tls.crt"}', True),
        ("refused", '{"error":"failed to ping PostgreSQL: connection refused"}', False),
        ("refused", "", False),
        # What answers is judged by its answer.
        ("status", '{"error":"signing certificate not found at /etc/certs/tls.crt"}', False),
    ],
)
def test_gate_does_not_wait_for_what_the_log_calls_hopeless(
    monkeypatch: pytest.MonkeyPatch, state: str, line: str, final: bool
) -> None:
    class Saying(_watch.Watch):
        def __init__(self) -> None:
            pass

        def last_words(self) -> list[str]:
            return [line]

    monkeypatch.setattr(_ready, "LOG_GAP", 0.0)
    ask = _ready._reading(lambda _options, _left: Observation(False, state, ""), Saying(), _ready.hopeless)
    assert ask({}, 1.0).final is final


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
    podman.become(Running=False, Status="exited", ExitCode=137)
    seen = watch(False)
    assert seen is not None
    assert seen.state == "exited"


@pytest.mark.parametrize(
    ("now", "state", "says"),
    [
        ({"Running": False, "Status": "exited", "ExitCode": 3}, "exited", "exited with status 3"),
        ({"Running": False, "Status": "stopped"}, "exited", "the container c ended"),
        ({"Running": False, "Status": "paused"}, "paused", "is paused"),
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

    def probe(_options: Any, left: float, _write: bool) -> Observation:
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
