# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How expectations are compared, which service is meant, what is counted, and that the tables are in order."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.kubernaut.integration.tests.conformance import control, report
from ansible_collections.kubernaut.integration.tests.conformance.cases import sound_cases
from ansible_collections.kubernaut.integration.tests.conformance.contract import (
    COMMITS,
    Every,
    JsonText,
    Moment,
    Origin,
    Partial,
    differences,
    is_uuid,
)
from ansible_collections.kubernaut.integration.tests.conformance.faults import STARTS, UNDER_FAULT
from ansible_collections.kubernaut.integration.tests.conformance.report import FAILED, PASSED, SKIPPED, Result
from ansible_collections.kubernaut.integration.tests.conformance.stores import opened
from ansible_collections.kubernaut.integration.tests.conformance.target import Target, TargetError, Wanted, resolve

ROOT = Path(__file__).resolve().parents[3]
IT = Moment("mark", datetime(2026, 11, 25, tzinfo=UTC), "v0")
FIRST = Origin("10.1", "c0ffee", "2026-11-25", "200")


# ----------------------------------------------------------------------------------------------------------- comparison


@pytest.mark.parametrize(
    ("expected", "found", "complaint"),
    [
        (1, 1, ""),
        (1, True, "is True, expected 1"),
        (0, False, "is False, expected 0"),
        (1, 1.0, "is 1.0, expected 1"),
        (int, 3, ""),
        (int, True, "is True, expected some int"),
        (str, None, "is None, expected some str"),
        (None, None, ""),
        (None, "", "is '', expected None"),
        (re.compile("b"), "abc", ""),
        (re.compile("^b"), "abc", "expected a text with '^b'"),
        (re.compile("b"), 1, "expected a text with 'b'"),
        (lambda it: it.correlation, "mark", ""),
        (lambda it: it.correlation, "other", "is 'other', expected 'mark'"),
        (is_uuid, "00000000-0000-4000-8000-000000000000", ""),
        (is_uuid, "00000000", "expected a text with"),
        ({"a": 1}, {"a": 1}, ""),
        ({"a": 1}, {}, "it.a is missing"),
        ({"a": 1}, {"a": 1, "b": 2}, "it has more than expected: b"),
        (Partial(a=1), {"a": 1, "b": 2}, ""),
        (Partial(a=1), {"a": 2}, "it.a is 2, expected 1"),
        ({"a": 1}, [1], "is [1], expected {'a': 1}"),
        ([1, 2], [1, 2], ""),
        ([1, 2], [1], "it has 1 elements, expected 2"),
        ([1, 2], [1, 3], "it[1] is 3, expected 2"),
        ([], None, "is None, expected []"),
        (Every(int, 2), [1, 2], ""),
        (Every(int, 2), [1], "it has 1 elements, expected 2"),
        (Every(int, 2), [1, "b"], "it[1] is 'b', expected some int"),
        (JsonText({"a": 1}), '{"a": 1}', ""),
        (JsonText({"a": 1}), '{"a": 2}', "it.a is 2, expected 1"),
        (JsonText({"a": 1}), "<html>", "is '<html>', expected JSON"),
    ],
)
def test_differences(expected: Any, found: Any, complaint: str) -> None:
    words = list(differences(expected, found, IT, "it"))
    assert words == [] if not complaint else complaint in words[0], words


# --------------------------------------------------------------------------------------------------------------- target


def stack(home: Path, name: str, **changes: Any) -> Path:
    """Write the two files of a running stack."""
    directory = home / name
    directory.mkdir(parents=True)
    facts = {
        "contract": "v0",
        "postgres": {"address": "127.0.0.1", "port": 15443, "database": "action_history", "user": "slm_user"},
        "redis": {"address": "127.0.0.1", "port": 16389},
        "datastorage": {
            "url": "http://127.0.0.1:18100",
            "health": "http://127.0.0.1:18100/health",
            "metrics": "http://127.0.0.1:18100/metrics",
        },
        **changes,
    }
    (directory / "stack.json").write_text(json.dumps(facts))
    (directory / "stack.env").write_text("POSTGRES_PASSWORD='it is'\nREDIS_PASSWORD=\nDATASTORAGE_TOKEN=own\n")
    return directory


