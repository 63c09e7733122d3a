# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The suite's options, the service that it asks, and its report."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from ansible_collections.kubernaut.integration.tests.conformance import report
from ansible_collections.kubernaut.integration.tests.conformance.contract import Case
from ansible_collections.kubernaut.integration.tests.conformance.control import Beside, Control, States
from ansible_collections.kubernaut.integration.tests.conformance.engine import Bench, client
from ansible_collections.kubernaut.integration.tests.conformance.faults import Start
from ansible_collections.kubernaut.integration.tests.conformance.report import FAILED, PASSED, SKIPPED, Result
from ansible_collections.kubernaut.integration.tests.conformance.stores import Postgres, opened
from ansible_collections.kubernaut.integration.tests.conformance.target import (
    TARGET,
    Target,
    TargetError,
    Wanted,
    resolve,
)

RESULTS = pytest.StashKey[list[Result]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what says which service is asked, and how."""
    group = parser.getgroup("conformance", "which DataStorage is compared with its contract")
    for name, words in (
        ("stack", "directory with the stack.env and stack.json of a running stack; the default is the running one"),
        ("contract", "v0 or v1; default: the stack's, else v0"),
        ("url", "base URL of another DataStorage, which needs the following, too"),
        ("health-url", "base URL of its health port (v1)"),
        ("metrics-url", "base URL of its metrics port (v1)"),
        ("postgres", "conninfo or URL of its PostgreSQL; the password may be in POSTGRES_PASSWORD"),
        ("redis", "URL of its Redis; the password may be in REDIS_PASSWORD"),
        (
            "control",
            "command that is called with stop or start and postgres, redis or auth, for cases that need a fault",
        ),
        ("report", "file for the result of every case, in JSON"),
    ):
        group.addoption(f"--{name}", default="", metavar=name.upper().replace("-", "_"), help=words)
    group.addoption("--faults", action="store_true", help="try the cases that need a fault on the stack's containers")


def pytest_configure(config: pytest.Config) -> None:
    """Find the service, and let a cancelled run undo its fault."""
    config.stash[RESULTS] = []
    if config.option.help:
        return
    option = config.getoption
    names = ("stack", "contract", "url", "health_url", "metrics_url", "postgres", "redis", "faults")
    try:
        config.stash[TARGET] = resolve(Wanted(**{name: option(name) for name in names}), os.environ)
    except TargetError as error:
        raise pytest.UsageError(str(error)) from None
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember what came of a case: of its last phase that was not a success, else of the case itself."""
    outcome = yield
    callspec = getattr(item, "callspec", None)
    parameters = callspec.params if callspec else {}
    case = parameters.get("case") or parameters.get("start")
    # A test without any case of this contract is an empty one to pytest.
    if callspec is None or not isinstance(case, Case | Start) or (outcome.when != "call" and outcome.passed):
        return outcome
    name = ("start-" if isinstance(case, Start) else "") + callspec.id
    why = ""
    if outcome.skipped:
        why = str(outcome.longrepr[2]).removeprefix("Skipped: ") if isinstance(outcome.longrepr, tuple) else ""
    elif outcome.failed:
        why = outcome.longreprtext
    verdict = PASSED if outcome.passed else SKIPPED if outcome.skipped else FAILED
    results = item.config.stash[RESULTS]
    # A fault that cannot be undone fails the case that was the last in it.
    results[:] = [result for result in results if result.name != name]
    origin = case.origins[item.config.stash[TARGET].contract]
    results.append(Result(name, origin, verdict, outcome.duration, why))
    return outcome


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say how it went, and keep it."""
    results = config.stash[RESULTS]
    if not results:
        return
    terminalreporter.section("conformance")
    for line in report.lines(config.stash[TARGET], results):
        terminalreporter.write_line(line)
    if config.getoption("report"):
        text = json.dumps(report.document(config.stash[TARGET], results), indent=2, ensure_ascii=False)
        Path(config.getoption("report")).write_text(text + "\n", encoding="utf-8")


@pytest.fixture(scope="session")
def target(pytestconfig: pytest.Config) -> Target:
    """The service that is asked."""
    return pytestconfig.stash[TARGET]


@pytest.fixture(scope="session")
def bench(target: Target) -> Iterator[Bench]:
    """The service, and what is behind it; what the cases have left there is removed in the end."""
    try:
        postgres, queue = opened(target)
    except TargetError as error:
        pytest.exit(str(error), returncode=4)
    with client(target.ca_file) as http:
        yield Bench(target, http, postgres, queue)
    postgres.tidy()
    postgres.close()
    queue.tidy()
    queue.close()


@pytest.fixture(scope="session")
def beside(target: Target, tmp_path_factory: pytest.TempPathFactory) -> Beside:
    """Further services like the target's."""
    return Beside(target, tmp_path_factory.mktemp("configuration"))


@pytest.fixture(scope="session")
def states(bench: Bench, pytestconfig: pytest.Config) -> Iterator[States]:
    """The states in which the stack can be; in the end it is sound."""
    assert isinstance(bench.database, Postgres)
    states = States(Control(bench.target, pytestconfig.getoption("control")), bench.database)
    yield states
    states.enter("")
