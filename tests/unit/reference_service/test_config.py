# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Configuration: what is read, what is refused, and in which words."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from reference_datastorage.config import ConfigError, load

Tree = dict[str, Any]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A complete configuration whose secret files exist."""
    (tmp_path / "db.yaml").write_text("username: secret_user\npassword: secret-word\n")
    (tmp_path / "redis.yaml").write_text('password: ""\n')
    return {
        "server": {"port": 8080},
        "database": {
            "host": "postgres",
            "port": 5432,
            "name": "action_history",
            "user": "slm_user",
            "ssl_mode": "disable",
            "secretsFile": str(tmp_path / "db.yaml"),
            "passwordKey": "password",
        },
        "redis": {"addr": "redis:6379", "secretsFile": str(tmp_path / "redis.yaml"), "passwordKey": "password"},
    }


def write(tmp_path: Path, tree: object) -> str:
    path = tmp_path / "config.yaml"
    path.write_text(tree if isinstance(tree, str) else yaml.safe_dump(tree))
    return str(path)


def change(tree: Tree, dotted: str, value: object) -> None:
    """Set a key, or remove it if the value is None."""
    section, key = dotted.split(".")
    tree.setdefault(section, {})
    if value is None:
        del tree[section][key]
    else:
        tree[section][key] = value


def test_defaults(tmp_path: Path, tree: Tree) -> None:
    config = load(write(tmp_path, tree))
    assert config.server.read_timeout == timedelta(seconds=30)
    assert config.redis.dlq_max_len == 10_000
    assert config.log_level == ""
    assert config.database.user == "slm_user"
    assert config.redis.password == ""


def test_every_live_key(tmp_path: Path, tree: Tree) -> None:
    for dotted, value in {
        "server.host": "0.0.0.0",
        "server.read_timeout": "5s",
        "server.write_timeout": "1m",
        "logging.level": "debug",
        "logging.format": "console",
        "database.usernameKey": "username",
        "database.max_open_conns": 25,
        "database.conn_max_lifetime": "5m",
        "database.conn_max_idle_time": "10m",
        "redis.db": 0,
        "redis.dlq_max_len": 7,
    }.items():
        change(tree, dotted, value)
    config = load(write(tmp_path, tree))
    assert (config.server.host, config.server.read_timeout) == ("0.0.0.0", timedelta(seconds=5))
    assert (config.log_level, config.redis.dlq_max_len) == ("debug", 7)
    assert config.database.user == "secret_user"


def test_unknown_keys_are_ignored_and_keys_are_case_sensitive(tmp_path: Path, tree: Tree) -> None:
    for dotted, value in {"server.metrics_port": 9090, "database.sslmode": "require", "service.name": "x"}.items():
        change(tree, dotted, value)
    change(tree, "database.ssl_mode", None)
    change(tree, "database.sslMode", "require")
    assert load(write(tmp_path, tree)).database.ssl_mode == ""


def test_a_username_key_that_the_secret_lacks_is_ignored(tmp_path: Path, tree: Tree) -> None:
    change(tree, "database.usernameKey", "login")
    assert load(write(tmp_path, tree)).database.user == "slm_user"


def test_a_secret_may_be_json_with_tabs(tmp_path: Path, tree: Tree) -> None:
    (tmp_path / "db.yaml").write_text("{\n\t" + json.dumps("password") + ': "from-json"\n}')
    assert load(write(tmp_path, tree)).database.password == "from-json"


def test_text_keys_take_any_scalar_as_written(tmp_path: Path, tree: Tree) -> None:
    text = yaml.safe_dump(tree).replace("action_history", "0123")
    assert load(write(tmp_path, text)).database.name == "0123"


@pytest.mark.parametrize(
    ("password", "ssl_mode", "end"),
    [
        ("word", "disable", "password=word sslmode=disable"),
        ("word", None, "password=word sslmode=prefer"),
        ("", "disable", "password= sslmode=disable"),
        ("two words", "disable", "password=two words sslmode=disable"),
    ],
)
def test_conninfo_is_unquoted(tmp_path: Path, tree: Tree, password: str, ssl_mode: str | None, end: str) -> None:
    (tmp_path / "db.yaml").write_text(json.dumps({"password": password}))
    change(tree, "database.ssl_mode", ssl_mode)
    conninfo = load(write(tmp_path, tree)).database.conninfo()
    assert conninfo == f"host=postgres port=5432 dbname=action_history user=slm_user {end}"


@pytest.mark.parametrize(
    ("dotted", "value", "message"),
    [
        ("database.secretsFile", None, "database secretsFile required (ADR-030 Section 6)"),
        ("database.passwordKey", None, "database passwordKey required (ADR-030 Section 6)"),
        ("redis.secretsFile", None, "redis secretsFile required (ADR-030 Section 6)"),
        ("redis.passwordKey", None, "redis passwordKey required (ADR-030 Section 6)"),
        ("database.host", None, "database host required"),
        ("database.port", None, "database port required"),
        ("database.port", 70000, "database port must be between 1 and 65535, got: 70000"),
        ("database.port", -1, "database port must be between 1 and 65535, got: -1"),
        ("database.name", None, "database name required"),
        ("database.user", None, "database user required"),
        ("server.port", None, "server port required"),
        ("server.port", 80, "server port must be between 1024 and 65535, got: 80"),
        ("redis.addr", None, "redis address required"),
        ("logging.level", "INFO", "invalid log level: INFO (must be debug, info, warn, or error)"),
        ("logging.format", "text", "invalid log format: text (must be json or console)"),
        ("server.read_timeout", "30", 'invalid read_timeout: time: missing unit in duration "30"'),
        ("server.write_timeout", "x", 'invalid write_timeout: time: invalid duration "x"'),
        ("database.conn_max_lifetime", "1d", 'invalid conn_max_lifetime: time: unknown unit "d" in duration "1d"'),
        ("database.conn_max_idle_time", "s", 'invalid conn_max_idle_time: time: invalid duration "s"'),
    ],
)
def test_refusals(tmp_path: Path, tree: Tree, dotted: str, value: object, message: str) -> None:
    change(tree, dotted, value)
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, tree))
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("owner", "content", "message"),
    [
        ("db", "password: 12345\n", "database password key 'password' in secret file is not a string"),
        ("redis", "password: 12345\n", "redis password key 'password' in secret file is not a string"),
        ("db", "other: x\n", "password key 'password' not found in database secret file {file}"),
        ("redis", "", "password key 'password' not found in redis secret file {file}"),
        (
            "db",
            "{password: [",
            "failed to load database secrets from {file}: failed to parse secret file as YAML or JSON",
        ),
        (
            "redis",
            "just-a-word",
            "failed to load redis secrets from {file}: failed to parse secret file as YAML or JSON",
        ),
        (
            "db",
            None,
            "failed to load database secrets from {file}: failed to read secret file {file}: open {file}: no such",
        ),
    ],
)
def test_secret_files(tmp_path: Path, tree: Tree, owner: str, content: str | None, message: str) -> None:
    file = tmp_path / f"{owner}.yaml"
    if content is None:
        file.unlink()
    else:
        file.write_text(content)
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, tree))
    assert str(caught.value).startswith(message.format(file=file))
    assert caught.value.summary == "Failed to load secrets (ADR-030 Section 6)"


def test_a_username_that_is_no_string(tmp_path: Path, tree: Tree) -> None:
    (tmp_path / "db.yaml").write_text("username: 7\npassword: x\n")
    change(tree, "database.usernameKey", "username")
    with pytest.raises(ConfigError, match="database username key 'username' in secret file is not a string"):
        load(write(tmp_path, tree))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("server: [", "failed to parse config: yaml: "),
        (
            "server: 1\n",
            "failed to parse config: yaml: unmarshal errors: line 1: cannot unmarshal !!int `1` into a mapping",
        ),
        ('server:\n  port: "8080"\n', "line 2: cannot unmarshal !!str `8080` into int"),
        ("server:\n  host: [a]\n", "line 2: cannot unmarshal !!seq into string"),
        ("server:\n  port: 1\n  port: 2\n", 'line 3: mapping key "port" already defined'),
        ("", "database secretsFile required"),
    ],
)
def test_files_that_cannot_be_read_as_configuration(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, text))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "absent.yaml"
    with pytest.raises(ConfigError) as caught:
        load(str(path))
    assert str(caught.value) == f"failed to read config file: open {path}: no such file or directory"


def test_no_secret_is_ever_shown(tmp_path: Path, tree: Tree) -> None:
    assert "secret-word" not in repr(load(write(tmp_path, tree)))
