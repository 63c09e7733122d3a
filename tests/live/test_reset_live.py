# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A kept database and what is brought back from it: against a real PostgreSQL, and as a whole stack."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from psycopg import sql

from ansible_collections.kubernaut.integration.plugins.module_utils import _template
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import Context, PhaseError
from ansible_collections.kubernaut.integration.tests.live.playing import Stack, podman
from ansible_collections.kubernaut.integration.tests.live.test_migrations_live import Database, connection

#: No statement comes later; a run that is told to die there lives.
NEVER = 1000


class Reset(Database):
    """A database of one test that a template can be kept of."""

    @property
    def named(self) -> _template.Names:
        return _template.names(self.name)

    def template(self, state: str, check: bool = False, **changes: Any) -> dict[str, Any]:
        """Run the phase."""
        spec = {name: option.get("default") for name, option in _template.TEMPLATE_SPEC.items()}
        options = {**spec, **self.options(), "state": state, "lock_timeout": 10.0, **changes}
        return _template.run(options, Context(check=check))

    def named_refusal(self, state: str, cause: str, **changes: Any) -> str:
        """Run the phase, which must fail for this cause, and return what it says."""
        with pytest.raises(PhaseError) as caught:
            self.template(state, **changes)
        assert caught.value.cause == cause, caught.value.message
        return caught.value.message

    def begin(self) -> dict[str, Any]:
        """Migrate, keep, and let somebody write: one row beside the migration's own."""
        self.write(_001_a="CREATE TABLE a (i int);\nINSERT INTO a VALUES (1);")
        self.migrate()
        kept = self.template("kept", fresh=True)
        self.ask("INSERT INTO a VALUES (2)")
        return kept

    def rows(self) -> list[int]:
        return [row[0] for row in self.ask("SELECT i FROM a ORDER BY i")]

    def others(self) -> set[str]:
        """Which of the other names there are."""
        with connection("postgres") as admin:
            found = admin.execute("SELECT datname FROM pg_database WHERE datname LIKE %s", (self.name + "_%",))
            return {row[0].removeprefix(self.name) for row in found}


def drop(admin: psycopg.Connection[Any], name: str) -> None:
    """Drop a database, template or not."""
    quoted = sql.Identifier(name)
    if admin.execute("SELECT FROM pg_database WHERE datname = %s", (name,)).fetchone() is not None:
        admin.execute(sql.SQL("ALTER DATABASE {} IS_TEMPLATE false").format(quoted))
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(quoted))


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Reset]:
    database = Reset("reset_" + uuid.uuid4().hex[:12], tmp_path)
    with connection("postgres") as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database.name)))
        yield database
        for name in database.named[:4]:
            drop(admin, name)


# ----------------------------------------------------------------------------------------------------- keep and restore


def test_keep_and_restore(db: Reset) -> None:
    kept = db.begin()
    assert (kept["changed"], kept["kept"], kept["how"], kept["notes"]) == (True, True, "copied", [])
    ledger = db.info()["ledger"]
    assert not db.template("kept")["changed"]
    assert not db.template("kept", check=True)["changed"]

    planned = db.template("restored", check=True)
    assert planned["changed"]
    assert db.rows() == [1, 2]
    for _again in range(2):
        restored = db.template("restored")
        assert restored["changed"]
        assert db.rows() == [1]
        assert db.others() == {"_template"}
        assert db.info()["ledger"] == ledger
        assert not db.migrate()["changed"]
        assert not db.template("kept")["changed"]


def test_who_is_in_the_new_database_stays_there(db: Reset, monkeypatch: pytest.MonkeyPatch) -> None:
    """A DataStorage that had reconnected was thrown out again and again while the old database was dropped."""
    db.begin()
    real, told = _template._Server.drop, []

    def slow(self: Any, name: str) -> None:
        if name == db.named.old:
            with connection(db.name) as newcomer:
                time.sleep(0.2)
                told.append(newcomer.execute("SELECT count(*) FROM a").fetchone())
        real(self, name)

    monkeypatch.setattr(_template._Server, "drop", slow)
    db.template("restored")
    assert told == [(1,)]
    assert db.others() == {"_template"}


