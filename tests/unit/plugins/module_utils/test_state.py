# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the collection keeps its files."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ansible_collections.kubernaut.integration.plugins.module_utils import _state
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import PhaseError


@pytest.mark.parametrize(
    ("wanted", "xdg", "home"),
    [
        ("", "/state", "/state/kubernaut-integration"),
        ("", "", "/home/dev/.local/state/kubernaut-integration"),
        ("", "relative", "/home/dev/.local/state/kubernaut-integration"),
        ("/elsewhere", "/state", "/elsewhere"),
        ("~/mine", "/state", "/home/dev/mine"),
    ],
)
def test_state_home(monkeypatch: pytest.MonkeyPatch, wanted: str, xdg: str, home: str) -> None:
    monkeypatch.setenv("HOME", "/home/dev")
    monkeypatch.setenv("XDG_STATE_HOME", xdg)
    assert _state.state_home(wanted) == home


@pytest.mark.parametrize("wanted", ["/a b", "/a:b", "/a,b", "/a\nb"])
def test_directory_that_no_mount_can_carry_is_refused(wanted: str) -> None:
    with pytest.raises(PhaseError, match=r"\Astack_state_dir: "):
        _state.state_home(wanted)


def test_private_file_is_replaced_only_when_it_differs(tmp_path: Path) -> None:
    path = tmp_path / "f"
    assert _state.write_private(str(path), "a", check=True)
    assert not path.exists()
    assert _state.write_private(str(path), "a")
    assert not _state.write_private(str(path), "a")
    path.chmod(0o644)
    assert _state.write_private(str(path), "a")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_private_directory_is_made_and_closed_again(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    assert _state.keep_private(str(path)) == [f"created {path}"]
    assert _state.keep_private(str(path)) == []
    for mode in (0o755, 0o701, 0o500):
        path.chmod(mode)
        assert _state.keep_private(str(path)) == [f"closed {path} to others"]
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_private_directory_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever made it before could read and swap what is in it."""
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(PhaseError, match=r"\Astack_state_dir: \S+ belongs to uid \d+, "):
        _state.keep_private(str(tmp_path))


def test_private_directory_that_is_a_link_is_refused_and_where_it_leads_stays_open(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir(0o755)
    (tmp_path / "link").symlink_to("there")
    with pytest.raises(PhaseError, match=r"\Astack_state_dir: \S+ is a link, "):
        _state.keep_private(str(tmp_path / "link"))
    assert stat.S_IMODE((tmp_path / "there").stat().st_mode) == 0o755
