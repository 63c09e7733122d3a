# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: ARG001, ARG002 - a stand-in takes what the real one takes
"""What happened to a stack's containers since they were proven, read from what podman and the kernel wrote down."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.kubernaut.integration.plugins.module_utils import _evidence, _stability
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import Context, PhaseError
from ansible_collections.kubernaut.integration.plugins.module_utils._plan import COMPONENTS, LABEL
from ansible_collections.kubernaut.integration.plugins.module_utils._podman import Answer
from ansible_collections.kubernaut.integration.plugins.module_utils._stability import (
    Claim,
    Event,
    Kill,
    Life,
    Past,
    Record,
    Use,
)

NAME = "workflowexecution"
NAMES = {component: f"{NAME}_{component}_1" for component in COMPONENTS}
MIB = 1024 * 1024
#: 10:00:00 UTC, when every container started, and when the run had proven them.
BEGIN = 1_766_311_200.0
SINCE = BEGIN + 60
OOM_LINE = (
    "[   {at:.6f}] oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=libpod-{id},mems_allowed=0,"
    "oom_memcg=/libpod_parent/libpod-{id},task_memcg=/libpod_parent/libpod-{id},task={task},pid=27613,uid=999"
)


def at(seconds: float) -> str:
    """Return a time after BEGIN in podman's words."""
    return "2025-12-21T10:%02d:%012.9fZ" % divmod(seconds, 60)


def container(component: str = "redis", **changes: Any) -> dict[str, Any]:
    """Return a container as podman inspects it; ``changes`` are of its state, or its id, restarts, labels or memory."""
    state = {
        "Running": True,
        "Status": "running",
        "ExitCode": 0,
        "StartedAt": at(0.5),
        "FinishedAt": "0001-01-01T00:00:00Z",
        "CgroupPath": "/nowhere",
    }
    return {
        "Id": changes.pop("Id", component[0] * 64),
        "Name": NAMES[component],
        "Created": at(0.25),
        "RestartCount": changes.pop("RestartCount", 0),
        "Config": {"Labels": changes.pop("Labels", {LABEL + "run": "run 1"})},
        "HostConfig": {"Memory": changes.pop("Memory", 256 * MIB)},
        "State": {**state, **changes},
    }


def life(component: str = "redis", **changes: Any) -> Life:
    """Return the life of such a container."""
    return replace(Life(NAMES[component], component[0] * 64, at(0.5), 0, 0, "run 1"), **changes)


def event(status: str, seconds: float, code: int = 0, identity: str = "r" * 64) -> Event:
    return Event(identity, NAMES["redis"], status, BEGIN + seconds, code)


STARTED = event("start", 0.6)
RESTART = [STARTED, event("restart", 298), event("died", 299), event("start", 300)]
SIGKILL = [STARTED, event("died", 299, 137), event("start", 300)]
CLAIM = Claim(life(), SINCE)
AGAIN = container(StartedAt=at(300))


# ------------------------------------------------------------------------------------------------- what was written


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2025-12-21T10:00:00Z", BEGIN),
        ("2025-12-21T10:00:00.5Z", BEGIN + 0.5),
        ("2025-12-21T10:00:00.123456789Z", BEGIN + 0.123456789),
        ("2025-12-21T05:00:01-05:00", BEGIN + 1),
        ("2025-12-21T19:00:00.25+09:00", BEGIN + 0.25),
        ("2025-12-21 10:00:00 +0000 UTC", 0.0),
        ("", 0.0),
    ],
)
def test_moments(text: str, seconds: float) -> None:
    assert _stability.moment(text) == pytest.approx(seconds, abs=1e-6)


def test_a_container_that_never_ended_ended_long_ago() -> None:
    assert _stability.moment("0001-01-01T00:00:00Z") < 0