@pytest.mark.parametrize("path", ["''", "'', public", '"a b", public', "public"])
def test_a_search_path_of_the_databases_own_is_kept(db: Reset, path: str) -> None:
    with connection("postgres") as admin:
        admin.execute(f"ALTER DATABASE {db.name} SET search_path TO {path}".encode())
    db.write(_001_a="CREATE TABLE public.a (i int);")
    db.migrate()
    before = db.ask("SHOW search_path")
    kept = db.template("kept", fresh=True)
    assert (kept["kept"], kept["notes"]) == (True, [])
    db.template("restored")
    assert db.ask("SHOW search_path") == before


@pytest.mark.slow
def test_a_database_of_another_locale_keeps_it(db: Reset) -> None:
    with connection("postgres") as admin:
        drop(admin, db.name)
        admin.execute(
            f"CREATE DATABASE {db.name} TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'".encode()
        )
    db.write(_001_a="CREATE TABLE a (i int);")
    db.migrate()
    assert db.template("kept")["how"] == "migrated"
    db.template("restored")
    look = "SELECT pg_encoding_to_char(encoding), datcollate FROM pg_database WHERE datname = current_database()"
    assert db.ask(look) == [("LATIN1", "C")]


def test_nobody_gets_into_a_template_or_drops_it(db: Reset) -> None:
    db.begin()
    with pytest.raises(psycopg.OperationalError, match="not currently accepting connections"):
        connection(db.named.template)
    with connection("postgres") as admin, pytest.raises(psycopg.errors.WrongObjectType):
        admin.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(db.named.template)))


def test_a_template_of_a_used_database_holds_nobodys_rows(db: Reset) -> None:
    db.write(_001_a="CREATE TABLE a (i int);\nINSERT INTO a VALUES (1);")
    db.migrate()
    db.ask("INSERT INTO a VALUES (2)")
    assert db.template("kept", check=True)["changed"]
    assert db.others() == set()
    assert db.template("kept")["how"] == "migrated"
    assert db.rows() == [1, 2]
    db.template("restored")
    assert db.rows() == [1]


@pytest.mark.slow
def test_a_database_that_somebody_is_in_is_not_copied(db: Reset) -> None:
    db.write(_001_a="CREATE TABLE a (i int);")
    db.migrate()
    with connection(db.name) as somebody:
        assert db.template("kept", fresh=True)["how"] == "migrated"
        assert somebody.execute("SELECT 1").fetchone() == (1,)


def test_a_new_migration_renews_the_template_from_where_it_ends(db: Reset) -> None:
    # No migration makes this one, so only a copy of the former template has it.
    db.ask("CREATE TABLE made_by_the_image ()")
    db.begin()
    db.write(_002_b="ALTER TABLE made_by_the_image ADD i int;\nINSERT INTO a SELECT 10 * max(i) FROM a;")
    db.migrate()
    assert db.rows() == [1, 2, 20]
    message = db.named_refusal("restored", "template-outdated")
    assert "002_b.sql" in message
    assert "playbooks/integration.yml" in message
    assert db.rows() == [1, 2, 20]
    assert db.template("kept")["how"] == "migrated"
    assert db.others() == {"_template"}
    db.template("restored")
    assert db.rows() == [1, 10]
    assert not db.template("kept")["changed"]


def test_whatever_became_of_the_database_it_is_restored(db: Reset) -> None:
    db.begin()
    for damage in (
        "DROP SCHEMA public CASCADE",
        "DROP SCHEMA kubernaut_integration CASCADE",
        "ALTER TABLE kubernaut_integration.migrations RENAME COLUMN version TO v",
        "UPDATE kubernaut_integration.migrations SET dirty = true",
    ):
        db.ask(damage)
        db.template("restored")
        assert db.rows() == [1]
        assert not db.migrate()["changed"]
    with connection("postgres") as admin:
        drop(admin, db.name)
    db.template("restored")
    assert db.rows() == [1]


def test_an_old_template_has_partitions_for_today(db: Reset) -> None:
    db.write(_001_a="CREATE TABLE audit_events (d date NOT NULL) PARTITION BY RANGE (d);")
    db.migrate(ensure_partitions=["audit_events"], today="2026-01-15")
    db.template("kept", fresh=True)
    request: dict[str, Any] = {"ensure_partitions": ["audit_events"], "today": "2027-03-05"}
    created = db.template("restored", **request)["partitions"]["audit_events"]["created"]
    assert [part["from"] for part in created] == [f"2027-{month:02d}-01" for month in range(2, 7)]
    db.ask("INSERT INTO audit_events VALUES ('2027-02-26'), ('2027-06-30')")
    db.info(partitioned_tables=["audit_events"], today="2027-03-05")
    db.template("restored", **request)
    assert db.ask("SELECT count(*) FROM audit_events") == [(0,)]
    assert len(db.info()["partitions"]["audit_events"]) == 9


