# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private files: atomic, idempotent, closed to others, secrets masked."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ansible_collections.kubernaut.integration.plugins.module_utils import _files, _private_files
from ansible_collections.kubernaut.integration.plugins.module_utils._files import Wanted
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import Context, PhaseError

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_directory_and_files_are_made_with_their_modes_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        changed = _files.install(str(tmp_path / "a/b"), 0o755, [Wanted("f", "größer\n", 0o444)])
    finally:
        os.umask(before)
    assert changed == [str(tmp_path / "a/b"), str(tmp_path / "a/b/f")]
    assert (mode(tmp_path / "a"), mode(tmp_path / "a/b"), mode(tmp_path / "a/b/f")) == (0o700, 0o755, 0o444)
    assert (tmp_path / "a/b/f").read_text(encoding="utf-8") == "größer\n"
    assert os.listdir(tmp_path / "a/b") == ["f"], "no temporary file is left"


def test_a_second_time_changes_nothing_and_keeps_the_inode(tmp_path: Path) -> None:
    wanted = [Wanted("f", "x\r\n", 0o400)]
    _files.install(str(tmp_path / "d"), 0o700, wanted)
    inode = (tmp_path / "d/f").stat().st_ino
    assert _files.install(str(tmp_path / "d"), 0o700, wanted) == []
    assert (tmp_path / "d/f").stat().st_ino == inode


@pytest.mark.parametrize(
    ("wanted", "directory_mode", "changed"),
    [
        (Wanted("f", "other", 0o400), 0o700, ["d/f"]),
        (Wanted("f", "x", 0o440), 0o700, ["d/f"]),
        (Wanted("f", "x", 0o400), 0o750, ["d"]),
        (Wanted("g", "x", 0o400), 0o700, ["d/g"]),
    ],
    ids=["content", "mode", "directory", "new"],
)
def test_what_differs_is_changed_and_check_mode_only_says_so(
    tmp_path: Path, wanted: Wanted, directory_mode: int, changed: list[str]
) -> None:
    directory = str(tmp_path / "d")
    _files.install(directory, 0o700, [Wanted("f", "x", 0o400)])
    paths = [str(tmp_path / name) for name in changed]
    assert _files.install(directory, directory_mode, [wanted], check=True) == paths
    assert mode(tmp_path / "d") == 0o700
    assert (tmp_path / "d/f").read_text() == "x"
    assert _files.install(directory, directory_mode, [wanted]) == paths
    assert _files.install(directory, directory_mode, [wanted]) == []


def test_check_mode_on_an_empty_machine_makes_nothing(tmp_path: Path) -> None:
    assert len(_files.install(str(tmp_path / "a/b"), 0o755, [Wanted("f", "x", 0o444)], check=True)) == 2
    assert list(tmp_path.iterdir()) == []


def test_a_reader_sees_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    _files.install(str(tmp_path / "d"), 0o700, [Wanted("f", "old", 0o400)])
    with open(tmp_path / "d/f") as reader:
        _files.install(str(tmp_path / "d"), 0o700, [Wanted("f", "new", 0o400)])
        assert reader.read() == "old"


def test_a_failed_write_leaves_the_old_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _files.install(str(tmp_path / "d"), 0o700, [Wanted("f", "old", 0o400)])

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PhaseError, match="No space left on device"):
        _files.install(str(tmp_path / "d"), 0o700, [Wanted("f", "new", 0o400)])
    assert [path.read_text() for path in (tmp_path / "d").iterdir()] == ["old"]


def test_a_link_in_the_files_place_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "d").mkdir(mode=0o700)
    (tmp_path / "d/f").symlink_to(tmp_path / "victim")
    _files.install(str(tmp_path / "d"), 0o700, [Wanted("f", "secret", 0o400)])
    assert (tmp_path / "victim").read_text() == "mine"
    assert not (tmp_path / "d/f").is_symlink()


