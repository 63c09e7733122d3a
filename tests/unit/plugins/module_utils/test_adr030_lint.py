# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The linter of one configuration: teams' oddities, the service's refusals foretold, no secret in a finding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.kubernaut.integration.plugins.module_utils import _adr030_lint, _causes
from ansible_collections.kubernaut.integration.plugins.module_utils import _adr030_names as names
from ansible_collections.kubernaut.integration.plugins.module_utils._adr030_lint import Config, Finding, Surroundings

#: What a team's file at least has; the same for both contracts but for the last three, which v1 needs.
BASE = {
    "server.port": 8080,
    "database.host": "postgres",
    "database.port": 5432,
    "database.name": "action_history",
    "database.user": "slm_user",
    "database.secretsFile": "/etc/datastorage/db-secrets.yaml",
    "database.usernameKey": "username",
    "database.passwordKey": "password",
    "redis.addr": "redis:6379",
    "redis.secretsFile": "/etc/datastorage/redis-secrets.yaml",
    "redis.passwordKey": "password",
}
NEEDED_BY_V1 = {"database.sslMode": "disable", "database.connMaxLifetime": "5m", "database.connMaxIdleTime": "10m"}
FILES = {"db-secrets.yaml": "username: slm_user\npassword: s3cr3t\n", "redis-secrets.yaml": 'password: ""\n'}
MOUNTED = {"/etc/datastorage": "."}


def tree(values: dict[str, Any]) -> dict[str, Any]:
    """Return nested mappings from paths; None leaves a key out."""
    found: dict[str, Any] = {}
    for path, value in values.items():
        *sections, last = path.split(".")
        inner = found
        for section in sections:
            inner = inner.setdefault(section, {})
        if value is not None:
            inner[last] = value
    return found


def lint(
    home: Path,
    changes: dict[str, Any] | str,
    contract: str = "v0",
    files: dict[str, str] | None = None,
    **around: Any,
) -> Config:
    """Write a configuration with its secret files, and lint it; a text is one as it is."""
    needed = NEEDED_BY_V1 if contract in ("v1", "both") else {}
    text = changes if isinstance(changes, str) else yaml.safe_dump(tree({**BASE, **needed, **changes}), sort_keys=False)
    (home / "config.yaml").write_text(text)
    for name, content in {**FILES, **(files or {})}.items():
        (home / name).write_text(content)
    return Config(str(home / "config.yaml"), text, contract, Surroundings(str(home), **around))


def found(config: Config) -> list[tuple[str, str]]:
    """Return rule and message of every finding."""
    return [(finding.rule, finding.message) for finding in config.findings]


# Keys that are not read


@pytest.mark.parametrize(
    ("contract", "path", "who"),
    [
        ("v0", "server.port", "contract v0"),
        # What team files of v0 lack, judged by a contract that somebody must be told.
        ("v1", "database.sslMode", "contract v1"),
        ("auto", "server.port", "the service"),
        ("both", "server.port", "the service"),
    ],
)
def test_a_missing_key_says_who_misses_it(tmp_path: Path, contract: str, path: str, who: str) -> None:
    changes = {path: None} if contract != "auto" else {path: None, "database.ssl_mode": None}
    (finding,) = lint(tmp_path, changes, contract).findings
    assert (finding.rule, finding.message) == ("missing-key", f"`{path}` is missing: {who} does not start without it")


@pytest.mark.parametrize("contract", ["v0", "v1", "both"])
def test_nothing_is_wrong_with_a_good_file(tmp_path: Path, contract: str) -> None:
    config = lint(tmp_path, {}, contract, hosts=["postgres", "redis"], max_connections=28, uid=1001)
    assert (config.findings, config.notes, config.contract) == ([], [], contract)


