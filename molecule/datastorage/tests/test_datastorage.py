# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A DataStorage as its author configured it, on a Redis with a password, and no proof that was not asked for."""

from __future__ import annotations

import http.client
import json
import os
from pathlib import Path

import psycopg
import pytest
import yaml

STATE = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "kubernaut-integration"
DIRECTORY = STATE / "workflowexecution-mol-datastorage"
PREFIX = "workflowexecution_mol-datastorage_"


@pytest.mark.parametrize("path", ["/health", "/health/ready"])
def test_it_says_that_it_is_connected(path):
    connection = http.client.HTTPConnection("127.0.0.1", 24100, timeout=5)
    connection.request("GET", path)
    assert connection.getresponse().status == 200


def test_it_reads_what_the_author_set():
    configuration = yaml.safe_load((DIRECTORY / "config/datastorage/config.yaml").read_text())
    assert configuration["logging"]["level"] == "debug"
    assert configuration["redis"]["dlq_max_len"] == 100


def test_its_schema_is_there_and_nobody_wrote_to_it():
    address = "host=127.0.0.1 port=24643 dbname=action_history user=slm_user password=test_password"
    with psycopg.connect(address) as connection:
        assert connection.execute("SELECT count(*) FROM audit_events").fetchone() == (0,)


def test_what_is_in_front_of_it_was_started_once_and_before_it(host):
    found = json.loads(
        host.check_output(
            "podman inspect " + " ".join(PREFIX + name + "_1" for name in ("postgres", "redis", "datastorage"))
        )
    )
    started = [container["State"]["StartedAt"] for container in found]
    assert started == sorted(started)
    assert [container["RestartCount"] for container in found] == [0, 0, 0]
