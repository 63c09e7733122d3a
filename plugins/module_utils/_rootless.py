# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What podman needs of a machine when it is not run by root. PRIVATE to the collection.

Everything is looked at before podman is called: podman without a runtime directory keeps another one in mind for good,
and what it says about the rest names the symptom and not the cause.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass
from typing import Any, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.kubernaut.integration.plugins.module_utils._phase import PhaseError

#: Subordinate ids that a stack needs at least: the highest that a container of it runs as is 1001.
LEAST_IDS = 1002
#: Native overlay mounts of users came with this kernel; before it, fuse-overlayfs is needed.
NATIVE_OVERLAY = (5, 11)
TUN, FUSE = "/dev/net/tun", "/dev/fuse"
#: Variables that make a client of any podman.
REMOTE = ("CONTAINER_HOST", "CONTAINER_CONNECTION")
#: Where systemd-logind says which users it keeps running without a session.
LOGIND, LINGER = "/run/systemd/users", "/var/lib/systemd/linger"


@dataclass(frozen=True)
class User:
    """The user whose podman it is, and what the machine grants.

    :param uid: number.
    :param name: login name; the number where there is none.
    :param runtime: ``XDG_RUNTIME_DIR``, or what podman takes where it is not set.
    :param runtime_owner: uid of its owner; None when it is no directory.
    :param subuids: number of subordinate uids; ``subgids`` likewise.
    :param unprivileged: helpers (``newuidmap``) that are there but have no privilege to do their work.
    :param devices: device -> why it cannot be opened; empty when it can.
    :param lingers: whether systemd-logind keeps the user's processes; None where there is no logind.
    """

    uid: int
    name: str
    runtime: str
    runtime_owner: Optional[int]
    subuids: int
    subgids: int
    unprivileged: Tuple[str, ...]
    devices: Mapping[str, str]
    lingers: Optional[bool]


def count_ids(text: str, user: str, uid: int) -> int:
    """Return how many ids the text of ``/etc/subuid`` or ``/etc/subgid`` gives to a user, by name or by number."""
    count = 0
    for line in text.splitlines():
        fields = line.strip().split(":")
        if len(fields) == 3 and fields[0] in (user, str(uid)) and fields[2].isdigit():
            count += int(fields[2])
    return count


def _ids(path: str, user: str, uid: int) -> int:
    """Return the number of subordinate ids, also where a directory service keeps them."""
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
        count = count_ids(file.read(), user, uid)
        if count:
            return count
    getsubids = shutil.which("getsubids")
    if getsubids is None:
        return 0
    command = [getsubids, *(["-g"] if path.endswith("gid") else []), user]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    # 0: tester 100000 65536
    return sum(int(line.split()[-1]) for line in said.splitlines() if line.split()[-1:] and line.split()[-1].isdigit())


def _refusal(device: str) -> str:
    """Open a device and say why that cannot be done; permissions alone do not tell inside a container."""
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _privileged(path: str) -> bool:
    """Tell whether a helper is setuid root or carries file capabilities."""
    found = os.stat(path)
    if found.st_mode & stat.S_ISUID and found.st_uid == 0:
        return True
    try:
        return bool(os.getxattr(path, "security.capability"))
    except OSError:
        return False


def look_at_user() -> User:
    """Look at the user of this process."""
    uid = os.geteuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    runtime = os.environ.get("XDG_RUNTIME_DIR", "") or "/run/user/%d" % uid
    owner = os.stat(runtime).st_uid if os.path.isdir(runtime) else None
    helpers = [path for path in map(shutil.which, ("newuidmap", "newgidmap")) if path]
    return User(
        uid=uid,
        name=name,
        runtime=runtime,
        runtime_owner=owner,
        subuids=_ids("/etc/subuid", name, uid),
        subgids=_ids("/etc/subgid", name, uid),
        unprivileged=tuple(path for path in helpers if not _privileged(path)),
        devices={device: _refusal(device) for device in (TUN, FUSE)},
        lingers=os.path.exists(os.path.join(LINGER, name)) if os.path.isdir(LOGIND) else None,
    )


def runtime_problem(user: User) -> str:
    """Say what is wrong with the runtime directory; without it podman must not even be called."""
    make = "log in as %s itself (not through su or sudo), or let root run `install -d -o %s -m 0700 /run/user/%d`" % (
        user.name,
        user.name,
        user.uid,
    )
    if user.runtime_owner is None:
        return (
            "XDG_RUNTIME_DIR: there is no directory %s, where podman of %s keeps what runs: %s, and set it to that."
            % (
                user.runtime,
                user.name,
                make,
            )
        )
    if user.runtime_owner != user.uid:
        return "XDG_RUNTIME_DIR: %s belongs to uid %d and not to %s (uid %d): %s, and set it to that." % (
            user.runtime,
            user.runtime_owner,
            user.name,
            user.uid,
            make,
        )
    return ""


def client() -> bool:
    """Tell whether the environment makes a client of any podman, which keeps nothing in a runtime directory."""
    return any(map(os.environ.get, REMOTE))


def demand_runtime_directory() -> None:
    """Refuse a user without a runtime directory before podman is called for the first time.

    :raises PhaseError: the directory is missing, or somebody else's.
    """
    if os.geteuid() == 0 or not sys.platform.startswith("linux") or client():
        return
    problem = runtime_problem(look_at_user())
    if problem:
        raise PhaseError(problem, problems=[problem])


