# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happened to the stack's containers since they were proven? Phase ``stack_stable``. PRIVATE to the collection.

A gate says how things are now. A container that died and was started again looks well to every gate, and what was
written in between is lost all the same. So a run that proves a stack records which containers it proved, in
``identity.json`` in the stack's directory, and every later look compares. Ids, start times and restart counts decide;
podman's events and the kernel's log say when and why, as far as they can be read.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Dict, FrozenSet, Iterable, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.kubernaut.integration.plugins.module_utils import _causes, _evidence
from ansible_collections.kubernaut.integration.plugins.module_utils._causes import Evidence, Named
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import (
    Context,
    Options,
    Phase,
    PhaseError,
    Result,
)
from ansible_collections.kubernaut.integration.plugins.module_utils._plan import COMPONENTS, LABEL
from ansible_collections.kubernaut.integration.plugins.module_utils._podman import Podman
from ansible_collections.kubernaut.integration.plugins.module_utils._state import (
    make_private,
    state_home,
    write_private,
)
from ansible_collections.kubernaut.integration.plugins.module_utils._watch import Watch

IDENTITY_FILE = "identity.json"
#: A share of the limit from which the most that was ever in use is worth a note.
NEAR = 0.9
MIB = 1024 * 1024
#: What is asked for of podman's events; health checks and suites that execute in a container make thousands of others.
STATUSES = ("start", "died", "kill", "stop", "restart", "remove")
#: Podman's words for having been told to end a container in an orderly way.
TOLD = frozenset(("stop", "restart"))
#: Seconds by which podman's event of a start may be dated beside what podman says of the container.
SLACK = 2.0
#: Seconds between the kernel's word that memory ran out and podman's that the container ended; two clocks tell them.
AT_ONCE = 10.0
#: Exit status of a container that got SIGKILL.
SIGKILLED = 137
#: How the ids of all causes begin that have to do with memory.
OUT_OF_MEMORY = "out-of-memory"
#: Component -> its name in sentences.
SUBJECTS: Mapping[str, str] = {component: subject for subject, component in _causes.PREFIXES.items()}

_AGAIN = "run playbooks/integration.yml, which proves the stack again"
_WHO = "see who did it (`podman events`, the machine's log), then " + _AGAIN
_MORE = "raise %s_memory and " + _AGAIN + ", or find what takes it and start clean with stack_fresh: true"
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)")
_KILL = re.compile(r"^\[ *(?P<at>\d+\.\d+)\] oom-kill:(?:.*,task=(?P<process>.+?),pid=)?")


@dataclass(frozen=True)
class Life:
    """One life of a container, from its start to its end.

    :param name: of the container.
    :param id: of the container.
    :param started_at: when podman started it, in podman's words.
    :param restarts: how often podman restarted it by itself.
    :param kills: processes in it that were killed because memory ran out.
    :param run: the run of a playbook that made it; empty when none did.
    """

    name: str
    id: str
    started_at: str
    restarts: int
    kills: int = 0
    run: str = ""

    @property
    def begin(self) -> float:
        """When it started, in seconds since the epoch."""
        return moment(self.started_at)


@dataclass(frozen=True)
class Event:
    """What podman wrote down about a container: ``at`` in seconds since the epoch."""

    id: str
    name: str
    status: str
    at: float
    exit_code: int


@dataclass(frozen=True)
class End:
    """The end of a life: when, its exit status, and what else podman wrote down about that life."""

    at: float
    exit_code: int
    statuses: FrozenSet[str]


@dataclass(frozen=True)
class Kill:
    """A process that the kernel killed because memory ran out: ``line`` holds the id of its container."""

    at: float
    process: str
    line: str


@dataclass(frozen=True)
class Past:
    """What the machine wrote down, oldest first; empty where it keeps nothing, or nothing that may be read.

    :param complete: whether podman's events reach back to the start of every container.
    """

    events: Sequence[Event] = ()
    kills: Sequence[Kill] = ()
    complete: bool = False


@dataclass(frozen=True)
class Record:
    """Which lives were proven, by component, and since when, in RFC 3339."""

    since: str
    lives: Mapping[str, Life]


