# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The same stack as a user without any privilege: nothing of it is root's, and everything is still closed."""

from __future__ import annotations

import json

import pytest

COMPONENTS = {"postgres": 15443, "redis": 16389, "datastorage": 18100}
STATE = "/home/tester/.local/state/kubernaut-integration/workflowexecution"


@pytest.fixture(scope="module")
def containers(host):
    """What podman inspect says of each component."""
    names = " ".join("workflowexecution_%s_1" % component for component in COMPONENTS)
    return dict(zip(COMPONENTS, json.loads(host.check_output("podman inspect " + names)), strict=True))


def test_user_has_no_privilege(host):
    assert host.user().name == "tester"
    assert host.user().uid != 0
    assert host.run("command -v sudo").rc == 1
    assert host.check_output("podman info --format '{{.Host.Security.Rootless}}'") == "true"


@pytest.mark.parametrize("component", COMPONENTS)
def test_container_runs_hardened(containers, component):
    container = containers[component]
    assert container["State"]["Running"]
    assert container["RestartCount"] == 0
    assert container["HostConfig"]["ReadonlyRootfs"]
    assert container["EffectiveCaps"] in ([], None)
    assert "no-new-privileges" in container["HostConfig"]["SecurityOpt"]


@pytest.mark.parametrize("component", COMPONENTS)
def test_process_is_a_subordinate_user(host, containers, component):
    """Neither root nor the user, whose files it could write."""
    uids = host.check_output(
        "awk '/^Uid:/ {print $2, $3, $4, $5}' /proc/%d/status" % containers[component]["State"]["Pid"]
    )
    assert all(100000 < int(uid) < 165536 for uid in uids.split())


def test_nothing_runs_as_root(host):
    names = {process["comm"] for process in host.process.filter(user="root")}
    assert names & {"conmon", "crun", "runc", "podman", "slirp4netns", "aardvark-dns", "rootlessport"} == set()


@pytest.mark.parametrize("component", COMPONENTS)
def test_published_on_loopback_only(host, component):
    port = COMPONENTS[component]
    published = host.check_output("podman port workflowexecution_%s_1" % component)
    assert published.split(" -> ")[1] == "127.0.0.1:%d" % port
    assert host.socket("tcp://127.0.0.1:%d" % port).is_listening
    assert not host.socket("tcp://0.0.0.0:%d" % port).is_listening


def test_names_resolve(host):
    command = "podman exec workflowexecution_datastorage_1 getent hosts workflowexecution_%s_1"
    assert all(host.run(command % component).rc == 0 for component in ("postgres", "redis"))


def test_audit_events_can_be_read_back(host):
    answer = host.check_output(
        "python3 -c 'import urllib.request as u; print(u.urlopen(\"http://127.0.0.1:18100/health/ready\").status)'"
    )
    assert answer == "200"


def test_files_are_behind_a_private_directory(host):
    """The containers' users are other ids of the owner, to whom he cannot give files."""
    directory = host.file(STATE + "/config")
    assert (directory.user, directory.mode) == ("tester", 0o700)
    for name in ("postgres/password", "redis/redis.conf", "datastorage/db-secrets.yaml"):
        file = host.file("%s/config/%s" % (STATE, name))
        assert (file.user, file.mode) == ("tester", 0o444)
    for name in ("stack.env", "stack.json"):
        assert host.file("%s/%s" % (STATE, name)).mode == 0o600


def test_every_migration_is_in_the_ledger(host):
    query = "SELECT count(*) FROM kubernaut_integration.migrations"
    command = "podman exec workflowexecution_postgres_1 psql -U slm_user -d action_history -Atc '%s'"
    assert int(host.check_output(command % query)) == 5


def test_nothing_of_the_users_is_configured(host):
    """Storage driver, runtime and limits stay what the user has."""
    assert not host.file("/home/tester/.config/containers").exists
