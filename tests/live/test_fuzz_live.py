# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reference service's API under requests that nobody would send, on a real PostgreSQL and a real Redis.

Bounded in number, and the same requests every time. No answer is an error of the server that the contract does not
name, whatever was accepted can be read back, and afterwards the service is what it was.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import redis
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from psycopg import sql

from ansible_collections.kubernaut.integration.plugins.module_utils import _template
from ansible_collections.kubernaut.integration.tests.live.playing import ROOT, Stack

EVENTS = "/api/v1/audit/events"
BATCH = f"{EVENTS}/batch"
STREAM = "audit:dlq:events"
#: Requests of each kind.
EXAMPLES = 60
#: Bytes that the process may take after the small requests, with 50 to 60 MiB at first, and after the largest.
LARGEST = 128 * 1024 * 1024
MOST = 320 * 1024 * 1024
FUZZ = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)


class Service:
    """The reference service as a process, on a database of its own."""

    def __init__(self, home: Path, database: dict[str, Any], redis_addr: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
        self.config = {
            "server": {"port": self.port, "read_timeout": "5s", "write_timeout": "5s"},
            "database": {
                "host": database["host"],
                "port": database["port"],
                "name": database["dbname"],
                "user": database["user"],
                "ssl_mode": "disable",
                "secretsFile": str(home / "db-secrets.yaml"),
                "passwordKey": "password",
            },
            "redis": {
                "addr": redis_addr,
                "secretsFile": str(home / "redis-secrets.yaml"),
                "passwordKey": "password",
            },
        }
        (home / "config.yaml").write_text(yaml.safe_dump(self.config))
        (home / "db-secrets.yaml").write_text(json.dumps({"password": database["password"]}))
        (home / "redis-secrets.yaml").write_text('password: ""\n')
        self.log = home / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "reference_datastorage"],
                env={
                    **os.environ,
                    "CONFIG_PATH": str(home / "config.yaml"),
                    "PYTHONPATH": str(ROOT / "roles/images/files/datastorage"),
                    # A stop waits 5 s for a load balancer, and there is none.
                    "SHUTDOWN_TIMEOUT": "1s",
                },
                stdout=log,
                stderr=log,
            )
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30, trust_env=False)
        self.accepted = 0

    def until_ready(self) -> None:
        """Wait for the service, 10 seconds at most."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.ConnectError):
                if self.client.get("/health/ready").status_code == 200:
                    return
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.05)
        raise AssertionError(self.log.read_text())

    def stop(self) -> None:
        """Stop it as podman does."""
        self.client.close()
        self.process.terminate()
        self.process.wait(20)

    @property
    def memory(self) -> int:
        """Bytes that the process has in memory."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def post(self, path: str, body: bytes, content_type: str = "application/json") -> httpx.Response:
        """Post a body, and demand an answer as the contract has them."""
        answer = self.client.post(path, content=body, headers={"content-type": content_type})
        if answer.status_code == 201:
            self.accepted += len(answer.json()["event_ids"]) if path == BATCH else 1
        elif answer.status_code != 202:
            problem = answer.json()
            assert answer.headers["content-type"] == "application/problem+json"
            # What is told of a single event has no instance.
            assert (problem["status"], problem.get("instance", path)) == (answer.status_code, path)
        return answer


@pytest.fixture(scope="module")
def service(live: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service on the live stack's PostgreSQL and Redis; what it leaves there is removed."""
    env = live.env
    server = {
        "host": env["POSTGRES_HOST"],
        "port": int(env["POSTGRES_PORT"]),
        "user": env["POSTGRES_USER"],
        "password": env["POSTGRES_PASSWORD"],
    }
    name, template = (sql.Identifier(text) for text in ("fuzz", _template.names(env["POSTGRES_DB"]).template))
    with (
        psycopg.connect(**server, dbname="postgres", autocommit=True) as admin,
        redis.Redis(host=env["REDIS_HOST"], port=int(env["REDIS_PORT"])) as queue,
    ):
        before = queue.xlen(STREAM)
        admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(name, template))
        home = tmp_path_factory.mktemp("fuzz")
        service = Service(home, {**server, "dbname": "fuzz"}, env["REDIS_ADDR"])
        try:
            service.until_ready()
            yield service
        finally:
            service.stop()
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))
            queue.xtrim(STREAM, maxlen=before, approximate=False)


def event(**changes: Any) -> dict[str, Any]:
    """Return an event that is accepted."""
    return {
        "version": "1.0",
        "event_type": "workflow.started",
        "event_timestamp": datetime.now(UTC).isoformat(),
        "event_category": "workflow",
        "event_action": "started",
        "event_outcome": "success",
        "correlation_id": "fuzz",
        "event_data": {},
        **changes,
    }


