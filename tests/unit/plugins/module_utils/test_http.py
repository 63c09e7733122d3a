# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The HTTP client, against a server in this process that answers what a case wants, byte by byte."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.kubernaut.integration.plugins.module_utils import _http
from ansible_collections.kubernaut.integration.plugins.module_utils._access import make_pair
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import PhaseError

HOST = "127.0.0.1"


@contextmanager
def serving(answer: Callable[[socket.socket, bytes], None]) -> Iterator[int]:
    """Serve one connection: read the request's head and give it to ``answer``; yield the port."""
    listener = socket.create_server((HOST, 0))

    def serve() -> None:
        connection, _peer = listener.accept()
        with connection:
            connection.settimeout(5)
            request = b""
            while b"\r\n\r\n" not in request:
                request += connection.recv(65536)
            answer(connection, request)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        thread.join(5)
        listener.close()
        assert not thread.is_alive()


def bytes_of(*lines: str, body: bytes = b"") -> Callable[[socket.socket, bytes], None]:
    """Answer with these head lines and this body."""
    return lambda connection, _request: connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)


def test_status_headers_and_body_come_back() -> None:
    answer = bytes_of("HTTP/1.1 503 Unavailable", "X-Thing: Value", "Content-Length: 10", body=b'{"a": "b"}')
    with serving(answer) as port:
        response = _http.Service(HOST, port).get("/health", 5)
    assert (response.status, response.headers["x-thing"], response.json()) == (503, "Value", {"a": "b"})


@pytest.mark.parametrize(
    "head",
    [("HTTP/1.1 200 OK",), ("HTTP/1.0 200 OK", "Connection: close"), ("HTTP/1.1 200 OK", "Transfer-Encoding: chunked")],
    ids=["until the end", "1.0", "chunked"],
)
def test_every_framing_is_read(head: tuple[str, ...]) -> None:
    body = b"5\r\nhello\r\n0\r\n\r\n" if "chunked" in head[-1] else b"hello"
    with serving(bytes_of(*head, body=body)) as port:
        assert _http.Service(HOST, port).get("/", 5).body == b"hello"


def test_post_sends_json_in_utf8() -> None:
    seen: list[bytes] = []

    def answer(connection: socket.socket, request: bytes) -> None:
        while not request.endswith(b"]"):
            request += connection.recv(65536)
        seen.append(request)
        bytes_of("HTTP/1.1 201 Created", "Content-Length: 0")(connection, request)

    with serving(answer) as port:
        assert _http.Service(HOST, port).post_json("/batch", [{"note": "größer"}], 5).status == 201
    head, body = seen[0].split(b"\r\n\r\n")
    assert head.startswith(b"POST /batch HTTP/1.1\r\n")
    assert b"Content-Type: application/json" in head
    assert body == '[{"note": "größer"}]'.encode()


def test_proxies_are_never_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    with serving(bytes_of("HTTP/1.1 200 OK", "Content-Length: 0")) as port:
        assert _http.Service(HOST, port).get("/", 5).status == 200


def test_nobody_listens() -> None:
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(_http.HttpRefusedError, match="Connection refused"):
        _http.Service(HOST, port).get("/", 1)


def test_silence_is_a_timeout() -> None:
    with serving(lambda _connection, _request: time.sleep(0.4)) as port, pytest.raises(_http.HttpTimeoutError):
        _http.Service(HOST, port).get("/", 0.1)


