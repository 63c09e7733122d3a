# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of keys: every key of both contracts, what is used without it and instead of it, what is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from ansible_collections.kubernaut.integration.plugins.module_utils import _adr030_keys as table
from ansible_collections.kubernaut.integration.plugins.module_utils._adr030_keys import MISSING, VALUE

#: Stands for a key that the service does not start without.
NEEDED = object()


@dataclass(frozen=True)
class Row:
    """A key as the service's own sources have it.

    :param absent: what is used without it, or :data:`NEEDED`.
    :param good: a value that is taken.
    :param used: what is used then; the value itself when not given.
    :param bad: a value that is refused; None when every one is taken.
    :param says: a part of what is said then.
    """

    absent: Any
    good: Any
    used: Any = None
    bad: Any = None
    says: str = ""


PORT_RANGE = "server port must be between 1024 and 65535, got: 80"
DATABASE_PORT = "database port must be between 1 and 65535, got: 65536"
#: The keys of v0, all of them.
V0: dict[str, Row] = {
    "server.port": Row(NEEDED, 8080, bad=80, says=PORT_RANGE),
    "server.host": Row("0.0.0.0", "127.0.0.1", "0.0.0.0"),
    "server.read_timeout": Row("30s", "1m", bad="30", says="invalid read_timeout"),
    "server.write_timeout": Row("30s", "1h30m", bad="x", says="invalid write_timeout"),
    "logging.level": Row("info", "debug", "info", bad="INFO", says="invalid log level: INFO (must be debug,"),
    "logging.format": Row("console", "json", "console", bad="text", says="invalid log format: text"),
    "database.host": Row(NEEDED, "postgres"),
    "database.port": Row(NEEDED, 5432, bad=65536, says=DATABASE_PORT),
    "database.name": Row(NEEDED, "action_history"),
    "database.user": Row(NEEDED, "slm_user"),
    "database.ssl_mode": Row("prefer", "disable", bad="off", says="sslmode is invalid"),
    "database.max_open_conns": Row(25, 50, 25),
    "database.max_idle_conns": Row(5, 10, 5),
    "database.conn_max_lifetime": Row("5m", "1h", "5m", bad="1d", says="invalid conn_max_lifetime"),
    "database.conn_max_idle_time": Row("10m", "1h", "10m", bad="m", says="invalid conn_max_idle_time"),
    "database.secretsFile": Row(NEEDED, "/etc/x.yaml"),
    "database.usernameKey": Row("", "username"),
    "database.passwordKey": Row(NEEDED, "password"),
    "redis.addr": Row(NEEDED, "redis:6379"),
    "redis.db": Row(0, 3, 0),
    "redis.dlq_stream_name": Row("", "mine", ""),
    "redis.dlq_consumer_group": Row("", "mine", ""),
    "redis.dlq_max_len": Row(10000, 7),
    "redis.secretsFile": Row(NEEDED, "/etc/y.yaml"),
    "redis.passwordKey": Row(NEEDED, "password"),
}
#: The keys of v1, all of them.
V1: dict[str, Row] = {
    "environment": Row("", "development"),
    "server.port": Row(NEEDED, 8080, bad=80, says=PORT_RANGE),
    "server.healthPort": Row(8081, 18081),
    "server.metricsPort": Row(9090, 19090, bad=80, says="server metricsPort must be between 1024 and 65535, got: 80"),
    "server.host": Row("0.0.0.0", "127.0.0.1", "0.0.0.0"),
    "server.readTimeout": Row("30s", "1m", bad="30", says="invalid readTimeout"),
    "server.writeTimeout": Row("30s", "1m", bad="30", says="invalid writeTimeout"),
    "server.shutdownTimeout": Row("60s", "10s", "30s", bad="1d", says="invalid shutdownTimeout"),
    "server.endpointPropagationDelay": Row("5s", "2m", "30s", bad="s", says="invalid endpointPropagationDelay"),
    "server.maxBodySize": Row("5242880", "1", "1048576", bad="much", says="invalid maxBodySize"),
    "server.maxBatchSize": Row(500, 10, bad=-1, says="server maxBatchSize must be positive, got: -1"),
    "server.disableProfiling": Row(False, True),
    "server.corsAllowedOrigins": Row([], ["*", "https://x"], bad=["x"], says="corsAllowedOrigins["),
    "server.signerCertDir": Row("/etc/certs", "/certs"),
    "server.tls.certDir": Row("", "/tls"),
    "server.tls.caFile": Row("", "/ca.pem", ""),
    "server.rateLimit.enabled": Row(False, True),
    "server.rateLimit.requestsPerSecond": Row(50.0, 1.5),
    "server.rateLimit.burst": Row(100, 7),
    "logging.level": Row("info", "DEBUG", bad="loud", says="invalid log level: loud (must be DEBUG,"),
    "database.host": Row(NEEDED, "postgres"),
    "database.port": Row(NEEDED, 5432, bad=65536, says=DATABASE_PORT),
    "database.name": Row(NEEDED, "action_history"),
    "database.user": Row(NEEDED, "slm_user"),
    "database.sslMode": Row(NEEDED, "disable", bad="off", says="sslmode is invalid"),
    "database.maxOpenConns": Row(25, 50, bad=-1, says="database maxOpenConns must be positive, got: -1"),
    "database.maxIdleConns": Row(0, 10),
    "database.connMaxLifetime": Row(NEEDED, "1h", bad="1d", says="invalid connMaxLifetime"),
    "database.connMaxIdleTime": Row(NEEDED, "1h", bad="1d", says="invalid connMaxIdleTime"),
    "database.statementTimeout": Row("30s", "1h", bad="1d", says="invalid statementTimeout"),
    "database.lockTimeout": Row("10s", "1h", bad="1d", says="invalid lockTimeout"),
    "database.secretsFile": Row(NEEDED, "/etc/x.yaml"),
    "database.usernameKey": Row("", "username"),
    "database.passwordKey": Row(NEEDED, "password"),
    "redis.addr": Row(NEEDED, "redis:6379"),
    "redis.dlqMaxLen": Row(10000, 7),
    "redis.secretsFile": Row(NEEDED, "/etc/y.yaml"),
    "redis.passwordKey": Row(NEEDED, "password"),
    "redis.tls.enabled": Row(False, False),
    "redis.tls.certFile": Row("", "/c.pem"),
    "redis.tls.keyFile": Row("", "/k.pem"),
    "redis.tls.caFile": Row("", "/ca.pem"),
    "retention.enabled": Row(False, True),
    "retention.interval": Row("24h", "1h", bad="daily", says="invalid retention interval"),
    "retention.batchSize": Row(1000, 5),
    "retention.defaultDays": Row(2555, 9999, 2555, bad=-1, says="retention defaultDays must be non-negative, got: -1"),
    "retention.partitionDropEnabled": Row(False, True),
    "audit.hashKeySecretsFile": Row("", ""),
    "audit.hashKeyKey": Row("", "hmacKey"),
    "tlsProfile": Row("", "Modern"),
    "telemetry.endpoint": Row("", "collector:4318"),
    "telemetry.logSink": Row(False, True),
    "telemetry.tls.enabled": Row(False, True),
    "telemetry.tls.caFile": Row("", "/ca.pem"),
    "telemetry.tls.certFile": Row("", "/c.pem"),
    "telemetry.tls.keyFile": Row("", "/k.pem"),
}
CONTRACTS = {"v0": V0, "v1": V1}
ROWS = [(contract, path) for contract, rows in CONTRACTS.items() for path in rows]


