# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is there already takes the place of a container: gates and proof stay, and nothing of it is removed.

To another stack, all of the session's one is outside.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.kubernaut.integration.tests.live.playing import Stack, left_of, podman

PROOF = "7/7 written, 7/7 read back over HTTP, 7/7 in PostgreSQL, 0 in the DLQ"
#: Where nothing listens.
NOBODY = "127.0.0.1:29002"


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[Stack]:
    """A stack that has something outside."""
    stack = Stack("extuser", {}, tmp_path)
    try:
        yield stack
    finally:
        if left_of(stack.name) or stack.state_dir.exists():
            stack.remove(stack_stop_timeout=1)


def address(stack: Stack, component: str, port: int) -> str:
    """Return where a component is reached from other networks of the machine."""
    (container,) = json.loads(podman("inspect", stack.container(component)))
    (network,) = container["NetworkSettings"]["Networks"].values()
    return f"{network['IPAddress']}:{port}"


def test_postgresql_and_redis_are_used_where_they_are_and_left_there(live: Stack, guest: Stack) -> None:
    postgres, redis = address(live, "postgres", 5432), address(live, "redis", 6379)
    given = {"postgres_external": postgres, "redis_external": redis, "datastorage_port": 29001}
    before = left_of(live.name)
    run = guest.play("integration", **given).ok()
    assert PROOF in run.out
    assert f"note: postgres_external {postgres}: stack_fresh and teardown leave it as it is" in run.out
    assert [each for each in left_of(guest.name) if "_1" in each] == ["container " + guest.container("datastorage")]
    assert guest.env["POSTGRES_HOST"] + ":" + guest.env["POSTGRES_PORT"] == postgres
    assert guest.env["REDIS_ADDR"] == redis

    assert guest.play("integration", **given).ok().recap["changed"] == 0
    run = guest.play("diagnose", **given).ok()
    # On a machine that is too busy for a look at everything, it says that instead.
    assert re.search("is healthy: its containers run|nothing wrong was found", run.out), run.tail
    assert re.search(rf"postgres_external {re.escape(postgres)} +is outside: SELECT as", run.out)

    run = guest.play("teardown", **given, stack_stop_timeout=1).ok()
    assert f"left alone, as it is not of this stack: redis_external {redis}" in run.out
    assert left_of(guest.name) == []
    assert left_of(live.name) == before


@pytest.mark.slow
def test_a_container_makes_way_and_comes_back(live: Stack, guest: Stack) -> None:
    """DataStorage goes first: one that outlives its Redis loses events."""
    given = {"postgres_external": address(live, "postgres", 5432), "datastorage_port": 29001}
    inside = {**given, "redis_port": 29003}
    outside = {**given, "redis_external": address(live, "redis", 6379)}
    own = [guest.container("datastorage"), guest.container("redis")]
    assert PROOF in guest.play("integration", **inside).ok().out
    run = guest.play("integration", "-v", **outside).ok()
    assert PROOF in run.out
    assert re.findall(r"removed container (\S+) \(exit 0", run.out) == own
    assert [each for each in left_of(guest.name) if "_1" in each] == ["container " + guest.container("datastorage")]
    assert PROOF in guest.play("integration", **inside).ok().out
    assert sorted(each for each in left_of(guest.name) if "_1" in each) == sorted(f"container {name}" for name in own)


def test_all_of_it_may_be_outside(live: Stack, guest: Stack) -> None:
    given = {f"{component}_external": f"127.0.0.1:{port}" for component, port in live.ports.items()}
    run = guest.play("integration", **given, stack_contract="auto").ok()
    assert PROOF in run.out
    assert f"contract v0 by the answer of datastorage_external {given['datastorage_external']} to GET" in run.out
    assert f"DataStorage is http://127.0.0.1:{live.ports['datastorage']} (datastorage_external)." in run.out
    assert [each for each in left_of(guest.name) if each.startswith("container")] == []
    assert "out of memory since" in guest.play("verify", **given).ok().out
    run = guest.play("verify", **{**given, "datastorage_external": NOBODY}, datastorage_timeout=1)
    assert "DataStorage is not reached at 127.0.0.1, port 29002: nothing listens" in run.complaint
    assert run.complaint.endswith("correct its address (datastorage_external). [outside-away]")


def test_a_role_alone_takes_what_is_outside(live: Stack, guest: Stack, tmp_path: Path) -> None:
    playbook = tmp_path / "alone.yml"
    playbook.write_text(
        "- hosts: localhost\n  gather_facts: false\n  tasks:\n"
        "    - ansible.builtin.include_role: {name: kubernaut.integration.redis}\n"
    )
    guest.play(playbook, redis_external=f"127.0.0.1:{live.ports['redis']}").ok()
    assert [each for each in left_of(guest.name) if each.startswith("container")] == []


@pytest.mark.parametrize(
    ("playbook", "given", "complaint"),
    [
        ("integration", {"postgres_external": "localhost:5432"}, "postgres_external: it is on the loopback"),
        ("integration", {"redis_external": "192.0.2.1:7000", "redis_port": 7001}, "redis_port: it is another port"),
        (
            "integration",
            {"datastorage_external": NOBODY, "stack_contract": "auto"},
            f"stack_contract: auto asks datastorage_external {NOBODY}, and there is no connection to {NOBODY}",
        ),
        (
            "integration",
            {"datastorage_external": "192.0.2.1:80", "stack_contract": "v1"},
            "datastorage_token or datastorage_token_file: contract v1 asks everybody for a token; give one that opens",
        ),
        (
            "integration",
            {"datastorage_external": NOBODY, "datastorage_ca_file": "/etc/hostname"},
            "datastorage_ca_file: datastorage_external is asked over plain HTTP; leave it out",
        ),
        (
            "integration",
            {
                "datastorage_external": "https://" + NOBODY,
                "stack_contract": "v1",
                "datastorage_token": "any",
                "datastorage_ca_file": "/etc/hostname",
            },
            "datastorage_ca_file: /etc/hostname: there is no certificate in it; name a PEM file",
        ),
        ("reset", {"postgres_external": NOBODY}, "postgres_external: a reset would replace a database"),
        ("reset", {"redis_external": NOBODY}, "redis_external: a reset would empty queues"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_started(
    guest: Stack, playbook: str, given: dict[str, Any], complaint: str
) -> None:
    assert guest.play(playbook, **given).complaint.startswith(complaint)
    assert left_of(guest.name) == []
