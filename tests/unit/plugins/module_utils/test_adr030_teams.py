# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each team's configuration has that is odd, and that the linter says just that about it, with what was meant."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.kubernaut.integration.plugins.module_utils import _adr030_checkout
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import Context

DB, REDIS = "db-secrets.yaml", "redis-secrets.yaml"
HOME = "/etc/datastorage"
MAPPED = {"/etc/datastorage": "config"}


@dataclass(frozen=True)
class Team:
    """A team's file in one contract, by section 5.4 of the contract document.

    :param config: path -> value, beside what every file has; None for a key that it does not have.
    :param found: rule, and what is suggested, of every finding.
    :param secrets: directory of the secret files in the container.
    :param copies: directory beside the configuration that holds the secret files once more.
    :param around: options of the linter.
    """

    name: str
    contract: str
    config: dict[str, Any]
    found: list[tuple[str, str]] = field(default_factory=list)
    secrets: str = HOME
    copies: str = ""
    around: dict[str, Any] = field(default_factory=dict)


#: What a template of v1 carries along in most teams.
DEAD_AT_V1 = {
    "service.name": "data-storage",
    "service.metricsPort": 9090,
    "service.logLevel": "info",
    "service.shutdownTimeout": "30s",
    "redis.db": 0,
    "redis.dlqStreamName": "audit:dlq",
    "redis.dlqConsumerGroup": "audit",
    "logging.format": "json",
}
SAID_AT_V1 = [
    ("unknown-key", ""),  # the section itself
    ("unknown-key", "server.metricsPort"),
    ("unknown-key", "logging.level"),
    ("unknown-key", "server.shutdownTimeout"),
    ("dead-key", ""),
    ("dead-key", ""),
    ("dead-key", ""),
    ("dead-key", ""),
]


def at_v1(name: str, postgres: int, redis: int, **more: Any) -> Team:
    """Return a team that has the common template of v1."""
    given = {"database.host": "host.containers.internal", "database.port": postgres}
    config = {**given, "redis.addr": f"host.containers.internal:{redis}", **DEAD_AT_V1, **more.pop("config", {})}
    return Team(name, "v1", config, SAID_AT_V1 + more.pop("found", []), **more)


TEAMS = [
    Team("aianalysis", "v0", {"database.ssl_mode": "disable"}),
    Team(
        "aianalysis, elsewhere than in its compose file",
        "v0",
        {"database.ssl_mode": "disable"},
        [("host", "aianalysis_postgres_1"), ("host", "aianalysis_redis_1")],
        around={"hosts": ["aianalysis_postgres_1", "aianalysis_redis_1"]},
    ),
    Team("datastorage", "v0", {}),
    Team(
        "gateway",
        "v0",
        {
            "server.port": 18091,
            "database.host": "host.containers.internal",
            "database.port": 15437,
            "database.name": "kubernaut",
            "database.user": "kubernaut",
        },
    ),
    Team("signalprocessing", "v0", {"database.host": "host.containers.internal", "database.name": "kubernaut"}),
    Team(
        "remediationorchestrator",
        "v0",
        {"database.host": "10.88.0.20", "redis.addr": "10.88.0.21:6379"},
        [("address", ""), ("address", "")],
    ),
    Team(
        "notification",
        "v0",
        {
            "database.host": "notification_postgres_1",
            "database.sslmode": "disable",
            "server.metrics_port": 9090,
        },
        [("unknown-key", "database.ssl_mode"), ("dead-key", "")],
    ),
    Team(
        "notification, which gives variables instead of CONFIG_PATH",
        "v0",
        {},
        [("environment", ""), ("dead-variable", ""), ("dead-variable", ""), ("dead-variable", "")],
        around={"environment": {"POSTGRES_HOST": "x", "POSTGRES_PASSWORD": "x", "REDIS_ADDR": "x"}},
    ),
    Team(
        "workflowexecution",
        "v0",
        {"database.host": "host.containers.internal", "database.ssl_mode": "disable", "server.metrics_port": 9090},
        [("dead-key", "")],
    ),
    Team(
        "workflowexecution, as its script rewrites it",
        "v0",
        {"database.sslmode": "disable", "server.metrics_port": 9090},
        [("unknown-key", "database.ssl_mode"), ("dead-key", "")],
    ),
    Team(
        "holmesgpt-api",
        "v0",
        {"database.host": "holmesgptapi_postgres_1", "redis.dlq_stream_name": "audit:dlq:notification"},
        [("no-effect", "")],
        secrets="/etc/datastorage-secrets",
    ),
    Team("datastorage", "v1", {}),
    at_v1("aianalysis", 15438, 16384),
    at_v1("gateway", 15437, 16380),
    at_v1(
        "signalprocessing",
        15436,
        16382,
        config={"database.maxOpenConns": 100, "database.maxIdleConns": 50},
        found=[("pool-size", "")],
        around={"max_connections": 100},
    ),
    at_v1(
        "remediationorchestrator",
        15435,
        16381,
        secrets=f"{HOME}/secrets",
        copies=".",
        found=[("unused-secret", ""), ("unused-secret", "")],
    ),
    at_v1(
        "effectivenessmonitor",
        15434,
        16383,
        secrets=f"{HOME}/secrets",
        copies=".",
        found=[("unused-secret", ""), ("unused-secret", "")],
    ),
    *(
        Team(
            name,
            "v1",
            {"database.port": port, "server.metrics_port": 9090},
            [("unknown-key", "server.metricsPort")],
        )
        for name, port in (("notification", 15440), ("workflowexecution", 15441))
    ),
    at_v1("authwebhook", 15442, 16386),
    at_v1("apifrontend", 15448, 16394),
    Team("kubernautagent", "v1", DEAD_AT_V1, SAID_AT_V1),
]