def minimal(contract: str, **changes: Any) -> dict[str, Any]:
    """Return the values without which the service does not start, and no others."""
    values = {path: row.good for path, row in CONTRACTS[contract].items() if row.absent is NEEDED}
    return {**values, "database.password": "word", "redis.password": "", **changes}


@pytest.mark.parametrize("contract", CONTRACTS)
def test_the_table_has_every_key_and_no_other(contract: str) -> None:
    paths = [at.path for _key, at in table.keys_of(contract)]
    assert sorted(paths) == sorted(CONTRACTS[contract])


YES = "yes"
#: Sections 1.2 and 1.3 of the contract as they stand there: key, type, whether it is required, default.
DOCUMENT: dict[str, list[tuple[str, str, str, Any]]] = {
    "v0": [
        ("server.port", "int", YES, None),
        ("server.host", "string", "no", None),
        ("server.read_timeout", "duration", "no", "30s"),
        ("server.write_timeout", "duration", "no", "30s"),
        ("logging.level", "string", "no", None),
        ("logging.format", "string", "no", None),
        ("database.host", "string", YES, None),
        ("database.port", "int", YES, None),
        ("database.name", "string", YES, None),
        ("database.user", "string", YES, None),
        ("database.ssl_mode", "string", "no", "prefer"),
        ("database.max_open_conns", "int", "no", 25),
        ("database.max_idle_conns", "int", "no", 5),
        ("database.conn_max_lifetime", "duration", "no", "5m"),
        ("database.conn_max_idle_time", "duration", "no", "10m"),
        ("database.secretsFile", "path", YES, None),
        ("database.usernameKey", "string", "no", None),
        ("database.passwordKey", "string", YES, None),
        ("redis.addr", "string", YES, None),
        ("redis.db", "int", "no", 0),
        ("redis.dlq_stream_name", "string", "no", None),
        ("redis.dlq_consumer_group", "string", "no", None),
        ("redis.dlq_max_len", "int", "no", 10000),
        ("redis.secretsFile", "path", YES, None),
        ("redis.passwordKey", "string", YES, None),
    ],
    "v1": [
        ("environment", "string", "no", None),
        ("server.port", "int", YES, None),
        ("server.healthPort", "int", "no", 8081),
        ("server.metricsPort", "int", "no", 9090),
        ("server.host", "string", "no", None),
        ("server.readTimeout", "duration", "no", "30s"),
        ("server.writeTimeout", "duration", "no", "30s"),
        ("server.shutdownTimeout", "duration", "no", "60s"),
        ("server.endpointPropagationDelay", "duration", "no", "5s"),
        ("server.maxBodySize", "bytes", "no", "5242880"),
        ("server.maxBatchSize", "int", "no", 500),
        ("server.disableProfiling", "bool", "no", False),
        ("server.corsAllowedOrigins", "list", "no", []),
        ("server.signerCertDir", "path", "no", "/etc/certs"),
        ("server.tls.certDir", "path", "no", None),
        ("server.rateLimit.enabled", "bool", "no", False),
        ("server.rateLimit.requestsPerSecond", "float", "no", 50.0),
        ("server.rateLimit.burst", "int", "no", 100),
        ("logging.level", "string", "no", "info"),
        ("database.host", "string", YES, None),
        ("database.port", "int", YES, None),
        ("database.name", "string", YES, None),
        ("database.user", "string", YES, None),
        ("database.sslMode", "string", YES, None),
        ("database.maxOpenConns", "int", "no", 25),
        ("database.maxIdleConns", "int", "no", None),
        ("database.connMaxLifetime", "duration", YES, None),
        ("database.connMaxIdleTime", "duration", YES, None),
        ("database.statementTimeout", "duration", "no", "30s"),
        ("database.lockTimeout", "duration", "no", "10s"),
        ("database.secretsFile", "path", YES, None),
        ("database.passwordKey", "string", YES, None),
        ("database.usernameKey", "string", "no", None),
        ("redis.addr", "string", YES, None),
        ("redis.secretsFile", "path", YES, None),
        ("redis.passwordKey", "string", YES, None),
        ("redis.dlqMaxLen", "int", "no", 10000),
        ("redis.tls.enabled", "bool", "no", False),
        ("redis.tls.certFile", "string", "no", None),
        ("redis.tls.keyFile", "string", "no", None),
        ("redis.tls.caFile", "string", "no", None),
        ("retention.enabled", "bool", "no", False),
        ("retention.interval", "duration", "no", "24h"),
        ("retention.batchSize", "int", "no", 1000),
        ("retention.defaultDays", "int", "no", 2555),
        ("retention.partitionDropEnabled", "bool", "no", False),
        ("audit.hashKeySecretsFile", "string", "no", None),
        ("audit.hashKeyKey", "string", "no", None),
        ("tlsProfile", "string", "no", None),
        ("telemetry.endpoint", "string", "no", None),
        ("telemetry.logSink", "bool", "no", False),
    ],
}
#: What the document names only as a part (`telemetry.tls`), or not at all because this service follows it nowhere.
BEYOND_THE_DOCUMENT = {
    "v0": set(),
    "v1": {"server.tls.caFile", *(f"telemetry.tls.{name}" for name in ("enabled", "caFile", "certFile", "keyFile"))},
}
IN_THE_DOCUMENT = [(contract, *row) for contract, rows in DOCUMENT.items() for row in rows]


