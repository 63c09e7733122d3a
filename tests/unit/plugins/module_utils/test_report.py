# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: ARG001 - a stand-in takes what the real one takes
"""What a run says at its end."""

from __future__ import annotations

import json
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.kubernaut.integration.plugins.module_utils import _report
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import Context
from ansible_collections.kubernaut.integration.plugins.module_utils._plan import plan

PLAN = plan({})
IMAGE = {"reference": "localhost/x:1", "digest": "sha256:abc", "source": "build", "id": "123"}
PASSWORD = 'it\'s $HOME `id` "x"'


@pytest.fixture(name="options")
def _options(tmp_path: Path) -> dict[str, Any]:
    return {
        "name": PLAN["name"],
        "team": PLAN["team"],
        "contract": "v0",
        "host": "localhost",
        "state_dir": str(tmp_path),
        "podman": "podman",
        "hosts": dict.fromkeys(("postgres", "redis", "datastorage"), "127.0.0.1"),
        "ports": PLAN["ports"],
        "containers": PLAN["containers"],
        "network": PLAN["network"],
        "images": dict.fromkeys(PLAN["containers"], IMAGE),
        "reference_service": False,
        "database": PLAN["database"],
        "user": PLAN["user"],
        "password": PASSWORD,
        "redis_password": "",
        "generated": {},
        "health_port": 0,
        "metrics_port": 0,
        "token_file": "",
        "tls": False,
        "ca_file": "",
        "health_path": "/health",
        "metrics_path": "/metrics",
        "configuration": {"server.port": 8080},
        "started": True,
        "proof": "7/7 written",
        "marks": [
            {"phase": "begin", "at": 100.0},
            {"phase": "postgres", "at": 101.5},
            {"phase": "redis", "at": 101.75},
        ],
        "verify_command": "make verify",
        "finish_command": "make finish",
        "teardown_command": "make teardown",
        "variables": {},
        "settings": {},
        "memory": "",
        "notes": [],
    }


def test_options_are_those_of_the_phase(options: dict[str, Any]) -> None:
    assert set(options) == set(_report.PHASE.argument_spec)


def test_all_spellings_of_the_address(options: dict[str, Any]) -> None:
    variables = _report.environment(options)
    names = ("DATASTORAGE_URL", "DATA_STORAGE_URL", "TEST_DATA_STORAGE_URL")
    assert {variables[name] for name in names} == {"http://127.0.0.1:18100"}
    assert variables["REDIS_ADDR"] == "127.0.0.1:16389"
    assert variables["POSTGRES_PORT"] == "15443"


def test_ports_of_their_own_and_the_token_are_said_where_there_are_any(options: dict[str, Any]) -> None:
    assert not {"DATASTORAGE_HEALTH_URL", "DATASTORAGE_TOKEN_FILE"} & set(_report.environment(options))
    apart = {"health_port": 28100, "metrics_port": 19100, "token_file": "/state/token", "health_path": "/readyz"}
    variables = _report.environment({**options, **apart})
    assert variables["DATASTORAGE_HEALTH_URL"] == "http://127.0.0.1:28100/readyz"
    assert variables["DATASTORAGE_TOKEN_FILE"] == "/state/token"
    facts = _report.description({**options, **apart})["datastorage"]
    assert (facts["metrics"], facts["token_file"]) == ("http://127.0.0.1:19100/metrics", "/state/token")
    assert _report.variables({**options, **apart})["datastorage_token_file"] == "/state/token"


def test_tls_is_of_the_api_and_of_what_has_no_port_of_its_own(options: dict[str, Any]) -> None:
    options.update(tls=True, ca_file="/state/datastorage.crt", health_path="/readyz")
    environment = _report.environment(options)
    assert (environment["DATASTORAGE_URL"], environment["TLS_CA_FILE"]) == (
        "https://127.0.0.1:18100",
        "/state/datastorage.crt",
    )
    facts = _report.description(options)["datastorage"]
    assert (facts["health"], facts["ca_file"]) == ("https://127.0.0.1:18100/readyz", "/state/datastorage.crt")
    options.update(health_port=28100)
    assert _report.description(options)["datastorage"]["health"] == "http://127.0.0.1:28100/readyz"