def test_a_link_in_the_directorys_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "d").symlink_to(tmp_path)
    with pytest.raises(PhaseError, match="is no directory"):
        _files.install(str(tmp_path / "d"), 0o700, [])


@needs_root
def test_somebody_elses_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    os.chown(tmp_path / "d", 4242, 4242)
    tmp_path.chmod(0o755)
    with pytest.raises(PhaseError, match="belongs to uid 4242"):
        _files.install(str(tmp_path / "d"), 0o700, [])


@needs_root
def test_directory_of_an_earlier_images_user_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    os.chown(tmp_path / "d", 1001, 1001)
    tmp_path.chmod(0o700)
    _files.install(str(tmp_path / "d"), 0o500, [], owner=65534)
    assert (tmp_path / "d").stat().st_uid == 65534


@needs_root
def test_files_are_given_to_their_owner(tmp_path: Path) -> None:
    wanted = [Wanted("f", "x", 0o400)]
    _files.install(str(tmp_path / "d"), 0o500, wanted, owner=4242)
    assert [(path.lstat().st_uid, path.lstat().st_gid) for path in (tmp_path / "d", tmp_path / "d/f")] == [
        (4242, 4242)
    ] * 2
    assert _files.install(str(tmp_path / "d"), 0o500, wanted, owner=4242) == []


def test_secrets_that_everybody_could_read_are_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with pytest.raises(PhaseError, match="chmod 0700"):
        _files.install(str(tmp_path / "d"), 0o755, [Wanted("f", "x", 0o444)])
    assert not (tmp_path / "d").exists()
    tmp_path.chmod(0o700)
    assert _files.install(str(tmp_path / "d"), 0o755, [Wanted("f", "x", 0o444)])


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc/passwd", "a\0b"])
def test_names_that_leave_the_directory_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(PhaseError, match="is no file name"):
        _files.install(str(tmp_path / "d"), 0o700, [Wanted(name, "x", 0o400)])


def test_a_relative_directory_is_refused() -> None:
    with pytest.raises(PhaseError, match="absolute"):
        _files.install("d", 0o700, [])


@pytest.mark.parametrize("text", ["256", "400", "0o400", "0800", "u=r", ""])
def test_modes_that_yaml_may_have_mangled_are_refused(text: str) -> None:
    with pytest.raises(PhaseError, match="four octal digits"):
        _files.parse_mode(text, "mode")


def options(directory: Path, content: str = "s3cr3t", **more: object) -> dict[str, object]:
    file = {"name": "password", "content": content, "mode": "0400"}
    return {"directory": str(directory), "directory_mode": "0700", "files": [file], "owner": None, **more}


def test_private_files_shows_no_content(tmp_path: Path) -> None:
    first = _private_files.run(options(tmp_path / "d"), Context(diff=True))
    second = _private_files.run(options(tmp_path / "d", "other-s3cr3t"), Context(diff=True))
    third = _private_files.run(options(tmp_path / "d", "other-s3cr3t"), Context(diff=True))
    assert [result["changed"] for result in (first, second, third)] == [True, True, False]
    assert "s3cr3t" not in str([first, second, third])
    assert second["diff"][0]["before"] != second["diff"][0]["after"], "a change is visible although it is masked"
    assert third["diff"] == []
    assert (tmp_path / "d/password").read_text() == "other-s3cr3t"


def test_private_files_does_not_pretend_to_give_files_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_files, "may_give_away", lambda: False)
    with pytest.raises(PhaseError, match="Only root"):
        _private_files.run(options(tmp_path / "d", owner=4242), Context())


def test_a_file_that_is_named_twice_is_refused(tmp_path: Path) -> None:
    twice = options(tmp_path / "d")
    twice["files"] = [*twice["files"], *twice["files"]]  # type: ignore[misc]
    with pytest.raises(PhaseError, match="named twice"):
        _private_files.run(twice, Context())
