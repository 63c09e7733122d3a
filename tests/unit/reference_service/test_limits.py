# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one client may take: estimates, budgets, and the server on a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import ssl
import subprocess
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from reference_datastorage import limits
from reference_datastorage.events import parse_json
from reference_datastorage.limits import Budget, RequestLimits, nested_too_deeply, weigh
from reference_datastorage.problems import ProblemError, respond
from reference_datastorage.serving import _listen, make_server

#: Documents that are dense in their own way -> part that is repeated.
SHAPES = {
    "lists": "[]",
    "objects": "{}",
    "objects in objects": '{"a":{}}',
    "nested lists": "[[[[[[[[]]]]]]]]",
    "numbers": "1.5",
    "strings": '"ab"',
    "wide strings": '"\u0101b"',
    "very wide strings": '"\U0001f600b"',
    "an event's members": '{"version":"1.0","event_type":"x","event_data":{"key":1}}',
}


DOCUMENTS = {
    **{name: f"[{','.join([part] * 20_000)}]" for name, part in SHAPES.items()},
    "different numbers": json.dumps(list(range(1000, 30_000))),
    "different strings": json.dumps([f"{number:x}" for number in range(20_000)]),
    "different keys": json.dumps({f"{number:x}": number for number in range(20_000)}),
    "a text that one character makes wide": json.dumps(["\U0001f600" + "a" * 1_000_000], ensure_ascii=False),
}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_estimate_of_memory_is_never_too_low(document: str) -> None:
    body = DOCUMENTS[document].encode()
    tracemalloc.start()
    try:
        value = json.loads(body.decode())
        json.dumps(value, ensure_ascii=False).encode()
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak + len(body) < weigh(body)


def test_what_suites_send_is_far_from_the_limits() -> None:
    event = {"version": "1.0", "event_type": "x" * 40, "event_data": {f"key{number}": "v" * 30 for number in range(20)}}
    body = json.dumps([event] * 5000).encode()
    assert len(body) < limits.MAX_BODY / 2
    assert weigh(body) < limits.MAX_DECODED / 2


@pytest.mark.parametrize(
    ("value", "deep"),
    [
        (1, False),
        ("[[[[", False),
        ({}, False),
        (json.loads("[" * limits.MAX_NESTING + "]" * limits.MAX_NESTING), False),
        (json.loads("[" * (limits.MAX_NESTING + 1) + "]" * (limits.MAX_NESTING + 1)), True),
        (json.loads('{"a":' * 300 + "1" + "}" * 300), True),
        ([1, {"a": [json.loads('[{"b":' * 150 + "1" + "}]" * 150)]}], True),
    ],
)
def test_nesting(value: object, deep: bool) -> None:
    assert nested_too_deeply(value) is deep


@pytest.mark.parametrize("depth", [300, 5_000, 1_000_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_json_that_is_nested_too_deeply_is_refused(depth: int, opening: str, closing: str) -> None:
    with pytest.raises(ProblemError, match="nested too deeply") as caught:
        parse_json((opening * depth + "1" + closing * depth).encode())
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"1e999", "out of range"),
        (b"[-1e400]", "out of range"),
        (b"1" * 5000, "digits"),
        (b'"a\\u0000b"', "U\\+0000"),
        (b'{"a\\\\\\u0000":1}', "U\\+0000"),
        (b'"\\ud800"', "surrogates"),
        (b"[NaN]", "NaN is not JSON"),
        (b"\xff", "decode"),
    ],
)
def test_json_that_no_database_can_hold_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(ProblemError, match=reason) as caught:
        parse_json(body)
    assert caught.value.status == 400


@pytest.mark.parametrize("text", ["a\\u0000", "\\\\u0000"])
def test_a_backslash_in_front_of_u0000_is_text(text: str) -> None:
    assert parse_json(json.dumps(text).encode()) == text


