# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From contract v0 to v1 and back, and what goes wrong with v1 only: each fault is named at once."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from ansible_collections.kubernaut.integration.tests.live.canary import Search
from ansible_collections.kubernaut.integration.tests.live.playing import Run, Stack, podman

V0 = "7/7 written, 7/7 read back over HTTP, 7/7 in PostgreSQL, 0 in the DLQ"
V1 = "7/7 in PostgreSQL, 7/7 in a verified chain, 0 in the DLQ"
TO_V1: dict[str, Any] = {"stack_contract": "v1", "datastorage_auth": "stub", "stack_stop_timeout": 1}
#: The one cause of all of it, and what is to be done.
REFUSED = "stack_fresh: true). [migration-changed]"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of contract v0."""
    ports = {"postgres": 28143, "redis": 28189, "datastorage": 28100}
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


def verify(stack: Stack, **extra: Any) -> Run:
    return stack.play("verify", **{**TO_V1, **extra})


def token_of(stack: Stack) -> Search:
    """Look for the token with which requests are sent."""
    return Search(token=(stack.state_dir / "datastorage.token").read_text().strip())


def test_kept_data_is_not_taken_to_another_generation(stack: Stack) -> None:
    before = ids(stack)
    assert stack.play("integration", **TO_V1).complaint.endswith(REFUSED)
    assert ids(stack) == before
    assert V0 in stack.play("verify").ok().out


def test_a_fresh_stack_is_of_the_other_generation(stack: Stack) -> None:
    run = stack.play("integration", "-vvv", "--diff", stack_fresh=True, **TO_V1).ok()
    assert V1 in run.out
    assert token_of(stack).hits("output", run.out) == []
    assert V1 in verify(stack).ok().out


def test_its_service_does_what_a_real_one_was_seen_to_do(stack: Stack, tmp_path: Path) -> None:
    report = stack.conform(tmp_path / "report.json")
    assert (report["reference_service"], report["contract"]) == (True, "v1")


def test_nor_is_it_taken_back(stack: Stack) -> None:
    before = ids(stack)
    assert stack.play("integration").complaint.endswith(REFUSED)
    assert ids(stack) == before


def test_a_token_that_nobody_issued(stack: Stack) -> None:
    assert verify(stack, datastorage_token="nobodys").complaint.endswith("[token-refused]")


def test_a_token_whose_user_may_not_write(stack: Stack) -> None:
    path = stack.state_dir / "config" / "auth" / "tokens.json"
    kept = path.read_text()
    tokens = json.loads(kept)
    for entry in tokens["tokens"].values():
        entry["allowed"] = False
    path.chmod(0o600)
    path.write_text(json.dumps(tokens))
    try:
        assert verify(stack).complaint.endswith("[token-forbidden]")
    finally:
        path.write_text(kept)
        path.chmod(0o400)
    assert V1 in verify(stack).ok().out


def test_a_schema_of_the_other_generation_is_named_though_everything_seems_ready(stack: Stack) -> None:
    """/readyz is 200, and every write is answered with 202."""
    login = {"user": stack.env["POSTGRES_USER"], "password": stack.env["POSTGRES_PASSWORD"], "dbname": "action_history"}
    with psycopg.connect(host="127.0.0.1", port=stack.ports["postgres"], autocommit=True, **login) as database:
        database.execute("ALTER TABLE audit_events RENAME COLUMN event_hash TO hash_of_another_generation")
        try:
            assert verify(stack).complaint.endswith("[schema-generation]")
        finally:
            database.execute("ALTER TABLE audit_events RENAME COLUMN hash_of_another_generation TO event_hash")


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


def test_a_signing_certificate_that_is_gone_is_named_and_made_again(stack: Stack) -> None:
    access = stack.state_dir / "config" / "access"
    (access / "tls.crt").unlink()
    podman("restart", "--time", "1", stack.container("datastorage"))
    assert verify(stack).complaint.endswith("[signer-missing]")
    assert V1 in stack.play("integration", **TO_V1).ok().out
    assert (access / "tls.crt").exists()


@pytest.mark.slow
def test_a_password_that_postgres_has_no_more(stack: Stack) -> None:
    """DataStorage of v1 tries for 19 seconds before it ends; the gate reads the reason from its log at once."""
    container, user = stack.container("datastorage"), stack.env["POSTGRES_USER"]
    psql = ("exec", stack.container("postgres"), "psql", "-U", user, "-d", "postgres", "-c")
    podman(*psql, f"ALTER ROLE {user} PASSWORD 'another'")
    try:
        podman("restart", "--time", "1", container)
        run = verify(stack, postgres_password="another")
        assert run.complaint.endswith("[postgres-password]"), run.tail
    finally:
        podman(*psql, f"ALTER ROLE {user} PASSWORD '{stack.env['POSTGRES_PASSWORD']}'")
    assert V1 in stack.play("integration", **TO_V1).ok().out


def test_the_token_lies_where_it_is_needed_and_nowhere_else(stack: Stack) -> None:
    """Also after failures, whose evidence was kept."""
    assert list(stack.state_dir.glob("report/failure-*/summary.md"))
    found = {hit.split(" in ", 1)[1].split(": ")[0] for hit in token_of(stack).files(stack.state_dir)}
    assert found == {"datastorage.token", "config/auth/tokens.json"}
