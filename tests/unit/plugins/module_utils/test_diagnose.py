# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The evidence of a failed run: the cause is named, everything is in one place, and the failure stays one."""

from __future__ import annotations

import json
import os
import stat
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.kubernaut.integration.plugins.module_utils import _diagnose, _gather
from ansible_collections.kubernaut.integration.plugins.module_utils._causes import Named
from ansible_collections.kubernaut.integration.plugins.module_utils._gate import Observation
from ansible_collections.kubernaut.integration.plugins.module_utils._gather import Budget, Harvest, Look
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import Context
from ansible_collections.kubernaut.integration.plugins.module_utils._plan import plan
from ansible_collections.kubernaut.integration.plugins.module_utils._podman import Answer, Podman

PLAN = plan({})
NAMES: dict[str, str] = PLAN["containers"]
SECRET = "test_password"
#: When the run began; containers ended before or after.
BEGIN = 1_000.0
BEFORE, AFTER = "1970-01-01T00:16:00Z", "1970-01-01T00:17:00Z"
READY = Observation(True, "ready", "it is well")
KILLED = Named("killed", "somebody killed it", "see who")
UNKNOWN = Named("unknown", "it ended", "read the log lines below")


def container(component: str, status: str = "running", finished: str = AFTER) -> dict[str, Any]:
    return {
        "Id": component,
        "Name": NAMES[component],
        "State": {
            "Running": status == "running",
            "Status": status,
            "StartedAt": "2025-12-21T10:00:00.123456789Z",
            "FinishedAt": finished,
            "ExitCode": 0 if status == "running" else 1,
        },
        "HostConfig": {"PortBindings": {}},
        "Config": {"Env": ["POSTGRES_PASSWORD=hunter2"], "CreateCommand": [], "Labels": PLAN["labels"]},
    }


@pytest.fixture(name="options")
def _options(tmp_path: Path) -> dict[str, Any]:
    spec = {name: option.get("default") for name, option in _diagnose.PHASE.argument_spec.items()}
    return {
        **spec,
        "ports": {},
        "name": PLAN["name"],
        "containers": NAMES,
        "state_dir": str(tmp_path / "state"),
        "password": SECRET,
        "task": "Wait for DataStorage",
        "failure": "DataStorage is not ready: it exited\nits log",
        "marks": [{"phase": "check", "at": BEGIN}, {"phase": "host", "at": BEGIN + 1.5}],
        "teardown_command": "make teardown",
    }


# ---------------------------------------------------------------------------------------------------------- verdict


def judge(options: dict[str, Any], found: Sequence[dict[str, Any]] = (), **harvest: Any) -> _diagnose.Verdict:
    look = Look(options, "/nonexistent", Budget(1.0))
    look.found = {each["Id"]: each for each in found}
    return _diagnose.Verdict(look, Harvest(**harvest))


def test_a_cause_that_the_task_named_is_passed_on(options: dict[str, Any]) -> None:
    named = {**options, "failure": "Redis ran out of memory; raise it. [out-of-memory]\nlog", "cause": "out-of-memory"}
    verdict = judge(named, [container("postgres", "exited")], ends={"postgres": KILLED})
    assert verdict.message() == ["Redis ran out of memory; raise it. [out-of-memory]"]
    assert verdict.cause == "out-of-memory"


def test_a_remedy_that_does_not_reach_outside_is_said_to_be_none(options: dict[str, Any]) -> None:
    advice = ["Migration 1_a.sql was changed: reset the database (stack_fresh: true). [migration-changed]"]
    away = {**options, "outside": {"postgres": "postgres_external db:5432"}}
    assert _diagnose.caveat(options, advice) == []
    assert _diagnose.caveat(away, ["it is silent. [silent]"]) == []
    assert _diagnose.caveat(away, advice) == [
        "stack_fresh leaves postgres_external db:5432 as it is: reset that database where it comes from."
    ]


