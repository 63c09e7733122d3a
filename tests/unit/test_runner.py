# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The test runner counts what its stages say and swallows no failure."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return tests/run as a module that writes into an empty directory."""
    loader = SourceFileLoader("runner_under_test", str(ROOT / "tests" / "run"))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, loader.name, module)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "OUT", tmp_path)
    return module


def test_junit_counts_each_case_once(runner: ModuleType) -> None:
    report = """<testsuites><testsuite>
      <testcase name="good"/><testcase name="bad"><failure/><error/></testcase>
      <testcase name="broken"><error/></testcase><testcase name="not here"><skipped/></testcase>
    </testsuite></testsuites>"""
    assert str(runner.count_junit(report)) == "1 passed, 2 failed, 1 skipped"


@pytest.mark.parametrize(
    ("output", "counted"),
    [
        ("nothing", "0 passed, 0 failed"),
        ("==== 3 passed in 0.12s ====", "3 passed, 0 failed"),
        ("\x1b[32m==== \x1b[1m3 passed\x1b[0m in 61.00s (0:01:01) ====\x1b[0m", "3 passed, 0 failed"),
        ("==== 1 failed, 2 passed, 1 skipped, 1 error in 1.00s ====", "2 passed, 2 failed, 1 skipped"),
        ("=== 2 passed in 1.00s ===\n=== 3 passed, 1 warning in 2.00s ===", "5 passed, 0 failed"),
        ("TASK [3 passed in 0.12s] ***", "0 passed, 0 failed"),
    ],
)
def test_closing_lines_of_pytest_are_added_up(runner: ModuleType, output: str, counted: str) -> None:
    assert str(runner.count_pytest_lines(output)) == counted


PLAY = """\
TASK [kubernaut.integration.redis : Check what Redis is asked to be] ****
ok: [localhost]
TASK [Try] ****
fatal: [localhost]: FAILED! =>
    msg: it may fail
...ignoring
TASK [Check the input] ****
fatal: [localhost]: FAILED! =>
    msg: 'redis_memory: ''64x'' is not a size'

PLAY RECAP ****
localhost : ok=12
TASK [Take it down] ****
fatal: [localhost]: FAILED! =>
    msg: a consequence
"""
NESTED = """\
TASK [Let its author prepare it] ****
fatal: [localhost]: FAILED! =>
    cmd: molecule converge
    stdout: |-
        TASK [Write] ****
        fatal: [localhost]: FAILED! =>
            msg: Status code was 400

        PLAY RECAP ****
"""
PYTEST = """\
______ test_it ______
    def test_it():
>       assert 1 == 2
E       assert 1 == 2
E        +  where 1

FAILED tests/test_it.py::test_it
"""


@pytest.mark.parametrize(
    ("output", "first", "last"),
    [
        (PLAY, "TASK [Check the input]", "    msg: 'redis_memory: ''64x'' is not a size'"),
        (NESTED, "TASK [Write]", "    msg: Status code was 400"),
        (PYTEST, "test_it", "E        +  where 1"),
    ],
)
def test_the_first_cause_is_found_in_front_of_its_consequences(
    runner: ModuleType, output: str, first: str, last: str
) -> None:
    cause = runner.first_cause(output)
    assert (cause[0], cause[-1]) == (first, last)


def test_a_good_run_has_no_cause(runner: ModuleType) -> None:
    assert runner.first_cause("TASK [Try] ****\nok: [localhost]\nPLAY RECAP ****\n") == []


def stage_that_calls(*argv: str) -> Callable[[Any], None]:
    def run(job: Any) -> None:
        job.call(*argv)

    return run


def no_tests(job: Any) -> None:
    with job.reports(job.log.parent / "absent"):
        job.call("true")


def all_tests_passed_but_the_command_failed(job: Any) -> None:
    job.counts.passed = 5
    job.call("false")


def failed_tests_but_the_command_ended_with_0(job: Any) -> None:
    job.counts.failed = 2
    job.call("true")


def defect(job: Any) -> None:
    raise KeyError(job.name)