def test_the_only_stack_is_meant(tmp_path: Path) -> None:
    only = stack(tmp_path, "gateway-mine")
    target = resolve(Wanted(), {}, tmp_path)
    assert (target.contract, target.url, target.health_url) == ("v0", "http://127.0.0.1:18100", target.metrics_url)
    assert target.postgres == "postgresql://slm_user@127.0.0.1:15443/action_history"
    assert target.passwords == {"postgres": "it is", "redis": ""}
    assert target.tokens == {"service": "own"}
    assert "it is" not in repr(target)
    assert resolve(Wanted(), {"DATASTORAGE_TOKEN": "another"}, tmp_path).tokens == {"service": "another"}
    kept = tmp_path / "datastorage.token"
    kept.write_text("kept\n")
    (only / "stack.env").write_text(f"POSTGRES_PASSWORD=x\nREDIS_PASSWORD=\nDATASTORAGE_TOKEN_FILE={kept}\n")
    assert resolve(Wanted(), {}, tmp_path).tokens == {"service": "kept"}
    kept.unlink()
    with pytest.raises(TargetError, match=f"^DATASTORAGE_TOKEN_FILE: {kept}: No such file"):
        resolve(Wanted(), {}, tmp_path)


def test_of_several_stacks_the_default_one_is_meant_or_none(tmp_path: Path) -> None:
    stack(tmp_path, "a")
    stack(tmp_path, "b")
    with pytest.raises(TargetError, match=r"Several stacks are running: name the directory of one \(STACK=.*/a\)\."):
        resolve(Wanted(), {}, tmp_path)
    stack(tmp_path, "workflowexecution", contract="v1")
    assert resolve(Wanted(), {}, tmp_path).contract == "v1"
    assert resolve(Wanted(stack=str(tmp_path / "b")), {}, tmp_path).contract == "v0"


NAMED: dict[str, Any] = {
    "url": "http://127.0.0.1:18100/",
    "postgres": "postgresql://u@127.0.0.1/d",
    "redis": "redis://127.0.0.1",
}


def test_a_service_of_ones_own() -> None:
    target = resolve(Wanted(**NAMED), {"PGPASSWORD": "p", "REDIS_PASSWORD": "r"})
    assert (target.contract, target.url, target.health_url, target.stack) == (
        "v0",
        "http://127.0.0.1:18100",
        "http://127.0.0.1:18100",
        None,
    )
    assert target.passwords == {"postgres": "p", "redis": "r"}


