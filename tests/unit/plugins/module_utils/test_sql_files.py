# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files there are, and what of them runs."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.kubernaut.integration.plugins.module_utils import _sql_files
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import PhaseError
from ansible_collections.kubernaut.integration.plugins.module_utils._sql_files import Migration

ANNOTATED = "-- +goose Up\nSELECT 'up';\n-- +goose Down\nDROP TABLE down;\n"


def parsed(*files: tuple[str, str]) -> list[Migration]:
    return _sql_files.parse([{"name": name, "text": text} for name, text in files])


def cut(text: str) -> Migration:
    return _sql_files.split(parsed(("1_a.sql", text))[0])


def statements(migration: Migration) -> list[str]:
    assert migration.statements is not None
    return [migration.sql[begin:end] for begin, end in migration.statements]


# ------------------------------------------------------------------------------------------------------------ directory


def test_directory_is_not_searched_below(tmp_path: Path) -> None:
    (tmp_path / "testdata").mkdir()
    (tmp_path / "testdata" / "002_seed.sql").write_text("SELECT 2;")
    (tmp_path / "003_directory.sql").mkdir()
    (tmp_path / "001_a.sql").write_text("SELECT 1;")
    (tmp_path / ".004_hidden.sql").write_text("SELECT 4;")
    (tmp_path / "README.md").write_text("no migration")
    assert _sql_files.read_directory(str(tmp_path)) == [{"name": "001_a.sql", "text": "SELECT 1;"}]


def test_symlinks_to_files_are_followed_and_dangling_ones_named(tmp_path: Path) -> None:
    real = tmp_path / "real.txt"
    real.write_text("SELECT 1;")
    (tmp_path / "001_a.sql").symlink_to(real)
    assert _sql_files.read_directory(str(tmp_path)) == [{"name": "001_a.sql", "text": "SELECT 1;"}]
    real.unlink()
    with pytest.raises(PhaseError, match=r"^001_a\.sql in migrations_dir cannot be read: No such file"):
        _sql_files.read_directory(str(tmp_path))


def test_only_files_are_read(tmp_path: Path) -> None:
    """To open a pipe would wait until somebody writes into it."""
    os.mkfifo(tmp_path / "001_a.sql")
    with pytest.raises(PhaseError, match=r"^001_a\.sql in migrations_dir is no file"):
        _sql_files.read_directory(str(tmp_path))


@pytest.mark.parametrize(("name", "why"), [("001_a.sql", "is empty"), ("001_a.SQL", "does not end with .sql in small")])
def test_what_looks_like_a_mistake_is_refused(tmp_path: Path, name: str, why: str) -> None:
    """A copy that was broken off, and a name that the pattern would pass over."""
    (tmp_path / name).write_text("")
    with pytest.raises(PhaseError, match=re.escape(f"{name} in migrations_dir {why}")):
        _sql_files.read_directory(str(tmp_path))


@pytest.mark.parametrize("make", ["missing", "file", "empty"])
def test_directories_without_migrations_name_the_variable(tmp_path: Path, make: str) -> None:
    place = tmp_path / "migrations"
    if make == "file":
        place.write_text("")
    if make == "empty":
        place.mkdir()
    with pytest.raises(PhaseError, match=r"^migrations_dir is .*migrations, which (cannot be read|holds no)"):
        _sql_files.read_directory(str(place))


@pytest.mark.parametrize(("content", "line"), [(b"SELECT 1;\n-- caf\xe9\n", 2), ("SELECT 1;".encode("utf-16"), 1)])
def test_other_encodings_are_refused_with_their_line(tmp_path: Path, content: bytes, line: int) -> None:
    (tmp_path / "001_a.sql").write_bytes(content)
    with pytest.raises(PhaseError, match=r"^001_a\.sql in migrations_dir is not UTF-8 \(byte .* in line %d\)" % line):
        _sql_files.read_directory(str(tmp_path))


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
        # goose stumbles over these; taken for comments, they would let the Down part run.
        (
            "-- +goose Up\nSELECT 1;\n-- see +goose Down\nDROP TABLE t;",
            3,
            "unknown goose annotation `-- see +goose Down`",
        ),
        ("-- +goose Up\r--- +goose Down\rDROP TABLE t;", 2, "a line of its own"),
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
        "PREPARE TRANSACTION 'a'",
        "COMMIT PREPARED 'a'",
        "ROLLBACK PREPARED 'a'",
        "COMMIT AND CHAIN",
        "BEGIN",
        "END",
        "aBoRt",
        "vacuum(full) t",
        "REINDEX (VERBOSE) SYSTEM d",
        "REINDEX/**/TABLE/**/CONCURRENTLY t",
        "CREATE TABLESPACE s LOCATION '/tmp/s'",
        "DROP TABLESPACE s",
        "CREATE SUBSCRIPTION s CONNECTION '' PUBLICATION p",
        "DROP SUBSCRIPTION s",
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
        "DISCARD TEMP",
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


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("COPY t FROM stdin", "COPY from or to psql itself"),
        ("COPY t TO STDOUT", "COPY from or to psql itself"),
        ("DISCARD ALL", "DISCARD ALL gives away the lock"),
    ],
)
def test_what_cannot_run_at_all_is_refused(statement: str, why: str) -> None:
    with pytest.raises(PhaseError, match=f"line 2: {why}"):
        cut(f"SELECT 1;\n{statement};")


def test_copies_within_the_server_are_not() -> None:
    assert cut("COPY t FROM '/tmp/t.csv';").transactional


def test_a_syntax_error_is_left_to_the_server() -> None:
    assert cut("SELECT 1;\nSELEC 2;").statements is None


def test_without_the_parser_a_file_is_one_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pglast", None)
    migration = cut("SELECT 1; COMMIT;")
    assert migration.statements is None
    assert migration.transactional


def test_without_the_parser_no_file_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pglast", None)
    (cut,) = _sql_files.parse([{"name": "1_a.sql", "text": "-- +goose NO TRANSACTION\n-- +goose Up\nVACUUM;"}])
    with pytest.raises(PhaseError, match="takes pglast"):
        _sql_files.split(cut)


def test_files_travel_to_a_target_without_a_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "\ufeff-- +goose Up\r\nSELECT 'é';\r\nVACUUM;\r\n-- +goose Down\r\nDROP TABLE t;"
    files = _sql_files.split_files([{"name": "1_a.sql", "text": text}])
    here = cut(text)
    monkeypatch.setitem(sys.modules, "pglast", None)
    there = _sql_files.split(_sql_files.parse(files)[0])
    assert there == here
    assert statements(there) == ["SELECT 'é'", "VACUUM"]
    assert not there.transactional


@pytest.mark.parametrize(
    ("offset", "place"), [(0, (1, 1)), (1, (1, 2)), (3, (2, 1)), (5, (3, 1)), (6, (4, 1)), (7, (4, 2))]
)
def test_position(offset: int, place: tuple[int, int]) -> None:
    assert _sql_files.position("a\r\nb\n\ncd", offset) == place
