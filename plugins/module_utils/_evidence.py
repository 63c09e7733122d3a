# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts about a container that its log does not tell: why it ended, and how much memory it has. PRIVATE.

Podman's OOMKilled is not to be relied on: with control groups of version 1 and runc, a container that ran out of
memory has exit status 137 and OOMKilled false. So the kernel's log, the control group and what the container's monitor
noted are asked, too, and podman's events tell whether somebody asked podman to kill it.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Dict, FrozenSet, List, Mapping, Optional, Sequence, Set, Tuple

from ansible_collections.kubernaut.integration.plugins.module_utils import _causes
from ansible_collections.kubernaut.integration.plugins.module_utils._plan import LABEL
from ansible_collections.kubernaut.integration.plugins.module_utils._podman import Podman

#: Seconds that each look may take; this runs when something failed already.
LOOK = 3.0
#: Seconds by which a line of the log may be older than what podman takes for the start, where nothing better is known.
HEAD_START = 1.0
#: Where control groups are; version 1 has a directory for each controller.
CGROUPS = "/sys/fs/cgroup"
#: Seconds before its end within which a signal of podman's counts as the cause of a container's end.
KILL_TIME = 3.0
#: A share of the limit from which memory counts as used up.
FULL = 0.95


@dataclass(frozen=True)
class Memory:
    """What a control group says of a container's memory, in bytes.

    :param current: in use now, the page cache included.
    :param peak: the most that was ever in use; ``current`` where the kernel does not keep it.
    :param limit: None where there is none.
    :param kills: processes that were killed because memory ran out.
    :param cache: of ``current``, what can be taken back: pages of files that nobody used lately.
    """

    current: int
    peak: int
    limit: Optional[int]
    kills: int
    cache: int = 0

    @property
    def full(self) -> bool:
        """Whether the limit was reached, the page cache aside, which fills any limit and is given back."""
        return self.limit is not None and self.current - self.cache >= FULL * self.limit


def memory(container: Mapping[str, Any], root: str = CGROUPS) -> Optional[Memory]:
    """Read a running container's control group; None where it cannot be read, or is gone.

    :param container: as ``podman inspect`` describes it.
    """
    path = (container["State"].get("CgroupPath") or "").lstrip("/")
    if not path:
        return None
    limit = container["HostConfig"].get("Memory") or None
    try:
        if os.path.exists(os.path.join(root, "cgroup.controllers")):
            group = os.path.join(root, path)
            current = int(_read(group, "memory.current"))
            peak = current
            with contextlib.suppress(OSError):  # since Linux 5.19
                peak = int(_read(group, "memory.peak"))
            kills = _count(_read(group, "memory.events"), "oom_kill")
            return Memory(current, peak, limit, kills, _cache(group, "inactive_file"))
        group = os.path.join(root, "memory", path)
        return Memory(
            int(_read(group, "memory.usage_in_bytes")),
            int(_read(group, "memory.max_usage_in_bytes")),
            limit,
            _count(_read(group, "memory.oom_control"), "oom_kill"),
            _cache(group, "total_inactive_file"),
        )
    except (OSError, ValueError):
        return None


def _read(directory: str, name: str) -> str:
    with open(os.path.join(directory, name), encoding="ascii", errors="replace") as file:
        return file.read()


def _cache(group: str, name: str) -> int:
    try:
        return _count(_read(group, "memory.stat"), name)
    except (OSError, ValueError):
        return 0


def _count(text: str, name: str) -> int:
    """Return the number behind a name in a file of lines ``name number``."""
    return next((int(line.split()[1]) for line in text.splitlines() if line.split()[:1] == [name]), 0)


