# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kill a migration's module, its connection and its container at every step and at random moments.

Whatever was killed: the next run completes what was begun, or explains why it cannot. No file is applied twice, and no
row that was there is lost.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import types
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / ".collections"))

import psycopg  # noqa: E402
from psycopg import sql  # noqa: E402

from ansible_collections.kubernaut.integration.plugins.module_utils import _migrations  # noqa: E402
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import Context, PhaseError  # noqa: E402
from ansible_collections.kubernaut.integration.tests.live.playing import Stack  # noqa: E402

KINDS = ("module", "connection", "container")
#: Causes by which a run may explain that what it needs was taken away.
EXPLAINED = ("postgres-away", "postgres-access", "migration-dirty")
#: Seconds for PostgreSQL to be there again after its container was started.
PATIENCE = 30.0

#: One file of each kind that matters. Each leaves its number in `log`; 2 and 6 would lose rows if they ran again.
FILES = {
    "001_begin.sql": "CREATE TABLE log (n int);\nCREATE TABLE traces (n int);\nINSERT INTO log VALUES (1);",
    "002_again.sql": "-- +goose Up\nDROP TABLE traces CASCADE;\nCREATE TABLE traces (n int);\n"
    "INSERT INTO log VALUES (2);\n-- +goose Down\nDROP TABLE log;\n",
    "003_slow.sql": "INSERT INTO log VALUES (3);\nSELECT pg_sleep(0.05);\nALTER TABLE traces ADD m int;",
    "004_index.sql": "INSERT INTO log VALUES (4);\nCREATE INDEX CONCURRENTLY i ON traces (n);\nCOMMIT;",
    "005_function.sql": "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ SELECT 1; $$;\nINSERT INTO log VALUES (5);",
    "1000_end.sql": "DELETE FROM traces WHERE n < 0;\nINSERT INTO log VALUES (1000);",
}
#: The version that does not run in one transaction.
CUT = 4

POSTGRES_ALONE = """
- name: PostgreSQL alone
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Start it
      ansible.builtin.include_role: {name: kubernaut.integration.postgres}
"""


class Server(NamedTuple):
    """A PostgreSQL that may be killed.

    :param podman: what its container is managed with.
    :param stack: the stack that it is all of.
    """

    port: int
    password: str
    container: str
    podman: str
    stack: Stack | None = None

    def connect(self, database: str) -> psycopg.Connection[Any]:
        """Connect to one of its databases."""
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user="slm_user",
            password=self.password,
            dbname=database,
            autocommit=True,
            connect_timeout=5,
        )

    def manage(self, verb: str) -> None:
        """Do something to its container."""
        # A container's monitor may leave a file in the directory that it is started from.
        home = self.stack.home if self.stack else None
        subprocess.run([self.podman, verb, self.container], capture_output=True, check=True, cwd=home)

    def revive(self) -> None:
        """Start its container and wait until it answers; the published port takes connections earlier."""
        self.manage("start")
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self.connect("postgres").close()
            except psycopg.Error:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return


@contextmanager
def server(run_id: str, port: int) -> Iterator[Server]:
    """A PostgreSQL of one's own, from the role; removed in the end."""
    with tempfile.TemporaryDirectory() as home:
        stack = Stack(run_id, {"postgres": port}, Path(home))
        playbook = Path(home) / "postgres.yml"
        playbook.write_text(POSTGRES_ALONE)
        try:
            stack.play(playbook).ok()
            yield Server(port, "test_password", stack.container("postgres"), "podman", stack)
        finally:
            stack.remove()


