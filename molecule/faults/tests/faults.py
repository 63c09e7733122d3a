# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How faults are brought about, for real, and undone again.

A fault that is there before the play begins is a context manager around the play, which yields the play's further
variables. A fault that comes in the middle of it is a plain function, called when a task begins.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg import sql

from ansible_collections.kubernaut.integration.molecule.faults.tests.scene import SECRET, Scene, until
from ansible_collections.kubernaut.integration.plugins.module_utils._migrations import LOCK_KEY
from ansible_collections.kubernaut.integration.tests.live.playing import LABEL

Around = Callable[[Scene], AbstractContextManager[Mapping[str, Any]]]
Strike = Callable[[Scene], None]


def given(**variables: Any) -> Around:
    """Return a fault that lies in the variables alone."""

    @contextmanager
    def around(_scene: Scene) -> Iterator[Mapping[str, Any]]:
        yield variables

    return around


# ------------------------------------------------------------------------------------------------------------ images


def dialled(position: str, **variables: Any) -> Around:
    """Return a DataStorage that misbehaves."""

    @contextmanager
    def around(scene: Scene) -> Iterator[Mapping[str, Any]]:
        yield {"datastorage_image": scene.image("datastorage", position), **variables}

    return around


def other_image(component: str, kind: str, dial: str, **variables: Any) -> Around:
    """Return a component that runs an image made of its own."""

    @contextmanager
    def around(scene: Scene) -> Iterator[Mapping[str, Any]]:
        files = {}
        if kind == "redis-loading":
            files["dump_rdb"] = data_set(2000)
        if kind == "clock-behind":  # the other image has it already
            files["libfaketime_so"] = scene.file_of(scene.image("clock-ahead", "+10m", "postgres"), "/libfaketime.so")
        yield {f"{component}_image": scene.image(kind, dial, component, **files), **variables}

    return around


def data_set(keys: int) -> bytes:
    """Return a Redis data set in its own format: version 9, database 0, no checksum."""

    def text(value: bytes) -> bytes:
        return bytes([0x40 | len(value) >> 8, len(value) & 0xFF]) + value

    entries = b"".join(b"\x00" + text(b"key:%d" % number) + text(b"x" * 100) for number in range(keys))
    return b"REDIS0009\xfe\x00" + entries + b"\xff" + bytes(8)


# ---------------------------------------------------------------------------------------------------------- containers


def killed(component: str, pause: float = 0.0) -> Strike:
    """Return a strike that has podman kill a container."""

    def strike(scene: Scene) -> None:
        time.sleep(pause)
        scene.podman("kill", scene.stack.container(component))

    return strike


def killed_past_podman(component: str, pause: float = 0.0) -> Strike:
    """Return a strike that kills a container's process without podman's knowledge."""

    def strike(scene: Scene) -> None:
        pid = scene.inspect(component)["State"]["Pid"]
        time.sleep(pause)
        os.kill(pid, signal.SIGKILL)

    return strike


def dead(component: str, strike: Strike) -> Around:
    """Return a fault that is a container killed before the play."""

    @contextmanager
    def around(scene: Scene) -> Iterator[Mapping[str, Any]]:
        strike(scene)
        name = scene.stack.container(component)
        until(f"the end of {name}", lambda: scene.inspect(component)["State"]["Status"] == "exited")
        yield {}

    return around


@contextmanager
def stopped_in_the_wrong_order(scene: Scene) -> Iterator[Mapping[str, Any]]:
    """Stop Redis before DataStorage, which has too little time to end, as upstream's script does."""
    scene.podman("stop", scene.stack.container("redis"))
    scene.podman("stop", "--time", "1", scene.stack.container("datastorage"))
    scene.podman("start", scene.stack.container("redis"))
    yield {}


@contextmanager
def killed_and_started(scene: Scene) -> Iterator[Mapping[str, Any]]:
    """Kill DataStorage and start it again, so that it looks well to everybody who comes later."""
    name = scene.stack.container("datastorage")
    scene.podman("kill", name)
    until(f"the end of {name}", lambda: scene.inspect("datastorage")["State"]["Status"] == "exited")
    scene.podman("start", name)
    yield {}


