# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stack that the live tests share."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from ansible_collections.kubernaut.integration.tests.live.playing import Stack

#: Stacks of these tests: run id -> ports. KUBERNAUT_LIVE says which one a run of them uses, so that two halves of them
#: may run side by side.
STACKS = {
    "live": {"postgres": 27443, "redis": 27389, "datastorage": 27100},
    "data": {"postgres": 27453, "redis": 27399, "datastorage": 27110},
}


def pytest_configure(config: pytest.Config) -> None:  # noqa: ARG001 - pytest's signature
    """Let a cancelled run take its stacks down."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what does not fit into the usual minutes, unless it is asked for."""
    if os.environ.get("KUBERNAUT_SLOW", "") in ("", "0"):
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(pytest.mark.skip(reason="KUBERNAUT_SLOW=1 tries it"))


@pytest.fixture(scope="session", autouse=True)
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of the session's own, proven to work; removed in the end, and nothing of it is left."""
    run_id = os.environ.get("KUBERNAUT_LIVE", "live")
    stack = Stack(run_id, STACKS[run_id], tmp_path_factory.mktemp("state"))
    # As a person types it: everything on the command line is text.
    typed = [part for name, value in stack.variables.items() for part in ("-e", f"{name}={value}")]
    try:
        run = stack.play("integration", *typed, stack_fresh=True)
        if run.rc != 0:
            pytest.exit(f"the stack of the live tests does not start:\n{run.tail}", returncode=1)
        assert "7/7 written" in run.out
        os.environ["KUBERNAUT_TEST_POSTGRES_PORT"] = stack.env["POSTGRES_PORT"]
        os.environ["KUBERNAUT_TEST_POSTGRES_PASSWORD"] = stack.env["POSTGRES_PASSWORD"]
        yield stack
    finally:
        stack.remove()
