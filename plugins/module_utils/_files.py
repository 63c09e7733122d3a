# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write private files atomically, and only when they differ. PRIVATE to the collection."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import stat
import tempfile
from dataclasses import dataclass
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.kubernaut.integration.plugins.module_utils._phase import PhaseError

#: What a diff or a result shows in place of a secret.
MASK = "********"
#: Beside the directories whose contents are hashed.
KEY_FILE = "config.key"


@dataclass(frozen=True)
class Wanted:
    """A file as it should be.

    :param name: file name without a directory.
    :param content: text, written as UTF-8.
    :param mode: permission bits.
    """

    name: str
    content: str
    mode: int


def parse_mode(text: str, what: str) -> int:
    """Return the permission bits of ``text``, four octal digits such as ``0400``.

    :raises PhaseError: anything else; an unquoted 0400 in YAML is the number 256, which must not become mode 0256.
    """
    if not re.fullmatch(r"0[0-7]{3}", text):
        raise PhaseError("%s must be four octal digits in quotes, such as '0400', not %r." % (what, text))
    return int(text, 8)


def check_name(name: str) -> None:
    """Refuse a file name that leaves its directory.

    :raises PhaseError: ``name`` is no plain file name.
    """
    if not name or name in (".", "..") or "/" in name or "\0" in name:
        raise PhaseError("%r is no file name: give a name without a directory." % name)


def may_give_away() -> bool:
    """Tell whether this process may give files to another user."""
    return os.geteuid() == 0


def read(path: str) -> Optional[str]:
    """Return the text of a regular file, or None when there is none or it may not be read."""
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return None
        with open(path, encoding="utf-8", errors="replace", newline="") as file:
            return file.read()
    except OSError:
        return None


def install(
    directory: str, directory_mode: int, files: Sequence[Wanted], owner: Optional[int] = None, check: bool = False
) -> List[str]:
    """Make ``directory`` and ``files`` in it what they should be.

    Every file is complete at every moment: it is written beside its place, given mode and owner, synced and renamed. A
    container that has mounted the *directory* sees the new file; one that has mounted the file keeps the old one.

    :param directory: absolute path. Missing parents are made with mode 0700.
    :param directory_mode: permission bits of ``directory``.
    :param owner: uid (used as gid, too) that gets directory and files; None leaves them with the caller.
    :param check: true to change nothing.
    :returns: paths that were changed, or would be; the directory itself comes first.
    :raises PhaseError: the directory is a link or another user's, the files would be open to everybody, or the system
        refuses.
    """
    if not os.path.isabs(directory):
        raise PhaseError("%s is no absolute path: give one." % directory)
    for wanted in files:
        check_name(wanted.name)
    try:
        _refuse_foreign(directory, owner)
        _refuse_open(directory, directory_mode, files)
        changed = _directory(directory, directory_mode, owner, check)
    except OSError as error:
        raise _unwritable(directory, error) from error
    for wanted in files:
        changed += install_file(directory, wanted, owner, check)
    return changed


def install_file(directory: str, wanted: Wanted, owner: Optional[int] = None, check: bool = False) -> List[str]:
    """Make one file what it should be, in a directory that :func:`install` has made; parameters and errors as there."""
    path = os.path.join(directory, wanted.name)
    try:
        if _is(path, wanted, owner):
            return []
        if not check:
            _replace(path, wanted, owner)
    except OSError as error:
        raise _unwritable(path, error) from error
    return [path]


def _unwritable(path: str, error: OSError) -> PhaseError:
    """Return the failure for what the system refused."""
    return PhaseError(
        "%s cannot be written: %s. Choose a directory that uid %d may write to."
        % (path, error.strerror or error, os.geteuid())
    )


def _stat(path: str) -> Optional[os.stat_result]:
    """Return what is at ``path`` itself (links are not followed), or None when nothing is."""
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None


def _refuse_foreign(directory: str, owner: Optional[int]) -> None:
    """Refuse a directory that somebody else controls: he could swap the files."""
    found = _stat(directory)
    if found is None:
        return
    if not stat.S_ISDIR(found.st_mode):
        raise PhaseError("%s is no directory: remove it or choose another one." % directory)
    parent = _stat(os.path.dirname(directory.rstrip("/")))
    private = parent is not None and parent.st_uid == os.geteuid() and not stat.S_IMODE(parent.st_mode) & 0o077
    # Below a private parent, another owner is the user of an earlier image, to whom root gave the directory.
    if found.st_uid not in (0, os.geteuid(), owner) and not (private and may_give_away()):
        raise PhaseError("%s belongs to uid %d: choose another directory." % (directory, found.st_uid))


