# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a stack is called and where it listens."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.kubernaut.integration.plugins.module_utils import _plan
from ansible_collections.kubernaut.integration.plugins.module_utils._plan import PlanError, Told, container_plan, plan

ROOT = Path(__file__).resolve().parents[4]


def test_default_stack_is_the_one_of_the_report() -> None:
    result = plan({})
    assert result["name"] == "workflowexecution"
    assert result["containers"] == {
        "postgres": "workflowexecution_postgres_1",
        "redis": "workflowexecution_redis_1",
        "datastorage": "workflowexecution_datastorage_1",
    }
    assert result["network"] == "workflowexecution_test-network"
    assert result["ports"] == {"postgres": 15443, "redis": 16389, "datastorage": 18100}
    assert (result["database"], result["user"], result["password"]) == ("action_history", "slm_user", "test_password")
    assert result["contract_name"] == "v0"
    assert result["contract"]["health"] == "/health"
    assert result["labels"] == {
        "io.kubernaut.integration.collection": "kubernaut.integration",
        "io.kubernaut.integration.stack": "workflowexecution",
    }


def test_a_stack_with_passwords_of_its_own() -> None:
    own = {"postgres_password": "p", "redis_password": "r"}
    before = plan({"stack_credentials": "generated", "stack_team": "gateway"})
    assert (before["user"], before["password"], before["redis_password"]) == ("kubernaut", "", "")
    after = plan({"stack_credentials": "generated"}, own)
    assert (after["password"], after["redis_password"]) == ("p", "r")
    # What an earlier play of the run has made is not for a stack that wants upstream's.
    upstream = plan({}, own)
    assert (upstream["password"], upstream["redis_password"]) == ("test_password", "")


def test_other_credentials_are_refused() -> None:
    with pytest.raises(PlanError, match=r"\Astack_credentials: it is 'given'; choose one of upstream, generated, and "):
        plan({"stack_credentials": "given"})


def test_role_has_the_same_defaults() -> None:
    defaults = yaml.safe_load((ROOT / "roles" / "stack" / "defaults" / "main.yml").read_text())
    # A checkout tells its contract; where this role is not in play, nothing depends on that yet.
    assert defaults["stack_contract"] == "{{ 'auto' if kubernaut_dir else '%s' }}" % _plan.DEFAULTS["stack_contract"]
    others = set(_plan.DEFAULTS) - {"stack_contract"}
    assert {name: defaults[name] for name in others} == {name: _plan.DEFAULTS[name] for name in others}


@pytest.mark.parametrize("team", ["gateway", "signalprocessing"])
def test_team_with_its_own_database(team: str) -> None:
    result = plan({"stack_team": team})
    assert (result["database"], result["user"]) == ("kubernaut", "kubernaut")


@pytest.mark.parametrize("team", sorted(_plan.TEAMS))
def test_teams_row_can_be_published(team: str) -> None:
    ports = plan({"stack_team": team})["ports"]
    assert len(set(ports.values())) == len(ports)
    assert all(1024 <= port <= 65535 for port in ports.values())


@pytest.mark.parametrize("run_id", ["7", "pr-12", "a", "a" * 32])
def test_run_id_is_part_of_every_name(run_id: str) -> None:
    result, other = plan({"stack_run_id": run_id}), plan({})
    assert result["name"] == "workflowexecution-" + run_id
    assert result["labels"][_plan.LABEL + "stack"] == result["name"]
    names = [*result["containers"].values(), result["network"], result["volume"]]
    assert all(run_id in name for name in names)
    assert not set(names) & {*other["containers"].values(), other["network"], other["volume"]}


def test_number_as_run_id() -> None:
    assert plan({"stack_run_id": 7})["name"] == "workflowexecution-7"


def test_variable_without_a_value_is_not_the_word_none() -> None:
    assert plan({"stack_run_id": None, "stack_teams": None})["name"] == "workflowexecution"


def test_row_of_stack_teams_is_a_team() -> None:
    row = {"postgres": 20001, "redis": 20002, "datastorage": 20003, "user": "me"}
    result = plan({"stack_team": "mine", "stack_teams": {"mine": row}})
    assert result["ports"]["datastorage"] == 20003
    assert (result["user"], result["database"]) == ("me", "action_history")


def test_row_of_stack_teams_replaces_the_collections_own() -> None:
    row = {"postgres": 20001, "redis": 20002, "datastorage": 20003}
    assert plan({"stack_teams": {"workflowexecution": row}})["ports"] == row


ROW = {"postgres": 20001, "redis": 20002, "datastorage": 20003}


