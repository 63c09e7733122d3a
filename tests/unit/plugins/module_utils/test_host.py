# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: ARG001, ARG005 - a stand-in takes what the real one takes
"""Can this machine run a stack, and how."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.kubernaut.integration.plugins.module_utils import _host, _rootless
from ansible_collections.kubernaut.integration.plugins.module_utils._host import Way, family, needs, ways, wrapper
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import LIBRARIES, Context, PhaseError
from ansible_collections.kubernaut.integration.plugins.module_utils._podman import Answer


def test_users_own_configuration_is_tried_first() -> None:
    tried = list(ways(["crun", "runc"], 4096, 999))
    assert tried[0] == Way("", ())
    assert [way.runtime for way in tried] == ([""] * 3 + ["crun"] * 3 + ["runc"] * 3) * 2
    assert [way.limits for way in tried] == [True] * 9 + [False] * 9
    assert len(set(tried)) == len(tried)


def test_limits_are_lowered_both_or_not_at_all() -> None:
    lowered = [way.ulimits for way in ways([], 4096, 999) if way.limits]
    assert lowered == [(), ("nofile=4096:4096", "nproc=999:999"), ("nofile=1024:1024", "nproc=1024:1024")]


def test_way_as_arguments() -> None:
    assert Way("", ()).run_arguments == []
    assert Way("runc", ("nofile=1:1", "nproc=2:2")).run_arguments == ["--ulimit", "nofile=1:1", "--ulimit", "nproc=2:2"]


@pytest.mark.parametrize(
    ("os_release", "wanted"),
    [
        ('PRETTY_NAME="Debian GNU/Linux 12"\nID=debian\n', "debian"),
        ("ID=ubuntu\nID_LIKE=debian\n", "debian"),
        ('ID=linuxmint\nID_LIKE="ubuntu debian"\n', "debian"),
        ("ID=fedora\n", "fedora"),
        ('ID="rhel"\nID_LIKE="fedora"\n', "fedora"),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\n', "fedora"),
        ("ID=alpine\n", ""),
        ("", ""),
        ("# a comment without anything\n", ""),
    ],
)
def test_family(os_release: str, wanted: str) -> None:
    assert family(os_release) == wanted


@pytest.mark.parametrize("distribution", sorted(_host.PACKAGES))
def test_every_need_has_a_package(distribution: str) -> None:
    networks = {*needs(False, True, "slirp4netns"), *needs(False, True, "pasta")}
    wanted = {*needs(False, False), *needs(True, True), *networks, *LIBRARIES, "runc"}
    assert wanted <= set(_host.PACKAGES[distribution])


def test_needs_without_root_are_more() -> None:
    assert {*needs(False, True)} - {*needs(True, True)} == {"newuidmap"}
    assert {*needs(False, True, "pasta")} - {*needs(True, True)} == {"newuidmap", "pasta"}


def test_libraries_of_a_virtual_environment_are_not_the_package_managers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    assert not any(needs(True, False)[name] for name in LIBRARIES)
    with pytest.raises(PhaseError, match=r"`pip install 'psycopg\[binary\]' 'redis' 'PyYAML'`"):
        needs(True, True)


def test_missing_helper_is_lacking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_host, "_helper", lambda name: name != "netavark")
    assert [name for name, there in needs(True, True).items() if not there] == ["netavark"]


@pytest.mark.parametrize(
    ("version", "there", "configured", "network"),
    [
        ("4.3.1", ["pasta"], "", "slirp4netns"),
        ("4.9.4", [], "", "slirp4netns"),
        ("5.4.2", [], "", "pasta"),
        ("5.4.2", ["slirp4netns"], "", "pasta"),
        ("5.4.2", ["slirp4netns"], "slirp4netns", "slirp4netns"),
        ("5.4.2", ["slirp4netns", "pasta"], "slirp4netns", "pasta"),
        ("10.0.0-dev", [], "", "pasta"),
    ],
)
def test_network_of_a_user_follows_from_podmans_version(
    monkeypatch: pytest.MonkeyPatch, version: str, there: list[str], configured: str, network: str
) -> None:
    monkeypatch.setattr(_host, "_helper", lambda name: name in there)
    monkeypatch.setattr(_host.Podman, "call", lambda *_arguments: Answer(0, configured + "\n", ""))
    assert _host.rootless_network(_host.Podman(), version) == network


def test_containers_are_started_from_their_own_directory(tmp_path: Path) -> None:
    podman = tmp_path / "podman"
    podman.write_text('#!/bin/sh\npwd\nprintf "%s\\n" "$@"\n')
    podman.chmod(0o755)
    script = tmp_path / "start"
    script.write_text(_host.starter(str(podman)))
    script.chmod(0o700)
    own = tmp_path / "run dir"
    own.mkdir()
    for directory, expected in ((str(own), own), ("", Path.cwd())):
        said = subprocess.run(
            [script, "run", "a b"],
            env={_host.DIRECTORY_VARIABLE: directory, "PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            check=True,
        )
        assert said.stdout.splitlines() == [str(expected), "run", "a b"]
    # An old note of the monitor's would not become younger by another.
    (own / "oom").touch()
    for arguments, there in ((["inspect", "c"], True), (["container", "start", "c"], False)):
        environment = {_host.DIRECTORY_VARIABLE: str(own), "PATH": os.environ["PATH"]}
        subprocess.run([script, *arguments], env=environment, stdout=subprocess.DEVNULL, check=True)
        assert (own / "oom").exists() == there


def test_wrapper_passes_everything_on(tmp_path: Path) -> None:
    """Arguments with spaces, quotes and stars arrive as they were given."""
    podman = tmp_path / "my podman"
    podman.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    podman.chmod(0o700)
    script = tmp_path / "script"
    script.write_text(wrapper(str(podman), Way("runc", ())))
    said = subprocess.run(["sh", script, "run", "a b", "*", '"'], capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == ["--runtime", "runc", "run", "a b", "*", '"']


def test_enough_space_is_no_reason_to_stop() -> None:
    _host.check_disk({"/a": 2048, "/b": 4096}, 2048)


def test_too_little_space_names_directory_and_variable() -> None:
    with pytest.raises(PhaseError, match=r"\Ahost_min_free_mib: /b has 2047 MiB free and 2048 are wanted"):
        _host.check_disk({"/a": 4096, "/b": 2047}, 2048)


def test_free_space_of_a_directory_that_is_not_there_yet(tmp_path: Path) -> None:
    assert _host._free_mib(str(tmp_path / "not" / "yet")) > 0


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ('{"fingerprint": "f", "runtime": "runc"}', True),
        ('{"fingerprint": "other"}', False),
        ('{"fingerprint": "f"', False),
        ("", False),
        ("[]", False),
    ],
)
def test_recall(tmp_path: Path, text: str, known: bool) -> None:
    cache = tmp_path / "podman.json"
    cache.write_text(text)
    assert (_host._recall(str(cache), "f") is not None) == known
    assert _host._recall(str(tmp_path / "none"), "f") is None


def test_fingerprint_changes_with_what_the_answer_depends_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONTAINERS_CONF", raising=False)
    first = _host._fingerprint("podman", "4.3.1", ["crun"])
    assert _host._fingerprint("podman", "4.3.1", ["crun"]) == first
    assert _host._fingerprint("podman", "5.4.2", ["crun"]) != first
    assert _host._fingerprint("podman", "4.3.1", ["crun", "runc"]) != first
    monkeypatch.setenv("CONTAINERS_CONF", "/somewhere")
    assert _host._fingerprint("podman", "4.3.1", ["crun"]) != first


INFO = {
    "store": {"graphRoot": "/", "graphDriverName": "overlay"},
    "host": {"networkBackend": "netavark", "cgroupVersion": "v2", "security": {"selinuxEnabled": False}},
}
OPTIONS = {"podman": "", "min_free_mib": 0, "required": False, "probe": True, "state_dir": ""}


@pytest.fixture(name="machine")
def _machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with a state directory of its own, every helper, and a podman that only runs containers with runc."""
    podman = tmp_path / "bin" / "podman"
    podman.parent.mkdir()
    podman.write_text(
        "#!/bin/sh\n"
        'echo "$*" >> "$(dirname "$0")/calls"\n'
        'case "$*" in\n'
        "  --version) echo podman version 4.3.1 ;;\n"
        "  info*) echo '%s' ;;\n"
        '  "--runtime runc run"*) ;;\n'
        "  *) echo Error: crun: no such thing >&2; exit 126 ;;\n"
        "esac\n" % json.dumps(INFO)
    )
    podman.chmod(0o700)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("PATH", "%s:%s" % (podman.parent, os.environ["PATH"]))
    monkeypatch.setattr(_host, "_helper", lambda name: True)
    return podman


