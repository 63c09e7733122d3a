# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stack as its user meets it: containers, ports, schema, streams, files, and what they must not be."""

from __future__ import annotations

import json

import psycopg
import pytest
import redis

STACK = "workflowexecution-molecule"
PREFIX = "workflowexecution_molecule_"


@pytest.fixture(scope="module")
def state(host):
    """Directory of the stack's files."""
    home = host.check_output("echo ${XDG_STATE_HOME:-$HOME/.local/state}")
    return home + "/kubernaut-integration/" + STACK


@pytest.fixture(scope="module")
def database():
    """A connection as the service's own user."""
    address = "host=127.0.0.1 port=25443 dbname=action_history user=slm_user password=test_password"
    with psycopg.connect(address) as connection:
        yield connection


def test_container_runs_and_never_restarted(containers, component):
    state = containers[component]["State"]
    assert state["Running"]
    assert containers[component]["RestartCount"] == 0


def test_they_started_one_after_the_other(containers):
    moments = [containers[component]["State"]["StartedAt"] for component in ("postgres", "redis", "datastorage")]
    assert moments == sorted(moments)


def test_container_is_labelled(containers, component):
    labels = containers[component]["Config"]["Labels"]
    assert labels["io.kubernaut.integration.collection"] == "kubernaut.integration"
    assert labels["io.kubernaut.integration.stack"] == STACK
    assert labels["io.kubernaut.integration.component"] == component
    assert len(labels["io.kubernaut.integration.spec"]) == 64


def test_no_secret_in_environment_or_arguments(containers, component):
    container = containers[component]
    assert "test_password" not in json.dumps([container["Config"]["Env"], container["Args"]])


def test_no_volume_without_the_label(host):
    owned = host.check_output("podman volume ls --quiet --filter label=io.kubernaut.integration.stack=" + STACK)
    used = host.check_output("podman volume ls --quiet --filter name=" + PREFIX)
    assert owned == used == PREFIX + "postgres_data"
    mounts = json.loads(host.check_output("podman inspect %spostgres_1 %sredis_1 %sdatastorage_1" % ((PREFIX,) * 3)))
    assert [m["Name"] for c in mounts for m in c["Mounts"] if m["Type"] == "volume"] == [owned]


@pytest.mark.parametrize(
    ("setting", "value"),
    [("TimeZone", "UTC"), ("max_connections", "200"), ("server_encoding", "UTF8"), ("fsync", "off")],
)
def test_postgres_setting(database, setting, value):
    assert database.execute("SELECT current_setting(%s)", [setting]).fetchone()[0].startswith(value)


@pytest.mark.parametrize(
    "table", ["audit_events", "notification_audit", "remediation_workflow_catalog", "resource_action_traces"]
)
def test_table_is_there(database, table):
    assert database.execute("SELECT to_regclass(%s)::text", [table]).fetchone()[0] == table


def test_partitions_cover_the_window(database):
    days = database.execute(
        """
        SELECT day::date FROM generate_series((now() AT TIME ZONE 'UTC')::date - 7,
            (now() AT TIME ZONE 'UTC')::date + 90, interval '1 day') AS day
        WHERE to_regclass('audit_events_' || to_char(day, 'YYYY_MM')) IS NULL
        """
    ).fetchall()
    assert days == []


def test_probe_rows_are_gone(database):
    count = "SELECT count(*) FROM audit_events WHERE correlation_id LIKE 'kubernaut-integration-%'"
    assert database.execute(count).fetchone() == (0,)


def test_every_migration_is_in_the_ledger(host, database):
    here = host.check_output("ls $MOLECULE_PROJECT_DIRECTORY/roles/migrations/files/v0").split()
    rows = database.execute("SELECT name, checksum FROM kubernaut_integration.migrations ORDER BY version").fetchall()
    assert [row[0] for row in rows] == sorted(here)
    sums = host.check_output("cd $MOLECULE_PROJECT_DIRECTORY/roles/migrations/files/v0 && sha256sum *.sql")
    assert sorted(row[1] for row in rows) == sorted(line.split()[0] for line in sums.splitlines())


def test_redis_answers_and_its_streams_are_empty():
    with redis.Redis(port=26389) as client:
        assert client.ping()
        assert client.info("persistence")["loading"] == 0
        assert [client.xlen(name) for name in ("audit:dlq:events", "audit:dlq:notifications")] == [0, 0]


@pytest.mark.parametrize("path", ["/health", "/health/ready", "/health/live", "/metrics"])
def test_datastorage_answers(host, path):
    assert host.run("curl --silent --fail --noproxy '*' http://127.0.0.1:28100" + path).rc == 0


def test_state_directory_is_private(host, state):
    directory = host.file(state)
    assert (directory.mode, directory.user) == (0o700, host.user().name)
    for name in ("stack.env", "stack.json"):
        assert host.file(state + "/" + name).mode == 0o600


def test_datastorage_secrets_are_its_own(host, state):
    for name in ("db-secrets.yaml", "redis-secrets.yaml"):
        secret = host.file(state + "/config/datastorage/" + name)
        assert (secret.mode, secret.uid) == (0o400, 1001)


def test_stack_env_points_a_suite_at_the_stack(host, state):
    said = host.check_output("set -a; . %s/stack.env; set +a; env", state).splitlines()
    assert {
        "POSTGRES_HOST=127.0.0.1",
        "POSTGRES_PORT=25443",
        "REDIS_ADDR=127.0.0.1:26389",
        "DATASTORAGE_URL=http://127.0.0.1:28100",
    } <= set(said)


def test_stack_json_says_what_the_configuration_really_is(host, state):
    """The pool is what contract v0 hard-codes, whatever the file says, and no password is shown."""
    used = json.loads(host.file(state + "/stack.json").content_string)["datastorage"]["configuration"]
    assert (used["server.port"], used["database.max_open_conns"]) == (8080, 25)
    assert used["database.password"] == "********"


def test_stack_json_holds_no_secret(host, state):
    text = host.file(state + "/stack.json").content_string
    assert "test_password" not in text
    assert json.loads(text)["reference_service"] is True