def test_what_create_database_does_not_copy_is_there_all_the_same(db: Reset) -> None:
    db.write(
        _001_a="CREATE TABLE a (i int);",
        _002_b='DO $$ BEGIN EXECUTE format(\'ALTER DATABASE %I SET search_path = "$user", public, "odd, name"\','
        " current_database()); EXECUTE format('ALTER DATABASE %I SET datestyle = ''ISO, DMY''', current_database());"
        " EXECUTE format('ALTER ROLE slm_user IN DATABASE %I SET my.own = ''it''''s''', current_database());"
        " EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());"
        " EXECUTE format('GRANT CREATE ON DATABASE %I TO pg_monitor WITH GRANT OPTION', current_database());"
        " EXECUTE format('COMMENT ON DATABASE %I IS ''mine''', current_database()); END $$;",
    )
    db.migrate()
    look = """
        SELECT setrole::regrole::text, setconfig::text FROM pg_db_role_setting
         WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
         UNION ALL SELECT shobj_description(oid, 'pg_database'),
                ARRAY(SELECT unnest(datacl)::text ORDER BY 1)::text || datconnlimit || datistemplate
          FROM pg_database WHERE datname = current_database() ORDER BY 1
    """
    before = db.ask(look)
    db.template("kept", fresh=True)
    db.template("restored")
    db.template("restored")
    assert db.ask(look) == before
    assert db.ask("SHOW search_path") == [('"$user", public, "odd, name"',)]
    assert db.ask("SHOW my.own") == [("it's",)]


GOOSE_HAS = "SELECT version_id FROM goose_db_version WHERE is_applied AND version_id > 0 ORDER BY version_id"


def test_what_goose_knows_is_brought_back(db: Reset) -> None:
    """Otherwise goose would apply everything again after a reset, and fail at the first file."""
    db.write(_001_a="CREATE TABLE a (i int);", _002_b="CREATE TABLE b ();")
    db.ask(
        "CREATE TABLE goose_db_version (id serial PRIMARY KEY, version_id bigint NOT NULL, is_applied boolean NOT NULL,"
        " tstamp timestamp NOT NULL DEFAULT now());"
        "INSERT INTO goose_db_version (version_id, is_applied) VALUES (0, true), (1, true);"
        "CREATE TABLE a (i int);"
    )
    # The second one is the ledger's only, and goose is not told.
    db.migrate()
    assert db.template("kept")["how"] == "migrated"
    db.template("restored")
    assert db.ask(GOOSE_HAS) == [(1,)]
    assert not db.migrate()["changed"]
    assert not db.template("kept")["changed"]


@pytest.mark.slow
def test_a_template_is_renewed_when_goose_is_told(db: Reset) -> None:
    db.begin()
    db.migrate(goose_table=True)
    assert "newest migration is 001_a.sql" in db.named_refusal("restored", "template-outdated")
    assert db.template("kept", goose_table=True)["how"] == "migrated"
    db.write(_002_b="CREATE TABLE b ();")
    db.migrate(goose_table=True)
    assert db.template("kept", goose_table=True)["how"] == "migrated"
    db.template("restored")
    assert (db.rows(), db.ask(GOOSE_HAS)) == ([1], [(1,), (2,)])


# ------------------------------------------------------------------------------------------------------------- refusals


def test_without_a_ledger_there_is_nothing_to_keep(db: Reset) -> None:
    db.named_refusal("kept", "schema-missing")
    db.named_refusal("restored", "template-missing")
    db.write(_001_a="CREATE TABLE a (i int);\nVACUUM a;\nSELECT 1/0;\n")
    db.refused()
    db.named_refusal("kept", "migration-dirty")
    assert db.others() == set()


