# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: ARG002 - a stand-in takes what the real one takes
"""Facts about a container that its log does not tell."""

from __future__ import annotations

import json
import os
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.kubernaut.integration.plugins.module_utils import _causes, _evidence
from ansible_collections.kubernaut.integration.plugins.module_utils._evidence import Memory
from ansible_collections.kubernaut.integration.plugins.module_utils._podman import Answer, Podman

MIB = 1024 * 1024


def container(name: str = "c", **state: Any) -> dict[str, Any]:
    """A container as podman inspect has it; it ended with 137 unless told otherwise."""
    return {
        "Id": "ab" * 32,
        "Name": name,
        "Config": {"Labels": {}},
        "HostConfig": {"Memory": 64 * MIB},
        "State": {
            "Running": False,
            "ExitCode": 137,
            "OOMKilled": False,
            "CgroupPath": "/libpod_parent/libpod-ab",
            "StartedAt": "2026-01-01T00:00:00.1Z",
            "FinishedAt": "2026-01-01T00:01:00.2Z",
            **state,
        },
    }


def tree(root: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return str(root)


V1 = "memory/libpod_parent/libpod-ab/"
V2 = "libpod_parent/libpod-ab/"


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (
            {
                V1 + "memory.usage_in_bytes": "1000\n",
                V1 + "memory.max_usage_in_bytes": "67108864\n",
                V1 + "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
            },
            Memory(1000, 64 * MIB, 64 * MIB, 2),
        ),
        (
            {
                "cgroup.controllers": "cpu memory\n",
                V2 + "memory.current": "1000\n",
                V2 + "memory.peak": "2000\n",
                V2 + "memory.events": "low 0\nhigh 0\nmax 7\noom 1\noom_kill 1\noom_group_kill 0\n",
            },
            Memory(1000, 2000, 64 * MIB, 1),
        ),
        # Before Linux 5.19 nobody keeps the peak.
        (
            {"cgroup.controllers": "", V2 + "memory.current": "1000\n", V2 + "memory.events": "oom_kill 0\n"},
            Memory(1000, 1000, 64 * MIB, 0),
        ),
        # The container's group is gone with it.
        ({"cgroup.controllers": ""}, None),
        ({}, None),
        ({V1 + "memory.usage_in_bytes": "nonsense"}, None),
    ],
)
def test_memory(tmp_path: Path, files: dict[str, str], found: Memory | None) -> None:
    assert _evidence.memory(container(), tree(tmp_path, files)) == found


def test_memory_of_nothing() -> None:
    assert _evidence.memory(container(CgroupPath="")) is None


@pytest.mark.parametrize(
    ("current", "cache", "limit", "full"),
    [
        (64 * MIB, 0, 64 * MIB, True),
        # PostgreSQL fills any limit with pages of files.
        (64 * MIB, 30 * MIB, 64 * MIB, False),
        (50 * MIB, 0, 64 * MIB, False),
        (99 * MIB, 0, None, False),
    ],
)
def test_full(current: int, cache: int, limit: int | None, full: bool) -> None:
    assert Memory(current, 64 * MIB, limit, 0, cache).full == full


class Eventful(Podman):
    """Answers ``podman events`` with these, and everything else with nothing."""

    def __init__(self, *statuses: str) -> None:
        super().__init__("podman")
        ended = "2026-01-01T00:01:00.1Z"
        self.lines = [json.dumps({"Status": status, "ID": "x", "Time": ended}) for status in statuses]

    def call(self, *arguments: str, timeout: float = 60.0, stdin: str | None = None) -> Answer:
        return Answer(0, "\n".join([*self.lines, "half a li"]), "") if arguments[0] == "events" else Answer(0, "", "")


