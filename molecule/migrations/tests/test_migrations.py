# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The author's three migrations, once each, and nothing of the collection's own schema."""

from __future__ import annotations

import psycopg
import pytest


@pytest.fixture(scope="module")
def database():
    """A connection as the author's own user."""
    address = "host=127.0.0.1 port=24543 connect_timeout=5 dbname=widgets user=widget_maker password=test_password"
    with psycopg.connect(address, autocommit=True) as connection:
        yield connection


def test_each_migration_ran_once(database):
    ledger = database.execute("SELECT name, dirty FROM kubernaut_integration.migrations ORDER BY version").fetchall()
    assert ledger == [("001_widgets.sql", False), ("002_widget_events.sql", False), ("003_widget_count.sql", False)]
    assert database.execute("SELECT widget_count()").fetchone() == (1,)


def test_today_and_in_three_months_have_a_partition(database):
    with database.transaction(force_rollback=True):
        for moment in ("now()", "now() + interval '3 months'"):
            row = "INSERT INTO widget_events (widget, happened) SELECT id, ((%s) AT TIME ZONE 'UTC')::date FROM widgets"
            assert database.execute(row % moment).rowcount == 1


def test_nothing_of_the_collections_own_schema_is_there(database):
    assert database.execute("SELECT to_regclass('audit_events')").fetchone() == (None,)


def test_nothing_behind_it_was_started(host):
    label = "label=io.kubernaut.integration.stack=workflowexecution-mol-migrations"
    names = host.check_output("podman ps --all --format '{{.Names}}' --filter " + label)
    assert names == "workflowexecution_mol-migrations_postgres_1"