#: Contract, key, rule, key that is suggested, what is said beside. First what teams have, then what people write.
ODDITIES = [
    ("v0", "database.sslmode", "unknown-key", "database.ssl_mode", "did you mean `ssl_mode`?"),
    ("v1", "database.sslmode", "unknown-key", "database.sslMode", "`database.sslMode` in line "),
    ("v0", "server.metrics_port", "dead-key", "", "v0 serves its metrics at /metrics of server.port."),
    ("v1", "server.metrics_port", "unknown-key", "server.metricsPort", "did you mean `metricsPort`?"),
    ("v0", "service.metricsPort", "dead-key", "", "v0 serves its metrics at /metrics of server.port."),
    ("v1", "service.metricsPort", "unknown-key", "server.metricsPort", "did you mean `server.metricsPort`?"),
    ("v0", "service.logLevel", "unknown-key", "logging.level", "did you mean `logging.level`?"),
    ("v1", "service.logLevel", "unknown-key", "logging.level", "did you mean `logging.level`?"),
    ("v0", "service.shutdownTimeout", "dead-key", "", "SHUTDOWN_TIMEOUT"),
    ("v1", "service.shutdownTimeout", "unknown-key", "server.shutdownTimeout", "`server.shutdownTimeout`?"),
    ("v0", "server.shutdownTimeout", "dead-key", "", "SHUTDOWN_TIMEOUT"),
    ("v0", "redis.dlq_stream_name", "no-effect", "", "always audit:dlq:events"),
    ("v0", "redis.dlqStreamName", "dead-key", "", "always audit:dlq:events"),
    ("v1", "redis.dlqStreamName", "dead-key", "", "always audit:dlq:events"),
    ("v1", "redis.dlq_stream_name", "dead-key", "", "always audit:dlq:events"),
    ("v0", "redis.dlq_consumer_group", "no-effect", "", "v0 has no consumer"),
    ("v1", "redis.dlqConsumerGroup", "dead-key", "", "data-storage-retry-workers"),
    ("v1", "redis.db", "dead-key", "", "v1 always uses database 0."),
    ("v1", "logging.format", "dead-key", "", "v1 always writes JSON."),
    ("v0", "database.secrets_file", "unknown-key", "database.secretsFile", "`database.secretsFile` in line "),
    ("v0", "database.sslMode", "wrong-spelling", "database.ssl_mode", "contract v0 reads `ssl_mode`"),
    ("v1", "server.read_timeout", "wrong-spelling", "server.readTimeout", "spelling of contract v0"),
    ("v1", "redis.dlq_max_len", "wrong-spelling", "redis.dlqMaxLen", ""),
    ("v0", "redis.max_retries", "unknown-key", "", "`redis.max_retries` is not read"),
    ("v0", "redis.pool_size", "unknown-key", "", "`redis.pool_size` is not read"),
    ("v0", "database.enabled", "unknown-key", "", "`database.enabled` is not read"),
    ("v0", "database.dbname", "unknown-key", "database.name", "`database.name` in line "),
    ("v0", "database.username", "unknown-key", "database.user", ""),
    ("v0", "redis.host", "unknown-key", "redis.addr", ""),
    ("v1", "redis.address", "unknown-key", "redis.addr", ""),
    ("v1", "database.max_connections", "unknown-key", "database.maxOpenConns", "did you mean `maxOpenConns`?"),
    ("v1", "database.maxOpenConnections", "unknown-key", "database.maxOpenConns", ""),
    ("v1", "Server.port", "unknown-key", "server.port", ""),
    ("v1", "server.Port", "unknown-key", "server.port", ""),
    ("v1", "server.cors_allowed_origins", "unknown-key", "server.corsAllowedOrigins", ""),
    ("v1", "server.statementTimeout", "unknown-key", "database.statementTimeout", ""),
    ("v0", "log_level", "unknown-key", "logging.level", ""),
    ("v0", "name", "unknown-key", "", "`name` is not read"),
    ("v0", "redis_addr", "unknown-key", "redis.addr", ""),
    ("v0", "retention.enabled", "dead-key", "", "v0 removes nothing."),
]  # fmt: skip


@pytest.mark.parametrize(("contract", "path", "rule", "suggestion", "said"), ODDITIES)
def test_the_key_that_is_meant(tmp_path: Path, contract: str, path: str, rule: str, suggestion: str, said: str) -> None:
    config = lint(tmp_path, {path: "x"}, contract)
    (finding,) = [one for one in config.findings if f"`{path}`" in one.message and "what is in it" not in one.message]
    assert (finding.rule, finding.suggestion, finding.severity) == (rule, suggestion, "warning")
    assert said in finding.message
    line = (tmp_path / "config.yaml").read_text().splitlines()[finding.line - 1]
    assert line[finding.column - 1 :].startswith(path.rpartition(".")[2] + ":")


