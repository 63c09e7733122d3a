# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every case of the contract, tried on the service that the options name."""

from __future__ import annotations

import re
import time
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from ansible_collections.kubernaut.integration.tests.conformance.cases import all_stored, sound_cases
from ansible_collections.kubernaut.integration.tests.conformance.contract import (
    BATCH,
    EVENTS,
    Case,
    Effect,
    Moment,
    batch,
    event,
    new_mark,
    post,
)
from ansible_collections.kubernaut.integration.tests.conformance.control import Beside, Started, States
from ansible_collections.kubernaut.integration.tests.conformance.engine import Bench, attempt
from ansible_collections.kubernaut.integration.tests.conformance.faults import (
    STARTS,
    UNDER_FAULT,
    WITHOUT_API_SERVER,
    Start,
)
from ansible_collections.kubernaut.integration.tests.conformance.target import TARGET, TOKENS, Target

#: Seconds in which a queued event must be stored while the service runs; the real one took up to 90.
REPLAY_LIMIT = 180
#: Proves that a service which was started beside the target's does its work.
PROOF = Case(name="proof", origins={}, request=post(BATCH, batch(7)), answer=all_stored(7), effect=Effect(rows=7))


def why_not(config: pytest.Config, target: Target, state: str, identity: str) -> str:
    """Return why a case cannot be tried here; empty when it can."""
    if state and not (config.getoption("faults") or config.getoption("control")):
        return "they need --faults or --control"
    if state == WITHOUT_API_SERVER and not (config.getoption("control") or "auth" in (target.stack or {})):
        return "they need the stub of an API server (datastorage_auth: stub)"
    if target.contract != "v0" and identity in TOKENS and identity not in target.tokens:
        return f"they need {TOKENS[identity]} in the environment"
    return ""


def why_not_beside(config: pytest.Config, target: Target) -> str:
    """Return why no service can be started beside this one; empty when one can."""
    if not config.getoption("faults"):
        return "they need --faults"
    return "" if target.stack else "they need a stack made by this collection"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give each test the cases of the contract that is asked for, state by state."""
    config = metafunc.config
    target = config.stash[TARGET]
    if "case" in metafunc.fixturenames:
        chosen = [
            (state, case, f"{state}-{case.name}".lstrip("-"), why_not(config, target, state, case.request.identity))
            for state, cases in {"": tuple(sound_cases()), **UNDER_FAULT}.items()
            for case in cases
            if target.contract in case.origins
        ]
        params = [pytest.param(state, case, id=name, marks=skipped(why)) for state, case, name, why in chosen]
        metafunc.parametrize(("state", "case"), params)
    else:
        why = why_not_beside(config, target)
        params = [
            pytest.param(start, id=start.name, marks=skipped(why))
            for start in STARTS
            if target.contract in start.origins
        ]
        metafunc.parametrize("start", params)


def skipped(why: str) -> list[pytest.MarkDecorator]:
    """Return the marks of a case that cannot be tried for this reason, if there is one."""
    return [pytest.mark.skip(reason=why)] if why else []


def test_case(bench: Bench, states: States, state: str, case: Case) -> None:
    states.enter(state)
    wrong = attempt(case, bench)
    assert not wrong, "\n".join(wrong)


def test_start(bench: Bench, states: States, beside: Beside, start: Start) -> None:
    states.enter(start.fault)
    with beside.service(start) as service:
        if start.code is not None:
            ended = service.end(start.seconds)
            assert ended.code == start.code, ended.log[-3000:]
            assert re.search(start.says, ended.log), ended.log[-3000:]
            return
        service.serve(start.seconds)
        other = bench.at(service.url())
        if start.replays:
            replayed(other, states, service)
        else:
            wrong = attempt(replace(PROOF, name=start.name), other)
            assert not wrong, "\n".join(wrong)
        if start.stops is not None:
            with service.unfinished_request() if start.unfinished else nullcontext():
                stopped(service, start.stops)


def stopped(service: Started, code: int = 0) -> None:
    """Have podman stop it, which kills it after 10 s, and demand how it ends."""
    ended = service.stop(10)
    assert ended.code == code, ended.log[-3000:]


def replayed(bench: Bench, states: States, service: Started) -> None:
    """Queue an event, let PostgreSQL take events again, and look for it: of v0 after the service has ended."""
    it = Moment(new_mark("replay"), datetime.now(UTC), bench.target.contract)
    answer = bench.send(post(EVENTS, event()), it)
    assert answer.status_code == 202, answer.text
    states.enter("")
    assert bench.database.rows(it.correlation) == []
    on_stop = bench.target.contract == "v0"
    if on_stop:
        stopped(service)
    deadline = time.monotonic() + (0 if on_stop else REPLAY_LIMIT)
    while not (rows := bench.database.rows(it.correlation)) and time.monotonic() < deadline:
        time.sleep(1)
    assert [row["event_data"] for row in rows] == [it.sent[0]["event_data"]]
    # One of v1 is acknowledged and stays.
    assert len(bench.queue.entries(it.correlation)) == (0 if on_stop else 1)
