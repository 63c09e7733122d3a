# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wrong input: refused by the variable's name and with a remedy, before anything is started."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.kubernaut.integration.plugins.module_utils._lock import acquire, this_owner
from ansible_collections.kubernaut.integration.tests.live.playing import LABEL, Run, Stack, left_of, play, podman

PORTS = {"postgres": 27643, "redis": 27689, "datastorage": 27300}
#: Part of every secret below; it must not be shown.
SECRET = "zebra"


def refused(stack: Stack, variable: str, remedy: str, **wrong: Any) -> Run:
    """Run with a wrong value and demand everything that a refusal promises."""
    run = stack.play("integration", **wrong)
    assert run.rc != 0, run.tail
    line = run.complaint
    assert line.startswith((f"{variable}: ", f"{variable} (")), line
    assert remedy in line, line
    assert "Traceback" not in run.out
    assert SECRET not in run.out
    assert not [thing for thing in left_of(stack.name) if thing.startswith("container")]
    # The same sentence once more from the play's end, and nothing else.
    assert all(str(failure["msg"]).startswith(line) for failure in run.failures()), run.failures()
    return run


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack that never comes to be; one that does fails its test, and not those behind it."""
    stack = Stack("bad", PORTS, tmp_path / "state")
    yield stack
    if left_of(stack.name):
        stack.remove(stack_stop_timeout=1)


@pytest.fixture
def clean(stack: Stack) -> Iterator[Stack]:
    """The same, where a network or a directory may be left, because what is wrong shows late."""
    yield stack
    stack.remove(stack_stop_timeout=1)


def one(variable: str, value: Any, remedy: str) -> Any:
    """Return a wrong value, and what the message holds beside its variable's name."""
    return pytest.param(variable, remedy, {variable: value}, id=f"{variable}={value}")


DSN = "use letters, digits, '_' and '-'"
EARLY = [
    one("stack_team", "nosuch", "choose one of aianalysis, "),
    one("stack_team", "", "choose one of aianalysis, "),
    one("stack_teams", {"workflowexecution": {"postgres": 1}}, "add it"),
    one("stack_contract", "v9", "choose one of v0"),
    one("stack_contract", "auto", "name the contract"),
    one("stack_contract_file", "/nonexistent/next.yml", "name a file on the controller"),
    one("stack_until", "never", "choose one of redis, report"),
    one("datastorage_auth", "maybe", "choose one of kubeconfig, stub"),
    one("datastorage_network", "wifi", "choose one of bridge, host"),
    one("stack_run_id", "Not_Good", "use at most 32 lower-case letters, digits and inner hyphens"),
    one("stack_credentials", "genrated", "choose one of upstream, generated"),
    one("stack_secure_logging", "perhaps", "write one of them"),
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
    one("postgres_shm_size", "plenty", "write one such as 256m or 1g"),
    one("redis_memory", "1 GB", "write one such as 256m or 1g"),
    one("postgres_max_connections", 1, "give at least 10"),
    one("postgres_timeout", "soon", "give one, at least 1"),
    one("migrations_dir", "/nonexistent/migrations", "name one that holds *.sql files"),
    one("migrations_dir", "{{ made }}/empty", "name the directory that does"),
    one("migrations_dir", "{{ made }}/above", "name the directory that does"),
    one("migrations_dir", "{{ made }}/twice", "have the same version 1"),
    one("migrations_today", "yesterday", "YYYY-MM-DD"),
    one("datastorage_binary", "/nonexistent/datastorage", "name one that exists"),
    one("datastorage_binary", "{{ made }}/datastorage", "change its mode"),
    one("datastorage_dlq_max_len", 0, "give at least 1"),
    one("audit_timeout", "soon", "give one, at least 0.1"),
]


@pytest.fixture(scope="module")
def early(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Run, Stack]]:
    """Run with every wrong value at once: each is a host of its own, on which nothing but that value is wrong."""
    base = tmp_path_factory.mktemp("early")
    (base / "empty").mkdir()
    (base / "above" / "v0").mkdir(parents=True)
    (base / "above" / "v0" / "001_a.sql").touch()
    (base / "twice").mkdir()
    for name in ("001_a.sql", "1_b.sql"):
        (base / "twice" / name).write_text("SELECT 1;")
    (base / "datastorage").touch(0o644)
    stack = Stack("bad", PORTS, base / "state")
    shared = {
        **stack.variables,
        "made": str(base),
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
    }
    hosts = {f"wrong{number}": row.values[2] for number, row in enumerate(EARLY)}
    (base / "inventory.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts, "vars": shared}}))
    yield play("integration", "-vvv", "-i", str(base / "inventory.yml"), stack_hosts="all"), stack
    if left_of(stack.name):
        stack.remove(stack_stop_timeout=1)


@pytest.mark.parametrize(("variable", "remedy", "wrong"), EARLY)
def test_refused_in_front_of_everything(
    early: tuple[Run, Stack], variable: str, remedy: str, wrong: dict[str, Any]
) -> None:
    run, _stack = early
    number = [row.values[2] for row in EARLY].index(wrong)
    failures = run.failures(f"wrong{number}")
    assert len(failures) == 1, run.tail
    line = str(failures[0]["msg"]).splitlines()[0]
    assert line.startswith(f"{variable}: "), line
    assert remedy in line, line


def test_nothing_is_there_after_a_refusal(early: tuple[Run, Stack]) -> None:
    run, stack = early
    assert run.rc != 0
    assert left_of(stack.name) == []
    assert not stack.home.exists()
    assert "Bring the stack up" not in run.out
    assert "Traceback" not in run.out
    assert SECRET not in run.out


def test_a_refusal_is_the_only_thing_that_is_said(stack: Stack) -> None:
    run = refused(stack, "redis_port", "is also postgres_port", redis_port=PORTS["postgres"])
    assert len(run.failures()) == 1
    assert run.recap["failed"] == 1
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
    assert "File exists" in run.complaint
    assert left_of(stack.name) == []


def test_disk_that_is_too_small(stack: Stack) -> None:
    refused(stack, "host_min_free_mib", "make room", host_min_free_mib=10**9)
    assert left_of(stack.name) == []


@pytest.mark.parametrize(
    ("image", "remedy"),
    [("localhost/nosuch:1", "build or load it"), ("127.0.0.1:1/team/datastorage:1", "127.0.0.1:1")],
    ids=["absent", "registry that does not answer"],
)
def test_image_that_cannot_be_had(clean: Stack, image: str, remedy: str) -> None:
    run = refused(clean, "datastorage_image", remedy, datastorage_image=image)
    assert image in run.complaint
