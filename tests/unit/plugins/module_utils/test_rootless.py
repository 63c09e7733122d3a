# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What podman needs of a machine when it is not run by root."""

from __future__ import annotations

import os
import stat
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.kubernaut.integration.plugins.module_utils import _rootless
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import PhaseError
from ansible_collections.kubernaut.integration.plugins.module_utils._rootless import (
    FUSE,
    TUN,
    User,
    check_fuse,
    count_ids,
    kernel,
    look_at_user,
    notes,
    problems,
    storage_advice,
)

GOOD = User(
    uid=1000,
    name="tester",
    runtime="/run/user/1000",
    runtime_owner=1000,
    subuids=65536,
    subgids=65536,
    unprivileged=(),
    devices={TUN: "", FUSE: ""},
    lingers=None,
)


def test_user_who_has_everything_has_no_problem() -> None:
    assert problems(GOOD) == []
    assert notes(GOOD, "overlay", True) == []


@pytest.mark.parametrize(
    ("lack", "start", "remedy"),
    [
        ({"runtime_owner": None}, "XDG_RUNTIME_DIR: there is no directory /run/user/1000", "install -d -o tester"),
        (
            {"runtime_owner": 0, "runtime": "/run/user/0"},
            "XDG_RUNTIME_DIR: /run/user/0 belongs to uid 0",
            "XDG_RUNTIME",
        ),
        ({"subuids": 0}, "/etc/subuid gives tester 0 subordinate ids", "usermod --add-subuids 100000-165535 tester"),
        ({"subgids": 1001}, "/etc/subgid gives tester 1001 sub", "usermod --add-subgids 100000-165535 tester"),
        ({"unprivileged": ("/usr/bin/newuidmap",)}, "/usr/bin/newuidmap is not setuid", "chmod u+s /usr/bin/newuidmap"),
        (
            {"devices": {TUN: "Permission denied", FUSE: ""}},
            "/dev/net/tun cannot be opened by tester (Perm",
            "let root",
        ),
    ],
)
def test_what_is_lacking_has_a_sentence_and_a_remedy(lack: dict[str, Any], start: str, remedy: str) -> None:
    (sentence,) = problems(replace(GOOD, **lack))
    assert sentence.startswith(start)
    assert remedy in sentence
    assert "\n" not in sentence


def test_device_that_is_not_there_needs_a_module(monkeypatch: pytest.MonkeyPatch) -> None:
    user = replace(GOOD, devices={TUN: "No such file or directory", FUSE: ""})
    for there, remedy in ((True, "chmod 0666 /dev/net/tun"), (False, "modprobe tun")):
        monkeypatch.setattr(os.path, "exists", lambda _path, there=there: there)
        assert remedy in problems(user)[0]


def test_every_problem_is_named_at_once() -> None:
    user = replace(GOOD, runtime_owner=None, subuids=0, subgids=0, devices={TUN: "no", FUSE: "no"})
    assert len(problems(user)) == 4


def test_closed_fuse_is_no_problem_by_itself() -> None:
    assert problems(replace(GOOD, devices={TUN: "", FUSE: "Permission denied"})) == []


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("tester:100000:65536\n", 65536),
        ("1000:100000:65536\n", 65536),
        ("tester:1:999\ntester:1001:64535\n", 65534),
        ("other:100000:65536\n", 0),
        ("# tester:100000:65536\n\ntester:100000\ntester:1:many\n", 0),
        ("", 0),
    ],
)
def test_count_ids(text: str, count: int) -> None:
    assert count_ids(text, "tester", 1000) == count


def test_ids_of_a_directory_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "getsubids"
    program.write_text('#!/bin/sh\necho "0: tester 100000 65536"\n')
    program.chmod(0o700)
    monkeypatch.setenv("PATH", "%s:%s" % (tmp_path, os.environ["PATH"]))
    assert _rootless._ids(str(tmp_path / "subuid"), "tester", 1000) == 65536
    program.write_text("#!/bin/sh\necho 'Error fetching ranges' >&2; exit 1\n")
    assert _rootless._ids(str(tmp_path / "subgid"), "tester", 1000) == 0


def test_refusal_says_why(tmp_path: Path) -> None:
    assert _rootless._refusal(str(tmp_path / "none")) == "No such file or directory"
    assert _rootless._refusal("/dev/null") == ""


def test_privilege_of_a_helper(tmp_path: Path) -> None:
    helper = tmp_path / "newuidmap"
    helper.touch(0o755)
    assert not _rootless._privileged(str(helper))
    found = os.stat_result((stat.S_IFREG | 0o4755, 0, 0, 0, 0, 0, 0, 0, 0, 0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "stat", lambda _path: found)
        assert _rootless._privileged(str(helper))


def test_look_at_this_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    user = look_at_user()
    assert (user.runtime, user.runtime_owner, user.uid) == (str(tmp_path), os.geteuid(), os.geteuid())
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "none"))
    assert look_at_user().runtime_owner is None
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert look_at_user().runtime == "/run/user/%d" % os.geteuid()


