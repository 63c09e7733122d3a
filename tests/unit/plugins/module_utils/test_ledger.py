# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether files, ledger, goose's table and database fit together, and what is to be done then."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.kubernaut.integration.plugins.module_utils import _sql_files
from ansible_collections.kubernaut.integration.plugins.module_utils._ledger import Facts, Plan, Policy, plan
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import PhaseError
from ansible_collections.kubernaut.integration.plugins.module_utils._schema import LedgerRow
from ansible_collections.kubernaut.integration.plugins.module_utils._sql_files import Migration


def parsed(*files: tuple[str, str]) -> list[Migration]:
    return _sql_files.parse([{"name": name, "text": text} for name, text in files])


FILES = parsed(("001_a.sql", "SELECT 1;"), ("002_b.sql", "SELECT 2;"), ("1000_c.sql", "SELECT 3;\n"))
A, B, C = FILES
FACTS = Facts(public_oid=2200, tables=5, foreign=["audit_events"])
EMPTY = Facts(public_oid=2200, tables=0, foreign=[])
STRICT = Policy()


def row(migration: Migration, **changes: Any) -> LedgerRow:
    values: dict[str, Any] = {
        "version": migration.version,
        "name": migration.name,
        "checksum": migration.checksum,
        "applied_at": "2026-11-23T18:14:09.216Z",
        "elapsed": 0.1,
        "tool": "1.0.0",
        "dirty": False,
        "public_oid": 2200,
        "tables": 5,
        "goose": False,
    }
    return LedgerRow(**{**values, **changes})


def goose(*versions: int, **changes: Any) -> Facts:
    """A database in which goose has applied these versions."""
    values: dict[str, Any] = {"public_oid": 2200, "tables": 5, "foreign": ["audit_events"]}
    return Facts(**{**values, **changes}, goose=dict.fromkeys(versions, "2026-11-01T00:00:00.000Z"))


def names(migrations: Any) -> list[str]:
    return [migration.name for migration in migrations]


def refusal(*arguments: Any) -> PhaseError:
    with pytest.raises(PhaseError) as caught:
        plan(*arguments)
    return caught.value


@pytest.mark.parametrize("applied", [0, 1, 2, 3])
def test_what_the_ledger_lacks_is_applied_in_order(applied: int) -> None:
    todo = plan(FILES, [row(migration) for migration in FILES[:applied]], FACTS if applied else EMPTY, STRICT)
    assert todo == Plan([], [], [], FILES[applied:], [])
    assert todo.changes == (applied < 3)


def test_an_applied_file_may_be_renamed() -> None:
    assert plan(FILES, [row(A, name="001_old.sql")], FACTS, STRICT).apply == FILES[1:]


@pytest.mark.parametrize(
    ("migrations", "ledger", "facts", "message", "cause"),
    [
        (FILES, [row(A, dirty=True)], FACTS, "001_a.sql was begun at 2026-11-23T18:14:09.216Z and never", "dirty"),
        (FILES, [], FACTS, "The database holds audit_events but no ledger", "foreign"),
        (
            FILES,
            [],
            Facts(2200, 1, ["audit_events", "goose_db_version"]),
            "audit_events and goose_db_version but no ledger",
            "foreign",
        ),
        # goose has been here, and has applied nothing: these tables are not its work.
        (FILES, [], goose(), "The database holds audit_events but no ledger", "foreign"),
        (FILES, [row(A)], Facts(9999, 5, []), "Schema public was dropped and created again after", "schema-dropped"),
        (FILES, [row(A)], Facts(0, 5, []), "Schema public was dropped after", "schema-dropped"),
        (FILES, [row(A)], Facts(2200, 0, []), "001_a.sql is applied and left 5 tables, but", "schema-dropped"),
        (
            FILES,
            [row(A, checksum="feed")],
            FACTS,
            f"001_a.sql is applied, but changed since: its checksum was feed and is {A.checksum} (`git log -p -- 001_a",
            "changed",
        ),
        ([B, C], [row(A)], FACTS, "001_a.sql is applied, but no longer in migrations_dir", "changed"),
        (FILES, [row(A), row(C)], FACTS, "002_b.sql is new, but its version is below the newest applied", "changed"),
        (
            [A, C],
            [],
            goose(1, 2),
            "Migration 2 of goose_db_version is applied, but no longer in migrations_dir",
            "changed",
        ),
        (FILES, [], goose(1, 1000), "002_b.sql is new, but its version is below the newest applied one", "changed"),
        (FILES, [row(A), row(B, goose=True)], goose(1), "002_b.sql is in the ledger, but no longer in goose", "goose"),
        (FILES, [row(A, goose=True)], FACTS, "001_a.sql is in the ledger, but no longer in goose", "goose"),
        (
            FILES,
            [row(A, goose=True), row(B, goose=True), row(C)],
            goose(),
            "let goose apply it again (goose up-to 2), or reset the database",
            "goose",
        ),
    ],
)
def test_what_does_not_fit_is_refused(
    migrations: list[Migration], ledger: list[LedgerRow], facts: Facts, message: str, cause: str
) -> None:
    error = refusal(migrations, ledger, facts, STRICT)
    assert message in error.message.splitlines()[0]
    assert "stack_fresh: true" in error.message.splitlines()[0]
    assert error.cause == (cause if cause.startswith("schema") else "migration-" + cause)


