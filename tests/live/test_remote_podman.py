# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A podman that is only a client: ``podman --remote`` against a service, the stand-in for podman machine.

The service has a storage of its own, so that what it has is only what the tests bring.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ansible_collections.kubernaut.integration.tests.live.playing import Run, Stack, podman


@dataclass(frozen=True)
class Service:
    """A podman service.

    :param place: its storage, its socket and what calls it.
    :param stack: the stack that is made with it.
    """

    place: Path
    stack: Stack

    @property
    def client(self) -> Path:
        """The executable that calls it."""
        return self.place / "podman-remote"

    def ask(self, *arguments: str) -> str:
        """Call it, and return what it said."""
        done = subprocess.run([self.client, *arguments], capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, f"{arguments}: {done.stderr}"
        return done.stdout

    def play(self, playbook: str, **extra: object) -> Run:
        """Run a playbook on its stack."""
        return self.stack.play(playbook, **{"host_podman": str(self.client), "stack_stop_timeout": 1, **extra})


def configuration(machine: Path) -> str:
    """Return what the service has to be told so that containers run on this machine.

    :param machine: what the live stack's run found out about it.
    """
    known = json.loads(machine.read_text())
    runtime = [f'runtime = "{known["runtime"]}"'] if known["runtime"] else []
    limits = [f"default_ulimits = {json.dumps(known['ulimits'])}"] if known["ulimits"] else []
    return "\n".join(["[containers]", *limits, "[engine]", *runtime, ""])


@pytest.fixture(scope="module")
def service(live: Stack) -> Iterator[Service]:
    """A service without any image; in the end nothing is left of it."""
    # The socket's path must be short.
    place = Path(tempfile.mkdtemp(prefix="kubernaut-test-remote-"))
    ports = {"postgres": 27643, "redis": 27589, "datastorage": 27300}
    made = Service(place, Stack("remote", ports, place / "state"))
    url = f"unix://{place}/socket"
    conf = place / "containers.conf"
    conf.write_text(configuration(live.home / "_machine" / "podman.json"))
    made.client.write_text(f'#!/bin/sh\nexec podman --remote --url {shlex.quote(url)} "$@"\n')
    made.client.chmod(0o700)
    own = ["--root", str(place / "storage"), "--runroot", str(place / "run")]
    process = subprocess.Popen(
        ["podman", *own, "system", "service", "--time", "0", url], env={**os.environ, "CONTAINERS_CONF": str(conf)}
    )
    try:
        for _each in range(100):
            if (place / "socket").exists():
                break
            time.sleep(0.1)
        yield made
        made.play("teardown").ok()
        assert made.ask("ps", "--all", "--quiet") == ""
        assert made.ask("volume", "ls", "--quiet") == ""
    finally:
        process.terminate()
        process.wait(10)
        podman(*own, "rm", "--all", "--force", "--volumes")
        podman(*own, "rmi", "--all", "--force")
        # podman keeps its overlay directory a mount of its own.
        subprocess.run(["umount", "--quiet", str(place / "storage" / "overlay")], capture_output=True, check=False)
        shutil.rmtree(place)


def test_nothing_is_built_there(service: Service) -> None:
    run = service.play("integration", images_policy="build")
    assert run.complaint.startswith("postgres_image: localhost/kubernaut-integration/postgres:"), run.tail
    assert " is not built with a remote podman (host_podman)" in run.complaint
    assert service.ask("images", "--quiet") == ""


def test_a_stack_of_present_and_archived_images(service: Service, live: Stack) -> None:
    names = {name: podman("inspect", "--format={{.ImageName}}", live.container(name)).strip() for name in live.ports}
    brought, archived = service.place / "brought.tar", service.place / "redis.tar"
    podman(
        "save", "--quiet", "--multi-image-archive", "--output", str(brought), names["postgres"], names["datastorage"]
    )
    podman("save", "--quiet", "--output", str(archived), names["redis"])
    service.ask("load", "--quiet", "--input", str(brought))
    brought.unlink()

    run = service.play("integration", redis_archive=str(archived)).ok()
    assert "7/7 written, 7/7 read back over HTTP, 7/7 in PostgreSQL, 0 in the DLQ" in run.out
    running = service.ask("ps", "--format={{.Names}}").split()
    assert sorted(running) == sorted(service.stack.container(name) for name in service.stack.ports)
    assert not set(running) & set(podman("ps", "--all", "--format={{.Names}}").split())

    again = service.play("integration", redis_archive=str(archived)).ok()
    assert again.recap["changed"] == 0, again.out
    for front in ("auto", "module"):
        proven = service.play("verify", stack_front=front).ok()
        assert "7/7 written" in proven.out


def test_a_service_that_is_gone_is_no_empty_machine(service: Service) -> None:
    dead = service.place / "podman-dead"
    dead.write_text('#!/bin/sh\nexec podman --remote --url unix:///nowhere/socket "$@"\n')
    dead.chmod(0o700)
    for playbook in ("integration", "verify", "teardown"):
        run = service.play(playbook, host_podman=str(dead))
        assert run.complaint.startswith("host_podman: podman's service does not answer ("), run.tail
