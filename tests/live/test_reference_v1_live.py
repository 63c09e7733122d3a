# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Contract v1's schema and the reference service's chains against a real PostgreSQL.

The server is that of test_migrations_live.py; each test has a database of its own, with the collection's tables.
"""

from __future__ import annotations

import asyncio
import json
import os
import uuid
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ansible_collections.kubernaut.integration.tests.live.test_migrations_live import Database, db
from reference_datastorage.events import EventQuery, parse_batch
from reference_datastorage.store import StoreError
from reference_datastorage.v1 import store as store_module
from reference_datastorage.v1.config import Database as Configured
from reference_datastorage.v1.rules import V1
from reference_datastorage.v1.store import ChainStore, ChainTooLongError, Verification

__all__ = ["db"]

FILES = Path(__file__).parents[2] / "roles" / "migrations" / "files"
TODAY = datetime.now(UTC).date()


def migrated(database: Database, contract: str = "v1") -> Database:
    database.directory = FILES / contract
    database.migrate()
    return database


def use(database: Database, work: Callable[[ChainStore], Coroutine[Any, Any, Any]]) -> Any:
    """Run ``work`` with a store of the database."""
    limit = timedelta(seconds=10)
    store = ChainStore(
        Configured(
            host="127.0.0.1",
            port=int(os.environ["KUBERNAUT_TEST_POSTGRES_PORT"]),
            name=database.name,
            user="slm_user",
            ssl_mode="disable",
            password=os.environ["KUBERNAUT_TEST_POSTGRES_PASSWORD"],
            statement_timeout=limit,
            lock_timeout=limit,
            max_open=25,
            max_idle=5,
            max_lifetime="5m",
            max_idle_time="5m",
        )
    )

    async def run() -> Any:
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(run())


def events(count: int, chain: str, step: timedelta = timedelta(microseconds=1)) -> list[Any]:
    now = datetime.now(UTC)
    requests = [
        {
            "version": "1.0",
            "event_type": "workflowexecution.execution.started",
            "event_timestamp": (now + index * step).isoformat(),
            "event_category": "workflowexecution",
            "event_action": "started",
            "event_outcome": "success",
            "correlation_id": chain,
            "cluster_id": "c",
            "actor_ip": "10.0.0.1",
            "retention_days": 30,
            "is_sensitive": True,
            "event_data": {
                "event_type": "workflowexecution.execution.started",
                **dict.fromkeys(("workflow_id", "workflow_version", "target_resource"), "größer"),
                **dict.fromkeys(("container_image", "execution_name"), "x"),
                "phase": "Running",
                # Numbers that PostgreSQL keeps in another notation than they came in.
                "error_details": [1.50, 1e2, {"b": None, "a": 0.1}],
            },
        }
        for index in range(count)
    ]
    return parse_batch(json.loads(json.dumps(requests)), now, V1)


@pytest.fixture
def v1(db: Database) -> Database:
    return migrated(db)


def test_the_schema_is_what_contract_v1_needs(v1: Database) -> None:
    info = v1.info(
        required_tables=["audit_events", "notification_audit"],
        required_functions=["set_audit_event_date", "audit_event_lock_id"],
        required_extensions=["pgcrypto", "uuid-ossp"],
        partitioned_tables=["audit_events"],
        absent_tables=["resource_action_traces", "remediation_workflow_catalog"],
    )
    assert info["tables"] == ["audit_events", "notification_audit"]
    assert not v1.migrate()["changed"]


def test_a_chain_holds_and_comes_back(v1: Database) -> None:
    chain = uuid.uuid4().hex

    async def work(store: ChainStore) -> tuple[Verification, Any]:
        await store.insert_batch(events(7, chain))
        await store.insert(events(1, chain, timedelta(seconds=1))[0])
        query = EventQuery({"correlation_id": chain}, None, None, 10, 0, ("phase", "Running"))
        return await store.verify(chain), await store.query(query)

    verification, page = use(v1, work)
    assert (verification.total, verification.verified, verification.tampered) == (8, 8, [])
    assert page.total == 8
    row = page.rows[0]
    assert (row["cluster_id"], row["actor_ip"], row["retention_days"], row["is_sensitive"]) == (
        "c",
        "10.0.0.1",
        30,
        True,
    )
    assert row["previous_event_hash"] == page.rows[1]["event_hash"]
    assert row["event_data"]["workflow_id"] == "größer"


@pytest.mark.parametrize("step", [timedelta(0), timedelta(seconds=-1)])
def test_a_chain_whose_timestamps_do_not_increase_does_not(v1: Database, step: timedelta) -> None:
    async def work(store: ChainStore) -> Verification:
        await store.insert_batch(events(7, "rr", step))
        return await store.verify("rr")

    found = use(v1, work)
    assert (found.total, bool(found.tampered)) == (7, True)
    assert found.verified < 7


def test_a_chain_that_is_too_long_is_refused(v1: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "MAX_CHAIN", 60)

    async def work(store: ChainStore) -> int:
        await store.insert_batch(events(60, "rr"))
        total = (await store.verify("rr")).total
        await store.insert_batch(events(1, "rr"))
        with pytest.raises(ChainTooLongError):
            await store.verify("rr")
        return total

    assert use(v1, work) == 60


def test_many_writers_make_no_deadlock_and_two_chains(v1: Database) -> None:
    async def work(store: ChainStore) -> None:
        batches = [[*events(2, "a"), *events(2, "b")] for _writer in range(10)]
        await asyncio.gather(
            *(store.insert_batch(batch[:: 1 - 2 * (index % 2)]) for index, batch in enumerate(batches))
        )

    use(v1, work)
    # One beginning each: nobody has looked for the last event while another was about to add one.
    beginnings = "count(*) FILTER (WHERE previous_event_hash = '')"
    found = v1.ask(f"SELECT correlation_id, count(*), {beginnings} FROM audit_events GROUP BY 1 ORDER BY 1")  # noqa: S608 - constants
    assert found == [("a", 20, 1), ("b", 20, 1)]


def test_an_event_does_not_change_but_can_be_removed(v1: Database) -> None:
    use(v1, lambda store: store.insert_batch(events(3, "rr")))
    for change in ("event_type = 'x'", "event_hash = 'x'", "event_data = '{}'"):
        with pytest.raises(psycopg.errors.IntegrityConstraintViolation):
            v1.ask(f"UPDATE audit_events SET {change}")  # noqa: S608 - constants
    oldest = "event_timestamp = (SELECT min(event_timestamp) FROM audit_events)"
    v1.ask(f"UPDATE audit_events SET retention_days = 1, legal_hold = true WHERE {oldest}")  # noqa: S608 - constants
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        v1.ask("DELETE FROM audit_events")
    v1.ask("DELETE FROM audit_events WHERE event_timestamp = (SELECT max(event_timestamp) FROM audit_events)")
    assert v1.ask("SELECT count(*) FROM audit_events") == [(2,)]


def test_partitions_are_made_where_they_are_missing(v1: Database) -> None:
    this_month = f"audit_events_{TODAY:%Y_%m}"
    v1.ask(f"ALTER TABLE audit_events DETACH PARTITION {this_month}; DROP TABLE {this_month}")
    with pytest.raises(StoreError, match="no partition of relation"):
        use(v1, lambda store: store.insert_batch(events(1, "rr")))
    for _again in range(2):
        use(v1, lambda store: store.ensure_partitions(TODAY))
    use(v1, lambda store: store.insert_batch(events(1, "rr")))


def test_without_a_schema_the_partition_is_named(db: Database) -> None:
    with pytest.raises(StoreError) as caught:
        use(db, lambda store: store.ensure_partitions(TODAY))
    expected = f'failed to create partition audit_events_{TODAY:%Y_%m}: ERROR: relation "audit_events" does not exist'
    assert str(caught.value) == f"{expected} (SQLSTATE 42P01)"


def test_the_other_contracts_schema_is_named_by_its_column(db: Database) -> None:
    migrated(db, "v0")
    with pytest.raises(StoreError, match='column "cluster_id" does not exist') as caught:
        use(db, lambda store: store.insert_batch(events(1, "rr")))
    assert caught.value.sqlstate == "42703"