def test_events_of_podman_4_and_5() -> None:
    four = {"ID": "a", "Name": "n", "Status": "died", "Time": at(7.5), "Type": "container", "ContainerExitCode": 137}
    five = {"ID": "a", "Name": "n", "Status": "start", "time": 1_766_311_205, "timeNano": 1_766_311_205_500_000_000}
    text = "\n".join(["", json.dumps(four), "half a li", "[]", '{"ID": "x"}', json.dumps(five)])
    assert _stability.read_events(text) == [
        Event("a", "n", "start", BEGIN + 5.5, 0),
        Event("a", "n", "died", BEGIN + 7.5, 137),
    ]


@pytest.mark.parametrize(
    ("line", "kills"),
    [
        (OOM_LINE.format(at=12.5, id="abc", task="tail"), [(BEGIN + 12.5, "tail")]),
        (OOM_LINE.format(at=12.5, id="abc", task="my proc"), [(BEGIN + 12.5, "my proc")]),
        ("[12345.678901] oom-kill:constraint=CONSTRAINT_MEMCG,cpuset=abc", [(BEGIN + 12345.678901, "")]),
        ("oom-kill:constraint=CONSTRAINT_MEMCG,cpuset=abc", []),
        ("[   12.500000] tail invoked oom-killer: gfp_mask=0xcc0", []),
    ],
)
def test_kernel_lines(line: str, kills: list[tuple[float, str]]) -> None:
    assert [(kill.at, kill.process) for kill in _stability.read_kernel([line], BEGIN)] == kills


@pytest.mark.parametrize(
    ("events", "after", "found"),
    [
        ([], 0.5, []),
        ([STARTED], 0.5, []),
        ([STARTED, event("died", 9, 1)], 0.5, [(9, 1, {"start", "died"})]),
        ([event("died", 0.25, 1), STARTED], 0.5, []),
        (
            [STARTED, event("kill", 8), event("died", 9, 137), event("start", 10), *RESTART[1:]],
            0.5,
            [(9, 137, {"start", "kill", "died"}), (299, 0, {"start", "restart", "died"})],
        ),
        ([event("died", 9, 1, "x" * 64)], 0.5, []),
    ],
)
def test_ends(events: list[Event], after: float, found: list[tuple[float, int, set[str]]]) -> None:
    ends = _stability.ends(events, "r" * 64, BEGIN + after)
    assert [(end.at - BEGIN, end.exit_code, set(end.statuses)) for end in ends] == found


@pytest.mark.parametrize(
    ("events", "complete"),
    [
        ([STARTED], True),
        ([], False),
        ([event("start", 30)], False),  # the log was turned over, and begins with a later start
        ([event("start", 0.6, identity="x" * 64)], False),
    ],
)
def test_whether_events_reach_back(events: list[Event], complete: bool) -> None:
    assert _stability.reaches_back(events, [life()]) is complete


# --------------------------------------------------------------------------------------------------------- findings


def kill(seconds: float, identity: str = "r" * 64, process: str = "tail") -> Kill:
    return Kill(BEGIN + seconds, process, OOM_LINE.format(at=seconds, id=identity, task=process))