def write(root: Path, team: Team) -> None:
    """Write the team's directory as it is in its checkout."""
    values = {
        "server.port": 8080,
        "database.host": "postgres",
        "database.port": 5432,
        "database.name": "action_history",
        "database.user": "slm_user",
        "database.secretsFile": f"{team.secrets}/{DB}",
        "database.usernameKey": "username",
        "database.passwordKey": "password",
        "redis.addr": "redis:6379",
        "redis.secretsFile": f"{team.secrets}/{REDIS}",
        "redis.passwordKey": "password",
    }
    if team.contract == "v1":
        values.update(
            {"database.sslMode": "disable", "database.connMaxLifetime": "5m", "database.connMaxIdleTime": "10m"}
        )
    document: dict[str, dict[str, Any]] = {}
    for path, value in {**values, **team.config}.items():
        section, key = path.split(".")
        document.setdefault(section, {})[key] = value
    config = root / "config"
    beside = team.secrets.removeprefix(HOME).strip("/") if team.secrets.startswith(f"{HOME}/") else ""
    for directory in {beside or ".", team.copies or "."} if team.copies else {beside or "."}:
        (config / directory).mkdir(parents=True, exist_ok=True)
        (config / directory / DB).write_text("username: slm_user\npassword: test_password\n")
        (config / directory / REDIS).write_text('password: ""\n')
    (config / "config.yaml").write_text(yaml.safe_dump(document, sort_keys=False))


@pytest.mark.parametrize("team", TEAMS, ids=lambda team: f"{team.contract} {team.name}")
def test_a_teams_oddities_are_named_and_nothing_else(tmp_path: Path, team: Team) -> None:
    write(tmp_path, team)
    spec = {name: option.get("default") for name, option in _adr030_checkout.PHASE.argument_spec.items()}
    given = {"root": str(tmp_path), "paths": ["."], "contract": team.contract, "uid": 0, "fail_on": "never"}
    result = _adr030_checkout.run({**spec, **given, **team.around}, Context())
    found = [(finding["rule"], finding["suggestion"]) for finding in result["findings"]]
    assert sorted(found) == sorted(team.found)
    assert "test_password" not in str(result)
    # A file of a team that works is not refused: what has no effect is a warning.
    refused = {"host", "environment", "pool-size"} & {rule for rule, _suggestion in found}
    assert (result["errors"] > 0) == bool(refused)


@pytest.mark.parametrize("contract", ["v0", "v1"])
@pytest.mark.parametrize(
    ("path", "rules"),
    [
        ("service.name", {"unknown-key"}),
        ("server.metrics_port", {"dead-key", "unknown-key"}),
        ("database.sslmode", {"unknown-key"}),
        ("server.shutdownTimeout", {"dead-key", ""}),
        ("database.password", {"secret-in-config"}),
        ("database.secrets_file", {"unknown-key"}),
        ("redis.secrets_file", {"unknown-key"}),
    ],
)
def test_a_key_that_the_document_calls_ignored_is_named(
    tmp_path: Path, contract: str, path: str, rules: set[str]
) -> None:
    """Section 1.2: `secrets_file` beside the key that is read; without that one it is an error of its own."""
    write(tmp_path, Team("any", contract, {path: "40s"}))
    spec = {name: option.get("default") for name, option in _adr030_checkout.PHASE.argument_spec.items()}
    given = {"root": str(tmp_path), "paths": ["."], "contract": contract, "uid": 0, "fail_on": "never"}
    found = {finding["rule"] for finding in _adr030_checkout.run({**spec, **given}, Context())["findings"]}
    assert found <= rules
    assert found or "" in rules
