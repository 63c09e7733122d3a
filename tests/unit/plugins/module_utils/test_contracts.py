# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Contracts are data: they are found by their migrations, and a user's file may say in what a new one differs."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from ansible_collections.kubernaut.integration.plugins.module_utils._contract import Contract
from ansible_collections.kubernaut.integration.plugins.module_utils._contracts import (
    CONTRACTS,
    RULES,
    ContractError,
    customised,
    of_migrations,
    parse,
)


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["001_v1_schema.sql", "002_more.sql"], ("v1", "001_v1_schema.sql")),
        (["001_initial_schema.sql"], ("v0", "001_initial_schema.sql")),
        (["001_widgets.sql"], None),
        ([], None),
    ],
)
def test_migrations_tell_the_contract(names: list[str], found: tuple[str, str] | None) -> None:
    assert of_migrations(names) == found


def test_everything_can_be_said_anew_but_what_names_a_contract() -> None:
    assert {field.name for field in fields(Contract)} - set(RULES) == {"known_by", "marker", "teams"}


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=CONTRACTS)
def test_rules_take_what_the_known_contracts_say(contract: Contract) -> None:
    said = {name: getattr(contract, name) for name in RULES if name != "batch"}
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in said.items()}
    assert customised(contract, plain) == contract


def test_file_changes_what_it_says_and_nothing_else() -> None:
    event = {"event_type": "x.y", "action": "y", "outcome": "success", "execution": 1, "data": {"event_type": "x.y"}}
    name, differences = parse({"based_on": "v1", "health_port": 8082, "queues": ["a"], "batch": [event]})
    changed = customised(CONTRACTS[name], differences)
    assert (name, changed.health_port, changed.queues) == ("v1", 8082, ("a",))
    assert (changed.batch[0][0].event_type, changed.batch[0][1]) == ("x.y", 1)
    assert changed.tables == CONTRACTS["v1"].tables


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ([], "based_on: say on which"),
        ({}, "based_on: say on which"),
        ({"based_on": "v7"}, "based_on: say on which"),
        ({"based_on": "v1", "helth": "/x"}, "there is no key helth"),
        ({"based_on": "v1", "port": "8080"}, "port: '8080' is not a port"),
        ({"based_on": "v1", "port": True}, "port: True is not a port"),
        ({"based_on": "v1", "health": "readyz"}, "health: 'readyz' is not an absolute path"),
        ({"based_on": "v1", "tables": "audit_events"}, "tables: 'audit_events' is not a list"),
        ({"based_on": "v1", "tokens": "yes"}, "tokens: 'yes' is not true or false"),
        ({"based_on": "v1", "gate_timeout": 0}, "gate_timeout: 0 is not a number"),
        ({"based_on": "v1", "expect": {}}, "expect: {} is not a mapping"),
        ({"based_on": "v1", "columns": {"a": 1}}, "columns: "),
        ({"based_on": "v1", "batch": [{"event_type": "x"}]}, "batch: "),
    ],
)
def test_file_that_cannot_be_used_names_its_key(document: Any, says: str) -> None:
    with pytest.raises(ContractError) as refused:
        parse(document)
    assert says in str(refused.value)