def test_the_newest_row_is_the_one_applied_last() -> None:
    """One that was inserted later has a lower version, and may have replaced the schema."""
    inserted = row(B, applied_at="2026-11-24T00:00:00.000Z", public_oid=9999)
    assert plan(FILES, [row(A), inserted, row(C)], Facts(9999, 5, []), STRICT) == Plan([], [], [], [], [])


def test_a_renumbered_file_is_not_called_changed() -> None:
    """kubernaut 1.4 put a file in front of two that 1.3 had applied: what has the version now is another file."""
    before = parsed(("005_a.sql", "SELECT 1;"), ("006_cleanup.sql", "SELECT 2;"))
    now = parsed(("005_a.sql", "SELECT 1;"), ("006_channel.sql", "SELECT 3;"), ("007_cleanup.sql", "SELECT 2;"))
    message = refusal(now, [row(migration) for migration in before], FACTS, STRICT).message
    assert "Migration 006_cleanup.sql is applied, but another file has its version now, 006_channel.sql: put" in message
    assert "changed since" not in message


@pytest.mark.parametrize(("before", "now"), [("SELECT 3;\r\n", "SELECT 3;\n"), ("SELECT 3;\n", "SELECT 3;\r\n")])
def test_other_line_ends_are_called_so(before: str, now: str) -> None:
    (old,), (new,) = parsed(("1_c.sql", before)), parsed(("1_c.sql", now))
    assert "(only its line ends changed, see core.autocrlf of git)" in refusal([new], [row(old)], FACTS, STRICT).message


def test_another_set_of_files_is_called_so_whatever_is_allowed() -> None:
    theirs = [row(A, version=version, checksum="feed") for version in range(1, 6)]
    for policy in (STRICT, Policy(allow_removed=True, allow_inserted=True)):
        message = refusal(FILES, theirs, FACTS, policy).message
        assert re.search(
            r"migrated from other files, such as another contract's: none of the 5 .* set migrations_dir", message
        )


def test_every_problem_is_named() -> None:
    lines = refusal(FILES[1:], [row(A), row(C, checksum="feed")], FACTS, STRICT).message.splitlines()
    assert len(lines) == 3
    assert "1000_c.sql" in lines[0]
    assert "allow" not in lines[0]  # nothing that could be allowed would be enough
    assert "001_a.sql" in lines[1]
    assert "002_b.sql" in lines[2]


@pytest.mark.parametrize(
    ("policy", "advice"),
    [
        (STRICT, "allow it (migrations_allow_removed: true and migrations_allow_inserted: true)"),
        (Policy(allow_removed=True), "allow it (migrations_allow_inserted: true)"),
        (Policy(allow_inserted=True), "allow it (migrations_allow_removed: true)"),
    ],
)
def test_what_could_be_allowed_is_said(policy: Policy, advice: str) -> None:
    assert advice in refusal([B, C], [row(A), row(C)], FACTS, policy).message


