# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The same stack on a bare host over SSH: another podman, another Python, nothing but what the roles brought."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

CONTAINERS = ["workflowexecution_%s_1" % name for name in ("datastorage", "postgres", "redis")]
HOST = "kubernaut-test-host-1"


def test_it_is_another_machine(host):
    assert host.check_output("podman --version").startswith("podman version 5.")
    assert host.check_output("python3 --version").startswith("Python 3.13.")
    assert host.system_info.codename == "trixie"


def test_three_containers_run(host):
    assert sorted(host.check_output("podman ps --format '{{.Names}}'").split()) == CONTAINERS


@pytest.mark.parametrize(("component", "port"), [("postgres", 15443), ("redis", 16389), ("datastorage", 18100)])
def test_published_on_the_hosts_loopback_only(host, component, port):
    published = host.check_output("podman port workflowexecution_%s_1" % component)
    assert published.split(" -> ")[1] == "127.0.0.1:%d" % port


def test_migrations_went_there(host):
    query = "SELECT count(*) FROM kubernaut_integration.migrations"
    command = "podman exec workflowexecution_postgres_1 psql -U slm_user -d action_history -Atc '%s'"
    here = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"]) / "roles/migrations/files/v0"
    assert int(host.check_output(command % query)) == len(list(here.glob("*.sql")))


def test_facts_came_home():
    home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "kubernaut-integration"
    directory = home / "_hosts" / HOST / "workflowexecution"
    facts = json.loads((directory / "stack.json").read_text())
    assert facts["host"] == HOST
    assert facts["datastorage"]["url"] == "http://127.0.0.1:18100"
    assert json.loads((directory / "vars.json").read_text())["stack_hosts"] == HOST
    assert (directory / "vars.json").stat().st_mode & 0o777 == 0o600