def test_stack_without_datastorage_says_how_to_finish_it(options: dict[str, Any]) -> None:
    text = "\n".join(_report.run({**options, "started": False}, Context())["lines"])
    assert "contract v0, not started" in text
    assert "make finish\n" in text
    assert "make verify" not in text


def test_what_contract_v1_still_wants_is_said(options: dict[str, Any]) -> None:
    given = {"datastorage_auth": "kubeconfig"}
    text = "\n".join(_report.run({**options, "started": False, "variables": given}, Context())["lines"])
    assert "make finish -e datastorage_kubeconfig=FILE -e datastorage_token_file=FILE\n" in text
    given["datastorage_kubeconfig"] = "/etc/kubeconfig"
    text = "\n".join(_report.run({**options, "started": False, "variables": given}, Context())["lines"])
    assert "make finish -e datastorage_token_file=FILE\n" in text


def test_shell_reads_back_what_was_written(options: dict[str, Any], tmp_path: Path) -> None:
    files = _report.run(options, Context())["files"]
    script = '. "$1"; printf "%s|%s|%s" "$POSTGRES_PASSWORD" "$REDIS_PASSWORD" "$DATASTORAGE_PORT"'
    said = subprocess.run(["sh", "-euc", script, "sh", files["stack.env"]], capture_output=True, text=True, check=True)
    assert said.stdout == PASSWORD + "||18100"


def test_password_is_in_the_private_file_only(options: dict[str, Any], tmp_path: Path) -> None:
    options["password"] = "hunter2"
    result = _report.run(options, Context())
    assert "hunter2" in (tmp_path / "stack.env").read_text()
    assert "hunter2" not in (tmp_path / "stack.json").read_text()
    assert "hunter2" not in json.dumps(result)
    for name in ("stack.env", "stack.json"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("generated", "held"),
    [
        ({}, {"postgres_password": "hunter2", "redis_password": "hunter3"}),
        ({"postgres_password": "hunter2", "redis_password": "hunter3"}, {}),
        # One that was given takes the place of the generated one, and the next playbook must be told.
        ({"postgres_password": "hunter4", "redis_password": "hunter3"}, {"postgres_password": "hunter2"}),
    ],
)
def test_variables_hold_the_passwords_that_the_stack_does_not_keep_itself(
    options: dict[str, Any], generated: dict[str, str], held: dict[str, str]
) -> None:
    options.update(password="hunter2", redis_password="hunter3", generated=generated)
    variables = _report.variables(options)
    assert {name: value for name, value in variables.items() if name.endswith("password")} == held


def test_second_report_changes_nothing(options: dict[str, Any]) -> None:
    assert _report.run(options, Context())["changed"] is True
    options["marks"] = [{"phase": "begin", "at": 200.0}, {"phase": "postgres", "at": 200.1}]
    assert _report.run(options, Context())["changed"] is False


@pytest.mark.parametrize("name", ["stack.env", "stack.json"])
def test_file_that_others_may_read_is_replaced(options: dict[str, Any], tmp_path: Path, name: str) -> None:
    _report.run(options, Context())
    (tmp_path / name).chmod(0o644)
    assert _report.run(options, Context())["changed"] is True
    assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["stack.env", "stack.json"])
def test_check_mode_tells_the_truth_and_writes_nothing(options: dict[str, Any], tmp_path: Path, name: str) -> None:
    """It was never changed in check mode once."""
    assert _report.run(options, Context(check=True))["changed"] is True
    assert list(tmp_path.iterdir()) == []
    _report.run(options, Context())
    assert _report.run(options, Context(check=True))["changed"] is False
    (tmp_path / name).write_bytes(b"\xff")
    assert _report.run(options, Context(check=True))["changed"] is True
    assert (tmp_path / name).read_bytes() == b"\xff"


