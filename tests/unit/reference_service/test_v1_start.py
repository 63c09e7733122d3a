# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start-up of contract v1: ten tries, the certificate, the cluster, and which contract is started at all."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from reference_datastorage.__main__ import main
from reference_datastorage.dlq import DlqError
from reference_datastorage.serving import StartError
from reference_datastorage.store import StoreError
from reference_datastorage.v1 import start


class Attempts:
    """Fails with one error after the other, then succeeds; keeps the pauses between."""

    def __init__(self, *errors: Exception) -> None:
        self.errors, self.pauses, self.count = list(errors), [], 0  # type: ignore[var-annotated]

    async def connect(self, _config: object) -> tuple[str, str]:
        self.count += 1
        if self.errors:
            raise self.errors.pop(0)
        return "store", "queue"

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)


def attempt(monkeypatch: pytest.MonkeyPatch, *errors: Exception) -> tuple[Attempts, Any]:
    attempts = Attempts(*errors)
    monkeypatch.setattr(start, "_connect", attempts.connect)
    monkeypatch.setattr(asyncio, "sleep", attempts.sleep)
    config: Any = None
    return attempts, asyncio.run(start.connect(config))


def test_a_start_that_succeeds_in_the_end(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "datastorage")
    errors = (StoreError("failed to ping PostgreSQL: x"), DlqError("failed to connect to Redis: y"), StartError("z"))
    attempts, found = attempt(monkeypatch, *errors)
    assert found == ("store", "queue")
    assert (attempts.count, attempts.pauses) == (4, [2.0] * 3)
    said = [record.fields["error"] for record in caplog.records if "retrying" in record.message]  # type: ignore[attr-defined]
    assert said == [str(error) for error in errors]


def test_a_start_that_fails_ten_times(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = [StoreError(f"failed to ping PostgreSQL: {number}") for number in range(20)]
    with pytest.raises(StartError, match=r"^failed to create server after 10 attempts: failed to ping PostgreSQL: 9$"):
        attempt(monkeypatch, *errors)
    with pytest.raises(ZeroDivisionError):  # what nobody expected is not tried again
        attempt(monkeypatch, ZeroDivisionError())


def test_the_signer(tmp_path: Path) -> None:
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    with pytest.raises(StartError, match=f"signing certificate not found at {certificate}: .*AU-9"):
        start.check_signer(tmp_path)
    certificate.write_text("x")
    with pytest.raises(StartError, match=f"signing key not found at {key}: .*AU-9"):
        start.check_signer(tmp_path)
    key.write_text("x")
    with pytest.raises(StartError, match=f"signing certificate at {certificate} is invalid or corrupt"):
        start.check_signer(tmp_path)
    make_pair(certificate, key)
    start.check_signer(tmp_path)


def test_tls_of_the_api(tmp_path: Path) -> None:
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    assert start.find_tls("") is None
    certificate.write_text("x")
    assert start.find_tls(str(tmp_path)) is None
    key.write_text("x")
    with pytest.raises(StartError, match=f"^failed to configure TLS: failed to load TLS certificate from {tmp_path}"):
        start.find_tls(str(tmp_path))
    make_pair(certificate, key)
    assert start.find_tls(str(tmp_path)) == (certificate, key)


def make_pair(certificate: Path, key: Path) -> None:
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)


def test_the_cluster(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"^failed to load in-cluster kubernetes config \(DD-AUTH-014\)"):
        start.find_cluster("")
    path = tmp_path / "kubeconfig"
    with pytest.raises(StartError, match=f"DD-AUTH-014, path={path}"):
        start.find_cluster(str(path))


def test_the_namespace(tmp_path: Path) -> None:
    file = tmp_path / "namespace"
    assert start.namespace("", file) == "default"
    file.write_text("mine\n")
    assert start.namespace("", file) == "mine"
    assert start.namespace("given", file) == "given"


@pytest.mark.parametrize(
    ("contract", "said"), [("v1", "CONFIG_PATH not set"), ("v2", "there is no contract v2"), ("V1", "no contract V1")]
)
def test_the_contract_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, contract: str, said: str
) -> None:
    monkeypatch.setenv("REFERENCE_CONTRACT", contract)
    monkeypatch.delenv("CONFIG_PATH", raising=False)
    assert main() == 1
    assert said in caplog.records[-1].fields["error"]  # type: ignore[attr-defined]


def test_v1_without_a_cluster_ends_before_anything_is_tried(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "secret").write_text('{"password": "x"}')
    secrets = {"secretsFile": str(tmp_path / "secret"), "passwordKey": "password"}
    database = {"host": "h", "port": 5432, "name": "n", "user": "u", **secrets}
    config = {"server": {"port": 8080}, "database": database, "redis": {"addr": "r:1", **secrets}}
    (tmp_path / "config.yaml").write_text(json.dumps(config))
    monkeypatch.setenv("CONFIG_PATH", str(tmp_path / "config.yaml"))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    assert start.main() == 1
    assert "failed to load in-cluster kubernetes config" in caplog.records[-1].fields["error"]  # type: ignore[attr-defined]
