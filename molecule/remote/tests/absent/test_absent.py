# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing of the stack is left on the host, nor what was known of it here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.mark.parametrize("command", ["ps --all --quiet", "volume ls --quiet", "network ls --quiet --filter name=test-"])
def test_nothing_is_left_there(host, command):
    assert host.check_output("podman " + command) == ""


def test_no_file_is_left_there(host):
    assert not host.file("/root/.local/state/kubernaut-integration/workflowexecution").exists


def test_nothing_is_known_here():
    home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "kubernaut-integration"
    assert not (home / "_hosts" / "kubernaut-test-host-1" / "workflowexecution").exists()