@pytest.fixture(autouse=True)
def quiet_kernel(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The kernel says only what a test puts here."""
    said: list[str] = []
    monkeypatch.setattr(_evidence, "kernel_log", lambda _identity, _since=0.0: said)
    return said


EARLIER = container("wf_redis_1", ExitCode=0, FinishedAt="2026-01-01T00:00:50.0Z")
LATER = container("wf_redis_1", ExitCode=0, FinishedAt="2026-01-01T00:02:00.0Z")
LONG_AGO = container("wf_redis_1", ExitCode=0, FinishedAt="2025-12-31T00:00:00.0Z")
AGAIN = container("wf_redis_1", Running=True, FinishedAt="2026-01-01T00:00:50.0Z", StartedAt="2026-01-01T00:02:00Z")
IN_TIME = container("wf_redis_1", Running=True, FinishedAt="2026-01-01T00:00:50.0Z", StartedAt="2026-01-01T00:00:51Z")
ALIVE = container("wf_redis_1", Running=True, FinishedAt="0001-01-01T00:00:00Z")


@pytest.mark.parametrize(
    ("ended", "events", "peers", "last", "marks"),
    [
        (container(), ("start", "died"), (), None, set()),
        (container(), ("start", "kill", "died"), (), None, {_causes.KILLED}),
        (container(OOMKilled=True), ("died",), (), None, {_causes.OOM}),
        (container(), ("died",), (), Memory(1, 1, 64 * MIB, 1), {_causes.OOM}),
        (container(), ("died",), (), Memory(64 * MIB, 64 * MIB, 64 * MIB, 0), {_causes.AT_LIMIT}),
        (container(), ("died",), (EARLIER,), None, {_causes.PEER_FIRST}),
        (container(), ("died",), (AGAIN,), None, {_causes.PEER_FIRST}),
        (container(), ("died",), (LATER, LONG_AGO, ALIVE, IN_TIME), None, set()),
        (container(ExitCode=1), ("died",), (), Memory(1, 64 * MIB, 64 * MIB, 1), {_causes.OOM}),
        # What ended in another way needs no other facts.
        (container(ExitCode=1), ("kill",), (EARLIER,), Memory(1, 64 * MIB, 64 * MIB, 0), set()),
        (container(Running=True, ExitCode=0), ("kill",), (), None, set()),
    ],
)
def test_marks(
    ended: dict[str, Any],
    events: tuple[str, ...],
    peers: tuple[dict[str, Any], ...],
    last: Memory | None,
    marks: set[str],
) -> None:
    found, values = _evidence.of_container(Eventful(*events), ended, peers, last)
    assert found == marks
    assert (values["container"], values["memory"]) == ("c", "64 MiB")


def test_a_signal_of_long_ago_did_not_end_it() -> None:
    """HUP makes many a service read its configuration again."""
    podman = Eventful("kill", "died")
    podman.lines[0] = podman.lines[0].replace("00:01:00", "00:00:30")
    assert _evidence.of_container(podman, container())[0] == frozenset()


def test_a_container_that_was_never_started() -> None:
    never = container(Running=False, ExitCode=0, StartedAt="0001-01-01T00:00:00Z", FinishedAt="0001-01-01T00:00:00Z")
    assert _evidence.first_words(never).startswith("1970-01-01T00:00:00")
    assert _evidence.of_container(Eventful(), never)[0] == frozenset()


def test_the_kernel_is_asked(quiet_kernel: list[str]) -> None:
    quiet_kernel.append("oom-kill:constraint=CONSTRAINT_MEMCG,task_memcg=/libpod_parent/libpod-ab")
    assert _evidence.of_container(Eventful("died"), container())[0] == {_causes.OOM}


@pytest.mark.parametrize(("noted", "seen"), [("2026-01-01T00:00:30+00:00", True), ("2025-12-31T00:00:00+00:00", False)])
def test_what_the_monitor_noted_counts_if_it_was_in_this_life(tmp_path: Path, noted: str, seen: bool) -> None:
    file = tmp_path / "run" / "redis" / "oom"
    file.parent.mkdir(parents=True)
    file.touch()
    when = datetime.fromisoformat(noted).timestamp()
    os.utime(file, (when, when))
    labels = {"state-dir": str(tmp_path), "component": "redis"}
    ended = {**container(), "Config": {"Labels": {"io.kubernaut.integration." + name: labels[name] for name in labels}}}
    assert _evidence.monitor_saw(ended) == seen
    assert (_evidence.of_container(Eventful("died"), ended)[0] == {_causes.OOM}) == seen
    assert not _evidence.monitor_saw(container())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:01.5Z", 1.5),
        ("1970-01-01T01:00:01.500000000+01:00", 1.5),
        ("1970-01-01T00:00:01Z", 1.0),
        ("yesterday", 0.0),
    ],
)
def test_seconds(text: str, expected: float) -> None:
    assert _evidence.seconds(text) == pytest.approx(expected)


def test_first_words_are_younger_than_the_pid_file(tmp_path: Path) -> None:
    """On a busy machine podman took the time of a start more than a second after the process had spoken and ended."""
    pid = tmp_path / "pidfile"
    pid.touch()
    os.utime(pid, (10.5, 10.5))
    born = {**container(), "PidFile": str(pid)}
    assert _evidence.first_words(born) == "1970-01-01T00:00:10.500000+00:00"
    assert _evidence.first_words({**born, "PidFile": str(tmp_path / "gone")}) == "2025-12-31T23:59:59.100000+00:00"
    assert _evidence.first_words(container()) == "2025-12-31T23:59:59.100000+00:00"


@pytest.fixture
def dmesg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.undo()
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path / "dmesg"


@pytest.mark.parametrize(
    ("script", "lines"),
    [
        ("echo '[1.0] oom-kill:constraint=CONSTRAINT_MEMCG,task_memcg=/libpod_parent/libpod-%s'" % ("ab" * 32), 1),
        ("echo '[1.0] oom-kill:constraint=CONSTRAINT_MEMCG,task_memcg=/libpod_parent/libpod-cd'", 0),
        ("echo '[1.0] veth0 of libpod-%s entered promiscuous mode'" % ("ab" * 32), 0),
        ("echo 'dmesg: read kernel buffer failed: Operation not permitted' >&2; exit 1", 0),
    ],
)
def test_kernel_log(dmesg: Path, script: str, lines: int) -> None:
    dmesg.write_text("#!/bin/sh\n%s\n" % script)
    dmesg.chmod(0o755)
    assert len(_evidence.kernel_log("ab" * 32)) == lines
    # Of an earlier life of the container.
    assert _evidence.kernel_log("ab" * 32, time.time() + 60) == []
