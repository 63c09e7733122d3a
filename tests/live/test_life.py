# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stack's life: killed, taken over, changed, repaired, removed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from ansible_collections.kubernaut.integration.tests.live.playing import Run, Stack, left_of, podman

#: Headers of the tasks that the tests wait for.
LOCKED = "Use, load, pull or build postgres, redis, datastorage"
STARTED = "Wait until PostgreSQL answers the service's own user over TCP"
COMPONENTS = ("postgres", "redis", "datastorage")


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack for rough treatment."""
    ports = {"postgres": 27543, "redis": 27489, "datastorage": 27200}
    stack = Stack("life", ports, tmp_path_factory.mktemp("life"))
    stack.remove(stack_stop_timeout=1)
    yield stack
    stack.remove(stack_stop_timeout=1)


def up(stack: Stack, **extra: Any) -> Run:
    """Bring it up and demand the proof; DataStorage, which would take 5 s to stop, is not waited for."""
    run = stack.play("integration", **{"stack_stop_timeout": 1, **extra}).ok()
    assert "7/7 written, 7/7 read back over HTTP, 7/7 in PostgreSQL, 0 in the DLQ" in run.out
    return run


def ids(stack: Stack) -> dict[str, str]:
    """Return the container's id of every component."""
    return {name: podman("inspect", "--format", "{{.Id}}", stack.container(name)).strip() for name in COMPONENTS}


def connect(stack: Stack) -> psycopg.Connection[Any]:
    """Connect to its database as a suite does."""
    env = stack.env
    return psycopg.connect(
        host=env["POSTGRES_HOST"],
        port=int(env["POSTGRES_PORT"]),
        user=env["POSTGRES_USER"],
        password=env["POSTGRES_PASSWORD"],
        dbname=env["POSTGRES_DB"],
        autocommit=True,
    )


def kept(stack: Stack) -> int:
    """Return how many audit events are in the database."""
    with connect(stack) as connection:
        row = connection.execute("SELECT count(*) FROM audit_events").fetchone()
    assert row is not None
    return int(row[0])


def test_a_second_run_changes_nothing(live: Stack) -> None:
    run = live.play("integration").ok()
    assert run.recap["changed"] == 0, run.out
    assert "7/7 written" in run.out


def test_a_teardown_waits_its_turn_then_stops_postgres_in_the_middle_of_initdb(life: Stack) -> None:
    first = life.start("integration")
    try:
        first.until(LOCKED)
        hasty = life.start("teardown")
        patient = life.start("teardown", stack_lock_timeout=30)
        first.until(STARTED)
        refusal = hasty.end()
        assert refusal.rc != 0, refusal.out
        assert re.match(
            rf"stack_lock_timeout: the stack {life.name} is being worked on by pid {first.pid} on \S+; wait for it,",
            refusal.complaint,
        ), refusal.complaint
        assert f"container {life.container('postgres')}" in left_of(life.name)
    finally:
        first.kill()
    run = patient.end().ok()
    stopped = re.search(rf"removed container {life.container('postgres')} \(exit (\d+),", run.out)
    assert stopped, run.out
    assert stopped[1] != "137", run.out
    assert left_of(life.name) == []
    assert not life.state_dir.exists()


def test_a_run_takes_over_what_a_killed_one_left(life: Stack) -> None:
    first = life.start("integration")
    try:
        first.until(STARTED)
    finally:
        first.kill()
    assert (life.state_dir / "lock.json").exists()
    assert left_of(life.name)
    up(life)
    assert not (life.state_dir / "lock.json").exists()


@pytest.fixture
def running(life: Stack) -> Stack:
    """The same stack, brought up by an earlier test or now."""
    if not (life.state_dir / "stack.json").exists():
        up(life)
    return life


def test_a_dead_datastorage_is_started_again(running: Stack) -> None:
    before = ids(running)
    podman("kill", running.container("datastorage"))
    up(running)
    assert ids(running) == before


def test_a_changed_setting_replaces_what_it_must_and_keeps_the_data(running: Stack) -> None:
    before = ids(running)
    run = up(running, audit_keep=True, datastorage_log_level="debug")
    assert "  note: log_level=debug (variable datastorage_log_level) has no effect: " in run.out
    after = ids(running)
    assert {name for name in COMPONENTS if after[name] != before[name]} == {"datastorage"}
    assert kept(running) == 7

    run = up(running, datastorage_log_level="debug", postgres_max_connections=150)
    again = ids(running)
    assert {name for name in COMPONENTS if again[name] != after[name]} == {"datastorage", "postgres"}
    assert kept(running) == 7
    with connect(running) as connection:
        assert connection.execute("SHOW max_connections").fetchone() == ("150",)
    # podman knows in which order they went.
    events = podman(
        "events", "--stream=false", "--since=5m", "--filter=event=remove", "--filter=type=container", "--format={{.ID}}"
    ).split()
    assert events.index(after["datastorage"]) < events.index(after["postgres"]), run.out


def test_a_lost_partition_is_named(running: Stack) -> None:
    with connect(running) as connection:
        row = connection.execute(
            "SELECT c.relname, pg_get_expr(c.relpartbound, c.oid), to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM')"
            " FROM pg_class c JOIN pg_inherits i ON i.inhrelid = c.oid"
            " WHERE i.inhparent = 'audit_events'::regclass"
            " AND pg_get_expr(c.relpartbound, c.oid) LIKE"
            " 'FOR VALUES FROM (''' || to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM') || '-01%'"
        ).fetchone()
        assert row is not None
        partition, bound, month = row
        connection.execute(f"ALTER TABLE audit_events DETACH PARTITION {partition}")
        try:
            run = running.play("verify")
            assert run.rc != 0, run.tail
            assert f"audit_events for {month}" in run.complaint, run.complaint
        finally:
            connection.execute(f"ALTER TABLE audit_events ATTACH PARTITION {partition} {bound}")
    running.play("verify").ok()


def test_fresh_means_without_the_data(running: Stack) -> None:
    if not kept(running):
        up(running, audit_keep=True)
    before = ids(running)
    up(running, stack_fresh=True)
    assert not set(ids(running).values()) & set(before.values())
    assert kept(running) == 0
