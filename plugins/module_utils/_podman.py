# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Talk to podman's command line. PRIVATE to the collection.

containers.podman creates containers, volumes and images; this module only looks, and does what containers.podman
cannot: several objects in one inspect, labelled networks, removal in an order, builds with progress.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Optional, Sequence

from ansible_collections.kubernaut.integration.plugins.module_utils._phase import PhaseError

#: Seconds that a podman call which only looks may take; storage locks held by a parallel build are waited for.
LOOK_TIMEOUT = 60.0
#: What podman says when it is only a client, and its service does not answer.
UNREACHED = ("unable to connect", "failed to connect", "cannot connect")


@dataclass(frozen=True)
class Answer:
    """What a podman call said.

    :param rc: exit status; 124 when the call was ended because it took too long.
    :param out: standard output, decoded as UTF-8 with replacement.
    :param err: standard error, the same.
    """

    rc: int
    out: str
    err: str

    @property
    def reason(self) -> str:
        """Podman's own error in one line: the last line of its standard error, without its ``Error:`` prefix."""
        lines = [line.strip() for line in self.err.splitlines() if line.strip()]
        return lines[-1].replace("Error: ", "", 1) if lines else "exit status %d" % self.rc

    @property
    def unreached(self) -> bool:
        """Whether podman is a client (``podman --remote``, podman machine) whose service does not answer."""
        return self.rc != 0 and any(words in self.err.lower() for words in UNREACHED)


class PodmanError(PhaseError):
    """A podman call failed that had to succeed."""

    def __init__(self, arguments: Sequence[str], answer: Answer) -> None:
        super().__init__(
            "host_podman: podman's service does not answer (%s); start it with `podman machine start` or `podman "
            "system service`, or name another podman." % answer.reason
            if answer.unreached
            else "podman %s failed (exit status %d): %s" % (" ".join(arguments[:2]), answer.rc, answer.reason),
            cause="podman-unreached" if answer.unreached else "podman-failed",
            rc=answer.rc,
            stderr=answer.err[-4000:],
        )
        self.answer = answer


class Podman:
    """Podman as this stack calls it.

    :param executable: command name or path; the host role hands out a wrapper where the machine needs one.
    """

    def __init__(self, executable: str = "podman") -> None:
        self.executable = executable

    def call(self, *arguments: str, timeout: float = LOOK_TIMEOUT, stdin: Optional[str] = None) -> Answer:
        """Run podman and return what it said, whatever the exit status.

        :raises PhaseError: podman itself cannot be executed.
        """
        try:
            done = subprocess.run(
                [self.executable, *arguments],
                input=stdin,
                stdin=subprocess.DEVNULL if stdin is None else None,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout,
                check=False,
                env=_environment(),
            )
        except subprocess.TimeoutExpired:
            return Answer(124, "", "no answer within %.0f s" % timeout)
        except OSError as error:
            raise PhaseError(
                "%s cannot be run: %s. Install podman, or let the host role do it (host_install: true)."
                % (self.executable, error.strerror),
                cause="podman-missing",
            ) from error
        return Answer(done.returncode, done.stdout, done.stderr)

    def must(self, *arguments: str, timeout: float = LOOK_TIMEOUT, stdin: Optional[str] = None) -> str:
        """Run podman and return its standard output.

        :raises PodmanError: the exit status is not 0.
        """
        answer = self.call(*arguments, timeout=timeout, stdin=stdin)
        if answer.rc != 0:
            raise PodmanError(arguments, answer)
        return answer.out

    def remote(self) -> bool:
        """Tell whether this podman is only a client, and its service may be on another machine."""
        return self.call("info", "--format", "{{.Host.ServiceIsRemote}}").out.strip() == "true"

    def stream(self, *arguments: str, line: Callable[[str], None], timeout: float) -> Answer:
        """Run podman with :func:`stream`."""
        return stream([self.executable, *arguments], line=line, timeout=timeout)

    def inspect(self, *names: str, kind: str = "all") -> List[Dict[str, Any]]:
        """Inspect several objects with one call and return those that exist.

        :param kind: ``container``, ``image``, ``volume``, ``network`` or ``all``.
        :raises PodmanError: podman failed for another reason than a name that does not exist.
        """
        if not names:
            return []
        answer = self.call("inspect", "--type", kind, "--", *names)
        try:
            found = json.loads(answer.out or "[]")
        except ValueError:
            raise PodmanError(("inspect", *names), answer) from None
        if not isinstance(found, list):
            raise PodmanError(("inspect", *names), answer)
        if answer.unreached or (answer.rc != 0 and not _only_absent(answer.err)):
            raise PodmanError(("inspect", *names), answer)
        return found