class Trial:
    """A database, the files, and what was seen of them."""

    def __init__(self, where: Server, directory: Path) -> None:
        self.server = where
        self.directory = directory
        self.name = "kill_" + uuid.uuid4().hex[:12]
        for name, text in FILES.items():
            (directory / name).write_text(text)
        with where.connect("postgres") as admin:
            admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(self.name)))

    def drop(self) -> None:
        """Remove the database."""
        with self.server.connect("postgres") as admin:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(self.name)))

    def migrate(self) -> dict[str, Any]:
        """Run the phase."""
        options: dict[str, Any] = {
            **{name: option.get("default") for name, option in _migrations.PHASE.argument_spec.items()},
            "postgres_port": self.server.port,
            "postgres_password": self.server.password,
            "postgres_database": self.name,
            "directory": str(self.directory),
        }
        return _migrations.run(options, Context())

    def outcome(self) -> str:
        """Run the phase and say how it ended: nothing, or the cause of the failure."""
        try:
            self.migrate()
        except PhaseError as error:
            return error.cause or error.message
        except Exception as error:
            return f"unnamed {type(error).__name__}: {error}"
        return ""

    def rows(self, query: str) -> list[Any]:
        """Return the first column of what is asked, nothing where the table is not there yet."""
        with self.server.connect(self.name) as asking:
            try:
                return [row[0] for row in asking.execute(query.encode())]
            except psycopg.errors.UndefinedTable:
                return []

    def strike(self, kind: str, number: int) -> None:
        """Take something away from a run, in its own process."""
        if kind == "module":
            os.kill(os.getpid(), signal.SIGKILL)
        if kind == "container":
            self.server.manage("kill")
        if kind == "connection" and number % 2:
            with self.server.connect("postgres") as admin:
                query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
                admin.execute(query, (self.name,))
        elif kind == "connection":
            for descriptor in os.listdir("/proc/self/fd"):
                cut(int(descriptor), self.server.port)

    def interrupted(self, kind: str, moment: int | float) -> tuple[bool, str]:
        """Run the phase in a process of its own and strike; return whether it was struck, and how the run ended.

        :param moment: at the how many-th step, see :func:`at_each_step`; a float is seconds.
        """
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            struck: list[bool] = []

            def strike(number: int) -> None:
                struck.append(True)
                self.strike(kind, number)

            try:
                if isinstance(moment, int):
                    at_each_step(lambda number: strike(number) if number == moment else None)
                else:
                    timer = threading.Timer(moment, strike, [int(moment * 1000)])
                    timer.daemon = True
                    timer.start()
                os.write(writing, json.dumps([self.outcome(), bool(struck)]).encode())
            finally:
                os._exit(0)
        os.close(writing)
        with open(reading, "rb") as pipe:
            said = pipe.read()
        os.waitpid(child, 0)
        ended, struck_there = json.loads(said) if said else ("killed", True)
        return struck_there, ended

    def check(self, kind: str, moment: int | float) -> tuple[bool, list[str]]:
        """Strike once, run again, and return whether there was anything to strike, and what is wrong."""
        struck, ended = self.interrupted(kind, moment)
        if struck and kind == "container":
            self.server.revive()
        problems = [] if ended in ("", "killed", *EXPLAINED) else [f"the run that was struck ended with {ended!r}"]
        # A row that somebody writes, as soon as it can be written: files that run again would lose it.
        written = self.rows("SELECT count(*) FROM log WHERE n = 2") == [1]
        if written:
            self.rows("INSERT INTO traces VALUES (7) RETURNING n")
        before = self.rows("SELECT n FROM log ORDER BY n")
        dirty = self.rows("SELECT version FROM kubernaut_integration.migrations WHERE dirty")
        again = self.outcome()
        after = self.rows("SELECT n FROM log ORDER BY n")
        wanted = [int(name.split("_")[0]) for name in FILES]
        if again == "migration-dirty" and dirty == [CUT]:
            wanted = before
        elif again:
            problems.append(f"the next run ended with {again!r}")
        if after != wanted:
            problems.append(f"log is {after} instead of {wanted}, and was {before}")
        if written and self.rows("SELECT n FROM traces") != [7]:
            problems.append("a row of somebody was lost")
        return struck, [f"{kind} struck at {moment}: {problem}" for problem in problems]


def cut(descriptor: int, port: int) -> None:
    """Shut down a connection to PostgreSQL, as a machine does that goes away."""
    try:
        connection = socket.socket(fileno=os.dup(descriptor))
    except OSError:
        return
    with connection:
        try:
            if connection.getpeername()[1] == port:
                connection.shutdown(socket.SHUT_RDWR)
        except (OSError, IndexError):
            return


def at_each_step(call: Any) -> None:
    """Call something with a number before each message to PostgreSQL, and when a file's is on its way."""
    numbers = iter(range(10**6))
    waiting = types.SimpleNamespace(select=select.select)
    _migrations.select = waiting
    for owner, name in ((psycopg.Connection, "execute"), (_migrations.Session, "send"), (waiting, "select")):
        real = getattr(owner, name)

        def counted(*arguments: Any, _real: Any = real, **words: Any) -> Any:
            call(next(numbers))
            return _real(*arguments, **words)

        setattr(owner, name, counted)


def one(where: Server, kind: str, moment: int | float) -> tuple[bool, list[str]]:
    """Make one trial."""
    with tempfile.TemporaryDirectory() as directory:
        trial = Trial(where, Path(directory))
        try:
            return trial.check(kind, moment)
        finally:
            trial.drop()


def every_step(where: Server, kind: str, stride: int = 1) -> tuple[int, list[str]]:
    """Strike at each step of a run; return how many there are, and what is wrong."""
    problems: list[str] = []
    moment = 0
    while True:
        struck, found = one(where, kind, moment)
        problems += found
        if not struck:
            return moment, problems
        moment += stride


def random_moments(where: Server, kind: str, rounds: int, seed: int) -> list[str]:
    """Strike at random moments of a run."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as directory:
        trial = Trial(where, Path(directory))
        begun = time.monotonic()
        trial.migrate()
        seconds = time.monotonic() - begun
        trial.drop()
    problems = []
    for _round in range(rounds):
        problems += one(where, kind, chance.uniform(0.0, seconds))[1]
    return problems


class Kills(NamedTuple):
    """What came of killing one kind of thing.

    :param steps: how many steps it was killed at; ``moments`` likewise at random.
    :param problems: what is wrong, a sentence each.
    """

    kind: str
    steps: int
    moments: int
    problems: list[str]


def run(rounds: int) -> list[Kills]:
    """Strike at every step and at ``rounds`` random moments of each kind."""
    done = []
    with server("soak-migrations", 29843) as where:
        for number, kind in enumerate(KINDS):
            begun = time.monotonic()
            steps, problems = every_step(where, kind)
            problems += random_moments(where, kind, rounds, seed=number)
            done.append(Kills(kind, steps, rounds, problems))
            print(
                f"migrations, {kind} killed at {steps} steps and {rounds} random moments: "
                f"{len(problems)} problems ({time.monotonic() - begun:.0f} s)",
                flush=True,
            )
    return done