def test_what_is_outside_is_said_where_it_is(options: dict[str, Any]) -> None:
    hosts = {"postgres": "db", "redis": "2001:db8::1", "datastorage": "ds"}
    away = {**options, "hosts": hosts, "containers": {}, "images": {}, "reference_service": False}
    variables = _report.environment(away)
    assert variables["POSTGRES_HOST"] == "db"
    assert variables["REDIS_HOST"] == "2001:db8::1"
    assert variables["REDIS_ADDR"] == "[2001:db8::1]:%d" % options["ports"]["redis"]
    url = "http://ds:%d" % options["ports"]["datastorage"]
    assert variables["DATASTORAGE_URL"] == url
    facts = _report.description(away)
    assert (facts["redis"]["container"], facts["datastorage"]["health"]) == ("", url + "/health")
    assert _report.service_line(away) == "DataStorage is %s (datastorage_external)." % url


def test_json_holds_what_stays_the_same(options: dict[str, Any], tmp_path: Path) -> None:
    result = _report.run(options, Context())
    facts = json.loads((tmp_path / "stack.json").read_text())
    assert facts == result["stack"]
    assert facts["datastorage"]["health"] == "http://127.0.0.1:18100/health"
    assert facts["images"]["redis"] == {"reference": "localhost/x:1", "id": "123", "digest": "sha256:abc"}


@pytest.mark.parametrize(
    ("marks", "took"),
    [
        ([], []),
        ([("a", 1.0)], []),
        ([("a", 1.0), ("b", 2.5)], [("b", 1.5)]),
        ([("a", 1.0), ("b", 2.5), ("c", 2.504)], [("b", 1.5), ("c", 0.0)]),
        ([("a", 1.0), ("images", 4.0), ("postgres", 2.5)], [("postgres", 1.5), ("images", 1.5)]),
    ],
)
def test_durations(marks: list[tuple[str, float]], took: list[tuple[str, float]]) -> None:
    assert _report.durations([{"phase": phase, "at": at} for phase, at in marks]) == took


@pytest.mark.parametrize(
    ("reference", "digest", "line"),
    [
        (
            True,
            "",
            "DataStorage is the collection's REFERENCE SERVICE (localhost/x:1); set datastorage_image for a real one.",
        ),
        (False, "sha256:abc", "DataStorage is localhost/x:1 (sha256:abc)."),
        (False, "", "DataStorage is localhost/x:1 (123)."),
    ],
)
def test_last_line_says_which_service_it_is(options: dict[str, Any], reference: bool, digest: str, line: str) -> None:
    options["reference_service"] = reference
    options["images"] = {component: {**IMAGE, "digest": digest} for component in PLAN["containers"]}
    result = _report.run(options, Context(check=True))
    assert result["last_line"] == line
    assert [text.strip() for text in result["lines"] if text][-1] == line


def test_summary_says_where_what_and_what_next(options: dict[str, Any], tmp_path: Path) -> None:
    text = "\n".join(_report.run(options, Context())["lines"])
    for part in (
        "workflowexecution on localhost: 7/7 written",
        "127.0.0.1:15443",
        "127.0.0.1:16389",
        "http://127.0.0.1:18100",
        "postgres 1.50 s  redis 0.25 s",
        ". %s" % (tmp_path / "stack.env"),
        "make verify",
        "make teardown",
    ):
        assert part in text


def test_summary_shows_memory_where_it_is_known(options: dict[str, Any]) -> None:
    assert not [line for line in _report.run(options, Context())["lines"] if "memory" in line and "MiB" in line]
    result = _report.run({**options, "memory": "redis 9 (peak 12) of 128 MiB"}, Context())
    assert "  memory  redis 9 (peak 12) of 128 MiB" in result["lines"]
    assert result["changed"] is False


def test_summary_says_when_to_check_again(options: dict[str, Any]) -> None:
    lines = _report.run(options, Context())["lines"]
    place = lines.index("  check it again        make verify")
    assert "after every suite" in lines[place + 1]
