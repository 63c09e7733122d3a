# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stack with passwords of its own: who gets in, and what another user of the machine can read."""

from __future__ import annotations

import json
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import redis
from ansible.parsing.vault import VaultLib, VaultSecret

from ansible_collections.kubernaut.integration.tests.live.canary import Search
from ansible_collections.kubernaut.integration.tests.live.playing import ROOT, Run, Stack, podman

#: A user who owns nothing here.
NOBODY = 65534
PROOF = "7/7 written, 7/7 read back over HTTP, 7/7 in PostgreSQL, 0 in the DLQ"
#: What kubernaut's suites have written in.
PUBLIC = "test_password"


class Own:
    """The stack, its first run, and its passwords."""

    def __init__(self, stack: Stack, first: Run) -> None:
        self.stack = stack
        self.first = first
        self.passwords: dict[str, str] = json.loads((stack.state_dir / "credentials.json").read_text())

    @property
    def search(self) -> Search:
        """Looks for the passwords."""
        return Search(**self.passwords)


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A directory that everybody may enter: pytest closes its own ones to others, which would prove nothing."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest.fixture(scope="module")
def own(place: Path) -> Iterator[Own]:
    """A stack with passwords of its own."""
    home = place / "state"
    home.mkdir(mode=0o755)
    stack = Stack("own", {"postgres": 28043, "redis": 27989, "datastorage": 27600}, home)
    quick = {"stack_credentials": "generated", "stack_stop_timeout": 1}
    try:
        yield Own(stack, stack.play("integration", "-vvv", "--diff", **quick).ok())
    finally:
        stack.remove(**quick)


def as_nobody(question: Callable[[], str]) -> str:
    """Ask something as a user who owns nothing, and return the answer or the name of the exception."""
    "localhost".encode("idna")  # Python's own files may be closed to that user: what is needed is loaded before
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        answer = "none"
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            answer = question()
        except Exception as error:
            answer = f"{type(error).__name__}: {error}"
        finally:
            os.write(writing, answer.encode())
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        answer = pipe.read().decode()
    os.waitpid(child, 0)
    return answer


def test_a_second_run_and_other_playbooks_find_the_same(own: Own) -> None:
    again = own.stack.play("integration", stack_credentials="generated").ok()
    assert again.recap["changed"] == 0
    own.stack.play("verify", stack_credentials="generated").ok()
    assert own.stack.env["POSTGRES_PASSWORD"] == own.passwords["postgres_password"]
    assert own.stack.env["REDIS_PASSWORD"] == own.passwords["redis_password"]
    # Nobody told this one.
    assert f"{own.stack.name} is healthy" in own.stack.play("diagnose").ok().out


def test_what_is_handed_to_the_next_playbook_holds_none_of_them(own: Own) -> None:
    path = own.stack.state_dir / "vars.json"
    assert own.search.hits("vars.json", path.read_text()) == []
    assert own.search.hits("stack.json", (own.stack.state_dir / "stack.json").read_text()) == []
    assert PROOF in own.stack.play("verify", "-e", f"@{path}").ok().out


def test_they_are_not_said(own: Own) -> None:
    assert own.search.hits("output", own.first.out) == []
    assert "has been hidden" in own.first.out


def test_the_switch_shows_the_one_result_that_is_passwords(own: Own) -> None:
    shown = {"ANSIBLE_DISPLAY_OK_HOSTS": "1"}
    asked = {"stack_credentials": "generated", "env": shown}
    assert own.search.hits("output", own.stack.play("verify", "-vvv", **asked).ok().out) == []
    loud = own.stack.play("verify", "-vvv", **asked, stack_secure_logging=False).ok()
    assert own.search.hits("output", loud.out)