@pytest.mark.parametrize(("contract", "path", "kind", "required", "default"), IN_THE_DOCUMENT)
def test_a_key_of_the_document_is_in_the_table(
    contract: str, path: str, kind: str, required: str, default: Any
) -> None:
    (found,) = [(key, at) for key, at in table.keys_of(contract) if at.path == path]
    key, at = found
    units = {"duration": table.DURATION, "bytes": table.BYTES}
    kinds = {"int": "int", "bool": "bool", "float": "float", "list": "list"}
    assert key.kind == kinds.get(kind, "str")
    assert key.unit == units.get(kind, "") or key.unit == "days"
    assert bool(at.missing) == (required == YES)
    if default is not None:
        assert table.used(key, at, None) == default


@pytest.mark.parametrize("contract", CONTRACTS)
def test_the_table_has_what_the_document_has_and_a_few_parts_more(contract: str) -> None:
    paths = {at.path for _key, at in table.keys_of(contract)}
    assert paths == {path for path, *_row in DOCUMENT[contract]} | BEYOND_THE_DOCUMENT[contract]


@pytest.mark.parametrize("contract", CONTRACTS)
def test_nothing_is_wrong_with_what_is_needed(contract: str) -> None:
    assert table.judge(minimal(contract), contract) == []
    assert table.overrides(minimal(contract), contract) == []