def test_a_section_that_is_not_read_is_named_once(tmp_path: Path) -> None:
    config = lint(tmp_path, {"service.name": "data-storage", "service.inner.name": "x", "embedding.url": "http://x"})
    assert found(config) == [
        ("unknown-key", "`service` and what is in it is not read"),
        ("unknown-key", "`embedding` and what is in it is not read"),
    ]


@pytest.mark.parametrize(
    ("contract", "path", "needed"),
    [
        ("v0", "database.secrets_file", "database.secretsFile"),
        ("v0", "redis.password_key", "redis.passwordKey"),
        ("v0", "database.dbname", "database.name"),
        ("v0", "redis.address", "redis.addr"),
        ("v1", "database.ssl_mode", "database.sslMode"),
        ("v1", "database.conn_max_lifetime", "database.connMaxLifetime"),
    ],
)
def test_a_key_that_is_missing_because_it_is_misspelt_is_one_error(
    tmp_path: Path, contract: str, path: str, needed: str
) -> None:
    (finding,) = lint(tmp_path, {needed: None, path: "5m"}, contract).findings
    assert (finding.rule, finding.suggestion) == ("missing-key", needed)
    assert finding.message == f"`{path}` is not read, and `{needed}` is missing"
    assert finding.predicts


def test_both_spellings_are_good_for_either_contract_and_for_both(tmp_path: Path) -> None:
    changes = {
        "database.ssl_mode": "disable",
        "database.sslMode": "disable",
        "redis.dlq_max_len": 7,
        "redis.dlqMaxLen": 7,
    }
    for contract in ("v0", "v1", "both"):
        assert lint(tmp_path, {**NEEDED_BY_V1, **changes}, contract).findings == [] or contract == "v0"
    rules = {finding.rule for finding in lint(tmp_path, {**NEEDED_BY_V1, **changes}, "v0").findings}
    assert rules == {"wrong-spelling"}  # the lifetimes, of which v0 has its own


@pytest.mark.parametrize(
    ("contract", "path", "value", "rule"),
    [
        ("v0", "database.max_open_conns", 50, "no-effect"),
        ("v0", "database.max_open_conns", 25, ""),
        ("v0", "logging.level", "debug", "no-effect"),
        ("v0", "logging.format", "console", ""),
        ("v0", "redis.db", 1, "no-effect"),
        ("v0", "redis.db", 0, ""),
        ("v1", "server.shutdownTimeout", "10s", "clamped"),
        ("v1", "server.shutdownTimeout", "1m", ""),
        ("v1", "server.host", "127.0.0.1", "no-effect"),
        ("both", "logging.level", "debug", ""),
        ("both", "server.endpointPropagationDelay", "0s", "clamped"),
        ("both", "server.host", "127.0.0.1", "no-effect"),
    ],
)
def test_values_that_are_not_followed(tmp_path: Path, contract: str, path: str, value: Any, rule: str) -> None:
    assert [finding.rule for finding in lint(tmp_path, {path: value}, contract).findings] == ([rule] if rule else [])


@pytest.mark.parametrize(
    ("paths", "contract"),
    [
        (["database.ssl_mode"], "v0"),
        (["database.sslMode"], "v1"),
        (["server.healthPort"], "v1"),
        (["database.sslmode", "server.metrics_port"], names.UNDETERMINED),
        (["logging.format", "redis.db", "database.sslMode"], "v1"),
        (["logging.format"], names.UNDETERMINED),
        (["database.ssl_mode", "database.sslMode"], "both"),
        (["database.ssl_mode", "server.readTimeout"], names.UNDETERMINED),
        (["database.ssl_mode", "redis.dlq_max_len", "server.readTimeout"], "v0"),
        ([], names.UNDETERMINED),
    ],
)
def test_the_contract_is_told_from_the_keys(paths: list[str], contract: str) -> None:
    assert names.contract_of(dict.fromkeys(paths)) == contract


