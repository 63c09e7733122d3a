# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Configuration by ADR-030: one YAML file, two secret files, then validation, with the original's failure texts.

Here is what both contracts share, and what contract v0 reads; ``v1/config.py`` is what contract v1 reads.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import timedelta

import yaml

from reference_datastorage.gotime import parse_duration

_TAG = "tag:yaml.org,2002:"
LEVELS = ("debug", "info", "warn", "error")
_FORMATS = ("json", "console")
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
DEFAULT_TIMEOUT = timedelta(seconds=30)
DEFAULT_DLQ_MAX_LEN = 10_000


class ConfigError(Exception):
    """The configuration cannot be used. ``summary`` names the step that failed, the text names the reason."""

    def __init__(self, summary: str, reason: str) -> None:
        """Keep both parts: the log writes them into different columns."""
        super().__init__(reason)
        self.summary = summary


@dataclass(frozen=True, slots=True)
class Server:
    """Where the service listens; ``host`` is only logged, the listener takes every interface."""

    port: int
    host: str
    read_timeout: timedelta
    write_timeout: timedelta


@dataclass(frozen=True, slots=True)
class Database:
    """How to reach PostgreSQL."""

    host: str
    port: int
    name: str
    user: str
    ssl_mode: str
    password: str = field(repr=False)

    @property
    def ssl_mode_is_valid(self) -> bool:
        """Tell whether PostgreSQL's client knows the mode; without one it takes its own."""
        return self.ssl_mode in ("", *SSL_MODES)

    def conninfo(self) -> str:
        """Return the keyword/value string, unquoted in the contract's order.

        Unquoted on purpose: an empty password swallows the next word, and one with a space or a quote breaks the
        string, exactly as in the original. libpq has no empty ``sslmode``; what it stands for there is ``prefer``.
        """
        return (
            f"host={self.host} port={self.port} dbname={self.name} user={self.user}"
            f" password={self.password} sslmode={self.ssl_mode or 'prefer'}"
        )


@dataclass(frozen=True, slots=True)
class Redis:
    """How to reach Redis, and how many entries the dead letter queue holds at most."""

    addr: str
    dlq_max_len: int
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Config:
    """A configuration that has been validated."""

    server: Server
    database: Database
    redis: Redis
    log_level: str


class Section:
    """One mapping of the file, read the way a typed, non-strict decoder reads it: unknown keys are not looked at."""

    def __init__(self, node: yaml.Node | None) -> None:
        self._nodes: dict[str, yaml.Node] = {}
        if node is None or node.tag == f"{_TAG}null":
            return
        if not isinstance(node, yaml.MappingNode):
            raise mismatch(node, "a mapping")
        for key, value in node.value:
            name = str(key.value)
            if name in self._nodes:
                raise _parse_error(f'line {key.start_mark.line + 1}: mapping key "{name}" already defined')
            self._nodes[name] = value

    def section(self, key: str) -> Section:
        """Return the mapping at ``key``; absent and null are an empty one."""
        return Section(self._nodes.get(key))

    def string(self, key: str) -> str:
        """Return the scalar's own text: an unquoted number or word is a string too. Absent and null are empty."""
        node = self._nodes.get(key)
        if node is None or node.tag == f"{_TAG}null":
            return ""
        if not isinstance(node, yaml.ScalarNode):
            raise mismatch(node, "string")
        return str(node.value)

    def integer(self, key: str) -> int:
        """Return a number; absent and null are 0. A quoted number is not a number."""
        node = self._nodes.get(key)
        if node is None or node.tag == f"{_TAG}null":
            return 0
        if node.tag != f"{_TAG}int":
            raise mismatch(node, "int")
        try:
            return int(node.value, 0)
        except ValueError:
            raise mismatch(node, "int") from None

    def boolean(self, key: str) -> bool:
        """Return true or false; absent and null are false. A quoted word is neither."""
        node = self._nodes.get(key)
        if node is None or node.tag == f"{_TAG}null":
            return False
        if node.tag != f"{_TAG}bool":
            raise mismatch(node, "bool")
        return str(node.value).lower() in ("true", "yes", "on")

    def strings(self, key: str) -> list[str]:
        """Return a list of texts; absent and null are an empty one."""
        node = self._nodes.get(key)
        if node is None or node.tag == f"{_TAG}null":
            return []
        if not isinstance(node, yaml.SequenceNode):
            raise mismatch(node, "[]string")
        for item in node.value:
            if not isinstance(item, yaml.ScalarNode):
                raise mismatch(item, "string")
        return [str(item.value) for item in node.value]


def _parse_error(reason: str) -> ConfigError:
    return ConfigError("Failed to load configuration file (ADR-030)", f"failed to parse config: yaml: {reason}")


def mismatch(node: yaml.Node, wanted: str) -> ConfigError:
    """Return the error for a value of another type than ``wanted``."""
    shown = f" `{node.value}`" if isinstance(node, yaml.ScalarNode) else ""
    tag = node.tag.replace(_TAG, "!!")
    return _parse_error(
        f"unmarshal errors: line {node.start_mark.line + 1}: cannot unmarshal {tag}{shown} into {wanted}"
    )


