# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fault matrix, as data: what is done, and what must be said about it, where and when."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field

from ansible_collections.kubernaut.integration.molecule.faults.tests import faults
from ansible_collections.kubernaut.integration.molecule.faults.tests.faults import (
    Around,
    Strike,
    dead,
    dialled,
    given,
    killed,
    killed_past_podman,
    other_image,
)
from ansible_collections.kubernaut.integration.molecule.faults.tests.scene import SECRET

CHECK_POSTGRES = "postgres : Check what PostgreSQL is asked to be"
CHECK_DATASTORAGE = "datastorage : Check what DataStorage is asked to be"
HOST = "host : Look at the machine"
STACK = "stack : Take the stack's lock, look at everything it has, provide its network"
IMAGES = "images : Use, load, pull or build postgres, redis, datastorage"
POSTGRES = "postgres : Wait until PostgreSQL answers the service's own user over TCP"
MIGRATIONS = "migrations : Apply what is pending, one file after the other"
SCHEMA = "migrations : Demand the tables, functions, extensions and partitions that the service writes to"
REDIS = "redis : Wait until Redis answers exactly PONG with its data loaded"
NAMES = "datastorage : Resolve the names that the service will look up, from inside the network"
DATASTORAGE = "datastorage : Wait until DataStorage is healthy and connected"
AUDIT = "audit : Write seven audit events and read them back"
STABLE = "stack : See that no container ended, was restarted, replaced or out of memory since it was proven"
START_POSTGRES = "stack : Start workflowexecution_faults2_postgres_1"
START_DATASTORAGE = "stack : Start workflowexecution_faults_datastorage_1"

