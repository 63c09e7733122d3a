# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lookup and the filter, as a template would call them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from ansible_collections.kubernaut.integration.plugins.filter.container_plan import FilterModule
from ansible_collections.kubernaut.integration.plugins.lookup.stack_plan import LookupModule
from ansible_collections.kubernaut.integration.plugins.module_utils._plan import LABEL, digest, plan


def look_up(variables: dict[str, Any] | None) -> Any:
    templar = Templar(loader=DataLoader(), variables=variables or {})
    return LookupModule(loader=DataLoader(), templar=templar).run([], variables)


@pytest.mark.parametrize("variables", [None, {}, {"something_else": 1}])
def test_lookup_without_variables_is_the_default_stack(variables: dict[str, Any] | None) -> None:
    assert look_up(variables) == [plan({})]


def test_lookup_templates_the_variables() -> None:
    variables = {"stack_team": trust_as_template("{{ who }}"), "who": "gateway", "stack_run_id": "7"}
    (result,) = look_up(variables)
    assert (result["name"], result["database"]) == ("gateway-7", "kubernaut")


def test_lookup_names_the_bad_variable() -> None:
    with pytest.raises(AnsibleError, match="stack_team: there is no team 'nobody'"):
        look_up({"stack_team": "nobody"})


def test_lookup_believes_what_the_check_was_answered_and_else_asks_for_a_name_unless_any_will_do() -> None:
    given: dict[str, Any] = {"stack_contract": "auto", "datastorage_external": "db:1"}
    asked = {"__stack_checked": {"contract": {"name": "v1", "source": "its answer"}}}
    assert look_up({**given, **asked})[0]["contract_source"] == "its answer"
    with pytest.raises(AnsibleError, match="what datastorage_external answers, and neither tells; name the contract"):
        look_up({**given, "__stack_checked": {"at": 1.0}})
    for team, contract in (("gateway", "v0"), ("apifrontend", "v1")):
        (found,) = look_up({**given, "stack_team": team, "__stack_any_contract": True})
        assert (found["name"], found["contract_name"]) == (team, contract)


SPEC = {"image": "sha256:1", "command": ["a", "b"]}


@pytest.mark.parametrize(
    ("arguments", "action"),
    [
        (("redis", None), "create"),
        (("redis", {"running": True, "status": "running", "labels": {LABEL + "spec": digest(SPEC)}}), "none"),
        (("redis", {"running": True, "status": "running", "labels": {LABEL + "spec": "other"}}), "replace"),
        (("datastorage", None, ["redis"]), "create"),
    ],
)
def test_filter_takes_the_specification_first(arguments: tuple[Any, ...], action: str) -> None:
    result = FilterModule().filters()["container_plan"](SPEC, *arguments)
    assert result["action"] == action
    assert result["labels"][LABEL + "component"] == arguments[0]