@pytest.mark.parametrize("which", ["template", "new", "old"])
def test_a_database_of_somebody_else_is_named_and_left_alone(db: Reset, which: str) -> None:
    db.write(_001_a="CREATE TABLE a (i int);")
    db.migrate()
    name = getattr(db.named, which)
    with connection("postgres") as admin:
        # A copy of ours, ledger and all: what is in it proves nothing.
        admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(db.name)))
    for state in ("kept", "restored"):
        message = db.named_refusal(state, "template-foreign")
        assert f"The database {name}, owned by slm_user, was not made by this collection" in message
        assert "migrations_template to false" in message
    with connection(name) as there:
        assert there.execute("SELECT count(*) FROM kubernaut_integration.migrations").fetchone() == (1,)


def test_a_migration_that_only_this_database_could_take_is_a_note(db: Reset) -> None:
    db.ask("CREATE TABLE made_by_the_image ()")
    db.write(_001_a="CREATE TABLE a (i int);", _002_b="ALTER TABLE made_by_the_image ADD i int;")
    db.migrate()
    kept = db.template("kept")
    assert (kept["changed"], kept["kept"]) == (False, False)
    assert re.match(
        r"No template is kept, .*: Migration 002_b.sql failed at line 1, .* stack_fresh: true\.", kept["notes"][0]
    ), kept["notes"]
    assert db.others() == set()
    assert db.template("kept", fresh=True)["how"] == "copied"


@pytest.fixture
def clerk(db: Reset) -> Iterator[dict[str, str]]:
    """A user who owns the database and everything in it, and is no superuser; options to connect as that user."""
    name = db.name.replace("reset", "clerk")
    with connection("postgres") as admin:
        role = sql.Identifier(name)
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'clerk'").format(role))
        admin.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(db.name), role))
        yield {"postgres_user": name, "postgres_password": "clerk"}
        for database in db.named[:4]:
            drop(admin, database)
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(db.name)))
        admin.execute(sql.SQL("DROP ROLE {}").format(role))


def test_a_user_who_may_not_create_databases_is_told_so(db: Reset, clerk: dict[str, str]) -> None:
    db.write(_001_a="CREATE TABLE a (i int);")
    db.migrate(**clerk)
    kept = db.template("kept", fresh=True, **clerk)
    assert (kept["changed"], kept["kept"]) == (False, False)
    assert re.match(
        r"No template is kept, .*: PostgreSQL says: permission denied to create database; let user clerk_\w+ create"
        r" databases \(CREATEDB\), or set migrations_template to false\.",
        kept["notes"][0],
    ), kept["notes"]
    db.named_refusal("restored", "template-missing", **clerk)


@pytest.mark.slow
def test_a_user_who_may_needs_not_be_superuser(db: Reset, clerk: dict[str, str]) -> None:
    with connection("postgres") as admin:
        admin.execute(sql.SQL("ALTER ROLE {} CREATEDB").format(sql.Identifier(clerk["postgres_user"])))
    db.write(_001_a="CREATE TABLE a (i int);\nINSERT INTO a VALUES (1);")
    db.migrate(**clerk)
    assert db.template("kept", fresh=True, **clerk)["how"] == "copied"
    db.ask("INSERT INTO a VALUES (2)")
    with connection(db.name):  # a session that only a superuser may end
        message = db.named_refusal("restored", "template-permission", **clerk)
        assert "CREATEDB" in message
        assert db.rows() == [1, 2]
    db.template("restored", **clerk)
    assert db.rows() == [1]
    assert db.others() == {"_template"}
    owner = db.ask("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()")
    assert owner == [(clerk["postgres_user"],)]


def test_another_run_at_the_same_server_is_waited_for(db: Reset) -> None:
    db.begin()
    with connection("postgres") as other:
        other.execute("SELECT pg_advisory_lock(%s)", (_template._migrations.LOCK_KEY,))
        for seconds in (0.0, 0.2):
            assert "lock timeout" in db.named_refusal("restored", "template-locked", lock_timeout=seconds)
        assert db.rows() == [1, 2]
    db.template("restored")


# ----------------------------------------------------------------------------------------------------- sessions, kills


def test_sessions_are_ended_and_the_next_ones_find_the_new_database(db: Reset) -> None:
    db.begin()
    with connection(db.name) as reader, connection(db.name) as writer, writer.transaction():
        reader.execute("SELECT * FROM a")
        writer.execute("INSERT INTO a VALUES (3)")
        writer.execute("LOCK TABLE a IN ACCESS EXCLUSIVE MODE")
        assert db.template("restored")["sessions"] == 2
        with pytest.raises(psycopg.OperationalError, match="terminating connection"):
            reader.execute("SELECT 1")
        assert db.rows() == [1]
        writer.close()


