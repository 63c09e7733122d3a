# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reference service passes every case of contract v0 that needs no fault; ``test_generations_live`` has v1."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.kubernaut.integration.tests.live.playing import Stack


def test_the_reference_service_does_what_a_real_one_was_seen_to_do(live: Stack, tmp_path: Path) -> None:
    report = live.conform(tmp_path / "report.json")
    assert report["reference_service"] is True
    assert {case["why"] for case in report["cases"] if case["outcome"] != "passed"} <= {
        "they need --faults",
        "they need --faults or --control",
    }
