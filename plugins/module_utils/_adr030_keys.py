# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every key of DataStorage's configuration (ADR-030), once. PRIVATE to the collection.

One table says for both contracts how a key is spelled, what the service takes, what it uses instead, and in which words
it refuses. Rendering, validation, the effective configuration and the linter all read it; there is no second list.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.kubernaut.integration.plugins.module_utils._adr030_yaml import (
    BOOL,
    FLOAT,
    INT,
    LIST,
    TEXT,
    ZERO,
)
from ansible_collections.kubernaut.integration.plugins.module_utils._durations import nanoseconds
from ansible_collections.kubernaut.integration.plugins.module_utils._files import MASK
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import Options

Values = Mapping[str, Any]

V0, V1 = "v0", "v1"
CONTRACTS = (V0, V1)
#: What may be asked for -> the contracts that are meant; ``both`` is one file that either generation accepts.
CHOICES: Mapping[str, Tuple[str, ...]] = {V0: (V0,), V1: (V1,), "both": CONTRACTS}

CONFIG = "config.yaml"
DATABASE_SECRETS = "db-secrets.yaml"
REDIS_SECRETS = "redis-secrets.yaml"

#: Connections that PostgreSQL keeps for superusers (``superuser_reserved_connections``).
RESERVED = 3

DURATION, BYTES = "Go duration", "bytes"
_BYTES = re.compile(r"\s*([+-]?[0-9]+)")
#: Underscores are no part of a host name elsewhere, but of many a container's.
_HOST_NAME = re.compile(r"[A-Za-z0-9._-]+")
#: Name and password as addresses have them: before an ``@``, behind ``//`` or with a colon between the two.
_LOGIN = re.compile(r"(?<=//)\S+(?=@)|(?<!\S)(?!\S*//)\S*:\S+(?=@)")


def leading_bytes(text: str) -> Optional[int]:
    """Return the number at the beginning of a text, or None. The service stops reading there: ``5MiB`` is 5."""
    found = _BYTES.match(text)
    return int(found[1]) if found else None


@dataclass(frozen=True)
class Rule:
    """What a value must be.

    :param wrong: takes a value, returns what is wrong with it as ``must be ...``, or None.
    :param taken: tells whether the service takes a value that is wrong, where it judges the key at all.
    """

    wrong: Callable[[Any], Optional[str]]
    taken: Callable[[Any], bool] = lambda value: False  # noqa: ARG005


def must(holds: Callable[[Any], bool], words: str, taken: Callable[[Any], bool] = Rule.taken) -> Rule:
    """Return a rule from a condition and its words."""
    return Rule(lambda value: None if holds(value) else "must " + words, taken)


def _port(lowest: int) -> Rule:
    """Return the rule for a TCP port of at least ``lowest``."""
    return must(lambda value: lowest <= value <= 65535, "be between %d and 65535" % lowest)


def _at_least(lowest: int) -> Rule:
    """Return the rule for a number of at least ``lowest``."""
    return must(lambda value: value >= lowest, "be at least %d" % lowest)


def _one_of(*words: str) -> Rule:
    """Return the rule for an enumeration that is compared letter by letter."""
    return must(lambda value: value in words, "be one of %s" % ", ".join(words))


def _dsn_wrong(value: str) -> Optional[str]:
    """Judge a word of the connection string.

    The service joins ``key=value`` without quotes: an empty value swallows the next key, and spaces, quotes and
    backslashes end or change it.
    """
    if not value:
        return "must not be empty: in the service's connection string it would swallow the next setting"
    if not all("!" <= character <= "~" and character not in "'\"\\" for character in value):
        return "must be printable ASCII without space, quote or backslash: the service does not quote it"
    return None


def _is_host(value: str) -> bool:
    """Tell whether a text is a host name, or an address with or without brackets."""
    if ":" not in value:
        return bool(_HOST_NAME.fullmatch(value))
    bare = value[1:-1] if value.startswith("[") and value.endswith("]") else value
    try:
        return ipaddress.ip_address(bare.partition("%")[0]).version == 6
    except ValueError:
        return False


def _address_wrong(value: str) -> Optional[str]:
    """Judge ``host:port``."""
    host, colon, port = value.rpartition(":")
    good = bool(colon and host and port.isdecimal() and 1 <= int(port) <= 65535)
    return None if good and not HOST.wrong(host) else "must be host:port, such as redis:6379"


