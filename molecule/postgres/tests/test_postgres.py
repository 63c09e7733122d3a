# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A PostgreSQL of the author's own, and nothing that was not asked for."""

from __future__ import annotations

import psycopg
import pytest

ADDRESS = "host=127.0.0.1 port=24443 connect_timeout=5 dbname=%s user=%s password=%s"


def test_it_lets_its_user_in_and_works():
    with psycopg.connect(ADDRESS % ("widgets", "widget_maker", "not-upstreams")) as connection:
        settings = [connection.execute("SHOW " + name).fetchone()[0] for name in ("max_connections", "fsync")]
        assert settings == ["20", "on"]
        who = connection.execute("SELECT current_database(), current_user").fetchone()
        assert who == ("widgets", "widget_maker")


@pytest.mark.parametrize(
    "who",
    [("widgets", "widget_maker", "test_password"), ("action_history", "slm_user", "test_password")],
    ids=["wrong password", "upstream's database"],
)
def test_it_lets_nobody_else_in(who):
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(ADDRESS % who)


def test_no_schema_was_applied():
    with psycopg.connect(ADDRESS % ("widgets", "widget_maker", "not-upstreams")) as connection:
        tables = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        assert connection.execute(tables).fetchone() == (0,)


def test_nothing_else_was_started(host):
    label = "label=io.kubernaut.integration.stack=workflowexecution-mol-postgres"
    names = host.check_output("podman ps --all --format '{{.Names}}' --filter " + label)
    assert names == "workflowexecution_mol-postgres_postgres_1"
