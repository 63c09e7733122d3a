# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From contract v0 to v1 and back, with TLS and as the outside of another stack."""

from __future__ import annotations

import json
import os
import re
import shutil
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ansible_collections.kubernaut.integration.tests.live.playing import ROOT, Stack, play, podman

V0 = "7/7 written, 7/7 read back over HTTP, 7/7 in PostgreSQL, 0 in the DLQ"
V1 = "7/7 in PostgreSQL, 7/7 in a verified chain, 0 in the DLQ"
TO_V1: dict[str, Any] = {"stack_contract": "v1", "datastorage_auth": "stub", "stack_stop_timeout": 1}
#: The one cause of all of it, and what is to be done.
REFUSED = "stack_fresh: true). [migration-changed]"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of contract v0."""
    ports = {"postgres": 28143, "redis": 28189, "datastorage": 28170}
    ports |= {"datastorage_health": 28181, "datastorage_metrics": 28190}
    stack = Stack("generation", ports, tmp_path_factory.mktemp("state"))
    try:
        assert V0 in stack.play("integration").ok().out
        yield stack
    finally:
        stack.remove(stack_stop_timeout=1)


def ids(stack: Stack) -> list[str]:
    names = (stack.container(component) for component in ("postgres", "redis", "datastorage"))
    return [podman("inspect", "--format={{.Id}} {{.State.StartedAt}}", name) for name in names]


def test_what_was_left_out_is_finished_by_what_the_run_has_noted(tmp_path: Path) -> None:
    """Images, migrations and limits are those of the first run, whatever the second one's directory."""
    ports = {"postgres": 28543, "redis": 28589, "datastorage": 28500}
    ports |= {"datastorage_health": 28581, "datastorage_metrics": 28590}
    stack = Stack("finish", ports, tmp_path / "state")
    migrations = shutil.copytree(ROOT / "roles/migrations/files/v1", tmp_path / "migrations")
    given = {**TO_V1, "migrations_dir": os.path.relpath(migrations), "datastorage_memory": "300m"}
    try:
        run = stack.play("integration", stack_until="redis", **given).ok()
        noted = stack.state_dir / "vars.json"
        assert f"integration.datastorage -e @{noted}\n" in run.out
        assert json.loads(noted.read_text())["migrations_dir"] == str(migrations)
        names = [stack.container(component) for component in ("postgres", "redis")]
        before = podman("inspect", "--format={{.Id}}", *names)
        assert V1 in play("datastorage", "-e", f"@{noted}").ok().out
        assert podman("inspect", "--format={{.Id}}", *names) == before
        limit = podman("inspect", "--format={{.HostConfig.Memory}}", stack.container("datastorage"))
        assert int(limit) in (0, 300 << 20)  # 0: there is no limit where the machine has none to give
    finally:
        stack.remove(stack_stop_timeout=1)


def test_kept_data_is_not_taken_to_another_generation(stack: Stack) -> None:
    before = ids(stack)
    assert stack.play("integration", **TO_V1).complaint.endswith(REFUSED)
    assert ids(stack) == before
    assert V0 in stack.play("verify").ok().out


def test_a_fresh_stack_is_of_the_other_generation(stack: Stack) -> None:
    run = stack.play("integration", stack_fresh=True, **TO_V1).ok()
    assert V1 in run.out
    assert V1 in stack.play("verify", **TO_V1).ok().out


def test_its_service_does_what_a_real_one_was_seen_to_do(stack: Stack, tmp_path: Path) -> None:
    report = stack.conform(tmp_path / "report.json")
    assert (report["reference_service"], report["contract"]) == (True, "v1")


def test_nor_is_it_taken_back(stack: Stack) -> None:
    before = ids(stack)
    assert stack.play("integration").complaint.endswith(REFUSED)
    assert ids(stack) == before


def test_the_api_speaks_tls_and_another_stack_finds_it_there(stack: Stack, tmp_path: Path) -> None:
    tls = {**TO_V1, "datastorage_tls": True}
    run = stack.play("integration", **tls).ok()
    url = f"https://127.0.0.1:{stack.ports['datastorage']}"
    assert V1 in run.out
    assert url in run.out
    assert V1 in stack.play("verify", **tls).ok().out
    assert stack.env["DATASTORAGE_URL"] == url
    trusted = ssl.create_default_context(cafile=stack.env["TLS_CA_FILE"])
    assert httpx.get(url + "/readyz", verify=trusted, trust_env=False).json() == {"status": "ready"}

    guest = Stack("generationuser", {}, tmp_path)
    given = {f"{name}_external": f"127.0.0.1:{stack.ports[name]}" for name in ("postgres", "redis")}
    given |= {"datastorage_external": url, "stack_contract": "auto"}
    given |= {"datastorage_token_file": stack.env["DATASTORAGE_TOKEN_FILE"]}
    try:
        complaint = guest.play("integration", **given).complaint
        assert complaint.startswith("datastorage_ca_file: auto asks datastorage_external"), complaint
        assert "self-signed certificate; name the certificate to trust" in complaint
        given |= {"datastorage_ca_file": stack.env["TLS_CA_FILE"]}
        run = guest.play("integration", **given).ok()
        assert f"contract v1 by the answer of datastorage_external {url[8:]} to GET /readyz" in run.out
        assert V1 in run.out
        run = guest.play("diagnose", **given).ok()
        assert re.search(rf"datastorage_external {url[8:]} +is outside: /readyz answered 200", run.out), run.tail
    finally:
        guest.remove(**given)
