# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: ARG005 - a stand-in takes what the real one takes
"""The gate engine, on a clock of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from ansible_collections.kubernaut.integration.plugins.module_utils import _gate
from ansible_collections.kubernaut.integration.plugins.module_utils._gate import Observation, Verdict, next_gap, wait

NOT_YET = Observation(False, "refused", "nothing listens")
READY = Observation(True, "ready", "PONG")
GONE = Observation(False, "exited", "exited with status 1", final=True)


class Clock:
    """Time that passes only when somebody sleeps or an attempt takes time."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.sleeps: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds


def gate(
    clock: Clock,
    answer: Callable[[float], Observation],
    timeout: float = 30.0,
    watch: Callable[[bool], Observation | None] | None = None,
    cost: float = 0.0,
    stable_for: float = 0.0,
) -> Verdict:
    """Run a gate; ``answer`` gets the gate's age, and every attempt takes ``cost`` seconds."""
    begin = clock.now

    def probe(left: float) -> Observation:
        assert left > 0
        clock.now += cost
        return answer(clock.now - begin)

    return wait(probe, timeout, watch, stable_for, clock, clock.sleep)


def test_open_at_once_without_a_pause() -> None:
    clock = Clock()
    verdict = gate(clock, lambda age: READY)
    assert (verdict.ready, verdict.attempts, verdict.elapsed, clock.sleeps) == (True, 1, 0.0, [])


def test_opens_within_a_gap_of_the_moment() -> None:
    verdict = gate(Clock(), lambda age: READY if age >= 1.0 else NOT_YET)
    assert verdict.ready
    assert 1.0 <= verdict.elapsed <= 1.0 + _gate.QUICK_GAP


def test_deadline_holds() -> None:
    verdict = gate(Clock(), lambda age: NOT_YET, timeout=30.0)
    assert not verdict.ready
    assert verdict.last is NOT_YET
    assert verdict.elapsed == pytest.approx(30.0)


def test_last_attempt_is_made_at_the_deadline() -> None:
    assert gate(Clock(), lambda age: READY if age >= 29.999 else NOT_YET, timeout=30.0).ready


@pytest.mark.parametrize("timeout", [0.0, -1.0])
def test_no_time_is_one_attempt(timeout: float) -> None:
    clock = Clock()
    verdict = gate(clock, lambda age: NOT_YET, timeout=timeout)
    assert (verdict.attempts, clock.sleeps) == (1, [])


def test_attempt_knows_what_is_left() -> None:
    clock, lefts = Clock(), []

    def probe(left: float) -> Observation:
        lefts.append(left)
        clock.now += 0.4
        return NOT_YET

    wait(probe, 1.0, None, 0.0, clock, clock.sleep)
    assert lefts == pytest.approx([1.0, 0.55, 0.1])


def test_slow_attempts_do_not_move_the_deadline() -> None:
    verdict = gate(Clock(), lambda age: NOT_YET, timeout=5.0, cost=2.0)
    assert verdict.attempts == 3
    assert verdict.elapsed < 5.0 + 2.0


def test_final_observation_ends_the_gate() -> None:
    verdict = gate(Clock(), lambda age: GONE if age >= 0.1 else NOT_YET)
    assert (verdict.ready, verdict.last) == (False, GONE)
    assert verdict.elapsed < 0.2


def test_container_that_exits_ends_the_gate_at_once() -> None:
    clock = Clock()
    verdict = gate(clock, lambda age: NOT_YET, watch=lambda certain: GONE if clock.now >= 1001.0 else None)
    assert verdict.last is GONE
    assert verdict.elapsed < 1.1
    assert [seen.state for seen in verdict.observations] == ["refused", "exited"]


def test_end_of_the_container_is_seen_while_an_attempt_hangs() -> None:
    """An attempt at a dead container's port once held up the news for its whole two seconds."""
    release = threading.Event()

    def probe(_left: float) -> Observation:
        release.wait(10)
        return NOT_YET

    begin = time.monotonic()
    verdict = wait(probe, 30.0, lambda _certain: GONE if time.monotonic() - begin > 0.1 else None)
    release.set()
    assert verdict.last is GONE
    assert time.monotonic() - begin < 5.0