#: Nothing listens on port 9.
_PROXIES = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
_NO_PROXIES = dict.fromkeys(("no_proxy", "NO_PROXY"), "")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One fault.

    :param name: of the test.
    :param fault: what is done, in words.
    :param cause: the id that must be named; empty where everything must come out well all the same.
    :param where: role and task that must fail first; empty in that case.
    :param deadline: seconds within which the play must have ended, from its start or from the strike.
    :param least: seconds before which it cannot have ended, if the fault was there.
    :param words: regular expression that the failure's first line, or a successful play's output, must match.
    :param evidence: regular expression that the whole message must match.
    :param around: a fault that is there before.
    :param at: task at whose beginning ``strike`` is called.
    :param playbook: which one is played.
    :param elsewhere: on the other stack, which does not exist.
    :param warm: the stack must be up and proven before.
    :param spoils: the stack is not as it was afterwards.
    :param slow: it does not fit into the usual minutes.
    :param diagnosed: the evidence is kept.
    :param env: further variables of the play's environment.
    """

    name: str
    fault: str
    cause: str = ""
    where: str = ""
    deadline: float
    least: float = 0.0
    words: str = ""
    evidence: str = ""
    around: Around = field(default_factory=given)
    at: str = ""
    strike: Strike | None = None
    playbook: str = "integration"
    elsewhere: bool = False
    warm: bool = False
    spoils: bool = False
    slow: bool = False
    diagnosed: bool = True
    env: Mapping[str, str] = field(default_factory=dict)


#: A machine, and what is found before anything is started.
MACHINE = (
    Row(
        name="port-taken",
        fault="somebody listens on 127.0.0.1 at DataStorage's port",
        cause="port-taken",
        where=CHECK_DATASTORAGE,
        words=r"^datastorage_port: port \d+ on 127\.0\.0\.1 is taken by \S+ \(pid \d+\)",
        deadline=15,
        around=faults.listener(socket.AF_INET, "127.0.0.1"),
        elsewhere=True,
        diagnosed=False,
    ),
    Row(
        name="port-taken-ipv6",
        fault="somebody listens on [::1] at DataStorage's port, and on 127.0.0.1 nobody does",
        cause="port-taken",
        where=CHECK_DATASTORAGE,
        words=r"^datastorage_port: port \d+ on \[::1\] is taken by \S+ \(pid \d+\)",
        deadline=15,
        around=faults.listener(socket.AF_INET6, "::1"),
        elsewhere=True,
        diagnosed=False,
        slow=True,
    ),
    Row(
        name="port-taken-late",
        fault="PostgreSQL's port is taken after it was found free",
        cause="port-taken",
        where=START_POSTGRES,
        deadline=20,
        around=faults.late_listener,
        at=START_POSTGRES,
        strike=faults.port_taken_late,
        elsewhere=True,
        slow=True,
    ),
    Row(
        name="podman-missing",
        fault="there is no podman",
        cause="podman-missing",
        where=HOST,
        deadline=15,
        around=given(host_podman="/nonexistent/podman"),
        elsewhere=True,
    ),
    Row(
        name="oci-runtime",
        fault="podman's OCI runtime runs nothing",
        cause="oci-runtime",
        where=HOST,
        words=r"cannot run any container",
        deadline=30,
        around=faults.broken_runtime,
        elsewhere=True,
        slow=True,
    ),
    Row(
        name="disk-low",
        fault="the state directory lies on a disk of 16 MiB",
        cause="disk-low",
        where=HOST,
        words=r"/disk\S* has 1\d MiB free",
        deadline=20,
        around=faults.small_disk,
        elsewhere=True,
    ),
    Row(
        name="foreign-container",
        fault="a container of PostgreSQL's name that somebody else made",
        cause="foreign",
        where=STACK,
        words=r"the container workflowexecution_faults2_postgres_1 was not made by this collection",
        deadline=15,
        around=faults.foreign_container,
        elsewhere=True,
        diagnosed=False,
    ),
    Row(
        name="image-missing",
        fault="an image that is nowhere",
        cause="image-missing",
        where=IMAGES,
        words=r"^postgres_image \(localhost/nobody/nothing:0\)",
        deadline=20,
        around=given(postgres_image="localhost/nobody/nothing:0", images_policy="present"),
        elsewhere=True,
    ),
    Row(
        name="disk-full",
        fault="the data volume is a tmpfs of 24 MiB, full in the middle of initdb",
        cause="disk-full",
        where=POSTGRES,
        deadline=25,
        around=faults.small_volume,
        elsewhere=True,
        slow=True,
    ),
)

#: The warm stack, which is none the worse for it afterwards.
WARM = (
    Row(
        name="proxy",
        fault="http_proxy and its kin are set to a proxy that answers nobody",
        deadline=25,
        warm=True,
        env={**_PROXIES, **_NO_PROXIES},
        slow=True,
    ),
    Row(
        name="first-of-a-month",
        fault="it is the first of March, and events of February may still come in",
        deadline=25,
        around=faults.first_of_a_month,
        warm=True,
        slow=True,
    ),
    Row(
        name="postgres-connections",
        fault="every connection of PostgreSQL is in use",
        cause="postgres-connections",
        where=POSTGRES,
        words=r"no connection left",
        deadline=20,
        around=faults.no_connection_left,
        warm=True,
    ),
    Row(
        name="postgres-silent",
        fault="PostgreSQL's process stands still; the kernel takes connections that nobody answers",
        cause="silent",
        where=POSTGRES,
        words=r"takes connections and does not answer",
        deadline=25,
        around=faults.frozen_postgres,
        warm=True,
        slow=True,
    ),
    Row(
        name="published-port-dead",
        fault="the firewall's rules for PostgreSQL's published port are gone, the container is healthy",
        cause="published-port-dead",
        where=POSTGRES,
        words=r"at the container's own address but not at the published port 33543",
        deadline=25,
        around=faults.no_rule_for_the_port,
        warm=True,
        slow=True,
    ),
    Row(
        name="name-server-dead",
        fault="the network's name server no longer serves it",
        cause="name-server-dead",
        where=NAMES,
        words=r"name server does not answer",
        deadline=30,
        around=faults.no_name_server,
        warm=True,
    ),
    Row(
        name="migration-sql",
        fault="file 3 of 5 pending migrations has a syntax error",
        cause="migration-sql",
        where=MIGRATIONS,
        words=r"008_fault\.sql",
        deadline=20,
        around=faults.syntax_error,
        warm=True,
    ),
    Row(
        name="migration-changed",
        fault="a migration was changed after it had been applied",
        cause="migration-changed",
        where=MIGRATIONS,
        words=r"003_notification_audit\.sql",
        deadline=20,
        around=faults.changed_migration,
        warm=True,
    ),
    Row(
        name="migration-locked",
        fault="somebody else holds the lock of the migrations",
        cause="migration-locked",
        where=MIGRATIONS,
        deadline=20,
        around=faults.locked_migrations,
        warm=True,
    ),
    Row(
        name="partition-missing",
        fault="the partition for today is missing, and nobody may make one",
        cause="partition-missing",
        where=SCHEMA,
        words=r"audit_events for \d{4}-\d\d",
        deadline=20,
        around=faults.without_todays_partition(migrations_ensure_partitions=False),
        warm=True,
    ),
    Row(
        name="partition-missing-at-the-proof",
        fault="DataStorage is healthy, and there is no partition for today's events (SQLSTATE 23514)",
        cause="partition-missing",
        where=AUDIT,
        words=r"23514",
        deadline=20,
        around=faults.without_todays_partition(migrations_required={}),
        warm=True,
        slow=True,
    ),
    Row(
        name="schema-missing-at-the-proof",
        fault="DataStorage is healthy, and the table that it writes to is missing (SQLSTATE 42P01)",
        cause="schema-missing",
        where=AUDIT,
        words=r"42P01",
        deadline=20,
        around=faults.hidden_table,
        warm=True,
        slow=True,
    ),
    Row(
        name="redis-noauth",
        fault="Redis asks for a password, and none is given",
        cause="redis-noauth",
        where=REDIS,
        deadline=20,
        playbook="verify",
        around=given(redis_password=""),
        warm=True,
    ),
    Row(
        name="redis-password",
        fault="Redis has another password than the one that is given",
        cause="redis-password",
        where=REDIS,
        deadline=20,
        around=faults.configured("requirepass", SECRET),
        warm=True,
        slow=True,
    ),
    Row(
        name="redis-memory",
        fault="Redis has reached maxmemory, and its policy removes nothing",
        cause="redis-memory",
        where=REDIS,
        deadline=20,
        around=faults.configured("maxmemory", "1"),
        warm=True,
    ),
)

#: DataStorage and Redis, killed and started otherwise than they should be.
SERVICES = (
    Row(
        name="datastorage-killed",
        fault="podman was told to kill DataStorage (137)",
        cause="killed",
        where=DATASTORAGE,
        words=r"faults_datastorage_1 \(exit status 137, and podman was told to\)",
        deadline=20,
        playbook="verify",
        around=dead("datastorage", killed("datastorage")),
        warm=True,
        spoils=True,
    ),
    Row(
        name="datastorage-killed-and-started",
        fault="podman was told to kill DataStorage, and then to start it again",
        cause="killed",
        where=STABLE,
        words=r"workflowexecution_faults_datastorage_1",
        deadline=20,
        playbook="verify",
        around=faults.killed_and_started,
        warm=True,
        spoils=True,
        slow=True,
    ),
    Row(
        name="datastorage-sigkill",
        fault="DataStorage's process got SIGKILL past podman (137)",
        cause="sigkill",
        where=DATASTORAGE,
        words=r"\(exit status 137\), neither by podman nor for its memory",
        deadline=20,
        playbook="verify",
        around=dead("datastorage", killed_past_podman("datastorage")),
        warm=True,
        spoils=True,
    ),
    Row(
        name="stop-order",
        fault="Redis was stopped before DataStorage, which had no time to end (137)",
        cause="stop-order",
        where=DATASTORAGE,
        words=r"because workflowexecution_faults_redis_1 ended before it",
        deadline=20,
        playbook="verify",
        around=faults.stopped_in_the_wrong_order,
        warm=True,
        spoils=True,
    ),
    Row(
        name="redis-stopped",
        fault="somebody stopped Redis (0)",
        cause="stopped",
        where=REDIS,
        deadline=20,
        playbook="verify",
        around=faults.redis_stopped,
        warm=True,
        spoils=True,
    ),
    Row(
        name="redis-killed",
        fault="Redis is killed just after it was ready",
        cause="killed",
        where=REDIS,
        words=r"faults_redis_1 \(exit status 137, and podman was told to\)",
        deadline=20,
        around=given(redis_stable_for=3),
        at=REDIS,
        strike=killed("redis", 0.5),
        spoils=True,
        slow=True,
    ),
    Row(
        name="out-of-memory",
        fault="DataStorage needs more memory than its limit (137)",
        cause="out-of-memory",
        where=DATASTORAGE,
        words=r"\(64 MiB\).*datastorage_memory",
        deadline=30,
        around=dialled("out-of-memory", datastorage_memory="64m"),
        spoils=True,
    ),
    Row(
        name="config-path-missing",
        fault="DataStorage is started without CONFIG_PATH",
        cause="config-path-missing",
        where=DATASTORAGE,
        deadline=30,
        around=dialled("no-config-path"),
        spoils=True,
    ),
    Row(
        name="secret-unreadable",
        fault="DataStorage's user may not read its secret file",
        cause="secret-unreadable",
        where=DATASTORAGE,
        words=r"\S+/db-secrets\.yaml",
        deadline=30,
        around=dialled("unreadable-secret"),
        spoils=True,
        slow=True,
    ),
    Row(
        name="secret-not-a-string",
        fault="the password in DataStorage's secret file is a number to YAML",
        cause="secret-not-a-string",
        where=DATASTORAGE,
        words=r"key password of DataStorage's database secret",
        deadline=30,
        around=dialled("numeric-password"),
        spoils=True,
        slow=True,
    ),
    Row(
        name="host-name",
        fault="DataStorage's configuration names a host that is not in its network",
        cause="host-name",
        where=DATASTORAGE,
        words=r"nowhere_postgres_1",
        deadline=35,
        around=dialled("wrong-host"),
        spoils=True,
        slow=True,
    ),
    Row(
        name="port-bound",
        fault="DataStorage's port is bound by another process in its container (0)",
        cause="port-bound",
        where=DATASTORAGE,
        words=r"exit status 0",
        deadline=30,
        around=dialled("port-bound"),
        spoils=True,
        slow=True,
    ),
    Row(
        name="wrong-body",
        fault="what is started as DataStorage answers 200 with another service's body",
        cause="wrong-service",
        where=DATASTORAGE,
        deadline=30,
        around=dialled("wrong-body", datastorage_timeout=3),
        spoils=True,
        slow=True,
    ),
    Row(
        name="flapping",
        fault="DataStorage is healthy and ends 2 s later",
        cause="flapping",
        where=DATASTORAGE,
        words=r"exit status 3",
        deadline=30,
        least=2,
        around=dialled("flapping", datastorage_stable_for=3),
        spoils=True,
    ),
    Row(
        name="unknown",
        fault="DataStorage ends for a reason that is in no table",
        cause="unknown",
        where=DATASTORAGE,
        words=r"exit status 42",
        evidence=r"the hamster left the wheel",
        deadline=30,
        around=dialled("unknown"),
        spoils=True,
    ),
    Row(
        name="not-executable",
        fault="DataStorage's command cannot be executed (126)",
        cause="not-executable",
        where=DATASTORAGE,
        deadline=30,
        around=dialled("not-executable"),
        spoils=True,
        slow=True,
    ),
    Row(
        name="no-such-command",
        fault="DataStorage's command is not in its image (127)",
        cause="no-such-command",
        where=DATASTORAGE,
        deadline=30,
        around=dialled("no-such-command"),
        spoils=True,
        slow=True,
    ),
    Row(
        name="no-entry-point",
        fault="the image of DataStorage does not have its own entry point, so that podman cannot start it",
        cause="no-such-command",
        where=START_DATASTORAGE,
        deadline=30,
        around=other_image("datastorage", "no-entry-point", "none"),
        spoils=True,
        slow=True,
    ),
    Row(
        name="datastorage-behind",
        fault="DataStorage's clock is 10 minutes behind",
        cause="clock-skew",
        where=AUDIT,
        words=r"refused the events' time",
        deadline=35,
        around=other_image("datastorage", "clock-behind", "-10m"),
        spoils=True,
        slow=True,
    ),
    Row(
        name="datastorage-slow",
        fault="DataStorage takes 5 s before it starts",
        deadline=35,
        least=5,
        around=dialled("slow"),
        spoils=True,
        slow=True,
    ),
    Row(
        name="redis-away-at-the-proof",
        fault="Redis is killed between DataStorage's health and the proof",
        cause="killed",
        where=AUDIT,
        words=r"faults_redis_1 \(exit status 137, and podman was told to\)",
        evidence=r"Redis at \S+ does not answer",
        deadline=25,
        at=DATASTORAGE,
        strike=faults.while_the_batch_waits(killed("redis")),
        spoils=True,
    ),
    Row(
        name="postgres-away-at-the-proof",
        fault="PostgreSQL is killed between DataStorage's health and the proof",
        cause="killed",
        where=AUDIT,
        words=r"faults_postgres_1 \(exit status 137, and podman was told to\)",
        evidence=r"PostgreSQL at \S+ (?:went away|does not answer)",
        deadline=20,
        at=DATASTORAGE,
        strike=faults.while_the_batch_waits(killed("postgres")),
        spoils=True,
        slow=True,
    ),
    Row(
        name="redis-loading",
        fault="Redis is still loading a data set",
        cause="redis-loading",
        where=REDIS,
        deadline=30,
        around=other_image("redis", "redis-loading", "5000", redis_timeout=2),
        spoils=True,
    ),
)

#: PostgreSQL, killed and started otherwise than it should be.
DATABASE = (
    Row(
        name="postgres-killed-while-migrating",
        fault="PostgreSQL is killed in the middle of a migration",
        cause="killed",
        where=MIGRATIONS,
        words=r"workflowexecution_faults_postgres_1",
        deadline=20,
        around=faults.slow_migration,
        at=MIGRATIONS,
        strike=faults.migrating(killed("postgres")),
        spoils=True,
        slow=True,
    ),
    Row(
        name="postgres-sigkill",
        fault="PostgreSQL gets SIGKILL past podman just after it was ready (137)",
        cause="sigkill",
        where=POSTGRES,
        words=r"\(exit status 137\), neither by podman nor for its memory",
        deadline=20,
        around=given(postgres_stable_for=3),
        at=POSTGRES,
        strike=killed_past_podman("postgres", 0.5),
        spoils=True,
        slow=True,
    ),
    Row(
        name="postgres-password",
        fault="the data volume keeps another password",
        cause="postgres-password",
        where=POSTGRES,
        deadline=30,
        around=faults.another_password,
        spoils=True,
    ),
    Row(
        name="postgres-database",
        fault="the data volume has no such database",
        cause="postgres-database",
        where=POSTGRES,
        words=r"no database nothing_here",
        deadline=30,
        around=given(postgres_database="nothing_here"),
        spoils=True,
        slow=True,
    ),
    Row(
        name="postgres-ahead",
        fault="PostgreSQL's clock is 10 minutes ahead",
        cause="clock-skew",
        where=POSTGRES,
        words=r"(?:59\d|60\d) s further ahead",
        deadline=35,
        around=other_image("postgres", "clock-ahead", "+10m"),
        spoils=True,
        slow=True,
    ),
    Row(
        name="postgres-killed-in-initdb",
        fault="PostgreSQL is killed in the middle of initdb, on a fresh volume",
        cause="killed",
        where=POSTGRES,
        words=r"faults_postgres_1 \(exit status 137, and podman was told to\)",
        deadline=20,
        around=given(stack_fresh=True),
        at=POSTGRES,
        strike=killed("postgres"),
        spoils=True,
    ),
    Row(
        name="postgres-slow",
        fault="PostgreSQL's first start takes 5 s longer",
        deadline=45,
        least=5,
        around=other_image("postgres", "postgres-slow", "5", stack_fresh=True),
        spoils=True,
        slow=True,
    ),
    Row(
        name="postgres-very-slow",
        fault="PostgreSQL's first start takes 20 s longer",
        deadline=60,
        least=20,
        around=other_image("postgres", "postgres-slow", "20", stack_fresh=True),
        spoils=True,
        slow=True,
    ),
)

#: In this order the stack has to be brought up anew least often; none needs another one.
ROWS: tuple[Row, ...] = (*MACHINE, *WARM, *SERVICES, *DATABASE)
