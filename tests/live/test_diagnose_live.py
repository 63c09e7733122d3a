# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stack is broken for real: the cause is named, the evidence lies in one place, and no secret is in it."""

from __future__ import annotations

import base64
import gzip
import re
import socket
import stat
import tarfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml

from ansible_collections.kubernaut.integration.plugins.module_utils._gather import FILES
from ansible_collections.kubernaut.integration.tests.live.playing import Run, Stack, podman

#: Nobody else has these; one holds characters that are written in another way in a URL.
PASSWORDS = {"postgres_password": "s3same-of@postgres/%", "redis_password": "s3same-of-redis"}
NAMES = "kubernaut.integration."


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack to break."""
    ports = {"postgres": 31543, "redis": 31489, "datastorage": 31200}
    stack = Stack("diag", ports, tmp_path_factory.mktemp("diagnose"))
    stack.remove(stack_stop_timeout=1)
    yield stack
    stack.remove(stack_stop_timeout=1)


@pytest.fixture
def running(stack: Stack) -> Stack:
    """The same stack, up and proven."""
    stack.play("integration", stack_stop_timeout=1, **PASSWORDS).ok()
    return stack


def bundles(stack: Stack) -> set[Path]:
    """Return the directories of evidence that there are."""
    return {path for path in (stack.state_dir / "report").glob("*") if path.is_dir()}


class Looked:
    """A run of a playbook that kept evidence."""

    def __init__(self, stack: Stack, playbook: str | Path, *arguments: str, **extra: Any) -> None:
        before = bundles(stack)
        self.run: Run = stack.play(playbook, *arguments, **extra)
        new = bundles(stack) - before
        assert len(new) == 1, self.run.tail
        self.directory = new.pop()
        self.summary = (self.directory / "summary.md").read_text()

    @property
    def message(self) -> list[str]:
        """The lines with which the run failed in the end."""
        return str(self.run.failures()[-1]["msg"]).splitlines()

    @property
    def archive(self) -> Path:
        """The tar."""
        return Path(f"{self.directory}.tar.gz")

    def texts(self) -> Iterator[tuple[str, str]]:
        """Return everything that somebody may read."""
        yield "the terminal", self.run.out
        yield "the tar", gzip.decompress(self.archive.read_bytes()).decode(errors="replace")
        for path in self.directory.iterdir():
            yield path.name, path.read_text()


def demand_private(looked: Looked) -> None:
    """Demand that only the owner may read anything of it, and that no password is in it."""
    assert stat.S_IMODE(looked.directory.stat().st_mode) == 0o700
    for path in (looked.archive, *looked.directory.iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    for password in PASSWORDS.values():
        encoded = base64.b64encode(password.encode()).decode().rstrip("=")[:-1]
        for form in (password, quote(password, safe=""), encoded):
            holding = [name for name, text in looked.texts() if form in text]
            assert not holding, f"{form} in {holding}"


def demand_tar(looked: Looked) -> None:
    """Demand that the tar can be read, holds the same files, and the summary first."""
    with tarfile.open(looked.archive) as archive:
        names = archive.getnames()
        assert names[0] == f"{looked.directory.name}/summary.md"
        assert {Path(name).name for name in names} == {path.name for path in looked.directory.iterdir()}
        file = archive.extractfile(names[0])
        assert file is not None
        assert file.read().decode() == looked.summary


def demand_files(looked: Looked, *but: str) -> None:
    """Demand every kind of file, except some."""
    there = [path.name for path in looked.directory.iterdir()]
    missing = [end for end in FILES if not any(name.endswith(end) for name in there)]
    assert missing == list(but), looked.summary


def test_a_healthy_stack_is_called_so(running: Stack) -> None:
    looked = Looked(running, "diagnose")  # which need not know the passwords
    looked.run.ok()
    assert f"{running.name} is healthy" in looked.run.out
    assert f"{running.name} is healthy" in looked.summary
    assert looked.run.recap["changed"] == 0
    assert "What could not be collected" not in looked.summary
    demand_files(looked)
    demand_tar(looked)
    demand_private(looked)


@pytest.mark.parametrize("front", ["auto", "module"])
def test_a_killed_postgres_is_named_by_verify(running: Stack, front: str) -> None:
    podman("kill", running.container("postgres"))
    looked = Looked(running, "verify", stack_front=front, **PASSWORDS)
    assert looked.run.rc == 2, looked.run.tail
    assert looked.run.recap["changed"] == 0
    first, where = looked.message
    assert first == looked.run.complaint
    assert first.count("[killed]") == 1
    assert (
        f"killed the container {running.container('postgres')} (exit status 137, and podman was told to); run" in first
    )
    assert first.endswith(" says when. [killed]")
    assert where == f"Everything is in {looked.directory}/summary.md."
    title, _empty, cause, _empty, identity = looked.summary.splitlines()[:5]
    assert title == f"# {running.name}: Wait until PostgreSQL answers the service's own user over TCP"
    assert (cause, identity) == (first, "Cause: `killed`")
    # Nobody asks whoever may have taken the port of a dead PostgreSQL; everything else is there.
    demand_files(looked, *[end for end in FILES if end.startswith("postgres_")])
    assert f"- ledger, schema, partitions: {running.container('postgres')} does not run" in looked.summary
    assert re.search(rf"{running.container('postgres')} died \(exit status 137\)", _text(looked, "podman_events.txt"))
    assert "database system is ready to accept connections" in _text(looked, f"{running.container('postgres')}.log")
    demand_tar(looked)
    demand_private(looked)


def _text(looked: Looked, name: str) -> str:
    return (looked.directory / name).read_text()


def test_a_stack_that_is_in_trouble_already_is_diagnosed(running: Stack) -> None:
    podman("kill", running.container("redis"))
    looked = Looked(running, "diagnose")
    looked.run.ok()
    assert f"{running.name}: somebody killed the container {running.container('redis')}" in looked.run.out
    assert "Cause: `killed`" in looked.summary
    demand_files(looked, *[end for end in FILES if end.startswith("redis_")])
    demand_private(looked)


def test_a_stack_that_is_not_there(stack: Stack) -> None:
    stack.remove(stack_stop_timeout=1)
    looked = Looked(stack, "diagnose")
    looked.run.ok()
    assert (
        f"{stack.name}: none of its containers exists; run playbooks/integration.yml. [no-container]" in looked.run.out
    )


@pytest.mark.slow
def test_check_mode_writes_nothing(running: Stack) -> None:
    before = bundles(running)
    run = running.play("diagnose", check=True).ok()
    assert f"{running.name} is healthy" in run.out
    assert bundles(running) == before


def playbook(directory: Path, tasks: Sequence[dict[str, Any]]) -> Path:
    """Write a playbook of somebody else that uses the role in a rescue."""

    def role(name: str, tasks_from: str = "main") -> dict[str, Any]:
        return {"ansible.builtin.import_role": {"name": NAMES + name, "tasks_from": tasks_from}}

    path = directory / "playbook.yml"
    block = {
        "block": [role("host", "look"), role("postgres", "gate"), *tasks],
        "rescue": [role("diagnostics")],
    }
    play = {"hosts": "localhost", "gather_facts": False, "tasks": [role("stack", "check"), block]}
    path.write_text(yaml.safe_dump([play]))
    return path


def test_a_cause_that_the_failed_task_does_not_know_is_named_first(running: Stack, tmp_path: Path) -> None:
    tasks = [
        {"ansible.builtin.command": f"podman kill {running.container('redis')}"},
        {"ansible.builtin.fail": {"msg": f"the suite went wrong\nit said {PASSWORDS['redis_password']}"}},
    ]
    looked = Looked(running, playbook(tmp_path, tasks), **PASSWORDS)
    assert looked.run.rc == 2
    first, second, where = looked.message
    assert first.startswith(f"somebody killed the container {running.container('redis')}")
    assert first.endswith(" [killed]")
    assert second == "the suite went wrong"
    assert where.startswith("Everything is in ")
    for _name, text in [text for text in looked.texts() if text[0] != "the terminal"]:
        assert PASSWORDS["redis_password"] not in text


@pytest.mark.slow
def test_podmans_own_words_name_the_cause(running: Stack, tmp_path: Path) -> None:
    """The message of containers.podman's modules does not hold them."""
    name = f"{running.name}-second"
    taken = socket.create_server(("127.0.0.1", 0))
    start = {
        "containers.podman.podman_container": {
            "name": name,
            "executable": running.facts["podman"],
            "image": running.facts["images"]["redis"]["reference"],
            "network": running.facts["network"],
            "publish": [f"127.0.0.1:{taken.getsockname()[1]}:6379"],
        }
    }
    try:
        looked = Looked(running, playbook(tmp_path, [start]), **PASSWORDS)
    finally:
        taken.close()
        podman("rm", "--force", "--ignore", name)
    assert looked.run.rc == 2
    first, second, _where = looked.message
    assert first.endswith(" [port-taken]"), first
    assert second.startswith(f"Container {name} exited with code")


def test_a_podman_that_hangs_costs_seconds_and_hides_nothing(running: Stack, tmp_path: Path) -> None:
    slow = tmp_path / "podman"
    slow.write_text(
        f'#!/bin/sh\ncase $1 in logs|info|events) exec sleep 60;; esac\nexec {running.facts["podman"]} "$@"\n'
    )
    slow.chmod(0o700)
    podman("kill", running.container("postgres"))
    begin = time.monotonic()
    looked = Looked(running, "diagnose", host_podman=str(slow))
    assert time.monotonic() - begin < 15
    assert f"- log of {running.container('redis')}: no answer within 3 s" in looked.summary
    assert "- podman info: no answer within 3 s" in looked.summary
    assert "Cause: `sigkill`" in looked.summary  # without the events, nobody knows who
    assert f"- {running.container('redis')} runs since" in looked.summary
    demand_files(looked, ".log", *[end for end in FILES if end.startswith("postgres_") or "podman_" in end])
