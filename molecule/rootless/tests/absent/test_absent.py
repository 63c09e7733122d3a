# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing of the stack is left, though other ids than its owner's wrote its data."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("command", ["ps --all --quiet", "volume ls --quiet", "network ls --quiet --filter name=test-"])
def test_nothing_is_left(host, command):
    assert host.check_output("podman " + command) == ""


@pytest.mark.parametrize(
    "path",
    [
        ".local/state/kubernaut-integration/workflowexecution",
        ".local/share/containers/storage/volumes/workflowexecution",
    ],
)
def test_no_file_is_left(host, path):
    assert host.run("ls -d /home/tester/%s*" % path).rc != 0


@pytest.mark.parametrize("name", ["conmon", "postgres", "redis-server", "aardvark-dns", "rootlessport"])
def test_no_process_is_left(host, name):
    assert host.process.filter(comm=name) == []


@pytest.mark.parametrize("port", [15443, 16389, 18100])
def test_nobody_listens(host, port):
    assert not host.socket("tcp://127.0.0.1:%d" % port).is_listening