def kernel_log(identity: str, since: float = 0.0) -> List[str]:
    """Return the kernel's lines about memory that ran out in one container; empty where they may not be read.

    :param identity: the container's full id, which is part of its control group's name.
    :param since: seconds since the epoch; what an earlier life of the container met is no cause of now.
    """
    program = shutil.which("dmesg", path=os.environ.get("PATH", "") + ":/bin:/usr/bin:/sbin:/usr/sbin")
    if not program:
        return []
    try:
        done = subprocess.run(
            [program],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=LOOK,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    boot = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    lines = [line for line in done.stdout.splitlines() if "oom-kill:" in line and identity in line]
    return [line for line in lines if boot + _stamp(line) >= since - HEAD_START]


def _stamp(line: str) -> float:
    """Return the seconds at the beginning of a line of the kernel's; endlessly many where there are none."""
    found = re.match(r"\[ *(\d+\.\d+)\]", line)
    return float(found[1]) if found else math.inf


def events(podman: Podman, identity: str, since: str) -> List[Tuple[str, float]]:
    """Return what happened to a container, oldest first: podman's word (``start``, ``kill``, ``died``), and when.

    :param since: RFC 3339.
    :returns: words with seconds since the epoch.
    """
    arguments = ("--stream=false", "--since", since, "--filter", "container=" + identity, "--format", "json")
    answer = podman.call("events", *arguments, timeout=LOOK)
    found: List[Tuple[str, float]] = []
    for line in answer.out.splitlines():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            event = json.loads(line)
            # Podman 4 has the time as text, podman 5 in nanoseconds.
            at = event["timeNano"] / 1e9 if "timeNano" in event else seconds(event["Time"])
            found.append((str(event["Status"]), at))
    return found


def monitor_saw(container: Mapping[str, Any]) -> bool:
    """Tell whether the container's monitor noted that memory ran out.

    It leaves a file where it was started, which for containers of a stack is a directory of their own; podman before 5
    looks for it elsewhere.
    """
    labels = container["Config"].get("Labels") or {}
    home, component = labels.get(LABEL + "state-dir"), labels.get(LABEL + "component")
    if not home or not component:
        return False
    try:
        noted = os.stat(os.path.join(home, "run", component, "oom")).st_mtime
    except OSError:
        return False
    return noted >= seconds(container["State"]["StartedAt"])


def first_words(container: Mapping[str, Any]) -> str:
    """Return from when a container's log is that of its present life, RFC 3339, for ``podman logs --since``.

    Its process runs before podman takes the time of the start, on a busy machine by more than a second; the file with
    its process id is older than anything that it said.
    """
    begin = seconds(container["State"]["StartedAt"]) - HEAD_START
    with contextlib.suppress(OSError):  # podman is remote, or has tidied up
        begin = os.stat(container.get("PidFile") or "").st_mtime
    # A container that was never started has the year 1.
    return datetime.fromtimestamp(max(begin, 0.0), timezone.utc).isoformat()


def seconds(text: str) -> float:
    """Return a time of podman's (RFC 3339, in UTC or with an offset, nanoseconds) in seconds since the epoch."""
    found = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)", text)
    if found is None:
        return 0.0
    zone = "+0000" if found[3] == "Z" else found[3].replace(":", "")
    return datetime.strptime(found[1] + zone, "%Y-%m-%dT%H:%M:%S%z").timestamp() + float(found[2] or 0)


def _readable(size: int) -> str:
    return "no limit" if not size else "%d MiB" % (size // (1024 * 1024))


def of_container(
    podman: Podman, container: Mapping[str, Any], peers: Sequence[Mapping[str, Any]] = (), last: Optional[Memory] = None
) -> Tuple[FrozenSet[str], Dict[str, Any]]:
    """Return the marks and values of :class:`_causes.Evidence` for a container.

    :param container: as ``podman inspect`` describes it.
    :param peers: the stack's other containers, likewise.
    :param last: its memory when it was last looked at.
    """
    state = container["State"]
    values: Dict[str, Any] = {
        "container": container["Name"],
        "memory": _readable(container["HostConfig"].get("Memory") or 0),
    }
    component = (container["Config"].get("Labels") or {}).get(LABEL + "component")
    if component:
        values["prefix"] = component
    marks: Set[str] = set()
    status = 0 if state["Running"] else state["ExitCode"]
    began = seconds(state["StartedAt"])
    # It need not be the container's first process that was killed: initdb ends with 1 when its child was.
    if status != 0 and (
        state.get("OOMKilled") or (last and last.kills) or monitor_saw(container) or kernel_log(container["Id"], began)
    ):
        marks.add(_causes.OOM)
    if status == 137:
        if last and last.full:
            marks.add(_causes.AT_LIMIT)
        ended = seconds(state.get("FinishedAt") or "")
        happened = events(podman, container["Id"], state["StartedAt"])
        # A signal of long ago, such as HUP to read the configuration again, has not ended it.
        if any(name == "kill" and ended - at < KILL_TIME for name, at in happened):
            marks.add(_causes.KILLED)
        first = [peer for peer in peers if ended_before(peer, container)]
        if first:
            marks.add(_causes.PEER_FIRST)
            values["peer"] = " and ".join(str(peer["Name"]) for peer in first)
    return frozenset(marks), values


def ended_before(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Tell whether one container ended before another one did, while that one ran; it may have been started since."""
    state = one["State"]
    start, end = seconds(other["State"]["StartedAt"]), seconds(other["State"].get("FinishedAt") or "")
    again = state["Running"] and seconds(state["StartedAt"]) < end
    return start < seconds(state.get("FinishedAt") or "") < end and not again