def test_where_the_contract_is_not_known_only_what_is_wrong_in_both_is_named(tmp_path: Path) -> None:
    config = lint(tmp_path, {"database.sslmode": "disable", "server.port": 80, "logging.format": "json"}, "auto")
    assert config.contract == names.UNDETERMINED
    assert [finding.rule for finding in config.findings] == ["unknown-key", "value", "no-effect"]
    assert "did you mean `ssl_mode` (v0) or `sslMode` (v1)?" in config.findings[0].message
    assert "do not tell the contract" in config.notes[0]
    assert sorted(config.effective) == ["v0", "v1"]


# What the service will say


def v0(changes: dict[str, Any], says: str, files: dict[str, str] | None = None, **around: Any) -> Any:
    return pytest.param("v0", changes, says, files or {}, around, id="v0 " + says)


def v1(changes: dict[str, Any], says: str, files: dict[str, str] | None = None, **around: Any) -> Any:
    return pytest.param("v1", changes, says, files or {}, around, id="v1 " + says)


DB, REDIS = "db-secrets.yaml", "redis-secrets.yaml"
ADR = " (ADR-030 Section 6)"
HOSTS = {"hosts": ["workflowexecution_postgres_1", "workflowexecution_redis_1"]}
#: Every failure of the service's own that its configuration brings about, in its words.
FORETOLD = [
    v0({"server": "x"}, "failed to parse config:"),
    v0({"database.secretsFile": None}, "database secretsFile required" + ADR),
    v0({"database.passwordKey": None}, "database passwordKey required" + ADR),
    v0({"redis.secretsFile": None}, "redis secretsFile required"),
    v0({"redis.passwordKey": None}, "redis passwordKey required"),
    v0({"database.secretsFile": "/etc/datastorage/no.yaml"}, "failed to read secret file"),
    v0({"database.secretsFile": "/elsewhere/db.yaml"}, "failed to read secret file"),
    v0({}, "failed to parse secret file as YAML or JSON", {DB: "- password\n"}),
    v0({}, "password key 'password' not found in database secret file", {DB: "pass: x\n"}),
    v0({}, "password key 'password' not found in redis secret file", {REDIS: "{}\n"}),
    v0({}, "database password key 'password' in secret file is not a string", {DB: "password: 12345\n"}),
    v0({}, "database username key 'username' in secret file is not a string", {DB: "username: 7\npassword: x\n"}),
    v0({}, "redis password key 'password' in secret file is not a string", {REDIS: "password:\n"}),
    v0({"redis.addr": None}, "redis address required"),
    v0({"server.port": None}, "server port required"),
    v0({"server.port": 80}, "server port must be between 1024 and 65535, got: 80"),
    v0({"database.port": 65536}, "database port must be between 1 and 65535, got: 65536"),
    v0({"database.host": None}, "database host required"),
    v0({"database.port": None}, "database port required"),
    v0({"database.name": None}, "database name required"),
    v0({"database.user": None, "database.usernameKey": None}, "database user required"),
    v0({"logging.level": "INFO"}, "invalid log level: INFO (must be debug, info, warn, or error)"),
    v0({"logging.format": "text"}, "invalid log format: text"),
    v0({"server.read_timeout": 30}, "invalid read_timeout"),
    v0({"server.write_timeout": "x"}, "invalid write_timeout"),
    v0({"database.conn_max_lifetime": "1d"}, "invalid conn_max_lifetime"),
    v0({"database.conn_max_idle_time": "s"}, "invalid conn_max_idle_time"),
]
#: What the reference service, which speaks contract v0, does not say, or not because of its configuration alone.
FORETOLD_BEYOND = [
    v0({}, "database user required", {DB: 'username: ""\npassword: x\n'}),
    v0({"database.host": "localhost"}, "failed to ping PostgreSQL:", **HOSTS),
    v0({"database.host": "workflowexecution-postgres_1"}, "failed to ping PostgreSQL:", **HOSTS),
    v0({"redis.addr": "redis:6379"}, "failed to connect to Redis:", **HOSTS),
    v1({"database.host": "postgres"}, "failed to ping PostgreSQL:", **HOSTS),
    v1({"database.connMaxLifetime": None}, "invalid connMaxLifetime"),
    v1({"database.connMaxIdleTime": "1d"}, "invalid connMaxIdleTime"),
    v1({"database.sslMode": None}, "sslmode is invalid"),
    v1({}, "signing certificate not found at /etc/certs/tls.crt"),
    v1({"logging.level": "loud"}, "invalid log level: loud"),
    v1({"database.secretsFile": None}, "database secretsFile required" + ADR),
    v1({}, "database password key 'password' in secret file is not a string", {DB: "password: true\n"}),
    v1({"server.healthPort": 9090}, "bind: address already in use"),
    v1(
        {"audit.hashKeySecretsFile": "/etc/datastorage/db-secrets.yaml", "audit.hashKeyKey": "hmac"},
        "hash key 'hmac' not found in audit secret file",
    ),
]