@pytest.mark.parametrize(
    ("variables", "names", "says"),
    [
        ({"stack_team": "nobody"}, "stack_team", "workflowexecution"),
        ({"stack_team": "a-b", "stack_teams": {"a-b": ROW}}, "stack_team", "'a-b'"),
        ({"stack_team": "../x", "stack_teams": {"../x": ROW}}, "stack_team", "'../x'"),
        ({"stack_team": "a b", "stack_teams": {"a b": ROW}}, "stack_team", "'a b'"),
        ({"stack_contract": "v9"}, "stack_contract", "v0"),
        ({"stack_run_id": "Upper"}, "stack_run_id", "'Upper'"),
        ({"stack_run_id": "-a"}, "stack_run_id", "'-a'"),
        ({"stack_run_id": "a-"}, "stack_run_id", "'a-'"),
        ({"stack_run_id": "a_b"}, "stack_run_id", "'a_b'"),
        ({"stack_run_id": "a\n"}, "stack_run_id", "letters"),
        ({"stack_run_id": "../.."}, "stack_run_id", "letters"),
        ({"stack_run_id": "a" * 33}, "stack_run_id", "32"),
        ({"stack_teams": ["mine"]}, "stack_teams", "mapping"),
        ({"stack_team": "mine", "stack_teams": {"mine": 5}}, "stack_teams", "'mine'"),
        ({"stack_team": "mine", "stack_teams": {"mine": {"redis": 1}}}, "stack_teams", "postgres, datastorage"),
    ],
)
def test_bad_variable_is_named(variables: dict[str, Any], names: str, says: str) -> None:
    with pytest.raises(PlanError, match=r"\A%s: .*%s" % (names, re.escape(says))):
        plan(variables)


def test_team_and_run_id_never_make_the_name_of_another_team() -> None:
    """A hyphen in a team's name would let `a-b` and `a` with run id `b` share their labels."""
    with pytest.raises(PlanError, match="stack_team"):
        plan({"stack_team": "a-b", "stack_teams": {"a": ROW, "a-b": ROW}})
    assert plan({"stack_team": "a", "stack_run_id": "b", "stack_teams": {"a": ROW}})["name"] == "a-b"


SPEC = {"image": "sha256:1", "env": {"A": "1", "B": "2"}, "publish": ["127.0.0.1:1:1"]}


def found(spec: dict[str, Any], running: bool = True) -> dict[str, Any]:
    status = "running" if running else "exited"
    return {"running": running, "status": status, "labels": {_plan.LABEL + "spec": _plan.digest(spec)}}


@pytest.mark.parametrize(
    ("component", "there", "replaced", "action", "reason"),
    [
        ("redis", None, [], "create", "there is none"),
        ("redis", found(SPEC), [], "none", "it runs as specified"),
        ("redis", found(SPEC, running=False), [], "start", "it is exited"),
        ("redis", found({**SPEC, "image": "sha256:2"}), [], "replace", "its specification changed"),
        ("redis", found({**SPEC, "image": "sha256:2"}, running=False), [], "replace", "its specification changed"),
        ("redis", {"running": True, "status": "running", "labels": {}}, [], "replace", "its specification changed"),
        ("datastorage", found(SPEC), ["postgres"], "create", "postgres was replaced"),
        ("datastorage", found(SPEC), ["postgres", "redis"], "create", "postgres and redis was replaced"),
        ("redis", found(SPEC), ["postgres"], "none", "it runs as specified"),
    ],
)
def test_container_plan(
    component: str, there: dict[str, Any] | None, replaced: list[str], action: str, reason: str
) -> None:
    result = container_plan(component, SPEC, there, replaced)
    assert (result["action"], result["reason"]) == (action, reason)
    assert result["labels"] == {
        _plan.LABEL + "component": component,
        _plan.LABEL + "spec": result["hash"],
    }


def test_container_that_is_only_started_keeps_the_label_of_its_run() -> None:
    """With another label, podman_container once made another container of it."""
    spec = {"name": "c"}
    there = found(spec, running=False)
    there["labels"]["run"] = "the first"
    assert container_plan("redis", spec, there, [], {"run": "the second"})["labels"]["run"] == "the first"
    assert container_plan("redis", {"name": "d"}, there, [], {"run": "the second"})["labels"]["run"] == "the second"


def test_datastorage_goes_with_what_it_writes_to() -> None:
    assert container_plan("postgres", SPEC, None)["dependents"] == ["datastorage"]
    assert container_plan("datastorage", SPEC, None)["dependents"] == []


def test_digest_knows_values_but_no_order_of_keys() -> None:
    assert _plan.digest({"a": 1, "b": [1, 2]}) == _plan.digest({"b": [1, 2], "a": 1})
    assert _plan.digest({"b": [1, 2]}) != _plan.digest({"b": [2, 1]})
    assert _plan.digest({"b": "1"}) != _plan.digest({"b": 1})


