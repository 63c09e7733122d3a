# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a service answers while something behind it is wrong, and how one ends that is started wrongly, as data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.kubernaut.integration.tests.conformance.cases import (
    QUEUED,
    STORED,
    all_stored,
    probed,
    refused,
    v0,
    v1,
)
from ansible_collections.kubernaut.integration.tests.conformance.contract import (
    ABSENT,
    BATCH,
    EVENTS,
    Answer,
    Case,
    Effect,
    Origin,
    Partial,
    batch,
    event,
    get,
    mine,
    post,
    problem,
)

HEALTHY = probed({"status": "healthy", "database": "connected"})
READY = probed({"status": "ready"})
DATABASE_ERROR = ("database-error", "Database Error")
BATCH_LOST = problem(500, *DATABASE_ERROR, "Failed to write audit events batch to database", instance=BATCH)
QUERY_LOST = problem(500, *DATABASE_ERROR, "Failed to query audit events from database", instance=EVENTS)
BATCH_QUEUED = Answer(
    status=202,
    body={"status": "accepted", "message": "7 audit events queued for async processing via DLQ", "count": 7},
)
UNSEEN = Effect(rows=None)
ONE_QUEUED = Effect(rows=None, queued=1)
SEVEN_QUEUED = Effect(rows=None, queued=7)


def not_ready(reason: str) -> Answer:
    """Return the answer of a readiness probe."""
    return probed(Partial(status="not_ready", reason=reason), 503)


POSTGRES_STOPPED = (
    Case(
        name="health",
        origins=v0('503 {"status":"unhealthy","database":"unreachable","error":…}'),
        request=get("/health"),
        answer=probed({"status": "unhealthy", "database": "unreachable", "error": str}, 503),
        effect=UNSEEN,
    ),
    Case(
        name="health-ready",
        origins=v0("503 not_ready / database_unreachable"),
        request=get("/health/ready"),
        answer=not_ready("database_unreachable"),
        effect=UNSEEN,
    ),
    Case(
        name="health-live",
        origins=v0("live 200"),
        request=get("/health/live"),
        answer=probed({"status": "alive"}),
        effect=UNSEEN,
    ),
    *(
        Case(
            name=f"readyz-of-{port}",
            origins=v1("both /readyz 503 database_unreachable"),
            request=get("/readyz", port=port),
            answer=not_ready("database_unreachable"),
            effect=UNSEEN,
        )
        for port in ("health", "api")
    ),
    Case(
        name="healthz",
        origins=v1("/healthz 200"),
        request=get("/healthz", port="health"),
        answer=probed(Partial(status="healthy")),
        effect=UNSEEN,
    ),
    Case(
        name="event",
        origins=v0("single 202 + XLEN +1") | v1("single 202"),
        request=post(EVENTS, event()),
        answer=QUEUED,
        effect=ONE_QUEUED,
    ),
    Case(
        name="batch",
        origins=v0("batch 500 in 3-4 ms"),
        request=post(BATCH, batch(7)),
        answer=BATCH_LOST,
        effect=UNSEEN,
    ),
    Case(
        name="batch-queued",
        origins=v1("batch 202, count 7, XLEN +7 (last_error is only 'database write failed')"),
        request=post(BATCH, batch(7)),
        answer=BATCH_QUEUED,
        effect=Effect(rows=None, queued=7, last_error="database write failed"),
    ),
    Case(
        name="query",
        origins=v0("GET 500"),
        request=mine(),
        answer=QUERY_LOST,
        effect=UNSEEN,
    ),
)

POSTGRES_RESTARTED = (
    Case(
        name="health",
        origins=v0("/health is 200 again within 0.1 s, without DS restart"),
        request=get("/health"),
        answer=HEALTHY,
        within=2.0,
    ),
    Case(
        name="readyz",
        origins=v1("/readyz 200 within 0.1 s"),
        request=get("/readyz", port="health"),
        answer=READY,
        within=2.0,
    ),
    Case(
        name="batch",
        origins=v0("works again") | v1("works again"),
        request=post(BATCH, batch(7)),
        answer=all_stored(7),
        effect=Effect(rows=7),
    ),
)

