# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One writer per stack: a lock that is held for a whole run. PRIVATE to the collection.

Every task is another process, so no file lock could span a run. Instead the lock names its owner: the controller's
ansible-playbook process. Where that process can be seen (same boot of the same machine), the lock is as alive as the
process is; where it cannot, it is a lease that ends by itself.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional, Tuple

from ansible_collections.kubernaut.integration.plugins.module_utils._state import PRIVATE_DIRECTORY

#: Seconds after which the lock of another controller's run counts as abandoned; longer than any run with builds.
LEASE = 7200
#: Seconds between two looks at a lock that somebody else holds.
_GAP = 0.2


@dataclass(frozen=True)
class Owner:
    """The ansible-playbook process that holds a stack.

    :param host: the controller's name, for the message.
    :param boot: the boot id of the controller's kernel and the namespace of its pids: they are reused after a reboot,
        and a container has its own.
    :param pid: process id on the controller.
    :param started: start time of that process in clock ticks since boot: pids are reused.
    """

    host: str
    boot: str
    pid: int
    started: int

    def __str__(self) -> str:
        return "pid %d on %s" % (self.pid, self.host)


def _start_time(pid: int) -> Optional[int]:
    """Return when a process of this machine started, in clock ticks since boot, or None when there is none."""
    try:
        with open("/proc/%d/stat" % pid, encoding="utf-8", errors="replace") as file:
            return int(file.read().rsplit(")", 1)[1].split()[19])
    except (OSError, IndexError, ValueError):
        return None


def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return "%s %s" % (file.read().strip(), os.readlink("/proc/self/ns/pid"))
    except OSError:
        return ""  # a controller without /proc (macOS): its locks are leases


def this_owner(pid: int) -> Owner:
    """Return the owner that process ``pid`` of this machine is."""
    return Owner(os.uname().nodename, _boot_id(), pid, _start_time(pid) or 0)


def alive(owner: Owner, until: float, boot: str, now: float) -> bool:
    """Tell whether a lock still counts.

    :param until: end of the lease, seconds since the epoch.
    :param boot: boot id of the machine that asks.
    """
    if owner.boot and owner.boot == boot:
        return _start_time(owner.pid) == owner.started
    return now < until


def acquire(path: str, owner: Owner, timeout: float, dead: Optional[Owner] = None) -> Optional[Owner]:
    """Take the lock at ``path`` for ``owner``, waiting up to ``timeout`` seconds.

    :param dead: an owner that the caller knows to have ended, although this machine cannot see it.
    :returns: None when it is ours now, else the owner that holds it.
    """
    deadline = time.monotonic() + timeout
    while True:
        holder = _try(path, owner, dead)
        if holder is None or time.monotonic() >= deadline:
            return holder
        time.sleep(_GAP)


def _try(path: str, owner: Owner, dead: Optional[Owner]) -> Optional[Owner]:
    # The run that held the lock may have taken the whole directory away.
    os.makedirs(os.path.dirname(path), mode=PRIVATE_DIRECTORY, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    with os.fdopen(handle, "r+", encoding="utf-8", errors="replace") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # for the read-and-write below, not for the run
        held = _parse(file.read())
        if held is None and not _is(path, handle):
            return _try(path, owner, dead)  # given back between open and flock: nobody would see what is written here
        if held is not None and held[0] not in (owner, dead) and alive(held[0], held[1], _boot_id(), time.time()):
            return held[0]
        file.seek(0)
        file.truncate()
        json.dump({**owner.__dict__, "until": time.time() + LEASE}, file)
    return None


def _is(path: str, handle: int) -> bool:
    """Tell whether the open file is still the one at ``path``."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(handle))
    except FileNotFoundError:
        return False


def _parse(text: str) -> Optional[Tuple[Owner, float]]:
    """Return ``(owner, until)`` of a lock file's text, or None for an empty or broken one."""
    try:
        data: Mapping[str, Any] = json.loads(text)
        owner = Owner(str(data["host"]), str(data["boot"]), int(data["pid"]), int(data["started"]))
        return owner, float(data["until"])
    except (ValueError, KeyError, TypeError):
        return None


def ended_here(owner: Owner) -> bool:
    """Tell whether an owner was a process of this very machine and is no more."""
    return bool(owner.boot) and owner.boot == _boot_id() and _start_time(owner.pid) != owner.started


def release(path: str, owner: Owner) -> bool:
    """Give the lock back; return whether it was ours."""
    try:
        with open(path, "r+", encoding="utf-8", errors="replace") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            held = _parse(file.read())
            if held is None or held[0] != owner:
                return False
            file.truncate(0)  # for who has it open already
            os.unlink(path)
    except (FileNotFoundError, NotADirectoryError):  # a run that could not make its directory has no lock
        return False
    return True


#: The option that carries the owner from the controller to the target.
OWNER_SPEC: Dict[str, Any] = {
    "type": "dict",
    # The action front fills it in; only it knows the run that a task belongs to.
    "options": {
        "host": {"type": "str", "required": True},
        "boot": {"type": "str", "required": True},
        "pid": {"type": "int", "required": True},
        "started": {"type": "int", "required": True},
    },
}
