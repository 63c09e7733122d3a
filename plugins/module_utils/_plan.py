# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a stack is called and where it listens: pure functions over data. PRIVATE to the collection."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.kubernaut.integration.plugins.module_utils._contracts import (
    AUTO,
    CONTRACTS,
    ContractError,
    customised,
    of_migrations,
    parse,
)

#: Prefix of every label that the collection puts on what it makes.
LABEL = "io.kubernaut.integration."
COLLECTION = "kubernaut.integration"
#: Components in the order in which they start; they stop in the opposite order.
COMPONENTS = ("postgres", "redis", "datastorage")
#: What has to be replaced with a component: a DataStorage that outlives its PostgreSQL or Redis loses events.
DEPENDENTS: Mapping[str, Sequence[str]] = {
    "postgres": ("datastorage",),
    "redis": ("datastorage",),
    "datastorage": (),
    # The stub of an API server: DataStorage looks its name up whenever it asks.
    "auth": (),
}

#: One row a team: the ports that its suite has written in. WorkflowExecution and notification as their scripts of
#: 21 Dec 2025 have them, the others as upstream's DD-TEST-001 allots them; gateway and signalprocessing bring their
#: own database and user.
TEAMS: Mapping[str, Mapping[str, Any]] = {
    "aianalysis": {"postgres": 15438, "redis": 16384, "datastorage": 18095},
    "datastorage": {"postgres": 15433, "redis": 16379, "datastorage": 18090},
    "effectivenessmonitor": {"postgres": 15434, "redis": 16383, "datastorage": 18092},
    "gateway": {
        "postgres": 15437,
        "redis": 16383,
        "datastorage": 18091,
        "database": "kubernaut",
        "user": "kubernaut",
        "password": "kubernaut-test-password",
    },
    "holmesgptapi": {"postgres": 15439, "redis": 16387, "datastorage": 18098},
    "notification": {"postgres": 15453, "redis": 16399, "datastorage": 18110},
    "remediationorchestrator": {"postgres": 15435, "redis": 16381, "datastorage": 18140},
    "signalprocessing": {
        "postgres": 15436,
        "redis": 16382,
        "datastorage": 18094,
        "database": "kubernaut",
        "user": "kubernaut",
        "password": "kubernaut-test-password",
    },
    "workflowexecution": {"postgres": 15443, "redis": 16389, "datastorage": 18100},
}
#: What is added to DataStorage's port for health and metrics, where a generation has ports of their own for them.
HEALTH_OFFSET, METRICS_OFFSET = 10000, 1000
#: What most of kubernaut's suites have written in; public, which is why everything listens on loopback only.
UPSTREAM: Mapping[str, str] = {
    "database": "action_history",
    "user": "slm_user",
    "password": "test_password",
    "redis_password": "",
}
#: Key of a plan -> the password that takes its place in a stack that has its own.
_PASSWORDS: Mapping[str, str] = {"password": "postgres_password", "redis_password": "redis_password"}

#: The stack's variables and their defaults; ``roles/stack/defaults/main.yml`` says the same (a unit test compares).
DEFAULTS: Mapping[str, Any] = {
    "stack_team": "workflowexecution",
    "stack_contract": "v0",
    "stack_contract_file": "",
    "stack_run_id": "",
    "stack_teams": {},
    "stack_credentials": "upstream",
}
#: Component -> the variable that names one outside the stack. The roles of the components have their defaults.
OUTSIDE: Mapping[str, str] = {component: component + "_external" for component in COMPONENTS}
#: Where the stack's own components are published.
HERE = "127.0.0.1"
#: Option of every phase that tells or asks about all components; documented in the doc fragment ``hosts``.
HOSTS_SPEC: Mapping[str, Any] = {
    "hosts": {
        "type": "dict",
        "default": {},
        "options": {component: {"type": "str", "default": HERE} for component in COMPONENTS},
        "apply_defaults": True,
    }
}
#: Where passwords come from that are not given: what the team's suite has written in, or made for the stack.
CREDENTIALS = ("upstream", "generated")

#: No hyphen: it separates the team from the run id in the stack's name.
_TEAM = re.compile(r"[a-z][a-z0-9_]{0,31}")
_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?)):([0-9]{1,5})")
_SCHEME = re.compile("^https?://")
#: A host that is another one to a container.
LOOPBACK = re.compile(r"localhost|127\.[0-9.]+|::1")
_RUN_ID = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")


class PlanError(ValueError):
    """A variable of the stack cannot be used; the message names it and the remedy."""


class Told(NamedTuple):
    """What files of the controller, and a service that runs already, tell about the contract.

    :param document: what ``stack_contract_file`` holds; None without one.
    :param migrations: names of the files in ``migrations_dir``.
    :param running: contract of a service that was asked, and what says so; empty without one.
    """

    document: Any = None
    migrations: Sequence[str] = ()
    running: Tuple[str, str] = ("", "")