def stream(command: Sequence[str], line: Callable[[str], None], timeout: float) -> Answer:
    """Run a command, hand every line of its output to ``line`` as it comes, and return all of it.

    Standard error is folded into standard output, so that a failing build's reason stands where it happened.

    :param timeout: seconds; then the command and everything that it started are asked to end, and ``rc`` is 124.
    :raises OSError: the command cannot be executed.
    """
    import signal
    import threading

    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=_environment(),
        # A group of its own: what the command starts holds the pipe open, and must end with it.
        start_new_session=True,
    )
    expired = threading.Event()

    def end() -> None:
        # podman that is told to end in the middle of a build leaves the build's container behind, running. When that
        # container ends, podman cleans up and ends by itself.
        strangers = _container_processes(process.pid)
        with contextlib.suppress(OSError):
            for stranger in strangers:
                os.kill(stranger, signal.SIGKILL)
        if strangers:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)

    def expire() -> None:
        expired.set()
        end()

    def leave(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    watchdog = threading.Timer(timeout, expire)
    watchdog.start()
    said: List[str] = []
    # A cancelled run ends this process at once, Ansible's workers included: without handlers of its own the command
    # would go on, and nobody would know of it.
    ours = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before = [signal.signal(number, leave) for number in ours]
    try:
        for text in process.stdout or ():
            said.append(text)
            line(text.rstrip("\n"))
        rc = process.wait()
    finally:
        watchdog.cancel()
        if process.poll() is None:
            end()
            process.wait()
        for number, handler in zip(ours, before):
            signal.signal(number, handler)
    output = "".join(said)
    if expired.is_set():
        return Answer(124, output, output + "\nno end within %.0f s" % timeout)
    return Answer(rc, output, output)


def _container_processes(ancestor: int) -> List[int]:
    """Return the descendants of a process that left its session, as a container's first process does."""
    parents: Dict[int, int] = {}
    sessions: Dict[int, int] = {}
    with contextlib.suppress(OSError):  # no /proc, no containers of this machine either
        for name in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError), open("/proc/%s/stat" % name, encoding="utf-8", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()
                parents[int(name)], sessions[int(name)] = int(fields[1]), int(fields[3])

    def descends(pid: int) -> bool:
        while pid in parents and pid != ancestor:
            pid = parents[pid]
        return pid == ancestor

    return [pid for pid in parents if sessions[pid] != ancestor and descends(pid)]


def _only_absent(stderr: str) -> bool:
    """Tell whether every complaint of ``podman inspect`` is about a name that does not exist."""
    # Podman writes "Error: ..." for one of the names and "error inspecting object: ..." for the others.
    complaints = [line for line in stderr.splitlines() if line.lower().startswith("error")]
    known = ("no such", "unable to find", "does not exist", "not found", "not known", "unable to inspect")
    # A time-out, or a configuration that podman cannot read, complains in other words or not at all.
    return bool(complaints) and all(any(word in line for word in known) for line in complaints)


def _environment() -> Dict[str, str]:
    """The environment for podman: English messages, since they are read here."""
    return {**os.environ, "LC_ALL": "C.UTF-8"}