@pytest.mark.parametrize(
    ("wanted", "complaint"),
    [
        ({"url": NAMED["url"]}, "POSTGRES and REDIS must be given with URL for contract v0; see docs/conformance.md."),
        ({**NAMED, "redis": ""}, "REDIS must be given with URL for contract v0"),
        (
            {**NAMED, "contract": "v1"},
            "HEALTH_URL and METRICS_URL and DATASTORAGE_TOKEN in the environment must be given with URL for contract",
        ),
        ({**NAMED, "contract": "v2"}, "CONTRACT: 'v2' is none; there are v0 and v1."),
        ({**NAMED, "url": "127.0.0.1:18100"}, "URL: '127.0.0.1:18100' is no URL like http://127.0.0.1:18100."),
        ({"redis": NAMED["redis"]}, "URL is missing: name the DataStorage to ask"),
        ({**NAMED, "faults": True}, "--faults works on a stack of this collection; for another service give --control"),
        ({"stack": "/nowhere"}, "STACK: /nowhere is not the directory of a running stack"),
        ({}, "No stack is running below "),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, wanted: dict[str, Any], complaint: str) -> None:
    with pytest.raises(TargetError) as caught:
        resolve(Wanted(**wanted), {}, tmp_path)
    assert str(caught.value).startswith(complaint)
    assert "\n" not in str(caught.value)


def test_without_a_stack_the_suite_says_one_sentence(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/conformance"],
        cwd=ROOT,
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 4
    assert done.stdout == ""
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("ERROR: No stack is running below ")


@pytest.mark.parametrize(
    ("postgres", "redis", "complaint"),
    [
        ("postgresql://u@127.0.0.1:9/d", "redis://127.0.0.1:9", "POSTGRES: no connection ("),
        ("no conninfo", "redis://127.0.0.1:9", "POSTGRES: no connection ("),
    ],
)
def test_the_suite_stops_where_postgresql_does_not_answer(postgres: str, redis: str, complaint: str) -> None:
    # Nothing listens on port 9.
    with pytest.raises(TargetError) as caught:
        opened(Target("v0", "", "", "", postgres, redis))
    assert str(caught.value).startswith(complaint)


# --------------------------------------------------------------------------------------------------------------- report


def test_only_what_was_observed_is_fidelity() -> None:
    read = Origin("3.2", "c0ffee")
    results = [
        Result("a", FIRST, PASSED),
        Result("b", FIRST, FAILED, why="no"),
        Result("c", FIRST, SKIPPED, why="they need --faults"),
        Result("d", read, PASSED),
        Result("e", read, SKIPPED, why="they need a token"),
        Result("f", read, SKIPPED, why="they need --faults"),
    ]
    target = Target("v0", "http://127.0.0.1:18100", "", "", "", "")
    assert list(report.lines(target, results)) == [
        "contract v0 at http://127.0.0.1:18100",
        "fidelity: 1 of 2 observed cases pass; 1 of 1 cases only read pass",
        "not tried: 2 cases, they need --faults",
        "not tried: 1 case, they need a token",
    ]
    document = json.loads(json.dumps(report.document(target, results)))
    assert document["counts"] == {
        "observed": {"passed": 1, "failed": 1, "skipped": 1},
        "read": {"passed": 1, "skipped": 2},
    }
    assert document["cases"][0]["observed"] == {"date": "2026-11-25", "result": "200"}
    assert document["cases"][3]["observed"] is None
    assert document["cases"][1]["why"] == "no"


# ---------------------------------------------------------------------------------------------------------- the tables


def everything() -> list[tuple[str, str, Origin]]:
    """Return contract, name and origin of every case."""
    cases = [(case.name, case.origins) for case in sound_cases()]
    cases += [(f"{state}-{case.name}", case.origins) for state, table in UNDER_FAULT.items() for case in table]
    cases += [(f"start-{start.name}", start.origins) for start in STARTS]
    return [(contract, name, origin) for name, origins in cases for contract, origin in origins.items()]


def test_every_case_has_a_name_of_its_own_and_an_origin() -> None:
    counted = Counter((contract, name) for contract, name, _origin in everything())
    assert [name for name, number in counted.items() if number > 1] == []
    for contract, name, origin in everything():
        assert origin.commit == COMMITS[contract], name
        assert re.fullmatch(r"(2|3|10)(\.\d+)?", origin.section), name
        assert bool(origin.result) == origin.observed, name


def test_every_fault_can_be_brought_about() -> None:
    assert set(UNDER_FAULT) == set(control.FAULTS)
    assert {start.fault for start in STARTS} - {""} <= set(control.FAULTS)


def test_the_page_counts_the_cases() -> None:
    text = (ROOT / "docs" / "conformance.md").read_text()
    rows = dict(re.findall(r"^\| ([a-z ]+) \| (\d+ \| \d+) \|$", text, re.MULTILINE))

    def number(contract: str, kind: str) -> int:
        def is_of(name: str) -> str:
            if name.startswith("start-"):
                return "start"
            return "fault" if name.startswith(tuple(UNDER_FAULT)) else "sound"

        return sum(of == contract and is_of(name) == kind for of, name, _origin in everything())

    kinds = {"of a sound service": "sound", "under a fault": "fault", "of a start": "start"}
    wanted = {row: f"{number('v0', kind)} | {number('v1', kind)}" for row, kind in kinds.items()}
    wanted["only read"] = " | ".join(
        str(sum(of == contract and not origin.observed for of, _name, origin in everything()))
        for contract in ("v0", "v1")
    )
    assert rows == wanted


# --------------------------------------------------------------------------------------------------------------- states


def test_a_fault_is_brought_about_once_and_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    def fault(name: str) -> Any:
        @contextmanager
        def around(_control: Any, _postgres: Any) -> Any:
            said.append(f"+{name}")
            if name == "broken":
                raise control.ControlError(name)
            yield
            said.append(f"-{name}")

        return around

    monkeypatch.setattr(control, "FAULTS", {name: fault(name) for name in ("a", "b", "broken")})
    states = control.States(None, None)  # type: ignore[arg-type]
    for name in ("", "a", "a", "b"):
        states.enter(name)
    with pytest.raises(control.ControlError):
        states.enter("broken")
    states.enter("a")
    states.enter("")
    assert said == ["+a", "-a", "+b", "-b", "+broken", "+a", "-a"]


def test_a_command_of_ones_own_stops_and_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "control"
    script.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/said\n[ "$2" != nobody ]\n')
    script.chmod(0o755)
    target = Target("v0", "", "", "", "", "redis://127.0.0.1:9")
    commands = control.Control(target, f"{script} now")
    commands.do("stop", "postgres")
    assert (tmp_path / "said").read_text() == "now stop postgres\n"
    monkeypatch.setattr(control, "RETURN_LIMIT", 0.1)
    with pytest.raises(control.ControlError, match="redis did not come back"):
        commands.do("start", "redis")
    with pytest.raises(control.ControlError, match="ended with 1"):
        control.Control(target, f"{script}").do("x", "nobody")