def test_another_user_cannot_read_a_file_of_the_stack(own: Own) -> None:
    state = own.stack.state_dir
    files = sorted(path for path in state.rglob("*") if path.is_file())
    assert {"credentials.json", "stack.env", "vars.json", "db-secrets.yaml", "redis.conf"} <= {p.name for p in files}
    read = {str(path): as_nobody(lambda path=path: path.read_text()) for path in files}  # type: ignore[misc]
    assert {answer.split(":")[0] for answer in read.values()} == {"PermissionError"}, read
    assert as_nobody(lambda: str(os.listdir(state))).startswith("PermissionError")
    # Another user does get as far as the directory that all stacks have in common.
    assert own.stack.home.name in as_nobody(lambda: str(os.listdir(own.stack.home.parent)))


@pytest.mark.slow
def test_a_directory_that_was_opened_shows_no_secret_and_is_closed_again(own: Own) -> None:
    """One mode that somebody changed is not enough to read what only the owner needs."""
    state = own.stack.state_dir
    state.chmod(0o755)
    try:
        assert "credentials.json" in as_nobody(lambda: str(os.listdir(state)))
        for name in ("credentials.json", "stack.env", "vars.json"):
            assert as_nobody((state / name).read_text).startswith("PermissionError")
        assert as_nobody(lambda: str(os.listdir(state / "config"))).startswith("PermissionError")
        run = own.stack.play("integration", stack_credentials="generated").ok()
        assert run.recap["changed"] == 1, run.out
        assert as_nobody(lambda: str(os.listdir(state))).startswith("PermissionError")
    finally:
        state.chmod(0o700)


@pytest.mark.parametrize("password", ["", "test_password", "wrong"])
def test_postgres_lets_nobody_in_without_the_password(own: Own, password: str) -> None:
    def ask(given: str) -> str:
        with psycopg.connect(
            host="127.0.0.1", port=own.stack.ports["postgres"], user="slm_user", dbname="action_history", password=given
        ) as connection:
            return str(connection.execute("SELECT 1").fetchone())

    assert "password" in as_nobody(lambda: ask(password))
    assert as_nobody(lambda: ask(own.passwords["postgres_password"])) == "(1,)"


def test_redis_lets_nobody_in_without_the_password(own: Own) -> None:
    def ask(given: str | None) -> str:
        return str(redis.Redis(port=own.stack.ports["redis"], password=given).ping())

    assert as_nobody(lambda: ask(None)).startswith("AuthenticationError")
    assert as_nobody(lambda: ask("wrong")).startswith("AuthenticationError")
    assert as_nobody(lambda: ask(own.passwords["redis_password"])) == "True"


def test_everything_listens_on_loopback_only(own: Own) -> None:
    """Contract v0's HTTP API asks for no password: that is what keeps other machines out."""
    for component, port in own.stack.ports.items():
        listening = [
            fields[1].split(":")[0]
            for table in ("tcp", "tcp6")
            for fields in map(str.split, Path("/proc/net", table).read_text().splitlines()[1:])
            if fields[3] == "0A" and int(fields[1].split(":")[1], 16) == port
        ]
        assert listening == ["0100007F"], component
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            pass
        # This machine's own address in the stack's network stands for every one that is not loopback.
        address = "{{range .NetworkSettings.Networks}}{{.Gateway}}{{end}}"
        gateway = podman("inspect", f"--format={address}", own.stack.container(component)).strip()
        with socket.create_server((gateway, 0)) as other:
            socket.create_connection(other.getsockname()[:2], timeout=5).close()
        with pytest.raises(OSError, match=r"refused|timed out"):
            socket.create_connection((gateway, port), timeout=2)
    assert "no authentication" in (ROOT / "docs" / "security.md").read_text()


def ids(stack: Stack) -> list[str]:
    return [podman("inspect", "--format={{.Id}}", stack.container(component)).strip() for component in stack.ports]


