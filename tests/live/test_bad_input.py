# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wrong input: refused by the variable's name and with a remedy, before anything is started."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.kubernaut.integration.plugins.module_utils._lock import acquire, this_owner
from ansible_collections.kubernaut.integration.tests.live.playing import LABEL, Run, Stack, left_of, podman

PORTS = {"postgres": 27643, "redis": 27689, "datastorage": 27300}
#: Part of every secret below; it must not be shown.
SECRET = "zebra"


def refused(stack: Stack, variable: str, remedy: str, *arguments: str, **wrong: Any) -> Run:
    """Run with a wrong value and demand everything that a refusal promises."""
    run = stack.play("integration", *arguments, **wrong)
    assert run.rc != 0, run.tail
    line = run.complaint
    assert line.startswith(f"{variable}: "), line
    assert remedy in line, line
    assert "Traceback" not in run.out
    assert SECRET not in run.out
    assert not [thing for thing in left_of(stack.name) if thing.startswith("container")]
    # The same sentence once more from the play's end, and nothing else.
    assert all(str(failure["msg"]).startswith(line) for failure in run.failures), run.failures
    return run


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    """A stack that never comes to be."""
    return Stack("bad", PORTS, tmp_path / "state")


@pytest.fixture
def clean(stack: Stack) -> Iterator[Stack]:
    """The same, where a network or a directory may be left, because what is wrong shows late."""
    yield stack
    stack.remove()


@dataclass(frozen=True)
class Row:
    """A wrong input that the checks in front of everything find.

    :param wrong: extra vars.
    :param variable: the one that the message names.
    :param remedy: what the first line holds beside it.
    """

    variable: str
    remedy: str
    wrong: dict[str, Any] = field(default_factory=dict)


def one(variable: str, value: Any, remedy: str) -> Any:
    """Return a case in which the variable that is wrong is the one that the message names."""
    return pytest.param(Row(variable, remedy, {variable: value}), id=f"{variable}={value}")


DSN = "use letters, digits, '_' and '-'"
EARLY = [
    one("stack_team", "nosuch", "choose one of aianalysis, "),
    one("stack_team", "", "choose one of aianalysis, "),
    one("stack_teams", {"workflowexecution": {"postgres": 1}}, "add it"),
    one("stack_contract", "v9", "choose one of v0"),
    one("stack_run_id", "Not_Good", "use at most 32 lower-case letters, digits and inner hyphens"),
    one("stack_patience", 0, "give at least 0.1"),
    one("stack_patience", "fast", "give one, at least 0.1"),
    one("stack_stop_timeout", "soon", "give one, at least 0"),
    one("stack_lock_timeout", -1, "give at least 0"),
    one("postgres_port", 80, "not a port from 1024 to 65535; choose another"),
    one("postgres_port", "abc", "not a port from 1024 to 65535; choose another"),
    one("datastorage_port", "", "not a port from 1024 to 65535; choose another"),
    one("redis_port", PORTS["postgres"], "is also postgres_port; give each its own port"),
    one("datastorage_port", str(PORTS["redis"]), "is also redis_port; give each its own port"),
    one("postgres_password", f"{SECRET} crossing", DSN),
    one("postgres_password", f"{SECRET}'s", DSN),
    one("postgres_password", f"{SECRET}\\", DSN),
    one("postgres_password", "", "it is empty"),
    one("redis_password", f"{SECRET} crossing", DSN),
    one("postgres_user", "Robert'); --", "use at most 63 lower-case letters, digits and '_'"),
    one("postgres_shm_size", "plenty", "is not a size such as 256m or 1g"),
    one("redis_memory", "1 GB", "is not a size such as 256m or 1g"),
    one("postgres_max_connections", 1, "give at least 10"),
    one("postgres_timeout", "soon", "give one, at least 1"),
    one("migrations_dir", "/nonexistent/migrations", "name one that holds *.sql files"),
    one("migrations_today", "yesterday", "YYYY-MM-DD"),
    one("datastorage_binary", "/nonexistent/datastorage", "name one that exists"),
    one("datastorage_dlq_max_len", 0, "give at least 1"),
    one("audit_timeout", "soon", "give one, at least 0.1"),
]


@pytest.mark.parametrize("row", EARLY)
def test_refused_before_anything_is_there(stack: Stack, row: Row) -> None:
    refused(stack, row.variable, row.remedy, "-vvv" if SECRET in str(row.wrong) else "-v", **row.wrong)
    assert left_of(stack.name) == []
    assert not stack.home.exists()


@pytest.mark.parametrize("entries", [[], ["v0/001_a.sql"]], ids=["empty", "only a sub-directory"])
def test_directory_without_migrations(stack: Stack, tmp_path: Path, entries: list[str]) -> None:
    directory = tmp_path / "migrations"
    directory.mkdir()
    for entry in entries:
        (directory / entry).parent.mkdir()
        (directory / entry).touch()
    refused(stack, "migrations_dir", "name the directory that does", migrations_dir=str(directory))
    assert not stack.home.exists()