def test_removed_and_inserted_files_are_allowed_on_demand() -> None:
    assert plan([C], [row(A), row(B)], FACTS, Policy(allow_removed=True)).apply == [C]
    assert plan(FILES, [row(A), row(C)], FACTS, Policy(allow_inserted=True)).apply == [B]
    assert plan([A, C], [], goose(1, 2), Policy(allow_removed=True)) == Plan([A], [], [], [C], plan_warning("1000"))
    assert plan(FILES, [], goose(1, 1000), Policy(allow_inserted=True)).apply == [B]


# ---------------------------------------------------------------------------------------------------------------- goose


def plan_warning(version: str) -> list[str]:
    return [
        f"goose_db_version does not have version {version}, which the ledger has or will have, so goose would apply it "
        "again; with migrations_goose_table: true it is told."
    ]


def test_what_goose_has_applied_is_adopted() -> None:
    assert plan(FILES, [], goose(1, 2, 1000), STRICT) == Plan(FILES, [], [], [], [])
    assert plan(FILES, [], goose(1, 2), STRICT) == Plan([A, B], [], [], [C], plan_warning("1000"))
    assert plan(FILES, [], goose(1, 2), Policy(goose_table=True)) == Plan([A, B], [], [], [C], [])
    # goose has gone on after us.
    assert plan(FILES, [row(A, goose=True)], goose(1, 2), Policy(goose_table=True)) == Plan([B], [], [], [C], [])


def test_goose_without_anything_applied_is_a_fresh_database() -> None:
    assert plan(FILES, [], goose(tables=1, foreign=[]), Policy(goose_table=True)) == Plan([], [], [], FILES, [])


def test_goose_is_told_on_demand() -> None:
    ledger = [row(A, goose=True), row(B), row(C)]
    ledger[1] = row(B, goose=True)
    assert plan(FILES, ledger, goose(1, 2), STRICT) == Plan([], [], [], [], plan_warning("1000"))
    assert plan(FILES, ledger, goose(1, 2), Policy(goose_table=True)) == Plan([], [], [1000], [], [])
    # It has applied by itself what we had applied: the schema may be worse for it, but both say the same from now on.
    assert plan(FILES, ledger, goose(1, 2, 1000), STRICT) == Plan([], [1000], [], [], [])
    # There is no such table yet.
    fresh = [row(A), row(B)]
    assert plan(FILES, fresh, FACTS, Policy(goose_table=True)) == Plan([], [], [1, 2], [C], [])
    assert plan(FILES, fresh, FACTS, STRICT) == Plan([], [], [], [C], [])


# ----------------------------------------------------------------------------------------------------------- properties

VERSIONS = st.sets(st.integers(1, 12), max_size=8)


@given(
    VERSIONS,
    VERSIONS,
    st.none() | VERSIONS,
    VERSIONS,
    VERSIONS,
    st.builds(Policy, st.booleans(), st.booleans(), st.booleans()),
)
def test_no_file_runs_twice_and_none_out_of_order(
    present: set[int], applied: set[int], by_goose: set[int] | None, changed: set[int], told: set[int], policy: Policy
) -> None:
    """Whatever there is: it is refused, or each file is exactly one of applied, adopted and to be applied."""
    files = parsed(*[(f"{version}_x.sql", f"SELECT {version};") for version in present])
    ledger = [
        row(one, checksum="feed" if version in changed else one.checksum, goose=version in told)
        for version in sorted(applied)
        for one in parsed((f"{version}_x.sql", f"SELECT {version};"))
    ]
    facts = EMPTY if by_goose is None else goose(*by_goose)
    facts = Facts(2200, 5, facts.foreign, facts.goose)
    try:
        todo = plan(files, ledger, facts, policy)
    except PhaseError:
        return
    order = [migration.version for migration in todo.apply]
    adopted = {migration.version for migration in todo.adopt}
    done = applied | (by_goose or set())
    assert order == sorted(present - done)
    assert adopted == present & ((by_goose or set()) - applied)
    assert not (changed & applied & present)
    assert policy.allow_removed or done <= present
    assert policy.allow_inserted or not order or not done or order[0] > max(done)
    assert set(todo.goose_has) == (applied & (by_goose or set())) - told
    assert set(todo.tell_goose) == ((applied | adopted) - (by_goose or set()) if policy.goose_table else set())
