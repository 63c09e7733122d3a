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
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from ansible_collections.kubernaut.integration.plugins.module_utils import _migrations, _partitions, _schema, _sql_files
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import Context, PhaseError
from ansible_collections.kubernaut.integration.tests.live import corpus


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


def test_removed_and_inserted_files_are_allowed_on_demand(db: Database) -> None:
    db.write(_001_a="CREATE TABLE a ();", _003_c="CREATE TABLE c ();")
    db.migrate()
    (db.directory / "001_a.sql").unlink()
    db.write(_002_b="CREATE TABLE b ();", _004_d="CREATE TABLE d ();")
    allowed: dict[str, bool] = {"allow_removed": True, "allow_inserted": True}
    for name in allowed:
        error = db.refused(**{name: True})
        assert error.cause == "migration-changed"
    assert applied(db.migrate(**allowed)) == [2, 4]
    assert not db.migrate(**allowed)["changed"]
    assert [row["version"] for row in db.info()["ledger"]] == [1, 2, 3, 4]


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


@pytest.mark.parametrize("table", ["audit_events", "resource_action_traces", "goose_db_version"])
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


def test_a_later_migration_that_meets_a_partition_of_ours_is_advised(db: Database) -> None:
    """Upstream's own later partitions have other names than the ones before, after which ours are called."""
    db.write(
        _001_a="CREATE TABLE traces (d date NOT NULL) PARTITION BY RANGE (d);\n"
        "CREATE TABLE traces_y2026m01 PARTITION OF traces FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');"
    )
    db.migrate(ensure_partitions=["traces"], today="2026-01-23")
    db.write(
        _002_b="CREATE TABLE IF NOT EXISTS traces_2026_02 PARTITION OF traces"
        " FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');"
    )
    message = db.refused().message.splitlines()[0]
    assert 'would overlap partition "traces_y2026m02"' in message
    assert "where migrations_ensure_partitions made the partition that is in its way, drop that, or reset" in message
    db.ask("DROP TABLE traces_y2026m02")
    assert applied(db.migrate(ensure_partitions=["traces"], today="2026-01-23")) == [2]


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
    first, *others = caught.value.message.splitlines()
    assert "missing tables: audit_events" in others
    # Files of another generation were applied, or a table is gone: applying the same ones again would help neither.
    assert "name the right migrations (migrations_dir, stack_contract) and reset the database" in first


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


# --------------------------------------------------------------------------------------------------------------- limits


def test_a_statement_that_takes_too_long_is_ended(db: Database) -> None:
    db.write(_001_a="CREATE TABLE a ();\nSELECT pg_sleep(20);")
    error = db.refused(statement_timeout=0.2)
    assert error.cause == "migration-timeout"
    assert "raise migrations_statement_timeout, and run again" in error.message.splitlines()[0]
    assert error.result["failure"]["line"] == 2
    assert db.info()["tables"] == []


def test_who_holds_a_table_is_named(db: Database) -> None:
    db.write(_001_a="CREATE TABLE a (i int);", _002_b="SELECT 1;\nALTER TABLE a ADD j int;")
    db.migrate(files=[{"name": "001_a.sql", "text": "CREATE TABLE a (i int);"}])
    with connection(db.name) as holder, holder.transaction():
        holder.execute("SET application_name TO 'a suite'")
        holder.execute("LOCK TABLE a")
        error = db.refused(table_lock_timeout=0.2)
        lines = error.message.splitlines()
        assert error.cause == "migration-blocked"
        assert "at line 2, column 1: canceling statement due to lock timeout" in lines[0]
        assert "raise migrations_table_lock_timeout" in lines[0]
        assert lines[-1].startswith(
            f"in a transaction: server process {holder.info.backend_pid}, application 'a suite', since 2"
        )
    assert applied(db.migrate()) == [2]


def test_who_holds_a_partitioned_table_is_no_fault_of_its_partitions(db: Database) -> None:
    db.write(_001_a="CREATE TABLE audit_events (d date NOT NULL) PARTITION BY RANGE (d);")
    db.migrate()
    with connection(db.name) as holder, holder.transaction():
        holder.execute("LOCK TABLE audit_events")
        error = db.refused(table_lock_timeout=0.2, ensure_partitions=["audit_events"])
    assert error.cause == "migration-blocked"
    assert db.migrate(ensure_partitions=["audit_events"])["changed"]


