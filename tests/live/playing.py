# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the collection's playbooks as a person does, and read what they said."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOKS = ROOT / "playbooks"
#: The one of the environment that runs the tests, whatever PATH says.
ANSIBLE_PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")
#: Seconds that one playbook may take.
LIMIT = 600
#: Label by which everything of a stack is found.
LABEL = "io.kubernaut.integration.stack"
#: Lines of a run's output that a failed assertion shows.
TAIL = 60

_FATAL = re.compile(r"^fatal: \[(?P<host>[^\]]+)\]: FAILED! => ?\n(?P<block>(?: {4}.*\n|\n)*)", re.MULTILINE)
_FIDELITY = re.compile(r"^fidelity: (\d+) of (\d+) observed cases pass", re.MULTILINE)
_RECAP = re.compile(r"(\w+)=(\d+)")
_HEADER = re.compile(r"^TASK \[(?:\S+ : )?(?P<name>.*?)\] \**$")


def environment(**changes: str) -> dict[str, str]:
    """Return the environment of a playbook: this checkout is the collection, nobody's personal settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    kept["ANSIBLE_HOME"] = os.environ.get("ANSIBLE_HOME", str(ROOT / ".cache" / "ansible"))
    return {
        **kept,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"),
        "ANSIBLE_NOCOLOR": "1",
        **changes,
    }


def command(playbook: str | Path, extra: Mapping[str, Any], *arguments: str) -> list[str]:
    """Return the command line of a playbook.

    :param playbook: name of one in ``playbooks/`` without its ending, or the path of another.
    :param extra: extra vars with their types, as a YAML inventory would have them.
    """
    path = PLAYBOOKS / f"{playbook}.yml" if isinstance(playbook, str) else playbook
    return [str(ANSIBLE_PLAYBOOK), str(path), "--extra-vars", json.dumps(dict(extra)), *arguments]


@dataclass(frozen=True)
class Run:
    """A playbook that has ended.

    :param rc: exit status.
    :param out: what it printed to the terminal, both streams.
    """

    rc: int
    out: str

    @property
    def tail(self) -> str:
        """The end of the output, for a failed assertion."""
        return "\n".join(self.out.splitlines()[-TAIL:])

    @property
    def recap(self) -> dict[str, int]:
        """The numbers of the recap."""
        _before, _recap, after = self.out.partition("PLAY RECAP")
        return {name: int(number) for name, number in _RECAP.findall(after.splitlines()[1])}

    def failures(self, host: str = "localhost") -> list[dict[str, Any]]:
        """Results of a host's failed tasks in order, as they were shown."""
        return [yaml.safe_load(found["block"]) for found in _FATAL.finditer(self.out) if found["host"] == host]

    @property
    def complaint(self) -> str:
        """The first line of the first failed task's message."""
        failures = self.failures()
        assert failures, self.tail
        return str(failures[0]["msg"]).splitlines()[0]

    def ok(self) -> Run:
        """Demand that it succeeded."""
        assert self.rc == 0, self.tail
        return self