def test_what_is_outside_is_asked_and_named(options: dict[str, Any]) -> None:
    within = {component: name for component, name in NAMES.items() if component != "redis"}
    away = {**options, "containers": within, "outside": {"redis": "redis_external r:1"}, "failure": ""}
    found = [container(component) for component in within]
    well = judge(away, found, answers=dict.fromkeys(NAMES, READY))
    assert well.healthy
    silent = Observation(False, "silent", "no answer within 2 s")
    ill = judge(away, found, answers={**dict.fromkeys(within, READY), "redis": silent})
    assert not ill.healthy
    assert ill.cause == "outside-away"
    look = Look(away, "/nonexistent", Budget(1.0))
    stands = [
        _diagnose.stand("redis", look, Harvest(**given))
        for given in ({}, {"answers": {"redis": silent}})  # type: ignore[arg-type]
    ]
    assert stands[0] == "is outside, and more is not known: it was not asked"
    assert stands[1] == "is outside, and is not ready: no answer within 2 s"


@pytest.mark.parametrize("tail", ["", " [silent]", " [silent] [silent]"])
def test_the_id_stands_at_the_end_once(options: dict[str, Any], tail: str) -> None:
    verdict = judge({**options, "failure": "it is silent." + tail, "cause": "silent"})
    assert verdict.message() == ["it is silent. [silent]"]


def test_a_dead_container_is_why_a_symptom_shows(options: dict[str, Any]) -> None:
    symptom = {**options, "failure": "DataStorage cannot reach it. [postgres-away]", "cause": "postgres-away"}
    verdict = judge(symptom, [container("postgres", "exited")], ends={"postgres": KILLED})
    assert verdict.message() == ["somebody killed it; see who. [killed]", "DataStorage cannot reach it."]
    assert verdict.cause == "killed"
    alone = judge(symptom)
    assert alone.message() == ["DataStorage cannot reach it. [postgres-away]"]
    assert alone.cause == "postgres-away"


@pytest.mark.parametrize(
    ("dead", "first"),
    [
        (("datastorage",), "datastorage"),
        (("datastorage", "redis"), "redis"),
        (("datastorage", "redis", "postgres"), "postgres"),
    ],
)
def test_a_dead_datastorage_is_the_last_to_blame(options: dict[str, Any], dead: Sequence[str], first: str) -> None:
    ends = {component: Named("killed", component, "see who") for component in dead}
    verdict = judge(options, [container(component, "exited") for component in dead], ends=ends)
    assert verdict.message() == ["%s; see who. [killed]" % first, "DataStorage is not ready: it exited"]


def test_what_was_dead_before_the_run_did_not_make_it_fail(options: dict[str, Any]) -> None:
    """The migration is wrong, and a DataStorage of yesterday lies around."""
    old = {**options, "failure": "Migration 003_c.sql failed at line 6"}
    verdict = judge(old, [container("datastorage", "exited", BEFORE)], ends={"datastorage": KILLED})
    assert verdict.message() == ["Migration 003_c.sql failed at line 6"]
    assert verdict.cause == "unknown"
    unmarked = judge({**old, "marks": []}, [container("datastorage", "exited", BEFORE)], ends={"datastorage": KILLED})
    assert unmarked.cause == "killed"


def test_a_service_that_is_not_ready_is_no_cause_of_something_else(options: dict[str, Any]) -> None:
    away = Observation(False, "unhealthy", "database unreachable")
    verdict = judge(options, [container("datastorage")], answers={"datastorage": away})
    assert verdict.cause == "unknown"


def test_podmans_own_words_name_the_cause(options: dict[str, Any]) -> None:
    said = "Container %s exited with code 126 when runed\nError: rootlessport listen tcp: bind: address already in use"
    verdict = judge({**options, "failure": said % NAMES["redis"]})
    assert verdict.cause == "port-taken"
    first, second = verdict.message()
    assert first.endswith("stop that, or set another port. [port-taken]")
    assert second == "Container %s exited with code 126 when runed" % NAMES["redis"]


def test_the_words_name_the_container_that_the_task_is_about(options: dict[str, Any]) -> None:
    said = {**options, "task": "Start " + NAMES["postgres"], "failure": "write: No space left on device"}
    assert "no space left where %s writes" % NAMES["postgres"] in judge(said).message()[0]


def test_known_words_count_more_than_an_end_that_nobody_knows(options: dict[str, Any]) -> None:
    said = {**options, "failure": "write: No space left on device"}
    verdict = judge(said, [container("redis", "exited")], ends={"redis": UNKNOWN})
    assert verdict.cause == "disk-full"


