# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Say what is wrong with a stack, and keep the evidence: phase ``diagnose``. PRIVATE to the collection."""

from __future__ import annotations

import contextlib
import math
import os
import re
import tarfile
import time
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.kubernaut.integration.plugins.module_utils._causes import (
    OUTSIDE,
    SYMPTOMS,
    UNKNOWN,
    Evidence,
    Named,
    explain,
)
from ansible_collections.kubernaut.integration.plugins.module_utils._gather import (
    FILES,
    SUBJECTS,
    Budget,
    Harvest,
    Look,
    bounded,
    ended,
    seconds,
)
from ansible_collections.kubernaut.integration.plugins.module_utils._http import TLS_SPEC
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import (
    Context,
    Options,
    Phase,
    PhaseError,
    Result,
)
from ansible_collections.kubernaut.integration.plugins.module_utils._plan import COMPONENTS, HOSTS_SPEC
from ansible_collections.kubernaut.integration.plugins.module_utils._report import durations
from ansible_collections.kubernaut.integration.plugins.module_utils._state import (
    make_private,
    state_home,
    write_private,
)

#: Seconds that everything may take, and those of them for looking; the rest is for writing it down.
WHOLE = 10.0
LOOKING = 8.0
#: Characters of all files together, the least that is worth keeping of one, and those of the failure in the summary.
ROOM = 8 * 1024 * 1024
LEAST = 1000
FAILURE = 20_000
#: The same of a component's state on the terminal.
WIDTH = 120
SUMMARY = "summary.md"


def describe(container: Mapping[str, Any]) -> str:
    """Say in a few words how a container stands."""
    state = container["State"]
    if state["Running"]:
        return "runs since %s" % re.sub(r"\.\d+", "", state["StartedAt"])
    return "is %s%s" % (state["Status"], ", exit status %d" % state["ExitCode"] if ended(container) else "")


def stand(component: str, look: Look, harvest: Harvest) -> str:
    """Say in one line how a component stands, and what it answers."""
    gaps = harvest.gaps
    if component in look.options["outside"]:
        answer = harvest.answers.get(component)
        if answer is None:
            return "is outside, and more is not known: %s" % gaps.get(SUBJECTS[component], "it was not asked")
        return "is outside%s: %s" % ("" if answer.ready else ", and is not ready", answer.detail)
    if component not in look.found:
        return "is not known: %s" % gaps["podman"] if "podman" in gaps else "does not exist"
    line = describe(look.found[component])
    if component in harvest.ends:
        line += " [%s]" % harvest.ends[component].id
    if component in harvest.answers:
        answer = harvest.answers[component]
        line += "%s: %s" % ("" if answer.ready else ", but is not ready", answer.detail)
    elif SUBJECTS[component] in gaps:
        line += ", and more is not known: %s" % gaps[SUBJECTS[component]]
    return line


