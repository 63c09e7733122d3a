# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Configuration of contract v1: spelling, defaults, clamps, what fails at once and what fails late."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from reference_datastorage.config import ConfigError
from reference_datastorage.store import Pool
from reference_datastorage.v1.config import Config, load, override_ports

Tree = dict[str, Any]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A complete configuration whose secret files exist."""
    (tmp_path / "db.yaml").write_text("username: secret_user\npassword: word\n")
    (tmp_path / "redis.yaml").write_text('{"password": ""}')
    secrets = {"secretsFile": str(tmp_path / "db.yaml"), "passwordKey": "password"}
    return {
        "server": {"port": 8080},
        "database": {
            "host": "pg",
            "port": 5432,
            "name": "action_history",
            "user": "slm_user",
            "sslMode": "disable",
            "connMaxLifetime": "5m",
            "connMaxIdleTime": "10m",
            **secrets,
        },
        "redis": {"addr": "redis:6379", "secretsFile": str(tmp_path / "redis.yaml"), "passwordKey": "password"},
    }


def read(tmp_path: Path, tree: Tree, **changes: object) -> Config:
    """Load the tree after changes such as ``server__maxBatchSize=7``; None removes the key."""
    for dotted, value in changes.items():
        *path, key = dotted.split("__")
        section = tree
        for name in path:
            section = section.setdefault(name, {})
        section[key] = value
        if value is None:
            del section[key]
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(tree))
    return load(str(file))


def test_defaults(tmp_path: Path, tree: Tree) -> None:
    config = read(tmp_path, tree)
    server = config.server
    assert (server.port, server.health_port, server.metrics_port) == (8080, 8081, 9090)
    assert (server.read_timeout, server.shutdown_timeout, server.propagation_delay) == (30, 60, 5)
    assert (server.max_body, server.max_batch, server.signer_dir) == (5242880, 500, "/etc/certs")
    assert server.origins == ()
    assert config.log_level == "info"
    assert config.redis.dlq_max_len == 10_000
    assert config.database.pool() == Pool(size=25, idle=0, lifetime=300, idle_time=600)
    assert config.database.conninfo() == (
        "host=pg port=5432 dbname=action_history user=slm_user password=word sslmode=disable"
        " options='-c statement_timeout=30000 -c lock_timeout=10000'"
    )


def test_the_user_of_the_secret_file_goes_first(tmp_path: Path, tree: Tree) -> None:
    assert read(tmp_path, tree, database__usernameKey="username").database.user == "secret_user"


@pytest.mark.parametrize(
    ("key", "given", "attribute", "expected"),
    [
        ("shutdownTimeout", "1s", "shutdown_timeout", 30),
        ("shutdownTimeout", "1h", "shutdown_timeout", 120),
        ("endpointPropagationDelay", "1ms", "propagation_delay", 1),
        ("endpointPropagationDelay", "5m", "propagation_delay", 30),
        ("maxBodySize", "1", "max_body", 1024 * 1024),
        ("maxBodySize", "999999999", "max_body", 50 * 1024 * 1024),
        ("maxBodySize", 2097152, "max_body", 2097152),
        ("maxBatchSize", 7, "max_batch", 7),
        ("healthPort", 80, "health_port", 80),
        ("signerCertDir", "/x", "signer_dir", "/x"),
        ("tls", {"certDir": "/x"}, "tls_dir", "/x"),
        ("corsAllowedOrigins", ["http://a", "*"], "origins", ("http://a", "*")),
    ],
)
def test_values_and_clamps(
    tmp_path: Path, tree: Tree, key: str, given: object, attribute: str, expected: object
) -> None:
    assert getattr(read(tmp_path, tree, **{f"server__{key}": given}).server, attribute) == expected


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"server__port": None}, "server port required"),
        ({"server__port": 80}, "server port must be between 1024 and 65535, got: 80"),
        ({"server__metricsPort": 80}, "server metricsPort must be between 1024 and 65535, got: 80"),
        ({"server__maxBatchSize": -1}, "server maxBatchSize must be positive, got: -1"),
        ({"server__maxBodySize": "5MiB"}, "invalid maxBodySize: 5MiB is not a number of bytes"),
        ({"server__readTimeout": "30"}, 'invalid readTimeout: time: missing unit in duration "30"'),
        (
            {"server__corsAllowedOrigins": ["a.example"]},
            "corsAllowedOrigins[0]: a.example is neither http(s)://... nor *",
        ),
        ({"logging__level": "loud"}, "invalid log level: loud (must be DEBUG, INFO, WARN, or ERROR)"),
        ({"database__maxOpenConns": -1}, "database maxOpenConns must be positive, got: -1"),
        ({"database__host": None}, "database host required"),
        ({"database__secretsFile": None}, "database secretsFile required (ADR-030 Section 6)"),
        ({"redis__addr": None}, "redis address required"),
        ({"environment": "production"}, "database sslMode must not be 'disable' in production"),
        ({"environment": "production", "database__sslMode": "require"}, "redis TLS must be enabled in production"),
    ],
)
def test_refusals(tmp_path: Path, tree: Tree, changes: dict[str, object], reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, tree, **changes)
    assert str(caught.value) == reason


@pytest.mark.parametrize("key", ["redis__tls__enabled", "server__rateLimit__enabled", "retention__enabled"])
def test_what_the_reference_service_lacks_is_refused_and_not_ignored(tmp_path: Path, tree: Tree, key: str) -> None:
    assert read(tmp_path, tree, **{key: False})
    with pytest.raises(ConfigError, match="the reference service does not have this"):
        read(tmp_path, tree, **{key: True})


@pytest.mark.parametrize("level", ["INFO", "Info", "info"])
def test_a_level_in_any_case(tmp_path: Path, tree: Tree, level: str) -> None:
    assert read(tmp_path, tree, logging__level=level).log_level == "info"


@pytest.mark.parametrize("key", ["connMaxLifetime", "connMaxIdleTime"])
def test_a_missing_lifetime_fails_late(tmp_path: Path, tree: Tree, key: str) -> None:
    config = read(tmp_path, tree, **{f"database__{key}": None})
    with pytest.raises(ValueError, match=f'^invalid {key}: time: invalid duration ""$'):
        config.database.pool()


@pytest.mark.parametrize(("mode", "valid"), [(None, False), ("", False), ("on", False), ("prefer", True)])
def test_the_mode_of_encryption_is_judged_late(tmp_path: Path, tree: Tree, mode: str | None, valid: bool) -> None:
    assert read(tmp_path, tree, database__sslMode=mode).database.ssl_mode_is_valid is valid


def test_ports_of_the_environment_come_after_validation(tmp_path: Path, tree: Tree) -> None:
    config = override_ports(read(tmp_path, tree), {"PORT": "80", "HEALTH_PORT": "no", "METRICS_PORT": "81"})
    assert (config.server.port, config.server.health_port, config.server.metrics_port) == (80, 8081, 9090)