def test_a_failure_that_nobody_knows_keeps_its_words(options: dict[str, Any]) -> None:
    verdict = judge(options, [container("redis", "exited")], ends={"redis": UNKNOWN})
    assert verdict.message() == ["DataStorage is not ready: it exited"]
    assert verdict.cause == "unknown"


@pytest.fixture(name="asked")
def _asked(options: dict[str, Any]) -> dict[str, Any]:
    """Nothing failed: somebody asks how the stack is."""
    return {**options, "task": "", "failure": "", "marks": []}


def test_a_healthy_stack_is_called_so(asked: dict[str, Any]) -> None:
    verdict = judge(asked, [container(component) for component in NAMES], answers=dict.fromkeys(NAMES, READY))
    assert verdict.healthy
    assert verdict.cause == ""
    assert verdict.message()[0].startswith("workflowexecution is healthy: ")


def test_events_in_a_queue_are_told_of_a_healthy_stack(asked: dict[str, Any]) -> None:
    found = [container(component) for component in NAMES]
    queued = {"audit:dlq:events": 2, "audit:dlq:notifications": 0}
    verdict = judge(asked, found, answers=dict.fromkeys(NAMES, READY), queued=queued)
    assert verdict.healthy
    assert verdict.message()[0].endswith("; but events are not in PostgreSQL: 2 entries in audit:dlq:events.")


def test_a_failed_task_is_never_called_healthy(options: dict[str, Any]) -> None:
    verdict = judge(options, [container(component) for component in NAMES], answers=dict.fromkeys(NAMES, READY))
    assert not verdict.healthy


@pytest.mark.parametrize(
    ("found", "harvest", "cause", "message"),
    [
        (["postgres", "redis"], {}, "no-container", "there is no container workflowexecution_datastorage_1; run "),
        ([], {}, "no-container", "none of its containers exists; run "),
        ([], {"gaps": {"podman": "podman hangs"}}, "", "not everything could be looked at"),
        (list(NAMES), {"answers": {"redis": READY}}, "", "not everything could be looked at"),
        (
            list(NAMES),
            {"answers": {"redis": READY, "postgres": Observation(False, "starting", "it starts")}},
            "slow-start",
            "PostgreSQL is still starting",
        ),
    ],
)
def test_what_is_not_healthy(
    asked: dict[str, Any], found: Sequence[str], harvest: dict[str, Any], cause: str, message: str
) -> None:
    verdict = judge(asked, [container(component) for component in found], **harvest)
    assert not verdict.healthy
    assert verdict.cause == cause
    assert verdict.message()[0].startswith("workflowexecution: ")
    assert message in verdict.message()[0]


@pytest.mark.parametrize("finished", [BEFORE, "0001-01-01T00:00:00Z"])
def test_a_dead_container_is_found_whenever_it_ended(asked: dict[str, Any], finished: str) -> None:
    verdict = judge(asked, [container("redis", "exited", finished)], ends={"redis": KILLED})
    assert verdict.message() == ["workflowexecution: somebody killed it; see who. [killed]"]


def test_an_end_that_nobody_knows_is_told_all_the_same(asked: dict[str, Any]) -> None:
    found = [container("redis", "exited"), container("postgres"), container("datastorage")]
    assert judge(asked, found, ends={"redis": UNKNOWN}).cause == "unknown"


# --------------------------------------------------------------------------------------------------------- evidence


class FakePodman:
    """A PostgreSQL that runs, and a DataStorage that ended for want of its configuration."""

    found = (container("postgres"), container("datastorage", "exited"))

    @staticmethod
    def call(_self: Podman, *arguments: str, **_more: Any) -> Answer:
        answers = {
            "inspect": Answer(125, json.dumps(FakePodman.found), "Error: no such container"),
            "logs": Answer(0, "the password is %s\n" % SECRET, "CONFIG_PATH not set\n"),
            "info": Answer(125, "", "Error: it is broken"),
            "events": Answer(0, json.dumps({"Name": "x", "Status": "died", "time": 10}) + "\n", ""),
        }
        return answers[arguments[0]]