@contextmanager
def redis_stopped(scene: Scene) -> Iterator[Mapping[str, Any]]:
    """Stop Redis as somebody does who does not know what it is for."""
    scene.podman("stop", scene.stack.container("redis"))
    yield {}


# ---------------------------------------------------------------------------------------------------------- PostgreSQL


@contextmanager
def frozen_postgres(scene: Scene) -> Iterator[Mapping[str, Any]]:
    """Let PostgreSQL's process stand still: the kernel still takes connections."""
    pid = scene.inspect("postgres")["State"]["Pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield {"postgres_timeout": 1}
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def no_connection_left(scene: Scene) -> Iterator[Mapping[str, Any]]:
    """Open every connection that PostgreSQL has, those of a superuser as well."""
    with contextlib.ExitStack() as stack:
        for _number in range(1000):
            try:
                stack.enter_context(contextlib.closing(scene.connect()))
            except psycopg.OperationalError as error:
                if "too many clients" not in str(error):
                    raise
                break
        yield {"postgres_timeout": 1}


@contextmanager
def another_password(scene: Scene) -> Iterator[Mapping[str, Any]]:
    """Ask for another password than the one that the data volume has kept."""
    yield {"postgres_password": scene.password()}


@contextmanager
def small_volume(scene: Scene) -> Iterator[Mapping[str, Any]]:
    """Make the data volume of the other stack in advance, with room for half a database."""
    plan = scene.other.container("postgres").removesuffix("_1") + "_data"
    labels = json.loads(scene.podman("volume", "inspect", plan.replace("faults2", "faults")))[0]["Labels"]
    labels[LABEL] = scene.other.name
    given = [part for each in labels.items() for part in ("--label", "=".join(each))]
    # Blocks of 4 KiB; podman 4.3 takes a size for a quota, which its own directory then ought to have.
    options = ("--opt", "type=tmpfs", "--opt", "device=tmpfs", "--opt", "o=nr_blocks=6144,uid=999,gid=999,mode=0700")
    scene.podman("volume", "create", *options, *given, plan)
    yield {}


# ---------------------------------------------------------------------------------------------------------- migrations


@contextmanager
def syntax_error(scene: Scene) -> Iterator[Mapping[str, Any]]:
    """Give five new migrations, the third of which is wrong; afterwards nothing is left of the first two."""
    files = {f"_{number:03}_fault": f"CREATE TABLE fault_{number} (id int);\n" for number in range(6, 11)}
    files["_008_fault"] = "CREATE TABLE fault_8 (id int);\nCREATE TABEL fault_8b (id int);\n"
    directory = scene.migrations(**files)
    try:
        yield {"migrations_dir": str(directory)}
    finally:
        with scene.connect() as connection:
            connection.execute("DROP TABLE IF EXISTS fault_6, fault_7, fault_8, fault_9, fault_10")
            connection.execute("DELETE FROM kubernaut_integration.migrations WHERE version > 5")


@contextmanager
def changed_migration(scene: Scene) -> Iterator[Mapping[str, Any]]:
    """Change a file after it was applied."""
    directory = scene.migrations()
    with (directory / "003_notification_audit.sql").open("a") as file:
        file.write("\n-- an afterthought\n")
    yield {"migrations_dir": str(directory)}


@contextmanager
def slow_migration(scene: Scene) -> Iterator[Mapping[str, Any]]:
    """Give one more migration, which takes long enough for something to happen."""
    yield {"migrations_dir": str(scene.migrations(_006_fault="SELECT pg_sleep(60);\n"))}


def migrating(then: Strike) -> Strike:
    """Return a strike that waits until that migration runs."""

    def strike(scene: Scene) -> None:
        running = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        with scene.connect() as connection:
            until("the migration", lambda: connection.execute(running).fetchone())
        then(scene)

    return strike


@contextmanager
def locked_migrations(scene: Scene) -> Iterator[Mapping[str, Any]]:
    """Hold the lock that everybody takes who migrates."""
    with scene.connect() as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [LOCK_KEY])
        yield {"stack_patience": 0.1}


