# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Contract v0: DataStorage as it was in December 2025 (kubernaut eb5185b73). PRIVATE to the collection."""

from __future__ import annotations

from typing import Any, Mapping

from ansible_collections.kubernaut.integration.plugins.module_utils._contract import Contract, Kind

_WORKFLOW: Mapping[str, Any] = {
    "workflow_id": "test-workflow",
    "workflow_version": "v1.0.0",
    "target_resource": "{namespace}/deployment/app",
    "container_image": "ghcr.io/kubernaut/workflows/test@sha256:abc123",
    "execution_name": "{execution}",
    "started_at": "{started}",
    # Every JSON type and a letter outside ASCII: event_data must come back as it was, not only its flat strings.
    "parameters": {
        "REPLICAS": 3,
        "RATIO": 0.5,
        "DRY_RUN": False,
        "NOTE": "größer",
        "SELECTOR": None,
        "ZONES": ["a", "b"],
    },
}
_STARTED = Kind("workflow.started", "started", "success", {**_WORKFLOW, "phase": "Running"})
_COMPLETED = Kind(
    "workflow.completed",
    "completed",
    "success",
    {
        **_WORKFLOW,
        "phase": "Completed",
        "pipelinerun_name": "{execution}-run",
        "completed_at": "{now}",
        "duration": "3ms",
    },
)
_FAILED = Kind(
    "workflow.failed",
    "failed",
    "failure",
    {
        **_WORKFLOW,
        "phase": "Failed",
        "pipelinerun_name": "{execution}-run",
        "completed_at": "{now}",
        "failed_task_name": "apply",
        "failure_reason": "TaskFailed",
        "failure_message": "task apply failed: exceeded quota",
    },
)

CONTRACT = Contract(
    port=8080,
    health_port=8080,
    # 9090 is exposed and mapped by every script of upstream's, and nothing listens there.
    metrics_port=8080,
    health="/health",
    expect={"status": "healthy", "database": "connected"},
    metrics="/metrics",
    config_path="/etc/datastorage/config.yaml",
    marker="001_initial_schema.sql",
    known_by="/health",
    tables=("audit_events", "notification_audit", "remediation_workflow_catalog", "resource_action_traces"),
    partitioned=("audit_events", "resource_action_traces"),
    functions=("set_audit_event_date",),
    extensions=("uuid-ossp",),
    absent=(),
    tokens=False,
    signer="",
    gate_timeout=30.0,
    chain_path="",
    events_path="/api/v1/audit/events",
    write_timeout=35.0,
    category="workflow",
    batch=(
        (_STARTED, 1),
        (_STARTED, 2),
        (_STARTED, 3),
        (_COMPLETED, 1),
        (_COMPLETED, 2),
        (_COMPLETED, 3),
        (_FAILED, 4),
    ),
    columns={
        "version": "event_version",
        "event_type": "event_type",
        "event_timestamp": "event_timestamp",
        "event_category": "event_category",
        "event_action": "event_action",
        "event_outcome": "event_outcome",
        "correlation_id": "correlation_id",
        "actor_type": "actor_type",
        "actor_id": "actor_id",
        "resource_type": "resource_type",
        "resource_id": "resource_id",
        "namespace": "namespace",
        "event_data": "event_data",
    },
    insert_columns=(
        "parent_event_id",
        "parent_event_date",
        "cluster_name",
        "severity",
        "duration_ms",
        "error_code",
        "error_message",
        "retention_days",
        "is_sensitive",
    ),
    queues=(
        "audit:dlq:events",
        "audit:dlq:notifications",
        "audit:dead-letter:events",
        "audit:dead-letter:notifications",
    ),
)
