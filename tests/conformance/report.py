# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What came of every case, counted: only what a real service was seen to do is fidelity."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.kubernaut.integration.tests.conformance.contract import Origin
from ansible_collections.kubernaut.integration.tests.conformance.target import Target

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


@dataclass(frozen=True)
class Result:
    """What came of one case.

    :param name: of the case, with the state of the stack in front of it.
    :param outcome: :data:`PASSED`, :data:`FAILED` or :data:`SKIPPED`.
    :param why: what was wrong, or why it was not tried.
    """

    name: str
    origin: Origin
    outcome: str
    seconds: float = 0.0
    why: str = ""


def lines(target: Target, results: Sequence[Result]) -> Iterator[str]:
    """Yield the summary that a person reads."""
    tried = [result for result in results if result.outcome != SKIPPED]
    observed = [result for result in tried if result.origin.observed]
    only_read = [result for result in tried if not result.origin.observed]
    yield f"contract {target.contract} at {target.url}"
    yield f"fidelity: {_counted(observed, 'observed cases')}; {_counted(only_read, 'cases only read')}"
    for why, number in sorted(Counter(result.why for result in results if result.outcome == SKIPPED).items()):
        yield f"not tried: {number} {'case' if number == 1 else 'cases'}, {why}"


def _counted(results: Sequence[Result], what: str) -> str:
    passed = sum(result.outcome == PASSED for result in results)
    return f"{passed} of {len(results)} {what} pass"


def document(target: Target, results: Sequence[Result]) -> dict[str, Any]:
    """Return the same for programs, case by case."""
    return {
        "contract": target.contract,
        "url": target.url,
        "image": target.stack["images"]["datastorage"]["reference"] if target.stack else None,
        "reference_service": target.stack["reference_service"] if target.stack else None,
        "counts": {
            kind: Counter(result.outcome for result in results if result.origin.observed is seen)
            for kind, seen in (("observed", True), ("read", False))
        },
        "cases": [
            {
                "name": result.name,
                "section": result.origin.section,
                "commit": result.origin.commit,
                "observed": {"date": result.origin.date, "result": result.origin.result}
                if result.origin.observed
                else None,
                "outcome": result.outcome,
                "seconds": round(result.seconds, 3),
                "why": result.why,
            }
            for result in results
        ],
    }