_NOTHING_TOLD = Told()


class Chosen(NamedTuple):
    """A contract, and how it was come by.

    :param name: of the known contract that it is, or on which it is based.
    :param differences: what a user's file says instead.
    :param source: in words; empty where it was simply named.
    """

    name: str
    differences: Dict[str, Any]
    source: str


def choose(wanted: str, path: str, told: Told) -> Chosen:
    """Decide which contract it is.

    :param wanted: ``stack_contract``.
    :param path: ``stack_contract_file``, which goes before it.
    :raises PlanError: it is unknown, cannot be found out, or the file cannot be used.
    """
    if path:
        try:
            name, differences = parse(told.document)
        except ContractError as error:
            raise PlanError("stack_contract_file: %s: %s" % (path, error)) from None
        return Chosen(name, differences, "%s, based on %s" % (path, name))
    if wanted == AUTO:
        found = of_migrations(told.migrations)
        if found is not None:
            return Chosen(found[0], {}, "%s in migrations_dir" % found[1])
        if told.running[0]:
            return Chosen(told.running[0], {}, told.running[1])
        raise PlanError(
            "stack_contract: auto finds the contract by a file in migrations_dir (%s) or by what datastorage_external "
            "answers, and neither tells; name the contract."
            % ", ".join(sorted(row.marker for row in CONTRACTS.values()))
        )
    if wanted not in CONTRACTS:
        raise PlanError(
            "stack_contract: there is no contract %r; choose one of %s."
            % (wanted, ", ".join((*sorted(CONTRACTS), AUTO)))
        )
    return Chosen(wanted, {}, "")


def outside(variables: Mapping[str, Any]) -> Dict[str, Tuple[str, int]]:
    """Return where those components are that are not the stack's own: host and port.

    :param variables: values of :data:`OUTSIDE`.
    :raises PlanError: one is no address.
    """
    found = {}
    for component, variable in OUTSIDE.items():
        text = str(variables.get(variable) or "")
        if component == "datastorage" and _SCHEME.match(text):
            text = _SCHEME.sub("", text).rstrip("/")
        address = _ADDRESS.fullmatch(text)
        if address and 0 < int(address[4]) < 65536:
            found[component] = (address[1] or address[2], int(address[4]))
        elif text:
            raise PlanError(
                "%s: %r is not an address; write host:port, such as db.example.org:5432 or [2001:db8::1]:5432."
                % (variable, text)
            )
    return found