def test_a_budget_makes_others_wait_and_gives_back() -> None:
    async def story() -> list[str]:
        budget, said = Budget(3 * limits.SMALL), []

        async def holder(name: str, size: int) -> None:
            async with budget.hold(size):
                said.append(name)
                await asyncio.sleep(0.01)
                said.append(f"{name} ends")

        tasks = [holder("first", 2 * limits.SMALL), holder("second", 2 * limits.SMALL), holder("small", limits.SMALL)]
        await asyncio.gather(*tasks)
        async with asyncio.timeout(1), budget.hold(99 * limits.SMALL):  # all there are, and they are all back
            said.append("all")
        return said

    said = asyncio.run(story())
    assert said.index("first ends") < said.index("second")
    assert said.index("small") < said.index("first ends")
    assert said[-1] == "all"


# The server on a socket

READ_TIMEOUT = 1
#: Seconds after which something is taken for endless; far more than it should be, since machines are busy.
ENDLESS = 20
WRITE_TIMEOUT = 0.5


async def echo(request: Request) -> Response:
    return JSONResponse({"length": len(await request.body())})


async def unread(_request: Request) -> Response:
    return JSONResponse({})


async def endless(_request: Request) -> Response:
    return Response(b"x" * (64 * limits.MIB))


async def page(_request: Request) -> Response:
    await limits.room_for_page(limits.MAX_DECODED)
    await asyncio.sleep(0.2)
    return JSONResponse({})


class Server(uvicorn.Server):
    """The server with the service's limits and a small application, in a thread."""

    def __init__(self, pair: tuple[Path, Path] | None = None) -> None:
        async def refuse(request: Request, error: Exception) -> Response:
            return respond(request, error)

        self.app = Starlette(
            routes=[
                Route("/echo", echo, methods=["POST", "GET"]),
                Route("/unread", unread, methods=["POST"]),
                Route("/endless", endless),
                Route("/page", page),
            ],
            exception_handlers={ProblemError: refuse},
        )
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        settings = limits.settings(READ_TIMEOUT, WRITE_TIMEOUT)
        if pair:
            settings |= {"ssl_certfile": pair[0], "ssl_keyfile": pair[1]}
        app = RequestLimits(self.app, read_timeout=READ_TIMEOUT)
        super().__init__(uvicorn.Config(app, loop="asyncio", ws="none", lifespan="off", log_config=None, **settings))

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=ENDLESS)

    def connections(self) -> int:
        return len(self.server_state.connections)


def started(server: Server) -> threading.Thread:
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[server.listener])))
    thread.start()
    return thread