@pytest.mark.parametrize(
    ("past", "cause", "words"),
    [
        (Past(RESTART), "restarted", "somebody restarted the container {} with podman at 2025-12-21 10:04:59 UTC, and"),
        (
            Past([STARTED, event("restart", 290), event("died", 299, 137), event("start", 300)]),
            "restarted",
            "somebody restarted the container {} with podman at 2025-12-21 10:04:59 UTC, and",
        ),
        (
            Past([STARTED, event("died", 299), event("start", 300)]),
            "restarted",
            "the container {} ended with exit status 0 at 2025-12-21 10:04:59 UTC, and it runs again since 2025-12-21 "
            "10:05:00 UTC: events written in between may be lost",
        ),
        (
            Past([STARTED, event("died", 200, 1), event("start", 201), event("died", 299), event("start", 300)]),
            "restarted",
            "exit status 1 at 2025-12-21 10:03:20 UTC, and it runs again since 2025-12-21 10:05:00 UTC (it ended 2 ",
        ),
        # The worst end is told, not the last one.
        (
            Past([STARTED, event("died", 99, 137), event("start", 100), *RESTART[1:]]),
            "sigkill",
            "neither by podman nor",
        ),
        (Past(SIGKILL), "sigkill", "the container {} was killed from outside"),
        (Past([STARTED, event("kill", 299), *SIGKILL[1:]]), "killed", "somebody killed the container {}"),
        (Past(SIGKILL, [kill(298.9)]), "out-of-memory", "the container {} ran out of its memory limit (256 MiB), at"),
        # Another process had run out of memory long before.
        (Past(SIGKILL, [kill(100)]), "sigkill", "killed from outside"),
        # Podman keeps no events.
        (Past(), "restarted", "the container {} ended at 2025-12-21 10:04:58 UTC, and it runs again since"),
        (Past((), [kill(298)]), "out-of-memory", "ran out of its memory limit"),
        # What the kernel said of another container, or before the proof, says nothing.
        (Past((), [kill(298, "x" * 64), kill(30)]), "restarted", "the container {} ended at"),
    ],
)
def test_a_container_that_runs_again(past: Past, cause: str, words: str) -> None:
    now = container(StartedAt=at(300), FinishedAt=at(298))
    finding = _stability.restarted("redis", CLAIM, now, past)
    assert finding is not None
    assert (finding.named.id, NAMES["redis"] in finding.named.sentence) == (cause, True)
    assert words.format(NAMES["redis"]) in finding.named.sentence
    assert "playbooks/integration.yml" in finding.named.action
    assert ("raise redis_memory" in finding.named.action) is (cause == "out-of-memory")


@pytest.mark.parametrize("now", [container(), container(Status="running", Pid=7)])
def test_a_container_that_lived_on(now: dict[str, Any]) -> None:
    assert _stability.restarted("redis", CLAIM, now, Past(RESTART)) is None


def test_a_restart_that_podman_only_counted() -> None:
    finding = _stability.restarted("redis", CLAIM, container(RestartCount=2), Past())
    assert finding is not None
    assert finding.named.id == "restarted"


@pytest.mark.parametrize(
    ("claimed", "now", "kills", "past", "words"),
    [
        (0, container(), 0, Past(), None),
        (1, container(), 1, Past((), [kill(10)]), None),
        (0, container(), 1, Past(), "(limit: 256 MiB): a process was killed, and"),
        (0, container(), 1, Past((), [kill(100)]), "a process (tail) was killed at 2025-12-21 10:01:40 UTC, and"),
        (1, container(), 3, Past((), [kill(100), kill(200)]), "2 processes (tail) were killed at 2025-12-21 10:01:40"),
        (0, container(Memory=0), 1, Past(), "(limit: no limit): a process was killed"),
        # A new life has a new control group.
        (1, AGAIN, 1, Past(), "a process was killed"),
        (0, AGAIN, 0, Past((), [kill(100)]), "a process (tail) was killed"),
        (1, AGAIN, 0, Past((), [kill(10)]), None),
    ],
)
def test_memory_that_ran_out(claimed: int, now: dict[str, Any], kills: int, past: Past, words: str | None) -> None:
    finding = _stability.ran_out("redis", Claim(life(kills=claimed), SINCE), now, kills, past)
    if words is None:
        assert finding is None
    else:
        assert finding is not None
        assert finding.named.id == "out-of-memory"
        assert f"memory ran out in the container {NAMES['redis']}" in finding.named.sentence
        assert words in finding.named.sentence


GONE = [STARTED, event("died", 200, 137), event("remove", 201)]