def calls(podman: Path) -> list[str]:
    return (podman.parent / "calls").read_text().splitlines()


def test_runtime_that_has_to_be_named_travels_in_a_script(machine: Path) -> None:
    result = _host.run(OPTIONS, Context())
    assert (result["runtime"], result["run_arguments"]) == ("runc", [])
    assert (result["version"], result["driver"], result["cgroups"]) == ("4.3.1", "overlay", "v2")
    script = Path(result["podman"])
    assert stat.S_IMODE(script.stat().st_mode) == 0o700
    assert 'exec "%s" --runtime "runc"' % machine in script.read_text()
    assert "fingerprint" not in result


def test_second_look_starts_no_container(machine: Path) -> None:
    first = _host.run(OPTIONS, Context())
    (machine.parent / "calls").unlink()
    # Free space moves by itself.
    assert {**_host.run(OPTIONS, Context()), "free_mib": None} == {**first, "free_mib": None}
    assert calls(machine) == ["--version"]


def test_script_for_another_podman_is_replaced(machine: Path) -> None:
    """It was kept once as long as there was any, whatever podman and runtime it named."""
    script = Path(_host.run(OPTIONS, Context())["podman"])
    script.write_text(wrapper("/usr/bin/podman", Way("crun", ())))
    _host.run(OPTIONS, Context())
    assert script.read_text() == wrapper(str(machine), Way("runc", ()))