BOTH_STOPPED = (
    Case(
        name="event",
        origins=v0('500 …/database_error "Failed to write audit event to database and DLQ"') | v1("500 after 3.1 s"),
        request=post(EVENTS, event()),
        answer=problem(500, "database_error", "Database Error", "Failed to write audit event to database and DLQ"),
        effect=Effect(rows=None, queued=None),
    ),
    Case(
        name="batch",
        origins=v0("batch 500"),
        request=post(BATCH, batch(7)),
        answer=BATCH_LOST,
        effect=Effect(rows=None, queued=None),
    ),
    Case(
        name="batch-lost",
        origins=v1('500 after 3.7 s "Batch write failed; 0 of 7 events queued to DLQ, 7 lost"'),
        request=post(BATCH, batch(7)),
        answer=Answer(
            status=500,
            content_type="",
            body=re.compile("Batch write failed; 0 of 7 events queued to DLQ, 7 lost"),
        ),
        effect=Effect(rows=None, queued=None),
    ),
)

REDIS_STOPPED = (
    *(
        Case(
            name=path.strip("/").replace("/", "-"),
            origins=v0("/health 200, ready 200: nothing shows it"),
            request=get(path),
            answer=answer,
            effect=Effect(queued=None),
        )
        for path, answer in (("/health", HEALTHY), ("/health/ready", READY))
    ),
    Case(
        name="readyz",
        origins=v1("503 redis_unreachable, but after 1.7 s"),
        request=get("/readyz", port="health"),
        answer=not_ready("redis_unreachable"),
        effect=Effect(queued=None),
        within=5.0,
    ),
    Case(
        name="event",
        origins=v0("single 201") | v1("writes 201"),
        request=post(EVENTS, event()),
        answer=STORED,
        effect=Effect(rows=1, queued=None),
    ),
    Case(
        name="batch",
        origins=v0("batch 201") | v1("writes 201"),
        request=post(BATCH, batch(7)),
        answer=all_stored(7),
        effect=Effect(rows=7, queued=None),
    ),
)

SCHEMA_MISSING = (
    *(
        Case(
            name=path.strip("/").replace("/", "-"),
            origins=v0("/health 200 healthy, /health/ready 200"),
            request=get(path),
            answer=answer,
            effect=UNSEEN,
        )
        for path, answer in (("/health", HEALTHY), ("/health/ready", READY))
    ),
    Case(
        name="event",
        origins=v0("single = 202 (DLQ 1)"),
        request=post(EVENTS, event()),
        answer=QUEUED,
        effect=Effect(
            rows=None,
            queued=1,
            last_error=re.compile(r'relation "audit_events" does not exist \(SQLSTATE 42P01\)'),
        ),
    ),
    Case(
        name="batch",
        origins=v0('batch 500 database-error "Failed to write audit events batch to database"'),
        request=post(BATCH, batch(7)),
        answer=BATCH_LOST,
        effect=UNSEEN,
    ),
    Case(
        name="query",
        origins=v0('GET = 500 "Failed to query audit events from database"'),
        request=mine(),
        answer=QUERY_LOST,
        effect=UNSEEN,
    ),
)

PARTITION_MISSING = (
    Case(
        name="health",
        origins=v0("/health still 200"),
        request=get("/health"),
        answer=HEALTHY,
    ),
    Case(
        name="readyz",
        origins=v1("/readyz 200"),
        request=get("/readyz", port="health"),
        answer=READY,
    ),
    Case(
        name="event",
        origins=v0("single 202 + XLEN 1 (last_error no partition of relation … (SQLSTATE 23514))") | v1("202 + DLQ"),
        request=post(EVENTS, event()),
        answer=QUEUED,
        effect=Effect(queued=1),
    ),
    Case(
        name="event-says-why",
        origins=v0('last_error: no partition of relation "audit_events" found for row (SQLSTATE 23514)'),
        request=post(EVENTS, event()),
        answer=QUEUED,
        effect=Effect(
            queued=1,
            last_error=re.compile(r'no partition of relation "audit_events" found for row \(SQLSTATE 23514\)'),
        ),
    ),
    Case(
        name="batch",
        origins=v0("batch 500 database-error"),
        request=post(BATCH, batch(7)),
        answer=BATCH_LOST,
    ),
    Case(
        name="batch-queued",
        origins=v1("batch 202 + DLQ"),
        request=post(BATCH, batch(7)),
        answer=BATCH_QUEUED,
        effect=Effect(queued=7),
    ),
)