@pytest.mark.parametrize(
    ("now", "past", "cause", "words"),
    [
        (None, Past(), "removed", "the container {} was removed"),
        (None, Past(GONE), "removed", "ended at 2025-12-21 10:03:20 UTC with exit status 137 and was removed at "),
        (None, Past(GONE[-1:]), "removed", "{} was removed (the proven one was removed at 2025-12-21 10:03:21 UTC)"),
        (container(Id="n" * 64), Past(), "replaced", "the container {} is another one than was proven: somebody made"),
        (container(Id="n" * 64), Past(GONE), "replaced", "proven one ended at 2025-12-21 10:03:20 UTC with exit "),
        (container(Id="n" * 64, Labels={}), Past(), "replaced", "proven: somebody made it at 2025-12-21 10:00:00 UTC"),
        (container(Id="n" * 64, Labels=None), Past(), "replaced", "somebody made it"),
        (
            container(Id="n" * 64, Labels={LABEL + "run": "run 2"}),
            Past(),
            "replaced",
            "proven: a run of the playbook that did not end with a proof made it at",
        ),
    ],
)
def test_a_container_that_is_gone(now: dict[str, Any] | None, past: Past, cause: str, words: str) -> None:
    finding = _stability.another("redis", CLAIM, now, past)
    assert finding.named.id == cause
    assert words.format(NAMES["redis"]) in finding.named.sentence
    assert "playbooks/integration.yml" in finding.named.action


# ----------------------------------------------------------------------------------------------------------- memory


def cgroup(root: Path, version: int, files: dict[str, str]) -> dict[str, Any]:
    """Make a control group and return a container in it."""
    place = root / ("" if version == 2 else "memory") / "pod" / "abc"
    place.mkdir(parents=True)
    for name, text in files.items():
        (place / name).write_text(text)
    if version == 2:
        (root / "cgroup.controllers").write_text("memory\n")
    return container(CgroupPath="/pod/abc")


V1 = {
    "memory.usage_in_bytes": f"{250 * MIB}\n",
    "memory.max_usage_in_bytes": f"{256 * MIB}\n",
    "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
    "memory.stat": f"inactive_file 1\ntotal_inactive_file {100 * MIB}\n",
}
V2 = {
    "memory.current": f"{250 * MIB}\n",
    "memory.peak": f"{256 * MIB}\n",
    "memory.events": "low 0\nmax 7\noom 3\noom_kill 3\n",
    "memory.stat": f"anon 5\ninactive_file {100 * MIB}\n",
}


@pytest.mark.parametrize(
    ("version", "files", "used", "peak"),
    [
        (1, V1, 150, 156),
        (2, V2, 150, 156),
        # The page cache of now may be larger than what was used at the peak without it.
        (2, {**V2, "memory.peak": f"{250 * MIB}\n"}, 150, 150),
        (1, {**V1, "memory.stat": "cache 0\n"}, 250, 256),
        (1, {name: text for name, text in V1.items() if name != "memory.stat"}, 250, 256),
        (1, {**V1, "memory.stat": f"total_inactive_file {300 * MIB}\n"}, 0, 0),
    ],
)
def test_memory_without_the_page_cache(
    tmp_path: Path, version: int, files: dict[str, str], used: int, peak: int
) -> None:
    seen = _stability.use(cgroup(tmp_path, version, files), str(tmp_path))
    assert seen == (Use(used * MIB, max(peak, 0) * MIB, 256 * MIB), 3)


def test_memory_that_nobody_can_read(tmp_path: Path) -> None:
    assert _stability.use(container(), str(tmp_path)) is None
    assert _stability.use(container(CgroupPath=""), str(tmp_path)) is None


def test_headroom_in_words() -> None:
    uses = {"postgres": Use(61 * MIB, 74 * MIB, 512 * MIB), "redis": Use(9 * MIB, 9 * MIB, None)}
    assert _stability.headroom(uses) == "postgres 61 (peak 74) of 512 MiB, redis 9 (peak 9) MiB without a limit"
    assert _stability.headroom({}) == ""


@pytest.mark.parametrize(("peak", "limit", "notes"), [(899, 1000, 0), (900, 1000, 1), (1000, 1000, 1), (9999, None, 0)])
def test_a_note_near_the_limit(peak: int, limit: int | None, notes: int) -> None:
    found = _stability.tight({"redis": Use(1, peak * MIB, limit * MIB if limit else None)})
    assert len(found) == notes
    assert all("raise redis_memory" in note and f"{peak} of its {limit} MiB" in note for note in found)


# ----------------------------------------------------------------------------------------------------------- claims


