# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stop and start what is behind a service, and start further services beside it that are not as they should be."""

from __future__ import annotations

import json
import re
import shlex
import socket
import ssl
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
import redis
import yaml
from psycopg import sql

from ansible_collections.kubernaut.integration.tests.conformance.contract import ABSENT, EVENTS, SERVICE
from ansible_collections.kubernaut.integration.tests.conformance.engine import client
from ansible_collections.kubernaut.integration.tests.conformance.faults import WITHOUT_API_SERVER, Start
from ansible_collections.kubernaut.integration.tests.conformance.stores import Postgres, redis_client
from ansible_collections.kubernaut.integration.tests.conformance.target import Target

#: Seconds for one command, and for something to come back after it was started.
COMMAND_LIMIT = 90
RETURN_LIMIT = 30.0
#: Seconds between two looks at something that is waited for.
GAP = 0.05
ANSI = re.compile(r"\x1b\[[0-9;]*m")
#: What the suite's own containers are called.
NAMES = "kubernaut-conformance"


class ControlError(Exception):
    """A command failed, or what was started did not come back."""


def call(*argv: str, check: bool = True) -> str:
    """Run a command and return both its outputs.

    :raises ControlError: it failed.
    """
    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=COMMAND_LIMIT,
        check=False,
    )
    text = done.stdout.decode(errors="replace")
    if check and done.returncode != 0:
        raise ControlError(f"{shlex.join(argv)} ended with {done.returncode}: {text[-500:]}")
    return text


def until(what: str, condition: Callable[[], Any]) -> None:
    """Wait for something to come back."""
    deadline = time.monotonic() + RETURN_LIMIT
    while not condition():
        if time.monotonic() > deadline:
            raise ControlError(f"{what} did not come back within {RETURN_LIMIT:.0f} s")
        time.sleep(GAP)


class Control:
    """Stops and starts PostgreSQL, Redis and the stub of an API server.

    :param target: the service that they belong to.
    :param command: called with ``stop`` or ``start`` and ``postgres``, ``redis`` or ``auth``; empty: podman, with the
        containers of the target's stack.
    """

    def __init__(self, target: Target, command: str = "") -> None:
        self._target, self._command = target, shlex.split(command)

    def do(self, action: str, component: str) -> None:
        """Stop or start a component, and wait for its return."""
        if self._command:
            call(*self._command, action, component)
        else:
            assert self._target.stack is not None
            call(self._target.stack["podman"], action, self._target.stack[component]["container"])
        if action == "start":
            until(component, getattr(self, f"_{component}_answers"))

    def _postgres_answers(self) -> bool:
        postgres = Postgres(self._target)
        try:
            postgres.execute("SELECT 1")
        except psycopg.Error:
            return False
        finally:
            postgres.close()
        return True

    def _redis_answers(self) -> bool:
        client = redis_client(self._target)
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False
        finally:
            client.close()

    def _auth_answers(self) -> bool:
        """Whether the service can ask it about a token."""
        target = self._target
        token = {"Authorization": f"Bearer {target.tokens[SERVICE]}"}
        with client(target.ca_file) as http:
            return http.get(target.url + EVENTS, params={"limit": "1"}, headers=token).status_code != 500

    @property
    def contract(self) -> str:
        """Which generation the service is of."""
        return self._target.contract

    def service_is_ready(self) -> None:
        """Wait until the service says that it is."""
        path = "/health" if self._target.contract == "v0" else "/readyz"

        def ready() -> bool:
            try:
                return httpx.get(self._target.health_url + path, trust_env=False, timeout=5).status_code == 200
            except httpx.HTTPError:
                return False

        until("DataStorage", ready)


# ------------------------------------------------------------------------------------------------------------- faults

Fault = Callable[[Control, Postgres], AbstractContextManager[None]]


def stopped(*components: str) -> Fault:
    """Return a fault: these are stopped, and started again afterwards in the opposite order."""

    @contextmanager
    def fault(control: Control, _postgres: Postgres) -> Iterator[None]:
        gone: list[str] = []
        try:
            for component in components:
                gone.append(component)
                control.do("stop", component)
            yield
        finally:
            for component in reversed(gone):
                control.do("start", component)
            control.service_is_ready()

    return fault


@contextmanager
def restarted_postgres(control: Control, _postgres: Postgres) -> Iterator[None]:
    """PostgreSQL was away and is back."""
    control.do("stop", "postgres")
    control.do("start", "postgres")
    yield
    control.service_is_ready()


@contextmanager
def without_schema(_control: Control, postgres: Postgres) -> Iterator[None]:
    """The table of events is not there, under its name."""
    postgres.execute("ALTER TABLE audit_events RENAME TO conformance_hidden")
    try:
        yield
    finally:
        postgres.execute("ALTER TABLE conformance_hidden RENAME TO audit_events")


