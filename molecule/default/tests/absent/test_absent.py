# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing of the stack is on the machine: before it came, after check mode, and after it was taken down."""

from __future__ import annotations

import pytest

STACK = "workflowexecution-molecule"
LABEL = "label=io.kubernaut.integration.stack=" + STACK


@pytest.mark.parametrize("command", ["ps --all --quiet", "network ls --quiet", "volume ls --quiet"])
def test_nothing_carries_the_label(host, command):
    assert host.check_output("podman " + command + " --filter " + LABEL) == ""


@pytest.mark.parametrize("port", [25443, 26389, 28100])
def test_nobody_listens(host, port):
    assert not host.socket("tcp://127.0.0.1:%d" % port).is_listening


def test_no_file_is_left(host):
    home = host.run("echo ${XDG_STATE_HOME:-$HOME/.local/state}").stdout.strip()
    assert not host.file(home + "/kubernaut-integration/" + STACK).exists


def test_no_process_is_left(host):
    # The bracket keeps the pattern from finding the shell that asks.
    assert host.run("pgrep --full [w]orkflowexecution_molecule_").rc == 1