SCHEMA_OF_THE_OTHER = (
    Case(
        name="health",
        origins=v0("/health 200"),
        request=get("/health"),
        answer=HEALTHY,
    ),
    Case(
        name="readyz",
        origins=v1("/readyz 200"),
        request=get("/readyz", port="health"),
        answer=READY,
    ),
    Case(
        name="event",
        origins=v0("single 202 (42703 cluster_name missing)"),
        request=post(EVENTS, event()),
        answer=QUEUED,
        effect=Effect(queued=1, last_error=re.compile(r'column "cluster_name" .* does not exist \(SQLSTATE 42703\)')),
    ),
    Case(
        name="batch",
        origins=v0("batch 500"),
        request=post(BATCH, batch(7)),
        answer=BATCH_LOST,
    ),
    Case(
        name="batch-queued",
        origins=v1("batch 202 (42703 cluster_id missing)"),
        request=post(BATCH, batch(7)),
        answer=BATCH_QUEUED,
        effect=Effect(queued=7),
    ),
)

API_SERVER_STOPPED = (
    *(
        Case(
            name=f"readyz-of-{port}",
            origins=v1("/readyz stays 200"),
            request=get("/readyz", port=port),
            answer=READY,
        )
        for port in ("health", "api")
    ),
    Case(
        name="event",
        origins=v1('500 "Authentication service unavailable" at once'),
        request=post(EVENTS, event()),
        answer=refused(500, "Authentication service unavailable"),
    ),
)

#: The state of the API server that is asked about tokens; only a stub of it can be stopped here.
WITHOUT_API_SERVER = "api-server-stopped"
#: State of the stack -> cases in it.
UNDER_FAULT: Mapping[str, tuple[Case, ...]] = {
    "postgres-stopped": POSTGRES_STOPPED,
    "postgres-restarted": POSTGRES_RESTARTED,
    "redis-stopped": REDIS_STOPPED,
    "both-stopped": BOTH_STOPPED,
    "schema-missing": SCHEMA_MISSING,
    "partition-missing": PARTITION_MISSING,
    "schema-of-the-other-generation": SCHEMA_OF_THE_OTHER,
    WITHOUT_API_SERVER: API_SERVER_STOPPED,
}


# ------------------------------------------------------------------------------------------------------------- starts


@dataclass(frozen=True, kw_only=True)
class Start:
    """A service that is started on a configuration of its own, beside the running one.

    :param name: of the test.
    :param origins: contract -> where the expectation comes from.
    :param code: exit status with which it must end; None: it must serve, which a batch of seven proves.
    :param says: regular expression that its log must match.
    :param seconds: until it must have ended or serve; a bound for slow machines, no part of the contract.
    :param config: dotted key of ``config.yaml`` -> another value, or ABSENT.
    :param secret: key of the database's secret file -> another value.
    :param environment: variable -> another value; empty: not set.
    :param mode: permission bits of the database's secret file.
    :param network: empty for the stack's, ``service`` for that of the running service.
    :param fault: a state of the stack in which it is started.
    :param replays: an event that only the dead letter queue has must come into PostgreSQL: of v0 once the service has
        stopped, of v1 while it runs, and the entry stays. ``fault`` is what keeps it out of there before.
    :param stops: once it has served, it must end within the 10 s that podman gives it with this exit status.
    :param unfinished: a request is still on its way when it is stopped.
    """

    name: str
    origins: Mapping[str, Origin]
    code: int | None = 1
    says: str = ""
    seconds: float = 60.0
    config: Mapping[str, Any] = field(default_factory=dict)
    secret: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    mode: int = 0o644
    network: str = ""
    fault: str = ""
    stops: int | None = None
    unfinished: bool = False
    replays: bool = False


NOWHERE = "/etc/datastorage/nowhere.yaml"