# Half of a surrogate pair, U+0000 and the like are texts here: JSON can carry them.
TEXTS = st.one_of(
    st.text(max_size=20),
    st.text(alphabet=st.characters(codec=None), max_size=5),
    st.sampled_from(["", "\0", "\ud800", "x" * 300, "\U0001f600" * 120, "%00", "' OR 1=1 --", "\u202e", "null"]),
    st.uuids().map(str),
)
NUMBERS = st.one_of(
    st.integers(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([2**31, 2**63, 10**400, 5e-324, 1e308, -0.0]),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=8,
)
MOMENTS = st.one_of(
    st.timedeltas(timedelta(days=-8), timedelta(hours=1)).map(lambda away: (datetime.now(UTC) + away).isoformat()),
    st.sampled_from(
        ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-02-30T00:00:00Z", "2026-12-31T23:59:60Z"]
    ),
    st.datetimes().map(lambda moment: moment.isoformat() + "Z"),
)
FIELDS = [
    *event(), "actor_type", "actor_id", "resource_type", "resource_id", "parent_event_id", "namespace", "cluster_name",
    "severity", "duration_ms", "unknown",
]  # fmt: skip
#: Events with some fields changed, most of them in a way that the schema allows.
CHANGED = st.fixed_dictionaries(
    {},
    optional={
        "event_data": st.dictionaries(TEXTS, VALUES, max_size=5),
        "event_timestamp": MOMENTS,
        "correlation_id": TEXTS,
        "version": st.text(max_size=20),
        "duration_ms": st.integers(),
        **dict.fromkeys(("event_type", "event_action", "actor_id", "resource_type", "namespace", "severity"), TEXTS),
        "parent_event_id": st.one_of(st.none(), st.uuids().map(str), TEXTS),
    },
)
ANY = st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=3)
ALMOST_EVENTS = st.one_of(CHANGED, ANY).map(lambda changes: event(**changes))
PARAMETERS = [
    "correlation_id", "event_type", "event_category", "event_outcome", "severity", "since", "until", "limit", "offset",
    "unknown",
]  # fmt: skip
#: JSON that no library writes, and what is no JSON.
RAW = st.one_of(
    st.binary(max_size=200),
    VALUES.map(lambda value: json.dumps(value).encode()),
    st.builds(
        lambda head, size, tail: (head * size + "1" + tail * size).encode(),
        *(st.just("["), st.sampled_from([10, 150, 198, 199, 201, 990, 1000, 100_000]), st.just("]")),
    ),
    st.builds(
        lambda number: json.dumps(event(event_data={"n": "@"})).replace('"@"', number).encode(),
        st.sampled_from(["1e999", "-1e400", "0" * 50, "1" * 4000, "1" * 5000, "1e-400", "NaN", "1.5E+3", "01", "1."]),
    ),
    st.builds(
        lambda size: json.dumps(event(event_data={"n": "@"})).replace('"@"', "[" * size + "]" * size).encode(),
        st.sampled_from([100, 195, 196, 197, 198, 199, 300, 900, 980]),
    ),
)


@FUZZ
@given(almost=ALMOST_EVENTS)
def test_single_events(service: Service, almost: dict[str, Any]) -> None:
    answer = service.post(EVENTS, json.dumps(almost).encode())
    assert answer.status_code in (201, 202, 400), answer.text


@FUZZ
@given(almost=st.lists(ALMOST_EVENTS, max_size=4))
def test_batches(service: Service, almost: list[dict[str, Any]]) -> None:
    """A 500 is the contract's own, and only where PostgreSQL refuses one of the events by itself, too."""
    answer = service.post(BATCH, json.dumps(almost).encode())
    assert answer.status_code in (201, 400, 500), answer.text
    if answer.status_code == 500:
        assert answer.json()["type"] == "https://kubernaut.ai/problems/database-error"
        alone = [service.post(BATCH, json.dumps([one]).encode()).status_code for one in almost]
        assert 500 in alone
        # Without a parent, which the batch does not look for.
        orphans = [{**one, "parent_event_id": None} for one in almost]
        assert 202 in [service.post(EVENTS, json.dumps(one).encode()).status_code for one in orphans]


@FUZZ
@given(
    body=RAW,
    path=st.sampled_from([EVENTS, BATCH]),
    content_type=st.sampled_from(["application/json", "application/json; charset=utf-16", "text/plain", ""]),
)
def test_bodies_that_are_no_events(service: Service, body: bytes, path: str, content_type: str) -> None:
    assert service.post(path, body, content_type).status_code in (201, 202, 400)