def test_clients_that_reconnect_all_the_time_do_not_keep_it_from_happening(db: Reset) -> None:
    db.begin()
    stop = threading.Event()
    refused: set[str] = set()

    def insist() -> None:
        while not stop.is_set():
            try:
                with connection(db.name) as mine:
                    while not stop.is_set():
                        mine.execute("SELECT 1")
            except psycopg.OperationalError as error:
                refused.add(str(error).splitlines()[0])

    clients = [threading.Thread(target=insist) for _client in range(4)]
    for client in clients:
        client.start()
    try:
        for _again in range(3):
            db.template("restored")
            assert db.rows() == [1]
            db.ask("INSERT INTO a VALUES (2)")
    finally:
        stop.set()
        for client in clients:
            client.join()
    assert refused


def killed(work: Callable[[], Any], moment: int | float) -> bool:
    """Do something in a process that is killed, and tell whether it was.

    :param moment: before the how many-th statement; a float is seconds.
    """
    child = os.fork()
    if child == 0:
        status = 1
        try:
            real, count = psycopg.Connection.execute, iter(range(NEVER))

            def execute(self: psycopg.Connection[Any], *arguments: Any, **words: Any) -> Any:
                # The second connection, in its own thread, may say what it likes.
                if threading.current_thread() is threading.main_thread() and next(count) == moment:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(self, *arguments, **words)

            if isinstance(moment, int):
                psycopg.Connection.execute = execute  # type: ignore[method-assign,assignment]
            else:
                signal.setitimer(signal.ITIMER_REAL, moment)
            work()
            status = 0
        finally:
            os._exit(status)
    _pid, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) in (signal.SIGKILL, signal.SIGALRM)
        return True
    assert os.WEXITSTATUS(status) == 0, "the run failed instead of being killed"
    return False


def test_a_restore_that_is_killed_leaves_a_whole_database(db: Reset) -> None:
    db.write(_001_a="CREATE TABLE a (i int);\nINSERT INTO a VALUES (1);")
    db.migrate()
    db.template("kept", fresh=True)
    request: dict[str, Any] = {"ensure_partitions": ["a"]}
    left, steps = set(), 0
    for moment in range(NEVER):
        db.ask("INSERT INTO a VALUES (2)")
        if not killed(lambda: db.template("restored", **request), moment):
            steps = moment
            break
        assert db.rows() in ([1], [1, 2])
        left.add(frozenset(db.others() - {"_template"}))
        db.template("restored", **request)
        assert db.rows() == [1]
        assert db.others() == {"_template"}
        assert not db.template("kept")["changed"]
    assert steps > 15
    assert left == {frozenset(), frozenset({"_template_new"}), frozenset({"_template_old"})}


@pytest.mark.parametrize(("fresh", "stride"), [(True, 1), (False, 4)], ids=["copied", "migrated"])
@pytest.mark.slow
def test_a_template_is_whole_or_not_there_when_its_making_is_killed(db: Reset, fresh: bool, stride: int) -> None:
    db.begin()
    version = 1
    for moment in range(0, NEVER, stride):
        version += 1
        db.write(**{f"_{version:03d}_b": f"CREATE TABLE b{version} ();"})
        db.migrate()
        alive = not killed(lambda: db.template("kept", fresh=fresh), moment)
        assert db.rows() == [1, 2]
        # A killed run is repeated by one that cannot know whether somebody has written meanwhile.
        again = db.template("kept")
        assert again["kept"]
        assert db.others() == {"_template"}
        assert not db.template("kept")["changed"]
        if alive:
            assert not again["changed"]
            break
    assert version > 5


@pytest.mark.slow
def test_a_kill_in_the_middle_of_a_statement(db: Reset) -> None:
    db.begin()
    chance = random.Random(20261124)
    kills = 0
    for _time in range(12):
        kills += killed(lambda: db.template("restored"), chance.uniform(0.02, 0.25))
        assert db.rows() in ([1], [1, 2])
        db.template("restored")
        assert (db.rows(), db.others()) == ([1], {"_template"})
        db.ask("INSERT INTO a VALUES (2)")
    assert kills


# -------------------------------------------------------------------------------------------------------- a whole stack