def test_with_tls_a_client_that_only_waits_does_not_delay_the_end(tmp_path: Path) -> None:
    """asyncio would wait half a minute for its farewell."""
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x", "-addext"]
    command += ["subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    server = Server((certificate, key))
    thread = started(server)
    trusted = ssl.create_default_context(cafile=certificate)
    with trusted.wrap_socket(server.connect(), server_hostname="127.0.0.1") as client:
        client.sendall(b"GET /echo HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b"200 OK" in client.recv(65536)
        begin, server.should_exit = time.monotonic(), True
        thread.join(ENDLESS)
        assert not thread.is_alive()
        assert time.monotonic() - begin < ENDLESS


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    thread = started(server)
    yield server
    server.should_exit = server.force_exit = True
    thread.join(10)
    assert not thread.is_alive()


@pytest.fixture
def client(server: Server) -> Iterator[socket.socket]:
    with server.connect() as client:
        yield client


def until_closed(client: socket.socket) -> bytes:
    """Return what the server says until it closes the connection."""
    said = b""
    with contextlib.suppress(ConnectionResetError):
        while data := client.recv(65536):
            said += data
    return said


def soon(holds: Callable[[], bool]) -> bool:
    """Wait for a condition, but not for ever."""
    deadline = time.monotonic() + ENDLESS
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.02)
    return holds()


def answer(client: socket.socket) -> tuple[int, str]:
    """Return status and body of one answer, and leave the connection open."""
    response = http.client.HTTPResponse(client)
    response.begin()
    return response.status, response.read().decode()


def ended_after(client: socket.socket) -> tuple[float, bytes]:
    """Return the seconds until the server closes the connection, and what it said."""
    begin = time.monotonic()
    said = until_closed(client)
    return time.monotonic() - begin, said


def test_a_request_is_answered_and_the_connection_reused(client: socket.socket) -> None:
    for _again in range(3):
        client.sendall(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello")
        assert answer(client) == (200, '{"length":5}')
        time.sleep(0.4)


def test_who_says_nothing_is_not_waited_for(client: socket.socket) -> None:
    seconds, said = ended_after(client)
    assert said == b""
    assert 0.8 * READ_TIMEOUT < seconds < ENDLESS


@pytest.mark.parametrize("first", [b"", b"GET /echo HTTP/1.1\r\nhost: x\r\n\r\n"])
def test_a_head_that_drips_in_is_answered_with_408(client: socket.socket, first: bytes) -> None:
    """Also on a connection that has had an answer: every piece would begin uvicorn's own wait anew."""
    client.sendall(first)
    if first:
        assert answer(client)[0] == 200
    client.settimeout(0.2)
    said = b""
    for piece in b"GET /echo HTTP/1.1\r\nx-slow: " + b"a" * 100:
        try:
            client.sendall(bytes([piece]))
            said += client.recv(65536)
        except TimeoutError:
            continue
        if said:
            break
    assert said.startswith(b"HTTP/1.1 408 ")


def test_an_idle_connection_is_closed(client: socket.socket) -> None:
    client.sendall(b"GET /echo HTTP/1.1\r\nhost: x\r\n\r\n")
    seconds, said = ended_after(client)
    assert b"200 OK" in said
    assert seconds < ENDLESS


def test_a_body_that_drips_in_is_answered_with_408(client: socket.socket) -> None:
    client.sendall(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n")
    begin, said = time.monotonic(), b""
    client.settimeout(0.2)
    while time.monotonic() < begin + ENDLESS and not said:
        with contextlib.suppress(TimeoutError):
            client.sendall(b"x")
            said = client.recv(65536)
    client.settimeout(ENDLESS)
    said += until_closed(client)  # the body may come in a piece of its own
    assert said.startswith(b"HTTP/1.1 408 ")
    assert b"request body did not arrive in time" in said


@pytest.mark.parametrize("path", ["/echo", "/unread"])
def test_who_sends_on_after_the_answer_is_cut_off(client: socket.socket, monkeypatch: Any, path: str) -> None:
    monkeypatch.setattr(limits, "LINGER", 0.5)
    begin = time.monotonic()
    client.sendall(f"POST {path} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".encode())
    with contextlib.suppress(ConnectionError):
        while time.monotonic() < begin + ENDLESS:
            client.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
    assert time.monotonic() - begin < ENDLESS


@pytest.mark.parametrize("how", ["content-length: 16777217", "transfer-encoding: chunked", "expect: 100-continue"])
def test_a_body_that_is_too_large_is_refused_before_it_is_all_there(client: socket.socket, how: str) -> None:
    length = "\r\ncontent-length: 99999999999" if how.startswith("expect") else ""
    client.sendall(f"POST /echo HTTP/1.1\r\nhost: x\r\n{how}{length}\r\n\r\n".encode())
    if "chunked" in how:
        for _piece in range(17):
            client.sendall(b"100000\r\n" + b"x" * 0x100000 + b"\r\n")
    status, body = answer(client)
    assert (status, json.loads(body)["type"]) == (413, "https://kubernaut.ai/problems/request-too-large")


def test_a_body_that_would_take_too_much_memory_is_refused(client: socket.socket) -> None:
    body = b"[" * 6 * limits.MIB
    client.sendall(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
    status, problem = answer(client)
    assert status == 413
    assert "once it is decoded" in problem


@pytest.mark.parametrize("head", [b"x-large: " + b"a" * 100_000, b"a" * 100_000, b"x: y\r\n" * 20_000])
def test_a_head_that_is_too_large_is_refused(client: socket.socket, head: bytes) -> None:
    with contextlib.suppress(ConnectionError):
        client.sendall(b"GET /echo HTTP/1.1\r\nhost: x\r\n" + head)
    assert until_closed(client)[:13] in (b"HTTP/1.1 400 ", b"")


def test_who_does_not_read_the_answer_is_cut_off(server: Server) -> None:
    assert soon(lambda: server.connections() == 0)
    with server.connect() as client:
        client.sendall(b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n")
        assert soon(lambda: server.connections() == 1)
        time.sleep(0.1)
        (protocol,) = server.server_state.connections
        assert protocol.transport.get_write_buffer_size() < 4 * limits.SMALL
        begin = time.monotonic()
        assert soon(lambda: server.connections() == 0)
        assert time.monotonic() - begin > WRITE_TIMEOUT / 2


def test_more_connections_than_there_may_be(server: Server, monkeypatch: Any) -> None:
    monkeypatch.setattr(limits, "MAX_CONNECTIONS", 5)
    monkeypatch.setattr(server.config, "limit_concurrency", 5)
    assert soon(lambda: server.connections() == 0)
    with contextlib.ExitStack() as opened:
        clients = [opened.enter_context(server.connect()) for _number in range(10)]
        assert soon(lambda: server.connections() == 10)
        clients[-1].sendall(b"GET /echo HTTP/1.1\r\nhost: x\r\n\r\n")
        assert answer(clients[-1])[0] == 503
        assert until_closed(opened.enter_context(server.connect())) == b""
    assert soon(lambda: server.connections() == 0)
    with server.connect() as client:
        client.sendall(b"GET /echo HTTP/1.1\r\nhost: x\r\n\r\n")
        assert answer(client)[0] == 200


def test_many_large_bodies_wait_for_room(server: Server, monkeypatch: Any) -> None:
    """Four bodies where there is room for one at a time: each is answered, none is refused."""
    monkeypatch.setattr(server.config.app, "_buffered", Budget(limits.MIB))
    answers: list[int] = []

    def post() -> None:
        with server.connect() as client:
            client.sendall(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % limits.MIB)
            client.sendall(b"x" * limits.MIB)
            answers.append(answer(client)[0])

    threads = [threading.Thread(target=post) for _number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert answers == [200] * 4


def test_pages_that_take_all_the_memory_are_answered_one_after_the_other(server: Server) -> None:
    ends: list[float] = []

    def get() -> None:
        with server.connect() as client:
            client.sendall(b"GET /page HTTP/1.1\r\nhost: x\r\n\r\n")
            assert answer(client)[0] == 200
            ends.append(time.monotonic())

    threads = [threading.Thread(target=get) for _number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(ends) == 3
    assert max(ends) - min(ends) > 0.35


def test_a_large_answer_arrives_as_it_was(client: socket.socket) -> None:
    client.sendall(b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n")
    assert answer(client) == (200, "x" * (64 * limits.MIB))


def test_who_finds_no_room_in_time_is_told_that_it_is_the_service(server: Server, monkeypatch: Any) -> None:
    budget = Budget(limits.MIB)
    monkeypatch.setattr(server.config.app, "_buffered", budget)
    with server.connect() as first, server.connect() as second:
        head = b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % limits.MIB
        monkeypatch.setattr(server.config.app, "_read_timeout", 5)
        first.sendall(head + b"x")
        time.sleep(0.2)
        monkeypatch.setattr(server.config.app, "_read_timeout", 0.5)
        second.sendall(head + b"x" * limits.MIB)
        status, problem = answer(second)
        assert (status, json.loads(problem)["type"]) == (503, "https://kubernaut.ai/problems/service-busy")
        first.sendall(b"x" * (limits.MIB - 1))
        assert answer(first)[0] == 200


def test_a_connection_does_not_hold_back_the_second_part_of_an_answer() -> None:
    """Seen with the listener's default: 40 ms for every request on a connection that had been used."""
    with _listen(0) as listener, socket.create_connection(("127.0.0.1", listener.getsockname()[1])):
        accepted, _address = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


def test_every_server_has_the_limits() -> None:
    async def app(_scope: object, _receive: object, _send: object) -> None:
        """Answer nothing."""

    config = make_server(app, 5.0, 7.0).config
    assert isinstance(config.http, type)
    assert issubclass(config.http, limits.BoundedProtocol)
    assert (config.http.write_timeout, config.timeout_keep_alive) == (7.0, 5)
    assert (config.limit_concurrency, config.h11_max_incomplete_event_size) == (limits.MAX_CONNECTIONS, limits.MAX_HEAD)