@pytest.fixture(name="fake")
def _fake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_gather.shutil, "which", lambda name: name)
    monkeypatch.setattr(Podman, "call", FakePodman.call)
    monkeypatch.setattr(_gather._evidence, "of_container", lambda *_arguments: (frozenset(), {}))
    monkeypatch.setattr(_gather._evidence, "kernel_log", lambda _identity, _since=0.0: [])
    monkeypatch.setattr(Look, "answer", lambda look, component: look.harvest.answers.update({component: READY}))
    for collector in ("database", "server"):
        monkeypatch.setattr(Look, collector, lambda look: look.keep("postgres_schema.json", "{}"))


@pytest.mark.usefixtures("fake")
def test_everything_lies_in_one_place_and_is_private(options: dict[str, Any], tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        result = _diagnose.run(options, Context())
    finally:
        os.umask(before)
    directory = Path(result["directory"])
    assert directory.parent == tmp_path / "state" / PLAN["name"] / "report"
    assert {path.name for path in directory.iterdir()} == {
        "summary.md",
        "workflowexecution_postgres_1.log",
        "workflowexecution_postgres_1_inspect.json",
        "workflowexecution_datastorage_1.log",
        "workflowexecution_datastorage_1_inspect.json",
        "podman_events.txt",
        "postgres_schema.json",
        "disk.txt",
        "kernel.txt",
        "ports.txt",
    }
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}
    assert stat.S_IMODE(os.stat(result["archive"]).st_mode) == 0o600
    assert result["archive"] == str(directory) + ".tar.gz"
    assert not result["changed"]


@pytest.mark.usefixtures("fake")
def test_the_tar_holds_the_same_summary_first(options: dict[str, Any]) -> None:
    result = _diagnose.run(options, Context())
    directory = Path(result["directory"])
    with tarfile.open(result["archive"]) as archive:
        names = archive.getnames()
        assert names[0] == directory.name + "/summary.md"
        assert {Path(name).name for name in names} == {path.name for path in directory.iterdir()}
        for name in names:
            file = archive.extractfile(name)
            assert file is not None
            assert file.read() == (directory.parent / name).read_bytes()


@pytest.mark.usefixtures("fake")
def test_no_file_holds_a_secret(options: dict[str, Any]) -> None:
    result = _diagnose.run({**options, "failure": "it said %s, aHVudGVyMg==" % SECRET}, Context())
    for path in Path(result["directory"]).iterdir():
        assert SECRET not in path.read_text()
        assert "hunter2" not in path.read_text()
    assert SECRET not in json.dumps(result)


@pytest.mark.usefixtures("fake")
def test_the_summary_tells_the_cause_first(options: dict[str, Any]) -> None:
    result = _diagnose.run(options, Context())
    text = (Path(result["directory"]) / "summary.md").read_text()
    lines = [line for line in text.splitlines() if line]
    assert lines[:8] == [
        "# workflowexecution: Wait for DataStorage",
        "DataStorage was started without CONFIG_PATH (ADR-030); set CONFIG_PATH in the container's environment, as the "
        "datastorage role does. [config-path-missing]",
        "DataStorage is not ready: it exited",
        "Cause: `config-path-missing`",
        "## What failed",
        "    DataStorage is not ready: it exited",
        "    its log",
        "## How it stands",
    ]
    assert "- workflowexecution_postgres_1 runs since 2025-12-21T10:00:00Z: it is well" in lines
    assert "- workflowexecution_redis_1 does not exist" in lines
    assert "- workflowexecution_datastorage_1 is exited, exit status 1 [config-path-missing]" in lines
    assert "- host 1.50 s, then it failed" in lines
    assert "| `*.log` | the last 2000 lines of each container's log |" in lines
    assert "| `podman_info.json` | `podman info` |" not in lines
    assert "- podman info: it is broken" in lines
    assert "`make teardown`" in lines[-1]


@pytest.mark.usefixtures("fake")
def test_the_message_says_what_and_where(options: dict[str, Any]) -> None:
    here = _diagnose.run(options, Context())
    first, second, third = here["message"].splitlines()
    assert first.endswith(" [config-path-missing]")
    assert second == "DataStorage is not ready: it exited"
    assert third == "Everything is in %s/summary.md." % here["directory"]
    there = _diagnose.run({**options, "host": "web1"}, Context())
    assert there["message"].splitlines()[-1] == "Everything is in %s/summary.md on web1." % there["directory"]


