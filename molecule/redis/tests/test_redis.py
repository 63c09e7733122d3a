# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Redis that keeps its password to itself."""

from __future__ import annotations

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

NAME = "workflowexecution_mol-redis_redis_1"
PASSWORD = "p#ss:w@rd"


def test_it_answers_who_knows_the_password():
    with redis.Redis(port=24389, password=PASSWORD) as client:
        assert client.ping()
        identifier = client.xadd("widgets", {"name": "sprocket"})
        assert client.xrange("widgets", identifier) == [(identifier, {b"name": b"sprocket"})]
        client.delete("widgets")


@pytest.mark.parametrize("password", [None, "wrong"])
def test_it_refuses_who_does_not(password):
    once = Retry(NoBackoff(), 0)
    with redis.Redis(port=24389, password=password, retry=once) as client, pytest.raises(redis.AuthenticationError):
        client.ping()


def test_podman_does_not_know_the_password(host):
    assert PASSWORD not in host.check_output("podman inspect " + NAME)


def test_nothing_else_was_started(host):
    label = "label=io.kubernaut.integration.stack=workflowexecution-mol-redis"
    assert host.check_output("podman ps --all --format '{{.Names}}' --filter " + label) == NAME
    assert host.check_output("podman volume ls --quiet --filter " + label) == ""
