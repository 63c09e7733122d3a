# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A podman whose containers run on another machine."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.kubernaut.integration.plugins.module_utils import _host, _images, _remote, _rootless
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import Context, PhaseError
from ansible_collections.kubernaut.integration.plugins.module_utils._podman import Podman, PodmanError

INFO = {
    "store": {"graphRoot": "/var/home/core/storage", "graphDriverName": "overlay"},
    "host": {
        "serviceIsRemote": True,
        "networkBackend": "netavark",
        "cgroupVersion": "v2",
        "security": {"selinuxEnabled": True},
    },
}
LOCAL = {**INFO, "host": {**INFO["host"], "serviceIsRemote": False}}
OPTIONS = {"podman": "", "min_free_mib": 0, "required": False, "probe": True, "state_dir": ""}
Make = Callable[..., Podman]


@pytest.fixture(name="make")
def _make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Return what makes a client of a service, and write down what it is asked."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(_host, "_helper", lambda _name: False)

    def make(info: Any = None, **answers: str) -> Podman:
        cases = {
            "--version": "echo podman version 5.4.2",
            "info --format json": "echo '%s'" % json.dumps(info or INFO),
            "info --format {{.Host.ServiceIsRemote}}": "echo true",
            "create *": "echo 4711",
            "rm 4711": ":",
            **{name.replace("_", " ") + "*": answer for name, answer in answers.items()},
        }
        script = "".join(
            '  "%s"%s) %s ;;\n' % (asked.rstrip("*"), asked[len(asked.rstrip("*")) :], answer)
            for asked, answer in reversed(cases.items())
        )
        path = tmp_path / "podman"
        path.write_text(
            '#!/bin/sh\necho "$*" >> %s/calls\ncase "$*" in\n%s  *) exit 99 ;;\nesac\n' % (tmp_path, script)
        )
        path.chmod(0o700)
        return Podman(str(path))

    return make


def calls(podman: Podman) -> list[str]:
    """Return the first word of everything that it was asked."""
    return [line.split()[0] for line in (Path(podman.executable).parent / "calls").read_text().splitlines()]


@pytest.mark.parametrize(
    ("named", "environment", "system", "asked"),
    [
        ("", {}, "linux", False),
        ("", {"CONTAINER_HOST": ""}, "linux", False),
        ("/opt/podman-remote", {}, "linux", True),
        ("", {"CONTAINER_HOST": "ssh://core@machine/run/podman.sock"}, "linux", True),
        ("", {"CONTAINER_CONNECTION": "machine"}, "linux", True),
        ("", {}, "darwin", True),
    ],
)
def test_podman_of_a_distribution_is_not_asked(
    named: str, environment: dict[str, str], system: str, asked: bool
) -> None:
    assert _remote.may_be_remote(named, environment, system) == asked


@pytest.mark.parametrize(
    ("answer", "remote"),
    [
        ("echo '%s'" % json.dumps(INFO), True),
        ("echo '%s'" % json.dumps(LOCAL), False),
        # Bare Debian 13: the host role installs one.
        ("echo 'Error: default OCI runtime \"crun\" not found: invalid argument' >&2; exit 125", False),
    ],
)
def test_service(make: Make, answer: str, remote: bool) -> None:
    assert (_remote.service(make(info=None, info_=answer), "podman") is not None) == remote


@pytest.mark.parametrize("words", ["unable to connect to Podman socket: no such file", "failed to connect: dial tcp"])
def test_service_that_does_not_answer_is_no_empty_machine(make: Make, words: str) -> None:
    """Podman's `no such file` once passed for `no such container`."""
    dead = "echo 'Error: %s' >&2; exit 125" % words
    podman = make(info_=dead, inspect=dead)
    for ask in (lambda: _remote.service(podman, "podman"), lambda: podman.inspect("a"), lambda: podman.must("inspect")):
        with pytest.raises(PodmanError, match=r"\Ahost_podman: podman's service does not answer \(.*\); start it with"):
            ask()


def test_the_services_own_configuration_decides(make: Make, tmp_path: Path) -> None:
    podman = make()
    result = _host.run({**OPTIONS, "podman": podman.executable}, Context())
    assert result["remote"]
    assert (result["podman"], result["runtime"], result["limits"]) == (podman.executable, "", True)
    assert (result["run_arguments"], result["build_arguments"], result["ulimits"]) == ([], [], [])
    assert (result["cgroups"], result["selinux"], result["storage"]) == ("v2", True, "/var/home/core/storage")
    assert list(result["free_mib"]) == [str(tmp_path / "state" / "kubernaut-integration")]
    assert "run" not in calls(podman)
    assert calls(podman)[-2:] == ["create", "rm"]


def test_helpers_of_the_network_are_the_services(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    monkeypatch.setattr("sys.base_prefix", "sys.prefix")
    monkeypatch.setattr("sys.prefix", "sys.prefix")
    assert _host.run({**OPTIONS, "podman": make().executable}, Context())["lacking"] == ["psycopg", "redis", "yaml"]


USER = _rootless.User(
    uid=1000,
    name="tester",
    runtime="/run/user/1000",
    runtime_owner=1000,
    subuids=0,
    subgids=0,
    unprivileged=(),
    devices={_rootless.TUN: "No such file or directory", _rootless.FUSE: ""},
    lingers=None,
)


def test_what_a_user_lacks_here_is_nothing_to_the_service(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr(_rootless, "look_at_user", lambda: USER)
    assert _host.run({**OPTIONS, "podman": make().executable}, Context())["remote"]


def test_other_systems_need_a_service_on_linux(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    assert _host.run({**OPTIONS, "podman": make().executable}, Context())["remote"]
    with pytest.raises(PhaseError, match=r"a stack needs Linux: .* or set host_podman to a podman with a service"):
        _host.run({**OPTIONS, "podman": make(info=LOCAL).executable}, Context())


@pytest.mark.parametrize(("check", "probe"), [(True, True), (False, False)])
def test_only_a_run_that_starts_containers_tries(make: Make, check: bool, probe: bool) -> None:
    podman = make()
    assert _host.run({**OPTIONS, "podman": podman.executable, "probe": probe}, Context(check=check))["remote"]
    assert "create" not in calls(podman)


def test_service_that_does_not_see_the_files_is_refused(make: Make) -> None:
    podman = make(create="echo 'Error: stat /x: no such file or directory' >&2; exit 125")
    with pytest.raises(
        PhaseError, match=r"\Astack_state_dir: the service behind host_podman does not see /"
    ) as refusal:
        _host.run({**OPTIONS, "podman": podman.executable}, Context())
    assert "name a directory that its machine has under the same name" in refusal.value.message


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("policy", ["auto", "build"])
def test_nothing_is_built_for_another_machine(
    make: Make, monkeypatch: pytest.MonkeyPatch, check: bool, policy: str
) -> None:
    monkeypatch.setattr(_images, "registry_answers", lambda _host, _timeout: False)
    files = {"Containerfile": {"text": "FROM x\n", "mode": "0644"}}
    options = {name: spec.get("default") for name, spec in _images.SPEC.items()}
    options["contexts"] = {"base": files, "redis": files}
    options["images"] = [
        {"component": "redis", "name": "docker.io/library/redis:8", "fallback": True, "policy": policy}
    ]
    options["podman"] = make(inspect="echo '[]'").executable
    with pytest.raises(PhaseError, match=r"\Aredis_image: \S+ is not built with a remote podman \(host_podman\)") as no:
        _images.run(options, Context(check=check))
    assert "set redis_archive" in no.value.message
