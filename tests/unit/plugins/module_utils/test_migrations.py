# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files there are, what of them runs, and whether ledger and files fit together."""

from __future__ import annotations

import hashlib
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.kubernaut.integration.plugins.module_utils import _migrations
from ansible_collections.kubernaut.integration.plugins.module_utils._migrations import Facts, Migration
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import PhaseError
from ansible_collections.kubernaut.integration.plugins.module_utils._schema import LedgerRow

ROOT = Path(__file__).parents[4]
ANNOTATED = "-- +goose Up\nSELECT 'up';\n-- +goose Down\nDROP TABLE down;\n"


def names(migrations: list[Migration]) -> list[str]:
    return [migration.name for migration in migrations]


def parsed(*files: tuple[str, str]) -> list[Migration]:
    return _migrations.parse([{"name": name, "text": text} for name, text in files])


def cut(text: str) -> Migration:
    return _migrations.split(parsed(("1_a.sql", text))[0])


def statements(migration: Migration) -> list[str]:
    assert migration.statements is not None
    return [migration.sql[begin:end] for begin, end in migration.statements]


def test_tool_version_is_the_collections() -> None:
    assert yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))["version"] == _migrations.TOOL


# ------------------------------------------------------------------------------------------------------------ directory


def test_directory_is_not_searched_below(tmp_path: Path) -> None:
    (tmp_path / "testdata").mkdir()
    (tmp_path / "testdata" / "002_seed.sql").write_text("SELECT 2;")
    (tmp_path / "003_directory.sql").mkdir()
    (tmp_path / "001_a.sql").write_text("SELECT 1;")
    (tmp_path / ".004_hidden.sql").write_text("SELECT 4;")
    (tmp_path / "README.md").write_text("no migration")
    assert _migrations.read_directory(str(tmp_path)) == [{"name": "001_a.sql", "text": "SELECT 1;"}]


def test_symlinks_to_files_are_followed_and_dangling_ones_named(tmp_path: Path) -> None:
    real = tmp_path / "real.txt"
    real.write_text("SELECT 1;")
    (tmp_path / "001_a.sql").symlink_to(real)
    assert _migrations.read_directory(str(tmp_path)) == [{"name": "001_a.sql", "text": "SELECT 1;"}]
    real.unlink()
    with pytest.raises(PhaseError, match=r"^001_a\.sql in migrations_dir cannot be read: No such file"):
        _migrations.read_directory(str(tmp_path))


@pytest.mark.parametrize("make", ["missing", "file", "empty"])
def test_directories_without_migrations_name_the_variable(tmp_path: Path, make: str) -> None:
    place = tmp_path / "migrations"
    if make == "file":
        place.write_text("")
    if make == "empty":
        place.mkdir()
    with pytest.raises(PhaseError, match=r"^migrations_dir is .*migrations, which (cannot be read|holds no)"):
        _migrations.read_directory(str(place))


@pytest.mark.parametrize(("content", "line"), [(b"SELECT 1;\n-- caf\xe9\n", 2), ("SELECT 1;".encode("utf-16"), 1)])
def test_other_encodings_are_refused_with_their_line(tmp_path: Path, content: bytes, line: int) -> None:
    (tmp_path / "001_a.sql").write_bytes(content)
    with pytest.raises(PhaseError, match=r"^001_a\.sql in migrations_dir is not UTF-8 \(byte .* in line %d\)" % line):
        _migrations.read_directory(str(tmp_path))


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_checksum_is_that_of_the_bytes(text: str) -> None:
    content = text.encode("utf-8")
    if "+goose" not in text:
        assert parsed(("1_a.sql", content.decode("utf-8")))[0].checksum == hashlib.sha256(content).hexdigest()


# ---------------------------------------------------------------------------------------------------------------- order


def test_order_is_numeric() -> None:
    files = [("1000_z.sql", ""), ("022_y.sql", ""), ("3_b.sql", ""), ("020251221120000_x.sql", "")]
    assert [migration.version for migration in parsed(*files)] == [3, 22, 1000, 20251221120000]


