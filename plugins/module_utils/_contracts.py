# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The contracts by name. PRIVATE to the collection.

What differs between generations of DataStorage is data in one file each; a new one is another file, and a row here.
Until there is one, a user's own file says in what a generation differs from one that is known.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Callable, Collection, Dict, Mapping, Optional, Tuple

from ansible_collections.kubernaut.integration.plugins.module_utils import _contract_v0, _contract_v1
from ansible_collections.kubernaut.integration.plugins.module_utils._contract import Contract, Kind

CONTRACTS: Mapping[str, Contract] = {"v0": _contract_v0.CONTRACT, "v1": _contract_v1.CONTRACT}
#: Value of ``stack_contract`` that leaves it to the migrations, or else to a service that runs already.
AUTO = "auto"
#: Key of a user's file: which contract it starts from.
BASED_ON = "based_on"


class ContractError(ValueError):
    """A contract of the user's cannot be used; the message names the key and the remedy."""


def of_migrations(names: Collection[str]) -> Optional[Tuple[str, str]]:
    """Return the contract to which a directory of migrations belongs, and the file that says so; None for neither.

    :param names: names of the files in it.
    """
    return next(((name, row.marker) for name, row in CONTRACTS.items() if row.marker in names), None)


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0


def _port(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1024 <= value <= 65535


def _list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _texts(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for pair in value.items() for text in pair)


def _events(value: Any) -> bool:
    names = ("event_type", "action", "outcome")
    return (
        isinstance(value, list)
        and len(value) > 0
        and all(
            isinstance(item, dict)
            and sorted(item) == sorted((*names, "data", "execution"))
            and all(isinstance(item[name], str) for name in names)
            and isinstance(item["data"], dict)
            and isinstance(item["execution"], int)
            for item in value
        )
    )


_PATH = (lambda value: _text(value) and value.startswith("/"), "an absolute path")
_PATH_OR_NONE = (lambda value: value == "" or _PATH[0](value), "an absolute path, or empty for none")
_PORT = (_port, "a port from 1024 to 65535")
_SECONDS = (_number, "a number of seconds above 0")
_NAMES = (_list, "a list of names")
#: What a user's file may say -> whether a value will do, and what it must be.
RULES: Mapping[str, Tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys(("port", "health_port", "metrics_port"), _PORT),
    **dict.fromkeys(("health", "metrics", "config_path", "events_path"), _PATH),
    **dict.fromkeys(("signer", "chain_path"), _PATH_OR_NONE),
    **dict.fromkeys(("tables", "partitioned", "functions", "extensions", "absent", "insert_columns", "queues"), _NAMES),
    **dict.fromkeys(("gate_timeout", "write_timeout"), _SECONDS),
    "expect": (lambda value: isinstance(value, dict) and len(value) > 0, "a mapping that a ready one's body holds"),
    "tokens": (lambda value: isinstance(value, bool), "true or false"),
    "category": (lambda value: _text(value) and value != "", "a category of events"),
    "columns": (_texts, "a mapping from fields of the request to columns of audit_events"),
    "batch": (_events, "a list of events with event_type, action, outcome, execution (a number) and data (a mapping)"),
}


def customised(base: Contract, differences: Mapping[str, Any]) -> Contract:
    """Return ``base`` with what a user's file says instead.

    :param differences: keys of :data:`RULES`.
    :raises ContractError: a key is unknown, or its value is none that it can have.
    """
    values: Dict[str, Any] = {}
    for name, value in differences.items():
        if name not in RULES:
            raise ContractError("there is no key %s; choose among %s." % (name, ", ".join(sorted(RULES))))
        fits, what = RULES[name]
        if not fits(value):
            raise ContractError("%s: %r is not %s." % (name, value, what))
        if name == "batch":
            value = tuple(  # noqa: PLW2901 - the same value as the dataclass has it
                (Kind(item["event_type"], item["action"], item["outcome"], item["data"]), item["execution"])
                for item in value
            )
        values[name] = tuple(value) if isinstance(value, list) else value
    return replace(base, **values)


def parse(document: Any) -> Tuple[str, Dict[str, Any]]:
    """Return the contract on which a user's file is based, and in what it differs, both judged.

    :param document: what the YAML file holds.
    :raises ContractError: it is no such file.
    """
    if not isinstance(document, dict) or document.get(BASED_ON) not in CONTRACTS:
        raise ContractError("%s: say on which it is based, one of %s." % (BASED_ON, ", ".join(sorted(CONTRACTS))))
    differences = {str(name): value for name, value in document.items() if name != BASED_ON}
    customised(CONTRACTS[document[BASED_ON]], differences)
    return document[BASED_ON], differences
