# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: ARG001 - a stand-in takes what the real one takes
"""Podman's command line, with a script in podman's place."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.kubernaut.integration.plugins.module_utils import _podman
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import PhaseError
from ansible_collections.kubernaut.integration.plugins.module_utils._podman import Answer, Podman, PodmanError

MakePodman = Callable[[str], Podman]


@pytest.fixture(name="make")
def _make(tmp_path: Path) -> MakePodman:
    """Return what makes a podman out of lines of shell."""

    def make(script: str) -> Podman:
        path = tmp_path / "podman"
        path.write_text("#!/bin/sh\n" + script)
        path.chmod(0o700)
        return Podman(str(path))

    return make


def test_call_returns_what_podman_said(make: MakePodman) -> None:
    answer = make('echo "$1-$2"; echo "Error: no" >&2; exit 3').call("a b", "*")
    assert answer == Answer(3, "a b-*\n", "Error: no\n")


def test_call_speaks_english_and_hands_the_environment_on(make: MakePodman, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("CONTAINERS_CONF", "/here")
    assert make('echo "$LC_ALL $CONTAINERS_CONF"').call().out == "C.UTF-8 /here\n"


def test_call_reads_no_terminal_but_what_it_is_given(make: MakePodman) -> None:
    assert make("cat").call().out == ""
    assert make("cat").call(stdin="text").out == "text"


def test_call_survives_bytes_that_are_no_text(make: MakePodman) -> None:
    assert make(r"printf 'a\377b'").call().out == "a\ufffdb"


def test_call_that_takes_too_long_is_no_exception(make: MakePodman) -> None:
    answer = make("exec sleep 60").call(timeout=0.1)
    assert answer.rc == 124
    assert answer.reason.startswith("no answer within")


def test_missing_podman_is_named_with_the_remedy() -> None:
    with pytest.raises(PhaseError, match=r"/nonexistent/podman cannot be run: No such file.*host_install"):
        Podman("/nonexistent/podman").call("ps")


def test_must_returns_output(make: MakePodman) -> None:
    assert make("echo out; echo err >&2").must("ps") == "out\n"


def test_must_says_what_failed_and_why(make: MakePodman) -> None:
    with pytest.raises(PodmanError) as failure:
        make('echo "warning: x" >&2; echo "Error: network is being used" >&2; exit 2').must("network", "rm", "secret")
    assert failure.value.message == "podman network rm failed (exit status 2): network is being used"
    assert failure.value.result["rc"] == 2
    assert "warning: x" in failure.value.result["stderr"]


@pytest.mark.parametrize(
    ("stderr", "reason"),
    [
        ("", "exit status 7"),
        ("\n\n", "exit status 7"),
        ("Error: one\n", "one"),
        ("Error: one\nError: two: Error: three\n\n", "two: Error: three"),
    ],
)
def test_reason(stderr: str, reason: str) -> None:
    assert Answer(7, "", stderr).reason == reason


ONE = json.dumps([{"Name": "a"}])


@pytest.mark.parametrize(
    ("script", "found"),
    [
        (f"echo '{ONE}'", [{"Name": "a"}]),
        # podman 4.3.1's own words for two names of which none, or one, is there
        (
            "echo '[]'; echo 'error inspecting object: no such object: \"b\"' >&2;"
            "echo 'Error: inspecting object: no such object: \"a\"' >&2; exit 125",
            [],
        ),
        (f"echo '{ONE}'; echo 'Error: inspecting object: no such object: \"b\"' >&2; exit 125", [{"Name": "a"}]),
        ("echo '[]'; echo 'Error: inspecting object: no such container b' >&2; exit 125", []),
        (
            "echo '[]'; echo 'Error: unable to find network b: network not found' >&2; exit 125",
            [],
        ),
    ],
)
def test_inspect_returns_what_exists(make: MakePodman, script: str, found: list[object]) -> None:
    assert make(script).inspect("a", "b") == found


@pytest.mark.parametrize(
    "script",
    [
        "echo '[]'; echo 'Error: database storage graph driver mismatch' >&2; exit 125",
        "echo '[]'; echo 'Error: no such object: \"a\"' >&2; echo 'Error: permission denied' >&2; exit 125",
        "echo '[]'; echo 'error inspecting object: database is locked' >&2;"
        "echo 'Error: inspecting object: no such object: \"a\"' >&2; exit 125",
        'echo \'time="now" level=error msg="decode configuration: toml: expected"\' >&2; exit 1',
        "exit 125",
        "echo nonsense",
        "echo '{}'",
    ],
)
def test_inspect_that_failed_is_not_an_empty_machine(make: MakePodman, script: str) -> None:
    """A configuration that podman could not read, or a time-out, passed for "there is nothing" once."""
    with pytest.raises(PodmanError):
        make(script).inspect("a", "b")


def test_inspect_that_hangs_is_not_an_empty_machine(make: MakePodman, monkeypatch: pytest.MonkeyPatch) -> None:
    call = Podman.call
    monkeypatch.setattr(Podman, "call", lambda self, *arguments: call(self, *arguments, timeout=0.1))
    with pytest.raises(PodmanError, match="no answer"):
        make("exec sleep 60").inspect("a")


def test_inspect_of_nothing_asks_nobody() -> None:
    assert Podman("/nonexistent/podman").inspect() == []


def test_inspect_takes_no_name_for_an_option(make: MakePodman) -> None:
    podman = make('printf \'[{"a": "%s"}]\' "$*"')
    assert podman.inspect("--all", "b", kind="volume") == [{"a": "inspect --type volume -- --all b"}]


def test_stream_hands_lines_on_as_they_come(make: MakePodman, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    seen: list[str] = []

    def line(text: str) -> None:
        seen.append(text)
        if text == "first":
            fifo.write_text("go\n")  # the script waits for it: a stream that comes at the end would hang

    answer = make('echo first; read x < "$1"; echo "Error: second" >&2; exit 4').stream(
        str(fifo), line=line, timeout=30
    )
    assert seen == ["first", "Error: second"]
    assert (answer.rc, answer.out, answer.reason) == (4, "first\nError: second\n", "second")


def test_stream_ends_everything_that_was_started(make: MakePodman, tmp_path: Path) -> None:
    """A child holds the pipe open: unless it ends, too, the stream would last as long as the child."""
    begin = time.monotonic()
    answer = make('sleep 60 & echo $! > "$1"; echo begun; wait').stream(
        str(tmp_path / "child"), line=lambda _text: None, timeout=0.5
    )
    assert time.monotonic() - begin < 30
    assert answer.rc == 124
    assert answer.out == "begun\n"
    assert answer.reason.startswith("no end within")


def test_stream_ends_the_command_when_its_reader_fails(make: MakePodman) -> None:
    def line(text: str) -> None:
        raise KeyboardInterrupt

    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        make("echo x; sleep 60").stream(line=line, timeout=60)
    assert time.monotonic() - begin < 30


def test_stream_of_a_missing_command() -> None:
    with pytest.raises(OSError, match="No such file"):
        _podman.stream(["/nonexistent/command"], line=lambda _text: None, timeout=1)
