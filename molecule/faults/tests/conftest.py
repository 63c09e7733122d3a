# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scene of the session, and the table of what came of every fault.

The table is shown at the end of the tests and kept in ``build/test/faults.md``, and in the file of the checkout that
KUBERNAUT_FAULTS_REPORT names.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from ansible_collections.kubernaut.integration.molecule.faults.tests.outcome import Result, document, table
from ansible_collections.kubernaut.integration.molecule.faults.tests.scene import Scene
from ansible_collections.kubernaut.integration.tests.live.playing import ROOT

RESULTS = pytest.StashKey[list[Result]]()


def pytest_configure(config: pytest.Config) -> None:
    """Let a cancelled run undo its fault, and remember what comes of every one."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    config.stash[RESULTS] = []


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """The stack that the scenario brought up; images that were made of its own are removed in the end."""
    scene = Scene(tmp_path_factory.mktemp("faults"))
    yield scene
    scene.forget_other()
    # Nothing may run one of them.
    if scene.spoilt:
        scene.heal()
    scene.remove_images()


@pytest.fixture(scope="session")
def results(pytestconfig: pytest.Config) -> list[Result]:
    """What came of every fault so far."""
    return pytestconfig.stash[RESULTS]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show the table and keep it."""
    results = config.stash[RESULTS]
    if not results:
        return
    terminalreporter.section("faults")
    for line in table(results):
        terminalreporter.write_line(line)
    for place in filter(None, ["build/test/faults.md", os.environ.get("KUBERNAUT_FAULTS_REPORT")]):
        (ROOT / place).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / place).write_text(document(results), encoding="utf-8")