#: The partition of audit_events that takes today's events, and its bounds.
_TODAYS = """
    SELECT c.relname, pg_get_expr(c.relpartbound, c.oid)
    FROM pg_class c JOIN pg_inherits i ON i.inhrelid = c.oid
    WHERE i.inhparent = 'audit_events'::regclass
    AND pg_get_expr(c.relpartbound, c.oid) LIKE 'FOR VALUES FROM (''' || %s || '-01%%'
"""


def without_todays_partition(**variables: Any) -> Around:
    """Return a fault that is a missing partition for today."""

    @contextmanager
    def around(scene: Scene) -> Iterator[Mapping[str, Any]]:
        with scene.connect() as connection:
            row = connection.execute(_TODAYS, [datetime.now(UTC).strftime("%Y-%m")]).fetchone()
            assert row is not None
            partition, bounds = sql.Identifier(row[0]), sql.SQL(row[1])
            table = sql.SQL("ALTER TABLE audit_events ")
            connection.execute(table + sql.SQL("DETACH PARTITION {}").format(partition))
            try:
                yield variables
            finally:
                connection.execute(table + sql.SQL("ATTACH PARTITION {} {}").format(partition, bounds))

    return around


@contextmanager
def hidden_table(scene: Scene) -> Iterator[Mapping[str, Any]]:
    """Have a healthy DataStorage on a database without audit_events, and nobody who asks for that table earlier."""
    with scene.connect() as connection:
        connection.execute("ALTER TABLE audit_events RENAME TO hidden")
        try:
            yield {"migrations_required": {}}
        finally:
            connection.execute("ALTER TABLE hidden RENAME TO audit_events")


@contextmanager
def first_of_a_month(scene: Scene) -> Iterator[Mapping[str, Any]]:
    """Let it be the first of March, when events of February may still come in; afterwards that spring is forgotten."""
    known = (
        "SELECT relname, inhparent::regclass::text FROM pg_inherits JOIN pg_class ON oid = inhrelid WHERE relkind = 'r'"
    )
    with scene.connect() as connection:
        before = dict(connection.execute(known).fetchall())
        made: dict[str, str] = {}
        try:
            yield {"migrations_today": "2028-03-01"}
        finally:
            made = {name: table for name, table in connection.execute(known) if name not in before}
            for name, table in made.items():
                partition = sql.Identifier(name)
                detach = sql.SQL("ALTER TABLE {} DETACH PARTITION {}")
                connection.execute(detach.format(sql.Identifier(table), partition))
                connection.execute(sql.SQL("DROP TABLE {}").format(partition))
    assert {f"audit_events_2028_{month}" for month in ("02", "03", "06")} <= set(made)


# --------------------------------------------------------------------------------------------------------------- Redis


def configured(name: str, value: str, **variables: Any) -> Around:
    """Return a fault that is a setting of the running Redis; SECRET stands for a new password."""

    @contextmanager
    def around(scene: Scene) -> Iterator[Mapping[str, Any]]:
        # One connection stays logged in, whatever is asked of others.
        with scene.redis() as client:
            before = client.config_get(name)[name]
            client.config_set(name, scene.password() if value is SECRET else value)
            try:
                yield variables
            finally:
                client.config_set(name, before)

    return around


# ------------------------------------------------------------------------------------------------------------ the proof


def while_the_batch_waits(then: Strike) -> Strike:
    """Return a strike between health and proof: the batch of events waits for a lock of the table."""

    def strike(scene: Scene) -> None:
        waiting = (
            "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'INSERT INTO audit_events%'"
        )
        # Their ends go with PostgreSQL's, where that is what is killed.
        with contextlib.suppress(psycopg.OperationalError), scene.connect() as holder, scene.connect() as other:
            holder.execute("BEGIN")
            holder.execute("LOCK TABLE audit_events IN ACCESS EXCLUSIVE MODE")
            until("the batch", lambda: other.execute(waiting).fetchone(), 30)
            then(scene)

    return strike


# -------------------------------------------------------------------------------------------------------------- network


