# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two answers of a Kubernetes API server that a DataStorage of contract v1 needs, for tokens out of a file.

``python3 -m reference_datastorage.auth_stub --tokens FILE [--host 0.0.0.0] [--port 6443]``

- ``POST /apis/authentication.k8s.io/v1/tokenreviews``: whose token it is.
- ``POST /apis/authorization.k8s.io/v1/subjectaccessreviews``: whether a user may use ``services/data-storage-service``;
  no to anything else.
- ``GET /readyz``: 200 ``ok``.

Questions come in JSON (the reference service) or in protobuf (the real service, through client-go); answers are JSON,
which both take. FILE is JSON::

    {"tokens": {"<token>": {"user": "system:serviceaccount:default:we-ds-client", "allowed": true}}}

``allowed`` is false unless it says true; the tokens of one user must agree. FILE is read again for every question, so a
token can be added or revoked at any time; while it cannot be read, the answer is 500. Tokens are in no log and no
answer.

Plain HTTP without authentication of its own, for a network where every token in FILE may be known to everyone: that of
one test stack, or loopback. It ends with 0 on SIGTERM or SIGINT, and with 1 when FILE cannot be used or the port is
taken.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

RESOURCE, NAME = "services", "data-storage-service"
MAX_BODY = 1024 * 1024  # bytes
TIMEOUT = 30.0  # seconds that a connection may be silent
_MAGIC = b"k8s\0"  # in front of every protobuf message of Kubernetes


class TokensError(Exception):
    """The file cannot be used. The text quotes no token."""


class QuestionError(Exception):
    """A request that is no question this program understands."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """Who has which token, and who may use the service."""

    users: dict[str, str]
    allowed: frozenset[str]


def read_tokens(path: str) -> Tokens:
    """Read the file. Raises TokensError."""
    try:
        with open(path, encoding="utf-8") as file:
            root = json.load(file)
    except OSError as error:
        raise TokensError(f"cannot read {path}: {error.strerror or error}") from None
    except ValueError:
        raise TokensError(f"{path} is not JSON") from None
    entries = root.get("tokens") if isinstance(root, dict) else None
    if not isinstance(entries, dict):
        raise TokensError(f'{path} has no object "tokens"')
    users: dict[str, str] = {}
    answers: dict[str, bool] = {}
    for number, (token, entry) in enumerate(entries.items()):
        user = entry.get("user") if isinstance(entry, dict) else None
        if not token or not isinstance(user, str) or not user:
            raise TokensError(f'{path}: entry {number} of "tokens" has an empty token or no "user"')
        users[token], allowed = user, entry.get("allowed") is True
        if answers.setdefault(user, allowed) != allowed:
            raise TokensError(f"{path}: {user} is both allowed and not allowed")
    return Tokens(users, frozenset(user for user, allowed in answers.items() if allowed))


def token_of(body: bytes) -> str:
    """Return the token that a TokenReview is about. Raises QuestionError."""
    if body.startswith(_MAGIC):
        return _text(_message(_message(_object(body), 2), 1))
    return str(_spec(body).get("token", ""))


def access_of(body: bytes) -> tuple[str, str, str]:
    """Return user, resource and name that a SubjectAccessReview is about. Raises QuestionError."""
    if body.startswith(_MAGIC):
        message = _message(_object(body), 2)
        attributes = _message(message, 1)
        return _text(_message(message, 3)), _text(_message(attributes, 5)), _text(_message(attributes, 7))
    spec = _spec(body)
    found = spec.get("resourceAttributes")
    resource = found if isinstance(found, dict) else {}
    return str(spec.get("user", "")), str(resource.get("resource", "")), str(resource.get("name", ""))


def _spec(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise QuestionError("neither JSON nor protobuf") from None
    spec = value.get("spec") if isinstance(value, dict) else None
    if not isinstance(spec, dict):
        raise QuestionError("no spec")
    return spec


def _object(body: bytes) -> bytes:
    """Return the object inside the envelope that says which kind it is."""
    return _message(body[len(_MAGIC) :], 2)


def _message(data: bytes, wanted: int) -> bytes:
    """Return the bytes of a field that is a message or a text; empty when it is not there, as protobuf has it."""
    found = b""
    for number, value in _fields(data):
        if number == wanted:
            found = value
    return found


def _fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the fields of a protobuf message that have a length; numbers are skipped."""
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        kind = key & 7
        if kind == 0:
            _number, position = _varint(data, position)
        elif kind in (1, 5):
            position += 8 if kind == 1 else 4
        elif kind == 2:
            length, position = _varint(data, position)
            if position + length > len(data):
                raise QuestionError("protobuf that ends too early")
            yield key >> 3, data[position : position + length]
            position += length
        else:
            raise QuestionError("protobuf of an unknown kind")


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(data) and shift < 64:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise QuestionError("protobuf with a broken number")


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise QuestionError("protobuf with a text that is not UTF-8") from None