def test_a_dripping_body_meets_the_deadline() -> None:
    def drip(connection: socket.socket, _request: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _again in range(20):
            try:
                connection.sendall(b"x")
            except OSError:
                return
            time.sleep(0.05)

    begin = time.monotonic()
    with serving(drip) as port:
        with pytest.raises(_http.HttpTimeoutError):
            _http.Service(HOST, port).get("/", 0.3)
        assert time.monotonic() - begin < 0.8


@pytest.mark.parametrize(
    "answer",
    [
        bytes_of("+PONG"),
        bytes_of("HTTP/1.1 200 OK", "Content-Length: 10", body=b"short"),
        bytes_of("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", body=b"5\r\nhel"),
        lambda _connection, _request: None,
    ],
    ids=["not HTTP", "cut body", "cut chunk", "hangs up"],
)
def test_broken_answers_are_named(answer: Callable[[socket.socket, bytes], None]) -> None:
    with serving(answer) as port, pytest.raises(_http.HttpBrokenError):
        _http.Service(HOST, port).get("/", 5)


def test_an_endless_body_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_http, "BODY_LIMIT", 1000)
    with (
        serving(bytes_of("HTTP/1.1 200 OK", body=b"x" * 1001)) as port,
        pytest.raises(_http.HttpBrokenError, match="longer than 1000 bytes"),
    ):
        _http.Service(HOST, port).get("/", 5)


def test_a_body_that_is_not_json_is_quoted_shortly() -> None:
    with pytest.raises(_http.HttpBrokenError, match=r"status 502 .* <html> x"):
        _http.Response(502, {}, b"<html>\n" + b"x" * 9000).json()


@pytest.mark.parametrize(
    ("body", "text"),
    [(b"a\n b\tc", "a b c"), (b"\x1b[31mred", "?[31mred"), (b"123456789", "12345678..."), (b"\xff", "\ufffd")],
)
def test_text_is_one_bounded_printable_line(body: bytes, text: str) -> None:
    assert _http.Response(200, {}, body).text(8) == text


@contextmanager
def serving_tls(directory: Path, *names: str) -> Iterator[tuple[int, str]]:
    """Serve over TLS with a certificate for ``names``; yield the port and the certificate's file."""
    for name, text in make_pair("x", names).items():
        (directory / name).write_text(text)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_given: Any) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "tls.crt", directory / "tls.key")
    with HTTPServer((HOST, 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server.server_port, str(directory / "tls.crt")
        finally:
            server.shutdown()
            thread.join()


def tls(file: str = "") -> ssl.SSLContext | None:
    return _http.trust({"datastorage_tls": True, "datastorage_ca_file": file})


def test_tls_with_whom_is_trusted_only(tmp_path: Path) -> None:
    with serving_tls(tmp_path, "IP:" + HOST) as (port, file):
        assert _http.Service(HOST, port, tls=tls(file)).get("/", 5).status == 200
        with pytest.raises(_http.HttpTlsError, match=rf"^no TLS with {HOST}:{port}: self[ -]signed certificate"):
            _http.Service(HOST, port, tls=tls()).get("/", 5)
        with pytest.raises(_http.HttpTlsError, match="localhost"):
            _http.Service("localhost", port, tls=tls(file)).get("/", 5)


def test_tls_with_a_service_that_speaks_none() -> None:
    with socket.create_server((HOST, 0)) as listener:

        def refuse() -> None:
            connection, _peer = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=refuse)
        thread.start()
        with pytest.raises(_http.HttpTlsError, match=r"no TLS with .*: wrong version number"):
            _http.Service(HOST, listener.getsockname()[1], tls=tls()).get("/", 5)
        thread.join()


def test_file_with_no_certificate_is_refused(tmp_path: Path) -> None:
    assert _http.trust({"datastorage_tls": False, "datastorage_ca_file": "/nowhere"}) is None
    with pytest.raises(PhaseError, match=r"^datastorage_ca_file: /nowhere: No such file or directory; name a PEM file"):
        tls("/nowhere")
    (tmp_path / "x").write_text("x")
    with pytest.raises(PhaseError, match=r"^datastorage_ca_file: .*: there is no certificate in it; name a PEM file"):
        tls(str(tmp_path / "x"))


def test_an_end_before_there_is_tls_may_pass() -> None:
    """A forwarder's port takes connections before anybody listens behind it."""
    with socket.create_server((HOST, 0)) as listener:

        def hang_up() -> None:
            connection, _peer = listener.accept()
            connection.recv(65536)
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(_http.HttpBrokenError, match="ended before there was TLS"):
            _http.Service(HOST, listener.getsockname()[1], tls=tls()).get("/", 5)
        thread.join()