@dataclass(frozen=True)
class Claim:
    """What ought to be true.

    :param life: the container's life that was proven.
    :param since: from when on nothing may have happened, in seconds since the epoch.
    :param fatal: false when it is only worth a note, because this run has proven the stack again.
    """

    life: Life
    since: float
    fatal: bool = True

    def holds(self, now: Optional[Life]) -> bool:
        """Tell whether the container that was proven has lived on, and lost nothing for want of memory."""
        then = self.life
        return now is not None and (then.id, then.started_at, then.restarts, then.kills) == (
            now.id,
            now.started_at,
            now.restarts,
            now.kills,
        )


@dataclass(frozen=True)
class Finding:
    """Something that happened; ``at`` in seconds since the epoch, None when that is not known."""

    component: str
    named: Named
    at: Optional[float] = None
    log: Sequence[str] = ()

    def as_dict(self) -> Dict[str, str]:
        """Return it as the task's result has it."""
        named = {"cause": self.named.id, "sentence": self.named.sentence, "action": self.named.action}
        return {"component": self.component, **named, "at": utc(self.at) if self.at else ""}


@dataclass(frozen=True)
class Use:
    """A container's memory in bytes.

    :param used: in use now, without the page cache that the kernel takes back first.
    :param peak: the most that was ever in use, likewise as far as that can be known.
    :param limit: None where there is none.
    """

    used: int
    peak: int
    limit: Optional[int]


def moment(text: str) -> float:
    """Return an RFC 3339 time in seconds since the epoch; 0 for anything else."""
    found = _TIME.fullmatch(text)
    if not found:
        return 0.0
    zone = "+00:00" if found[3] == "Z" else found[3]
    return datetime.fromisoformat(found[1] + zone).timestamp() + float(found[2] or 0)


def utc(at: float) -> str:
    """Return a time for people."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))


def read_events(text: str) -> List[Event]:
    """Return podman's events, one JSON object a line; podman 4 has the time as text, podman 5 in nanoseconds."""
    found = []
    for line in text.splitlines():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            event = json.loads(line)
            at = event["timeNano"] / 1e9 if "timeNano" in event else moment(event["Time"])
            found.append(Event(event["ID"], event["Name"], event["Status"], at, event.get("ContainerExitCode") or 0))
    return sorted(found, key=lambda event: event.at)


def read_kernel(lines: Sequence[str], boot: float) -> List[Kill]:
    """Return the kills of the kernel's log.

    :param boot: when the kernel's clock was zero, in seconds since the epoch.
    """
    matches = [(line, _KILL.match(line)) for line in lines]
    return [Kill(boot + float(found["at"]), found["process"] or "", line) for line, found in matches if found]


def use(container: Mapping[str, Any], root: str = _evidence.CGROUPS) -> Optional[Tuple[Use, int]]:
    """Return a running container's memory and how many of its processes ran out of it; None where nobody knows.

    The kernel counts the page cache in, also in the peak: PostgreSQL fills any limit with it in time, and that means
    nothing. What of it can be taken back now may have been part of the peak.
    """
    seen = _evidence.memory(container, root)
    if seen is None:
        return None
    cache = _page_cache(container, root)
    used = max(seen.current - cache, 0)
    return Use(used, max(seen.peak - cache, used), seen.limit), seen.kills


def _page_cache(container: Mapping[str, Any], root: str) -> int:
    path = container["State"]["CgroupPath"].lstrip("/")
    second = os.path.exists(os.path.join(root, "cgroup.controllers"))
    place, key = ((path,), "inactive_file") if second else (("memory", path), "total_inactive_file")
    try:
        with open(os.path.join(root, *place, "memory.stat"), encoding="ascii", errors="replace") as file:
            return next((int(line.split()[1]) for line in file if line.split()[:1] == [key]), 0)
    except (OSError, ValueError):
        return 0


