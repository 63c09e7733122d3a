# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the collection keeps its files on a target: outside every checkout. PRIVATE to the collection."""

from __future__ import annotations

import os
import stat
import tempfile
from typing import List

from ansible_collections.kubernaut.integration.plugins.module_utils._phase import PhaseError

#: Nobody but the stack's owner may even look inside; that is what protects the files below.
PRIVATE_DIRECTORY = 0o700


def state_home(wanted: str = "") -> str:
    """Return the absolute directory under which every stack has its own.

    :param wanted: ``stack_state_dir``; empty for ``$XDG_STATE_HOME/kubernaut-integration``, with the fallback
        (``~/.local/state``) of the XDG base directory specification.
    :raises PhaseError: the path cannot be part of a container's mount.
    """
    base = os.environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(base):  # the specification says to ignore relative ones
        base = os.path.join(os.path.expanduser("~"), ".local", "state")
    home = os.path.abspath(os.path.expanduser(wanted)) if wanted else os.path.join(base, "kubernaut-integration")
    if not home.isprintable() or any(character in home for character in " :,"):
        raise PhaseError(
            "stack_state_dir: a container cannot be given a directory below %r; name one without spaces, colons and "
            "commas." % home
        )
    return home


def make_private(path: str) -> bool:
    """Create ``path`` and its parents, readable by their owner only; return whether it was created.

    :raises PhaseError: it cannot be created.
    """
    if os.path.isdir(path):
        return False
    try:
        os.makedirs(os.path.dirname(path), mode=PRIVATE_DIRECTORY, exist_ok=True)
        os.mkdir(path, PRIVATE_DIRECTORY)
    except OSError as error:
        raise PhaseError(
            "stack_state_dir: %s cannot be used: %s; name a directory that this user can create or write to."
            % (error.filename or path, error.strerror)
        ) from error
    return True


def keep_private(path: str) -> List[str]:
    """Have a directory that is this user's and closed to everybody else; return what was done, in words.

    :raises PhaseError: it cannot be created, or somebody else could read and swap what is in it.
    """
    if make_private(path):
        return ["created %s" % path]
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        whose = "belongs to uid %d" % found.st_uid if stat.S_ISDIR(found.st_mode) else "is a link"
        raise PhaseError(
            "stack_state_dir: %s %s, and the stack's secrets would not be safe there; remove it, or name another "
            "directory." % (path, whose)
        )
    if stat.S_IMODE(found.st_mode) == PRIVATE_DIRECTORY:
        return []
    os.chmod(path, PRIVATE_DIRECTORY)
    return ["closed %s to others" % path]


def write_private(path: str, text: str, mode: int = 0o600, check: bool = False) -> bool:
    """Have ``text`` in the file at ``path``; return whether that is a change.

    The file is replaced at once, so that no reader ever sees half of it.

    :param mode: permission bits; 0700 for a script.
    :param check: true to change nothing.
    """
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            if file.read() == text and stat.S_IMODE(os.stat(path).st_mode) == mode:
                return False
    except FileNotFoundError:
        pass
    if check:
        return True
    handle, temporary = tempfile.mkstemp(dir=os.path.dirname(path))
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    return True
