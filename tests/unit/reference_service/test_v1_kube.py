# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kubeconfigs: which API server they name, and which of them cannot be used."""

from __future__ import annotations

import base64
import ssl
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from reference_datastorage import auth_stub
from reference_datastorage.v1.kube import (
    Cluster,
    ClusterReviewer,
    KubeconfigError,
    ReviewError,
    Verdict,
    load_kubeconfig,
)

Tree = dict[str, Any]


def tree(cluster: Tree, user: Tree | None = None) -> Tree:
    return {
        "current-context": "two",
        "contexts": [
            {"name": "one", "context": {"cluster": "other"}},
            {"name": "two", "context": {"cluster": "c", "user": "u"}},
        ],
        "clusters": [{"name": "other", "cluster": {"server": "http://wrong"}}, {"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user or {}}],
    }


def read(tmp_path: Path, content: object) -> Cluster:
    path = tmp_path / "kubeconfig"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return load_kubeconfig(str(path))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A certificate and its key, as PEM."""
    directory = tmp_path_factory.mktemp("pair")
    names = ["-keyout", str(directory / "key"), "-out", str(directory / "crt")]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x", *names]
    subprocess.run(command, check=True, capture_output=True)
    return (directory / "crt").read_text(), (directory / "key").read_text()


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_plain_http(tmp_path: Path) -> None:
    found = read(tmp_path, tree({"server": "http://stub:6443/prefix/"}, {"token": "t"}))
    assert found == Cluster("stub", 6443, "/prefix", None, "t")
    assert "token" not in repr(found)
    assert read(tmp_path, tree({"server": "http://stub"})).port == 80


def test_https_with_everything_inside(tmp_path: Path, pair: tuple[str, str]) -> None:
    certificate, key = pair
    cluster = {"server": "https://127.0.0.1:6443", "certificate-authority-data": encoded(certificate)}
    user = {"client-certificate-data": encoded(certificate), "client-key-data": encoded(key)}
    found = read(tmp_path, tree(cluster, user))
    assert found.tls is not None
    assert found.tls.verify_mode == ssl.CERT_REQUIRED
    assert len(found.tls.get_ca_certs()) == 1


def test_https_with_files_beside_it(tmp_path: Path, pair: tuple[str, str]) -> None:
    for name, text in zip(("crt", "key"), pair, strict=True):
        (tmp_path / name).write_text(text)
    (tmp_path / "token").write_text("from-file\n")
    user = {"client-certificate": "crt", "client-key": "key", "tokenFile": "token"}
    found = read(tmp_path, tree({"server": "https://h", "certificate-authority": "crt"}, user))
    assert (found.port, found.token) == (443, "from-file")


def test_https_without_verification(tmp_path: Path) -> None:
    found = read(tmp_path, tree({"server": "https://h", "insecure-skip-tls-verify": True}))
    assert found.tls is not None
    assert found.tls.verify_mode == ssl.CERT_NONE


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("- a\n", "is not a mapping"),
        ("a: [", "is not YAML"),
        ({"current-context": "x"}, "there is no context named 'x'"),
        (tree({"server": "unix:///x"}), "server 'unix:///x' is no URL"),
        (tree({"server": "http://h"}, {"exec": {"command": "secret"}}), "runs no program"),
        (tree({"server": "https://h", "certificate-authority-data": "!"}), "is unusable: Error"),
        (tree({"server": "https://h", "certificate-authority": "nope"}), "No such file or directory"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, content: object, reason: str) -> None:
    with pytest.raises(KubeconfigError) as caught:
        read(tmp_path, content)
    assert reason in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_missing_file() -> None:
    with pytest.raises(KubeconfigError, match=r"^open /nowhere: no such file or directory$"):
        load_kubeconfig("/nowhere")


@pytest.mark.parametrize("over_tls", [False, True])
def test_a_connection_is_kept_and_made_anew_when_the_server_has_closed_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pair: tuple[str, str], over_tls: bool
) -> None:
    monkeypatch.setattr(auth_stub._Handler, "timeout", 0.2)
    (tmp_path / "tokens.json").write_text('{"tokens": {"t": {"user": "u", "allowed": true}}}')
    made = []
    connect = Cluster.connect
    monkeypatch.setattr(Cluster, "connect", lambda cluster: made.append(cluster) or connect(cluster))
    with auth_stub.Stub(("127.0.0.1", 0), str(tmp_path / "tokens.json")) as stub:
        trusted = None
        if over_tls:
            for name, text in zip(("crt", "key"), pair, strict=True):
                (tmp_path / name).write_text(text)
            server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            server.load_cert_chain(tmp_path / "crt", tmp_path / "key")
            stub.socket = server.wrap_socket(stub.socket, server_side=True)
            trusted = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            trusted.check_hostname, trusted.verify_mode = False, ssl.CERT_NONE
        thread = threading.Thread(target=stub.serve_forever, args=(0.02,))
        thread.start()
        reviewer = ClusterReviewer(Cluster("127.0.0.1", stub.server_address[1], "", trusted, ""), "default")
        assert [reviewer.review("t", ("get", "create")) for _again in range(3)] == [Verdict("u", True)] * 3
        assert len(made) == 1
        assert reviewer.review("x", ("get",)) == Verdict(None, False)
        time.sleep(0.6)
        assert reviewer.review("t", ("get",)) == Verdict("u", True)
        assert len(made) == 2
        (tmp_path / "tokens.json").unlink()
        with pytest.raises(ReviewError, match="answers 500"):
            reviewer.review("t", ("get",))
        stub.shutdown()
        thread.join()


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(ReviewError, match="refused"):
        ClusterReviewer(Cluster("127.0.0.1", 1, "", None, ""), "default").review("t", ("get",))
