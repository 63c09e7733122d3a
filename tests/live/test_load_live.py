# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reference service under many events: none is lost, and its memory stays small. Both generations."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from ansible_collections.kubernaut.integration.tests.live.playing import Stack, podman

EVENTS = "/api/v1/audit/events"
CLIENTS, EACH = 8, 1250
#: Events of one request, and requests.
BATCH, BATCHES = 100, 1000
#: Bytes that the service may have in memory after all of them.
MOST = 100 * 1024 * 1024
KINDS = {
    "v0": {"event_type": "workflow.started", "event_category": "workflow", "event_action": "started", "event_data": {}},
    "v1": {
        "event_type": "gateway.config.reloaded",
        "event_category": "gateway",
        "event_action": "reloaded",
        "event_data": {"event_type": "gateway.config.reloaded", "component": "load"},
    },
}
PORTS = {"postgres": 28343, "redis": 28389, "datastorage": 28300}
PORTS |= {"datastorage_health": 28381, "datastorage_metrics": 28390}

pytestmark = pytest.mark.slow


class Load:
    """A stack of one contract, and what is sent to it."""

    def __init__(self, contract: str, stack: Stack) -> None:
        self.contract, self.stack = contract, stack
        token = stack.state_dir / "datastorage.token"
        self.headers = {"Authorization": "Bearer " + token.read_text().strip()} if token.exists() else {}

    def client(self) -> httpx.Client:
        url = f"http://127.0.0.1:{self.stack.ports['datastorage']}"
        return httpx.Client(base_url=url, headers=self.headers, timeout=60, trust_env=False)

    def event(self, correlation: str, number: int) -> dict[str, Any]:
        moment = datetime.now(UTC) - timedelta(seconds=3) + timedelta(microseconds=number)
        common = {"version": "1.0", "event_outcome": "success", "correlation_id": correlation}
        return {**common, **KINDS[self.contract], "event_timestamp": moment.isoformat()}

    def stored(self, pattern: str) -> int:
        """Return how many events PostgreSQL has, by their correlation."""
        env = self.stack.env
        login = {"user": env["POSTGRES_USER"], "password": env["POSTGRES_PASSWORD"], "dbname": env["POSTGRES_DB"]}
        with psycopg.connect(host="127.0.0.1", port=PORTS["postgres"], **login) as database:
            question = "SELECT count(*) FROM audit_events WHERE correlation_id LIKE %s"
            row = database.execute(question, [pattern]).fetchone()
        assert row is not None
        return int(row[0])

    @property
    def memory(self) -> int:
        """Bytes that the service's process has in memory."""
        pid = podman("inspect", "--format={{.State.Pid}}", self.stack.container("datastorage")).strip()
        status = Path("/proc", pid, "status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS:")).split()[1]) * 1024


@pytest.fixture(scope="module", params=["v0", "v1"])
def load(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Load]:
    """A stack of its own for each contract."""
    stack = Stack("load", PORTS, tmp_path_factory.mktemp("state"))
    generation = {"stack_contract": "v1", "datastorage_auth": "stub"} if request.param == "v1" else {}
    try:
        stack.play("integration", **generation).ok()
        yield Load(request.param, stack)
    finally:
        stack.remove(stack_stop_timeout=1)


def test_none_is_lost_of_what_eight_clients_write_at_once(load: Load) -> None:
    refused: list[str] = []

    def write(number: int) -> None:
        with load.client() as client:
            for index in range(EACH):
                answer = client.post(EVENTS, json=load.event(f"load-{number}-{index}", index))
                if answer.status_code != 201:
                    refused.append(f"{answer.status_code} {answer.text}")

    clients = [threading.Thread(target=write, args=(number,)) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert refused == [], dict(Counter(refused))
    assert load.stored("load-%") == CLIENTS * EACH


def test_memory_stays_small(load: Load) -> None:
    with load.client() as client:
        for number in range(BATCHES):
            batch = [load.event(f"batch-{number}-{index}", index) for index in range(BATCH)]
            answer = client.post(EVENTS + "/batch", json=batch)
            assert answer.status_code == 201, answer.text
    assert load.stored("batch-%") == BATCH * BATCHES
    assert load.memory < MOST
