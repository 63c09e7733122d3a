# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What DataStorage finds in its configuration and secret files. PRIVATE to the collection."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.kubernaut.integration.plugins.module_utils._adr030_keys import CONTRACTS, keys_of
from ansible_collections.kubernaut.integration.plugins.module_utils._adr030_yaml import (
    Entry,
    Malformed,
    Mismatch,
    decode,
    described,
    entries,
    first_document,
    is_mapping,
    is_null,
    kind_of,
    place,
)

if TYPE_CHECKING:
    import yaml


#: More keys than any configuration has: an alias contains itself, or aliases multiply.
_MOST = 2000


def flat(root: Optional[yaml.Node]) -> Dict[str, Entry]:
    """Return path -> key and value of everything in a document, sections too.

    :raises Malformed: a key is there twice where the service looks, or there are too many.
    """
    found: Dict[str, Entry] = {}
    pending = entries(root)
    while pending:
        entry = pending.pop(0)
        found[entry.path] = entry
        if len(found) > _MOST:
            raise Malformed(*entry.place, "there are more than %d keys" % _MOST)
        try:
            pending += entries(entry.value, entry.path)
        except Malformed:
            if is_section(entry.path, CONTRACTS):
                raise
    return found


def is_section(path: str, contracts: Sequence[str]) -> bool:
    """Tell whether a contract has keys below a path."""
    return any(at.path.startswith(path + ".") for contract in contracts for _key, at in keys_of(contract))


def is_read(path: str, contracts: Sequence[str]) -> bool:
    """Tell whether a contract reads a key, or one below it."""
    return is_section(path, contracts) or any(
        at.path == path for contract in contracts for _key, at in keys_of(contract)
    )


def decoded(found: Mapping[str, Entry], contract: str) -> Tuple[Dict[str, Any], List[Tuple[Entry, str]]]:
    """Return path -> value of what a contract reads, and the entries that have the wrong type with what is wrong."""
    values: Dict[str, Any] = {}
    wrong: Dict[str, Tuple[Entry, str]] = {}
    for key, at in keys_of(contract):
        parts = at.path.split(".")
        for section in (".".join(parts[:depth]) for depth in range(1, len(parts))):
            if section in found and not is_mapping(found[section].value) and not is_null(found[section].value):
                wrong[section] = (found[section], "is %s and must be a mapping" % described(found[section].value))
        if at.path in found:
            try:
                values[at.path] = decode(found[at.path].value, key.kind)
            except Mismatch as error:
                wrong[at.path] = (found[at.path], str(error))
    return values, list(wrong.values())


def read_config(text: str, contract: str) -> Dict[str, Any]:
    """Return path -> value of what a contract reads in a ``config.yaml``.

    :raises Malformed: the service refuses it.
    """
    values, wrong = decoded(flat(first_document(text)[0]), contract)
    for entry, why in wrong:
        raise Malformed(*entry.place, "%s %s" % (entry.path, why))
    return values


def read_secrets(text: str) -> Dict[str, Optional[str]]:
    """Return key -> value of a secret file, None for a value that is no string to the service.

    :raises Malformed: it is no mapping, neither in YAML nor in JSON.
    """
    return {name: string_of(node) for name, node in secret_nodes(text).items()}


def secret_nodes(text: str) -> Dict[str, yaml.Node]:
    """Return key -> node of a secret file; JSON that is no YAML has no places."""
    try:
        root = first_document(text)[0]
        if root is None or is_null(root):
            return {}
        if is_mapping(root):
            return {str(entry.key.value): entry.value for entry in entries(root)}
        where = place(root)
    except Malformed as error:
        where = (error.line, error.column)
    # YAML has no tabs for indentation, JSON has; written anew, either reader takes it.
    try:
        values = json.loads(text)
    except ValueError:
        values = None
    if isinstance(values, dict):
        return secret_nodes(json.dumps(values))
    raise Malformed(*where, "it is no mapping in YAML or JSON")


def string_of(node: yaml.Node) -> Optional[str]:
    """Return a string, or None for what is none to the service."""
    return str(node.value) if kind_of(node) in ("str", "merge") else None
