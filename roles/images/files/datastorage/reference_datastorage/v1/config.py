# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Configuration of contract v1: camelCase, three ports, limits that are clamped, and two keys that fail late."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from reference_datastorage import config as shared
from reference_datastorage.config import DEFAULT_DLQ_MAX_LEN, DEFAULT_TIMEOUT, LEVELS, SSL_MODES, Section
from reference_datastorage.gotime import parse_duration
from reference_datastorage.store import Pool

_MIB = 1024 * 1024
_HEALTH_PORT, _METRICS_PORT = 8081, 9090
_SIGNER_DIR = "/etc/certs"
_MAX_CONNECTIONS, _MAX_BATCH, _MAX_BODY = 25, 500, 5 * _MIB
_STATEMENT_TIMEOUT, _LOCK_TIMEOUT = timedelta(seconds=30), timedelta(seconds=10)
_SHUTDOWN = (timedelta(seconds=30), timedelta(seconds=60), timedelta(seconds=120))  # lowest, default, highest
_PROPAGATION = (timedelta(seconds=1), timedelta(seconds=5), timedelta(seconds=30))

# Switches for what the reference service does not have. A file that turns one on would get less than it asks for.
_ABSENT = (
    ("redis.tls", "enabled"),
    ("server.rateLimit", "enabled"),
    ("retention", "enabled"),
)
_ABSENT_TEXTS = (("audit", "hashKeySecretsFile"), ("telemetry", "endpoint"))


@dataclass(frozen=True, slots=True)
class Server:
    """Where the service listens, what it takes and how it stops; times in seconds, sizes in bytes."""

    port: int
    health_port: int
    metrics_port: int
    host: str
    read_timeout: float
    write_timeout: float
    shutdown_timeout: float
    propagation_delay: float
    max_body: int
    max_batch: int
    signer_dir: str
    tls_dir: str
    origins: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Database(shared.Database):
    """How to reach PostgreSQL. The two lifetimes are texts: they are read late, when the server is built."""

    statement_timeout: timedelta
    lock_timeout: timedelta
    max_open: int
    max_idle: int
    max_lifetime: str
    max_idle_time: str

    @property
    def ssl_mode_is_valid(self) -> bool:
        """Tell whether the mode is one; without one, ``sslmode=`` takes the word after it, which is none."""
        return self.ssl_mode in SSL_MODES

    def conninfo(self) -> str:
        """Return the keyword/value string, unquoted as in contract v0, with the session's limits behind it."""
        limits = (("statement_timeout", self.statement_timeout), ("lock_timeout", self.lock_timeout))
        options = " ".join(f"-c {name}={limit // timedelta(milliseconds=1)}" for name, limit in limits)
        return (
            f"host={self.host} port={self.port} dbname={self.name} user={self.user}"
            f" password={self.password} sslmode={self.ssl_mode} options='{options}'"
        )

    def pool(self) -> Pool:
        """Return the limits of the connections. Raises ValueError for a lifetime that is no duration."""
        lifetimes = []
        for key, text in (("connMaxLifetime", self.max_lifetime), ("connMaxIdleTime", self.max_idle_time)):
            try:
                lifetimes.append(parse_duration(text).total_seconds())
            except ValueError as error:
                raise ValueError(f"invalid {key}: {error}") from None
        return Pool(self.max_open, self.max_idle, *lifetimes)


@dataclass(frozen=True, slots=True)
class Config:
    """A configuration that has been validated."""

    server: Server
    database: Database
    redis: shared.Redis
    log_level: str


def load(path: str) -> Config:
    """Read the file at ``path`` and the secret files it names, and validate the whole. Raises ConfigError."""
    root = shared.read(path)
    environment = root.string("environment")
    level = root.section("logging").string("level")
    database, redis = root.section("database"), root.section("redis")
    known, tls = _database(database), _at(root, "redis.tls").boolean("enabled")
    addr, dlq_max_len = redis.string("addr"), redis.integer("dlqMaxLen")

    user, password = shared.database_secrets(database, known.user)
    redis_password = shared.redis_secrets(redis)

    shared.check_database(known.host, known.port, known.name, user)
    if known.max_open < 0:
        raise shared.invalid(f"database maxOpenConns must be positive, got: {known.max_open}")
    server = _server(root.section("server"))
    shared.require("redis address", addr)
    if level and level.lower() not in LEVELS:
        raise shared.invalid(f"invalid log level: {level} (must be DEBUG, INFO, WARN, or ERROR)")
    if environment.lower() == "production":
        _check_production(known.ssl_mode, tls, server.origins)
    _check_absent(root)
    return Config(
        server=server,
        database=replace(known, user=user, password=password, max_open=known.max_open or _MAX_CONNECTIONS),
        redis=shared.Redis(
            addr=addr, dlq_max_len=dlq_max_len if dlq_max_len > 0 else DEFAULT_DLQ_MAX_LEN, password=redis_password
        ),
        log_level=level.lower() or "info",
    )