def review_token(tokens: Tokens, body: bytes) -> dict[str, Any]:
    """Return the answer to a TokenReview. Raises QuestionError."""
    user = tokens.users.get(token_of(body))
    status: dict[str, Any] = {"authenticated": False}
    if user is not None:
        status = {"authenticated": True, "user": {"username": user, "groups": ["system:authenticated"]}}
    return _answer("authentication.k8s.io/v1", "TokenReview", status)


def review_access(tokens: Tokens, body: bytes) -> dict[str, Any]:
    """Return the answer to a SubjectAccessReview. Raises QuestionError."""
    user, resource, name = access_of(body)
    allowed = user in tokens.allowed and (resource, name) == (RESOURCE, NAME)
    return _answer("authorization.k8s.io/v1", "SubjectAccessReview", {"allowed": allowed})


def _answer(version: str, kind: str, status: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"creationTimestamp": None}, "spec": {}, "status": status}


_QUESTIONS = {
    "/apis/authentication.k8s.io/v1/tokenreviews": review_token,
    "/apis/authorization.k8s.io/v1/subjectaccessreviews": review_access,
}


class Stub(ThreadingHTTPServer):
    """The server; one thread per connection, which client-go keeps open."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], tokens_file: str) -> None:
        """Bind the port. Raises OSError."""
        super().__init__(address, _Handler)
        self.tokens_file = tokens_file


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = TIMEOUT
    # An answer is one packet: its head alone would wait 40 ms for the other side's acknowledgement.
    wbufsize = -1
    disable_nagle_algorithm = True
    server: Stub

    def do_GET(self) -> None:
        known = self.path.partition("?")[0] == "/readyz"
        self._send(200 if known else 404, b"ok" if known else b"not found", "text/plain")

    def do_POST(self) -> None:
        question = _QUESTIONS.get(self.path.partition("?")[0])
        length = self.headers.get("Content-Length", "")
        if question is None or not length.isdecimal() or int(length) > MAX_BODY:
            self.close_connection = True  # the body is still to come
            self._fail(404 if question is None else 400, "NotFound" if question is None else "BadRequest", "")
            return
        body = self.rfile.read(int(length))
        try:
            answer = question(read_tokens(self.server.tokens_file), body)
        except TokensError as error:
            self._fail(500, "InternalError", str(error))
        except QuestionError as error:
            self._fail(400, "BadRequest", str(error))
        else:
            self._send(201, json.dumps(answer).encode(), "application/json")

    def _fail(self, status: int, reason: str, message: str) -> None:
        print(f"auth stub: {status} {message}", file=sys.stderr, flush=True)
        body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message}
        self._send(status, json.dumps(body | {"code": status}).encode(), "application/json")

    def _send(self, status: int, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Log no request: there are two or three for each of the service's."""


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT. Return the exit code."""
    parser = argparse.ArgumentParser(prog="auth_stub", description="TokenReview and SubjectAccessReview from a file.")
    parser.add_argument("--tokens", required=True, help="JSON file with the tokens, their users and rights")
    parser.add_argument("--host", default="0.0.0.0", help="address to listen on")  # noqa: S104 - a container's
    parser.add_argument("--port", type=int, default=6443)
    options = parser.parse_args(arguments)
    try:
        read_tokens(options.tokens)
        stub = Stub((options.host, options.port), options.tokens)
    except (TokensError, OSError, OverflowError) as error:
        print(f"auth stub: {error}", file=sys.stderr, flush=True)
        return 1
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: ended.set())
    with stub:
        threading.Thread(target=stub.serve_forever, daemon=True).start()
        print(f"auth stub listening on {options.host}:{stub.server_port}", file=sys.stderr, flush=True)
        ended.wait()
        stub.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
