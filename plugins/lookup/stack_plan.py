# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Lookup: the plan of the stack that the play's variables describe."""

from __future__ import annotations

DOCUMENTATION = r"""
name: stack_plan
author: The kubernaut.integration authors (@kubernaut)
short_description: What the stack is called and where it listens
description:
  - Turns the C(stack_*) variables of the play into names, ports, credentials and the facts of the contract.
  - Nothing is read from the target. On the controller, C(stack_contract_file) is read where it is set, and the names of
    the files in C(migrations_dir) where C(stack_contract) is V(auto). Where these do not tell, the answer does that
    C(datastorage_external) gave to the role's check.
options: {}
notes:
  - Reads the variables C(stack_team), C(stack_contract), C(stack_contract_file), C(stack_run_id),
    C(stack_teams), C(stack_credentials), C(migrations_dir), C(migrations_remote_src), C(postgres_external),
    C(redis_external) and C(datastorage_external) of the play, and what the role P(kubernaut.integration.stack#role) has
    registered; a missing one takes the default of that role.
"""

EXAMPLES = r"""
- name: Show where DataStorage will listen
  ansible.builtin.debug:
    msg: "{{ lookup('kubernaut.integration.stack_plan').ports.datastorage }}"
"""

RETURN = r"""
_raw:
  description: The plan, as a list of one.
  type: list
  elements: dict
  contains:
    name:
      description: Name of the stack, V(team) or V(team-run).
      type: str
    team:
      description: Team whose stack it is.
      type: str
    run_id:
      description: C(stack_run_id).
      type: str
    contract:
      description: What the generation of DataStorage decides, such as C(port), C(health) and C(timeout).
      type: dict
    contract_name:
      description: Name of the generation, or of the one on which C(stack_contract_file) is based.
      type: str
    contract_differences:
      description: What C(stack_contract_file) says instead.
      type: dict
    contract_source:
      description: How the generation was found out; empty where it was named.
      type: str
    ports:
      description: Component -> published TCP port.
      type: dict
    hosts:
      description: Component -> host at which it is reached.
      type: dict
    outside:
      description: Component that is not the stack's own -> the variable that says so and its address, in words.
      type: dict
    unreachable:
      description: Those of them that DataStorage's container cannot reach from a network of its own.
      type: list
      elements: str
    containers:
      description: Component -> name of its container, of the stack's own ones.
      type: dict
    auth_container:
      description: Name of the container that stands in for an API server, where one does.
      type: str
    health_port:
      description: Published port of the health path, where the generation has a port of its own for it.
      type: int
    metrics_port:
      description: Published port of the metrics, where the generation has a port of its own for them.
      type: int
    network:
      description: Name of the network.
      type: str
    volume:
      description: Name of PostgreSQL's data volume.
      type: str
    database:
      description: The service's own database.
      type: str
    user:
      description: The service's own user of the database.
      type: str
    password:
      description: Password of that user; empty until a stack with generated ones has it.
      type: str
    redis_password:
      description: Password of Redis; empty for none, and until a stack with generated ones has it.
      type: str
    labels:
      description: Labels of everything that belongs to the stack.
      type: dict
"""

from collections.abc import Iterable
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

from ansible_collections.kubernaut.integration.plugins.module_utils._contracts import AUTO, CONTRACTS
from ansible_collections.kubernaut.integration.plugins.module_utils._plan import (
    DEFAULTS,
    OUTSIDE,
    TEAMS,
    PlanError,
    plan,
)
from ansible_collections.kubernaut.integration.plugins.plugin_utils._told import told

#: Variable of a task to which every contract is as good as another: names are all that it needs.
ANY = "__stack_any_contract"


def _knowing(team: str) -> str:
    """Return a contract that has a row for a team."""
    return next((name for name, row in CONTRACTS.items() if team in {**TEAMS, **row.teams}), next(iter(CONTRACTS)))


class LookupModule(LookupBase):
    """Answer with one plan."""

    def run(self, terms: list[Any], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[dict[str, Any]]:
        """Template the stack's variables and plan with them."""
        given = self._templated(variables or {}, (*DEFAULTS, *OUTSIDE.values()))
        own = (variables or {}).get("__stack_credentials")  # what the task of the role stack has registered
        generated = self._templar.template(own).get("credentials") if own else None
        try:
            here = told({**self._where(variables or {}, given), **given})
            asked = self._asked(variables or {})
            if not asked[0] and (variables or {}).get(ANY):
                asked = (_knowing(str(given.get("stack_team", DEFAULTS["stack_team"]))), "")
            return [plan(given, generated, here._replace(running=asked))]
        except PlanError as error:
            raise AnsibleError(str(error)) from None

    def _templated(self, variables: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
        """Return some of the play's variables, as far as they are set."""
        return {name: self._templar.template(variables[name]) for name in names if name in variables}

    def _asked(self, variables: dict[str, Any]) -> tuple[str, str]:
        """Return what the role's check was answered by a service that runs already."""
        contract = self._templated(variables, ["__stack_checked"]).get("__stack_checked", {}).get("contract", {})
        return contract.get("name", ""), contract.get("source", "")

    def _where(self, variables: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
        """Return where the migrations lie, but only when they are to tell the contract."""
        names = ("migrations_dir", "migrations_remote_src") if given.get("stack_contract") == AUTO else ()
        return self._templated(variables, names)