def play(
    playbook: str | Path,
    *arguments: str,
    check: bool = False,
    env: Mapping[str, str] | None = None,
    **extra: Any,
) -> Run:
    """Run a playbook to its end.

    :param arguments: further arguments of ansible-playbook.
    :param check: run it in check mode.
    :param env: further variables of its environment.
    :param extra: extra vars.
    """
    done = subprocess.run(
        command(playbook, extra, *(["--check"] if check else []), *arguments),
        env=environment(**(env or {})),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    return Run(done.returncode, done.stdout)


class Playing:
    """A playbook while it runs, in a process group of its own."""

    def __init__(self, playbook: str | Path, **extra: Any) -> None:
        self._process = subprocess.Popen(
            command(playbook, extra),
            # Every task's header tells how far it is.
            env=environment(ANSIBLE_DISPLAY_OK_HOSTS="1", ANSIBLE_DISPLAY_SKIPPED_HOSTS="1"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._said: list[str] = []

    @property
    def pid(self) -> int:
        """Process id of ansible-playbook."""
        return self._process.pid

    def until(self, task: str) -> None:
        """Read on until a task of this name begins."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._said.append(line)
            header = _HEADER.match(line)
            if header and header["name"] == task:
                return
        raise AssertionError(f"it ended before the task {task!r}:\n" + "".join(self._said[-TAIL:]))

    def kill(self) -> None:
        """End it at once, as the kernel does when memory runs out: no handler runs."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self.end()

    def end(self) -> Run:
        """Wait for its end."""
        out, _none = self._process.communicate(timeout=LIMIT)
        return Run(self._process.returncode, "".join(self._said) + out)


def podman(*arguments: str) -> str:
    """Call podman and return what it said; a failure fails the test."""
    done = subprocess.run(["podman", *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"podman {' '.join(arguments)}: {done.stderr}"
    return done.stdout


def left_of(stack: str) -> list[str]:
    """Return what podman still has with a stack's label."""
    kinds = {
        "container": ("ps", "--all", "--format", "{{.Names}}"),
        "network": ("network", "ls", "--format", "{{.Name}}"),
        "volume": ("volume", "ls", "--format", "{{.Name}}"),
    }
    return [
        f"{kind} {name}"
        for kind, listing in kinds.items()
        for name in podman(*listing, "--filter", f"label={LABEL}={stack}").split()
    ]


@dataclass(frozen=True)
class Stack:
    """A stack of the tests.

    :param run_id: its ``stack_run_id``.
    :param ports: component -> published port.
    :param home: its ``stack_state_dir``.
    """

    run_id: str
    ports: Mapping[str, int]
    home: Path

    @property
    def name(self) -> str:
        """Its name, as its label has it."""
        return f"workflowexecution-{self.run_id}"

    @property
    def state_dir(self) -> Path:
        """Its own directory."""
        return self.home / self.name

    @property
    def variables(self) -> dict[str, Any]:
        """The variables that make it this stack."""
        return {
            "stack_run_id": self.run_id,
            "stack_state_dir": str(self.home),
            **{f"{component}_port": port for component, port in self.ports.items()},
        }

    @property
    def facts(self) -> dict[str, Any]:
        """What its ``stack.json`` says."""
        facts: dict[str, Any] = json.loads((self.state_dir / "stack.json").read_text())
        return facts

    @property
    def env(self) -> dict[str, str]:
        """What its ``stack.env`` says."""
        lines = (self.state_dir / "stack.env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def container(self, component: str) -> str:
        """Name of a component's container."""
        return f"workflowexecution_{self.run_id}_{component}_1"

    def play(self, playbook: str | Path, *arguments: str, check: bool = False, **extra: Any) -> Run:
        """Run a playbook on this stack."""
        return play(playbook, *arguments, check=check, **{**self.variables, **extra})

    def start(self, playbook: str | Path, **extra: Any) -> Playing:
        """Start a playbook on this stack and do not wait for it."""
        return Playing(playbook, **{**self.variables, **extra})

    def conform(self, kept: Path, *options: str, **env: str) -> dict[str, Any]:
        """Demand that its DataStorage passes every case of the contract that can be tried.

        :param kept: file for the report.
        :param options: further ones of the suite, such as ``--faults``.
        :param env: further variables of its environment.
        :returns: the report; its ``cases`` have ``outcome`` and ``why``.
        """
        suite = [sys.executable, "-m", "pytest", "-q", "tests/conformance", f"--stack={self.state_dir}"]
        done = subprocess.run(
            [*suite, f"--report={kept}", *options],
            cwd=ROOT,
            env={**os.environ, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        fidelity = _FIDELITY.search(done.stdout)
        assert fidelity is not None, done.stdout
        assert fidelity[1] == fidelity[2]
        assert int(fidelity[1]) >= 100
        report: dict[str, Any] = json.loads(kept.read_text())
        return report

    def remove(self, **extra: Any) -> Run:
        """Take it down and demand that nothing is left."""
        run = self.play("teardown", **extra).ok()
        assert left_of(self.name) == [], run.tail
        assert not self.state_dir.exists()
        return run