@pytest.mark.parametrize(
    ("given", "order"),
    [
        (["postgres", "datastorage", "redis"], ["datastorage", "redis", "postgres"]),
        (["postgres", "redis"], ["redis", "postgres"]),
        ([], []),
    ],
)
def test_stop_order(given: list[str], order: list[str]) -> None:
    assert _plan.stop_order(given) == order


def test_contract_is_found_by_its_migrations() -> None:
    found = plan({"stack_contract": "auto"}, told=Told(migrations=["001_v1_schema.sql"]))
    assert (found["contract_name"], found["contract_source"]) == ("v1", "001_v1_schema.sql in migrations_dir")
    assert found["contract"]["tokens"]
    asked = ("v1", "the answer of datastorage_external 192.0.2.7:8080 to GET /readyz")
    found = plan({"stack_contract": "auto"}, told=Told(migrations=["README.md"], running=asked))
    assert (found["contract_name"], found["contract_source"]) == asked
    found = plan({"stack_contract": "auto"}, told=Told(migrations=["001_initial_schema.sql"], running=asked))
    assert found["contract_name"] == "v0"
    with pytest.raises(PlanError, match="stack_contract: auto finds the contract by a file in migrations_dir"):
        plan({"stack_contract": "auto"})


def test_file_says_in_what_a_contract_differs() -> None:
    told = Told({"based_on": "v1", "health_port": 8082})
    found = plan({"stack_contract_file": "next.yml"}, told=told)
    assert (found["contract_name"], found["contract"]["health_port"]) == ("v1", 8082)
    assert found["contract_differences"] == {"health_port": 8082}
    assert found["contract_source"] == "next.yml, based on v1"
    with pytest.raises(PlanError, match=r"^stack_contract_file: next.yml: there is no key helth"):
        plan({"stack_contract_file": "next.yml"}, told=Told({"based_on": "v1", "helth": "/x"}))


def test_team_with_three_ports_has_the_others_beside_them() -> None:
    rows = {"widgets": {"postgres": 15500, "redis": 16500, "datastorage": 18500}}
    found = plan({"stack_team": "widgets", "stack_teams": rows, "stack_contract": "v1"})
    assert (found["health_port"], found["metrics_port"]) == (28500, 19500)
    rows["widgets"] |= {"health": 1, "metrics": 2}
    found = plan({"stack_team": "widgets", "stack_teams": rows, "stack_contract": "v1"})
    assert (found["health_port"], found["metrics_port"]) == (1, 2)


@pytest.mark.parametrize(
    ("component", "address", "host", "port"),
    [
        ("postgres", "db.example.org:5432", "db.example.org", 5432),
        ("redis", "192.0.2.7:6379", "192.0.2.7", 6379),
        ("redis", "[2001:db8::1]:6379", "2001:db8::1", 6379),
        ("datastorage", "http://ds:8080/", "ds", 8080),
        ("datastorage", "https://[::1]:8080", "::1", 8080),
    ],
)
def test_what_is_outside_has_no_container(component: str, address: str, host: str, port: int) -> None:
    variable = component + "_external"
    result = plan({variable: address})
    assert component not in result["containers"]
    assert len(result["containers"]) == 2
    assert (result["hosts"][component], result["ports"][component]) == (host, port)
    assert result["outside"] == {component: f"{variable} {host}:{port}"}
    assert result["unreachable"] == []
    assert set(plan({})["hosts"].values()) == {"127.0.0.1"}
    assert plan({})["outside"] == {}


@pytest.mark.parametrize(
    "address", ["db", "db:", ":5432", "db:0", "db:65536", "db:5432/", "redis://db:1", "httpss://ds:1", "a b:1", "-a:1"]
)
@pytest.mark.parametrize("variable", sorted(_plan.OUTSIDE.values()))
def test_what_is_no_address_is_named(variable: str, address: str) -> None:
    with pytest.raises(PlanError, match=rf"\A{variable}: .* is not an address; write host:port"):
        plan({variable: address})


def test_loopback_of_a_container_is_its_own() -> None:
    here = {"postgres_external": "localhost:1", "redis_external": "127.0.0.1:2"}
    assert plan(here)["unreachable"] == ["postgres", "redis"]
    # No container of the stack has to reach them.
    assert plan({**here, "datastorage_external": "127.0.0.1:3"})["unreachable"] == []


def test_what_is_outside_has_its_password_already() -> None:
    own = plan({"stack_credentials": "generated", "redis_external": "r:1"}, {"postgres_password": "p"})
    assert (own["password"], own["redis_password"]) == ("p", "")
    own = plan({"stack_credentials": "generated", "postgres_external": "p:1"}, {"redis_password": "r"})
    assert (own["password"], own["redis_password"]) == ("test_password", "r")


def test_service_outside_says_at_its_api_how_it_is() -> None:
    result = plan({"stack_contract": "v1", "datastorage_external": "ds:8080"})
    assert (result["health_port"], result["metrics_port"]) == (8080, 8080)
