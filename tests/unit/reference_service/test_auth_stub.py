# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stub of an API server, asked in both encodings and by the reference service's own client."""

from __future__ import annotations

import http.client
import json
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reference_datastorage.auth_stub import QuestionError, Stub, TokensError, access_of, main, read_tokens, token_of
from reference_datastorage.v1.kube import ACCESS_REVIEWS, TOKEN_REVIEWS, Cluster, ClusterReviewer, ReviewError, Verdict

ALLOWED = "system:serviceaccount:default:we-ds-client"
TOKENS = {
    "good": {"user": ALLOWED, "allowed": True},
    "also-good": {"user": ALLOWED, "allowed": True},
    "weak": {"user": "bob"},
}


def varint(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def field(number: int, value: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(value)) + value


def protobuf(kind: str, spec: bytes) -> bytes:
    """Return an object as client-go sends it: an envelope with the kind, then the object in field 2."""
    meta = field(1, field(1, b"")) + field(2, spec)
    return (
        b"k8s\0" + field(1, field(1, b"v1") + field(2, kind.encode())) + field(2, meta) + field(3, b"") + field(4, b"")
    )


def token_review(token: str) -> bytes:
    return protobuf("TokenReview", field(1, token.encode()))


def access_review(user: str, name: str = "data-storage-service") -> bytes:
    # Numbers of either size in front, which must be stepped over.
    resource = b"".join(
        field(number, value.encode()) for number, value in ((1, "default"), (2, "get"), (5, "services"), (7, name))
    )
    numbers = varint(9 << 3) + varint(300) + varint(10 << 3 | 5) + b"1234" + varint(11 << 3 | 1) + b"12345678"
    return protobuf("SubjectAccessReview", numbers + field(1, resource) + field(3, user.encode()))


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    path = tmp_path / "tokens.json"
    path.write_text(json.dumps({"tokens": TOKENS}))
    return path


@pytest.fixture
def stub(tokens: Path) -> Iterator[Stub]:
    with Stub(("127.0.0.1", 0), str(tokens)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(stub: Stub, path: str, body: bytes | None = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", stub.server_port, timeout=10)
    connection.request("GET" if body is None else "POST", path, body)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, json.loads(content) if content.startswith(b"{") else content


def reviewer(stub: Stub) -> ClusterReviewer:
    return ClusterReviewer(Cluster("127.0.0.1", stub.server_port, "", None, "own"), "default")


@pytest.mark.parametrize(
    ("token", "verdict"),
    [
        ("good", Verdict(ALLOWED, allowed=True)),
        ("also-good", Verdict(ALLOWED, allowed=True)),
        ("weak", Verdict("bob", allowed=False)),
        ("bad", Verdict(None, allowed=False)),
    ],
)
def test_the_services_own_questions(stub: Stub, token: str, verdict: Verdict) -> None:
    assert reviewer(stub).review(token, ("get", "create")) == verdict


def test_questions_in_protobuf(stub: Stub) -> None:
    status, answer = ask(stub, f"{TOKEN_REVIEWS}?timeout=30s", token_review("good"))
    assert (status, answer["kind"], answer["status"]["user"]["username"]) == (201, "TokenReview", ALLOWED)
    assert ask(stub, TOKEN_REVIEWS, token_review("x" * 300))[1]["status"] == {"authenticated": False}
    assert ask(stub, ACCESS_REVIEWS, access_review(ALLOWED))[1]["status"] == {"allowed": True}
    assert ask(stub, ACCESS_REVIEWS, access_review("bob"))[1]["status"] == {"allowed": False}
    assert ask(stub, ACCESS_REVIEWS, access_review(ALLOWED, "secrets"))[1]["status"] == {"allowed": False}


def test_a_token_is_read_from_both_encodings() -> None:
    assert token_of(token_review("t" * 1000)) == "t" * 1000
    assert token_of(b'{"spec": {"token": "t"}}') == "t"
    assert access_of(access_review("u")) == ("u", "services", "data-storage-service")
    assert access_of(b'{"spec": {"user": "u"}}') == ("u", "", "")


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b"k8s\0\xff", b"k8s\0\x12\x7f", b"k8s\0\x13", b"k8s\0" + b"\xff" * 20, b"{" * 100_000],
)
def test_what_is_no_question(stub: Stub, body: bytes) -> None:
    with pytest.raises(QuestionError):
        access_of(body) if not body.startswith(b"k8s\0") else (access_of(body), token_of(b""))
    assert ask(stub, TOKEN_REVIEWS, body)[0] in (201, 400)


def test_other_paths(stub: Stub) -> None:
    assert ask(stub, "/readyz") == (200, b"ok")
    assert ask(stub, "/version")[0] == 404
    assert ask(stub, "/api/v1/namespaces", b"{}")[0] == 404


def test_a_token_can_be_revoked_and_a_broken_file_is_no_no(stub: Stub, tokens: Path) -> None:
    assert reviewer(stub).review("good", ()).user == ALLOWED
    tokens.write_text('{"tokens": {}}')
    assert reviewer(stub).review("good", ()).user is None
    tokens.write_text("{")
    with pytest.raises(ReviewError, match="answers 500"):
        reviewer(stub).review("good", ())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "is not JSON"),
        ("[]", 'has no object "tokens"'),
        ('{"tokens": {"secret": {}}}', 'entry 0 of "tokens" has an empty token or no "user"'),
        ('{"tokens": {"": {"user": "u"}}}', 'entry 0 of "tokens"'),
        ('{"tokens": {"a": {"user": "u", "allowed": true}, "b": {"user": "u"}}}', "u is both allowed and not allowed"),
    ],
)
def test_files_that_cannot_be_used(tokens: Path, text: str, reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    tokens.write_text(text)
    with pytest.raises(TokensError) as caught:
        read_tokens(str(tokens))
    assert reason in str(caught.value)
    assert main(["--tokens", str(tokens)]) == 1
    assert "secret" not in capsys.readouterr().err


def test_a_missing_file_and_a_taken_port(stub: Stub, tokens: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--tokens", "/nowhere"]) == 1
    assert main(["--tokens", str(tokens), "--host", "127.0.0.1", "--port", str(stub.server_port)]) == 1
    assert "cannot read /nowhere: No such file or directory" in capsys.readouterr().err


def test_the_services_questions_over_tls(stub: Stub, tmp_path: Path) -> None:
    names = ["-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "crt"), "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x", *names]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "crt", tmp_path / "key")
    stub.socket = context.wrap_socket(stub.socket, server_side=True)
    known = ssl.create_default_context(cafile=str(tmp_path / "crt"))
    for trusted in (known, ssl.create_default_context()):
        asking = ClusterReviewer(Cluster("127.0.0.1", stub.server_port, "", trusted, ""), "default")
        if trusted is known:
            assert asking.review("good", ("get",)) == Verdict(ALLOWED, allowed=True)
        else:
            with pytest.raises(ReviewError, match="CERTIFICATE_VERIFY_FAILED"):
                asking.review("good", ("get",))
