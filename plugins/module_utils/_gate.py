# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gate engine: wait for a claim to become true, with evidence. PRIVATE to the collection.

A gate asks its own probe again and again until the probe is satisfied, the deadline has passed, or waiting has become
pointless because the container that should answer is gone. It knows nothing of PostgreSQL, Redis or HTTP.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Optional

#: Seconds between two attempts while the gate is young, and the longest gap after that.
QUICK_GAP = 0.05
SLOW_GAP = 0.5
#: Seconds for which a gate polls at :data:`QUICK_GAP`; most services are up by then.
QUICK_PERIOD = 10.0
#: Growth of the gap afterwards.
GROWTH = 1.3
#: Seconds after which an attempt that should have ended by itself is given up.
MARGIN = 3.0
#: Entries after which only another state makes another one: a detail may change with every attempt.
MOST_SEEN = 50


@dataclass(frozen=True)
class Observation:
    """What one attempt saw.

    :param ready: the claim is true.
    :param state: short word for what was seen, such as ``refused`` or ``starting``; equal states are counted together.
    :param detail: the evidence in one line.
    :param final: waiting longer cannot help.
    """

    ready: bool
    state: str
    detail: str
    final: bool = False


@dataclass
class Seen:
    """A run of equal observations: ``state`` since ``since`` seconds after the gate began, seen ``times`` times."""

    state: str
    detail: str
    since: float
    times: int

    def as_dict(self) -> Dict[str, Any]:
        return {"state": self.state, "detail": self.detail, "since": round(self.since, 3), "times": self.times}


@dataclass(frozen=True)
class Verdict:
    """How a gate ended.

    :param ready: the claim is true.
    :param lapsed: the claim was true, and then it was not any more.
    :param elapsed: seconds from the first attempt to the end.
    :param attempts: how often the probe was asked.
    :param observations: what was seen, in order, equal states folded together.
    :param last: the last observation.
    """

    ready: bool
    lapsed: bool
    elapsed: float
    attempts: int
    observations: List[Seen]
    last: Observation

    def as_dict(self) -> Dict[str, Any]:
        """The part of a task's result that every gate returns."""
        return {
            "ready": self.ready,
            "elapsed": round(self.elapsed, 3),
            "attempts": self.attempts,
            "observations": [seen.as_dict() for seen in self.observations],
        }


def next_gap(gap: float, age: float) -> float:
    """Return the pause in seconds before the next attempt, given the last pause and the gate's age."""
    return QUICK_GAP if age < QUICK_PERIOD else min(SLOW_GAP, gap * GROWTH)


def attempt(
    probe: Callable[[float], Observation],
    left: float,
    watch: Optional[Callable[[bool], Optional[Observation]]] = None,
) -> Observation:
    """Make one attempt, and look at the container meanwhile.

    A published port takes what is sent to a dead container without a word: an attempt that had begun would hold up the
    news for as long as it may take. And a server may let somebody in and say nothing more. Such an attempt is left
    alone.

    :param left: seconds that the probe may take; :data:`MARGIN` later it is given up.
    """
    end = time.monotonic() + left + MARGIN
    answers: List[Observation] = []
    errors: List[BaseException] = []

    def ask() -> None:
        try:
            answers.append(probe(left))
        except BaseException as error:  # handed on to whoever waits
            errors.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    while True:
        thread.join(QUICK_GAP)
        if not thread.is_alive():
            break
        gone = watch(False) if watch else None
        if gone is not None:
            return gone
        if time.monotonic() > end:
            return Observation(False, "silent", "no answer within %.0f s" % (left + MARGIN))
    if errors:
        raise errors[0]
    return answers[0]


def wait(
    probe: Callable[[float], Observation],
    timeout: float,
    watch: Optional[Callable[[bool], Optional[Observation]]] = None,
    stable_for: float = 0.0,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Verdict:
    """Ask ``probe`` until it is ready and stays so, is final, or ``timeout`` seconds have passed.

    :param probe: makes one attempt; gets the seconds that are left and must not take longer.
    :param watch: looks whether the container still lives; returns a final observation when it does not, else None.
        It is asked after every attempt, and told to be certain before the gate opens.
    :param stable_for: seconds for which every attempt after the first ready one has to be ready, too; they come on top
        of ``timeout``.
    :returns: the verdict; a probe is always asked at least once, even with a timeout of 0.
    """
    begin = clock()
    gap = QUICK_GAP
    attempts = 0
    seen: List[Seen] = []
    since: Optional[float] = None
    lapsed = False
    while True:
        left = max(0.0, timeout - (clock() - begin))
        left = max(left, QUICK_GAP)
        observation = attempt(probe, left, watch)
        attempts += 1
        age = clock() - begin
        opening = observation.ready and age - (age if since is None else since) >= stable_for
        if watch is not None:
            observation = watch(opening) or observation
            age = clock() - begin
        same = seen and seen[-1].state == observation.state
        if same and (seen[-1].detail == observation.detail or len(seen) >= MOST_SEEN):
            seen[-1].detail = observation.detail
            seen[-1].times += 1
        else:
            seen.append(Seen(observation.state, observation.detail, age, 1))
        if observation.ready and opening:
            return Verdict(True, lapsed, age, attempts, seen, observation)
        if observation.ready:
            since = age if since is None else since
            gap = QUICK_GAP
            sleep(min(gap, max(0.0, since + stable_for - age)))
            continue
        lapsed = lapsed or since is not None
        since = None
        if observation.final or age >= timeout:
            # What is paused looks alive as long as nobody asks podman.
            gone = watch(True) if watch is not None and not observation.final else None
            return Verdict(False, lapsed, age, attempts, seen, gone or observation)
        gap = next_gap(gap, age)
        sleep(min(gap, max(0.0, timeout - age)))
