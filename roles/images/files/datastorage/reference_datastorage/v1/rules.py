# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What contract v1 demands of an event: more categories, more fields, and ``event_data`` that fits its own type.

The original knows 142 types of ``event_data``. Here are those by which one can tell that a stack works, at least one of
every category that has such a simple one, and all of the WorkflowExecution controller; any other type is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from uuid import UUID

from reference_datastorage.events import Check, Rules, is_boolean, is_date_time, is_integer, is_string

CATEGORIES = (
    "gateway",
    "notification",
    "analysis",
    "aiagent",
    "signalprocessing",
    "workflow",
    "workflowexecution",
    "orchestration",
    "approval",
    "effectiveness",
    "actiontype",
    "apifrontend",
    "security",
    "agentsession",
)


def _one_of(*words: str) -> Check:
    def check(value: object) -> str | None:
        return None if value in words else f"value is not one of the allowed values {json.dumps(words)}"

    return check


def _texts(value: object) -> str | None:
    """Demand an object of nothing but texts."""
    if not isinstance(value, dict):
        return "value must be an object"
    return None if all(isinstance(item, str) for item in value.values()) else "value must be a string"


def _address(value: object) -> str | None:
    if not isinstance(value, str):
        return "value must be a string"
    return "maximum string length is 45" if len(value) > 45 else None


def _anything(_value: object) -> str | None:
    return None


class Payload:
    """The schema of one type's ``event_data``: which fields there are, which of them must be there, what is in them."""

    def __init__(self, required: str = "", optional: str = "", **checks: Check) -> None:
        """Take names separated by spaces: they are texts, unless ``checks`` has one of their own."""
        self.required = required.split()
        texts = ["event_type", *self.required, *optional.split()]
        self.checks: dict[str, Check] = {**dict.fromkeys(texts, is_string), **checks}

    def judge(self, data: Mapping[str, object]) -> str | None:
        """Say what is wrong with ``event_data``, or None."""
        for name in self.required:
            if name not in data:
                return f'property "{name}" is missing'
        for name, check in self.checks.items():
            error = check(data[name]) if name in data else None
            if error:
                return f'Error at "/{name}": {error}'
        return None


_EXECUTION = Payload(
    "workflow_id workflow_version target_resource phase container_image execution_name",
    "workflow_name action_type duration failure_message failed_task_name pipelinerun_name",
    phase=_one_of("Pending", "Running", "Completed", "Failed"),
    failure_reason=_one_of(
        "OOMKilled",
        "DeadlineExceeded",
        "Forbidden",
        "ImagePullBackOff",
        "ConfigurationError",
        "ResourceExhausted",
        "TaskFailed",
        "UnsupportedEngine",
        "Deduplicated",
        "Unknown",
    ),
    started_at=is_date_time,
    completed_at=is_date_time,
    parameters=_texts,
    retry_count=is_integer,
    error_details=_anything,
)

#: Value of ``event_data.event_type`` -> its schema.
PAYLOADS: Mapping[str, Payload] = {
    "gateway.config.reloaded": Payload("component", "config_version"),
    "webhook.notification.acknowledged": Payload(
        "",
        "notification_id notification_name type notification_type priority final_status cancelled_by user_uid",
        delivery_channels=_anything,
        user_groups=_anything,
        action=_one_of("notification_cancelled", "notification_acknowledged"),
    ),
    "apifrontend.auth.success": Payload(
        "auth_method", "issuer", auth_method=_one_of("jwt", "token_review"), groups=_anything
    ),
    "aiagent.auth.failure": Payload("event_id", "source_ip path method reason"),
    "effectiveness.health.assessed": Payload(
        "correlation_id namespace component",
        "ea_name details reason signal_name",
        component=_one_of("health", "alert", "alert_decay", "metrics", "hash", "scheduled", "completed"),
        assessed=is_boolean,
        score=_anything,
        health_checks=_anything,
    ),
    "orchestrator.approval.approved": Payload(
        "rr_name namespace",
        "rar_name approved_by message workflow_id",
        decision=_one_of("Approved", "Rejected", "Pending"),
    ),
    "signalprocessing.business.classified": Payload(
        "phase signal",
        "severity environment priority criticality business_unit",
        phase=_one_of("Pending", "Enriching", "Classifying", "Categorizing", "Completed", "Failed"),
    ),
    "aianalysis.phase.transition": Payload("old_phase new_phase"),
    "remediationworkflow.admitted.create": Payload(
        "workflow_name action",
        "workflow_id catalog_status denial_reason content_hash",
        action=_one_of("create", "update", "delete", "denied"),
    ),
    "workflowexecution.selection.completed": _EXECUTION,
    "workflowexecution.execution.started": _EXECUTION,
    "workflowexecution.workflow.started": _EXECUTION,
    "workflowexecution.workflow.completed": _EXECUTION,
    "workflowexecution.workflow.failed": _EXECUTION,
    "workflowexecution.block.cleared": Payload(
        "workflow_name clear_reason cleared_at previous_state new_state",
        cleared_at=is_date_time,
        previous_state=_one_of("Blocked"),
        new_state=_one_of("Running"),
    ),
}


def _judge_data(data: object) -> str | None:
    """Judge ``event_data`` by the schema that its own ``event_type`` names, whatever the event's is."""
    if not isinstance(data, dict):
        return "value must be an object"
    kind = data.get("event_type")
    if not isinstance(kind, str):
        return 'input does not contain the discriminator property "event_type"'
    if kind not in PAYLOADS:
        return 'discriminator property "event_type" has invalid value'
    return PAYLOADS[kind].judge(data)


def _known(data: dict[str, object]) -> dict[str, object]:
    """Return what the type knows of ``event_data``: nothing else is stored, and nobody is told."""
    checks = PAYLOADS[str(data["event_type"])].checks
    return {name: value for name, value in data.items() if name in checks}


V1 = Rules(
    categories=CATEGORIES,
    cluster="cluster_id",
    max_ahead=timedelta(minutes=60),
    more={
        "actor_ip": _address,
        "parent_event_date": is_date_time,
        "error_code": is_string,
        "error_message": is_string,
        "retention_days": is_integer,
        "is_sensitive": is_boolean,
    },
    data=_judge_data,
    trim=_known,
    max_data=256 * 1024,
    max_depth=10,
    details=True,
    null_parent=UUID(int=0),  # which no event has
)