def test_limits_are_numbers_of_seconds(db: Database) -> None:
    db.write(_001_a="CREATE TABLE a ();")
    assert "statement_timeout is -1" in db.refused(statement_timeout=-1.0).message
    for number in (float("nan"), float("inf"), 1e9):
        assert "table_lock_timeout is" in db.refused(table_lock_timeout=number).message
    db.write(_002_b="SELECT pg_sleep(1);")
    # Next to nothing is no limit of 0, which would be none.
    assert db.refused(statement_timeout=0.0001).cause == "migration-timeout"


def test_what_the_server_says_is_bounded(db: Database) -> None:
    db.write(
        _001_a="SELECT 1;\nDO $$ BEGIN FOR i IN 1..50 LOOP RAISE NOTICE '%', repeat('x', 1000); END LOOP; END $$;",
        _002_b="DO $$ BEGIN RAISE WARNING 'careful'; END $$;",
    )
    first, second = db.migrate()["applied"]
    assert (len(first["notices"]), first["omitted"]) == (20, 30)
    assert first["notices"][0] == {"severity": "NOTICE", "message": "x" * 500 + " ...", "line": None}
    assert second["warnings"] == [{"severity": "WARNING", "message": "careful", "line": None}]


def test_copies_without_the_parser_are_named(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pglast", None)
    db.write(_001_a="CREATE TABLE a (i int);\nCOPY a FROM stdin;\n")
    error = db.refused()
    assert (error.cause, "COPY from or to psql itself" in error.message) == ("migration-sql", True)
    assert db.info()["tables"] == []


def test_a_role_that_is_missing_is_explained(db: Database) -> None:
    db.write(_001_a="CREATE TABLE a ();\nGRANT SELECT ON a TO somebody_else;")
    error = db.refused()
    assert "files that name a role need it: set postgres_user to it, or create it" in error.message.splitlines()[0]
    assert error.result["failure"]["line"] == 2


def test_who_may_not_make_a_ledger_is_told_so(db: Database) -> None:
    name = db.name.replace("migrations", "guest")
    db.write(_001_a="CREATE TABLE a ();")
    with connection(db.name) as admin:
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'guest'").format(sql.Identifier(name)))
        try:
            error = db.refused(postgres_user=name, postgres_password="guest")
        finally:
            admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))
    assert error.cause == "migration-permission"
    assert f"User {name} may not keep the ledger in database {db.name}" in error.message


@pytest.mark.parametrize("vacuum", ["", "VACUUM;"])
def test_a_file_that_gives_the_lock_away_is_refused(db: Database, vacuum: str) -> None:
    """Another run could apply it at the same time."""
    db.write(_001_a=f"CREATE TABLE a (i int);{vacuum}SELECT pg_advisory_unlock_all();")
    error = db.refused()
    assert (error.cause, "001_a.sql gives away the lock" in error.message) == ("migration-sql", True)
    assert ("run again" if not vacuum else "stack_fresh: true") in error.message
    assert db.info()["tables"] == (["a"] if vacuum else [])
    assert [row["dirty"] for row in db.info()["ledger"]] == ([True] if vacuum else [])


def test_a_file_that_removes_its_own_row_is_refused(db: Database) -> None:
    db.write(_001_a="CREATE TABLE a (); DELETE FROM kubernaut_integration.migrations;")
    error = db.refused()
    assert "001_a.sql removes its own row from the ledger" in error.message
    assert not error.result["changed"]
    assert (db.info()["tables"], db.info()["ledger"]) == ([], [])


def test_what_fails_at_the_commit_has_no_line(db: Database) -> None:
    db.write(
        _001_a="CREATE TABLE a (i int PRIMARY KEY);\n"
        "CREATE TABLE b (i int REFERENCES a DEFERRABLE INITIALLY DEFERRED);\nINSERT INTO b VALUES (1);  -- none"
    )
    error = db.refused()
    assert error.message.startswith("Migration 001_a.sql failed: insert or update on table")
    assert (error.result["failure"]["line"], error.result["failure"]["sqlstate"]) == (None, "23503")
    assert db.info()["tables"] == []


def test_what_could_not_even_be_read_left_nothing_behind(db: Database) -> None:
    db.write(_001_a="-- +goose Up\n-- +goose NO TRANSACTION\nCREATE TABLE a (i int);\nCREATE TALBE b ();")
    error = db.refused()
    assert "It was rolled back" in error.message
    assert not error.result["changed"]
    assert db.info()["ledger"] == []
    db.write(_001_a="-- +goose Up\n-- +goose NO TRANSACTION\nCREATE TABLE a (i int);\nCREATE TABLE b ();")
    assert applied(db.migrate()) == [1]