class Verdict:
    """What is wrong with the stack.

    :param look: which containers there are.
    :param harvest: what the collectors found.
    """

    def __init__(self, look: Look, harvest: Harvest) -> None:
        self._options = look.options
        self._look = look
        self._harvest = harvest
        self._failure: str = look.options["failure"]
        self._carried: str = look.options["cause"]
        #: The cause where it was found here; None when the failed task named it, nobody knows it, or there is none.
        self.named = self._found_here()

    @property
    def cause(self) -> str:
        """The cause's id; empty when nothing is wrong as far as could be seen."""
        return self.named.id if self.named else self._carried or (UNKNOWN if self._failure else "")

    @property
    def healthy(self) -> bool:
        """Whether every container runs and every service answers as its gate demands."""
        answers = self._harvest.answers
        there = {*self._options["containers"], *self._options["outside"]} == set(answers)
        return not self._failure and there and all(answer.ready for answer in answers.values())

    def message(self) -> List[str]:
        """Return the line that names the cause and ends with its id, and the failed task's own where it did not."""
        name = self._options["name"]
        if self.healthy:
            lost = ["%d entries in %s" % (number, queue) for queue, number in self._harvest.queued.items() if number]
            but = "; but events are not in PostgreSQL: %s" % ", ".join(lost) if lost else ""
            return ["%s is healthy: its containers run, and its services answer as their gates demand%s." % (name, but)]
        if self.named and not self._failure:
            return ["%s: %s [%s]" % (name, self.named, self.named.id)]
        if not self._failure:
            return ["%s: nothing wrong was found, but not everything could be looked at." % name]
        first = next((line.strip() for line in self._failure.splitlines() if line.strip()), "")
        if self._carried:
            first = re.sub(r"( \[%s\])+$" % re.escape(self._carried), "", first)
        if self.named:
            return ["%s [%s]" % (self.named, self.named.id), first]
        return [first + (" [%s]" % self._carried if self._carried else "")]

    def _found_here(self) -> Optional[Named]:
        """Return the cause, if it was for this phase to find."""
        if self._carried not in ("", *SYMPTOMS):
            return None
        if not self._failure:
            candidates = [*self._dead(-math.inf), *self._missing(), *self._unready()]
            return next((named for named in candidates if named.id != UNKNOWN), candidates[0] if candidates else None)
        candidates = self._dead(self._begin())
        if not self._carried:
            candidates += [explain(Evidence(said=self._failure, values=self._look.values(self._meant())))]
        return next((named for named in candidates if named.id != UNKNOWN), None)

    def _begin(self) -> float:
        """Return when the run began, in seconds since the epoch, or 0.

        What had ended before then has not made this run fail.
        """
        return min((float(mark["at"]) for mark in self._options["marks"]), default=0.0)

    def _dead(self, since: float) -> List[Named]:
        """Return why containers do not run; DataStorage last, which fails because PostgreSQL or Redis is dead."""
        return [
            self._harvest.ends[component]
            for component in COMPONENTS
            if component in self._harvest.ends
            # What was never started has no end.
            and max(
                seconds(self._look.found[component]["State"].get("FinishedAt") or ""),
                seconds(self._look.found[component].get("Created") or ""),
            )
            >= since
        ]

    def _meant(self) -> str:
        """Return which component the failed task is about, as far as it says so."""
        said = self._options["task"] + self._failure
        return next((name for name, container in self._options["containers"].items() if container in said), "")

    def _missing(self) -> List[Named]:
        """Return that containers are not there, unless nobody could look."""
        if "podman" in self._harvest.gaps:
            return []
        names = [name for component, name in self._options["containers"].items() if component not in self._look.found]
        sentence = "there is no container %s" % " and no ".join(names)
        if len(names) > 1 and not self._look.found:
            sentence = "none of its containers exists"
        return [Named("no-container", sentence, "run playbooks/integration.yml")] if names else []

    def _unready(self) -> List[Named]:
        """Return why services do not answer as they must, though their containers run."""
        answers = self._harvest.answers
        return [
            explain(
                Evidence(
                    subject=SUBJECTS[component],
                    state=answers[component].state,
                    said=answers[component].detail,
                    marks=frozenset([OUTSIDE] if component in self._options["outside"] else []),
                    values=self._look.values(component),
                )
            )
            for component in COMPONENTS
            if component in answers and not answers[component].ready
        ]


def caveat(options: Options, message: Sequence[str]) -> List[str]:
    """Return what makes a usual remedy none here: nothing of the stack resets a database outside it."""
    if "postgres" not in options["outside"] or not any("stack_fresh" in line for line in message):
        return []
    return ["stack_fresh leaves %s as it is: reset that database where it comes from." % options["outside"]["postgres"]]


