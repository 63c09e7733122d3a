# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong with contract v1 only: each fault is tried for real, named at once, and can be healed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from ansible_collections.kubernaut.integration.plugins.module_utils._state import state_home
from ansible_collections.kubernaut.integration.tests.live.canary import Search
from ansible_collections.kubernaut.integration.tests.live.playing import Run, Stack, podman

#: The stack that the scenario brought up.
SCENARIO = yaml.safe_load(Path(os.environ["MOLECULE_FILE"]).read_text())
VARIABLES = SCENARIO["provisioner"]["inventory"]["host_vars"]["localhost"]
PORTS = {name.removesuffix("_port"): value for name, value in VARIABLES.items() if name.endswith("_port")}
STACK = Stack(VARIABLES["stack_run_id"], PORTS, Path(state_home("")))
V1 = {**{name: VARIABLES[name] for name in ("stack_contract", "datastorage_auth")}, "stack_stop_timeout": 1}
PROVEN = "7/7 in PostgreSQL, 7/7 in a verified chain, 0 in the DLQ"


def play(playbook: str, *arguments: str, **extra: Any) -> Run:
    """Run a playbook on the scenario's stack."""
    return STACK.play(playbook, *arguments, **{**V1, **extra})


def search() -> Search:
    """Look for the token with which requests are sent."""
    return Search(token=(STACK.state_dir / "datastorage.token").read_text().strip())


@pytest.fixture
def _healed() -> Iterator[None]:
    """What a test did to the stack, the playbook undoes."""
    yield
    assert PROVEN in play("integration").ok().out


def test_no_kubeconfig_is_said_before_anything_is_touched() -> None:
    names = [STACK.container(component) for component in ("postgres", "redis", "auth", "datastorage")]
    before = podman("inspect", "--format={{.Id}} {{.State.StartedAt}}", *names)
    complaint = play("integration", datastorage_auth="kubeconfig").complaint
    assert complaint.startswith("datastorage_kubeconfig: "), complaint
    assert "set datastorage_auth=stub" in complaint
    assert podman("inspect", "--format={{.Id}} {{.State.StartedAt}}", *names) == before


def test_a_token_that_nobody_issued() -> None:
    assert play("verify", datastorage_token="nobodys").complaint.endswith("[token-refused]")


def test_a_token_of_the_users_own_is_taken_and_kept() -> None:
    assert PROVEN in play("integration", datastorage_token="the-suites-own").ok().out
    assert PROVEN in play("verify").ok().out
    assert (STACK.state_dir / "datastorage.token").read_text() == "the-suites-own\n"


@pytest.mark.usefixtures("_healed")
def test_an_api_server_that_is_away() -> None:
    podman("stop", "--time", "1", STACK.container("auth"))
    assert play("verify").complaint.endswith("[api-server-away]")


@pytest.mark.usefixtures("_healed")
def test_a_token_whose_user_may_not_write() -> None:
    path = STACK.state_dir / "config" / "auth" / "tokens.json"
    tokens = json.loads(path.read_text())
    for entry in tokens["tokens"].values():
        entry["allowed"] = False
    path.chmod(0o600)
    path.write_text(json.dumps(tokens))
    run = play("verify", "-vvv", "--diff")
    assert run.complaint.endswith("[token-forbidden]")
    assert search().hits("output", run.out) == []


def test_a_signing_certificate_that_is_gone_is_named_and_made_again() -> None:
    certificate = STACK.state_dir / "config" / "access" / "tls.crt"
    certificate.unlink()
    podman("restart", "--time", "1", STACK.container("datastorage"))
    assert play("verify").complaint.endswith("[signer-missing]")
    assert PROVEN in play("integration").ok().out
    assert certificate.exists()


@pytest.mark.usefixtures("_healed")
def test_a_password_that_postgres_has_no_more() -> None:
    """DataStorage of v1 tries for 19 seconds before it ends; the gate reads the reason from its log at once."""
    user = STACK.env["POSTGRES_USER"]
    psql = ("exec", STACK.container("postgres"), "psql", "-U", user, "-d", "postgres", "-c")
    podman(*psql, f"ALTER ROLE {user} PASSWORD 'another'")
    try:
        podman("restart", "--time", "1", STACK.container("datastorage"))
        run = play("verify", postgres_password="another")
        assert run.complaint.endswith("[postgres-password]"), run.tail
    finally:
        podman(*psql, f"ALTER ROLE {user} PASSWORD '{STACK.env['POSTGRES_PASSWORD']}'")


def test_a_schema_of_the_other_generation_is_named_though_everything_seems_ready() -> None:
    """/readyz is 200, and every write is answered with 202."""
    login = {"user": STACK.env["POSTGRES_USER"], "password": STACK.env["POSTGRES_PASSWORD"], "dbname": "action_history"}
    with psycopg.connect(host="127.0.0.1", port=PORTS["postgres"], autocommit=True, **login) as database:
        database.execute("ALTER TABLE audit_events RENAME COLUMN event_hash TO hash_of_another_generation")
        try:
            assert play("verify").complaint.endswith("[schema-generation]")
        finally:
            database.execute("ALTER TABLE audit_events RENAME COLUMN hash_of_another_generation TO event_hash")


def test_the_token_lies_where_it_is_needed_and_nowhere_else() -> None:
    """Also after the failures above, whose evidence was kept."""
    assert list(STACK.state_dir.glob("report/failure-*/summary.md"))
    found = {hit.split(" in ", 1)[1].split(": ")[0] for hit in search().files(STACK.state_dir)}
    assert found == {"datastorage.token", "config/auth/tokens.json"}