@pytest.mark.parametrize(
    "text",
    [
        "-- +goose Up\n-- +goose NO TRANSACTION\nDO $$ BEGIN CREATE TABLE a (i int); INSERT INTO a VALUES (1); COMMIT;"
        " EXECUTE 'CREATE TABEL b ()'; END $$;",
        "-- +goose Up\n-- +goose NO TRANSACTION\nCALL committing();",
    ],
)
def test_a_syntax_error_behind_a_commit_leaves_the_file_dirty(db: Database, text: str) -> None:
    """It was taken for one that the server's parser found, so the corrected file did everything once more."""
    db.write(
        _001_p="CREATE PROCEDURE committing() LANGUAGE plpgsql AS $$ BEGIN CREATE TABLE a (i int); COMMIT;"
        " RAISE syntax_error; END $$;",
        _002_x=text,
    )
    with pytest.raises(PhaseError) as failure:
        db.migrate()
    assert failure.value.result["changed"]
    with pytest.raises(PhaseError) as failure:
        db.migrate()
    assert failure.value.cause == "migration-dirty"


def test_cursors_and_sequences_are_not_the_next_files(db: Database) -> None:
    hold = "CREATE SEQUENCE IF NOT EXISTS s; SELECT nextval('s'); DECLARE c CURSOR WITH HOLD FOR SELECT 1;"
    db.write(_001_a=hold, _002_b=hold + " LISTEN x;")
    assert len(db.migrate()["applied"]) == 2


def test_what_the_server_said_before_a_failure_is_returned(db: Database) -> None:
    db.write(_001_a="DO $$ BEGIN RAISE WARNING 'mind the step'; END $$;\nSELECT 1 / 0;")
    with pytest.raises(PhaseError) as failure:
        db.migrate()
    assert [note["message"] for note in failure.value.result["failure"]["notices"]] == ["mind the step"]


def test_a_ledger_where_suites_drop_everything_is_refused(db: Database) -> None:
    db.write(_001_a="SELECT 1;")
    with pytest.raises(PhaseError, match="ledger_schema is public"):
        db.migrate(ledger_schema="public")


def test_a_ledger_of_before_is_continued(db: Database) -> None:
    db.write(_001_a="CREATE TABLE a ();")
    db.migrate()
    db.ask("ALTER TABLE kubernaut_integration.migrations DROP COLUMN goose")
    assert not db.migrate()["changed"]
    db.write(_002_b="CREATE TABLE b ();")
    assert applied(db.migrate()) == [2]
    assert [row["goose"] for row in db.info()["ledger"]] == [False, False]


# ---------------------------------------------------------------------------------------------------------------- goose

GOOSE = """
CREATE TABLE goose_db_version (id serial PRIMARY KEY, version_id bigint NOT NULL, is_applied boolean NOT NULL,
                               tstamp timestamp DEFAULT now());
INSERT INTO goose_db_version (version_id, is_applied, tstamp)
VALUES (0, true, '2026-01-02'), (1, true, '2026-01-02 03:04:05.678'), (2, true, '2026-01-03'), (2, false, '2026-01-04');
CREATE TABLE audit_events ();
"""
ANNOTATED = {
    "_001_a": "-- +goose Up\nCREATE TABLE audit_events ();",
    "_002_b": "-- +goose Up\nCREATE TABLE b ();",
    "_003_c": "-- +goose Up\nCREATE TABLE c ();",
}


def goose_versions(db: Database) -> list[tuple[Any, ...]]:
    return db.ask("SELECT version_id, is_applied FROM goose_db_version ORDER BY id")