def _refuse_open(directory: str, directory_mode: int, files: Sequence[Wanted]) -> None:
    """Refuse files that everybody may read unless the parent directory is closed to everybody but its owner."""
    if not directory_mode & 0o001 or not any(wanted.mode & 0o004 for wanted in files):
        return
    parent = os.path.dirname(directory.rstrip("/"))
    found = _stat(parent)
    if found is not None and stat.S_IMODE(found.st_mode) & 0o077:
        raise PhaseError(
            "Everybody on this machine could read the files in %s: close its parent with `chmod 0700 %s`."
            % (directory, parent)
        )


def _directory(directory: str, mode: int, owner: Optional[int], check: bool) -> List[str]:
    """Make the directory what it should be; return its path when that is a change."""
    found = _stat(directory)
    if found is not None and stat.S_IMODE(found.st_mode) == mode and owner in (None, found.st_uid):
        return []
    if not check:
        if found is None:
            _parents(os.path.dirname(directory.rstrip("/")))
            os.mkdir(directory, 0o700)
        if owner is not None:
            os.chown(directory, owner, owner)
        os.chmod(directory, mode)
    return [directory]


def _parents(path: str) -> None:
    """Make missing parents private; ``makedirs`` would give its mode only to the last one."""
    if not os.path.isdir(path):
        _parents(os.path.dirname(path))
        os.mkdir(path, 0o700)


def _is(path: str, wanted: Wanted, owner: Optional[int]) -> bool:
    """Tell whether the file is already what it should be."""
    found = _stat(path)
    return (
        found is not None
        and stat.S_ISREG(found.st_mode)
        and stat.S_IMODE(found.st_mode) == wanted.mode
        and owner in (None, found.st_uid)
        and read(path) == wanted.content
    )


def _replace(path: str, wanted: Wanted, owner: Optional[int]) -> None:
    """Put the file in its place; until it is complete, only this process's user can read it."""
    directory = os.path.dirname(path)
    handle, temporary = tempfile.mkstemp(prefix=".%s." % wanted.name, dir=directory)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(wanted.content.encode("utf-8"))
            file.flush()
            if owner is not None:
                os.fchown(file.fileno(), owner, owner)
            os.fchmod(file.fileno(), wanted.mode)
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    # The rename itself is only durable once the directory is.
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def content_hash(directory: str, texts: Mapping[str, str], check: bool = False) -> Tuple[str, List[str]]:
    """Return :func:`keyed_hash` over files of ``directory``, and the paths that were changed for it.

    The key is made on first use and lies in the parent of ``directory``.

    :param texts: file name -> content, secrets included.
    :param check: true to change nothing; without a key the hash is then empty.
    """
    parent = os.path.dirname(directory.rstrip("/"))
    path = os.path.join(parent, KEY_FILE)
    text = read(path)
    if text is None or not re.fullmatch(r"[0-9a-f]{64}\n", text):
        if check:
            return "", [path]
        text = secrets.token_hex(32) + "\n"
    changed = install_file(parent, Wanted(KEY_FILE, text, 0o600), check=check)
    return keyed_hash(texts, bytes.fromhex(text.strip())), changed


def keyed_hash(texts: Mapping[str, str], key: bytes) -> str:
    """Return HMAC-SHA-256 over all files, in hexadecimal.

    Keyed, because the hash goes into a container's label, where others can read it and guess a weak password offline.
    """
    digest = hmac.new(key, digestmod=hashlib.sha256)
    for name in sorted(texts):
        for part in (name.encode("utf-8"), texts[name].encode("utf-8")):
            # With its length in front, a part cannot pass for the end of its neighbour.
            digest.update(b"%d:" % len(part) + part)
    return digest.hexdigest()


def masked_diff(path: str, before: Optional[str], after: str) -> Dict[str, str]:
    """Return Ansible's ``diff`` of a file that changes, from texts whose secrets are already masked."""
    if before == after:
        after += "# what is not shown here changes: a secret, a comment, the mode or the owner\n"
    return {"before_header": path, "after_header": path, "before": before or "", "after": after}