def summary(
    look: Look,
    verdict: Verdict,
    states: Mapping[str, str],
    harvest: Harvest,
    files: Iterable[str],
    gaps: Mapping[str, str],
) -> str:
    """Return ``summary.md``: the cause first, then what failed, how things stand, and what lies beside it."""
    options = look.options
    lines = ["# %s: %s" % (options["name"], options["task"] or "diagnosis"), "", *verdict.message()]
    lines += ["", "Cause: `%s`" % verdict.cause] if verdict.cause else []
    if options["failure"]:
        lines += ["", "## What failed", ""]
        lines += ["    " + line for line in bounded(options["failure"], FAILURE).splitlines()]
    lines += ["", "## How it stands", ""]
    for component, name in {**options["containers"], **options["outside"]}.items():
        lines.append("- %s %s" % (name, states[name]))
        lines += ["  - %s" % harvest.ends[component]] if component in harvest.ends else []
    if options["failure"] and options["marks"]:
        took = ["%s %.2f s" % pair for pair in durations(options["marks"])]
        lines += ["", "## How far it came", "", "- %s, then it failed" % ", ".join(took or ["no phase ended"])]
    here = [(end, what) for end, what in FILES.items() if any(name.endswith(end) for name in files)]
    if here:
        lines += ["", "## What lies beside this file", "", "| file | what |", "|---|---|"]
        lines += ["| `%s%s` | %s |" % ("" if end[0].isalpha() else "*", end, what) for end, what in here]
    if gaps:
        lines += ["", "## What could not be collected", "", *("- %s: %s" % gap for gap in sorted(gaps.items()))]
    lines += ["", "Secrets are masked. This goes with the stack, so copy it before `%s`." % options["teardown_command"]]
    return look.mask("\n".join(lines) + "\n")


def fit(files: Mapping[str, str], room: int) -> Tuple[Dict[str, str], Dict[str, str]]:
    """Return the files that fit into ``room`` characters, and why the others are missing.

    What a person reads first is kept first.
    """
    ends = list(FILES)
    order = sorted(files, key=lambda name: next((ends.index(end) for end in ends if name.endswith(end)), len(ends)))
    kept: Dict[str, str] = {}
    for name in order:
        if len(files[name]) <= room or room >= LEAST:
            kept[name] = bounded(files[name], room)
            room -= len(kept[name])
    return kept, {name: "there is no room for it" for name in order if name not in kept}


def write(directory: str, files: Mapping[str, str]) -> None:
    """Write files that only their owner may read, in a directory of their own.

    :raises OSError: the system refuses.
    """
    for name, text in files.items():
        write_private(os.path.join(directory, name), text)


def pack(directory: str, names: Iterable[str]) -> str:
    """Pack files of a directory into a tar beside it, in this order, for their owner only; return its path.

    :raises OSError: the system refuses.
    """
    path = directory + ".tar.gz"
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file, tarfile.open(fileobj=file, mode="w:gz", compresslevel=6) as archive:
            for name in names:
                archive.add(os.path.join(directory, name), os.path.join(os.path.basename(directory), name))
    except OSError:
        with contextlib.suppress(OSError):  # half a tar helps nobody
            os.unlink(path)
        raise
    return path


def fresh_directory(parent: str, name: str) -> str:
    """Make a private directory that nobody has written to, and return its path."""
    make_private(parent)
    path, number = os.path.join(parent, name), 1
    while not make_private(path):
        number += 1
        path = os.path.join(parent, "%s-%d" % (name, number))
    return path