def test_a_database_of_gooses_is_continued(db: Database) -> None:
    """Version 2 was rolled back, says its newest row."""
    db.ask(GOOSE)
    db.write(**ANNOTATED)
    planned = db.migrate(check=True)
    assert [entry["name"] for entry in planned["adopted"]] == ["001_a.sql"]
    assert [entry["version"] for entry in planned["pending"]] == [2, 3]
    result = db.migrate()
    assert (result["adopted"], applied(result)) == (planned["adopted"], [2, 3])
    assert result["diff"]["before"] == ""
    assert result["diff"]["after"] == "001_a.sql\n002_b.sql\n003_c.sql\n"
    assert "does not have versions 2, 3" in result["warnings"][0]
    assert "migrations_goose_table: true" in result["warnings"][0]
    assert len(goose_versions(db)) == 4
    first = result["ledger"][0]
    assert (first["tool"], first["applied_at"], first["goose"]) == ("goose", "2026-01-02T03:04:05.678Z", True)
    assert first["checksum"] == result["adopted"][0]["checksum"]
    again = db.migrate()
    assert (again["changed"], again["warnings"]) == (False, result["warnings"])
    db.write(_001_a="-- +goose Up\nCREATE TABLE changed ();")
    assert "001_a.sql is applied, but changed since" in db.refused().message


def test_what_goose_may_have_applied_instead_is_said(db: Database) -> None:
    """Its table has no names: of releases that number their files otherwise, a wrong one is adopted."""
    db.ask(GOOSE)
    db.write(**{**ANNOTATED, "_002_b": "CREATE TABLE audit_events ();"})
    note = "\ngoose_db_version knows the versions that goose applied, not their files: if it applied others than those"
    # In the run that adopts, and in those after it.
    for applied_before in (0, 1):
        error = db.refused()
        assert error.result["already"] == applied_before
        assert note in error.message
    db.write(_002_b="SET statement_timeout TO 1; SELECT pg_sleep(1);")
    assert note not in db.refused().message


def test_gooses_table_is_written_on_demand(db: Database) -> None:
    db.write(**ANNOTATED)
    db.migrate(files=[{"name": "001_a.sql", "text": ANNOTATED["_001_a"]}])
    assert "goose_db_version" not in db.info()["tables"]
    result = db.migrate(goose_table=True)
    assert applied(result) == [2, 3]
    assert goose_versions(db) == [(0, True), (1, True), (2, True), (3, True)]
    assert [row["goose"] for row in result["ledger"]] == [True] * 3
    assert not db.migrate(goose_table=True)["changed"]
    # And that is now a fact, whatever the option says.
    assert "warnings" not in db.migrate()
    db.ask("DELETE FROM goose_db_version WHERE version_id = 3")
    for option in (True, False):
        error = db.refused(goose_table=option)
        assert (error.cause, "003_c.sql is in the ledger, but no longer in" in error.message) == (
            "migration-goose",
            True,
        )


def test_gooses_row_is_in_the_transaction_of_its_file(db: Database) -> None:
    db.write(**ANNOTATED, _004_d="CREATE TABLE d (i int);\nVACUUM d;", _005_e="SELECT 1/0;")
    db.refused(goose_table=True)
    assert goose_versions(db)[-1] == (4, True)
    db.write(_005_e="VACUUM d;\nSELECT 1/0;")
    db.refused(goose_table=True)
    assert goose_versions(db)[-1] == (4, True)


# ----------------------------------------------------------------------------------------------------------- partitions


