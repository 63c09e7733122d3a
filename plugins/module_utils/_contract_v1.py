# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Contract v1: DataStorage as it was in August 2026 (kubernaut d5a4a8709). PRIVATE to the collection."""

from __future__ import annotations

from typing import Any, Mapping

from ansible_collections.kubernaut.integration.plugins.module_utils._contract import Contract, Kind
from ansible_collections.kubernaut.integration.plugins.module_utils._contract_v0 import CONTRACT as V0

_EXECUTION: Mapping[str, Any] = {
    "workflow_id": "test-workflow",
    "workflow_version": "v1.0.0",
    "target_resource": "{namespace}/deployment/app",
    "container_image": "ghcr.io/kubernaut/workflows/test@sha256:abc123",
    "execution_name": "{execution}",
    # Whole seconds: the service keeps no more of a moment in event_data.
    "started_at": "{started_second}",
    # Strings only: the schema takes nothing else.
    "parameters": {"REPLICAS": "3", "NOTE": "größer"},
}


def _kind(event_type: str, action: str, outcome: str, **data: Any) -> Kind:
    """Return a kind whose ``event_data`` says its type once more, as the schema's discriminator demands."""
    return Kind(event_type, action, outcome, {**_EXECUTION, "event_type": event_type, **data})


_STARTED = _kind("workflowexecution.execution.started", "started", "success", phase="Running")
_COMPLETED = _kind(
    "workflowexecution.workflow.completed",
    "completed",
    "success",
    phase="Completed",
    pipelinerun_name="{execution}-run",
    completed_at="{now_second}",
    duration="3ms",
)
_FAILED = _kind(
    "workflowexecution.workflow.failed",
    "failed",
    "failure",
    phase="Failed",
    pipelinerun_name="{execution}-run",
    completed_at="{now_second}",
    failed_task_name="apply",
    failure_reason="TaskFailed",
    failure_message="task apply failed: exceeded quota",
)

CONTRACT = Contract(
    port=8080,
    health_port=8081,
    metrics_port=9090,
    health="/readyz",
    expect={"status": "ready"},
    metrics="/metrics",
    config_path=V0.config_path,
    marker="001_v1_schema.sql",
    known_by="/readyz",
    tables=("audit_events", "notification_audit"),
    partitioned=("audit_events",),
    functions=("set_audit_event_date", "audit_event_lock_id"),
    extensions=("uuid-ossp", "pgcrypto"),
    absent=("remediation_workflow_catalog", "resource_action_traces"),
    tokens=True,
    signer="/etc/certs",
    # It tries for up to 37 s to reach what it needs before it gives up and says so.
    gate_timeout=45.0,
    events_path=V0.events_path,
    chain_path="/api/v1/audit/verify-chain",
    write_timeout=35.0,
    category="workflowexecution",
    batch=(
        (_STARTED, 1),
        (_STARTED, 2),
        (_STARTED, 3),
        (_COMPLETED, 1),
        (_COMPLETED, 2),
        (_COMPLETED, 3),
        (_FAILED, 4),
    ),
    columns=V0.columns,
    insert_columns=(
        "parent_event_id",
        "parent_event_date",
        "cluster_id",
        "severity",
        "duration_ms",
        "error_code",
        "error_message",
        "retention_days",
        "is_sensitive",
        "event_hash",
        "previous_event_hash",
        "hash_algorithm",
        "legal_hold",
        "legal_hold_reason",
        "legal_hold_placed_by",
        "legal_hold_placed_at",
    ),
    queues=V0.queues,
    # As upstream's DD-TEST-001 v3.8 allots them; those of the other teams have stayed.
    teams={
        "apifrontend": {"postgres": 15448, "redis": 16394, "datastorage": 18096},
        "authwebhook": {"postgres": 15442, "redis": 16386, "datastorage": 18099},
        "gateway": {"postgres": 15437, "redis": 16380, "datastorage": 18091},
        "kubernautagent": {"postgres": 15439, "redis": 16387, "datastorage": 18098},
        "notification": {"postgres": 15440, "redis": 16385, "datastorage": 18096},
        "signalprocessing": {"postgres": 15436, "redis": 16382, "datastorage": 18094},
        "workflowexecution": {"postgres": 15441, "redis": 16388, "datastorage": 18097},
    },
)