@pytest.mark.parametrize(
    ("recorded", "gate", "now", "again", "claims"),
    [
        # A look back: the record counts, whatever the gates of this run saw.
        (life(), life(started_at="later"), life(started_at="later"), False, [(life(), True)]),
        (life(), None, None, False, [(life(), True)]),
        # No record: what the gate saw, or what is there.
        (None, life(), life(), False, [(life(), True)]),
        (None, None, life(kills=2, restarts=3), False, [(life(), True)]),
        (None, None, None, False, []),
        # A run that proves the stack: what its gate saw; the record is history.
        (life(), life(), life(), True, [(life(), True), (life(), False)]),
        (life(id="old"), life(), life(), True, [(life(), True)]),
        (life(started_at="old"), life(), life(), True, [(life(), True), (life(started_at="old"), False)]),
        (life(), life(), None, True, [(life(), True)]),
        # What ran out of memory since the record is history, in a container that is younger it is not.
        (life(), life(), life(kills=2), True, [(life(kills=2), True), (life(), False)]),
        (life(started_at="old"), life(), life(kills=2), True, [(life(), True), (life(started_at="old"), False)]),
        (None, life(), life(kills=2), True, [(life(), True)]),
    ],
)
def test_claims(
    recorded: Life | None, gate: Life | None, now: Life | None, again: bool, claims: list[tuple[Life, bool]]
) -> None:
    record = Record("2025-12-21T10:01:00Z", {"redis": recorded}) if recorded else None
    found = _stability.claims(record, {"redis": gate} if gate else {}, {"redis": now} if now else {}, again)
    assert [(claim.life, claim.fatal) for _component, claim in found] == claims
    assert {component for component, _claim in found} <= {"redis"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"since": "x"}',
        '{"since": "x", "containers": []}',
        '{"since": "x", "containers": {"a": 1}}',
        '{"since": "x", "containers": {"redis": {"id": "a"}}}',
        "\x00",
    ],
)
def test_a_record_that_cannot_be_used_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "identity.json").write_text(text)
    assert _stability.read_record(str(tmp_path / "identity.json")) is None
    assert _stability.read_record(str(tmp_path / "nosuch.json")) is None


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    record = Record("2025-12-21T10:01:00Z", {component: life(component) for component in COMPONENTS})
    (tmp_path / "identity.json").write_text(_stability.record_text(record))
    assert _stability.read_record(str(tmp_path / "identity.json")) == record


# ---------------------------------------------------------------------------------------------------------- the phase


class Machine:
    """A podman and a kernel."""

    def __init__(self) -> None:
        self.containers = {component: container(component) for component in COMPONENTS}
        self.events: Sequence[Event] | None = [replace(STARTED, id=component[0] * 64) for component in COMPONENTS]
        self.kernel: list[str] = []
        self.memory: dict[str, int] | None = dict.fromkeys(COMPONENTS, 0)
        self.calls: list[tuple[str, ...]] = []

    def inspect(self, *names: str, kind: str = "all") -> list[dict[str, Any]]:
        return [each for each in self.containers.values() if {each["Name"], each["Id"]} & set(names)]

    def call(self, *arguments: str, timeout: float = 60) -> Answer:
        self.calls.append(arguments)
        if arguments[0] == "logs":
            return Answer(0, "its last words\n", "")
        if arguments[0] != "events":
            return Answer(0, "", "")
        assert timeout <= 5
        if self.events is None:
            return Answer(125, "", 'Error: cannot read events with the "none" backend')
        lines = [
            {"ID": each.id, "Name": each.name, "Status": each.status, "timeNano": int(each.at * 1e9)}
            | ({"ContainerExitCode": each.exit_code} if each.exit_code else {})
            for each in self.events
        ]
        return Answer(0, "\n".join(map(json.dumps, lines)), "")

    def asked(self, command: str) -> int:
        return sum(call[0] == command for call in self.calls)