@pytest.mark.parametrize(
    ("run", "counted", "shown"),
    [
        (stage_that_calls("true"), "1 passed, 0 failed", "ok"),
        (stage_that_calls("false"), "0 passed, 1 failed", "false ended with 1"),
        (stage_that_calls("sh", "-c", "kill -9 $$"), "0 passed, 1 failed", "sh ended with -9"),
        (stage_that_calls("no-such-command"), "0 passed, 1 failed", "No such file"),
        (no_tests, "0 passed, 1 failed", "no test was run"),
        (all_tests_passed_but_the_command_failed, "5 passed, 1 failed", "false ended with 1"),
        (failed_tests_but_the_command_ended_with_0, "0 passed, 2 failed", "failed tests"),
        (defect, "0 passed, 1 failed", "KeyError"),
    ],
)
def test_a_stage_fails_whenever_anything_in_it_did(
    runner: ModuleType, capsys: pytest.CaptureFixture[str], run: Callable[[Any], None], counted: str, shown: str
) -> None:
    assert str(runner.run_stage(runner.Stage("stage", run))) == counted
    assert shown in capsys.readouterr().out


def test_a_stage_that_hangs_is_stopped(
    runner: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "STAGE_LIMIT", 0.2)
    assert str(runner.run_stage(runner.Stage("stage", stage_that_calls("sleep", "60")))) == "0 passed, 1 failed"
    assert "sleep was stopped" in capsys.readouterr().out


def test_the_program_ends_with_its_count_and_a_failure_is_its_exit_status(
    runner: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stages = [
        runner.Stage("good", stage_that_calls("true")),
        runner.Stage("bad", stage_that_calls("false"), lane=runner.DATA),
    ]
    monkeypatch.setattr(runner, "all_stages", lambda: stages)
    monkeypatch.setattr(runner, "OUT", tmp_path / "out")
    monkeypatch.setattr(runner, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(sys, "argv", ["run"])
    assert runner.main() == 1
    assert capsys.readouterr().out.splitlines()[-1] == "1 passed, 1 failed"
    monkeypatch.setattr(sys, "argv", ["run", "good"])
    assert runner.main() == 0
    assert capsys.readouterr().out.splitlines()[-1] == "1 passed, 0 failed"
    monkeypatch.setattr(sys, "argv", ["run", "gone"])
    with pytest.raises(SystemExit, match="no such stage: gone"):
        runner.main()


def test_stages_of_one_lane_run_one_after_the_other(runner: ModuleType) -> None:
    stages = [
        runner.Stage("ruff", stage_that_calls("true")),
        runner.Stage("live", stage_that_calls("true"), runner.DATA),
        runner.Stage("remote", stage_that_calls("true"), runner.HOSTS),
        runner.Stage("default", stage_that_calls("true"), runner.DATA),
        runner.Stage("sanity", stage_that_calls("true")),
    ]
    names = [[stage.name for stage in piece] for piece in runner.in_lanes(stages)]
    assert names == [["ruff"], ["live", "default"], ["remote"], ["sanity"]]


def test_every_scenario_that_makes_hosts_is_in_their_lane(runner: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "ROOT", ROOT)
    lanes = {stage.name: stage.lane for stage in runner.all_stages()}
    assert {name for name, lane in lanes.items() if lane == runner.HOSTS} == {
        "molecule-ansibles",
        "molecule-remote",
        "molecule-rootless",
    }
    assert (lanes["live"], lanes["molecule-default"]) == (runner.LIVE, "")


def test_halves_of_the_live_tests_are_all_of_them(runner: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "ROOT", ROOT)
    halves = [runner.live_files(data=half) for half in (False, True)]
    assert all(halves)
    assert sorted(halves[0] + halves[1]) == sorted(
        str(path.relative_to(ROOT)) for path in (ROOT / "tests" / "live").glob("test_*.py")
    )


def test_the_machine_is_ready_before_anything_starts_containers(
    runner: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    stages = [
        runner.Stage("units", stage_that_calls("true")),
        runner.Stage("live", stage_that_calls("true"), runner.LIVE),
        runner.Stage("machine", stage_that_calls("sleep", "0.3"), runner.FIRST),
    ]
    assert str(runner.run_stages(stages)) == "3 passed, 0 failed"
    assert capsys.readouterr().out.splitlines()[0].split()[1] == "machine"
