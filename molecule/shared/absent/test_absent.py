# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing is left of the stack that the scenario's inventory describes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

SCENARIO = yaml.safe_load(Path(os.environ["MOLECULE_FILE"]).read_text())
VARIABLES = SCENARIO["provisioner"]["inventory"]["host_vars"]["localhost"]
STACK = VARIABLES.get("stack_team", "workflowexecution") + "-" + VARIABLES["stack_run_id"]
PORTS = [value for name, value in VARIABLES.items() if name.endswith("_port")]


@pytest.mark.parametrize("command", ["ps --all --quiet", "network ls --quiet", "volume ls --quiet"])
def test_nothing_carries_the_label(host, command):
    assert host.check_output("podman %s --filter label=io.kubernaut.integration.stack=%s" % (command, STACK)) == ""


@pytest.mark.parametrize("port", PORTS)
def test_nobody_listens(host, port):
    assert not host.socket("tcp://127.0.0.1:%d" % port).is_listening


def test_no_file_is_left(host):
    home = host.check_output("echo ${XDG_STATE_HOME:-$HOME/.local/state}")
    assert not host.file(home + "/kubernaut-integration/" + STACK).exists