@pytest.mark.parametrize(("contract", "path"), ROWS)
def test_what_is_used_without_the_key(contract: str, path: str) -> None:
    row = CONTRACTS[contract][path]
    values = {name: value for name, value in minimal(contract).items() if name != path}
    found = table.judge(values, contract)
    if row.absent is NEEDED:
        assert [(problem.rule, problem.path) for problem in found] == [(MISSING, path)]
        assert found[0].says
    else:
        assert found == []
        assert table.effective(values, contract)[path] == row.absent


@pytest.mark.parametrize(("contract", "path"), ROWS)
def test_a_good_value_is_taken_and_what_is_used_then(contract: str, path: str) -> None:
    row = CONTRACTS[contract][path]
    values = minimal(contract, **{path: row.good})
    used = row.good if row.used is None else row.used
    assert table.judge(values, contract) == []
    assert table.effective(minimal(contract, **{"database.maxOpenConns": 99, **values}), contract)[path] == used
    found = {override.path: override for override in table.overrides(values, contract)}
    assert (path in found) == (used != row.good)
    for override in found.values():
        assert (override.asked, override.used) == (row.good, used)
        assert override.why


@pytest.mark.parametrize(("contract", "path"), [row for row in ROWS if CONTRACTS[row[0]][row[1]].bad is not None])
def test_a_bad_value_is_refused_in_the_services_words(contract: str, path: str) -> None:
    row = CONTRACTS[contract][path]
    (problem,) = table.judge(minimal(contract, **{path: row.bad}), contract)
    assert (problem.rule, problem.path) == (VALUE, path)
    assert problem.wrong.startswith("must ")
    assert row.says in problem.says


@pytest.mark.parametrize("contract", CONTRACTS)
@pytest.mark.parametrize("path", ["database.host", "database.name", "database.user", "database.password"])
@pytest.mark.parametrize("value", ["a b", "a'b", 'a"b', "a\\b", "größe"])
def test_what_the_connection_string_cannot_carry_is_a_problem_that_the_service_does_not_name(
    contract: str, path: str, value: str
) -> None:
    (problem,) = table.judge(minimal(contract, **{path: value}), contract)
    assert (problem.path, problem.says) == (path, "")
    assert "does not quote" in problem.wrong
    assert value not in str(problem)


@pytest.mark.parametrize(
    ("changes", "path", "says"),
    [
        ({"server.healthPort": 8080}, "server.healthPort", "bind: address already in use"),
        ({"server.port": 9090}, "server.metricsPort", "bind: address already in use"),
        ({"redis.tls.enabled": True}, "redis.tls.enabled", "redis TLS enabled but no caFile specified"),
        ({"audit.hashKeySecretsFile": "/x"}, "audit.hashKeySecretsFile", "audit hashKeyKey required"),
        (
            {"environment": "Production", "redis.tls.enabled": True, "redis.tls.caFile": "/x"},
            "database.sslMode",
            "database sslMode must not be 'disable' in production",
        ),
        (
            {"environment": "production", "database.sslMode": "verify-full"},
            "environment",
            "redis TLS must be enabled in production",
        ),
        (
            {
                "environment": "production",
                "database.sslMode": "verify-full",
                "redis.tls.enabled": True,
                "redis.tls.caFile": "/x",
                "server.corsAllowedOrigins": ["*"],
            },
            "server.corsAllowedOrigins",
            "CORS wildcard origin '*' is not allowed in production",
        ),
    ],
)
def test_keys_of_v1_that_contradict_each_other(changes: dict[str, Any], path: str, says: str) -> None:
    (problem,) = table.judge(minimal("v1", **changes), "v1")
    assert (problem.rule, problem.path) == (table.CLASH, path)
    assert says in problem.says