@pytest.mark.usefixtures("fake")
def test_the_terminal_says_how_things_stand_and_what_to_do(options: dict[str, Any]) -> None:
    result = _diagnose.run(options, Context())
    text = "\n".join(result["lines"])
    assert "  workflowexecution_datastorage_1  is exited, exit status 1 [config-path-missing]" in text
    assert "  look          podman logs workflowexecution_datastorage_1" in text
    assert "logs workflowexecution_postgres_1" not in text
    assert "  take it down  make teardown" in text
    assert result["archive"] in text


@pytest.mark.usefixtures("fake")
def test_check_mode_finds_the_cause_and_writes_nothing(options: dict[str, Any], tmp_path: Path) -> None:
    result = _diagnose.run(options, Context(check=True))
    assert result["cause"] == "config-path-missing"
    assert len(result["states"]) == 3
    assert "Everything" not in result["message"]
    assert not (tmp_path / "state").exists()


@pytest.mark.usefixtures("fake")
def test_two_looks_in_one_second_do_not_mix(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_diagnose.time, "strftime", lambda *_arguments: "20251221-101500")
    first, second = (_diagnose.run(options, Context())["directory"] for _again in range(2))
    assert second == first + "-2"


def test_a_machine_without_podman(options: dict[str, Any]) -> None:
    result = _diagnose.run({**options, "podman": "/nonexistent/podman"}, Context())
    assert result["gaps"]["podman"] == "there is no /nonexistent/podman"
    assert result["states"] == ["%s is not known: there is no /nonexistent/podman" % name for name in NAMES.values()]
    assert (Path(result["directory"]) / "disk.txt").exists()


@pytest.mark.usefixtures("fake")
def test_what_cannot_be_written_does_not_hide_the_failure(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_diagnose, "write", refuse)
    result = _diagnose.run(options, Context())
    assert result["cause"] == "config-path-missing"
    assert "The evidence is incomplete: [Errno 28] No space left on device" in result["message"]
    assert result["archive"] == ""


@pytest.mark.usefixtures("fake")
def test_half_a_tar_is_not_left(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: Any, **_more: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tarfile.TarFile, "add", refuse)
    result = _diagnose.run(options, Context())
    first, _second, where, evidence = result["message"].splitlines()
    assert first.endswith(" [config-path-missing]")
    assert where.startswith("Everything is in ")
    assert evidence.startswith("The evidence is incomplete: ")
    assert not Path(result["directory"] + ".tar.gz").exists()
    assert (Path(result["directory"]) / "disk.txt").exists()


@pytest.mark.usefixtures("fake")
def test_without_time_there_is_no_tar(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_diagnose, "WHOLE", 0.0)
    result = _diagnose.run(options, Context())
    assert result["archive"] == ""
    assert "  hand on       there was no time left for a tar" in result["lines"]


# ------------------------------------------------------------------------------------------------------------- room


def test_what_a_person_reads_first_is_kept_first() -> None:
    files = {"podman_info.json": "i" * 600, "a.log": "l" * 900, "ports.txt": "p" * 300, "a_inspect.json": "n" * 900}
    kept, gaps = _diagnose.fit(files, 2000)
    assert list(kept) == ["a.log", "a_inspect.json"]
    assert set(gaps) == {"ports.txt", "podman_info.json"}


def test_the_last_file_is_cut_where_that_is_worth_it() -> None:
    kept, gaps = _diagnose.fit({"a.log": "x" * 5000, "b.log": "y" * 5000}, 7000)
    assert kept["a.log"] == "x" * 5000
    assert "3000 characters are left out here" in kept["b.log"]
    assert gaps == {}


def test_all_that_fits_is_kept() -> None:
    files = {"a.log": "x" * 50, "other.txt": "y"}
    assert _diagnose.fit(files, 1000) == (files, {})


def test_the_time_for_writing_is_left() -> None:
    assert _diagnose.LOOKING < _diagnose.WHOLE <= 10
