# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: ARG002 - a stand-in takes what the real one takes
"""The evidence of a failed run."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.kubernaut.integration.plugins.module_utils import _diagnose
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import Context
from ansible_collections.kubernaut.integration.plugins.module_utils._plan import plan
from ansible_collections.kubernaut.integration.plugins.module_utils._podman import Answer, Podman

PLAN = plan({})


def container(name: str, running: bool) -> dict[str, Any]:
    return {
        "Name": name,
        "State": {
            "Running": running,
            "Status": "running" if running else "exited",
            "StartedAt": "2025-12-21T10:00:00Z",
            "ExitCode": 0 if running else 1,
        },
        "Config": {
            "Env": [
                "PATH=/bin",
                "POSTGRES_PASSWORD=hunter2",
                "POSTGRES_PASSWORD_FILE=/run/secrets/pw",
                "API_TOKEN=hunter2",
            ],
            "CreateCommand": ["podman", "run", "--env", "PGPASSWORD=hunter2", "--env=MY_SECRET=hunter2", "--name=x"],
        },
    }


class FakePodman(Podman):
    """Two containers with a log each."""

    found = (container("wf_postgres_1", True), container("wf_datastorage_1", False))

    def inspect(self, *names: str, kind: str = "all") -> list[dict[str, Any]]:
        return list(self.found)

    def call(self, *arguments: str, timeout: float = 60.0, stdin: str | None = None) -> Answer:
        assert arguments[:3] == ("logs", "--tail", str(_diagnose.LOG_LINES))
        assert timeout == _diagnose.CALL_TIMEOUT
        return Answer(0, "out of %s\n" % arguments[-1], "err of %s\n" % arguments[-1])


@pytest.fixture(name="options")
def _options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(_diagnose, "Podman", FakePodman)
    return {
        "name": PLAN["name"],
        "containers": PLAN["containers"],
        "state_dir": str(tmp_path / "state"),
        "podman": "podman",
        "inspect": True,
        "task": "Wait for DataStorage",
        "failure": "DataStorage is not ready: it exited",
        "teardown_command": "make teardown",
        "variables": {},
    }


def test_options_are_those_of_the_phase(options: dict[str, Any]) -> None:
    assert set(options) == set(_diagnose.PHASE.argument_spec)


def test_evidence_is_kept_and_private(options: dict[str, Any], tmp_path: Path) -> None:
    result = _diagnose.run(options, Context())
    directory = Path(result["directory"])
    assert directory.parent == tmp_path / "state" / PLAN["name"] / "report"
    assert {path.name for path in directory.iterdir()} == {
        "summary.md",
        "wf_postgres_1.log",
        "wf_postgres_1_inspect.json",
        "wf_datastorage_1.log",
        "wf_datastorage_1_inspect.json",
    }
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}
    assert (directory / "wf_postgres_1.log").read_text() == "out of wf_postgres_1\nerr of wf_postgres_1\n"
    assert result["changed"] is False


def test_summary_begins_with_the_failure(options: dict[str, Any]) -> None:
    text = (Path(_diagnose.run(options, Context())["directory"]) / "summary.md").read_text()
    lines = [line for line in text.splitlines() if line]
    assert lines[:4] == [
        "# workflowexecution: Wait for DataStorage",
        "DataStorage is not ready: it exited",
        "- wf_postgres_1 runs since 2025-12-21T10:00:00Z",
        "- wf_datastorage_1 is exited, exit status 1",
    ]
    assert "`make teardown`" in lines[-1]


def test_inspect_is_kept_without_secrets(options: dict[str, Any]) -> None:
    text = (Path(_diagnose.run(options, Context())["directory"]) / "wf_postgres_1_inspect.json").read_text()
    assert "hunter2" not in text
    config = json.loads(text)["Config"]
    assert config["Env"] == [
        "PATH=/bin",
        "POSTGRES_PASSWORD=********",
        "POSTGRES_PASSWORD_FILE=/run/secrets/pw",
        "API_TOKEN=********",
    ]
    assert config["CreateCommand"] == [
        "podman",
        "run",
        "--env",
        "PGPASSWORD=********",
        "--env=MY_SECRET=********",
        "--name=x",
    ]


def test_container_without_environment_is_described() -> None:
    assert _diagnose.without_secrets({"Config": {"Env": None}})["Config"]["Env"] == []


def test_check_mode_writes_nothing(options: dict[str, Any], tmp_path: Path) -> None:
    result = _diagnose.run(options, Context(check=True))
    assert len(result["states"]) == 2
    assert not (tmp_path / "state").exists()


def test_machine_without_podman(options: dict[str, Any]) -> None:
    result = _diagnose.run({**options, "inspect": False}, Context())
    assert result["states"] == []
    assert "  there are none" in result["lines"]
    assert "no container of the stack exists" in (Path(result["directory"]) / "summary.md").read_text()


def test_lines_say_how_things_stand_and_what_to_do(options: dict[str, Any]) -> None:
    result = _diagnose.run(options, Context())
    text = "\n".join(result["lines"])
    assert "  wf_datastorage_1 is exited, exit status 1" in text
    assert "podman logs wf_datastorage_1" in text
    assert "make teardown" in text
    assert result["directory"] in text