def test_check_mode_starts_no_container_and_writes_nothing(machine: Path, tmp_path: Path) -> None:
    result = _host.run(OPTIONS, Context(check=True))
    assert calls(machine) == ["--version"]
    assert (result["version"], result["storage"], result["runtime"]) == ("4.3.1", "", "")
    assert not (tmp_path / "state").exists()


def test_podman_that_is_named_need_not_be_on_the_path(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_host, "_helper", lambda name: name != "podman")
    result = _host.run({**OPTIONS, "podman": str(machine)}, Context(check=True))
    assert (result["podman"], result["version"]) == (str(machine), "4.3.1")
    assert "podman" not in result["lacking"]


def test_podman_that_is_not_there_is_lacking(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_host, "_helper", lambda name: name != "podman")
    result = _host.run(OPTIONS, Context())
    assert "podman" in result["lacking"]
    assert not (machine.parent / "calls").exists()


def test_what_is_required_and_lacking_stops_the_run(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_host, "_helper", lambda name: name != "netavark")
    assert _host.run(OPTIONS, Context())["lacking"] == ["netavark"]
    with pytest.raises(PhaseError, match="This machine lacks netavark") as failure:
        _host.run({**OPTIONS, "required": True}, Context())
    assert failure.value.result["lacking"] == ["netavark"]


def test_machine_without_space_is_refused(machine: Path) -> None:
    with pytest.raises(PhaseError, match=r"\Ahost_min_free_mib: "):
        _host.run({**OPTIONS, "min_free_mib": 2**40}, Context(check=True))


