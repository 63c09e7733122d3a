# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stack on which faults are tried, and what is needed to bring them about."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psycopg
import redis

from ansible_collections.kubernaut.integration.plugins.module_utils import _host, _state
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import Context
from ansible_collections.kubernaut.integration.tests.live.playing import Run, Stack, left_of

HERE = Path(__file__).resolve().parent.parent
#: What a run says at its end that proved the stack.
PROOF = "7/7 written, 7/7 read back over HTTP, 7/7 in PostgreSQL, 0 in the DLQ"
#: Label of every image that is made here, and what their names begin with.
IMAGE_LABEL = "io.kubernaut.integration.faults"
NAMES = "localhost/kubernaut-faults"
#: Seconds between two looks at something that is waited for.
GAP = 0.02


def until(what: str, condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    """Wait until a condition holds and return its value; one that does not come true fails the test.

    :param what: is waited for, in words.
    """
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s"
        time.sleep(GAP)
    return value


class BaseStack(Stack):
    """The stack that the scenario brought up."""

    @property
    def variables(self) -> dict[str, Any]:
        """Those of every stack, and the passwords that the scenario gave it."""
        env = self.env
        passwords = {"postgres_password": env["POSTGRES_PASSWORD"], "redis_password": env["REDIS_PASSWORD"]}
        # Nobody's events are lost here.
        return {**super().variables, **passwords, "stack_stop_timeout": 1}


class OtherStack(Stack):
    """A second stack for faults that need none; it never comes to be."""

    @property
    def variables(self) -> dict[str, Any]:
        """Those of every stack, and passwords of its own."""
        return {**super().variables, "stack_stop_timeout": 1, "postgres_password": SECRET, "redis_password": SECRET}


#: A password that nobody else has.
SECRET = "other" + secrets.token_hex(12)


class Scene:
    """What a fault has to work with.

    :param stack: brought up by the scenario; proven unless ``spoilt``.
    :param other: a stack that does not exist.
    :param spoilt: something of the stack is not as the scenario brought it up.
    :param files: a directory for whatever a fault needs.
    :param secrets: what no output may hold.
    """

    def __init__(self, files: Path) -> None:
        home = Path(_state.state_home())
        self.stack = BaseStack("faults", {"postgres": 33543, "redis": 33489, "datastorage": 33200}, home)
        self.other = OtherStack("faults2", {"postgres": 33544, "redis": 33490, "datastorage": 33201}, home)
        self.files = files
        self.spoilt = False
        #: Component -> the image that the scenario brought up; later runs use others.
        self.images = {name: image["reference"] for name, image in self.stack.facts["images"].items()}
        variables = self.stack.variables
        self.secrets: list[str] = [variables["postgres_password"], variables["redis_password"], SECRET]
        host = _host.run(
            {"podman": "", "probe": True, "state_dir": str(home), "min_free_mib": 0, "required": True}, Context()
        )
        self._podman: str = host["podman"]
        self._build_arguments: Sequence[str] = host["build_arguments"]
        self._made: dict[tuple[str, str], str] = {}

    def password(self) -> str:
        """Return a new password, which no output may hold either."""
        self.secrets.append("new" + secrets.token_hex(12))
        return self.secrets[-1]

    # podman.

    def podman(self, *arguments: str, check: bool = True) -> str:
        """Call podman in the way in which this machine's works."""
        done = subprocess.run([self._podman, *arguments], capture_output=True, text=True, timeout=180, check=False)
        assert done.returncode == 0 or not check, f"podman {' '.join(arguments)}: {done.stdout[-2000:]}{done.stderr}"
        return done.stdout

    def inspect(self, component: str) -> dict[str, Any]:
        """Return what podman says of one of the stack's containers."""
        found: dict[str, Any] = json.loads(self.podman("inspect", self.stack.container(component)))[0]
        return found

    def image(self, kind: str, dial: str, base: str = "", **files: bytes) -> str:
        """Return an image that is made of one of the stack's; it is made when it is first asked for.

        :param kind: a directory of ``images/``.
        :param dial: what the image is made to do.
        :param base: the component whose image it is made of; the kind's own name when empty.
        :param files: ``name_ending`` -> content, laid beside the Containerfile.
        """
        name = f"{NAMES}/{kind}:{dial.strip('+-')}"
        if (kind, dial) not in self._made:
            context = self.files / "images" / kind
            if not context.exists():
                shutil.copytree(HERE / "images" / kind, context)
            for file, content in files.items():
                (context / file.replace("_", ".")).write_bytes(content)
            given = ("--build-arg", f"BASE={self.images[base or kind]}", "--build-arg", f"DIAL={dial}")
            # With layers, podman 4.3 takes a layer of another dial for the one that is wanted.
            build = ("build", "--quiet", "--layers=false", *self._build_arguments, *given)
            self.podman(*build, "--tag", name, str(context))
            self._made[(kind, dial)] = name
        return name

    def file_of(self, image: str, path: str) -> bytes:
        """Return a file of an image."""
        container = self.podman("create", image).strip()
        try:
            copy = self.files / "copy"
            self.podman("cp", f"{container}:{path}", str(copy))
            return copy.read_bytes()
        finally:
            self.podman("rm", container)

    def remove_images(self) -> None:
        """Remove every image that was made here."""
        found = self.podman("images", "--quiet", "--filter", f"label={IMAGE_LABEL}").split()
        if found:
            self.podman("rmi", "--force", *dict.fromkeys(found))

    # The stack.

    def connect(self) -> psycopg.Connection[Any]:
        """Connect to the stack's database as a suite does."""
        env = self.stack.env
        return psycopg.connect(
            host=env["POSTGRES_HOST"],
            port=int(env["POSTGRES_PORT"]),
            user=env["POSTGRES_USER"],
            password=env["POSTGRES_PASSWORD"],
            dbname=env["POSTGRES_DB"],
            autocommit=True,
            connect_timeout=5,
        )

    def redis(self) -> redis.Redis:
        """Connect to the stack's Redis."""
        env = self.stack.env
        return redis.Redis(env["REDIS_HOST"], int(env["REDIS_PORT"]), password=env["REDIS_PASSWORD"])

    def heal(self) -> Run:
        """Bring the stack back to what the scenario brought up, and demand the proof."""
        run = self.stack.play("integration").ok()
        assert PROOF in run.out, run.tail
        self.spoilt = False
        return run

    def forget_other(self) -> None:
        """Take away what a failed run of the other stack left."""
        if left_of(self.other.name):
            self.other.remove()
        shutil.rmtree(self.other.state_dir, ignore_errors=True)

    def migrations(self, **changes: str) -> Path:
        """Return a directory with the collection's own migrations and others.

        :param changes: ``_006_a`` -> text of ``006_a.sql``.
        """
        directory = self.files / f"migrations-{len(os.listdir(self.files))}"
        shutil.copytree(HERE.parent.parent / "roles" / "migrations" / "files" / "v0", directory)
        for name, text in changes.items():
            (directory / f"{name[1:]}.sql").write_text(text)
        return directory
