# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: ARG001, ARG002, ARG005 - a stand-in takes what the real one takes
"""The base of the collection's actions, with real tasks and a connection that is only told what it is."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail
from ansible.parsing.dataloader import DataLoader
from ansible.playbook.task import Task
from ansible.plugins.loader import shell_loader
from ansible.template import Templar, trust_as_template

from ansible_collections.kubernaut.integration.plugins.module_utils._phase import Context, Phase, PhaseError
from ansible_collections.kubernaut.integration.plugins.plugin_utils import _action

SPEC: dict[str, dict[str, Any]] = {
    "count": {"type": "int", "required": True},
    "home": {"type": "path", "default": "~"},
    "password": {"type": "str", "no_log": True},
    "users": {"type": "list", "elements": "dict", "options": {"key": {"type": "str", "no_log": True}}},
    "owner": {"type": "str"},
}


class Connection:
    """What an action asks its connection for."""

    def __init__(self, transport: str = "local", become: object | None = None) -> None:
        self.transport = transport
        self.become = become
        self._shell = shell_loader.get("sh")


class Screen:
    """In the place of Ansible's display."""

    shown: list[str] = []

    def display(self, line: str) -> None:
        self.shown.append(line)


class Calls:
    """What the phase was called with, and what the module was."""

    def __init__(self) -> None:
        self.options: dict[str, Any] = {}
        self.context = Context()
        self.environ: dict[str, str] = {}
        self.module: dict[str, Any] = {}


@pytest.fixture(name="calls")
def _calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    monkeypatch.setattr(_action, "Display", Screen)
    monkeypatch.setattr(Screen, "shown", [])
    return Calls()


def act(
    calls: Calls,
    arguments: dict[str, Any],
    *,
    run: Callable[..., dict[str, Any]] = lambda options, context: {"changed": True},
    base: type[_action.PhaseAction] = _action.PhaseAction,
    connection: Connection | None = None,
    task_vars: dict[str, Any] | None = None,
    **keywords: Any,
) -> dict[str, Any]:
    """Run an action over a phase ``run`` with a task that has ``arguments`` and the task keywords."""

    def remember(options: Any, context: Context) -> dict[str, Any]:
        calls.options, calls.context, calls.environ = dict(options), context, dict(os.environ)
        return run(options, context)

    class Action(base):  # type: ignore[valid-type, misc]
        phase = Phase(name="test_phase", run=remember, argument_spec=SPEC)

        def _execute_module(self, **given: Any) -> dict[str, Any]:
            calls.module = given
            return {"changed": False, "lines": ["from the module"]}

    task = Task()
    task.args = arguments
    task.action = "kubernaut.integration.test_phase"
    for name, value in keywords.items():
        setattr(task, name, value)
    loader = DataLoader()
    templar = Templar(loader=loader, variables=task_vars or {})
    action = Action(task, connection or Connection(), None, loader, templar, None)
    result: dict[str, Any] = action.run(task_vars=task_vars or {})
    return result


def test_options_are_validated_and_converted(calls: Calls) -> None:
    result = act(calls, {"count": "7"})
    assert result["changed"] is True
    assert calls.options["count"] == 7
    assert calls.options["home"] == os.path.expanduser("~")
    assert calls.options["password"] is None
    assert calls.module == {}


@pytest.mark.parametrize("arguments", [{}, {"count": "x"}, {"count": 1, "other": 2}, {"count": 1, "users": ["a"]}])
def test_bad_options_never_reach_the_phase(calls: Calls, arguments: dict[str, Any]) -> None:
    with pytest.raises(AnsibleActionFail):
        act(calls, arguments)
    assert calls.options == {}


@pytest.mark.parametrize(("check", "diff"), [(True, False), (False, True)])
def test_check_mode_and_diff_reach_the_phase(calls: Calls, check: bool, diff: bool) -> None:
    act(calls, {"count": 1}, check_mode=check, diff=diff)
    assert (calls.context.check, calls.context.diff) == (check, diff)


