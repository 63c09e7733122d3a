# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is the container still the one that was started? PRIVATE to the collection."""

from __future__ import annotations

import os
import time
from datetime import datetime, timezone
from typing import Any, Dict, FrozenSet, List, Optional, Tuple

from ansible_collections.kubernaut.integration.plugins.module_utils import _causes, _evidence
from ansible_collections.kubernaut.integration.plugins.module_utils._gate import Observation
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import PhaseError
from ansible_collections.kubernaut.integration.plugins.module_utils._plan import LABEL
from ansible_collections.kubernaut.integration.plugins.module_utils._podman import Podman

#: How much of a container's log a failure may quote.
LOG_LINES = 20
LOG_WIDTH = 400
#: How often podman is asked again, and after how many seconds, when a process is gone that podman still says runs.
SOON, SOON_GAP = 20, 0.01
#: How often the log of a container that ended is read again while it is empty, and after how many seconds.
LATE, LATE_GAP = 5, 0.1
#: Podman's words for a container that has ended while it is not tidied up, and the most seconds that this takes.
UNSETTLED, SETTLE = ("stopping", "stopped"), 3.0


class Watch:
    """Watches one container while a gate waits.

    Called, it returns None while the container lives and is the one that it was at first, else a final observation.
    The process is looked at first, which costs nothing; podman is asked only when the process is gone or a gate is
    about to open. Where podman is remote, its processes are another machine's, and podman is asked each time.

    :param podman: how podman is called.
    :param name: the container's name.
    :raises PhaseError: there is no such container.
    """

    def __init__(self, podman: Podman, name: str) -> None:
        self._podman = podman
        self.name = name
        first = self._look()
        if first is None:
            text = "There is no container %s to wait for; bring the stack up first." % name
            raise PhaseError(text, cause="no-container")
        self._first: Dict[str, Any] = first
        self._last = first
        self._memory: Optional[_evidence.Memory] = None
        self._seen = False
        self._asked = datetime.now(timezone.utc).isoformat()

    def _look(self) -> Optional[Dict[str, Any]]:
        found = self._podman.inspect(self.name, kind="container")
        return found[0] if found else None

    def demand_port(self, variable: str, port: int) -> None:
        """Refuse to prove one thing while watching another.

        :param variable: the one that says where the gate asks.
        :raises PhaseError: the container publishes ports, and this is not one of them.
        """
        bindings = (self._first["HostConfig"].get("PortBindings") or {}).values()
        published = sorted({int(binding["HostPort"]) for each in bindings for binding in each or []})
        if published and port not in published:
            raise PhaseError(
                "%s: the container %s is published on port %s, not on %d; set %s, or give the playbook the stack's own "
                "variables (-e @.../vars.json, as the end of its run says)."
                % (variable, self.name, ", ".join(map(str, published)), port, variable)
            )

    @property
    def identity(self) -> Dict[str, Any]:
        """What must not change while the gate waits: ``id``, ``started_at`` and ``restarts``."""
        return _identity(self._first)

    def __call__(self, certain: bool) -> Optional[Observation]:
        """Look.

        :param certain: ask podman even if the process is there, as a gate does before it opens.
        """
        state = self._first["State"]
        if not certain and state["Running"] and _parent(state["Pid"]) == state.get("ConmonPid", -1):
            # When it has ended, its control group is gone.
            self._memory = _evidence.memory(self._first) or self._memory
            self._seen = True
            return None
        now = self._look()
        for _more in range(0 if certain or not self._seen else SOON):
            if now is None or not now["State"]["Running"] or _identity(now) != self.identity:
                break
            time.sleep(SOON_GAP)  # its process is gone, and podman does not know yet
            now = self._look()
        self._last = now or self._last
        if now is None:
            return Observation(False, "removed", "the container %s was removed" % self.name, final=True)
        if now["State"]["Running"] and _identity(now) == self.identity:
            return None
        if now["State"]["Running"]:
            return Observation(False, "replaced", "the container %s was started anew" % self.name, final=True)
        status = str(now["State"]["Status"])
        if status in UNSETTLED:
            return Observation(False, "exited", "the container %s ended" % self.name, final=True)
        if status != "exited":
            return Observation(False, status, "the container %s is %s" % (self.name, status), final=True)
        code = now["State"]["ExitCode"]
        return Observation(False, "exited", "the container %s exited with status %d" % (self.name, code), final=True)

    def _settle(self) -> None:
        """Look until podman has tidied up after the container's end: only then its exit status is known."""
        deadline = time.monotonic() + SETTLE
        while self._last["State"]["Status"] in UNSETTLED and time.monotonic() < deadline:
            time.sleep(SOON_GAP)
            self._last = self._look() or self._last

    def evidence(self) -> Tuple[FrozenSet[str], Dict[str, Any], Optional[int]]:
        """Return marks, values and exit status of the container as it was last seen, for :class:`_causes.Evidence`."""
        self._settle()
        label = self._last["Config"]["Labels"].get(LABEL + "stack") if self._last["Config"].get("Labels") else None
        peers: List[Dict[str, Any]] = []
        if label:
            names = self._podman.call("ps", "--all", "--quiet", "--filter", "label=%sstack=%s" % (LABEL, label)).out
            others = self._podman.inspect(*names.split(), kind="container")
            peers = [other for other in others if other["Id"] != self._last["Id"]]
        marks, values = _evidence.of_container(self._podman, self._last, peers, self._memory)
        state = self._last["State"]
        return marks, values, state["ExitCode"] if state["Status"] == "exited" else None

    def own_address(self, port: int) -> Optional[Tuple[str, int]]:
        """Return where the container itself listens for what is published at ``port``; None where that is not known.

        Only root of the same machine is in the container's network: for others that address may be a stranger's.
        """
        if os.geteuid() != 0 or not self._seen:
            return None
        for inner, bindings in (self._first["HostConfig"].get("PortBindings") or {}).items():
            if any(int(binding["HostPort"]) == port for binding in bindings or []):
                for network in (self._first["NetworkSettings"].get("Networks") or {}).values():
                    if network.get("IPAddress"):
                        return network["IPAddress"], int(inner.split("/")[0])
        return None

    def log(self) -> List[str]:
        """Return the last lines of the log since the container's start; no colours, bounded in number and width."""
        lines = self._log_since(_evidence.first_words(self._last))
        for _more in range(0 if self._last["State"]["Running"] else LATE):
            if lines:
                break
            time.sleep(LATE_GAP)  # a monitor that has much to do writes down what it read after the container's end
            lines = self._log_since(_evidence.first_words(self._last))
        return lines

    def last_words(self) -> List[str]:
        """Return those lines of the log that can tell why the gate did not open.

        Of a container that has ended, all since its start, but none of an earlier life; of a living one, those since
        the gate was asked, because an older complaint is no cause of now.
        """
        return self.log() if not self._last["State"]["Running"] else self._log_since(self._asked)

    def _log_since(self, moment: str) -> List[str]:
        # Without --tail: with it, podman 4.3 loses a last line that was written in two pieces.
        answer = self._podman.call("logs", "--since", moment, self.name, timeout=5)
        lines = (answer.out + answer.err).splitlines()[-LOG_LINES:]
        return [_causes.plain(line)[:LOG_WIDTH] for line in lines]


def _parent(pid: int) -> Optional[int]:
    """Return the parent of a process of this machine, or None when there is no such process.

    Only a container's own process has podman's monitor for a parent: a process that merely has its number has not.
    """
    try:
        with open("/proc/%d/stat" % pid, encoding="utf-8", errors="replace") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except OSError:
        return None


def _identity(container: Dict[str, Any]) -> Dict[str, Any]:
    return {
        "id": container["Id"],
        "started_at": container["State"]["StartedAt"],
        "restarts": container.get("RestartCount", 0),
    }