def test_other_credentials_are_refused_while_the_data_is_kept(own: Own) -> None:
    before = ids(own.stack)
    run = own.stack.play("integration")
    assert run.rc != 0
    assert run.complaint.startswith("stack_credentials: PostgreSQL's volume was made with generated"), run.complaint
    run = own.stack.play("verify")
    assert run.rc != 0
    assert run.complaint.endswith("[postgres-password]"), run.complaint
    assert "stack_credentials" in run.complaint
    assert ids(own.stack) == before
    assert PROOF in own.stack.play("verify", stack_credentials="generated").ok().out


@pytest.mark.parametrize("left", [None, "{"])
@pytest.mark.slow
def test_lost_ones_are_refused_by_name_and_not_made_anew(own: Own, left: str | None) -> None:
    path, before = own.stack.state_dir / "credentials.json", ids(own.stack)
    kept = path.read_text()
    path.unlink()
    if left is not None:
        path.write_text(left)
    try:
        for playbook in ("integration", "verify", "reset"):
            run = own.stack.play(playbook, stack_credentials="generated")
            assert run.rc != 0
            assert str(path) in str(run.failures()[0]["msg"]), run.tail
            assert "stack_credentials" in run.complaint, run.complaint
            assert (path.read_text() if path.exists() else None) == left
    finally:
        path.write_text(kept)
        path.chmod(0o600)
    assert ids(own.stack) == before


def test_one_that_is_given_and_empty_is_refused(own: Own) -> None:
    before = ids(own.stack)
    run = own.stack.play("integration", stack_credentials="generated", postgres_password="")
    assert run.complaint.startswith("postgres_password: it is empty"), run.tail
    assert ids(own.stack) == before


@pytest.mark.slow
def test_a_fresh_stack_has_others(own: Own) -> None:
    quick = {"stack_credentials": "generated", "stack_stop_timeout": 1}
    assert PROOF in own.stack.play("integration", stack_fresh=True, **quick).ok().out
    fresh = Own(own.stack, own.first)
    assert not set(fresh.passwords.values()) & set(own.passwords.values())
    assert own.stack.env["REDIS_PASSWORD"] == fresh.passwords["redis_password"]
    own.passwords = fresh.passwords


@pytest.mark.parametrize("password", [PUBLIC, "wrong"])
@pytest.mark.parametrize("way", ["vault", "environment", "file"])
@pytest.mark.slow
def test_a_given_one_comes_from_where_ansible_finds_it(live: Stack, tmp_path: Path, way: str, password: str) -> None:
    """As docs/security.md has it; that a wrong one is refused shows that it was used."""
    (tmp_path / "password").write_text(password + "\n")
    (tmp_path / "key").write_text("sesame")
    secret = VaultSecret(b"sesame")
    vault = VaultLib([("default", secret)]).encrypt(f"postgres_password: {password}\n", secret)
    (tmp_path / "secrets.yml").write_bytes(vault)
    arguments = ["-e", f"@{tmp_path}/secrets.yml", "--vault-password-file", str(tmp_path / "key")]
    lookups = {
        "environment": "{{ lookup('ansible.builtin.env', 'TEST_DATABASE_PASSWORD') }}",
        "file": "{{ lookup('ansible.builtin.file', '%s') }}" % (tmp_path / "password"),
    }
    run = live.play(
        "verify",
        *(arguments if way == "vault" else []),
        env={"TEST_DATABASE_PASSWORD": password},
        **({} if way == "vault" else {"postgres_password": lookups[way]}),
    )
    if password == PUBLIC:
        assert PROOF in run.ok().out
    else:
        assert run.complaint.endswith("[postgres-password]"), run.complaint


@pytest.mark.slow
def test_a_plan_for_an_empty_machine_keeps_none(tmp_path: Path) -> None:
    plan = Stack("plan", {"postgres": 28053, "redis": 27999, "datastorage": 27610}, tmp_path / "state")
    run = plan.play("integration", "--diff", check=True, stack_credentials="generated").ok()
    assert f"Would create {plan.container('datastorage')}" in run.out.replace("\n", " ")
    assert not plan.state_dir.exists()
