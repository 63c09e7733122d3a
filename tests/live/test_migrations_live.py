# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Migrations and schema against a real PostgreSQL.

The server listens on 127.0.0.1:$KUBERNAUT_TEST_POSTGRES_PORT; user slm_user (password in
$KUBERNAUT_TEST_POSTGRES_PASSWORD) may create databases and has a database action_history. Each test has a database
of its own.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from ansible_collections.kubernaut.integration.plugins.module_utils import _migrations, _schema
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import Context, PhaseError


def connection(database: str) -> psycopg.Connection[Any]:
    """Connect to the server under test; a missing variable fails the test."""
    return psycopg.connect(
        host="127.0.0.1",
        port=int(os.environ["KUBERNAUT_TEST_POSTGRES_PORT"]),
        user="slm_user",
        password=os.environ["KUBERNAUT_TEST_POSTGRES_PASSWORD"],
        dbname=database,
        autocommit=True,
    )


class Database:
    """A database of one test, and a directory of migrations for it."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.directory = directory

    def write(self, **files: str) -> None:
        """Write migrations; ``_001_a`` stands for ``001_a.sql``."""
        for name, text in files.items():
            (self.directory / (name[1:] + ".sql")).write_text(text, encoding="utf-8")

    def options(self, **changes: Any) -> dict[str, Any]:
        spec = {**_migrations.PHASE.argument_spec, **_schema.PHASE.argument_spec}
        return {
            **{name: option.get("default") for name, option in spec.items()},
            "postgres_port": int(os.environ["KUBERNAUT_TEST_POSTGRES_PORT"]),
            "postgres_password": os.environ["KUBERNAUT_TEST_POSTGRES_PASSWORD"],
            "postgres_database": self.name,
            "directory": str(self.directory),
            "lock_timeout": 0.3,
            **changes,
        }

    def migrate(self, check: bool = False, **changes: Any) -> dict[str, Any]:
        return _migrations.run(self.options(**changes), Context(check=check, diff=True))

    def refused(self, **changes: Any) -> PhaseError:
        with pytest.raises(PhaseError) as caught:
            self.migrate(**changes)
        return caught.value

    def info(self, **changes: Any) -> dict[str, Any]:
        return _schema.run(self.options(**changes), Context())

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        with connection(self.name) as asking:
            cursor = asking.execute(query.encode())
            return cursor.fetchall() if cursor.description else []


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    name = "migrations_" + uuid.uuid4().hex[:12]
    with connection("action_history") as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield Database(name, tmp_path)
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def applied(result: dict[str, Any]) -> list[int]:
    return [entry["version"] for entry in result["applied"]]


def test_fresh_then_no_op(db: Database) -> None:
    db.write(_001_a="CREATE TABLE a ();", _1000_z="DROP TABLE b;", _022_b="CREATE TABLE b ();")
    plan = db.migrate(check=True)
    assert [entry["version"] for entry in plan["pending"]] == [1, 22, 1000]
    assert plan["changed"]
    assert db.info()["ledger"] == []

    first = db.migrate()
    assert applied(first) == [1, 22, 1000]
    assert first["changed"]
    assert (first["already"], first["pending"]) == (0, [])
    assert first["diff"]["before"] == ""
    assert first["diff"]["after"] == "001_a.sql\n022_b.sql\n1000_z.sql\n"
    assert [row["dirty"] for row in first["ledger"]] == [False] * 3

    again = db.migrate()
    assert not again["changed"]
    assert (again["applied"], again["already"], again["ledger"]) == ([], 3, first["ledger"])
    assert not db.migrate(check=True)["changed"]
    assert db.info(required_tables=["a"])["tables"] == ["a"]


def test_new_files_are_added_at_the_end(db: Database) -> None:
    db.write(_001_a="CREATE TABLE a ();")
    db.migrate()
    db.write(_002_b="ALTER TABLE a ADD b int;")
    result = db.migrate()
    assert (applied(result), result["already"]) == ([2], 1)


def test_changed_removed_and_inserted_files_are_refused(db: Database) -> None:
    db.write(_001_a="CREATE TABLE a ();", _003_c="CREATE TABLE c ();", _005_e="CREATE TABLE e ();")
    db.migrate()
    db.write(_001_a="CREATE TABLE changed ();", _004_d="CREATE TABLE d ();")
    (db.directory / "003_c.sql").unlink()
    message = db.refused().message
    assert "001_a.sql is applied, but changed since" in message
    assert "003_c.sql is applied, but no longer in migrations_dir" in message
    assert "004_d.sql is new, but its version is below" in message
    assert db.info()["tables"] == ["a", "c", "e"]


def test_syntax_error_in_file_3_of_5(db: Database) -> None:
    broken = "-- +goose Up\r\n-- é\r\nCREATE TABLE c1 ();\r\n\r\nCREATE TABLE\r\n   c2 (é int,, b int);\r\n"
    db.write(
        _001_a="CREATE TABLE a ();",
        _002_b="CREATE TABLE b ();",
        _003_c=broken,
        _004_d="CREATE TABLE d ();",
        _005_e="CREATE TABLE e ();",
    )
    (db.directory / "003_c.sql").write_bytes(broken.encode())
    error = db.refused()
    failure = error.result["failure"]
    assert (failure["name"], failure["line"], failure["column"], failure["sqlstate"]) == ("003_c.sql", 6, 14, "42601")
    assert "Migration 003_c.sql failed at line 6, column 14: syntax error" in error.message.splitlines()[0]
    assert error.result["changed"]
    assert [entry["version"] for entry in error.result["applied"]] == [1, 2]
    assert [entry["version"] for entry in error.result["pending"]] == [3, 4, 5]
    assert db.info()["tables"] == ["a", "b"]

    db.write(_003_c="CREATE TABLE c ();")
    assert applied(db.migrate()) == [3, 4, 5]


def test_errors_without_a_position_name_their_statement(db: Database) -> None:
    db.write(_001_a="CREATE TABLE a (i int PRIMARY KEY);\n\n-- twice\nINSERT INTO a VALUES (1),\n  (1);\nSELECT 1;")
    error = db.refused()
    failure = error.result["failure"]
    assert (failure["line"], failure["statement"]) == (4, "INSERT INTO a VALUES (1),")
    assert not error.result["changed"]
    assert (failure["sqlstate"], failure["detail"]) == ("23505", "Key (i)=(1) already exists.")
    assert db.info()["tables"] == []


def test_positions_are_those_of_the_file(db: Database) -> None:
    db.write(_001_a="\ufeff-- +goose Up\nCREATE TABLE a ();\n\nSELECT 'é',\n  nope FROM a;\n-- +goose Down\n")
    failure = db.refused().result["failure"]
    assert (failure["line"], failure["column"], failure["sqlstate"]) == (5, 3, "42703")
    assert failure["statement"] == "SELECT 'é',"


def test_constraints_that_fail_at_commit(db: Database) -> None:
    db.write(
        _001_a="CREATE TABLE a (i int PRIMARY KEY, j int REFERENCES a DEFERRABLE INITIALLY DEFERRED);\n"
        "INSERT INTO a VALUES (1, 2);"
    )
    failure = db.refused().result["failure"]
    assert (failure["line"], failure["sqlstate"]) == (None, "23503")
    assert db.info()["ledger"] == []


def test_stray_commit_and_concurrently(db: Database) -> None:
    db.write(
        _006_a="CREATE TABLE a (i int);\nCREATE INDEX CONCURRENTLY i ON a (i);\n\nCOMMIT;\n",
        _007_b="CREATE TABLE b ();",
    )
    result = db.migrate()
    assert [entry["transactional"] for entry in result["applied"]] == [False, True]
    assert result["applied"][0]["warnings"] == [
        {"severity": "WARNING", "message": "there is no transaction in progress", "line": 4}
    ]
    assert not db.migrate()["changed"]


def test_a_file_with_its_own_transaction(db: Database) -> None:
    db.write(_001_a="BEGIN;\nCREATE TABLE a ();\nCOMMIT;\n")
    assert applied(db.migrate()) == [1]
    db.write(_002_b="COMMIT;\nBEGIN;\nCREATE TABLE b ();\n")
    error = db.refused()
    assert "002_b.sql begins a transaction that it never ends" in error.message
    assert db.info()["tables"] == ["a"]
    assert "002_b.sql was begun at" in db.refused().message


def test_a_dirty_migration_is_explained(db: Database) -> None:
    db.write(_001_a="CREATE TABLE a (i int);\nVACUUM a;\nSELECT 1/0;\n")
    error = db.refused()
    assert error.result["changed"]
    assert error.result["failure"]["line"] == 3
    assert "the ledger calls it dirty" in error.message
    assert db.info()["ledger"][0]["dirty"]
    again = db.refused()
    assert "Migration 001_a.sql was begun at" in again.message
    assert "stack_fresh: true" in again.message


def test_without_the_parser(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pglast", None)
    db.write(_001_a="CREATE TABLE a (i int);\nCREATE FUNCTION f() RETURNS text LANGUAGE sql AS $$ SELECT ';'; $$;")
    assert applied(db.migrate()) == [1]
    db.write(_002_b="CREATE TABLE b ();\nCREATE INDEX CONCURRENTLY i ON a (i);")
    error = db.refused()
    assert error.result["failure"]["sqlstate"] == "25001"
    assert "needs pglast on the controller" in error.message
    assert db.info()["tables"] == ["a"]
    # The one thing that PostgreSQL lets pass: a COMMIT half-way ends the transaction that holds the ledger row.
    db.write(_002_b="CREATE TABLE b ();\nCOMMIT;\nCREATE TABLE c ();")
    assert "002_b.sql ends its own transaction" in db.refused().message
    assert db.info()["ledger"][1]["dirty"]


def test_what_a_commit_kept_is_not_called_rolled_back(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pglast", None)
    db.write(_001_a="CREATE TABLE a ();\nCOMMIT;\nSELECT 1/0;")
    error = db.refused()
    assert "the ledger calls it dirty" in error.message
    assert error.result["changed"]
    assert [row["dirty"] for row in db.info()["ledger"]] == [True]


def test_rollback_without_the_parser_leaves_a_dirty_row(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pglast", None)
    db.write(_001_a="CREATE TABLE a ();\nROLLBACK;\nCREATE TABLE b ();")
    assert "001_a.sql ends its own transaction" in db.refused().message
    assert [row["dirty"] for row in db.info()["ledger"]] == [True]


def test_dollar_quotes_percents_and_placeholders(db: Database) -> None:
    db.write(
        _001_a="CREATE FUNCTION f() RETURNS text LANGUAGE plpgsql AS $body$\nBEGIN\n  -- it's; fine\n"
        "  RETURN '%s 100% %(x)s; é';\nEND;\n$body$;\nSELECT 1 % 1;\n"
    )
    db.migrate()
    assert db.ask("SELECT f()") == [("%s 100% %(x)s; é",)]
    assert db.info(required_functions=["f"])["functions"] == ["f"]


def test_down_never_runs(db: Database) -> None:
    db.write(_001_a="-- +goose Up\nCREATE TABLE a ();\n-- +goose Down\nDROP TABLE a;\n")
    db.migrate()
    assert db.info()["tables"] == ["a"]


def test_a_file_cannot_change_the_next_ones_session(db: Database) -> None:
    db.write(
        _001_a="SELECT set_config('search_path', '', false); SET ROLE pg_monitor; CREATE TEMP TABLE t ();",
        _002_b="CREATE TEMP TABLE t (); CREATE TABLE b ();",
    )
    db.migrate()
    assert db.ask("SELECT schemaname, tableowner FROM pg_tables WHERE tablename = 'b'") == [("public", "slm_user")]


@pytest.mark.parametrize("table", ["audit_events", "goose_db_version"])
def test_a_database_that_something_else_migrated_is_refused(db: Database, table: str) -> None:
    db.ask(f"CREATE TABLE {table} ()")
    db.write(_001_a="CREATE TABLE a ();")
    error = db.refused()
    assert f"The database holds {table} but no ledger" in error.message
    assert "stack_fresh: true" in error.message
    assert db.info()["tables"] == [table]


def test_a_schema_replaced_under_its_ledger_is_noticed(db: Database) -> None:
    db.write(_001_a="CREATE TABLE a ();")
    db.migrate()
    db.ask("DROP TABLE a")
    assert "there is not one in the database" in db.refused().message
    db.ask("DROP SCHEMA public CASCADE")
    assert "Schema public was dropped after" in db.refused().message
    db.ask("CREATE SCHEMA public")
    db.ask("CREATE TABLE public.a ()")
    assert "Schema public was dropped and created again after" in db.refused().message


PARTITIONED = """
CREATE TABLE audit_events (event_date date NOT NULL) PARTITION BY RANGE (event_date);
CREATE TABLE audit_events_2025_12 PARTITION OF audit_events FOR VALUES FROM ('2025-12-01') TO ('2026-01-01');
CREATE TABLE audit_events_2026_12 PARTITION OF audit_events FOR VALUES FROM ('2026-12-01') TO ('2027-01-01');
CREATE TABLE traces (at timestamptz NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE traces_y2026m11 PARTITION OF traces FOR VALUES FROM ('2026-11-01') TO ('2026-12-01');
CREATE TABLE plain (at timestamptz);
"""


def test_holes_between_partitions_are_filled(db: Database) -> None:
    db.write(_001_a=PARTITIONED)
    db.migrate()
    request: dict[str, Any] = {"ensure_partitions": ["audit_events", "traces", "plain", "none"], "today": "2026-12-03"}
    with pytest.raises(PhaseError, match="lacks partitions") as caught:
        db.info(partitioned_tables=["audit_events"], today="2026-12-03")
    assert caught.value.result["missing"]["partitions"][0] == "audit_events for 2026-11"

    plan = db.migrate(check=True, **request)
    result = db.migrate(**request)
    assert plan["partitions"] == result["partitions"]
    assert plan["changed"]
    assert result["changed"]
    assert [part["name"] for part in result["partitions"]["audit_events"]["created"]] == [
        "audit_events_2026_11",
        "audit_events_2027_01",
        "audit_events_2027_02",
        "audit_events_2027_03",
    ]
    assert result["partitions"]["traces"]["created"][0] == {
        "name": "traces_y2026m12",
        "from": "2026-12-01",
        "to": "2027-01-01",
    }
    assert result["partitions"]["plain"] == {"state": "not_partitioned_by_date", "created": []}
    assert result["partitions"]["none"] == {"state": "absent", "created": []}
    assert not db.migrate(**request)["changed"]
    found = db.info(partitioned_tables=["audit_events", "traces"], today="2026-12-03")
    assert len(found["partitions"]["audit_events"]) == 6
    assert found["tables"] == ["audit_events", "plain", "traces"]
    db.ask("INSERT INTO audit_events VALUES ('2026-11-26'), ('2027-03-31')")


def test_a_partition_that_overlaps_is_named(db: Database) -> None:
    db.write(
        _001_a="CREATE TABLE audit_events (d date NOT NULL) PARTITION BY RANGE (d);\n"
        "CREATE TABLE odd PARTITION OF audit_events FOR VALUES FROM ('2026-11-10') TO ('2026-11-20');"
    )
    error = db.refused(ensure_partitions=["audit_events"], today="2026-11-23")
    assert 'would overlap partition "odd"' in error.message
    assert applied(error.result) == [1]
    assert error.result["changed"]


def test_the_locks_holder_is_named(db: Database) -> None:
    db.write(_001_a="CREATE TABLE a ();")
    with psycopg.connect(
        host="127.0.0.1",
        port=int(os.environ["KUBERNAUT_TEST_POSTGRES_PORT"]),
        user="slm_user",
        password=os.environ["KUBERNAUT_TEST_POSTGRES_PASSWORD"],
        dbname=db.name,
        application_name="the other run",
    ) as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", (_migrations.LOCK_KEY,))
        message = db.refused().message
        assert f"server process {holder.info.backend_pid}, application 'the other run', connected since 2" in message
        # A plan needs no lock.
        assert db.migrate(check=True)["changed"]
    assert applied(db.migrate()) == [1]


def test_two_runs_at_once_apply_everything_once(db: Database) -> None:
    db.write(
        _001_a="CREATE TABLE a (i int);\nCREATE INDEX CONCURRENTLY i ON a (i);\nSELECT pg_sleep(0.3);",
        _002_b="INSERT INTO a VALUES (1);",
    )
    counts: list[int] = []
    threads = [
        threading.Thread(target=lambda: counts.append(len(db.migrate(lock_timeout=20.0)["applied"])))
        for _again in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(counts) == [0, 0, 2]
    assert db.ask("SELECT count(*) FROM a") == [(1,)]


def test_the_gate_names_what_is_missing(db: Database) -> None:
    with pytest.raises(PhaseError) as caught:
        db.info(required_tables=["audit_events"], required_functions=["f"], required_extensions=["pgcrypto", "plpgsql"])
    assert caught.value.result["missing"] == {
        "tables": ["audit_events"],
        "functions": ["f"],
        "extensions": ["pgcrypto"],
    }
    assert "missing tables: audit_events" in caught.value.message


def test_an_absent_server_is_a_plan_in_check_mode_only(db: Database) -> None:
    db.write(_001_a="CREATE TABLE a ();")
    plan = db.migrate(check=True, postgres_port=1)
    assert (plan["database"], plan["changed"], len(plan["pending"])) == ("absent", True, 1)
    assert "Nothing answers as PostgreSQL at 127.0.0.1:1" in db.refused(postgres_port=1).message
    assert _schema.run(db.options(postgres_port=1), Context(check=True))["database"] == "absent"


def test_a_wrong_password_is_no_absent_server(db: Database) -> None:
    db.write(_001_a="CREATE TABLE a ();")
    for check in (True, False):
        error = db.refused(check=check, postgres_password="wrong")
        assert "does not let user slm_user into database" in error.message


def test_a_killed_session_leaves_nothing_half_done(db: Database) -> None:
    db.write(_001_a="CREATE TABLE a ();", _002_b="CREATE TABLE b ();\nSELECT pg_sleep(30);")

    def kill() -> None:
        query = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
            " AND query LIKE '%pg_sleep(30)%' AND pid <> pg_backend_pid()"
        )
        for _again in range(100):
            time.sleep(0.1)
            if db.ask(query):
                return

    killer = threading.Thread(target=kill)
    killer.start()
    error = db.refused()
    killer.join()
    assert error.result["failure"]["sqlstate"] == "57P01"
    assert error.result["failure"]["line"] == 2
    assert db.info()["tables"] == ["a"]