@pytest.mark.parametrize(
    ("contract", "changes", "limit", "wrong"),
    [
        ("v0", {"database.max_open_conns": 1}, 27, True),
        ("v0", {"database.max_open_conns": 100}, 28, False),
        ("v1", {}, 28, False),
        ("v1", {"database.maxOpenConns": 100}, 100, True),  # what one team has
        ("v1", {"database.maxOpenConns": 100}, 103, False),
        ("v1", {"database.maxOpenConns": 100}, None, False),
    ],
)
def test_a_pool_must_fit_into_the_server(
    contract: str, changes: dict[str, Any], limit: int | None, wrong: bool
) -> None:
    found = table.judge(minimal(contract, **changes), contract, max_connections=limit)
    assert [problem.rule for problem in found] == ([table.POOL] if wrong else [])


def test_idle_connections_are_never_more_than_the_pool() -> None:
    values = minimal("v1", **{"database.maxOpenConns": 3, "database.maxIdleConns": 9})
    assert table.effective(values, "v1")["database.maxIdleConns"] == 3
    assert [override.path for override in table.overrides(values, "v1")] == ["database.maxIdleConns"]


@pytest.mark.parametrize(
    ("contract", "path", "value", "used"),
    [
        ("v0", "redis.dlq_max_len", -1, 10000),
        ("v1", "redis.dlqMaxLen", -1, 10000),
        ("v1", "database.maxIdleConns", -5, 0),
        ("v1", "server.rateLimit.burst", -1, 100),
        ("v1", "retention.batchSize", -1, 1000),
        ("v1", "server.maxBodySize", "99999999999", "52428800"),
        ("v1", "server.shutdownTimeout", "2h", "120s"),
        ("v1", "server.endpointPropagationDelay", "0", "1s"),
    ],
)
def test_what_is_used_instead(contract: str, path: str, value: Any, used: Any) -> None:
    values = minimal(contract, **{path: value})
    assert table.judge(values, contract) == []
    (override,) = table.overrides(values, contract)
    assert (override.path, override.used, override.clamped) == (path, used, True)


def test_a_size_with_a_unit_is_read_up_to_the_unit() -> None:
    values = minimal("v1", **{"server.maxBodySize": "5MiB"})
    assert [problem.says for problem in table.judge(values, "v1")] == [""]
    assert table.effective(values, "v1")["server.maxBodySize"] == "1048576"


@pytest.mark.parametrize(("path", "value"), [("server.shutdownTimeout", "1m"), ("database.conn_max_lifetime", "300s")])
def test_the_same_in_other_words_is_no_override(path: str, value: str) -> None:
    contract = "v1" if path in V1 else "v0"
    assert table.overrides(minimal(contract, **{path: value}), contract) == []


def test_every_key_of_one_contract_says_why_the_other_has_none() -> None:
    assert [key for key in table.KEYS if not (key.at("v0") and key.at("v1")) and not key.absent.endswith(".")] == []
    assert [key for key in table.KEYS if key.at("v0") and key.at("v1") and key.absent] == []


def test_secrets_are_masked_and_an_empty_one_is_none() -> None:
    found = table.shown({"database.password": "word", "redis.password": "", "audit.hashKey": "k", "database.user": "u"})
    assert list(found.values()) == ["********", "", "********", "u"]


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0", 0),
        ("+5s", 5 * 10**9),
        ("-1.5h", -5400 * 10**9),
        ("1h30m", 5400 * 10**9),
        (".5s", 5 * 10**8),
        ("1.s", 10**9),
        ("7µs", 7000),
        ("9223372036s", 9223372036 * 10**9),
        ("9223372037s", None),
        ("٣s", None),
        *((text, None) for text in ("", "30", "s", "1d", "1 s", "5m\n", ".", ".s", "1h-5m", "00")),
    ],
)
def test_durations(text: str, nanoseconds: int | None) -> None:
    assert table.nanoseconds(text) == nanoseconds