def _origins_wrong(value: Sequence[str]) -> Optional[str]:
    """Judge a list of CORS origins."""
    good = all(item.strip() == "*" or item.strip().lower().startswith(("http://", "https://")) for item in value)
    return None if good else 'must be a list of http://... or https://..., or "*"'


_TEXT = must(lambda value: bool(value.strip()) and value.isprintable(), "not be empty or contain control characters")
_ANY = Rule(lambda value: None)  # noqa: ARG005
_PATH = must(lambda value: not value or value.startswith("/"), "be an absolute path inside the container")
HOST = must(_is_host, "be a host name or an address, without scheme, login or port")
PORT = _port(1)
#: Go's parser takes a sign, too, but no time-out or lifetime is negative.
_DURATION_RULE = must(
    lambda value: nanoseconds(value) is not None and not value.startswith(("-", "+")),
    "be a duration such as 30s, 5m or 1h30m",
    lambda value: nanoseconds(value) is not None,
)
_BYTES_RULE = must(
    lambda value: value.isascii() and value.isdigit(),
    "be bytes in digits only, such as 5242880",
    lambda value: leading_bytes(value) is not None,
)
_DSN = Rule(_dsn_wrong)
#: The driver takes the directory of a socket, too.
_DSN_HOST = Rule(lambda value: _dsn_wrong(value) or (None if value.startswith("/") else HOST.wrong(value)))
_SSL = _one_of("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_LEVELS = ("debug", "info", "warn", "error")


@dataclass(frozen=True)
class At:
    """A key in one contract.

    :param path: how it is spelled, with dots.
    :param rule: what the service, or what it passes the value on to, demands; the key's own rule when not given.
    :param default: what the service uses when the key is absent or zero, which it cannot tell apart; None for nothing.
    :param why: why it does not follow the key, as the end of a sentence; that it is fixed when not given.
    :param fixed: what the service uses whatever the key says. Such a key is rendered all the same: its option's default
        is what the service really does, so the file says what happens. Another value is written, too (a later service
        may follow it), and reported.
    :param lowest: the service raises less to this; likewise ``highest``.
    :param positive: whether it takes a number below zero for one that is not given.
    :param missing: what the service says when the key is absent; empty when it starts without.
    :param refusal: what it says about a value that it does not take (``{value}`` stands for that), or its beginning;
        empty when it takes any.
    """

    path: str
    rule: Optional[Rule] = None
    default: Any = None
    fixed: Any = None
    why: str = ""
    lowest: Any = None
    highest: Any = None
    positive: bool = False
    missing: str = ""
    refusal: str = ""


@dataclass(frozen=True)
class Key:
    """A key of ``config.yaml``.

    :param kind: type of the value, for the service's decoder and for the module's option.
    :param rule: what the value must be, unless a contract says otherwise.
    :param same: the key in both contracts, where it is the same; else ``v0`` and ``v1``, or one of them.
    :param option: the module's option that gives the value; empty for a key that is not rendered.
    :param variable: variable of the collection that people set, for the message; empty where there is none.
    :param default: default of that option; None when it must be given.
    :param gives: makes the value from the options, for a key that has no option of its own.
    :param unit: of the value, where it has one.
    :param absent: why the other contract has no such key, as a sentence.
    :param known_as: other names that people give it, last part only.
    """

    kind: str
    rule: Rule
    same: Optional[At] = None
    v0: Optional[At] = None
    v1: Optional[At] = None
    option: str = ""
    variable: str = ""
    default: Any = None
    gives: Optional[Callable[[Options], Any]] = None
    unit: str = ""
    absent: str = ""
    known_as: Tuple[str, ...] = ()

    def at(self, contract: str) -> Optional[At]:
        """Return the key in a contract, or None where that has no such key."""
        return self.same or (self.v0 if contract == V0 else self.v1)

    def path(self, contract: str) -> str:
        """Return how a contract that has the key spells it."""
        at = self.at(contract)
        return at.path if at else ""


def address(host: str, port: int) -> str:
    """Return ``host:port`` as Go's dialer wants it, an IPv6 address in brackets."""
    try:
        six = ipaddress.ip_address(host).version == 6
    except ValueError:
        six = False
    return "%s:%d" % ("[%s]" % host if six else host, port)


def _mounted(file: str) -> Callable[[Options], str]:
    """Return what makes a file's path inside the container."""
    return lambda options: "%s/%s" % (options["mount"].rstrip("/"), file)


_STREAMS = "the streams are always audit:dlq:events and audit:dlq:notifications"
_CA = "the service takes it from the environment variable TLS_CA_FILE"
_ADR = " (ADR-030 Section 6)"

#: In the order in which they are rendered.
KEYS: Tuple[Key, ...] = (
    Key(
        TEXT,
        _ANY,
        v1=At("environment"),
        absent="v0 knows only the environment variable ENV.",
    ),
    Key(
        INT,
        _port(1024),
        same=At(
            "server.port",
            missing="server port required",
            refusal="server port must be between 1024 and 65535, got: {value}",
        ),
        option="server_port",
        default=8080,
    ),
    Key(
        INT,
        _port(1024),
        v1=At("server.healthPort", default=8081),
        option="health_port",
        default=8081,
        absent="v0 answers at /health of server.port.",
        known_as=("health_check_port",),
    ),
    Key(
        INT,
        _port(1024),
        v1=At(
            "server.metricsPort",
            default=9090,
            refusal="server metricsPort must be between 1024 and 65535, got: {value}",
        ),
        option="metrics_port",
        default=9090,
        absent="v0 serves its metrics at /metrics of server.port.",
    ),
    # Only logged: the service listens on every interface of its container.
    Key(TEXT, _TEXT, same=At("server.host", fixed="0.0.0.0"), option="server_host", default="0.0.0.0"),  # noqa: S104
    Key(
        TEXT,
        _DURATION_RULE,
        v0=At("server.read_timeout", default="30s", refusal="invalid read_timeout"),
        v1=At("server.readTimeout", default="30s", refusal="invalid readTimeout"),
        option="read_timeout",
        default="30s",
        unit=DURATION,
    ),
    Key(
        TEXT,
        _DURATION_RULE,
        v0=At("server.write_timeout", default="30s", refusal="invalid write_timeout"),
        v1=At("server.writeTimeout", default="30s", refusal="invalid writeTimeout"),
        option="write_timeout",
        default="30s",
        unit=DURATION,
    ),
    Key(
        TEXT,
        _DURATION_RULE,
        v1=At(
            "server.shutdownTimeout",
            default="60s",
            lowest="30s",
            highest="120s",
            refusal="invalid shutdownTimeout",
        ),
        option="shutdown_timeout",
        default="60s",
        unit=DURATION,
        absent="v0 takes it from the environment variable SHUTDOWN_TIMEOUT.",
    ),
    Key(
        TEXT,
        _DURATION_RULE,
        v1=At(
            "server.endpointPropagationDelay",
            default="5s",
            lowest="1s",
            highest="30s",
            refusal="invalid endpointPropagationDelay",
        ),
        option="endpoint_propagation_delay",
        default="5s",
        unit=DURATION,
        absent="v0 always waits for 5 seconds.",
    ),
    Key(
        TEXT,
        _BYTES_RULE,
        v1=At(
            "server.maxBodySize",
            default="5242880",
            lowest="1048576",
            highest="52428800",
            refusal="invalid maxBodySize",
        ),
        option="max_body_size",
        default="5242880",
        unit=BYTES,
        absent="v0 has no limit of its own.",
    ),
    Key(
        INT,
        _at_least(1),
        v1=At("server.maxBatchSize", default=500, refusal="server maxBatchSize must be positive, got: {value}"),
        option="max_batch_size",
        default=500,
        absent="v0 has no limit.",
    ),
    Key(BOOL, _ANY, v1=At("server.disableProfiling"), absent="v0 has no profiling."),
    Key(
        LIST,
        Rule(_origins_wrong),
        v1=At("server.corsAllowedOrigins", refusal="corsAllowedOrigins["),
        absent="v0 lets every origin in.",
    ),
    Key(
        TEXT,
        _PATH,
        v1=At("server.signerCertDir", default="/etc/certs"),
        option="signer_cert_dir",
        default="/etc/certs",
        absent="v0 signs nothing.",
    ),
    Key(TEXT, _PATH, v1=At("server.tls.certDir"), option="tls_cert_dir", default="", absent="v0 has no TLS."),
    # Parsed by a type that other services share; this one takes the environment variable TLS_CA_FILE.
    Key(TEXT, _ANY, v1=At("server.tls.caFile", fixed="", why=_CA), absent="v0 has no TLS."),
    Key(BOOL, _ANY, v1=At("server.rateLimit.enabled"), absent="v0 has no rate limit."),
    Key(
        FLOAT,
        _ANY,
        v1=At("server.rateLimit.requestsPerSecond", default=50.0, positive=True),
        absent="v0 has no rate limit.",
    ),
    Key(INT, _ANY, v1=At("server.rateLimit.burst", default=100, positive=True), absent="v0 has no rate limit."),
    Key(
        TEXT,
        _one_of(*_LEVELS),
        # Judged and not applied.
        v0=At(
            "logging.level", fixed="info", refusal="invalid log level: {value} (must be debug, info, warn, or error)"
        ),
        v1=At(
            "logging.level",
            rule=must(lambda value: value.lower() in _LEVELS, "be one of %s" % ", ".join(_LEVELS)),
            default="info",
            refusal="invalid log level: {value} (must be DEBUG, INFO, WARN, or ERROR)",
        ),
        option="log_level",
        variable="datastorage_log_level",
        default="info",
    ),
    Key(
        TEXT,
        _one_of("json", "console"),
        # Judged and not applied: with the environment variable ENV=production it is JSON, else it is not.
        v0=At(
            "logging.format",
            fixed="console",
            why="v0 writes JSON only where the environment variable ENV is production",
            refusal="invalid log format: {value} (must be json or console)",
        ),
        option="log_format",
        default="console",
        absent="v1 always writes JSON.",
    ),
    Key(
        TEXT,
        _DSN_HOST,
        same=At("database.host", missing="database host required"),
        option="database_host",
        known_as=("hostname",),
    ),
    Key(
        INT,
        PORT,
        same=At(
            "database.port",
            missing="database port required",
            refusal="database port must be between 1 and 65535, got: {value}",
        ),
        option="database_port",
    ),
    Key(
        TEXT,
        _DSN,
        same=At("database.name", missing="database name required"),
        option="database_name",
        known_as=("dbname", "db", "database"),
    ),
    Key(
        TEXT,
        _DSN,
        same=At("database.user", missing="database user required"),
        option="database_user",
        known_as=("username",),
    ),
    Key(
        TEXT,
        _SSL,
        # An empty one makes the DSN end in `sslmode=`, which the driver takes for `prefer`, ...
        v0=At("database.ssl_mode", default="prefer", refusal="sslmode is invalid"),
        # ... and at v1, where options follow, for theirs. It shows after about 19 s, like the two lifetimes below.
        v1=At("database.sslMode", missing="sslmode is invalid", refusal="sslmode is invalid"),
        option="ssl_mode",
        default="disable",
    ),
    Key(
        INT,
        _at_least(1),
        v0=At("database.max_open_conns", fixed=25),
        v1=At(
            "database.maxOpenConns",
            default=25,
            refusal="database maxOpenConns must be positive, got: {value}",
        ),
        option="max_open_conns",
        default=25,
        known_as=("max_connections", "pool_size", "max_conns"),
    ),
    Key(
        INT,
        _at_least(0),
        v0=At("database.max_idle_conns", fixed=5),
        # Without it the pool keeps no idle connection at all.
        v1=At("database.maxIdleConns", positive=True, default=0),
        option="max_idle_conns",
        default=5,
        known_as=("max_idle_connections",),
    ),
    Key(
        TEXT,
        _DURATION_RULE,
        v0=At("database.conn_max_lifetime", fixed="5m", refusal="invalid conn_max_lifetime"),
        v1=At(
            "database.connMaxLifetime",
            missing='invalid connMaxLifetime: time: invalid duration ""',
            refusal="invalid connMaxLifetime",
        ),
        option="conn_max_lifetime",
        default="5m",
        unit=DURATION,
    ),
    Key(
        TEXT,
        _DURATION_RULE,
        v0=At("database.conn_max_idle_time", fixed="10m", refusal="invalid conn_max_idle_time"),
        v1=At(
            "database.connMaxIdleTime",
            missing='invalid connMaxIdleTime: time: invalid duration ""',
            refusal="invalid connMaxIdleTime",
        ),
        option="conn_max_idle_time",
        default="10m",
        unit=DURATION,
    ),
    Key(
        TEXT,
        _DURATION_RULE,
        v1=At("database.statementTimeout", default="30s", refusal="invalid statementTimeout"),
        option="statement_timeout",
        default="30s",
        unit=DURATION,
        absent="v0 leaves it to PostgreSQL.",
    ),
    Key(
        TEXT,
        _DURATION_RULE,
        v1=At("database.lockTimeout", default="10s", refusal="invalid lockTimeout"),
        option="lock_timeout",
        default="10s",
        unit=DURATION,
        absent="v0 leaves it to PostgreSQL.",
    ),
    Key(
        TEXT,
        _PATH,
        same=At(
            "database.secretsFile", missing="database secretsFile required" + _ADR, refusal="failed to read secret file"
        ),
        gives=_mounted(DATABASE_SECRETS),
    ),
    Key(TEXT, _ANY, same=At("database.usernameKey"), gives=lambda options: "username"),  # noqa: ARG005
    Key(
        TEXT,
        _ANY,
        same=At("database.passwordKey", missing="database passwordKey required" + _ADR),
        gives=lambda options: "password",  # noqa: ARG005
    ),
    Key(
        TEXT,
        Rule(_address_wrong),
        same=At("redis.addr", missing="redis address required"),
        gives=lambda options: address(options["redis_host"], options["redis_port"]),
        known_as=("address", "host", "port", "url"),
    ),
    Key(
        INT,
        _at_least(0),
        v0=At("redis.db", fixed=0),
        option="redis_db",
        default=0,
        absent="v1 always uses database 0.",
        known_as=("database",),
    ),
    # Two keys that v0 parses and that say nothing true, so they are never rendered.
    Key(TEXT, _ANY, v0=At("redis.dlq_stream_name", fixed="", why=_STREAMS), absent="In v1, %s." % _STREAMS),
    Key(
        INT,
        _at_least(1),
        v0=At("redis.dlq_max_len", default=10000, positive=True),
        v1=At("redis.dlqMaxLen", default=10000, positive=True),
        option="dlq_max_len",
        variable="datastorage_dlq_max_len",
        default=10000,
    ),
    Key(
        TEXT,
        _ANY,
        v0=At("redis.dlq_consumer_group", fixed="", why="v0 has no consumer"),
        absent="In v1, the group is always data-storage-retry-workers.",
    ),
    Key(
        TEXT,
        _PATH,
        same=At("redis.secretsFile", missing="redis secretsFile required" + _ADR, refusal="failed to read secret file"),
        gives=_mounted(REDIS_SECRETS),
    ),
    Key(
        TEXT,
        _ANY,
        same=At("redis.passwordKey", missing="redis passwordKey required" + _ADR),
        gives=lambda options: "password",  # noqa: ARG005
    ),
    Key(BOOL, _ANY, v1=At("redis.tls.enabled"), absent="v0 speaks to Redis without TLS."),
    Key(TEXT, _ANY, v1=At("redis.tls.certFile"), absent="v0 speaks to Redis without TLS."),
    Key(TEXT, _ANY, v1=At("redis.tls.keyFile"), absent="v0 speaks to Redis without TLS."),
    Key(TEXT, _ANY, v1=At("redis.tls.caFile"), absent="v0 speaks to Redis without TLS."),
    Key(BOOL, _ANY, v1=At("retention.enabled"), absent="v0 removes nothing."),
    Key(
        TEXT,
        _DURATION_RULE,
        v1=At("retention.interval", default="24h", refusal="invalid retention interval"),
        unit=DURATION,
        absent="v0 removes nothing.",
    ),
    Key(INT, _ANY, v1=At("retention.batchSize", default=1000, positive=True), absent="v0 removes nothing."),
    Key(
        INT,
        _at_least(0),
        v1=At(
            "retention.defaultDays",
            default=2555,
            highest=2555,
            refusal="retention defaultDays must be non-negative, got: {value}",
        ),
        unit="days",
        absent="v0 removes nothing.",
    ),
    Key(BOOL, _ANY, v1=At("retention.partitionDropEnabled"), absent="v0 removes nothing."),
    Key(TEXT, _ANY, v1=At("audit.hashKeySecretsFile"), absent="v0 has no chain of hashes."),
    Key(TEXT, _ANY, v1=At("audit.hashKeyKey"), absent="v0 has no chain of hashes."),
    Key(TEXT, _one_of("Old", "Intermediate", "Modern"), v1=At("tlsProfile"), absent="v0 has no TLS."),
    Key(TEXT, _ANY, v1=At("telemetry.endpoint"), absent="v0 has no telemetry."),
    Key(BOOL, _ANY, v1=At("telemetry.logSink"), absent="v0 has no telemetry."),
    Key(BOOL, _ANY, v1=At("telemetry.tls.enabled"), absent="v0 has no telemetry."),
    Key(TEXT, _ANY, v1=At("telemetry.tls.caFile"), absent="v0 has no telemetry."),
    Key(TEXT, _ANY, v1=At("telemetry.tls.certFile"), absent="v0 has no telemetry."),
    Key(TEXT, _ANY, v1=At("telemetry.tls.keyFile"), absent="v0 has no telemetry."),
)


@dataclass(frozen=True)
class Secret:
    """A value that the service takes from a secret file, and never from ``config.yaml``; it must be a string there.

    :param path: what it is called in the effective configuration.
    :param owner: whose secret file it is, in the service's words.
    :param file: path of the key that names the file; likewise ``name``, the key that names the key in it.
    :param lacks: what the service says when the file does not have the key (``{name}``); empty when it goes on without.
    :param mistyped: what it says when the value is no string.
    :param rule: what the value must be.
    :param hidden: whether it must not be shown.
    :param option: the module's option that gives the value; empty for one that is not rendered.
    :param variable: variable of the collection that people set, for the message.
    :param into: file that it is rendered into; likewise ``written``, its key there.
    :param optional: whether the service starts when no file is named.
    """

    path: str
    owner: str
    file: str
    name: str
    lacks: str
    mistyped: str
    rule: Rule
    hidden: bool = True
    option: str = ""
    variable: str = ""
    into: str = ""
    written: str = "password"
    optional: bool = False


SECRETS: Tuple[Secret, ...] = (
    Secret(
        "database.user",
        "database",
        "database.secretsFile",
        "database.usernameKey",
        "",
        "database username key '{name}' in secret file is not a string",
        _DSN,
        hidden=False,
        option="database_user",
        variable="postgres_user",
        into=DATABASE_SECRETS,
        written="username",
    ),
    Secret(
        "database.password",
        "database",
        "database.secretsFile",
        "database.passwordKey",
        "password key '{name}' not found in database secret file",
        "database password key '{name}' in secret file is not a string",
        _DSN,
        option="database_password",
        variable="postgres_password",
        into=DATABASE_SECRETS,
    ),
    Secret(
        "redis.password",
        "redis",
        "redis.secretsFile",
        "redis.passwordKey",
        "password key '{name}' not found in redis secret file",
        "redis password key '{name}' in secret file is not a string",
        _ANY,
        option="redis_password",
        variable="redis_password",
        into=REDIS_SECRETS,
    ),
    Secret(
        "audit.hashKey",
        "audit hash key",
        "audit.hashKeySecretsFile",
        "audit.hashKeyKey",
        "hash key '{name}' not found in audit secret file",
        "audit hash key '{name}' in secret file is not a string",
        must(bool, "not be empty"),
        optional=True,
    ),
)

#: A key whose value is a secret, wherever it stands; but not one that says where to find it (passwordKey, secretsFile).
SECRET_NAME = re.compile(r"(?:password|passwd|passphrase|pwd|secret|token|(?:api|hmac)_?key|^pass)$", re.IGNORECASE)

#: Variables of the container's environment that the service reads -> contracts in which it does.
VARIABLES: Mapping[str, Tuple[str, ...]] = {
    "CONFIG_PATH": CONTRACTS,
    "ENV": (V0,),
    "SHUTDOWN_TIMEOUT": (V0,),
    "PORT": (V1,),
    "HEALTH_PORT": (V1,),
    "KUBECONFIG": (V1,),
    "POD_NAMESPACE": (V1,),
    "TLS_CA_FILE": (V1,),
}
#: What every harness passes, and the service has never read: configuration belongs into the file.
DEAD_VARIABLES = re.compile(
    r"(?:POSTGRES|DB|DATABASE|REDIS)_\w+|CONN_MAX_LIFETIME|METRICS_PORT|LOG_LEVEL|LOG_FORMAT|HTTP_PORT"
)


def keys_of(contract: str) -> Iterator[Tuple[Key, At]]:
    """Yield the keys that a contract has."""
    for key in KEYS:
        at = key.at(contract)
        if at:
            yield key, at


def secrets_of(contract: str) -> List[Secret]:
    """Return the secrets that a contract has: those whose file one of its keys names."""
    paths = {at.path for _key, at in keys_of(contract)}
    return [secret for secret in SECRETS if secret.file in paths]


def is_zero(key: Key, value: Any) -> bool:
    """Tell whether the service takes a value for one that is not there."""
    return bool(value is None or value == ZERO[key.kind])


def _size(key: Key, value: Any) -> Any:
    """Return a value as something that can be compared, or None."""
    if key.unit == DURATION:
        return nanoseconds(value)
    return leading_bytes(value) if key.unit == BYTES else value


def used(key: Key, at: At, value: Any) -> Any:
    """Return what the service uses for a value that it takes; None stands for an absent key."""
    if at.fixed is not None:
        return at.fixed
    if is_zero(key, value) or (at.positive and value < 0):
        return ZERO[key.kind] if at.default is None else at.default
    size = _size(key, value)
    if size is not None and at.lowest is not None and size < _size(key, at.lowest):
        return at.lowest
    if size is not None and at.highest is not None and size > _size(key, at.highest):
        return at.highest
    return value


def effective(values: Values, contract: str) -> Dict[str, Any]:
    """Return what the service really uses, by path, after defaults, clamps and what it hard-codes; secrets in clear.

    :param values: path -> value, as the files have them; ``database.user`` is the secret file's where that has one.
    """
    found = {at.path: used(key, at, values.get(at.path)) for key, at in keys_of(contract)}
    if contract == V1:
        # The driver's pool lowers what makes no sense.
        found["database.maxIdleConns"] = min(found["database.maxIdleConns"], found["database.maxOpenConns"])
    found.update({secret.path: values[secret.path] for secret in secrets_of(contract) if secret.path in values})
    return found


def shown(found: Values) -> Dict[str, Any]:
    """Return an effective configuration with its secrets masked; an empty one stays empty, that is no secret."""
    hidden = {secret.path for secret in SECRETS if secret.hidden}
    return {
        path: MASK if path in hidden and value else without_login(value) if isinstance(value, str) else value
        for path, value in found.items()
    }


def without_login(text: str) -> str:
    """Return a text with what is a name and a password in an address masked."""
    return _LOGIN.sub(MASK, text)


@dataclass(frozen=True)
class Override:
    """The service uses something else than the file says.

    :param asked: what the file says; likewise ``used``.
    :param clamped: whether another value would have been followed.
    :param why: why not, as the end of a sentence.
    """

    key: Key
    path: str
    asked: Any
    used: Any
    clamped: bool
    why: str


def overrides(values: Values, contract: str) -> List[Override]:
    """Return where the effective configuration differs from what was asked for."""
    after = effective(values, contract)
    found = []
    for key, at in keys_of(contract):
        asked = values.get(at.path)
        if asked is None or (is_zero(key, asked) and at.fixed is None and not at.positive):
            continue
        if not _same(key, asked, after[at.path]):
            why = at.why or "the service always uses %s" % after[at.path]
            found.append(Override(key, at.path, asked, after[at.path], at.fixed is None, why))
    return found


def _same(key: Key, one: Any, other: Any) -> bool:
    """Tell whether two values mean the same, as 60s and 1m do."""
    if key.unit not in (DURATION, BYTES):
        return bool(one == other)
    sizes = (_size(key, one), _size(key, other))
    return sizes[0] is None or sizes[0] == sizes[1]


@dataclass(frozen=True)
class Problem:
    """The service will not start, or will misbehave.

    :param rule: id of what is wrong.
    :param path: key that it is about.
    :param wrong: what is wrong with that, beginning with a verb.
    :param says: what the service says, or its beginning; empty where it says nothing.
    :param key: row of the table, where there is one.
    """

    rule: str
    path: str
    wrong: str
    says: str = ""
    key: Optional[Key] = field(default=None, compare=False)


MISSING, VALUE, CLASH, POOL, SECRET_VALUE = "missing-key", "value", "clash", "pool-size", "secret-value"


def judge(values: Values, contract: str, strict: bool = False, max_connections: Optional[int] = None) -> List[Problem]:
    """Judge a configuration as the service does, and what it does not judge by what will happen.

    :param values: path -> value; a path that is not there is absent.
    :param strict: whether values that the service takes and does not use are judged, too.
    :param max_connections: of the PostgreSQL server; None when that is not known.
    """
    problems = [problem for key, at in keys_of(contract) for problem in _judge(key, at, values.get(at.path), strict)]
    for secret in secrets_of(contract):
        wrong = secret.rule.wrong(values[secret.path]) if secret.path in values and secret.hidden else None
        if wrong:
            problems.append(Problem(SECRET_VALUE, secret.path, wrong))
    return [*problems, *_clashes(effective(values, contract), contract, max_connections)]


def _judge(key: Key, at: At, value: Any, strict: bool) -> Iterator[Problem]:
    """Judge one key."""
    rule = at.rule or key.rule
    if is_zero(key, value) and not (strict and value is not None):
        if at.missing:
            yield Problem(MISSING, at.path, "is missing", at.missing, key)
        return
    wrong = rule.wrong(value)
    if wrong is None:
        return
    if is_zero(key, value) and at.missing:
        yield Problem(VALUE, at.path, wrong, at.missing, key)
        return
    says = "" if rule.taken(value) else at.refusal.format(value=value)
    unused = at.fixed is not None or (at.positive and value <= 0)
    if strict or says or not unused:
        yield Problem(VALUE, at.path, wrong, says, key)


def _clashes(found: Values, contract: str, max_connections: Optional[int]) -> Iterator[Problem]:
    """Judge what several keys say together, after defaults."""
    if contract == V1:
        yield from _v1_clashes(found)
    path = "database.max_open_conns" if contract == V0 else "database.maxOpenConns"
    if max_connections is not None and found[path] > max_connections - RESERVED:
        yield Problem(
            POOL,
            path,
            "makes a pool of %d connections, and PostgreSQL has %d, of which it keeps %d for superusers: %sraise its "
            "max_connections"
            % (found[path], max_connections, RESERVED, "" if contract == V0 else "make it smaller, or "),
        )


def _v1_clashes(found: Values) -> Iterator[Problem]:
    """Judge what only v1 has."""
    ports: Dict[int, str] = {}
    for path in ("server.port", "server.healthPort", "server.metricsPort"):
        other = ports.setdefault(found[path], path)
        if other != path:
            says = "bind: address already in use"
            yield Problem(CLASH, path, "must not be %d, which is %s" % (found[path], other), says)
    if found["redis.tls.enabled"] and not found["redis.tls.caFile"]:
        says = "redis TLS enabled but no caFile specified"
        yield Problem(CLASH, "redis.tls.enabled", "needs redis.tls.caFile", says)
    if found["audit.hashKeySecretsFile"] and not found["audit.hashKeyKey"]:
        says = "audit hashKeyKey required when hashKeySecretsFile is set"
        yield Problem(CLASH, "audit.hashKeySecretsFile", "needs audit.hashKeyKey", says)
    if found["environment"].lower() != "production":
        return
    if found["database.sslMode"] == "disable":
        says = "database sslMode must not be 'disable' in production"
        yield Problem(CLASH, "database.sslMode", "must not be disable where environment is production", says)
    if not found["redis.tls.enabled"]:
        says = "redis TLS must be enabled in production"
        yield Problem(CLASH, "environment", "is production, which needs redis.tls.enabled", says)
    if "*" in found["server.corsAllowedOrigins"]:
        says = "CORS wildcard origin '*' is not allowed in production"
        yield Problem(CLASH, "server.corsAllowedOrigins", 'must not hold "*" where environment is production', says)
