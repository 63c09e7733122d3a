# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What somebody does to a stack's containers between two proofs is found, named and dated; what a run does is not."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.kubernaut.integration.tests.live.playing import Run, Stack, podman

FRONTS = ("auto", "module")
TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"
#: Reads all memory that there is, in a process of its own beside the container's first one.
GLUTTON = "tail -c +0 /dev/zero | tail"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that is proven, and that others meddle with."""
    ports = {"postgres": 32543, "redis": 32489, "datastorage": 32200}
    stack = Stack("stab", ports, tmp_path_factory.mktemp("stability"))
    stack.remove(stack_stop_timeout=1)
    up(stack)
    yield stack
    stack.remove(stack_stop_timeout=1)


def up(stack: Stack, **extra: Any) -> Run:
    """Have it proven, and what happened before acknowledged; nobody waits for DataStorage's stop."""
    return stack.play("integration", **{"stack_stop_timeout": 1, **extra}).ok()


def identity(stack: Stack) -> Path:
    """Return where the record is."""
    return stack.state_dir / "identity.json"


def inspect(stack: Stack, component: str) -> dict[str, Any]:
    """Return a container as podman inspects it."""
    found: dict[str, Any] = json.loads(podman("inspect", stack.container(component)))[0]
    return found


def called(stack: Stack, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Call podman as the stack does, not from here: a container's monitor writes a file there when memory runs out."""
    return subprocess.run(
        [stack.facts["podman"], *arguments], capture_output=True, text=True, timeout=60, check=False, cwd=stack.home
    )


def start(stack: Stack, component: str) -> None:
    """Start a container again, as a person does who wants to go on."""
    done = called(stack, "start", stack.container(component))
    assert done.returncode == 0, done.stderr
    time.sleep(0.5)


def kill(stack: Stack, component: str) -> None:
    """Kill a container's first process past podman, and wait until podman knows."""
    os.kill(inspect(stack, component)["State"]["Pid"], signal.SIGKILL)
    podman("wait", stack.container(component))


@pytest.fixture
def proven(stack: Stack) -> Iterator[Stack]:
    """The stack, about which nothing is left to say afterwards."""
    yield stack
    up(stack)


def named(stack: Stack, component: str, cause: str, fronts: tuple[str, ...] = FRONTS[:1]) -> str:
    """Demand that a look back fails with a cause, names the container and dates it; return the first line."""
    text, lines = identity(stack).read_text(), set()
    for front in fronts:
        run = stack.play("verify", stack_front=front)
        assert run.rc != 0, run.tail
        result = run.failures()[0]
        assert (result["cause"], result["findings"][0]["component"]) == (cause, component)
        lines.add(run.complaint)
    assert identity(stack).read_text() == text
    (line,) = lines
    assert line.endswith(f"[{cause}]"), line
    assert stack.container(component) in line
    assert re.search(TIME, line), line
    assert "playbooks/integration.yml" in line
    return line


def test_a_healthy_stack_is_proven_again_and_nothing_changes(stack: Stack) -> None:
    text, written = identity(stack).read_text(), identity(stack).stat().st_mtime_ns
    assert identity(stack).stat().st_mode & 0o777 == 0o600
    again = up(stack)
    assert again.recap["changed"] == 0, again.tail
    assert re.search(r"^  memory  postgres \d+ \(peak \d+\) of \d+ MiB, redis ", again.out, re.MULTILINE), again.tail
    for front in FRONTS:
        run = stack.play("verify", stack_front=front).ok()
        assert run.recap["changed"] == 0
        assert "every container runs; none ended, was restarted, replaced or out of memory since" in run.out
    assert (identity(stack).read_text(), identity(stack).stat().st_mtime_ns) == (text, written)


def test_a_restart_is_found(proven: Stack) -> None:
    podman("restart", proven.container("redis"))
    line = named(proven, "redis", "restarted")
    assert line.startswith(f"somebody restarted the container {proven.container('redis')} with podman at "), line


def test_a_killed_datastorage_that_runs_again_is_found(proven: Stack) -> None:
    kill(proven, "datastorage")
    start(proven, "datastorage")
    assert "exit status 137" in named(proven, "datastorage", "sigkill")


def test_a_process_that_ran_out_of_memory_in_a_container_that_lives_is_found(proven: Stack) -> None:
    before = inspect(proven, "redis")["State"]
    called(proven, "exec", proven.container("redis"), "sh", "-c", GLUTTON)
    assert inspect(proven, "redis")["State"]["StartedAt"] == before["StartedAt"]
    line = named(proven, "redis", "out-of-memory", FRONTS)
    assert "raise redis_memory" in line
    assert "a process (tail) was killed at " in line


@pytest.mark.slow
def test_a_container_that_ran_out_of_memory_and_runs_again_is_found(proven: Stack) -> None:
    fill = 'for i=1,999 do redis.call("SET", i, string.rep("x", 1048576)) end'
    called(proven, "exec", proven.container("redis"), "redis-cli", "eval", fill, "0")
    podman("wait", proven.container("redis"))
    start(proven, "redis")
    assert "ran out of its memory limit (256 MiB), at " in named(proven, "redis", "out-of-memory")


@pytest.mark.slow
def test_a_copy_of_a_container_is_another_one(proven: Stack) -> None:
    """It has the same name, labels and ports, and every gate is content with it."""
    _podman, *words = inspect(proven, "redis")["Config"]["CreateCommand"]
    podman("rm", "--force", proven.container("redis"))
    done = subprocess.run([_podman, *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "somebody made it at " in named(proven, "redis", "replaced")


@pytest.mark.slow
def test_a_restart_is_found_without_events(proven: Stack, tmp_path: Path) -> None:
    """Podman that writes no events down, or may not read them."""
    dumb = tmp_path / "podman-dumb"
    dumb.write_text(f'#!/bin/sh\nexec {proven.facts["podman"]} --events-backend none "$@"\n')
    dumb.chmod(0o700)
    podman("restart", proven.container("redis"))
    task = {
        "name": proven.name,
        "containers": {component: proven.container(component) for component in proven.ports},
        "state_dir": str(proven.home),
        "podman": str(dumb),
    }
    playbook = tmp_path / "look.yml"
    play = {"hosts": "localhost", "gather_facts": False, "tasks": [{"kubernaut.integration.stack_stable": task}]}
    playbook.write_text(json.dumps([play]))
    result = proven.play(playbook).failures()[0]
    assert (result["cause"], result["events"]) == ("restarted", False)
    assert re.search(rf"{proven.container('redis')} ended at {TIME}, and it runs again since {TIME}", result["msg"])


def test_what_a_run_does_itself_is_not_reported(stack: Stack) -> None:
    podman("kill", stack.container("datastorage"))
    run = up(stack)
    assert "note: since the last proof, somebody killed the container" in run.out
    stack.play("verify").ok()

    ids = {component: inspect(stack, component)["Id"] for component in stack.ports}
    run = up(stack, postgres_max_connections=150)
    assert "note: since the last proof" not in run.out
    assert inspect(stack, "postgres")["Id"] != ids["postgres"]
    stack.play("verify").ok()

    run = up(stack, stack_fresh=True)
    assert "note: since the last proof" not in run.out
    stack.play("verify").ok()


def test_a_stack_without_a_record_is_looked_at_as_it_is(stack: Stack) -> None:
    identity(stack).unlink()
    run = stack.play("verify").ok()
    assert "note: this stack has no record of the containers that were proven (identity.json)" in run.out
    assert not identity(stack).exists()
    assert up(stack).recap["changed"] == 1
    assert up(stack).recap["changed"] == 0