def test_lingering_where_there_is_logind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_rootless, "LINGER", str(tmp_path))
    monkeypatch.setattr(_rootless, "LOGIND", str(tmp_path / "none"))
    assert look_at_user().lingers is None
    monkeypatch.setattr(_rootless, "LOGIND", str(tmp_path))
    user = look_at_user()
    assert user.lingers is False
    (tmp_path / user.name).touch()
    assert look_at_user().lingers is True


@pytest.mark.parametrize(
    ("lingers", "driver", "limits", "words"),
    [
        (None, "overlay", True, []),
        (True, "overlay", True, []),
        (False, "overlay", True, ["loginctl enable-linger tester"]),
        (None, "vfs", True, ["storage driver vfs"]),
        (None, "", False, ["not limited"]),
        (False, "vfs", False, ["storage driver vfs", "not limited", "loginctl"]),
    ],
)
def test_notes(lingers: bool | None, driver: str, limits: bool, words: list[str]) -> None:
    said = notes(replace(GOOD, lingers=lingers), driver, limits)
    assert len(said) == len(words)
    assert all(word in sentence for word, sentence in zip(words, said, strict=True))


@pytest.mark.parametrize(
    ("release", "fuse_overlayfs", "closed", "words", "never"),
    [
        ("6.1.0-13-amd64", "", "no", ['driver = "overlay"', "podman system reset"], ["fuse"]),
        ("5.10.0-28-amd64", "", "", ["let root install fuse-overlayfs", "mount_program"], ["chmod"]),
        (
            "5.10.0",
            "/usr/bin/fuse-overlayfs",
            "Permission denied",
            ["chmod 0666 /dev/fuse", "mount_program"],
            ["install"],
        ),
        ("5.10.0", "/usr/bin/fuse-overlayfs", "", ['mount_program = "/usr/bin/fuse-overlayfs"'], ["chmod", "install"]),
    ],
)
def test_storage_advice(release: str, fuse_overlayfs: str, closed: str, words: list[str], never: list[str]) -> None:
    advice = storage_advice(replace(GOOD, devices={TUN: "", FUSE: closed}), release, fuse_overlayfs)
    assert all(word in advice for word in words)
    assert not any(word in advice for word in never)


@pytest.mark.parametrize(
    ("release", "version"), [("6.1.0-13-amd64", (6, 1)), ("5.10", (5, 10)), ("6.18.44-x", (6, 18)), ("unknown", (0, 0))]
)
def test_kernel(release: str, version: tuple[int, int]) -> None:
    assert kernel(release) == version


@pytest.mark.parametrize("program", ["/usr/bin/fuse-overlayfs", {"Executable": "/usr/bin/fuse-overlayfs"}])
def test_configured_fuse_needs_its_device(monkeypatch: pytest.MonkeyPatch, program: Any) -> None:
    monkeypatch.setattr(_rootless, "FUSE", "/dev/null")
    check_fuse({"overlay.mount_program": program})
    monkeypatch.setattr(_rootless, "FUSE", "/dev/none")
    check_fuse({})
    with pytest.raises(
        PhaseError, match=r"\A/dev/none cannot be opened \(No such file.*with /usr/bin/fuse-overlayfs: let"
    ):
        check_fuse({"overlay.mount_program": program})


def test_ids_need_no_directory_service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def never(*_arguments: object, **_more: object) -> None:
        raise AssertionError

    monkeypatch.setattr(subprocess, "run", never)
    file = tmp_path / "subuid"
    file.write_text("tester:100000:65536\n")
    assert _rootless._ids(str(file), "tester", 1000) == 65536


@pytest.mark.parametrize(
    ("uid", "runtime", "environment", "refused"),
    [
        (1000, None, {}, True),
        (1000, 0, {}, True),
        (1000, 1000, {}, False),
        (0, None, {}, False),
        (1000, None, {"CONTAINER_HOST": "unix:///run/podman.sock"}, False),
    ],
)
def test_podman_is_not_called_without_a_runtime_directory(
    monkeypatch: pytest.MonkeyPatch, uid: int, runtime: int | None, environment: dict[str, str], refused: bool
) -> None:
    monkeypatch.setattr(_rootless.os, "geteuid", lambda: uid)
    monkeypatch.setattr(_rootless, "look_at_user", lambda: replace(GOOD, uid=uid, runtime_owner=runtime))
    for name in _rootless.REMOTE:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    if not refused:
        _rootless.demand_runtime_directory()
        return
    with pytest.raises(PhaseError, match=r"^XDG_RUNTIME_DIR: "):
        _rootless.demand_runtime_directory()