@pytest.fixture
def auckland(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A controller in a zone whose date is mostly another one than that of UTC."""
    for variable in ("TZ", "PGTZ"):
        monkeypatch.setenv(variable, "Pacific/Auckland")
    monkeypatch.setenv("PGDATESTYLE", "SQL, DMY")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


#: The tables of v0 that are partitioned by month, with upstream's names and bounds.
BY_MONTH = """
CREATE TABLE audit_events (id int, event_date date NOT NULL) PARTITION BY RANGE (event_date);
CREATE TABLE audit_events_2025_11 PARTITION OF audit_events FOR VALUES FROM ('2025-11-01') TO ('2025-12-01');
CREATE TABLE audit_events_2026_02 PARTITION OF audit_events FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
CREATE TABLE resource_action_traces (id int, action_timestamp timestamptz NOT NULL)
    PARTITION BY RANGE (action_timestamp);
CREATE TABLE resource_action_traces_y2026m02
    PARTITION OF resource_action_traces FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
"""
TABLES = ["audit_events", "resource_action_traces"]


@pytest.mark.usefixtures("auckland")
@pytest.mark.parametrize("today", ["2025-12-01", "2026-01-01", "2028-02-29", "2026-11-30", "2027-07-15"])
def test_partitions_are_right_on_bad_days(db: Database, today: str) -> None:
    """The days on which months are miscounted, and ones long after the database was made."""
    db.write(_001_a=BY_MONTH)
    db.migrate(ensure_partitions=TABLES, today=today)
    found = db.info(partitioned_tables=TABLES, today=today)
    assert not db.migrate(ensure_partitions=TABLES, today=today)["changed"]
    first, last = date.fromisoformat(today) - _partitions.PAST, _partitions.needed_months(date.fromisoformat(today))[-1]
    for moment in (f"{first} 00:00:00", f"{today} 00:00:00", f"{today} 23:59:59.9", f"{last} 23:59:59.9"):
        with connection(db.name) as writing:
            writing.execute("INSERT INTO audit_events VALUES (1, %s)", (moment[:10],))
            writing.execute("INSERT INTO resource_action_traces VALUES (1, %s)", (moment + "+00",))
    with connection(db.name) as reading:
        reading.execute("SET TimeZone TO 'UTC'")
        reading.execute("SET datestyle TO 'ISO'")
        bounds = reading.execute(
            "SELECT relname, pg_get_expr(relpartbound, oid) FROM pg_class WHERE relispartition AND relkind = 'r'"
        ).fetchall()
    assert len(bounds) == sum(map(len, found["partitions"].values()))
    known = {part["name"]: part for parts in found["partitions"].values() for part in parts}
    for name, written in bounds:
        begin, end = known[name]["from"], known[name]["to"]
        stem, clock = ("audit_events_", "") if name.startswith("audit") else ("resource_action_traces_", " 00:00:00+00")
        year, month, _day = begin.split("-")
        assert name == stem + (f"y{year}m{month}" if clock else f"{year}_{month}")
        assert written == f"FOR VALUES FROM ('{begin}{clock}') TO ('{end}{clock}')"


@pytest.mark.usefixtures("auckland")
def test_the_default_date_is_that_of_utc(db: Database) -> None:
    db.write(_001_a=BY_MONTH)
    now = datetime.now(UTC).date()
    created = db.migrate(ensure_partitions=TABLES)["partitions"]["audit_events"]["created"]
    assert [part["from"] for part in created][-1] == str(_partitions.needed_months(now, _partitions.LEEWAY)[-1])
    db.info(partitioned_tables=TABLES)


def test_clocks_that_disagree_are_named(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Midnight may pass between two looks at a clock; two days are no midnight."""

    class Clock(datetime):
        """One that is fast."""

        shift = 0.0

        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.fromtimestamp(time.time() + cls.shift, tz)

    db.write(_001_a=BY_MONTH)
    monkeypatch.setattr(_partitions, "datetime", Clock)
    Clock.shift = 2.5 * 86400
    error = db.refused(ensure_partitions=TABLES)
    assert (error.cause, "by PostgreSQL's clock and" in error.message) == ("clock-skew", True)
    with pytest.raises(PhaseError, match="clock"):
        db.info(partitioned_tables=TABLES)
    Clock.shift = 86400 - time.time() % 86400 + 1  # tomorrow, just so
    db.migrate(ensure_partitions=TABLES)
    db.info(partitioned_tables=TABLES, today=str(Clock.now(UTC).date()))


# ------------------------------------------------------------------------------------------------------------- the gate


def test_columns_are_listed_with_their_types(db: Database) -> None:
    db.write(_001_a=BY_MONTH + 'CREATE TABLE n ("A b" varchar(50), c int[]); ALTER TABLE n DROP c;')
    db.migrate()
    columns = db.info()["columns"]
    assert columns == {
        "audit_events": {"id": "integer", "event_date": "date"},
        "n": {"A b": "character varying(50)"},
        "resource_action_traces": {"id": "integer", "action_timestamp": "timestamp with time zone"},
    }


def test_tables_of_another_generation_are_named(db: Database) -> None:
    db.write(_001_a=BY_MONTH)
    db.migrate()
    assert db.info(absent_tables=["remediation_workflow_catalog"])["unwanted"] == []
    with pytest.raises(PhaseError) as caught:
        db.info(absent_tables=["remediation_workflow_catalog", "resource_action_traces"])
    assert caught.value.cause == "schema-generation"
    assert caught.value.result["unwanted"] == ["resource_action_traces"]
    assert "has resource_action_traces, which" in caught.value.message


# ----------------------------------------------------------------------------------------------------------- real input


def state(db: Database) -> dict[str, Any]:
    """Return everything in the database that a second run could have changed."""
    columns = db.info()["columns"]
    with connection(db.name) as asking:
        contents = {
            name: asking.execute(sql.SQL("SELECT t::text FROM {} t ORDER BY 1").format(sql.Identifier(name))).fetchall()
            for name in columns
        }
    return {"columns": columns, "contents": contents}


@pytest.mark.parametrize("seed", range(4))
def test_files_like_upstreams_apply_and_are_not_applied_again(db: Database, seed: int) -> None:
    corpus.write(db.directory, corpus.upstream_like(seed))
    first = db.migrate(ensure_partitions=["audit_events", "traces"])
    assert applied(first) == [1, 2, 3, 4, 6, 11, 12, 13, 14, 17, 18, 19, 22, 1000]
    assert [entry["version"] for entry in first["applied"] if not entry["transactional"]] == [6]
    assert [note["message"] for note in first["applied"][4]["warnings"]] == ["there is no transaction in progress"]
    db.ask("INSERT INTO traces (at, signal) VALUES ('2025-08-06', 'somebody''s')")
    before = state(db)
    again = db.migrate(ensure_partitions=["audit_events", "traces"])
    assert (again["changed"], again["applied"], again["ledger"]) == (False, [], first["ledger"])
    assert state(db) == before
    assert len(before["contents"]["traces"]) == 2
    assert "audit_events_2025_11" in [part["name"] for part in db.info()["partitions"]["audit_events"]]


def test_files_like_upstreams_that_grant_to_another_role_stop_at_the_first(db: Database) -> None:
    corpus.write(db.directory, corpus.upstream_like(7, role="kubernaut"))
    error = db.refused()
    assert error.result["failure"]["statement"].startswith("GRANT ALL PRIVILEGES ON ALL TABLES")
    assert "set postgres_user to it" in error.message
    assert db.info()["tables"] == []


#: Texts that a splitter, a substitution or a wrong encoding would spoil.
TEXTS = st.text(
    st.one_of(
        st.sampled_from(list("';\"\\$-/*%{}() \n\t:é€\U0001f600")),
        st.characters(exclude_characters="\0\r", exclude_categories=["Cs"]),
    ),
    max_size=12,
)


def literals(text: str) -> list[str]:
    """Return the ways to write a text in SQL."""
    tag = "t"
    while f"${tag}$" in text + "$":
        tag += "t"
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    unicode = "".join(f"\\+{ord(letter):06X}" for letter in text)
    return [
        "'" + text.replace("'", "''") + "'",
        f"E'{escaped}'",
        f"U&'{unicode}'",
        f"${tag}${text}${tag}$",
    ]


COMMENTS = st.sampled_from(["", " ", "\n", "-- it's; $$ a \"comment\n", "/* one /* ; '$$ */ two */", "/**/", "--\n\n"])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(COMMENTS, TEXTS, st.integers(0, 3), COMMENTS), min_size=1, max_size=6),
    st.booleans(),
    st.sampled_from(["\n", "\r\n"]),
)
def test_everything_reaches_the_server_byte_for_byte(
    db: Database, statements: Sequence[tuple[str, str, int, str]], whole: bool, end: str
) -> None:
    """Texts arrive as they were meant; and what the server was sent holds the file, or its statement."""
    texts = [text for _before, text, _way, _after in statements]
    body = "".join(
        f"{before};INSERT INTO got{after} SELECT {number}, {literals(text)[way]}, current_query();"
        for number, (before, text, way, after) in enumerate(statements)
    )
    text = f"-- +goose Up{end}CREATE TABLE got (n int, value text, sent text);{body}{end}"
    if not whole:
        text = text.replace("Up", f"Up{end}-- +goose NO TRANSACTION", 1)
    files = [{"name": "1_a.sql", "text": text + f"-- +goose Down{end}DROP TABLE got;"}]
    db.ask("DROP SCHEMA IF EXISTS ledger CASCADE; DROP TABLE IF EXISTS got")
    db.migrate(files=files, ledger_schema="ledger")
    got = db.ask("SELECT value, sent FROM got ORDER BY n")
    assert [value for value, _sent in got] == texts
    migration = _sql_files.split(_sql_files.parse(files)[0])
    assert migration.sql == text
    assert migration.statements is not None
    if whole:  # with the ledger's row before it and after it
        assert all(sent.count(text) == 1 for _value, sent in got)
    else:
        assert [sent for _value, sent in got] == [text[begin:end] for begin, end in migration.statements][1:]
