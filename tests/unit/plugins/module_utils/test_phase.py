# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: ARG001 - a stand-in takes what the real one takes
"""A phase and its module front."""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.kubernaut.integration.plugins.module_utils import _phase
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import (
    Context,
    Phase,
    PhaseError,
    execute,
    missing_libraries,
    run_module,
)

SPEC: dict[str, dict[str, Any]] = {
    "count": {"type": "int", "required": True},
    "password": {"type": "str", "no_log": True},
}


def phase(run: Callable[..., Any], *libraries: str) -> Phase:
    return Phase(name="test_phase", run=run, argument_spec=SPEC, libraries=libraries)


def good(options: Any, context: Context) -> dict[str, Any]:
    return {"changed": True, "count": options["count"], "check": context.check, "diff_wanted": context.diff}


def named(options: Any, context: Context) -> dict[str, Any]:
    raise PhaseError("the cause; the action.\nsaid %s" % options["password"], attempts=3, changed=True)


def unnamed(options: Any, context: Context) -> dict[str, Any]:
    raise KeyError("with " + str(options["password"]))


def test_result_says_when_it_ended() -> None:
    result = execute(phase(good), {"count": 1}, Context(), "python")
    assert result.pop("at") == pytest.approx(time.time(), abs=60)
    assert result == {"changed": True, "count": 1, "check": False, "diff_wanted": False}


def test_phase_that_says_nothing_changed_nothing() -> None:
    assert execute(phase(lambda *_: {}), {}, Context(), "python")["changed"] is False


def test_named_failure_keeps_its_evidence() -> None:
    result = execute(phase(named), {"password": "x"}, Context(), "python")
    assert result == {"failed": True, "changed": True, "attempts": 3, "msg": "the cause; the action.\nsaid x"}


def test_evidence_cannot_unsay_the_failure() -> None:
    def run(*_: Any) -> dict[str, Any]:
        raise PhaseError("really", failed=False, msg="all is well")

    result = execute(phase(run), {}, Context(), "python")
    assert (result["failed"], result["msg"]) == (True, "really")


def test_unnamed_failure_says_what_and_where() -> None:
    result = execute(phase(unnamed), {"password": "x"}, Context(), "python")
    assert (result["failed"], result["changed"]) == (True, False)
    assert result["msg"] == "test_phase failed unexpectedly: KeyError: 'with x'"
    assert "in unnamed" in result["exception"]


def test_missing_library_stops_before_the_phase_and_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    result = execute(phase(good, "yaml", "redis"), {"count": 1}, Context(), "/opt/python")
    assert result["failed"] is True
    for part in (
        "/opt/python cannot import redis",
        "test_phase",
        "pip install 'redis'",
        "python3-redis",
        "host_install",
    ):
        assert part in result["msg"]
    assert "yaml" not in result["msg"]


def test_no_library_is_missing() -> None:
    assert missing_libraries(phase(good, "yaml"), "python") is None


@pytest.mark.parametrize("library", sorted(_phase.LIBRARIES))
def test_every_library_can_be_named(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    said = missing_libraries(phase(good, library), "python")
    assert said is not None
    assert _phase.LIBRARIES[library][1] in said


def module(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, **arguments: Any
) -> tuple[int, dict[str, Any], str]:
    """Run the module front; return its exit status, its answer and the answer's text."""
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    with patch_module_args(arguments), pytest.raises(SystemExit) as end:
        run_module(phase(run))
    return int(end.value.code or 0), json.loads(out.getvalue()), out.getvalue()


def test_module_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    rc, answer, _text = module(good, monkeypatch, count="7")
    assert rc == 0
    assert (answer["changed"], answer["count"], answer["check"]) == (True, 7, False)


def test_module_knows_check_mode_and_diff(monkeypatch: pytest.MonkeyPatch) -> None:
    _rc, answer, _text = module(good, monkeypatch, count=7, _ansible_check_mode=True, _ansible_diff=True)
    assert (answer["check"], answer["diff_wanted"]) == (True, True)


@pytest.mark.parametrize("run", [named, unnamed])
def test_module_fails_without_secrets(monkeypatch: pytest.MonkeyPatch, run: Callable[..., Any]) -> None:
    rc, answer, text = module(run, monkeypatch, count=7, password="hunter2")
    assert rc == 1
    assert answer["failed"] is True
    assert "********" in answer["msg"]
    assert "hunter2" not in text


def test_module_refuses_what_the_phase_does_not_take(monkeypatch: pytest.MonkeyPatch) -> None:
    rc, answer, _text = module(good, monkeypatch, count=7, other=1)
    assert rc == 1
    assert "Unsupported parameters" in answer["msg"]
