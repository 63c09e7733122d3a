# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which key somebody means, and for which contract a file is written. PRIVATE to the collection."""

from __future__ import annotations

import difflib
import re
from typing import Any, FrozenSet, Mapping, Optional, Sequence, Tuple

from ansible_collections.kubernaut.integration.plugins.module_utils._adr030_keys import CONTRACTS, KEYS, V0, V1, Key

#: What :func:`contract_of` returns beside the contracts when the keys do not tell.
UNDETERMINED = "undetermined"

#: How alike two names must be for one to be meant by the other, from 0 to 1.
_ALIKE = 0.7
_VERY_ALIKE = 0.8


def _plain(name: str) -> str:
    """Return a name without what only is a way of writing: case, ``_`` and ``-``."""
    return re.sub(r"[_-]", "", name).lower()


def _telling() -> FrozenSet[str]:
    """Return the names that say which key is meant even in the wrong section: long ones that no two keys share."""
    leaves = [{_plain(key.path(contract).rpartition(".")[2]) for contract in CONTRACTS} for key in KEYS]
    return frozenset(
        name for key in leaves for name in key if len(name) >= 6 and sum(name in other for other in leaves) == 1
    )


_TELLING = _telling()


def _likeness(one: str, other: str) -> float:
    """Return how alike two names are, from 0 to 1."""
    return difflib.SequenceMatcher(None, _plain(one), _plain(other)).ratio()


def _score(path: str, candidate: str, known_as: Sequence[str]) -> float:
    """Return how likely ``path`` is meant to be the key ``candidate``; 0 when it is not."""
    if _plain(path) == _plain(candidate):
        return 2.0
    section, _dot, name = path.rpartition(".")
    its_section, _dot, its_name = candidate.rpartition(".")
    alike = _likeness(name, its_name)
    if _plain(section) == _plain(its_section):
        if _plain(name) in map(_plain, known_as):
            return 1.5
        return alike if alike >= _ALIKE else 0.0
    if section and its_section and _likeness(section, its_section) >= _ALIKE and alike >= _VERY_ALIKE:
        return alike
    if alike == 1.0 and _plain(name) in _TELLING:
        return 0.9
    joined = _likeness(name, its_section + its_name)
    return joined * 0.9 if joined >= _VERY_ALIKE else 0.0


def nearest(path: str, contracts: Sequence[str]) -> Optional[Key]:
    """Return the key that somebody means who writes ``path``, one that the contracts have if there is a choice."""
    best: Tuple[float, Optional[Key]] = (0.0, None)
    for key in KEYS:
        for contract in CONTRACTS:
            at = key.at(contract)
            score = _score(path, at.path, key.known_as) if at else 0.0
            # A little more, so that of two that are equally near the one that is read wins.
            score += 0.01 if score and contract in contracts else 0.0
            if score > best[0]:
                best = (score, key)
    return best[1]


def contract_of(found: Mapping[str, Any]) -> str:
    """Tell from a file's keys for which contract it is written: ``v0``, ``v1``, ``both`` or :data:`UNDETERMINED`."""
    votes = {V0: 0, V1: 0}
    for key in KEYS:
        old, new = key.path(V0), key.path(V1)
        if old == new:
            continue
        if old and new and old in found and new in found:
            return "both"
        # A key that only v0 has tells nothing: they live on in files of v1.
        votes[V0] += bool(new) and old in found
        votes[V1] += new in found
    if votes[V0] == votes[V1]:
        return UNDETERMINED
    return max(votes, key=lambda contract: votes[contract])
