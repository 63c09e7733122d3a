# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a container of the stack cannot do: asked of podman, of the kernel, and tried from inside."""

from __future__ import annotations

import json

import pytest

MIB = 1024 * 1024
#: Component -> memory in bytes and number of processes that it may have, by the roles' defaults.
LIMITS = {"postgres": (1024 * MIB, 1024), "redis": (256 * MIB, 256), "datastorage": (512 * MIB, 256)}
#: Component -> where it may write, beside what every container has. Each is there because the component fails without.
WRITABLE = {"postgres": {"/var/lib/postgresql/data"}, "redis": {"/data"}, "datastorage": set()}
EVERYWHERE = {"/tmp", "/run", "/var/tmp", "/dev", "/dev/shm", "/dev/pts", "/dev/mqueue"}  # noqa: S108 - not ours
#: Mounts of the kernel's own, which podman masks and a process without capabilities cannot use.
KERNEL = ("/proc", "/sys")
CAPABILITIES = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")


@pytest.fixture
def statuses(host, container):
    """The kernel's word on every process of a container: field -> value."""
    pids = host.check_output("podman top %s hpid", container["Name"]).split()[1:]
    texts = [host.check_output("cat /proc/%s/status", pid) for pid in pids]
    return [dict(line.split(":\t", 1) for line in text.splitlines()) for text in texts]


@pytest.fixture
def inside(host, container):
    """Run a command in a container, as its own user or as another."""

    def run(command, user=""):
        options = "--user %s " % user if user else ""
        return host.run("podman exec %s%s sh -c '%s'" % (options, container["Name"], command))

    return run


@pytest.fixture
def mounts(inside):
    """Where what is mounted in a container: place -> type of file system and options."""
    lines = [line.split() for line in inside("cat /proc/1/mounts").stdout.splitlines()]
    return {place: (kind, options.split(",")) for _source, place, kind, options, *_rest in lines}


def test_podman_was_asked_for_nothing_that_opens_the_container(container):
    config = container["HostConfig"]
    assert config["ReadonlyRootfs"]
    assert not config["Privileged"]
    assert config["CapAdd"] == config["Devices"] == []
    assert container["EffectiveCaps"] in ([], None)
    assert container["BoundingCaps"] in ([], None)
    assert config["SecurityOpt"] == ["no-new-privileges"]
    assert container["Config"]["User"] not in ("", "0", "root")
    assert {config[name] for name in ("NetworkMode", "PidMode", "IpcMode", "UTSMode", "UsernsMode")}.isdisjoint(
        {"host"}
    )
    assert config["RestartPolicy"]["Name"] == "no"


def test_log_is_a_file_with_a_limit(host, container):
    log = container["HostConfig"]["LogConfig"]
    assert (log["Type"], log["Size"]) == ("k8s-file", "10MB")
    assert 0 < host.file(log["Path"]).size <= 10**7


def test_only_network_is_the_stacks_own(host, container):
    (network,) = container["NetworkSettings"]["Networks"]
    labels = json.loads(host.check_output("podman network inspect %s", network))[0]["labels"]
    assert labels["io.kubernaut.integration.stack"] == container["Config"]["Labels"]["io.kubernaut.integration.stack"]


def test_no_proxy_in_the_environment(container):
    assert not [entry for entry in container["Config"]["Env"] if "proxy" in entry.lower()]


def test_no_process_has_a_capability_or_can_get_one(statuses):
    assert statuses
    for status in statuses:
        assert {int(status[name], 16) for name in CAPABILITIES} == {0}, status["Name"]
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2"), status["Name"]


def test_no_process_is_roots(statuses):
    for status in statuses:
        assert "0" not in (status["Uid"] + "\t" + status["Gid"]).split("\t"), status["Name"]
        assert "0" not in status["Groups"].split(), status["Name"]


@pytest.mark.parametrize("user", ["", "root"])
@pytest.mark.parametrize("place", ["/", "/etc", "/usr/bin", "/usr/local/bin", "/var/lib"])
def test_root_file_system_cannot_be_written(inside, user, place):
    """Not by root either: that another user may not would say nothing about the file system."""
    assert "Read-only file system" in inside("touch %s/written" % place, user).stderr


def test_what_can_be_written_is_what_must_be(component, mounts):
    writable = {place for place, (_kind, options) in mounts.items() if "rw" in options and not place.startswith(KERNEL)}
    assert writable == EVERYWHERE | WRITABLE[component]


def test_nothing_written_can_be_executed(component, mounts, inside):
    for place in EVERYWHERE | WRITABLE[component]:
        assert {"nosuid", "noexec"} <= set(mounts[place][1]), place
    # What is mounted over an image's own directory may keep that one's owner, so that only root could write there.
    tried_in = [place for place in ("/tmp", "/var/tmp", *WRITABLE[component]) if inside("test -w " + place).rc == 0]  # noqa: S108
    assert len(tried_in) >= 2
    for place in tried_in:
        path = "%s/kubernaut-integration-try" % place
        tried = inside(f"cp /bin/true {path} && chmod 755 {path} && {path}; status=$?; rm {path}; exit $status")
        assert (tried.rc, "Permission denied" in tried.stderr) == (126, True), place


def test_every_writable_place_in_memory_has_a_size(component, mounts):
    for place in sorted((EVERYWHERE | WRITABLE[component]) - {"/dev/pts", "/dev/mqueue"}):
        kind, options = mounts[place]
        assert kind != "tmpfs" or any(option.startswith("size=") for option in options), place


def test_configuration_and_secrets_are_read_only(container, mounts):
    binds = [mount for mount in container["Mounts"] if mount["Type"] == "bind"]
    assert binds
    for mount in binds:
        assert not mount["RW"]
        assert {"ro", "nosuid", "nodev", "noexec"} <= set(mounts[mount["Destination"]][1])


def test_limits_are_the_kernels(component, container, inside):
    """Memory and processes as the container's own control group has them, whichever version that is."""
    files = {"memory": ("memory/memory.limit_in_bytes", "memory.max"), "pids": ("pids/pids.max", "pids.max")}
    for (name, (old, new)), limit in zip(files.items(), LIMITS[component], strict=True):
        said = inside("cd /sys/fs/cgroup && cat %s 2>/dev/null || cat %s" % (old, new)).stdout.strip()
        assert said == str(limit), name
    assert (container["HostConfig"]["Memory"], container["HostConfig"]["PidsLimit"]) == LIMITS[component]


def test_host_listens_on_loopback_only(host, container, component, ports):
    (bindings,) = (found for found in container["HostConfig"]["PortBindings"].values() if found)
    assert [(bound["HostIp"], int(bound["HostPort"])) for bound in bindings] == [("127.0.0.1", ports[component])]
    listening = [name for name in host.socket.get_listening_sockets() if name.endswith(":%d" % ports[component])]
    assert listening == ["tcp://127.0.0.1:%d" % ports[component]]


def test_no_other_address_of_the_host_leads_in(host, containers, component, ports):
    """Forwarding rules answer without any socket, so it is tried: from the containers' network, and from outside's."""
    addresses = host.check_output("hostname -I").split()
    assert {network["Gateway"] for network in containers["redis"]["NetworkSettings"]["Networks"].values()} <= {
        *addresses
    }
    for address in addresses:
        tried = host.run("timeout 2 bash -c '</dev/tcp/%s/%d'" % (address, ports[component]))
        assert tried.rc != 0, address