@pytest.fixture(name="machine")
def _machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    machine = Machine()

    def memory(each: dict[str, Any], root: str = "") -> _evidence.Memory | None:
        if machine.memory is None or not each["State"]["Running"]:
            return None
        kills = next(machine.memory[name] for name in COMPONENTS if NAMES[name] == each["Name"])
        return _evidence.Memory(10 * MIB, 12 * MIB, each["HostConfig"]["Memory"], kills)

    monkeypatch.setattr(_stability, "Podman", lambda _executable: machine)
    monkeypatch.setattr(_evidence, "memory", memory)
    monkeypatch.setattr(
        _evidence, "kernel_log", lambda identity, _since=0.0: [line for line in machine.kernel if identity in line]
    )
    return machine


Run = Callable[..., dict[str, Any]]


@pytest.fixture(name="run")
def _run(tmp_path: Path, machine: Machine) -> Run:
    def run(check: bool = False, **given: Any) -> dict[str, Any]:
        spec = {name: option.get("default") for name, option in _stability.PHASE.argument_spec.items()}
        options = {**spec, "name": NAME, "containers": NAMES, "state_dir": str(tmp_path / "state"), **given}
        machine.calls.clear()
        return _stability.run(options, Context(check=check))

    return run


def identity(tmp_path: Path) -> Path:
    return tmp_path / "state" / NAME / "identity.json"


def restart(machine: Machine, component: str, *events: Event) -> None:
    """Let a container end and run again at 10:05:00."""
    machine.containers[component] = container(component, StartedAt=at(300), FinishedAt=at(299))
    mine = [replace(each, id=component[0] * 64) for each in events]
    machine.events = sorted([*(machine.events or []), *mine], key=lambda each: each.at)


def test_a_record_is_private_and_a_second_one_is_no_change(run: Run, tmp_path: Path) -> None:
    first = run(record=True)
    assert first["changed"] is True
    assert stat.S_IMODE(identity(tmp_path).stat().st_mode) == 0o600
    assert stat.S_IMODE(identity(tmp_path).parent.stat().st_mode) == 0o700
    text = identity(tmp_path).read_text()
    second = run(record=True)
    assert second["changed"] is False
    assert second["since"] == first["since"]
    assert identity(tmp_path).read_text() == text


def test_a_record_that_others_may_read_is_replaced(run: Run, tmp_path: Path) -> None:
    run(record=True)
    identity(tmp_path).chmod(0o644)
    assert run(record=True)["changed"] is True
    assert stat.S_IMODE(identity(tmp_path).stat().st_mode) == 0o600


def test_check_mode_records_nothing_and_says_so(run: Run, tmp_path: Path) -> None:
    assert run(check=True, record=True)["changed"] is True
    assert not identity(tmp_path).exists()
    assert not identity(tmp_path).parent.exists()
    run(record=True)
    assert run(check=True, record=True)["changed"] is False


def test_a_look_back_on_a_healthy_stack(run: Run, machine: Machine, tmp_path: Path) -> None:
    since = run(record=True)["since"]
    assert machine.asked("events") == 0
    text = identity(tmp_path).read_text()
    result = run()
    assert (result["changed"], result["events"], result["since"]) == (False, True, since)
    assert result["headroom"] == ", ".join(f"{name} 10 (peak 12) of 256 MiB" for name in COMPONENTS)
    assert result["memory"]["redis"] == {"used": 10 * MIB, "peak": 12 * MIB, "limit": 256 * MIB}
    assert result["notes"] == []
    assert result["lines"][0].startswith(
        "  every container runs; none ended, was restarted, replaced or out of memory "
    )
    assert result["lines"][1] == "  memory  " + result["headroom"]
    assert identity(tmp_path).read_text() == text
    assert machine.asked("events") == 1


def test_events_are_asked_for_with_bounds(run: Run, machine: Machine) -> None:
    run(record=True)
    run()
    (call,) = [call for call in machine.calls if call[0] == "events"]
    assert "--stream=false" in call
    assert call[call.index("--since") + 1] == "2025-12-21T09:59:58Z"
    assert {f"container={name}" for name in NAMES.values()} <= set(call)


def test_without_a_record_only_the_present_is_looked_at(run: Run, machine: Machine) -> None:
    result = run()
    assert (result["changed"], result["events"], result["since"]) == (False, False, "")
    assert "identity.json" in result["notes"][0]
    assert any("note: this stack has no record" in line for line in result["lines"])
    assert machine.asked("events") == 0