#: Generation -> a column that its service writes, and the schema of the other one does not have.
OWN_COLUMN = {"v0": "cluster_name", "v1": "cluster_id"}


@contextmanager
def schema_of_the_other(control: Control, postgres: Postgres) -> Iterator[None]:
    """The table of events lacks a column that only this generation has."""
    column = OWN_COLUMN[control.contract]
    postgres.execute(f"ALTER TABLE audit_events RENAME COLUMN {column} TO conformance_hidden")
    try:
        yield
    finally:
        postgres.execute(f"ALTER TABLE audit_events RENAME COLUMN conformance_hidden TO {column}")


@contextmanager
def without_partition(_control: Control, postgres: Postgres) -> Iterator[None]:
    """No partition takes the events of this month."""
    postgres.tidy()  # the key of a parent's partition cannot be taken away while a child refers to it
    name = f"audit_events_{datetime.now(UTC):%Y_%m}"
    asked = "SELECT pg_get_expr(relpartbound, oid) AS bounds FROM pg_class WHERE oid = %s::regclass"
    row = postgres.execute(asked, [name]).fetchone()
    assert row is not None
    table, partition, bounds = sql.SQL("ALTER TABLE audit_events "), sql.Identifier(name), sql.SQL(row["bounds"])
    postgres.execute(table + sql.SQL("DETACH PARTITION {}").format(partition))
    try:
        yield
    finally:
        postgres.execute(table + sql.SQL("ATTACH PARTITION {} {}").format(partition, bounds))


#: Name -> how that state is brought about.
FAULTS: Mapping[str, Fault] = {
    "postgres-stopped": stopped("postgres"),
    "postgres-restarted": restarted_postgres,
    "redis-stopped": stopped("redis"),
    "both-stopped": stopped("postgres", "redis"),
    "schema-missing": without_schema,
    "partition-missing": without_partition,
    "schema-of-the-other-generation": schema_of_the_other,
    WITHOUT_API_SERVER: stopped("auth"),
}


class States:
    """Has the stack in one state until another is asked for: a fault is brought about once for all its cases."""

    def __init__(self, control: Control, postgres: Postgres) -> None:
        self._control, self._postgres = control, postgres
        self._name, self._undo = "", ExitStack()

    def enter(self, name: str) -> None:
        """Have it in this state; an empty name is the sound one."""
        if name == self._name:
            return
        self._undo.close()
        self._name, self._undo = "", ExitStack()
        if name:
            self._undo.enter_context(FAULTS[name](self._control, self._postgres))
            self._name = name


# --------------------------------------------------------------------------------------------------- further services


@dataclass(frozen=True)
class Ended:
    """A service that was started beside the target's.

    :param code: its exit status; None while it runs.
    :param log: what it said, without colours.
    """

    code: int | None
    log: str


