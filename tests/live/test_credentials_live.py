# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stack with passwords of its own: who gets in, and what another user of the machine can read."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from ansible_collections.kubernaut.integration.tests.live.canary import Search
from ansible_collections.kubernaut.integration.tests.live.playing import ROOT, Run, Stack

#: A user who owns nothing here.
NOBODY = 65534


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
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Own]:
    """A stack with passwords of its own."""
    # pytest's directories are closed to others themselves, which would prove nothing.
    home = tmp_path_factory.mktemp("state")
    for directory in (home, *home.parents):
        if directory.is_relative_to(tmp_path_factory.getbasetemp().parent):
            directory.chmod(0o755)
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
    assert "no authentication" in (ROOT / "docs" / "security.md").read_text()