@pytest.mark.parametrize(("contract", "changes", "says", "files", "around"), [*FORETOLD, *FORETOLD_BEYOND])
def test_what_the_service_will_say_is_foretold_and_has_a_cause(
    tmp_path: Path, contract: str, changes: dict[str, Any], says: str, files: dict[str, str], around: dict[str, Any]
) -> None:
    text = "server: x\n" if "server" in changes else changes
    config = lint(tmp_path, text, contract, files, mounts=MOUNTED, **around)
    telling = [finding for finding in config.findings if says in finding.predicts]
    assert telling
    assert {finding.severity for finding in telling} == {"error"}
    log = telling[0].predicts + (" lookup x on 10.89.0.1:53: no such host" if "hosts" in around else "")
    evidence = _causes.Evidence(subject=_causes.DATASTORAGE, state="exited", log=(log,), exit_code=1)
    # The driver's words come within others, by which the gate goes.
    assert _causes.explain(evidence).id != _causes.UNKNOWN or "sslmode" in says


# Secrets, files, hosts


@pytest.mark.parametrize(
    ("path", "value", "shown"),
    [
        ("database.host", "postgresql://u:S3cret@db", "postgresql://********@db"),
        ("database.host", "u:S3/cr@et@db", "********@db"),
        ("redis.addr", "redis://:S3cret@redis:6379", "redis://********@redis:6379"),
        ("server.host", "http://u:S3cret@x", "0.0.0.0"),
    ],
)
def test_a_login_in_an_address_is_a_secret_and_shown_nowhere(tmp_path: Path, path: str, value: str, shown: str) -> None:
    config = lint(tmp_path, {path: value}, hosts=["postgres", "redis"])
    assert ("secret-in-config", "error") in [(one.rule, one.severity) for one in config.findings]
    assert config.effective["v0"][path] == shown
    assert "S3" not in str((config.findings, config.notes, config.effective))


@pytest.mark.parametrize("host", ["db", "a_b-c.d", "127.0.0.1", "::1", "[::1]", "fe80::1%eth0", "/var/run/postgresql"])
def test_a_host(tmp_path: Path, host: str) -> None:
    assert "value" not in {finding.rule for finding in lint(tmp_path, {"database.host": host}).findings}


@pytest.mark.parametrize("host", ["tcp://db", "db:5432", "db/x", "u@db", "a b", "[db]", "1::2::3"])
def test_what_is_no_host(tmp_path: Path, host: str) -> None:
    (finding,) = lint(tmp_path, {"database.host": host}, hosts=["postgres", "redis"]).findings
    assert (finding.rule, finding.severity) == ("value", "error")
    assert "must be a host name or an address" in finding.message or "must be printable" in finding.message


@pytest.mark.parametrize(
    ("contract", "files", "rule", "where"),
    [
        ("v0", {DB: "username: slm_user\npassword: 's3cr3t word'\n"}, "secret-value", (DB, 2, 11)),
        ("v0", {DB: "password: ''\nusername: slm_user\n"}, "secret-value", (DB, 1, 11)),
        ("v1", {DB: "password: s3cr3t'\nusername: slm_user\n"}, "secret-value", (DB, 1, 11)),
        ("v0", {DB: "username: a b\npassword: s3cr3t\n"}, "value", (DB, 1, 11)),
        ("v0", {DB: "username: slm_user\npassword: 1234567\n"}, "secret-type", (DB, 2, 11)),
        ("v0", {DB: "username: slm_user\npassword: [s3cr3t\n"}, "secret-file", (DB, 3, 1)),
        ("v0", {DB: "s3cr3t"}, "secret-file", (DB, 1, 1)),
        ("v0", {DB: "username: slm_user\npasswort: s3cr3t\n"}, "secret-key", ("config.yaml", 10, 3)),
    ],
)
def test_secret_files_are_judged_without_being_shown(
    tmp_path: Path, contract: str, files: dict[str, str], rule: str, where: tuple[str, int, int]
) -> None:
    config = lint(tmp_path, {}, contract, files)
    (finding,) = config.findings
    assert (finding.rule, (finding.file, finding.line, finding.column)) == (rule, where)
    assert not any(secret in str((finding, config.effective)) for secret in ("s3cr3t", "1234567"))