def test_no_way_says_what_each_way_said(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.write_text(machine.read_text().replace("--runtime runc", "nothing"))
    monkeypatch.setattr(_host, "_helper", lambda _name: True)
    with pytest.raises(PhaseError) as failure:
        _host.run(OPTIONS, Context())
    first, *each = failure.value.message.splitlines()
    assert first.startswith("podman cannot run any container on this machine: crun: no such thing")
    assert len(each) == len(list(ways(["crun", "runc"], 1, 1)))


@pytest.mark.parametrize(
    ("evidence", "first"),
    [
        ("Failed to open() /dev/net/tun: Permission denied\nFailed to set up tap", "/dev/net/tun is missing or closed"),
        ("fuse: device not found, try 'modprobe fuse' first", "/dev/fuse is missing"),
        ("failed to mount runtime directory for rootless netns: no such file", "the runtime directory cannot be used"),
        ("connection refused", "the last line. See below"),
    ],
)
def test_no_way_puts_the_next_action_first(evidence: str, first: str) -> None:
    """The first line was the last way's symptom, and the cause stood somewhere below."""
    error = _host.NoWayError(["default no limits: the last line"] * 2, ["nothing", evidence])
    assert error.message.startswith("podman cannot run any container on this machine: " + first)
    assert "the last line" in error.message.splitlines()[0]


def test_known_cause_is_not_taken_for_a_missing_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    """A storage.conf that contradicts what podman has was answered with "This machine lacks runc"."""
    monkeypatch.setattr(_host, "_helper", lambda _name: False)
    text = 'User-selected graph driver "overlay" overwritten by graph driver "vfs" from database'
    error = _host.NoWayError(["default no limits: vfs driver does not support"], [text])
    assert _host.helps(error.said) == []
    assert "podman system reset" in error.message.splitlines()[0]


@pytest.fixture(name="user")
def _user(machine: Path, monkeypatch: pytest.MonkeyPatch) -> _rootless.User:
    """The machine's user is not root, and everything is there for it."""
    user = _rootless.User(
        1000, "tester", "/run/user/1000", 1000, 65536, 65536, (), dict.fromkeys(("/dev/net/tun",), ""), None
    )
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(_rootless, "look_at_user", lambda: user)
    return user


def test_user_without_a_runtime_directory_is_refused_before_podman_is_called(
    machine: Path, user: _rootless.User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_rootless, "look_at_user", lambda: replace(user, runtime_owner=None, subuids=0))
    for probe, others in ((True, 1), (False, 0)):
        with pytest.raises(PhaseError, match=r"\AXDG_RUNTIME_DIR: ") as failure:
            _host.run({**OPTIONS, "probe": probe}, Context())
        assert len(failure.value.message.splitlines()) == 1 + others
    assert not (machine.parent / "calls").exists()


def test_what_only_running_needs_does_not_keep_from_removing(
    machine: Path, user: _rootless.User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_rootless, "look_at_user", lambda: replace(user, subuids=0))
    assert _host.run({**OPTIONS, "probe": False}, Context())["podman"] == str(machine)


def test_limits_that_are_ignored_are_said_aloud(machine: Path, user: _rootless.User) -> None:
    script = machine.read_text()
    warns = 'echo "Resource limits are not supported and ignored on cgroups V1 rootless systems" >&2'
    machine.write_text(script.replace('  "--runtime runc run"*) ;;', '  "--runtime runc run"*) %s ;;' % warns))
    first = _host.run(OPTIONS, Context())
    assert (first["runtime"], first["limits"]) == ("runc", False)
    assert first["notes"] == first["warnings"]
    assert "not limited" in first["notes"][0]
    assert _host.run(OPTIONS, Context())["notes"] == first["notes"]


def test_root_has_no_notes(machine: Path) -> None:
    result = _host.run(OPTIONS, Context())
    if result["root"]:
        assert result["notes"] == []
        assert "warnings" not in result


def test_other_storage_configuration_asks_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(tmp_path / "storage.conf"))
    first = _host._fingerprint("podman", "4.3.1", [])
    (tmp_path / "storage.conf").write_text('[storage]\ndriver = "overlay"\n')
    assert _host._fingerprint("podman", "4.3.1", []) != first


@pytest.mark.parametrize(
    ("way", "effective", "arguments"),
    [
        (Way("", ()), "000001ffffffffff", []),
        (Way("", ()), "000001fffeffffff", ["--ulimit", "nofile=7:7", "--ulimit", "nproc=8:8"]),
        (Way("runc", ("nofile=1:1", "nproc=2:2")), "0", ["--ulimit", "nofile=1:1", "--ulimit", "nproc=2:2"]),
    ],
)
def test_build_keeps_to_limits_that_cannot_be_raised(
    monkeypatch: pytest.MonkeyPatch, way: Way, effective: str, arguments: list[str]
) -> None:
    monkeypatch.setattr(_host, "own_limits", lambda: (7, 8))
    assert _host.build_arguments(way, "CapPrm:\t0\nCapEff:\t%s\n" % effective) == arguments


@pytest.mark.parametrize(
    ("said", "needs"),
    [
        (["default no limits: netavark: No such file or directory (os error 2)"], ["iptables"]),
        (["default no limits: netavark: nftables error: unable to execute nft: No such file or directory"], ["nft"]),
        (["default no limits: crun: setrlimit `RLIMIT_NOFILE`: Operation not permitted"], ["runc"]),
        (["default no limits: crun: no", "runc no limits: netavark: No such file"], ["iptables", "runc"]),
    ],
)
def test_what_may_help(monkeypatch: pytest.MonkeyPatch, said: list[str], needs: list[str]) -> None:
    monkeypatch.setattr(_host, "_helper", lambda _name: False)
    assert _host.helps(said) == needs
    monkeypatch.setattr(_host, "_helper", lambda _name: True)
    assert _host.helps(said) == []


def test_other_systems_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(PhaseError, match="a stack needs Linux"):
        _host.run(OPTIONS, Context())


def test_options_of_the_phase() -> None:
    spec: dict[str, Any] = _host.PHASE.argument_spec
    assert set(spec) == set(OPTIONS)