class Beside:
    """Starts services like the stack's own, in containers of their own, on a copy of its configuration.

    :param target: of a stack made by this collection.
    :param files: a directory for copies of the configuration.
    """

    def __init__(self, target: Target, files: Path) -> None:
        assert target.stack is not None
        self._target, self._files = target, files
        self._podman = target.stack["podman"]
        self._model: dict[str, Any] = json.loads(
            call(self._podman, "inspect", target.stack["datastorage"]["container"])
        )[0]
        self._config_path = Path(self.environment()["CONFIG_PATH"])

    def environment(self) -> dict[str, str]:
        """Return the variables that the stack gave its service."""
        return dict(entry.partition("=")[::2] for entry in self._model["Config"]["Env"])

    @contextmanager
    def service(self, start: Start) -> Iterator[Started]:
        """Start one, and remove it in the end."""
        assert self._target.stack is not None
        name = f"{NAMES}-{uuid.uuid4().hex[:12]}"
        directory = self._configuration(name, start)
        mounts = [
            f"{mount['Source']}:{mount['Destination']}:ro"
            for mount in self._model["Mounts"]
            if mount["Type"] == "bind" and mount["Destination"] != str(self._config_path.parent)
        ]
        limits = [
            f"{limit['Name'].removeprefix('RLIMIT_').lower()}={limit['Soft']}:{limit['Hard']}"
            for limit in self._model["HostConfig"]["Ulimits"] or []
        ]
        variables = {**self._own_environment(), **start.environment}
        own = f"container:{self._target.stack['datastorage']['container']}"
        argv = [
            self._podman,
            "run",
            "--detach",
            f"--name={name}",
            f"--network={own if start.network == 'service' else self._target.stack['network']}",
            f"--user={self._model['Config']['User']}",
            "--log-driver=k8s-file",
            *(f"--ulimit={limit}" for limit in limits),
            f"--volume={directory}:{self._config_path.parent}:ro",
            *(f"--volume={mount}" for mount in mounts),
            *(f"--env={variable}={value}" for variable, value in variables.items() if value),
            *([] if start.network == "service" else [f"--publish=127.0.0.1::{self._api_port()}"]),
            self._model["Image"],
            *self._arguments(),
        ]
        try:
            call(*argv)
            yield Started(self._podman, name, self._api_port(), self._target)
        finally:
            # A name that does not exist is no fault to rm.
            call(self._podman, "rm", "--force", "--ignore", "--volumes", "--time=0", name)

    def _own_environment(self) -> dict[str, str]:
        image = json.loads(call(self._podman, "image", "inspect", self._model["Image"]))[0]
        given = set(image["Config"].get("Env") or [])
        made_by_podman = ("TERM", "container", "HOME", "HOSTNAME")
        return {
            name: value
            for name, value in self.environment().items()
            if f"{name}={value}" not in given and name not in made_by_podman
        }

    def _arguments(self) -> Sequence[str]:
        image = json.loads(call(self._podman, "image", "inspect", self._model["Image"]))[0]
        command: list[str] = self._model["Config"].get("Cmd") or []
        return [] if command == (image["Config"].get("Cmd") or []) else command

    def _source(self) -> Path:
        (source,) = (
            Path(mount["Source"])
            for mount in self._model["Mounts"]
            if mount["Destination"] == str(self._config_path.parent)
        )
        return source

    def _document(self) -> dict[str, Any]:
        document: dict[str, Any] = yaml.safe_load((self._source() / self._config_path.name).read_text())
        return document

    def _api_port(self) -> int:
        return int(self._document()["server"]["port"])

    def _configuration(self, name: str, start: Start) -> Path:
        directory = self._files / name
        directory.mkdir(mode=0o755)
        document = self._document()
        secret_name = Path(document["database"]["secretsFile"]).name
        for key, value in start.config.items():
            section, _dot, entry = key.partition(".")
            if value is ABSENT:
                document[section].pop(entry, None)
            else:
                document[section][entry] = value
        for file in self._source().iterdir():
            text = file.read_text()
            if file.name == self._config_path.name:
                text = yaml.safe_dump(document)
            elif file.name == secret_name:
                text = yaml.safe_dump({**yaml.safe_load(text), **start.secret})
            (directory / file.name).write_text(text)
            # Whoever the service runs as; nobody else gets into the directory above.
            (directory / file.name).chmod(start.mode if file.name == secret_name else 0o644)
        return directory


class Started:
    """A service that was started beside the target's."""

    def __init__(self, podman: str, name: str, port: int, model: Target) -> None:
        self._podman, self._name, self._port, self._model = podman, name, port, model

    def look(self) -> Ended:
        """Return how it is."""
        state = json.loads(call(self._podman, "inspect", self._name))[0]["State"]
        code = None if state["Running"] or state["Status"] in ("created", "initialized") else int(state["ExitCode"])
        return Ended(code, ANSI.sub("", call(self._podman, "logs", self._name)))

    def end(self, seconds: float) -> Ended:
        """Wait so long for its end."""
        deadline = time.monotonic() + seconds
        while (ended := self.look()).code is None and time.monotonic() < deadline:
            time.sleep(GAP)
        return ended

    def stop(self, seconds: int) -> Ended:
        """Have podman stop it, which kills it after so many seconds."""
        call(self._podman, "stop", f"--time={seconds}", self._name)
        return self.look()

    def serve(self, seconds: float) -> None:
        """Wait until it answers, and no longer than it runs."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                with client(self._model.ca_file) as http:
                    http.get(self.url() + "/")
            except httpx.HTTPError:
                now = self.look()
                if now.code is not None or time.monotonic() > deadline:
                    raise ControlError(f"it does not serve (exit status {now.code}): {now.log[-3000:]}") from None
                time.sleep(GAP)
            else:
                return

    @contextmanager
    def unfinished_request(self) -> Iterator[None]:
        """Have it wait for the rest of a body that does not come."""
        parts = urlsplit(self.url())
        assert parts.hostname
        assert parts.port
        with ExitStack() as undo:
            connection = undo.enter_context(socket.create_connection((parts.hostname, parts.port), timeout=5))
            if parts.scheme == "https":
                trusted = ssl.create_default_context(cafile=self._model.ca_file or None)
                connection = undo.enter_context(trusted.wrap_socket(connection, server_hostname=parts.hostname))
            head = f"POST {EVENTS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"
            connection.sendall(head.encode() + b'{"version"')
            time.sleep(0.5)  # it has begun to read
            yield

    def url(self) -> str:
        """Return where its API is published."""
        scheme = urlsplit(self._model.url).scheme
        return f"{scheme}://" + call(self._podman, "port", self._name, f"{self._port}/tcp").split()[0]