def test_a_key_of_the_secret_file_that_is_nearly_right_is_suggested(tmp_path: Path) -> None:
    (finding,) = lint(tmp_path, {}, files={DB: "username: u\npasswort: x\n"}).findings
    assert finding.suggestion == "passwort"


def test_a_user_that_the_secret_file_does_not_have_is_taken_from_the_configuration(tmp_path: Path) -> None:
    config = lint(tmp_path, {}, files={DB: "password: x\n"})
    assert found(config) == [
        ("no-effect", f"`database.usernameKey` has no effect: {DB} has no key `username`, so `database.user` is used")
    ]


@pytest.mark.parametrize(
    "path", ["database.password", "redis.password", "redis_password", "database.Passwd", "x.token"]
)
def test_a_secret_in_the_main_file_is_an_error_and_not_shown(tmp_path: Path, path: str) -> None:
    config = lint(tmp_path, {path: "s3cr3t"})
    (finding,) = [one for one in config.findings if one.rule != "unknown-key"]
    assert (finding.rule, finding.severity) == ("secret-in-config", "error")
    assert "s3cr3t" not in str((config.findings, config.effective))


def test_an_empty_password_in_the_main_file_is_no_secret(tmp_path: Path) -> None:
    assert [finding.rule for finding in lint(tmp_path, {"redis.password": ""}).findings] == ["unknown-key"]


def test_secret_files_are_found_as_teams_keep_them(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / DB).write_text("password: 5\n")
    config = lint(tmp_path, {"database.secretsFile": f"/etc/datastorage/secrets/{DB}"})
    assert (f"secrets/{DB}", "secret-type") in [(finding.file, finding.rule) for finding in config.findings]
    config = lint(tmp_path, {"database.secretsFile": "/app/elsewhere.yaml"})
    assert config.findings == []
    assert config.notes == ["/app/elsewhere.yaml was not found near it, so it was not looked into"]


def test_an_encrypted_secret_file_is_left_alone(tmp_path: Path) -> None:
    config = lint(tmp_path, {}, files={DB: "$ANSIBLE_VAULT;1.1;AES256\n3132\n"})
    assert config.findings == []
    assert "is encrypted" in config.notes[0]


@pytest.mark.parametrize(
    ("mode", "owner", "uid", "good"),
    [
        (0o644, None, 1001, True),
        (0o600, None, 1001, False),
        (0o400, 1001, 1001, True),
        (0o040, 1001, 1001, False),
        (0o600, None, 0, True),
        (0o600, None, None, True),
    ],
)
def test_files_that_the_containers_user_may_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, owner: int | None, uid: int | None, good: bool
) -> None:
    lint(tmp_path, {})
    stat = _adr030_lint.os.stat

    def stated(path: str) -> Any:
        result = list(stat(path))
        result[0], result[4], result[5] = 0o100000 | mode, owner or 0, owner or 0
        return _adr030_lint.os.stat_result(result)

    monkeypatch.setattr(_adr030_lint.os, "stat", stated)
    around = Surroundings(str(tmp_path), uid=uid)
    config = Config(str(tmp_path / "config.yaml"), (tmp_path / "config.yaml").read_text(), "v0", around)
    assert sorted(finding.file for finding in config.findings) == ([] if good else ["config.yaml", DB, REDIS])
    assert {finding.rule for finding in config.findings} <= {"unreadable"}


