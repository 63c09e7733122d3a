# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One writer per stack."""

from __future__ import annotations

import fcntl
import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO

import pytest

from ansible_collections.kubernaut.integration.plugins.module_utils import _lock
from ansible_collections.kubernaut.integration.plugins.module_utils._lock import Owner, acquire, alive, release

ME = _lock.this_owner(os.getpid())
#: A run of another machine: only its lease tells whether it still counts.
REMOTE = Owner("elsewhere", "another boot", 4711, 1)
#: A pid beyond the highest one.
GONE = replace(ME, pid=2**22 + 1)


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> str:
    return str(tmp_path / "lock.json")


@pytest.fixture(name="other")
def _other() -> Iterator[Owner]:
    """Another process of this machine that lives as long as the test."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield _lock.this_owner(process.pid)
        process.communicate(b"\n")


def held(path: str) -> dict[str, object]:
    result: dict[str, object] = json.loads(Path(path).read_text())
    return result


@pytest.mark.parametrize(
    ("owner", "until", "boot", "wanted"),
    [
        (ME, 0.0, ME.boot, True),
        (GONE, 9e9, ME.boot, False),
        (replace(ME, started=ME.started + 1), 9e9, ME.boot, False),
        (REMOTE, 101.0, ME.boot, True),
        (REMOTE, 100.0, ME.boot, False),
        (replace(ME, boot=""), 101.0, "", True),
        (replace(ME, boot=""), 99.0, "", False),
        (replace(ME, boot="before the reboot"), 99.0, ME.boot, False),
    ],
    ids=[
        "process lives, lease over",
        "process ended, lease runs",
        "pid was used again",
        "other machine, lease runs",
        "other machine, lease over",
        "no boot id, lease runs",
        "no boot id, lease over",
        "machine booted, lease over",
    ],
)
def test_alive(owner: Owner, until: float, boot: str, wanted: bool) -> None:
    assert alive(owner, until, boot, now=100.0) is wanted


def test_pids_of_another_container_are_not_looked_up_here() -> None:
    """The boot id alone is the same in every container of a machine, where the same pid is another process."""
    assert os.readlink("/proc/self/ns/pid") in ME.boot


def test_free_lock_is_ours_and_nobody_elses_to_read(path: str) -> None:
    assert acquire(path, ME, 0) is None
    assert {name: held(path)[name] for name in ("pid", "host", "boot", "started")} == ME.__dict__
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_lock_is_taken_again_by_its_owner_and_the_lease_begins_anew(path: str) -> None:
    assert acquire(path, ME, 0) is None
    Path(path).write_text(json.dumps({**held(path), "until": 1.0}))
    assert acquire(path, ME, 0) is None
    assert held(path)["until"] == pytest.approx(time.time() + _lock.LEASE, abs=60)


def test_living_process_keeps_its_lock(path: str, other: Owner) -> None:
    assert acquire(path, other, 0) is None
    assert acquire(path, ME, 0) == other
    assert held(path)["pid"] == other.pid


def test_lock_of_a_process_that_ended_is_free(path: str) -> None:
    acquire(path, GONE, 0)
    assert acquire(path, ME, 0) is None
    assert held(path)["pid"] == ME.pid


def test_lock_of_a_pid_that_was_used_again_is_free(path: str, other: Owner) -> None:
    acquire(path, replace(other, started=other.started - 1), 0)
    assert acquire(path, ME, 0) is None


def test_lease_of_another_machine_holds_until_it_is_over(path: str) -> None:
    acquire(path, REMOTE, 0)
    assert acquire(path, ME, 0) == REMOTE
    Path(path).write_text(json.dumps({**held(path), "until": time.time() - 1}))
    assert acquire(path, ME, 0) is None


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '"x"', "{}", '{"host": "h", "boot": "b", "pid": "x", "started": 1, "until": 9e9}', "\xff"],
)
def test_broken_lock_file_is_free(path: str, text: str) -> None:
    Path(path).write_bytes(text.encode("latin-1"))
    assert acquire(path, ME, 0) is None
    assert held(path)["pid"] == ME.pid


def test_longer_file_leaves_nothing_behind(path: str) -> None:
    Path(path).write_text(" " * 9999)
    acquire(path, ME, 0)
    assert held(path)["pid"] == ME.pid


def test_waiting_ends_when_the_lock_is_given_back(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    acquire(path, REMOTE, 0)
    monkeypatch.setattr("time.sleep", lambda _seconds: release(path, REMOTE))
    assert acquire(path, ME, 60) is None


def test_waiting_ends_at_the_deadline(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    acquire(path, REMOTE, 0)
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr("time.sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    assert acquire(path, ME, 3.0) == REMOTE
    assert now[0] == pytest.approx(3.0, abs=_lock._GAP)


def test_waiting_survives_a_teardown_that_removes_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ended in FileNotFoundError once."""
    directory = tmp_path / "stack"
    directory.mkdir()
    path = str(directory / "lock.json")
    acquire(path, REMOTE, 0)

    def teardown(_seconds: float) -> None:
        os.unlink(path)
        directory.rmdir()

    monkeypatch.setattr("time.sleep", teardown)
    assert acquire(path, ME, 60) is None
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_lock_is_not_written_into_a_file_that_was_given_back(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between open and flock the holder gives the lock back: what is written then would be seen by nobody."""
    acquire(path, REMOTE, 0)
    flock = fcntl.flock
    once = [True]

    def late(file: IO[str], how: int) -> None:
        if once.pop() if once else False:
            release(path, REMOTE)
        flock(file, how)

    monkeypatch.setattr("fcntl.flock", late)
    assert acquire(path, ME, 0) is None
    assert held(path)["pid"] == ME.pid


CONTEST = """
import os, sys
from ansible_collections.kubernaut.integration.plugins.module_utils import _lock
sys.stdin.readline()
print(_lock.acquire(sys.argv[1], _lock.this_owner(os.getpid()), 0) is None, flush=True)
sys.stdin.readline()
"""


def test_of_many_processes_one_gets_it(path: str) -> None:
    command = [sys.executable, "-c", CONTEST, path]
    # Where the collection lies above this test's import of it.
    root = str(Path(_lock.__file__).parents[5])
    processes = [
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": root}
        )
        for _number in range(6)
    ]
    try:
        for process in processes:
            assert process.stdin
            process.stdin.write("go\n")
            process.stdin.flush()
        said = [process.stdout.readline().strip() for process in processes if process.stdout]
    finally:
        for process in processes:
            process.communicate("end\n")
    assert sorted(said) == ["False"] * 5 + ["True"]


def test_release_gives_only_ones_own_back(path: str) -> None:
    assert release(path, ME) is False
    acquire(path, REMOTE, 0)
    assert release(path, ME) is False
    assert acquire(path, ME, 0) == REMOTE
    assert release(path, REMOTE) is True
    assert not os.path.exists(path)


def test_release_leaves_a_broken_file_alone(path: str) -> None:
    Path(path).write_text("{")
    assert release(path, ME) is False


def test_owner_in_words() -> None:
    assert str(REMOTE) == "pid 4711 on elsewhere"


def test_option_carries_every_field_of_an_owner() -> None:
    assert set(_lock.OWNER_SPEC["options"]) == set(ME.__dict__)