def run(options: Options, context: Context) -> Result:
    """Find the cause, write the evidence beside a summary, and say where; look only."""
    whole = Budget(WHOLE)
    stack = os.path.join(state_home(options["state_dir"]), options["name"])
    look = Look(options, stack, Budget(LOOKING))
    look.inspect()
    harvest = look.gather({**look.why(), **({} if context.check else look.what())})
    verdict = Verdict(look, harvest)
    known: Mapping[str, str] = {**options["containers"], **options["outside"]}
    states = {each: look.mask(stand(component, look, harvest)) for component, each in known.items()}
    message = [look.mask(line) for line in verdict.message()]
    message += caveat(options, message)
    name = "%s-%s" % ("failure" if options["failure"] else "diagnosis", time.strftime("%Y%m%d-%H%M%S", time.gmtime()))
    directory, archive = os.path.join(stack, "report", name), ""
    where: List[Tuple[str, str]] = []
    if not context.check:
        try:
            files, squeezed = fit(harvest.files, ROOM)
            gaps = {**harvest.gaps, **squeezed}
            directory = fresh_directory(os.path.dirname(directory), name)
            write(directory, {SUMMARY: summary(look, verdict, states, harvest, files, gaps)})
            where.append(("read", os.path.join(directory, SUMMARY)))
            place = " on " + options["host"] if options["host"] else ""
            message.append("Everything is in %s%s." % (where[0][1], place))
            write(directory, files)
            archive = pack(directory, [SUMMARY, *files]) if whole.left() else ""
            where.append(("hand on", archive or "there was no time left for a tar"))
        except (OSError, PhaseError) as error:  # the failure that brought us here must stay the one that is told
            where.append(("incomplete", str(error)))
            message.append("The evidence is incomplete: %s" % error)
    return {
        "changed": False,
        "healthy": verdict.healthy,
        "cause": verdict.cause,
        "message": "\n".join(message),
        "directory": directory,
        "archive": archive,
        "states": ["%s %s" % state for state in states.items()],
        "gaps": dict(sorted(harvest.gaps.items())),
        "lines": lines(look, message[0], states, where),
    }


def lines(look: Look, message: str, states: Mapping[str, str], where: Sequence[Tuple[str, str]]) -> List[str]:
    """Return what a person reads on the terminal; what failed, and why, stands there already."""
    options = look.options
    dead = [container["Name"] for container in look.found.values() if ended(container)]
    rows = [*where, *(("look", "%s logs %s" % (options["podman"], name)) for name in dead)]
    rows.append(("take it down", options["teardown_command"]))
    if where:
        rows.append(("", "which removes the evidence with it: copy it first"))
    widest = max(map(len, states), default=0)
    return [
        "",
        "%s, as it stands:" % options["name"] if options["failure"] else message,
        "",
        *("  %-*s  %s" % (widest, name, bounded_line(state)) for name, state in states.items()),
        "",
        *("  %-12s  %s" % row for row in rows),
        "",
    ]


def bounded_line(text: str) -> str:
    """Return a line that a terminal can show."""
    return text if len(text) <= WIDTH else text[:WIDTH] + "..."


_NUMBERS: Dict[str, Dict[str, Any]] = {component: {"type": "int"} for component in COMPONENTS}

PHASE = Phase(
    name="diagnose",
    run=run,
    argument_spec={
        "name": {"type": "str", "required": True},
        "containers": {"type": "dict", "required": True},
        "outside": {"type": "dict", "default": {}},
        **HOSTS_SPEC,
        "ports": {"type": "dict", "default": {}, "options": _NUMBERS},
        "database": {"type": "str", "default": "action_history"},
        "user": {"type": "str", "default": "slm_user"},
        "password": {"type": "str", "no_log": True},
        "redis_password": {"type": "str", "no_log": True},
        "health_port": {"type": "int", "default": 0},
        **TLS_SPEC,
        "health_path": {"type": "str", "default": "/health"},
        "expect": {"type": "dict", "default": {"status": "healthy", "database": "connected"}},
        "state_dir": {"type": "str", "default": ""},
        "storage": {"type": "str", "default": ""},
        "podman": {"type": "str", "default": "podman"},
        "task": {"type": "str", "default": ""},
        "failure": {"type": "str", "default": ""},
        "cause": {"type": "str", "default": ""},
        "marks": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {"phase": {"type": "str", "required": True}, "at": {"type": "float", "required": True}},
        },
        "variables": {"type": "dict", "default": {}},
        # The action front fills these in: they are the controller's to say.
        "host": {"type": "str", "default": ""},
        "teardown_command": {"type": "str", "default": ""},
    },
)