@pytest.mark.parametrize("fails", [False, True])
def test_environment_of_the_task_holds_during_the_phase_only(
    calls: Calls, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    monkeypatch.setenv("KEPT", "kept")
    monkeypatch.setenv("CHANGED", "before")
    before = dict(os.environ)

    def run(options: Any, context: Context) -> dict[str, Any]:
        os.environ["LEFT"] = "by the phase"
        if fails:
            raise SystemExit
        return {}

    environment = [{"CHANGED": trust_as_template("{{ word }}"), "NUMBER": 7}]
    try:
        act(calls, {"count": 1}, run=run, environment=environment, task_vars={"word": "during"})
    except SystemExit:
        assert fails
    assert {name: calls.environ[name] for name in ("KEPT", "CHANGED", "NUMBER")} == {
        "KEPT": "kept",
        "CHANGED": "during",
        "NUMBER": "7",
    }
    assert dict(os.environ) == before


SECRETS = {"count": 1, "password": "hunter2", "users": [{"key": "swordfish"}]}


def leak(options: Any, context: Context) -> dict[str, Any]:
    context.progress("building with hunter2")
    return {"said": "it was hunter2", "deep": [{"er": "swordfish"}], "bytes": 2}


def leak_named(options: Any, context: Context) -> dict[str, Any]:
    raise PhaseError("hunter2 is wrong", evidence=["swordfish"])


def leak_unnamed(options: Any, context: Context) -> dict[str, Any]:
    raise ValueError(options["password"] + options["users"][0]["key"])


@pytest.mark.parametrize("run", [leak, leak_named, leak_unnamed])
def test_secrets_are_masked_in_results_and_exceptions(calls: Calls, run: Callable[..., dict[str, Any]]) -> None:
    result = act(calls, SECRETS, run=run)
    assert calls.options["password"] == "hunter2"
    text = repr(result)
    assert "hunter2" not in text
    assert "swordfish" not in text
    assert "********" in text
    assert result.get("failed", False) is (run is not leak)
    assert ("exception" in result) is (run is leak_unnamed)


def test_secrets_are_masked_in_progress(calls: Calls) -> None:
    act(calls, SECRETS, run=leak)
    assert Screen.shown == ["  building with ********"]


def test_task_with_no_log_shows_nothing(calls: Calls) -> None:
    """Its progress was on the terminal once."""
    act(calls, {"count": 1}, run=leak, no_log=True)
    assert Screen.shown == []


def test_options_are_in_the_invocation_without_secrets(calls: Calls) -> None:
    arguments = act(calls, SECRETS)["invocation"]["module_args"]
    assert arguments["count"] == 1
    assert arguments["password"] == "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"


@pytest.mark.parametrize(
    ("connection", "task_vars", "keywords"),
    [
        (Connection("ssh"), {}, {}),
        (Connection(become=object()), {}, {}),
        (Connection(), {"stack_front": "module"}, {}),
        (Connection(), {}, {"async_val": 60}),
    ],
    ids=["other host", "become", "stack_front", "async"],
)
def test_module_travels(
    calls: Calls, connection: Connection, task_vars: dict[str, Any], keywords: dict[str, Any]
) -> None:
    result = act(calls, {"count": "7"}, connection=connection, task_vars=task_vars, **keywords)
    assert calls.options == {}, "the phase was called here"
    assert result["changed"] is False
    assert calls.module["module_name"] == "kubernaut.integration.test_phase"
    assert calls.module["wrap_async"] is ("async_val" in keywords)


@pytest.mark.parametrize("front", ["auto", "action"])
def test_phase_is_called_here(calls: Calls, front: str) -> None:
    act(calls, {"count": 7}, task_vars={"stack_front": front})
    assert calls.options["count"] == 7
    assert calls.module == {}


def test_module_gets_paths_as_they_were_written(calls: Calls) -> None:
    """`~` was the controller's user's home once, on whatever host."""
    act(calls, {"count": 1, "home": "~/x"}, connection=Connection("ssh"))
    assert calls.module["module_args"] == {"count": 1, "home": "~/x"}


class Localized(_action.PhaseAction):
    """An action that knows something."""

    def localize(self, options: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        if options["count"] < 0:
            raise PhaseError("count: %s" % options["password"])
        return {**options, "owner": "me"}


@pytest.mark.parametrize("transport", ["local", "ssh"])
def test_what_only_the_controller_knows_reaches_either_front(calls: Calls, transport: str) -> None:
    act(calls, {"count": 1}, base=Localized, connection=Connection(transport))
    assert (calls.options or calls.module["module_args"])["owner"] == "me"


@pytest.mark.parametrize("transport", ["local", "ssh"])
def test_what_the_controller_finds_wrong_is_a_failure_without_secrets(calls: Calls, transport: str) -> None:
    arguments = {"count": -1, "password": "hunter2"}
    result = act(calls, arguments, base=Localized, connection=Connection(transport))
    assert (result["failed"], result["msg"]) == (True, "count: ********")
    assert calls.options == calls.module == {}


@pytest.mark.parametrize(("transport", "line"), [("local", "from the phase"), ("ssh", "from the module")])
def test_lines_are_shown_whichever_front_it_was(calls: Calls, transport: str, line: str) -> None:
    act(
        calls,
        {"count": 1},
        run=lambda options, context: {"lines": ["from the phase"]},
        base=_action.TellingAction,
        connection=Connection(transport),
    )
    assert Screen.shown == [line]


def test_lines_of_a_task_with_no_log_are_not_shown(calls: Calls) -> None:
    act(
        calls,
        {"count": 1},
        run=lambda options, context: {"lines": ["secret"]},
        base=_action.TellingAction,
        no_log=True,
    )
    assert Screen.shown == []
