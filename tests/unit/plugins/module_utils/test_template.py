# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names, marks and ledgers of a kept database."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.kubernaut.integration.plugins.module_utils import _template
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import PhaseError
from ansible_collections.kubernaut.integration.plugins.module_utils._schema import LedgerRow
from ansible_collections.kubernaut.integration.plugins.module_utils._template import DROPPED, MARK, Found, names

NAMED = names("action_history")


def row(version: int, checksum: str = "a", **changes: Any) -> LedgerRow:
    """Return a row of a ledger."""
    others = {
        "applied_at": "",
        "elapsed": 0.1,
        "tool": "",
        "dirty": False,
        "public_oid": 1,
        "tables": 2,
        "goose": False,
    }
    given = {"version": version, "name": f"{version:03d}_x.sql", "checksum": checksum}
    return LedgerRow(**{**given, **others, **changes})


def test_names_say_what_they_are_for() -> None:
    assert NAMED == (
        "action_history",
        "action_history_template",
        "action_history_template_new",
        "action_history_template_old",
        "postgres",
    )


def test_one_does_not_connect_to_what_is_swapped() -> None:
    assert names("postgres").entry == "template1"


@pytest.mark.parametrize("length", [49, 50, 51, 54, 55, 63])
def test_names_fit_into_postgres_and_stay_apart(length: int) -> None:
    """PostgreSQL would cut off what is too long, and the template would be the database itself."""
    one, other = names("x" * (length - 1) + "a"), names("x" * (length - 1) + "b")
    assert all(len(name.encode()) <= 63 for name in (*one, *other))
    assert len({*one[:4], *other[:4]}) == 8


def test_names_of_more_bytes_than_letters_fit_too() -> None:
    assert all(len(name.encode()) <= 63 for name in names("ü" * 31))


def test_a_ledger_is_the_same_when_the_same_files_were_applied() -> None:
    ledger = [row(1), row(2)]
    assert _template.ledger_digest(ledger) == _template.ledger_digest([row(1, elapsed=9.0, public_oid=7), row(2)])
    assert _template.ledger_digest(ledger) == _template.ledger_digest([row(1, name="001_renamed.sql"), row(2)])
    others = [[row(1)], [row(1), row(2, "b")], [row(1), row(2, goose=True)], [row(1), row(3)], [row(2), row(1)], []]
    digests = {_template.ledger_digest(other) for other in [ledger, *others]}
    assert len(digests) == len(others) + 1


def test_a_template_is_behind_only_where_its_ledger_is_a_beginning() -> None:
    ledger = [row(1), row(2), row(3)]
    assert _template.behind(ledger, _template.ledger_digest(ledger[:1]))
    assert _template.behind(ledger, _template.ledger_digest(ledger[:2]))
    for other in (ledger, ledger[1:], [row(1, "b")], []):
        assert not _template.behind(ledger, _template.ledger_digest(other))
    assert not _template.behind(ledger, "")
    assert not _template.behind([], "")


@pytest.mark.parametrize(
    ("comment", "ledger"),
    [
        (_template._COMMENT % ("0f" * 32), "0f" * 32),
        (None, ""),
        ("somebody else's words", ""),
        ("Ledger: 0f", ""),
    ],
)
def test_a_template_says_which_ledger_it_is_of(comment: str | None, ledger: str) -> None:
    assert Found("slm_user", MARK, comment).ledger == ledger


def test_what_a_killed_run_left_is_found() -> None:
    ours, dropped = Found("slm_user", MARK, None), Found("slm_user", DROPPED, None)
    assert _template.judge(NAMED, {}) == []
    assert _template.judge(NAMED, {"action_history": Found("slm_user", -1, "mine"), NAMED.template: ours}) == []
    assert _template.judge(NAMED, {NAMED.new: ours, NAMED.old: dropped}) == [NAMED.new, NAMED.old]


@pytest.mark.parametrize("name", [NAMED.template, NAMED.new, NAMED.old])
@pytest.mark.parametrize("limit", [-1, 0, 5])
def test_what_somebody_else_made_is_named(name: str, limit: int) -> None:
    with pytest.raises(PhaseError, match=f"database {name}, owned by somebody") as caught:
        # Words alone prove nothing: a dump brings comments along.
        _template.judge(NAMED, {name: Found("somebody", limit, _template._COMMENT % ("0f" * 32))})
    assert caught.value.cause == "template-foreign"


def test_a_template_that_somebody_began_to_drop_is_left_alone() -> None:
    with pytest.raises(PhaseError):
        _template.judge(NAMED, {NAMED.template: Found("slm_user", DROPPED, None)})