def fails(run: Run, **given: Any) -> dict[str, Any]:
    with pytest.raises(PhaseError) as error:
        run(**given)
    return error.value.as_result()


def test_without_a_record_memory_that_ran_out_is_still_found(run: Run, machine: Machine) -> None:
    assert machine.memory is not None
    machine.memory["postgres"] = 1
    assert fails(run)["cause"] == "out-of-memory"


def test_without_a_record_a_container_that_is_not_there_is_named(run: Run, machine: Machine) -> None:
    del machine.containers["redis"]
    result = fails(run)
    assert result["cause"] == "no-container"
    assert NAMES["redis"] in result["msg"]


@pytest.mark.parametrize("events", [True, False])
def test_a_restart_is_found_with_and_without_events(run: Run, machine: Machine, events: bool) -> None:
    run(record=True)
    restart(machine, "redis", *RESTART[1:])
    machine.events = machine.events if events else None
    result = fails(run)
    assert (result["cause"], result["events"], result["changed"]) == ("restarted", events, False)
    first, *_rest = result["msg"].splitlines()
    assert NAMES["redis"] in first
    assert "2025-12-21 10:04:59 UTC" in first
    assert first.endswith("[restarted]")
    assert [finding["component"] for finding in result["findings"]] == ["redis"]
    assert result["findings"][0]["at"] == "2025-12-21 10:04:59 UTC"


def test_what_happened_first_is_told_first(run: Run, machine: Machine) -> None:
    run(record=True)
    restart(machine, "postgres", event("died", 290), event("start", 300))
    restart(machine, "datastorage", event("died", 280, 137), event("start", 300))
    result = fails(run)
    first, second = result["msg"].splitlines()
    assert result["cause"] == "sigkill"
    assert NAMES["datastorage"] in first
    assert second.startswith("Also: the container " + NAMES["postgres"])
    assert [finding["cause"] for finding in result["findings"]] == ["sigkill", "restarted"]


def test_a_process_that_ran_out_of_memory_in_a_container_that_lives(run: Run, machine: Machine) -> None:
    run(record=True)
    assert machine.memory is not None
    machine.memory["redis"] = 1
    result = fails(run)
    assert result["cause"] == "out-of-memory"
    assert "a process was killed" in result["msg"]
    assert "raise redis_memory" in result["msg"]