def plan(
    variables: Mapping[str, Any], generated: Optional[Mapping[str, str]] = None, told: Told = _NOTHING_TOLD
) -> Dict[str, Any]:
    """Turn the stack's variables into names, ports, credentials and the contract's facts.

    :param variables: keys of :data:`DEFAULTS` and values of :data:`OUTSIDE`; missing ones take their
        defaults. ``stack_teams`` adds or replaces rows of :data:`TEAMS`.
    :param generated: the stack's own ``postgres_password`` and ``redis_password``, once they are known; until then a
        stack that has its own has empty ones here.
    :param told: what files of the controller, or a running service, tell about the contract.
    :returns: ``name``, ``team``, ``contract`` (its facts), ``contract_name``, ``contract_differences`` and
        ``contract_source`` (:class:`Chosen`), ``run_id``, ``hosts``, ``ports``, ``health_port``, ``metrics_port``,
        ``outside`` (component -> its variable and address, in words), ``unreachable`` (those of them that DataStorage's
        container cannot reach from a network of its own), ``containers`` of the others, ``auth_container``,
        ``network``, ``volume``, ``database``, ``user``, ``password``, ``redis_password``, ``labels``.
    :raises PlanError: a variable cannot be used.
    """
    given = {**DEFAULTS, **{name: value for name, value in variables.items() if value is not None}}
    if not isinstance(given["stack_teams"], Mapping):
        raise PlanError("stack_teams: it is not a mapping from a team's name to its row; write it as one.")
    team, run_id = str(given["stack_team"]), str(given["stack_run_id"])
    contract, differences, source = choose(str(given["stack_contract"]), str(given["stack_contract_file"]), told)
    rows = {**TEAMS, **CONTRACTS[contract].teams, **given["stack_teams"]}
    if team not in rows:
        raise PlanError(
            "stack_team: there is no team %r; choose one of %s, or add a row for it to stack_teams."
            % (team, ", ".join(sorted(rows)))
        )
    if not _TEAM.fullmatch(team):
        raise PlanError(
            "stack_team: %r cannot be part of a container's name; "
            "use at most 32 lower-case letters, digits and '_', beginning with a letter." % team
        )
    if run_id and not _RUN_ID.fullmatch(run_id):
        raise PlanError(
            "stack_run_id: %r cannot be part of a container's name; "
            "use at most 32 lower-case letters, digits and inner hyphens." % run_id
        )
    if given["stack_credentials"] not in CREDENTIALS:
        raise PlanError(
            "stack_credentials: it is %r; choose one of %s, and give passwords as postgres_password and redis_password."
            % (given["stack_credentials"], ", ".join(CREDENTIALS))
        )
    row = rows[team]
    if not isinstance(row, Mapping):
        raise PlanError("stack_teams: the row of %r is not a mapping; give it postgres, redis and datastorage." % team)
    lacking = [component for component in COMPONENTS if component not in row]
    if lacking:
        raise PlanError("stack_teams: the row of %r has no port for %s; add it." % (team, ", ".join(lacking)))
    prefix = team + "_" + run_id if run_id else team
    name = team + "-" + run_id if run_id else team
    away = outside(given)
    places = {component: away.get(component, (HERE, row[component])) for component in COMPONENTS}
    api, own_api = places["datastorage"][1], "datastorage" not in away
    generating = given["stack_credentials"] == "generated"
    return {
        "name": name,
        "team": team,
        "run_id": run_id,
        "contract": customised(CONTRACTS[contract], differences).facts(),
        "contract_name": contract,
        "contract_differences": differences,
        "contract_source": source,
        "hosts": {component: host for component, (host, _port) in places.items()},
        "ports": {component: port for component, (_host, port) in places.items()},
        # One outside says at its API how it is, unless told otherwise.
        "health_port": row.get("health", api + HEALTH_OFFSET) if own_api else api,
        "metrics_port": row.get("metrics", api + METRICS_OFFSET) if own_api else api,
        "outside": {component: "%s %s:%d" % (OUTSIDE[component], *away[component]) for component in away},
        "unreachable": [
            component
            for component in away
            if component != "datastorage" and "datastorage" not in away and LOOPBACK.fullmatch(away[component][0])
        ],
        "containers": {component: "%s_%s_1" % (prefix, component) for component in COMPONENTS if component not in away},
        "auth_container": prefix + "_auth_1",
        "network": prefix + "_test-network",
        "volume": prefix + "_postgres_data",
        **{key: row.get(key, UPSTREAM[key]) for key in UPSTREAM},
        **{
            key: (generated or {}).get(option, "")
            for key, option in _PASSWORDS.items()
            # What is outside has its password already.
            if generating and option.split("_", 1)[0] not in away
        },
        "labels": {LABEL + "collection": COLLECTION, LABEL + "stack": name},
    }


def digest(data: Any) -> str:
    """Return the SHA-256 of ``data``'s canonical JSON form, in hexadecimal digits."""
    canonical = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def container_plan(
    component: str,
    spec: Mapping[str, Any],
    found: Optional[Mapping[str, Any]],
    replaced: Sequence[str] = (),
    run_labels: Optional[Mapping[str, str]] = None,
) -> Dict[str, Any]:
    """Decide what has to be done so that a container matches its specification.

    :param component: which one, for the labels.
    :param spec: everything that makes the container what it is; its hash goes into a label.
    :param found: what the stack's inspect saw under that name: ``running``, ``labels``; None when there is nothing.
    :param replaced: components that this run replaced; the containers that depend on them went with them.
    :param run_labels: labels that say which run makes the container; one that is only started keeps its own.
    :returns: ``action`` (``none``, ``create``, ``start`` or ``replace``), ``reason`` in words, ``hash``, ``labels``,
        and ``dependents``: the components that have to go when this one is replaced.
    """
    spec_hash = digest(spec)
    replaced = [name for name in replaced if component in DEPENDENTS[name]]
    labels = {LABEL + "component": component, LABEL + "spec": spec_hash, **(run_labels or {})}
    if found is None or replaced:
        action, reason = "create", "there is none"
        if replaced:
            reason = "%s was replaced" % " and ".join(replaced)
    elif found["labels"].get(LABEL + "spec") != spec_hash:
        action, reason = "replace", "its specification changed"
    elif not found["running"]:
        action, reason = "start", "it is %s" % found["status"]
        # Another label would make another container of it.
        labels.update({name: found["labels"][name] for name in run_labels or {} if name in found["labels"]})
    else:
        action, reason = "none", "it runs as specified"
    return {
        "action": action,
        "reason": reason,
        "hash": spec_hash,
        "labels": labels,
        "dependents": list(DEPENDENTS[component]),
    }


def stop_order(components: Sequence[str]) -> List[str]:
    """Return components in the order in which they must stop: the service before what it writes to."""
    return [component for component in reversed(COMPONENTS) if component in components]