@contextmanager
def no_rule_for_the_port(scene: Scene) -> Iterator[Mapping[str, Any]]:
    """Remove the firewall's rules for PostgreSQL's published port; the container stays as it is."""
    port = scene.stack.ports["postgres"]
    rules = subprocess.run(["iptables", "-t", "nat", "-S"], capture_output=True, text=True, check=True).stdout
    ours = [line for line in rules.splitlines() if f"--dport {port} " in line and "DNAT" in line]
    assert ours, rules
    for rule in ours:
        # The comment of a rule is quoted, and a shell reads it as iptables wrote it.
        subprocess.run(f"iptables -t nat -D {rule.removeprefix('-A ')}", shell=True, check=True)  # noqa: S602
    try:
        yield {"postgres_timeout": 2}
    finally:
        scene.podman("network", "reload", scene.stack.container("postgres"))


@contextmanager
def no_name_server(scene: Scene) -> Iterator[Mapping[str, Any]]:
    """Take the network away from its name server, which serves those of other stacks as well."""
    names = f"/run/containers/networks/aardvark-dns/{scene.stack.facts['network']}"
    with open("/run/containers/networks/aardvark-dns/aardvark.pid") as file:
        pid = int(file.read())
    kept = scene.files / "aardvark"
    os.replace(names, kept) if os.stat(names).st_dev == os.stat(scene.files).st_dev else _move(names, str(kept))
    os.kill(pid, signal.SIGHUP)
    try:
        yield {"stack_patience": 0.1}
    finally:
        _move(str(kept), names)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGHUP)
        # Where it served nobody else, it has ended; this starts it again.
        scene.podman("network", "reload", scene.stack.container("redis"))
        redis, postgres = scene.stack.container("redis"), scene.stack.container("postgres")
        until("the name server", lambda: scene.podman("exec", redis, "getent", "hosts", postgres, check=False), 30)


def _move(source: str, target: str) -> None:
    with open(source, "rb") as read, open(target, "wb") as write:
        write.write(read.read())
    os.unlink(source)


# ------------------------------------------------------------------------------------------------------------ the host


def listener(family: socket.AddressFamily, address: str) -> Around:
    """Return a fault that is somebody else's service at DataStorage's port."""

    @contextmanager
    def around(scene: Scene) -> Iterator[Mapping[str, Any]]:
        with socket.create_server((address, scene.other.ports["datastorage"]), family=family):
            yield {}

    return around


def port_taken_late(scene: Scene) -> None:
    """Take PostgreSQL's port when everybody believes that it is free."""
    # Kept until the process ends or forget() is called.
    LATE.append(socket.create_server(("127.0.0.1", scene.other.ports["postgres"])))


LATE: list[socket.socket] = []


@contextmanager
def late_listener(_scene: Scene) -> Iterator[Mapping[str, Any]]:
    """Close what :func:`port_taken_late` opened."""
    try:
        yield {}
    finally:
        while LATE:
            LATE.pop().close()


@contextmanager
def small_disk(scene: Scene) -> Iterator[Mapping[str, Any]]:
    """Give the stack's files a disk of 16 MiB."""
    directory = scene.files / "disk"
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(directory)], check=True)
    try:
        yield {"stack_state_dir": str(directory)}
    finally:
        subprocess.run(["umount", str(directory)], check=True)


@contextmanager
def broken_runtime(scene: Scene) -> Iterator[Mapping[str, Any]]:
    """Give a podman whose OCI runtime runs nothing, whichever is asked for."""
    script = scene.files / "podman"
    script.write_text(
        '#!/bin/sh\nif [ "$1" = --runtime ]; then shift 2; fi\nexec podman --runtime /bin/false "$@"\n',
    )
    script.chmod(0o755)
    yield {"host_podman": str(script)}


@contextmanager
def foreign_container(scene: Scene) -> Iterator[Mapping[str, Any]]:
    """Have a container of PostgreSQL's name that somebody else made; nobody may touch it."""
    name = scene.other.container("postgres")
    image = scene.images["postgres"]
    identity = scene.podman("create", "--name", name, image).strip()
    try:
        yield {}
        assert scene.podman("inspect", "--format", "{{.Id}} {{.State.Status}}", name).split() == [identity, "created"]
    finally:
        scene.podman("rm", "--force", name)