@FUZZ
@given(
    parameters=st.dictionaries(
        st.sampled_from(PARAMETERS),
        st.one_of(
            TEXTS.map(lambda text: text.encode(errors="surrogatepass").decode(errors="replace")),
            st.integers(-5, 2000).map(str),
            st.integers().map(str),
            MOMENTS,
            st.builds("{}{}".format, st.integers(0, 10**12), st.sampled_from(["d", "h", "m", "ns", "y"])),
        ),
        max_size=4,
    ),
)
@example(parameters={"since": "0001-01-01T00:00:00+23:59"})
@example(parameters={"until": "2026-11-23T10:00:00+20:00"})
@example(parameters={"event_type": "\0"})
def test_queries(service: Service, parameters: dict[str, str]) -> None:
    answer = service.client.get(EVENTS, params=parameters)
    assert answer.status_code in (200, 400), answer.text
    if answer.status_code == 200:
        assert sorted(answer.json()) == ["data", "pagination"]


@FUZZ
@given(
    method=st.sampled_from(["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"]),
    path=st.sampled_from(["/", EVENTS, BATCH, "/health", "/health/ready", "/metrics", "/api/v1/audit/%2e%2e/x", "//x"]),
    headers=st.dictionaries(
        st.sampled_from(["content-type", "origin", "access-control-request-method", "range", "expect", "upgrade"]),
        st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), max_size=10),
        max_size=3,
    ),
)
def test_methods_paths_and_headers(service: Service, method: str, path: str, headers: dict[str, str]) -> None:
    answer = service.client.request(method, path, headers=headers)
    assert answer.status_code < 500, answer.text


@FUZZ
@given(
    start=st.sampled_from([b"", b"GET / HTTP/1.1\r\n", b"POST " + EVENTS.encode() + b" HTTP/1.1\r\nhost: x\r\n"]),
    rest=st.one_of(
        st.binary(max_size=60),
        st.sampled_from(
            [
                b"content-length: -1\r\n\r\n",
                b"content-length: 5\r\ncontent-length: 6\r\n\r\nhello",
                b"content-length: 99999999999999999999999\r\ncontent-type: application/json\r\n\r\n",
                b"transfer-encoding: chunked\r\ncontent-type: application/json\r\n\r\nzz\r\n",
                b"transfer-encoding: chunked\r\ncontent-length: 3\r\ncontent-type: application/json\r\n\r\n0\r\n\r\n",
                b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
                b"content-type: application/json\r\ncontent-length: 10\r\n\r\n{}",
                b"upgrade: websocket\r\nconnection: upgrade\r\n\r\n",
            ]
        ),
    ),
)
def test_what_is_no_http(service: Service, start: bytes, rest: bytes) -> None:
    """Each on a connection of its own that the client ends; whatever is answered is no error of the server."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as client:
        said = b""
        with contextlib.suppress(ConnectionError):
            client.sendall(start + rest)
            client.shutdown(socket.SHUT_WR)
            while data := client.recv(65536):
                said += data
    # A transfer coding that a server does not know is 501 by HTTP itself.
    assert not said.startswith(b"HTTP/1.1 5") or said.startswith(b"HTTP/1.1 501 "), said


def test_everything_that_was_accepted_can_be_read(service: Service) -> None:
    """A row that cannot be rendered would spoil every page that it is on."""
    read = 0
    while True:
        answer = service.client.get(EVENTS, params={"limit": 100, "offset": read})
        assert answer.status_code == 200, answer.text
        page = answer.json()
        read += len(page["data"])
        if not page["pagination"]["has_more"]:
            break
    assert read == page["pagination"]["total"] == service.accepted
    assert read > EXAMPLES / 5


def test_the_service_is_what_it_was(service: Service) -> None:
    assert service.process.poll() is None
    assert service.client.get("/health").json() == {"status": "healthy", "database": "connected"}
    batch = [event(correlation_id=str(uuid.uuid4())) for _number in range(7)]
    answer = service.post(BATCH, json.dumps(batch).encode())
    assert (answer.status_code, len(answer.json()["event_ids"])) == (201, 7)
    begin = time.monotonic()
    for _again in range(20):
        assert service.client.get("/health/live").status_code == 200
    assert time.monotonic() - begin < 0.5  # an answer that waits for an acknowledgement takes 40 ms each
    assert service.memory < LARGEST
    assert "Traceback" not in service.log.read_text()


def test_events_as_large_as_they_may_be(service: Service) -> None:
    """One can always be read back, and a page of several is refused before it is in memory."""
    wide = "\U0001f600" + "x" * 10_000_000
    for _number in range(2):
        body = json.dumps(event(correlation_id="large", event_data={"text": wide}), ensure_ascii=False).encode()
        assert service.post(EVENTS, body).status_code == 201
    one = service.client.get(EVENTS, params={"correlation_id": "large", "limit": 1})
    assert one.json()["data"][0]["event_data"] == {"text": wide}
    both = service.client.get(EVENTS, params={"correlation_id": "large", "limit": 2})
    assert (both.status_code, both.json()["type"]) == (413, "https://kubernaut.ai/problems/response-too-large")
    dense = json.dumps(event(event_data={"list": [[]] * 2_000_000})).encode()
    assert service.post(EVENTS, dense).status_code == 413
    assert service.client.get("/health").status_code == 200
    assert service.memory < MOST