@given(st.lists(st.integers(0, 10**18 - 1), unique=True))
def test_order_is_numeric_whatever_the_numbers(numbers: list[int]) -> None:
    assert [m.version for m in parsed(*[(f"{number}_a.sql", "") for number in numbers])] == sorted(numbers)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["seed.sql"], "seed.sql in migrations_dir does not begin with a version number"),
        (["9" * 19 + "_a.sql"], "does not begin with a version number"),
        (["1_a.sql", "001_b.sql"], "1_a.sql and 001_b.sql in migrations_dir have the same version 1"),
    ],
)
def test_bad_numbers_are_refused(files: list[str], message: str) -> None:
    with pytest.raises(PhaseError, match=re.escape(message)):
        parsed(*[(name, "") for name in files])


# -------------------------------------------------------------------------------------------------------------- up part


@pytest.mark.parametrize(
    ("text", "up"),
    [
        ("SELECT 1;\n", "SELECT 1;\n"),
        (ANNOTATED, "-- +goose Up\nSELECT 'up';\n"),
        (ANNOTATED.replace("\n", "\r\n"), "-- +goose Up\r\nSELECT 'up';\r\n"),
        (ANNOTATED.replace("\n", "\r"), "-- +goose Up\rSELECT 'up';\r"),
        ("\ufeff" + ANNOTATED, " -- +goose Up\nSELECT 'up';\n"),
        ("-- about\n\n--+GOOSE  up\nSELECT 1;\n  --  +goose   DOWN  \nDROP", "-- about\n\n--+GOOSE  up\nSELECT 1;\n"),
        ("-- +goose Up\n-- +goose StatementBegin\nX\n-- +goose StatementEnd", None),
        ("-- +goose Up\n-- +goose ENVSUB OFF\nSELECT 1;", None),
        # goose reads lines, not SQL: what looks like its annotation is one, even within a function.
        ("-- +goose Up\nDO $$\n-- +goose Down\n$$;", "-- +goose Up\nDO $$\n"),
        ("-- goose Down is only mentioned\nSELECT 1;", None),
    ],
)
def test_up_part(text: str, up: str | None) -> None:
    assert parsed(("1_a.sql", text))[0].sql == (text if up is None else up)


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("-- +goose Up\n-- +goose ENVSUB ON\n", 2, "ENVSUB ON` is not supported"),
        ("-- +goose Up\n-- +goose Dwon\n", 2, "unknown goose annotation `-- +goose Dwon`"),
        ("-- +goose\n", 1, "unknown goose annotation"),
        ("-- +goose Up\n-- +goose Up\n", 2, "a second"),
        ("-- +goose Up\n-- +goose Down\n-- +goose Up\n", 3, "a second"),
        ("SELECT 1;\n-- +goose Down\n", 2, "without `-- +goose Up`"),
        ("SELECT 1;\n-- +goose NO TRANSACTION\n", 2, "no `-- +goose Up`"),
        ("-- x\n\n\n\n--a\na\n-- +goose Up\n", 6, "SQL before"),
        ("-- +goose Up\nSELECT 1; -- +goose Down\nDROP TABLE t;", 2, "a line of its own"),
    ],
)
def test_misplaced_annotations_are_refused_with_their_line(text: str, line: int, why: str) -> None:
    with pytest.raises(PhaseError, match=r"^1_a\.sql in migrations_dir, line %d: .*%s" % (line, re.escape(why))):
        parsed(("1_a.sql", text))


def test_nul_is_refused() -> None:
    with pytest.raises(PhaseError, match="NUL byte"):
        parsed(("1_a.sql", "SELECT 1;\0DROP TABLE t;"))


LINES = st.sampled_from(
    ["", "-- note", "SELECT 1;", "DO $$", "$$;", "-- +goose StatementBegin", "-- +goose StatementEnd", "/*", "*/", "'"]
)


