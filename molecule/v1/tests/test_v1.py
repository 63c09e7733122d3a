# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A DataStorage of contract v1 that asks a stub: three ports, chains, and nobody writes without the token."""

from __future__ import annotations

import http.client
import json
import os
import ssl
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

STATE = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "kubernaut-integration"
DIRECTORY = STATE / "workflowexecution-mol-v1"
PREFIX = "workflowexecution_mol-v1_"
API, HEALTH, METRICS = 24300, 24381, 24390
EVENTS = "/api/v1/audit/events"


def ask(method, port, path, body=None, token=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    headers = {"Content-Type": "application/json", **({"Authorization": "Bearer " + token} if token else {})}
    connection.request(method, path, json.dumps(body) if body is not None else None, headers)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


@pytest.fixture(name="token", scope="module")
def _token():
    return (DIRECTORY / "datastorage.token").read_text().strip()


@pytest.fixture(name="containers", scope="module")
def _containers(host):
    names = " ".join(PREFIX + name + "_1" for name in ("postgres", "redis", "auth", "datastorage"))
    return json.loads(host.check_output("podman inspect " + names))


def events(correlation, number):
    begin = datetime.now(UTC) - timedelta(seconds=5)
    return [
        {
            "version": "1.0",
            "event_type": "gateway.config.reloaded",
            "event_timestamp": (begin + timedelta(milliseconds=index)).isoformat(),
            "event_category": "gateway",
            "event_action": "reloaded",
            "event_outcome": "success",
            "correlation_id": correlation,
            "event_data": {"event_type": "gateway.config.reloaded", "component": "molecule"},
        }
        for index in range(number)
    ]


@pytest.mark.parametrize(
    ("port", "path", "status"),
    [(HEALTH, "/readyz", 200), (HEALTH, "/healthz", 200), (METRICS, "/metrics", 200), (API, "/health", 404)],
)
def test_each_path_is_on_its_port(port, path, status):
    assert ask("GET", port, path)[0] == status


@pytest.mark.parametrize("token", [None, "made-up"])
def test_nobody_writes_without_the_token(token):
    assert ask("POST", API, EVENTS + "/batch", events("molecule-nobody", 1), token)[0] == 401


def test_events_of_the_tokens_owner_are_written_and_chained(token):
    correlation = "molecule-%s" % uuid.uuid4()
    status, body = ask("POST", API, EVENTS + "/batch", events(correlation, 3), token)
    assert (status, len(json.loads(body)["event_ids"])) == (201, 3)
    status, body = ask("POST", API, "/api/v1/audit/verify-chain", {"correlation_id": correlation}, token)
    answer = json.loads(body)
    assert (status, answer["is_valid"], answer["total_events"], answer["verified_events"]) == (200, True, 3, 3)
    address = "host=127.0.0.1 port=24843 dbname=action_history user=slm_user password=test_password"
    with psycopg.connect(address) as connection:
        connection.execute("DELETE FROM audit_events WHERE correlation_id = %s", (correlation,))


def test_each_was_started_after_what_it_needs(containers):
    started = [container["State"]["StartedAt"] for container in containers]
    assert started == sorted(started)
    labels = [container["Config"]["Labels"]["io.kubernaut.integration.component"] for container in containers]
    assert labels == ["postgres", "redis", "auth", "datastorage"]


def test_the_stub_is_not_published_and_as_confined_as_the_others(containers):
    stub = containers[2]["HostConfig"]
    # What an image exposes is listed, too, with nothing to it.
    assert not any((stub["PortBindings"] or {}).values())
    assert stub["ReadonlyRootfs"]
    assert "no-new-privileges" in " ".join(stub["SecurityOpt"])


def test_secrets_are_private_and_not_in_the_containers_environment(containers, token):
    assert (DIRECTORY / "datastorage.token").stat().st_mode & 0o777 == 0o600
    assert DIRECTORY.stat().st_mode & 0o777 == 0o700
    assert token not in json.dumps(containers)
    assert token not in (DIRECTORY / "stack.json").read_text()


def test_certificate_and_key_belong_together():
    access = DIRECTORY / "config/access"
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(access / "tls.crt", access / "tls.key")


def test_suites_find_the_token_and_the_health_path(token):
    found = dict(line.split("=", 1) for line in (DIRECTORY / "stack.env").read_text().splitlines())
    assert Path(found["DATASTORAGE_TOKEN_FILE"]).read_text().strip() == token
    assert found["DATASTORAGE_HEALTH_URL"] == "http://127.0.0.1:%d/readyz" % HEALTH