def load(path: str) -> Config:
    """Read the file at ``path`` and the secret files it names, and validate the whole. Raises ConfigError."""
    root = read(path)
    server, database, redis = root.section("server"), root.section("database"), root.section("redis")
    logging = root.section("logging")
    # Types are checked by reading every known key before any secret file is opened, as a decoder does.
    port, host = server.integer("port"), server.string("host")
    timeouts = [(key, server.string(key)) for key in ("read_timeout", "write_timeout")]
    lifetimes = [(key, database.string(key)) for key in ("conn_max_lifetime", "conn_max_idle_time")]
    for key in ("max_open_conns", "max_idle_conns"):
        database.integer(key)
    database_host, database_port, name = database.string("host"), database.integer("port"), database.string("name")
    ssl_mode, configured_user = database.string("ssl_mode"), database.string("user")
    redis.integer("db")
    for key in ("secretsFile", "usernameKey", "passwordKey"):
        database.string(key)
    for key in ("secretsFile", "passwordKey", "dlq_stream_name", "dlq_consumer_group"):
        redis.string(key)
    addr, dlq_max_len = redis.string("addr"), redis.integer("dlq_max_len")
    level, log_format = logging.string("level"), logging.string("format")

    user, password = database_secrets(database, configured_user)
    redis_password = redis_secrets(redis)

    check_database(database_host, database_port, name, user)
    check_port("server", port, 1024)
    require("redis address", addr)
    if level and level not in LEVELS:
        raise invalid(f"invalid log level: {level} (must be debug, info, warn, or error)")
    if log_format and log_format not in _FORMATS:
        raise invalid(f"invalid log format: {log_format} (must be json or console)")
    durations = {key: duration(key, text) for key, text in timeouts + lifetimes}
    return Config(
        server=Server(
            port=port,
            host=host,
            read_timeout=durations["read_timeout"] or DEFAULT_TIMEOUT,
            write_timeout=durations["write_timeout"] or DEFAULT_TIMEOUT,
        ),
        database=Database(
            host=database_host, port=database_port, name=name, user=user, ssl_mode=ssl_mode, password=password
        ),
        redis=Redis(
            addr=addr, dlq_max_len=dlq_max_len if dlq_max_len > 0 else DEFAULT_DLQ_MAX_LEN, password=redis_password
        ),
        log_level=level,
    )


def read(path: str) -> Section:
    """Return the whole file. Raises ConfigError."""
    try:
        with open(path, encoding="utf-8") as file:
            return Section(yaml.compose(file, Loader=yaml.SafeLoader))
    except OSError as error:
        reason = f"failed to read config file: {_os_error(path, error)}"
        raise ConfigError("Failed to load configuration file (ADR-030)", reason) from error
    except (yaml.YAMLError, UnicodeError) as error:
        raise _parse_error(_one_line(error)) from error


def database_secrets(section: Section, user: str) -> tuple[str, str]:
    """Return user and password; the file's user goes before ``user``. Raises ConfigError."""
    secrets = _Secrets("database", section)
    password = secrets.password()
    return secrets.optional(section.string("usernameKey"), "username") or user, password


def redis_secrets(section: Section) -> str:
    """Return the password, which may be empty. Raises ConfigError."""
    return _Secrets("redis", section).password()


class _Secrets:
    """The secret file of one owner (``database`` or ``redis``). No value of it ever becomes part of a message."""

    def __init__(self, owner: str, section: Section) -> None:
        self._owner, self._key, self._file = owner, section.string("passwordKey"), section.string("secretsFile")
        for key, value in (("secretsFile", self._file), ("passwordKey", self._key)):
            if not value:
                raise self._error(f"{owner} {key} required (ADR-030 Section 6)")
        try:
            self._values = _secret_file(self._file)
        except ValueError as error:
            raise self._error(f"failed to load {owner} secrets from {self._file}: {error}") from None

    def password(self) -> str:
        if self._key not in self._values:
            raise self._error(f"password key '{self._key}' not found in {self._owner} secret file {self._file}")
        return self.optional(self._key, "password")

    def optional(self, key: str, kind: str) -> str:
        value = self._values.get(key, "")
        if not isinstance(value, str):
            raise self._error(f"{self._owner} {kind} key '{key}' in secret file is not a string")
        return value

    @staticmethod
    def _error(reason: str) -> ConfigError:
        return ConfigError("Failed to load secrets (ADR-030 Section 6)", reason)


def _secret_file(path: str) -> dict[str, object]:
    """Return the map in a YAML or JSON file. Raises ValueError without quoting what the file holds."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeError) as error:
        reason = _os_error(path, error) if isinstance(error, OSError) else "not UTF-8"
        raise ValueError(f"failed to read secret file {path}: {reason}") from None
    try:
        values = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):  # ValueError: a date that does not exist
        try:
            values = json.loads(text)
        except ValueError:
            values = text
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ValueError("failed to parse secret file as YAML or JSON: not a map")
    return values


def _os_error(path: str, error: OSError) -> str:
    return f"open {path}: {(error.strerror or str(error)).lower()}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def invalid(reason: str) -> ConfigError:
    """Return the error for values that were read and cannot be used."""
    return ConfigError("Invalid configuration (ADR-030)", reason)


def require(what: str, value: str) -> None:
    """Demand a value. Raises ConfigError."""
    if not value:
        raise invalid(f"{what} required")


def check_database(host: str, port: int, name: str, user: str) -> None:
    """Demand what it takes to reach PostgreSQL. Raises ConfigError."""
    require("database host", host)
    check_port("database", port, 1)
    require("database name", name)
    require("database user", user)


def check_port(owner: str, port: int, lowest: int) -> None:
    """Demand a port from ``lowest`` on. Raises ConfigError."""
    if port == 0:
        raise invalid(f"{owner} port required")
    if not lowest <= port <= 65535:
        raise invalid(f"{owner} port must be between {lowest} and 65535, got: {port}")


def duration(key: str, text: str) -> timedelta | None:
    """Read a Go duration; None for an empty text. Raises ConfigError that names ``key``."""
    try:
        return parse_duration(text) if text else None
    except ValueError as error:
        raise invalid(f"invalid {key}: {error}") from None
