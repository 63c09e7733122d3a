# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A proxy that answers nobody, with a password in its URL: nothing asks it, and the password appears nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.kubernaut.integration.tests.live.playing import Run, Stack, play, podman

CANARY = "canary-4711"
#: Nothing listens on port 9.
PROXY = f"http://user:{CANARY}@127.0.0.1:9"
SPELLINGS = ("http_proxy", "https_proxy", "all_proxy", "ftp_proxy")
PROXIES = {name: PROXY for spelling in SPELLINGS for name in (spelling, spelling.upper())}


@pytest.fixture
def behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """A stack that is started from a shell with such a proxy and no exceptions from it."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in PROXIES.items():
        monkeypatch.setenv(name, value)
    ports = {"postgres": 27963, "redis": 27789, "datastorage": 27400}
    stack = Stack("proxy", ports, tmp_path)
    stack.remove(stack_stop_timeout=1)
    yield stack
    stack.remove(stack_stop_timeout=1)


def silent(run: Run) -> Run:
    """Demand that a run did not say the password."""
    said = [line for line in run.out.splitlines() if CANARY in line]
    assert said == []
    return run


def files_that_hold_it(directory: Path) -> list[str]:
    """Return the files below a directory that hold the password."""
    return [str(path) for path in directory.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]


@pytest.mark.slow
def test_the_chain_passes_and_nothing_tells_the_proxys_password(behind: Stack) -> None:
    first = silent(behind.play("integration", "-vvv", stack_stop_timeout=1)).ok()
    assert "7/7 written, 7/7 read back over HTTP" in first.out
    inspected = [podman("inspect", behind.container(name)) for name in behind.ports]
    assert [text for text in inspected if CANARY in text or "_proxy=" in text.lower()] == []

    # The modules' own front, as it works on another host, and the evidence of a failed run.
    again = silent(behind.play("integration", "-vvv", stack_stop_timeout=1, stack_front="module")).ok()
    assert again.recap["changed"] == 0
    podman("kill", behind.container("redis"))
    assert silent(behind.play("integration", "-vvv", redis_memory="1x")).rc != 0
    assert silent(behind.play("verify", "-vvv")).rc != 0
    assert files_that_hold_it(behind.home) == []


@pytest.mark.slow
def test_a_pull_through_it_fails_by_name_and_without_the_password(behind: Stack) -> None:
    run = play(
        "integration",
        "-vvv",
        **behind.variables,
        images_policy="pull",
        postgres_image="registry.invalid/nobody/postgres:0",
        images_pull_timeout=20,
    )
    assert silent(run).rc != 0
    assert "registry.invalid/nobody/postgres:0" in run.complaint
    assert files_that_hold_it(behind.home) == []