#: Keys that the two generations spell differently.
SNAKE: Mapping[str, Any] = {
    "server.read_timeout": "30s",
    "server.write_timeout": "30s",
    "database.ssl_mode": "disable",
    "database.max_open_conns": 25,
    "database.max_idle_conns": 5,
    "database.conn_max_lifetime": "5m",
    "database.conn_max_idle_time": "10m",
    "redis.dlq_max_len": 10000,
}
CAMEL: Mapping[str, Any] = {
    "server.readTimeout": "30s",
    "server.writeTimeout": "30s",
    "database.sslMode": "disable",
    "database.maxOpenConns": 25,
    "database.maxIdleConns": 5,
    "database.connMaxLifetime": "5m",
    "database.connMaxIdleTime": "10m",
    "redis.dlqMaxLen": 10000,
}

STARTS = (
    Start(
        name="as-it-is",
        origins=v0("start to /health 200 in 0.26 s; batch 201") | v1("start to /readyz 200; batch 201"),
        code=None,
        stops=0,
    ),
    Start(
        name="stopped-with-an-unfinished-request",
        origins=v0("body not complete at stop, default 10 s: 137 after 10.3 s"),
        code=None,
        stops=137,
        unfinished=True,
    ),
    Start(
        name="without-config-path",
        origins=v0("exit 1: CONFIG_PATH environment variable required (ADR-030), error CONFIG_PATH not set"),
        says=r"(?s)CONFIG_PATH environment variable required \(ADR-030\).*CONFIG_PATH not set",
        environment={"CONFIG_PATH": ""},
    ),
    Start(
        name="without-config-path-v1",
        origins=v1("exit 1 at once"),
        says="CONFIG_PATH",
        environment={"CONFIG_PATH": ""},
    ),
    Start(
        name="config-path-to-nothing",
        origins=v0("exit 1: failed to read config file: open …: no such file or directory"),
        says="failed to read config file: open .*: no such file or directory",
        environment={"CONFIG_PATH": NOWHERE},
    ),
    Start(
        name="numeric-password",
        origins=v0("exit 1: database password key 'password' in secret file is not a string"),
        says="database password key 'password' in secret file is not a string",
        secret={"password": 12345},
    ),
    Start(
        name="secrets-file-misspelt",
        origins=v0("exit 1: database secretsFile required (ADR-030 Section 6)"),
        says=r"database secretsFile required \(ADR-030 Section 6\)",
        config={"database.secretsFile": ABSENT, "database.secrets_file": "/etc/datastorage/db-secrets.yaml"},
    ),
    Start(
        name="secret-file-of-another-user",
        origins=v0("exit 1: failed to read secret file …: permission denied"),
        says=r"(?i)failed to read secret file .*permission denied",
        mode=0o600,
    ),
    Start(
        name="log-level-in-capitals",
        origins=v0("exit 1: invalid log level: INFO (must be debug, info, warn, or error)"),
        says=r"invalid log level: INFO \(must be debug, info, warn, or error\)",
        config={"logging.level": "INFO"},
    ),
    Start(
        name="wrong-password",
        origins=v0("exit 1 after 0.4 s: failed SASL auth: FATAL: password authentication failed … (SQLSTATE 28P01)"),
        says=r"(?s)failed to ping PostgreSQL.*password authentication failed for user .*SQLSTATE 28P01",
        secret={"password": "wrong"},
    ),
    Start(
        name="wrong-password-v1",
        origins=v1("exit 1 after 19.5 s (28P01)"),
        says="28P01",
        secret={"password": "wrong"},
    ),
    Start(
        name="empty-password",
        origins=v0("exit 1: tls error: server refused TLS connection + 28P01"),
        says="28P01",
        secret={"password": ""},
    ),
    Start(
        name="empty-password-v1",
        origins=v1("exit 1 after 19.9 s (28P01)"),
        says="28P01",
        secret={"password": ""},
    ),
    Start(
        name="no-such-database",
        origins=v0("exit 1: FATAL: database … does not exist (SQLSTATE 3D000)"),
        says=r'database \\?"nowhere\\?" does not exist \(SQLSTATE 3D000\)',
        config={"database.name": "nowhere"},
    ),
    Start(
        name="no-such-host",
        origins=v0("exit 1 after 0.27 s: failed to ping PostgreSQL: … hostname resolving error: lookup … no such host"),
        says="failed to ping PostgreSQL: failed to connect to .*hostname resolving error: .*no such host",
        config={"database.host": "nowhere.invalid"},
    ),
    Start(
        name="nobody-listens",
        origins=v0("exit 1, dial error: dial tcp …: connect: connection refused"),
        says="failed to ping PostgreSQL: failed to connect to .*dial error: dial tcp .*connect: connection refused",
        config={"database.host": "127.0.0.1"},
    ),
    Start(
        name="no-postgresql-v1",
        origins=v1("exit 1 after 18.7 s, failed to create server after 10 attempts: failed to ping PostgreSQL: …"),
        says="failed to create server after 10 attempts: .*failed to ping PostgreSQL: ",
        config={"database.host": "nowhere.invalid"},
    ),
    Start(
        name="no-redis",
        origins=v0("exit 1: failed to connect to Redis: dial tcp: lookup …"),
        says="failed to connect to Redis: dial tcp: lookup ",
        config={"redis.addr": "nowhere.invalid:6379"},
    ),
    Start(
        name="no-redis-v1",
        origins=v1("exit 1 after 37.1 s"),
        says="failed to connect to Redis",
        config={"redis.addr": "nowhere.invalid:6379"},
        seconds=90,
    ),
    Start(
        name="port-taken",
        origins=v0("exit 0, log Server error … bind: address already in use, then stopped"),
        code=0,
        says="(?s)Server error.*address already in use",
        network="service",
    ),
    Start(
        name="sslmode-misspelt",
        origins=v0("starts, healthy, batch 201"),
        code=None,
        config={"database.ssl_mode": ABSENT, "database.sslmode": "disable"},
    ),
    Start(
        name="camel-case",
        origins=v0("v1-style camelCase file: starts, healthy, batch 201"),
        code=None,
        config={**dict.fromkeys(SNAKE, ABSENT), **CAMEL, "logging.format": ABSENT},
    ),
    Start(
        name="snake-case",
        origins=v1("v0-style file: exit 1 after 19.4 s, cannot parse …: failed to configure TLS"),
        says=r"cannot parse .*failed to configure TLS \(sslmode is invalid\)",
        config={**dict.fromkeys(CAMEL, ABSENT), **SNAKE},
    ),
    Start(
        name="both-spellings",
        origins=v0("batch 201") | v1("batch 201"),
        code=None,
        config={**SNAKE, **CAMEL},
    ),
    Start(
        name="without-conn-max-lifetime",
        origins=v1('exit 1 after 19.3-19.9 s: invalid connMaxLifetime: time: invalid duration ""'),
        says="invalid connMaxLifetime: time: invalid duration",
        config={"database.connMaxLifetime": ABSENT},
    ),
    Start(
        name="without-ssl-mode",
        origins=v1("exit 1 after 18.9 s: cannot parse …: failed to configure TLS (sslmode is invalid)"),
        says=r"cannot parse .*failed to configure TLS \(sslmode is invalid\)",
        config={"database.sslMode": ABSENT},
    ),
    Start(
        name="without-signer",
        origins=v1("exit 1 after 20.0 s: signing certificate not found at … (AU-9)"),
        says=r"signing certificate not found at .* \(AU-9\)",
        config={"server.signerCertDir": "/nowhere"},
    ),
    Start(
        name="without-kubeconfig",
        origins=v1("exit 1 at once: failed to load in-cluster kubernetes config (DD-AUTH-014)"),
        says=r"failed to load in-cluster kubernetes config \(DD-AUTH-014\)",
        environment={"KUBECONFIG": ""},
    ),
    Start(
        name="replay-on-stop",
        origins=v0("exit 0 after 5.25-5.36 s; DLQ entry replayed into PG with correct event_data"),
        code=None,
        replays=True,
        fault="partition-missing",
    ),
    Start(
        name="replay-while-it-runs",
        origins=v1("DLQ replayed after 60-90 s; XLEN does not go down"),
        code=None,
        replays=True,
        fault="partition-missing",
    ),
    Start(
        name="without-schema",
        origins=v1("exit 1 after 20.0 s: failed to ensure monthly partitions at startup: … (SQLSTATE 42P01)"),
        says=r"failed to ensure monthly partitions at startup: .*SQLSTATE 42P01",
        config={"database.name": "postgres"},
    ),
)