def test_memory_that_only_the_kernel_log_knows_of(run: Run, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.memory = None
    run(record=True)
    boot = BEGIN - 1000
    monkeypatch.setattr(_stability.time, "time", lambda: boot + 5000)
    monkeypatch.setattr(_stability.time, "monotonic", lambda: 5000.0)
    machine.kernel = [OOM_LINE.format(at=999.0, id="r" * 64, task="old")]
    assert run()["headroom"] == ""
    # The record is as old as the test's clock says, which is after BEGIN.
    machine.kernel.append(OOM_LINE.format(at=1100.0, id="r" * 64, task="tail"))
    result = fails(run)
    assert result["cause"] == "out-of-memory"
    assert result["memory"] == {}


def test_a_container_that_ended_is_explained_with_its_log(run: Run, machine: Machine) -> None:
    run(record=True)
    ended = {"Running": False, "Status": "exited", "ExitCode": 143, "FinishedAt": at(200)}
    machine.containers["redis"] = container(**ended)
    result = fails(run)
    first, *rest = result["msg"].splitlines()
    assert result["cause"] == "stopped"
    assert NAMES["redis"] in first
    assert "at 2025-12-21 10:03:20 UTC" in first
    assert "its last words" in rest


def test_the_first_line_names_the_container_whatever_the_cause_says(run: Run, machine: Machine) -> None:
    run(record=True)
    machine.containers["redis"] = container(Running=False, Status="exited", ExitCode=1, FinishedAt=at(200))
    assert fails(run)["msg"].startswith(NAMES["redis"] + ": ")


def test_a_paused_container_is_named(run: Run, machine: Machine) -> None:
    run(record=True)
    machine.containers["redis"] = container(Running=False, Status="paused")
    assert fails(run)["cause"] == "paused"


@pytest.mark.parametrize(("there", "cause"), [(False, "removed"), (True, "replaced")])
def test_a_container_that_somebody_took_away(run: Run, machine: Machine, there: bool, cause: str) -> None:
    run(record=True)
    machine.containers["redis"] = container(Id="n" * 64, StartedAt=at(300))
    if not there:
        del machine.containers["redis"]
    assert fails(run)["cause"] == cause


def gates(machine: Machine) -> dict[str, dict[str, Any]]:
    """Return what gates see now."""
    return {
        component: {"id": each["Id"], "started_at": each["State"]["StartedAt"], "restarts": each["RestartCount"]}
        for component, each in machine.containers.items()
    }


def test_a_run_that_proves_the_stack_again_records_what_somebody_did_as_a_note(run: Run, machine: Machine) -> None:
    run(record=True, proven=gates(machine))
    restart(machine, "redis", *RESTART[1:])
    result = run(record=True, proven=gates(machine))
    assert result["changed"] is True
    assert "somebody restarted the container" in result["notes"][0]
    assert result["lines"] == []
    assert run(record=True, proven=gates(machine))["changed"] is False
    assert run()["notes"] == []


def test_what_a_run_replaces_is_its_own_doing(run: Run, machine: Machine) -> None:
    run(record=True)
    machine.containers["redis"] = container(Id="n" * 64, StartedAt=at(300), Labels={LABEL + "run": "run 2"})
    result = run(record=True, proven=gates(machine))
    assert (result["changed"], result["notes"]) == (True, [])


def test_what_happens_between_a_gate_and_the_end_of_its_run_is_a_failure(
    run: Run, machine: Machine, tmp_path: Path
) -> None:
    seen = gates(machine)
    restart(machine, "redis", *RESTART[1:])
    result = fails(run, record=True, proven=seen)
    assert result["cause"] == "restarted"
    assert not identity(tmp_path).exists()


def test_memory_that_ran_out_in_a_container_of_this_run_is_a_failure(run: Run, machine: Machine) -> None:
    assert machine.memory is not None
    machine.memory["redis"] = 1
    assert fails(run, record=True, proven=gates(machine))["cause"] == "out-of-memory"


def test_memory_that_ran_out_before_a_run_is_a_note_once(run: Run, machine: Machine) -> None:
    run(record=True, proven=gates(machine))
    assert machine.memory is not None
    machine.memory["redis"] = 1
    result = run(record=True, proven=gates(machine))
    assert result["changed"] is True
    assert "memory ran out in the container" in result["notes"][0]
    again = run(record=True, proven=gates(machine))
    assert (again["changed"], again["notes"]) == (False, [])
    run()


def test_memory_near_its_limit_is_a_note_and_no_failure(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run(record=True)
    near = _evidence.Memory(10 * MIB, 250 * MIB, 256 * MIB, 0)
    monkeypatch.setattr(_evidence, "memory", lambda *_arguments: near)
    result = run()
    assert len(result["notes"]) == len(COMPONENTS)
    assert "(97 %)" in result["notes"][0]


def test_another_machines_memory_is_not_looked_at(run: Run, machine: Machine) -> None:
    run(record=True, remote=True)
    assert machine.memory is not None
    machine.memory["redis"] = 1
    result = run(remote=True)
    assert (result["memory"], result["headroom"]) == ({}, "")
    assert result["notes"] == ["memory was not looked at: podman's service may be on another machine."]
    restart(machine, "redis", *SIGKILL[1:])
    machine.kernel = [OOM_LINE.format(at=1.0, id="r" * 64, task="tail")]
    assert fails(run, remote=True)["cause"] == "sigkill"


def test_the_result_holds_what_the_record_does(run: Run, tmp_path: Path) -> None:
    result = run(record=True)
    record = json.loads(identity(tmp_path).read_text())
    assert record == {"since": result["since"], "containers": result["containers"]}
    assert record["containers"]["redis"] == asdict(life())