def problems(user: User) -> List[str]:
    """Return one sentence, with its remedy, for everything that keeps this user from running containers."""
    said = [runtime_problem(user)] if runtime_problem(user) else []
    for path, count in (("/etc/subuid", user.subuids), ("/etc/subgid", user.subgids)):
        if count < LEAST_IDS:
            said.append(
                "%s gives %s %d subordinate ids and containers need %d: let root run `usermod --add-sub%ss "
                "100000-165535 %s` (a range that nobody else has), then run `podman system migrate`."
                % (path, user.name, count, LEAST_IDS, path[-3:], user.name)
            )
    for path in user.unprivileged:
        said.append("%s is not setuid root, so it cannot map ids: let root run `chmod u+s %s`." % (path, path))
    if user.devices[TUN]:
        remedy = "let root run `modprobe tun`" if not os.path.exists(TUN) else "let root run `chmod 0666 %s`" % TUN
        said.append(
            "%s cannot be opened by %s (%s), and the network of its containers needs it: %s, in a container give it "
            "the device." % (TUN, user.name, user.devices[TUN], remedy)
        )
    return said


def kernel(release: str) -> Tuple[int, int]:
    """Return major and minor number of a kernel's release such as ``6.1.0-13-amd64``."""
    found = re.match(r"(\d+)\.(\d+)", release)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def storage_advice(user: User, release: str, fuse_overlayfs: str) -> str:
    """Say how this user's podman could have a faster storage driver than vfs.

    :param release: the kernel's.
    :param fuse_overlayfs: path of the program; empty when it is not installed.
    """
    setting = 'write `[storage]` and `driver = "overlay"` to ~/.config/containers/storage.conf'
    reset = "run `podman system reset`, which removes every image and container of %s, and then " % user.name
    if kernel(release) < NATIVE_OVERLAY:
        if not fuse_overlayfs:
            reset = "let root install fuse-overlayfs, " + reset
        elif user.devices[FUSE]:
            reset = "let root run `chmod 0666 %s` (%s), %s" % (FUSE, user.devices[FUSE], reset)
        program = fuse_overlayfs or "/usr/bin/fuse-overlayfs"
        setting += ', under `[storage.options.overlay]` also `mount_program = "%s"`' % program
    return reset + setting


def notes(user: User, driver: str, limits: bool) -> List[str]:
    """Return one sentence, with its remedy, for everything that works less well than it could.

    :param driver: podman's storage driver; empty when it is not known.
    :param limits: memory and number of processes can be limited.
    """
    said: List[str] = []
    if driver == "vfs":
        advice = storage_advice(user, os.uname().release, shutil.which("fuse-overlayfs") or "")
        said.append(
            "podman keeps images with the storage driver vfs, which copies every layer: building and starting take "
            "longer and more space. To change that, %s." % advice
        )
    if not limits:
        said.append(
            "Memory and processes of the stack's containers are not limited: control groups of version 1 allow that "
            "to root only, those of version 2 where systemd delegates the controllers."
        )
    if user.lingers is False:
        said.append(
            "The stack ends with the last session of %s, because systemd-logind ends a user's processes then: run "
            "`loginctl enable-linger %s`." % (user.name, user.name)
        )
    return said


def check_fuse(options: Mapping[str, Any]) -> None:
    """Refuse a podman that mounts images with fuse-overlayfs where that cannot work; a probe without image works.

    :param options: ``graphOptions`` of ``podman info``.
    :raises PhaseError: /dev/fuse cannot be opened.
    """
    program = options.get("overlay.mount_program")
    refusal = _refusal(FUSE) if program else ""
    if refusal:
        raise PhaseError(
            "%s cannot be opened (%s), and podman mounts images with %s: let root run `modprobe fuse` or "
            "`chmod 0666 %s`, or take mount_program out of ~/.config/containers/storage.conf."
            % (FUSE, refusal, program.get("Executable", program) if isinstance(program, dict) else program, FUSE)
        )


#: What podman says about a user's container -> what it means and what to do; the first that fits.
HINTS: Sequence[Tuple[str, str]] = (
    (
        "from database",
        "storage.conf names another storage driver than the one that images are kept with: take that out again, or "
        "first run `podman system reset`, which removes every image and container",
    ),
    (
        "fuse: device",
        "%s is missing or closed to this user: let root run `modprobe fuse` or `chmod 0666 %s`" % (FUSE, FUSE),
    ),
    (TUN, "%s is missing or closed to this user: let root run `modprobe tun` or `chmod 0666 %s`" % (TUN, TUN)),
    ("fuse-overlayfs", "%s is missing or closed to this user: let root run `chmod 0666 %s`" % (FUSE, FUSE)),
    ("newuidmap", "subordinate ids cannot be mapped: see /etc/subuid and whether newuidmap is setuid root"),
    ("newgidmap", "subordinate ids cannot be mapped: see /etc/subgid and whether newgidmap is setuid root"),
    ("rootless netns", "the runtime directory cannot be used: see XDG_RUNTIME_DIR, then run `podman system migrate`"),
    ("user namespace", "user namespaces are closed to users: let root see `sysctl user.max_user_namespaces`"),
    ("slirp4netns", "slirp4netns cannot make the network: let root install slirp4netns"),
    ("pasta", "pasta cannot make the network: let root install passt"),
)
