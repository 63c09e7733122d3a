# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the collection keeps its files."""

from __future__ import annotations

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