def test_binary_that_nobody_may_execute(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "datastorage").touch(0o644)
    refused(stack, "datastorage_binary", "change its mode", datastorage_binary=str(tmp_path / "datastorage"))
    assert not stack.home.exists()


@pytest.mark.parametrize(
    ("family", "address", "where"),
    [(socket.AF_INET, "127.0.0.1", "127.0.0.1"), (socket.AF_INET6, "::1", "[::1]")],
    ids=["127.0.0.1", "only [::1]"],
)
def test_port_of_another_process_is_refused_with_its_name(
    stack: Stack, family: socket.AddressFamily, address: str, where: str
) -> None:
    name = Path("/proc/self/comm").read_text().strip()
    with socket.create_server((address, PORTS["redis"]), family=family):
        taken = f"port {PORTS['redis']} on {where} is taken by {name} (pid {os.getpid()}); stop it, or set redis_port"
        refused(stack, "redis_port", taken)
    assert not stack.home.exists()


@contextmanager
def foreign_container(live: Stack, name: str) -> Iterator[None]:
    """Make a container that is not the collection's, of an image that is there."""
    podman("create", "--name", name, live.facts["images"]["redis"]["reference"], "true")
    try:
        yield
    finally:
        podman("rm", name)


@contextmanager
def foreign(kind: str, name: str, **labels: str) -> Iterator[None]:
    """Make a network or volume that is not the stack's."""
    podman(kind, "create", *(f"--label={label}={value}" for label, value in labels.items()), name)
    try:
        yield
    finally:
        podman(kind, "rm", name)


THINGS: list[tuple[str, Callable[[Stack], Any]]] = [
    ("container workflowexecution_bad_redis_1", lambda live: foreign_container(live, "workflowexecution_bad_redis_1")),
    ("network workflowexecution_bad_test-network", lambda _: foreign("network", "workflowexecution_bad_test-network")),
    ("volume workflowexecution_bad_postgres_data", lambda _: foreign("volume", "workflowexecution_bad_postgres_data")),
]


def test_things_of_others_are_left_alone(clean: Stack, live: Stack) -> None:
    with ExitStack() as things:
        for _what, make in THINGS:
            things.enter_context(make(live))
        run = refused(clean, "stack_run_id", "remove it, or set stack_run_id so that this stack gets other names")
        for what, _make in THINGS:
            assert f"the {what} was not made by this collection" in run.complaint


@pytest.mark.parametrize(("what", "make"), THINGS, ids=[what.split()[0] for what, _make in THINGS])
def test_thing_of_another_stack_is_left_alone(
    clean: Stack, live: Stack, what: str, make: Callable[[Stack], Any]
) -> None:
    with make(live):
        run = refused(clean, "stack_run_id", "remove it, or set stack_run_id so that this stack gets other names")
        assert run.complaint.startswith(f"stack_run_id: the {what} was not made by this collection")


def test_data_of_another_postgres_is_refused(clean: Stack) -> None:
    labels = {
        "io.kubernaut.integration.collection": "kubernaut.integration",
        LABEL: clean.name,
        "io.kubernaut.integration.postgres-major": "9",
    }
    podman(
        "volume",
        "create",
        *(f"--label={label}={value}" for label, value in labels.items()),
        "workflowexecution_bad_postgres_data",
    )
    run = refused(clean, "postgres_image", "or start clean with stack_fresh: true")
    assert "was made with postgres-major 9 and the image has 17" in run.complaint


def test_stack_of_another_run_is_refused(stack: Stack) -> None:
    lock = stack.state_dir / "lock.json"
    acquire(str(lock), this_owner(os.getpid()), 0.0)
    refused(stack, "stack_lock_timeout", f"is being worked on by pid {os.getpid()} on ")
    assert left_of(stack.name) == []
    assert lock.exists()


def test_state_directory_that_cannot_be_made(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    run = refused(stack, "stack_state_dir", "name a directory that", stack_state_dir=str(tmp_path / "file" / "state"))
    assert "Not a directory" in run.complaint
    assert left_of(stack.name) == []


def test_disk_that_is_too_small(stack: Stack) -> None:
    refused(stack, "host_min_free_mib", "make room", host_min_free_mib=10**9)
    assert left_of(stack.name) == []


@pytest.mark.parametrize(
    ("image", "remedy"),
    [("localhost/nosuch:1", "podman images"), ("127.0.0.1:1/team/datastorage:1", "127.0.0.1:1")],
    ids=["absent", "registry that does not answer"],
)
def test_image_that_cannot_be_had(clean: Stack, image: str, remedy: str) -> None:
    run = refused(clean, "datastorage_image", remedy, datastorage_image=image)
    assert image in run.complaint