def test_an_attempt_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that lets somebody in and says nothing more held a gate for ever."""
    monkeypatch.setattr(_gate, "MARGIN", 0.2)
    release = threading.Event()

    def probe(_left: float) -> Observation:
        release.wait(10)
        return READY

    begin = time.monotonic()
    for watch in (None, lambda _certain: None):
        verdict = wait(probe, 0.1, watch)
        assert (verdict.ready, verdict.last.state) == (False, "silent")
    release.set()
    assert time.monotonic() - begin < 5.0


def test_what_is_paused_is_found_out_at_the_deadline() -> None:
    paused = Observation(False, "paused", "the container c is paused", final=True)
    verdict = gate(Clock(), lambda age: NOT_YET, timeout=1.0, watch=lambda certain: paused if certain else None)
    assert (verdict.ready, verdict.last) == (False, paused)


def test_what_goes_wrong_in_an_attempt_is_not_lost() -> None:
    def probe(_left: float) -> Observation:
        raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        wait(probe, 1.0, lambda _certain: None)


def test_gate_stays_shut_when_an_answer_comes_from_somebody_else() -> None:
    """The probe is satisfied, but the container that was started is gone."""
    verdict = gate(Clock(), lambda age: READY, watch=lambda certain: GONE if certain else None)
    assert (verdict.ready, verdict.last) == (False, GONE)


def test_watch_has_to_be_certain_only_before_the_gate_opens() -> None:
    asked: list[bool] = []

    def watch(certain: bool) -> Observation | None:
        asked.append(certain)
        return None

    gate(Clock(), lambda age: READY if age >= 0.1 else NOT_YET, watch=watch)
    assert asked == [False] * (len(asked) - 1) + [True]
    assert len(asked) > 1


def test_stays_shut_until_it_was_ready_for_long_enough() -> None:
    asked: list[bool] = []
    verdict = gate(
        Clock(),
        lambda age: READY if age >= 1.0 else NOT_YET,
        stable_for=3.0,
        watch=lambda certain: asked.append(certain) or None,
    )
    assert (verdict.ready, verdict.lapsed) == (True, False)
    assert 4.0 <= verdict.elapsed <= 4.0 + 2 * _gate.QUICK_GAP
    assert asked.count(True) == 1


def test_what_ends_after_it_was_ready_does_not_open_the_gate() -> None:
    clock = Clock()
    verdict = gate(clock, lambda age: READY, stable_for=3.0, watch=lambda _: GONE if clock.now >= 1002.0 else None)
    assert (verdict.ready, verdict.lapsed, verdict.last) == (False, True, GONE)
    assert verdict.elapsed < 2.1


def test_what_recovers_has_to_be_stable_anew() -> None:
    verdict = gate(Clock(), lambda age: NOT_YET if 1.0 <= age < 2.0 else READY, stable_for=1.5)
    assert (verdict.ready, verdict.lapsed) == (True, True)
    assert verdict.elapsed >= 3.5


def test_what_comes_and_goes_ends_with_the_deadline() -> None:
    verdict = gate(Clock(), lambda age: READY if int(age) % 2 else NOT_YET, stable_for=2.0, timeout=9.0)
    assert (verdict.ready, verdict.lapsed) == (False, True)
    assert verdict.elapsed <= 9.0 + 2.0 + 0.1


def test_evidence_that_changes_with_every_attempt_is_bounded() -> None:
    verdict = gate(Clock(), lambda age: Observation(False, "answer", "at %g" % age))
    assert len(verdict.observations) == _gate.MOST_SEEN
    assert verdict.observations[-1].detail == verdict.last.detail


def test_gaps_are_short_at_first_and_grow_to_the_longest() -> None:
    clock = Clock()
    gate(clock, lambda age: NOT_YET, timeout=60.0)
    quick = [gap for gap in clock.sleeps if gap == _gate.QUICK_GAP]
    assert len(quick) == pytest.approx(_gate.QUICK_PERIOD / _gate.QUICK_GAP, abs=1)
    grown = clock.sleeps[len(quick) : -1]
    assert grown == sorted(grown)
    assert max(grown) == _gate.SLOW_GAP


@pytest.mark.parametrize(
    ("gap", "age", "wanted"),
    [(0.05, 0.0, 0.05), (0.5, 9.99, 0.05), (0.05, 10.0, 0.065), (0.45, 20.0, 0.5), (0.5, 900.0, 0.5)],
)
def test_next_gap(gap: float, age: float, wanted: float) -> None:
    assert next_gap(gap, age) == pytest.approx(wanted)


def test_equal_observations_are_one_entry() -> None:
    starting = Observation(False, "starting", "the database system is starting up")

    def answer(age: float) -> Observation:
        return NOT_YET if age < 0.5 else starting if age < 0.7 else READY

    verdict = gate(Clock(), answer)
    assert [seen.state for seen in verdict.observations] == ["refused", "starting", "ready"]
    assert sum(seen.times for seen in verdict.observations) == verdict.attempts
    assert [seen.times > 1 for seen in verdict.observations] == [True, True, False]
    assert verdict.observations[1].since == pytest.approx(0.5, abs=_gate.QUICK_GAP)


def test_same_state_with_other_evidence_is_another_entry() -> None:
    verdict = gate(Clock(), lambda age: Observation(age > 0, "answer", "at %g" % age))
    assert len(verdict.observations) == 2


def test_state_that_comes_back_is_a_new_entry() -> None:
    answers = iter([NOT_YET, Observation(False, "starting", ""), NOT_YET, READY])
    verdict = gate(Clock(), lambda age: next(answers))
    assert [seen.state for seen in verdict.observations] == ["refused", "starting", "refused", "ready"]


def test_result_is_plain_data() -> None:
    assert gate(Clock(), lambda age: READY).as_dict() == {
        "ready": True,
        "elapsed": 0.0,
        "attempts": 1,
        "observations": [{"state": "ready", "detail": "PONG", "since": 0.0, "times": 1}],
    }
