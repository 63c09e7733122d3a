# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reference service passes every case of the contract that needs no fault."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from ansible_collections.kubernaut.integration.tests.live.playing import LIMIT, ROOT, Stack


def test_the_reference_service_does_what_a_real_one_was_seen_to_do(live: Stack, tmp_path: Path) -> None:
    kept = tmp_path / "report.json"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests/conformance", f"--stack={live.state_dir}", f"--report={kept}"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    fidelity = re.search(r"^fidelity: (\d+) of (\d+) observed cases pass", done.stdout, re.MULTILINE)
    assert fidelity is not None, done.stdout
    assert fidelity[1] == fidelity[2]
    assert int(fidelity[1]) >= 100
    report = json.loads(kept.read_text())
    assert report["reference_service"] is True
    assert {case["why"] for case in report["cases"] if case["outcome"] != "passed"} <= {
        "they need --faults",
        "they need --faults or --control",
    }
