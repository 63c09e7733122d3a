# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every fault is tried for real, and judged by what its row says."""

from __future__ import annotations

import os
import time

import pytest

from ansible_collections.kubernaut.integration.molecule.faults.tests.outcome import Outcome, Result, judge
from ansible_collections.kubernaut.integration.molecule.faults.tests.rows import ROWS, Row
from ansible_collections.kubernaut.integration.molecule.faults.tests.scene import PROOF, Scene
from ansible_collections.kubernaut.integration.tests.live.playing import left_of

#: Slow ones are tried, too.
SLOW = os.environ.get("KUBERNAUT_SLOW", "") not in ("", "0")


def play(scene: Scene, row: Row) -> tuple[Outcome, list[str]]:
    """Bring a row's fault about, play, judge what came of it while everything is still there, and undo it."""
    stack = scene.other if row.elsewhere else scene.stack
    with row.around(scene) as variables:
        reports = (stack.home if "stack_state_dir" not in variables else scene.files / "disk") / stack.name / "report"
        before = set(reports.glob("failure-*"))
        begin = time.monotonic()
        if row.strike is None:
            run = stack.play(row.playbook, env=row.env, **variables)
        else:
            playing = stack.start(row.playbook, **variables)
            try:
                playing.until(row.at.partition(" : ")[2])
                begin = time.monotonic()
                row.strike(scene)
            except BaseException:
                playing.kill()
                raise
            run = playing.end()
        seconds = time.monotonic() - begin
        outcome = Outcome(run, seconds, sorted(set(reports.glob("failure-*")) - before))
        return outcome, judge(row, outcome, scene.secrets)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_fault(scene: Scene, results: list[Result], row: Row) -> None:
    if row.slow and not SLOW:
        results.append(Result(row, None))
        pytest.skip("KUBERNAUT_SLOW=1 tries it")
    if row.warm and scene.spoilt:
        scene.heal()
    scene.spoilt = scene.spoilt or row.spoils
    outcome, wrong = play(scene, row)
    results.append(Result(row, outcome, wrong))
    if row.elsewhere:
        scene.forget_other()
    assert not wrong, "\n".join([*wrong, "", outcome.run.tail])


def test_every_fault_was_undone(scene: Scene) -> None:
    """The stack can be brought back, and then nothing is left to do."""
    scene.heal()
    again = scene.heal()
    assert again.recap["changed"] == 0, again.tail
    assert left_of(scene.other.name) == []
    assert PROOF.split(",", 1)[0] in scene.stack.play("verify").ok().out


def test_there_are_enough_of_them() -> None:
    assert len(ROWS) >= 35
    assert len({row.name for row in ROWS}) == len(ROWS)