@pytest.mark.parametrize(
    ("host", "hosts", "rule", "suggestion"),
    [
        ("postgres", ["postgres", "redis"], "", ""),
        ("host.containers.internal", ["redis"], "", ""),
        ("notification_postgres_1", ["wf_postgres_1", "redis"], "host", "wf_postgres_1"),
        (
            "postgres",
            ["workflowexecution_postgres_1", "workflowexecution_redis_1", "redis"],
            "host",
            "workflowexecution_postgres_1",
        ),
        ("db", ["workflowexecution_postgres_1", "redis"], "host", ""),
        ("x-postgres-service", ["a_postgres_1", "b_postgres_1", "redis"], "host", ""),
        ("localhost", ["postgres", "redis"], "host", ""),
        ("127.0.0.1", ["postgres", "redis"], "host", ""),
        ("localhost", [], "", ""),
        ("10.88.0.20", [], "address", ""),
        ("10.88.0.20", ["postgres", "redis"], "address", ""),
        ("10.88.0.20", ["10.88.0.20", "redis"], "", ""),
        ("::1", ["redis"], "host", ""),
    ],
)
def test_hosts(tmp_path: Path, host: str, hosts: list[str], rule: str, suggestion: str) -> None:
    config = lint(tmp_path, {"database.host": host}, hosts=hosts)
    assert [(finding.rule, finding.suggestion) for finding in config.findings] == ([(rule, suggestion)] if rule else [])


@pytest.mark.parametrize("addr", ["redis", ":6379", "redis:", "redis:x", "a b:1"])
def test_the_address_of_redis_has_a_port(tmp_path: Path, addr: str) -> None:
    (finding,) = lint(tmp_path, {"redis.addr": addr}).findings
    assert (finding.rule, finding.message) == ("value", "`redis.addr` must be host:port, such as redis:6379")


def test_the_signing_certificate_is_looked_for_where_mounts_are_known(tmp_path: Path) -> None:
    (tmp_path / "certs").mkdir()
    mounts = {**MOUNTED, "/etc/certs": "certs"}
    changes = {"server.signerCertDir": "/etc/certs/"}
    assert [finding.rule for finding in lint(tmp_path, changes, "v1", mounts=mounts).findings] == ["signer", "signer"]
    for name in ("tls.crt", "tls.key"):
        (tmp_path / "certs" / name).write_text("")
    assert lint(tmp_path, changes, "v1", mounts=mounts).findings == []
    assert lint(tmp_path, changes, "v1").findings == []


def test_a_pool_that_exhausts_the_server(tmp_path: Path) -> None:
    (finding,) = lint(tmp_path, {"database.maxOpenConns": 100}, "v1", max_connections=100).findings
    assert finding.rule == "pool-size"


@pytest.mark.parametrize(
    ("text", "rule", "where"),
    [
        ("database: [\n", "syntax", (2, 1)),
        ("database:\n  host: a\n  host: b\n", "syntax", (3, 3)),
        ("- a\n", "type", (1, 1)),
        ("just text\n", "type", (1, 1)),
    ],
)
def test_a_file_that_cannot_be_judged(tmp_path: Path, text: str, rule: str, where: tuple[int, int]) -> None:
    (finding,) = lint(tmp_path, text).findings
    assert (finding.rule, (finding.line, finding.column)) == (rule, where)
    assert finding.predicts == "failed to parse config:"


def test_a_wrong_type_is_named_once_and_no_other_thing_about_it(tmp_path: Path) -> None:
    config = lint(tmp_path, {"server.port": "8080", "logging": ["x"]}, "both")
    assert sorted(found(config)) == [
        ("type", "`logging` is a list and must be a mapping"),
        ("type", "`server.port` is text and must be a whole number"),
    ]


def test_an_empty_file_lacks_everything(tmp_path: Path) -> None:
    config = lint(tmp_path, "")
    assert {finding.rule for finding in config.findings} == {"missing-key"}
    assert {(finding.line, finding.column) for finding in config.findings} == {(1, 1)}


def test_what_comes_after_the_first_document_is_named(tmp_path: Path) -> None:
    text = yaml.safe_dump(tree(BASE)) + "---\nserver: {port: 9999}\n"
    (finding,) = lint(tmp_path, text).findings
    assert (finding.rule, finding.line) == ("second-document", text.splitlines().index("---") + 1)


def test_a_finding_is_one_line_that_editors_understand() -> None:
    finding = Finding("a/b.yaml", 3, 5, "unknown-key", "`x` is not read")
    assert str(finding) == "a/b.yaml:3:5: warning: `x` is not read [unknown-key]"
    assert finding.as_result()["severity"] == "warning"
