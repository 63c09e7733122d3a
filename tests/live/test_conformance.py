# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reference service passes every case of the contract; of v1 without faults in ``test_generations_live``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.kubernaut.integration.tests.live.playing import Stack

GENERATIONS: dict[str, dict[str, Any]] = {
    "v0": {},
    "v1": {"stack_contract": "v1", "datastorage_auth": "stub", "datastorage_tls": True},
}
PORTS = {"postgres": 28443, "redis": 28489, "datastorage": 28400}
PORTS |= {"datastorage_health": 28481, "datastorage_metrics": 28490}


def test_the_reference_service_does_what_a_real_one_was_seen_to_do(live: Stack, tmp_path: Path) -> None:
    report = live.conform(tmp_path / "report.json")
    assert report["reference_service"] is True
    assert {case["why"] for case in report["cases"] if case["outcome"] != "passed"} <= {
        "they need --faults",
        "they need --faults or --control",
    }


@pytest.mark.slow
@pytest.mark.parametrize("contract", GENERATIONS)
def test_nor_does_it_differ_under_a_fault_or_when_started_wrongly(contract: str, tmp_path: Path) -> None:
    stack = Stack("conform", PORTS, tmp_path)
    try:
        stack.play("integration", **GENERATIONS[contract]).ok()
        tokens = stack.state_dir / "config" / "auth" / "tokens.json"
        if tokens.exists():
            known = json.loads(tokens.read_text())
            known["tokens"]["strangers"] = {"user": "system:serviceaccount:default:stranger", "allowed": False}
            known["tokens"]["humans"] = {"user": "alice@example.com", "allowed": True}
            tokens.chmod(0o600)
            tokens.write_text(json.dumps(known))
            tokens.chmod(0o400)
        identities = {"DATASTORAGE_STRANGER_TOKEN": "strangers", "DATASTORAGE_HUMAN_TOKEN": "humans"}
        report = stack.conform(tmp_path / "report.json", "--faults", **identities)
        assert {case["why"] for case in report["cases"] if case["outcome"] != "passed"} == set()
    finally:
        stack.remove(stack_stop_timeout=1)