def override_ports(config: Config, environment: Mapping[str, str]) -> Config:
    """Apply ``PORT`` and ``HEALTH_PORT``; they come after validation and are not judged. No number: not applied."""

    def port(name: str, configured: int) -> int:
        text = environment.get(name, "")
        return int(text) if text.isdecimal() else configured

    server = config.server
    return replace(
        config,
        server=replace(server, port=port("PORT", server.port), health_port=port("HEALTH_PORT", server.health_port)),
    )


def _at(section: Section, path: str) -> Section:
    for key in path.split("."):
        section = section.section(key)
    return section


def _database(section: Section) -> Database:
    return Database(
        host=section.string("host"),
        port=section.integer("port"),
        name=section.string("name"),
        user=section.string("user"),
        ssl_mode=section.string("sslMode"),
        password="",
        statement_timeout=_duration(section, "statementTimeout", _STATEMENT_TIMEOUT),
        lock_timeout=_duration(section, "lockTimeout", _LOCK_TIMEOUT),
        max_open=section.integer("maxOpenConns"),
        max_idle=max(section.integer("maxIdleConns"), 0),
        max_lifetime=section.string("connMaxLifetime"),
        max_idle_time=section.string("connMaxIdleTime"),
    )


def _server(section: Section) -> Server:
    port, metrics_port = section.integer("port"), section.integer("metricsPort")
    shared.check_port("server", port, 1024)
    if metrics_port and not 1024 <= metrics_port <= 65535:
        raise shared.invalid(f"server metricsPort must be between 1024 and 65535, got: {metrics_port}")
    batch, origins = section.integer("maxBatchSize"), section.strings("corsAllowedOrigins")
    if batch < 0:
        raise shared.invalid(f"server maxBatchSize must be positive, got: {batch}")
    for index, origin in enumerate(origins):
        if origin != "*" and not origin.startswith(("http://", "https://")):
            raise shared.invalid(f"corsAllowedOrigins[{index}]: {origin} is neither http(s)://... nor *")
    return Server(
        port=port,
        health_port=section.integer("healthPort") or _HEALTH_PORT,
        metrics_port=metrics_port or _METRICS_PORT,
        host=section.string("host"),
        read_timeout=_duration(section, "readTimeout", DEFAULT_TIMEOUT).total_seconds(),
        write_timeout=_duration(section, "writeTimeout", DEFAULT_TIMEOUT).total_seconds(),
        shutdown_timeout=_clamped(section, "shutdownTimeout", *_SHUTDOWN).total_seconds(),
        propagation_delay=_clamped(section, "endpointPropagationDelay", *_PROPAGATION).total_seconds(),
        max_body=_bytes(section, "maxBodySize"),
        max_batch=batch or _MAX_BATCH,
        signer_dir=section.string("signerCertDir") or _SIGNER_DIR,
        tls_dir=section.section("tls").string("certDir"),
        origins=tuple(origins),
    )


def _duration(section: Section, key: str, default: timedelta) -> timedelta:
    return shared.duration(key, section.string(key)) or default


def _clamped(section: Section, key: str, lowest: timedelta, default: timedelta, highest: timedelta) -> timedelta:
    return min(max(_duration(section, key, default), lowest), highest)


def _bytes(section: Section, key: str) -> int:
    text = section.string(key)
    if not text:
        return _MAX_BODY
    try:
        size = int(text)
    except ValueError:
        raise shared.invalid(f"invalid {key}: {text} is not a number of bytes") from None
    return min(max(size, _MIB), 50 * _MIB)


def _check_production(ssl_mode: str, redis_tls: bool, origins: tuple[str, ...]) -> None:
    if not ssl_mode:
        raise shared.invalid("database sslMode required in production")
    if ssl_mode == "disable":
        raise shared.invalid("database sslMode must not be 'disable' in production")
    if not redis_tls:
        raise shared.invalid("redis TLS must be enabled in production")
    if "*" in origins:
        raise shared.invalid("CORS wildcard origin '*' is not allowed in production")


def _check_absent(root: Section) -> None:
    wanted = [f"{path}.{key}" for path, key in _ABSENT if _at(root, path).boolean(key)]
    wanted += [f"{path}.{key}" for path, key in _ABSENT_TEXTS if _at(root, path).string(key)]
    if wanted:
        raise shared.invalid(f"{', '.join(wanted)}: the reference service does not have this, take a real DataStorage")