@given(st.lists(LINES), st.lists(LINES), st.sampled_from(["\n", "\r\n", "\r"]), st.sampled_from(["", " ", "\t"]))
def test_nothing_of_down_ever_runs(up: list[str], down: list[str], end: str, margin: str) -> None:
    secret = "DROP TABLE precious;"
    lines = ["-- +goose Up", *up, margin + "-- +goose Down", *down, secret, *down]
    migration = cut(end.join(lines))
    assert secret not in migration.sql
    assert migration.sql == "".join(line + end for line in ["-- +goose Up", *up])


# ---------------------------------------------------------------------------------------------------------------- split


def test_statements_are_cut_by_the_parser() -> None:
    text = "-- é\nSELECT ';é' ; -- ;\nCREATE FUNCTION f() RETURNS int LANGUAGE sql AS $a$ SELECT 1; $a$;;\n"
    text += "/* ; */ SELECT 2"
    migration = cut(text)
    assert statements(migration) == [
        "SELECT ';é'",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $a$ SELECT 1; $a$",
        "SELECT 2",
    ]
    assert migration.transactional


def test_a_byte_order_mark_moves_nothing() -> None:
    assert statements(cut("\ufeffSELECT 1;")) == ["SELECT 1"]


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE INDEX CONCURRENTLY i ON t (a)",
        "DROP INDEX CONCURRENTLY i",
        "REINDEX INDEX CONCURRENTLY i",
        "REINDEX DATABASE d",
        "REINDEX SCHEMA public",
        "VACUUM t",
        "CLUSTER",
        "COMMIT",
        "BEGIN; SELECT 1; COMMIT",
        "ROLLBACK",
        "START TRANSACTION",
        "ALTER TABLE t DETACH PARTITION p CONCURRENTLY",
        "CREATE DATABASE d",
        "DROP DATABASE d",
        "ALTER SYSTEM SET work_mem = '4MB'",
        "-- +goose Up\n-- +goose NO TRANSACTION\nSELECT 1",
        "-- +goose NO TRANSACTION\n-- +goose Up\nSELECT 1",
    ],
)
def test_what_cannot_run_in_a_transaction(statement: str) -> None:
    assert not cut(statement + ";\nSELECT 1;").transactional


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 'CREATE INDEX CONCURRENTLY; COMMIT;'",
        "-- COMMIT;\nSELECT 1",
        "DO $$ BEGIN COMMIT; END $$",
        "CREATE INDEX i ON t (a)",
        "DROP INDEX i",
        "REINDEX TABLE t",
        "ANALYZE t",
        "CLUSTER t",
        "SAVEPOINT a; RELEASE a",
        "SAVEPOINT a; ROLLBACK TO SAVEPOINT a",
        "ALTER TABLE t DETACH PARTITION p",
        "-- +goose Up\nSELECT 1;\n-- +goose Down\n-- +goose NO TRANSACTION\nVACUUM",
    ],
)
def test_what_can(statement: str) -> None:
    assert cut(statement + ";").transactional


@pytest.mark.parametrize(
    "text", ["SELECT 1;\n\\connect other\n", "SELECT 1;\n\\i other.sql", "--\n\\set a b\nSELECT 1;"]
)
def test_commands_of_psql_are_refused_before_anything_runs(text: str) -> None:
    with pytest.raises(PhaseError, match=r"line 2: a command of psql"):
        cut(text)


def test_a_syntax_error_is_left_to_the_server() -> None:
    assert cut("SELECT 1;\nSELEC 2;").statements is None


def test_without_the_parser_a_file_is_one_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pglast", None)
    migration = cut("SELECT 1; COMMIT;")
    assert migration.statements is None
    assert migration.transactional


def test_files_travel_to_a_target_without_a_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "\ufeff-- +goose Up\r\nSELECT 'é';\r\nVACUUM;\r\n-- +goose Down\r\nDROP TABLE t;"
    files = _migrations.split_files([{"name": "1_a.sql", "text": text}])
    here = cut(text)
    monkeypatch.setitem(sys.modules, "pglast", None)
    there = _migrations.split(_migrations.parse(files)[0])
    assert there == here
    assert statements(there) == ["SELECT 'é'", "VACUUM"]
    assert not there.transactional