def headroom(uses: Mapping[str, Use]) -> str:
    """Return one line for people: what each component uses of its limit."""
    words = []
    for component, seen in uses.items():
        limit = "of %d MiB" % (seen.limit // MIB) if seen.limit else "MiB without a limit"
        words.append("%s %d (peak %d) %s" % (component, seen.used // MIB, seen.peak // MIB, limit))
    return ", ".join(words)


def tight(uses: Mapping[str, Use]) -> List[str]:
    """Return a note for each component whose memory came near its limit."""
    return [
        "%s needed %d of its %d MiB of memory (%d %%); raise %s_memory before it runs out."
        % (SUBJECTS[component], seen.peak // MIB, seen.limit // MIB, 100 * seen.peak // seen.limit, component)
        for component, seen in uses.items()
        if seen.limit and seen.peak >= NEAR * seen.limit
    ]


def ends(events: Sequence[Event], identity: str, after: float) -> List[End]:
    """Return how a container ended, each time since a moment."""
    lives: List[List[Event]] = [[]]
    for event in events:
        if event.id == identity:
            lives += [[]] if event.status == "start" else []
            lives[-1].append(event)
    return [
        End(event.at, event.exit_code, frozenset(other.status for other in life))
        for life in lives
        for event in life
        if event.status == "died" and event.at > after
    ]


def another(component: str, claim: Claim, container: Optional[Mapping[str, Any]], past: Past) -> Finding:
    """Say what became of a container that was proven and is gone; ``container`` is what has its name now."""
    then = claim.life
    ended = ends(past.events, then.id, then.begin)
    gone = [event.at for event in past.events if event.id == then.id and event.status == "remove"]
    at = ended[0].at if ended else gone[0] if gone else None
    known = ["ended at %s with exit status %d" % (utc(each.at), each.exit_code) for each in ended[:1]]
    known += ["was removed at %s" % utc(each) for each in gone[:1]]
    how = " (the proven one %s)" % " and ".join(known) if known else ""
    if container is None:
        return Finding(component, Named("removed", "the container %s was removed%s" % (then.name, how), _WHO), at)
    # What somebody copies has the labels of the proven one.
    by_run = bool(then.run and _run(container)) and _run(container) != then.run
    made = moment(container["Created"])
    sentence = (
        "the container %s is another one than was proven%s: %s made it at %s, and what the other held in memory is lost"
        % (
            then.name,
            how,
            "a run of the playbook that did not end with a proof" if by_run else "somebody",
            utc(made),
        )
    )
    return Finding(component, Named("replaced", sentence, _AGAIN if by_run else _WHO), at or made)


def restarted(component: str, claim: Claim, container: Mapping[str, Any], past: Past) -> Optional[Finding]:
    """Tell whether a container that runs did not do so all the time."""
    then, now = claim.life, _life(container)
    if (now.started_at, now.restarts) == (then.started_at, then.restarts):
        return None
    ended = ends(past.events, now.id, then.begin)
    # What killed it matters more than how somebody put it right afterwards.
    end = next((each for each in ended if each.exit_code == SIGKILLED), ended[0] if ended else None)
    finished = moment(container["State"].get("FinishedAt") or "")
    at = end.at if end else finished if finished > then.begin else None
    why = _why(component, container, end, _out_of(past.kills, then.id, claim.since))
    if end and "restart" in end.statuses:
        plainly = "somebody restarted the container %s with podman" % now.name
    elif end:
        plainly = "the container %s ended with exit status %d" % (now.name, end.exit_code)
    else:
        plainly = "the container %s ended" % now.name
    sentence = "%s%s, and it runs again since %s%s: events written in between may be lost" % (
        why.sentence + "," if why else plainly,
        " at %s" % utc(at) if at else "",
        utc(now.begin),
        " (it ended %d times)" % len(ended) if len(ended) > 1 else "",
    )
    known = "restarted" if why is None else why.id
    action = _MORE % component if known.startswith(OUT_OF_MEMORY) else _WHO
    return Finding(component, Named(known, sentence, action), at or now.begin)


def _why(component: str, container: Mapping[str, Any], end: Optional[End], kills: Sequence[Kill]) -> Optional[Named]:
    """Return why a container that runs again was killed; None when it was not, or podman was told to restart it.

    :param kills: processes of it that were killed because memory ran out.
    """
    out = [kill for kill in kills if end is None or abs(end.at - kill.at) < AT_ONCE]
    killed = end.exit_code == SIGKILLED if end else bool(out)
    statuses: FrozenSet[str] = end.statuses if end else frozenset()
    if not killed or (statuses & TOLD and not out):
        return None
    marks = frozenset([_causes.OOM] if out else []) | frozenset([_causes.KILLED] if "kill" in statuses else [])
    values = {"container": container["Name"], "memory": _limit(container)}
    return _causes.explain(Evidence(SUBJECTS[component], "exited", exit_code=SIGKILLED, marks=marks, values=values))


def ran_out(component: str, claim: Claim, container: Mapping[str, Any], kills: int, past: Past) -> Optional[Finding]:
    """Tell whether memory ran out for a process in a container that lives.

    :param kills: how many in this life of the container.
    """
    lines = _out_of(past.kills, claim.life.id, claim.since)
    again = container["State"]["StartedAt"] != claim.life.started_at
    number = max(kills, len(lines)) if again else kills - claim.life.kills
    if number <= 0:
        return None
    at = lines[0].at if lines else None
    named = Named(
        OUT_OF_MEMORY,
        "memory ran out in the container %s (limit: %s): %s%s killed%s, and what the container did with it may be lost"
        % (
            container["Name"],
            _limit(container),
            "a process" if number == 1 else "%d processes" % number,
            (" (%s)" % lines[0].process if lines and lines[0].process else "") + (" was" if number == 1 else " were"),
            " at %s" % utc(at) if at else "",
        ),
        _MORE % component,
    )
    return Finding(component, named, at)


def _out_of(kills: Sequence[Kill], identity: str, since: float) -> List[Kill]:
    return [kill for kill in kills if identity in kill.line and kill.at >= since]


def _limit(container: Mapping[str, Any]) -> str:
    limit = container["HostConfig"].get("Memory") or 0
    return "%d MiB" % (limit // MIB) if limit else "no limit"


def _run(container: Mapping[str, Any]) -> str:
    return str((container["Config"].get("Labels") or {}).get(LABEL + "run", ""))


def _life(container: Mapping[str, Any]) -> Life:
    """Return a container's present life; what it lost for want of memory is not known yet."""
    started, restarts = container["State"]["StartedAt"], container.get("RestartCount", 0)
    return Life(container["Name"], container["Id"], started, restarts, run=_run(container))


def _ended(podman: Podman, component: str, container: Mapping[str, Any]) -> Finding:
    """Say why a container does not run."""
    watch = Watch(podman, container["Name"])
    marks, values, code = watch.evidence()
    status, log = container["State"]["Status"], watch.log()
    named = _causes.explain(
        Evidence(
            SUBJECTS[component],
            status if code is None else "exited",
            "the container %s is %s" % (container["Name"], status),
            log,
            code,
            marks | {_causes.WAS_READY},
            values,
        )
    )
    at = moment(container["State"].get("FinishedAt") or "") if code is not None else 0.0
    whose = "" if container["Name"] in named.sentence else "%s: " % container["Name"]
    when = ", at %s" % utc(at) if at > 0 else ""
    return Finding(component, replace(named, sentence=whose + named.sentence + when), at if at > 0 else None, log)


def read_record(path: str) -> Optional[Record]:
    """Return what an earlier run recorded; None when there is nothing, or nothing that can be used."""
    try:
        with open(path, encoding="utf-8") as file:
            record = json.load(file)
        return Record(str(record["since"]), {name: Life(**life) for name, life in record["containers"].items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def record_text(record: Record) -> str:
    """Return the text of ``identity.json``."""
    containers = {component: asdict(life) for component, life in record.lives.items()}
    return json.dumps({"since": record.since, "containers": containers}, indent=2) + "\n"


def claims(
    record: Optional[Record], proven: Mapping[str, Life], now: Mapping[str, Life], again: bool
) -> List[Tuple[str, Claim]]:
    """Return what ought to be true of each component.

    :param record: what an earlier run proved.
    :param proven: what the gates of this run saw.
    :param now: what is there.
    :param again: whether this run proves the stack again: then what was recorded is history, and only worth a note.
    """
    found = []
    for component in COMPONENTS:
        before, present = record.lives.get(component) if record else None, now.get(component)
        since = moment(record.since) if record else 0.0
        if before and not again:
            found.append((component, Claim(before, since)))
            continue
        life = proven.get(component) or (replace(present, restarts=0) if present else None)
        if life:
            # What ran out of memory before this run is history, too, unless the container is younger than the record.
            same = before is not None and present is not None and before.started_at == present.started_at
            known = present.kills if same and present else 0
            found.append((component, Claim(replace(life, kills=known), since if same else life.begin)))
        # A container that this run replaced is its own doing.
        if before and present and before.id == present.id:
            found.append((component, Claim(before, since, fatal=False)))
    return found


def reaches_back(events: Sequence[Event], lives: Iterable[Life]) -> bool:
    """Tell whether podman still has the events of whole lives: logs turn over, and journald may show a user nothing."""
    starts = [event for event in events if event.status == "start"]
    return all(any(event.id == life.id and abs(event.at - life.begin) < SLACK for event in starts) for life in lives)


def _events(podman: Podman, names: Sequence[str], since: float) -> List[Event]:
    """Ask podman what happened; empty when it does not say."""
    filters = ["container=" + name for name in names] + ["event=" + status for status in STATUSES]
    arguments = [part for each in filters for part in ("--filter", each)]
    begin = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(since - SLACK))
    answer = podman.call(
        "events", "--stream=false", "--since", begin, *arguments, "--format", "json", timeout=_evidence.LOOK
    )
    return read_events(answer.out) if answer.rc == 0 else []


def _kernel() -> List[Kill]:
    # Every line holds the empty text: one call for all containers.
    return read_kernel(_evidence.kernel_log(""), time.time() - time.monotonic())


def _look(containers: Mapping[str, Mapping[str, Any]], remote: bool) -> Tuple[Dict[str, Use], Dict[str, Life]]:
    """Return memory, as far as it can be read, and present life of each component.

    :param remote: whether the control groups and the kernel's log are another machine's.
    """
    seen = {} if remote else {component: use(container) for component, container in containers.items()}
    kernel = _kernel() if None in seen.values() else []
    lives = {}
    for component, container in containers.items():
        life, known = _life(container), seen.get(component)
        kills = known[1] if known else len(_out_of(kernel, life.id, life.begin))
        lives[component] = replace(life, kills=kills)
    return {component: known[0] for component, known in seen.items() if known}, lives


def _look_back(
    podman: Podman, options: Options, record: Optional[Record], claimed: Sequence[Claim], lives: Mapping[str, Life]
) -> Past:
    """Ask podman and the kernel for what they wrote down, if there is something to explain or to rule out."""
    present = {life.name: life for life in lives.values()}
    changed = [claim for claim in claimed if not claim.holds(present.get(claim.life.name))]
    if not claimed or (not changed and (options["record"] or record is None)):
        return Past()
    names = sorted({claim.life.name for claim in claimed})
    events = _events(podman, names, min(claim.life.begin for claim in claimed))
    kills = _kernel() if changed and not options["remote"] else []
    return Past(events, kills, reaches_back(events, [claim.life for claim in claimed]))


def _proven(options: Options) -> Dict[str, Life]:
    """Return what the gates of this run saw."""
    seen = {component: gate for component, gate in options["proven"].items() if gate}
    return {
        component: Life(options["containers"][component], gate["id"], gate["started_at"], gate["restarts"])
        for component, gate in seen.items()
    }


def _happened(
    podman: Podman, component: str, claim: Claim, container: Optional[Mapping[str, Any]], kills: int, past: Past
) -> List[Finding]:
    """Return what happened to one component."""
    if container is None or container["Id"] != claim.life.id:
        return [another(component, claim, container, past)]
    if not container["State"]["Running"]:
        return [_ended(podman, component, container)]
    back = restarted(component, claim, container, past)
    out = ran_out(component, claim, container, kills, past)
    if back and out and back.named.id == out.named.id:
        return [back]
    return [finding for finding in (back, out) if finding]


def _failure(findings: Sequence[Finding], result: Mapping[str, Any]) -> PhaseError:
    """Name what happened first; the rest may follow from it and stands below."""
    first, *others = sorted(findings, key=lambda finding: finding.at or time.time())
    lines = [str(first.named), *("Also: %s" % other.named for other in others)]
    lines += [line for finding in (first, *others) for line in finding.log]
    told = [finding.as_dict() for finding in (first, *others)]
    return PhaseError("\n".join(lines), cause=first.named.id, findings=told, **result)


def _notes(
    options: Options, record: Optional[Record], history: Sequence[Finding], uses: Mapping[str, Use]
) -> List[str]:
    """Return what a person ought to know, though nothing is wrong."""
    notes = []
    if record is None and not options["record"]:
        notes.append(
            "this stack has no record of the containers that were proven (%s), so only what is there now was looked "
            "at; playbooks/integration.yml makes one." % IDENTITY_FILE
        )
    if options["remote"]:
        notes.append("memory was not looked at: podman's service may be on another machine.")
    notes += ["since the last proof, %s." % finding.named.sentence for finding in history]
    return notes + tight(uses)


def _lines(result: Result) -> List[str]:
    """Return what a look back says on the terminal."""
    since = " since %s" % utc(moment(result["since"])) if result["since"] else ""
    lines = ["every container runs; none ended, was restarted, replaced or out of memory" + since]
    lines += ["memory  " + result["headroom"]] if result["headroom"] else []
    return ["  " + line for line in [*lines, *("note: " + note for note in result["notes"])]]


def _keep(path: str, record: Optional[Record], lives: Mapping[str, Life], now: str, check: bool) -> Tuple[str, bool]:
    """Record what was proven; return since when, and whether that is news."""
    since = record.since if record and record.lives == lives else now
    if not check:
        make_private(os.path.dirname(path))
    return since, write_private(path, record_text(Record(since, lives)), check=check)


def run(options: Options, context: Context) -> Result:
    """Compare the stack's containers with those that were proven; record them when this run has proven them."""
    begin = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    podman = Podman(options["podman"])
    # What is outside has no container here.
    names = {component: name for component, name in options["containers"].items() if name}
    path = os.path.join(state_home(options["state_dir"]), options["name"], IDENTITY_FILE)
    record = read_record(path)
    if record:
        record = replace(record, lives={each: life for each, life in record.lives.items() if each in names})
    seen = podman.inspect(*names.values(), kind="container") if names else []
    found = {each["Name"]: each for each in seen}
    containers = {component: found[name] for component, name in names.items() if name in found}
    uses, lives = _look(containers, options["remote"])
    claimed = claims(record, _proven(options), lives, options["record"])
    never = [names[component] for component in names if component not in {each for each, _claim in claimed}]
    if never:
        raise PhaseError(
            "There is no container %s; bring the stack up first." % " and no ".join(never), cause="no-container"
        )
    past = _look_back(podman, options, record, [claim for _component, claim in claimed], lives)
    findings: Dict[bool, List[Finding]] = {True: [], False: []}
    for component, claim in claimed:
        kills = lives[component].kills if component in lives else 0
        findings[claim.fatal] += _happened(podman, component, claim, containers.get(component), kills, past)
    result: Result = {
        "changed": False,
        "since": record.since if record else "",
        "events": past.complete,
        "memory": {component: asdict(seen) for component, seen in uses.items()},
        "headroom": headroom(uses),
        "notes": _notes(options, record, findings[False], uses),
        "containers": {component: asdict(life) for component, life in lives.items()},
    }
    if findings[True]:
        raise _failure(findings[True], result)
    if options["record"]:
        result["since"], result["changed"] = _keep(path, record, lives, begin, context.check)
    return {**result, "lines": [] if options["record"] else _lines(result)}


PHASE = Phase(
    name="stack_stable",
    run=run,
    argument_spec={
        "name": {"type": "str", "required": True},
        "containers": {
            "type": "dict",
            "required": True,
            "options": {component: {"type": "str", "default": ""} for component in COMPONENTS},
        },
        "proven": {
            "type": "dict",
            "default": {},
            "options": {component: {"type": "dict", "default": {}} for component in COMPONENTS},
        },
        "record": {"type": "bool", "default": False},
        "state_dir": {"type": "str", "default": ""},
        "podman": {"type": "str", "default": "podman"},
        "remote": {"type": "bool", "default": False},
    },
)