def post(stack: Stack) -> int:
    """Write one event, and return what DataStorage answers."""
    event = {
        "version": "1.0",
        "event_type": "workflow.started",
        "event_timestamp": datetime.now(UTC).isoformat(),
        "event_category": "workflow",
        "event_action": "started",
        "event_outcome": "success",
        "correlation_id": str(uuid.uuid4()),
        "event_data": {},
    }
    request = urllib.request.Request(
        f"http://127.0.0.1:{stack.ports['datastorage']}/api/v1/audit/events/batch",
        data=json.dumps([event]).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        return int(answer.status)


def fill(stack: Stack) -> None:
    """Do what a suite does, and leave DataStorage with a full pool: events, a table of its own, a dead letter."""
    clients = [threading.Thread(target=lambda: [post(stack) for _event in range(5)]) for _client in range(8)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    with connection("action_history") as suite:
        suite.execute("CREATE TABLE IF NOT EXISTS of_the_suite ()")
    queue(stack).xadd("audit:dlq:events", {"message": "{}"})
    queue(stack).xadd("audit:dead-letter:notifications", {"message": "{}"})


def queue(stack: Stack) -> redis.Redis:
    return redis.Redis(port=stack.ports["redis"])


def left(stack: Stack) -> dict[str, Any]:
    """Return what a suite would find of the one before it."""
    keys = {key.decode() for key in queue(stack).scan_iter("audit:*")}
    with connection("action_history") as suite:
        events = suite.execute("SELECT count(*) FROM audit_events").fetchone()
        table = suite.execute("SELECT to_regclass('of_the_suite') IS NOT NULL").fetchone()
    return {"events": (events or (0,))[0], "table": (table or (None,))[0], "queues": keys}


def lives(stack: Stack) -> list[str]:
    return [
        podman("inspect", "--format", "{{.Id}} {{.State.StartedAt}}", stack.container(name)) for name in stack.ports
    ]


def test_a_reset_stack_looks_new_and_datastorage_answers_at_once(live: Stack) -> None:
    before = lives(live)
    fill(live)
    assert left(live)["events"] >= 40
    run = live.play("reset").ok()
    assert post(live) == 201
    assert re.search(
        r"database action_history is as the migrations left it \(\d+\.\d\d s, \d+ sessions ended\)", run.out
    )
    assert "audit:dlq:events: 1 entry removed" in run.out
    assert "audit:dead-letter:notifications: 1 entry removed" in run.out
    assert "7/7 written, 7/7 read back over HTTP, 7/7 in PostgreSQL, 0 in the DLQ" in run.out
    assert left(live) == {"events": 1, "table": False, "queues": set()}
    assert lives(live) == before
    assert not (live.state_dir / "lock.json").exists()
    again = live.play("integration").ok()
    assert again.recap["changed"] == 0, again.out


@pytest.mark.slow
def test_queues_are_kept_where_that_is_asked_for(live: Stack) -> None:
    fill(live)
    live.play("reset", reset_queues=False).ok()
    assert left(live) == {
        "events": 0,
        "table": False,
        "queues": {"audit:dlq:events", "audit:dead-letter:notifications"},
    }
    live.play("reset").ok()
    assert left(live)["queues"] == set()
    assert "reset_queues" in live.play("reset", reset_queues="perhaps").complaint


def test_a_plan_changes_nothing(live: Stack) -> None:
    fill(live)
    before = left(live)
    run = live.play("reset", check=True).ok()
    assert "audit:dlq:events: 1 entry would be removed" in run.out
    assert left(live) == before


@pytest.mark.slow
def test_a_suite_that_dropped_the_schema_is_no_hindrance(live: Stack) -> None:
    with connection("action_history") as suite:
        suite.execute("DROP SCHEMA public CASCADE")
        suite.execute("CREATE SCHEMA public")
    live.play("reset").ok()
    assert live.play("integration").ok().recap["changed"] == 0


@pytest.mark.slow
def test_the_template_is_optional(live: Stack) -> None:
    with connection("postgres") as admin:
        drop(admin, "action_history_template")
    run = live.play("integration", migrations_template=False).ok()
    # What the next playbook is told.
    assert run.recap["changed"] == 1, run.out
    run = live.play("reset")
    assert run.rc != 0
    assert run.complaint.endswith("[template-missing]"), run.complaint
    assert "7/7 written" not in run.out
    assert not (live.state_dir / "lock.json").exists()
    assert live.play("integration").ok().recap["changed"] == 2
    live.play("reset").ok()
