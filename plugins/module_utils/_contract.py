# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a contract says: the shape of the facts about one generation of DataStorage. PRIVATE to the collection."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, Mapping, Tuple


@dataclass(frozen=True)
class Kind:
    """A kind of probe event.

    :param data: ``event_data``; its strings are filled with ``{namespace}``, ``{execution}``, ``{started}``, ``{now}``,
        and in whole seconds ``{started_second}``, ``{now_second}``.
    """

    event_type: str
    action: str
    outcome: str
    data: Mapping[str, Any]


@dataclass(frozen=True)
class Contract:
    """What a generation of DataStorage listens on, needs, takes, returns and stores.

    :param port: where its API listens in the container; ``health_port`` and ``metrics_port`` are the same one where the
        generation has none of their own.
    :param health: path on the health port that tells whether it is ready; ``expect`` what a ready one's body says.
    :param config_path: where it looks for its configuration.
    :param marker: file of migrations by which a checkout of this generation is known.
    :param known_by: path of the API by which a running service is known: no other generation has it.
    :param tables: that must be in its schema; ``functions``, ``extensions`` likewise.
    :param partitioned: tables by month.
    :param absent: tables that only another generation's schema has.
    :param tokens: its API asks for a bearer token, and asks an API server of Kubernetes about it.
    :param signer: directory in which it demands a certificate; empty for none.
    :param gate_timeout: seconds that it may take until it is ready.
    :param teams: ports of teams that differ from those of the first generation.
    :param events_path: where events are queried; ``<events_path>/batch`` takes a batch.
    :param chain_path: where a chain of events is verified; empty where there are no chains.
    :param write_timeout: seconds for the batch; longer than the transaction that the service allows itself.
    :param category: ``event_category`` of every probe event.
    :param batch: the probe: kind and number of the execution it is about, oldest first.
    :param columns: field of the request (and of the query's answer) -> column of ``audit_events``.
    :param insert_columns: every column that the service's own batch insert names beside those in ``columns``.
    :param queues: Redis streams in which an event may end instead, failed and dead letters.
    """

    port: int
    health_port: int
    metrics_port: int
    health: str
    expect: Mapping[str, Any]
    metrics: str
    config_path: str
    marker: str
    known_by: str
    tables: Tuple[str, ...]
    partitioned: Tuple[str, ...]
    functions: Tuple[str, ...]
    extensions: Tuple[str, ...]
    absent: Tuple[str, ...]
    tokens: bool
    signer: str
    gate_timeout: float
    events_path: str
    chain_path: str
    write_timeout: float
    category: str
    batch: Tuple[Tuple[Kind, int], ...]
    columns: Mapping[str, str]
    insert_columns: Tuple[str, ...]
    queues: Tuple[str, ...]
    teams: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def facts(self) -> Dict[str, Any]:
        """Return what roles ask for, as plain data."""
        lists = ("tables", "partitioned", "functions", "extensions", "absent")
        values = (
            *("port", "health_port", "metrics_port", "health", "metrics", "config_path", "tokens", "signer"),
            "gate_timeout",
        )
        return {
            **{name: getattr(self, name) for name in values},
            **{name: list(getattr(self, name)) for name in lists},
            "expect": dict(self.expect),
        }