@pytest.mark.parametrize(
    ("offset", "place"), [(0, (1, 1)), (1, (1, 2)), (3, (2, 1)), (5, (3, 1)), (6, (4, 1)), (7, (4, 2))]
)
def test_position(offset: int, place: tuple[int, int]) -> None:
    assert _migrations.position("a\r\nb\n\ncd", offset) == place


# ------------------------------------------------------------------------------------------------------------ judgement

FILES = parsed(("001_a.sql", "SELECT 1;"), ("002_b.sql", "SELECT 2;"), ("1000_c.sql", "SELECT 3;"))
FACTS = Facts(public_oid=2200, tables=5, foreign=["audit_events"])


def row(migration: Migration, **changes: Any) -> LedgerRow:
    values: dict[str, Any] = {
        "version": migration.version,
        "name": migration.name,
        "checksum": migration.checksum,
        "applied_at": "2026-11-23T18:14:09.216Z",
        "elapsed": 0.1,
        "tool": _migrations.TOOL,
        "dirty": False,
        "public_oid": 2200,
        "tables": 5,
    }
    return LedgerRow(**{**values, **changes})


@pytest.mark.parametrize(("applied", "rest"), [(0, 3), (1, 2), (2, 1), (3, 0)])
def test_pending(applied: int, rest: int) -> None:
    facts = FACTS if applied else Facts(2200, 0, [])
    todo = _migrations.pending(FILES, [row(migration) for migration in FILES[:applied]], facts)
    assert names(todo) == names(FILES[3 - rest :])


def test_an_applied_file_may_be_renamed() -> None:
    assert names(_migrations.pending(FILES, [row(FILES[0], name="001_old.sql")], FACTS)) == names(FILES[1:])


@pytest.mark.parametrize(
    ("migrations", "ledger", "facts", "message"),
    [
        (
            FILES,
            [row(FILES[0], dirty=True)],
            FACTS,
            "Migration 001_a.sql was begun at 2026-11-23T18:14:09.216Z and never",
        ),
        (FILES, [], FACTS, "The database holds audit_events but no ledger"),
        (
            FILES,
            [],
            Facts(2200, 1, ["audit_events", "goose_db_version"]),
            "audit_events and goose_db_version but no ledger",
        ),
        (FILES, [row(FILES[0])], Facts(9999, 5, []), "Schema public was dropped and created again after"),
        (FILES, [row(FILES[0])], Facts(0, 5, []), "Schema public was dropped after"),
        (FILES, [row(FILES[0])], Facts(2200, 0, []), "001_a.sql is applied and left 5 tables, but there is not one"),
        (
            FILES,
            [row(FILES[0], checksum="feed")],
            FACTS,
            f"001_a.sql is applied, but changed since: its checksum was feed and is {FILES[0].checksum}",
        ),
        (FILES[1:], [row(FILES[0])], FACTS, "001_a.sql is applied, but no longer in migrations_dir"),
        (FILES, [row(FILES[0]), row(FILES[2])], FACTS, "002_b.sql is new, but its version is below the newest applied"),
    ],
)
def test_what_does_not_fit_is_refused(
    migrations: list[Migration], ledger: list[LedgerRow], facts: Facts, message: str
) -> None:
    with pytest.raises(PhaseError, match=re.escape(message)) as caught:
        _migrations.pending(migrations, ledger, facts)
    assert "stack_fresh: true" in caught.value.message.splitlines()[0]


def test_another_set_of_files_is_called_so() -> None:
    theirs = [row(FILES[0], version=version, checksum="feed") for version in range(1, 6)]
    with pytest.raises(PhaseError, match=r"migrated from other files: none of the 5 .* set migrations_dir"):
        _migrations.pending(FILES, theirs, FACTS)


def test_every_problem_is_named() -> None:
    with pytest.raises(PhaseError) as caught:
        _migrations.pending(FILES[1:], [row(FILES[0]), row(FILES[2], checksum="feed")], FACTS)
    lines = caught.value.message.splitlines()
    assert len(lines) == 3
    assert "1000_c.sql" in lines[0]
    assert "001_a.sql" in lines[1]
    assert "002_b.sql" in lines[2]
