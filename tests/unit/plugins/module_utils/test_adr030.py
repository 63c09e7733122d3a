# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""ADR-030: every rule, the exact spelling, secrets that stay hidden."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.kubernaut.integration.plugins.module_utils import _adr030, _files
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import Context, PhaseError

V0 = _adr030.CONTRACTS["v0"]
PASSWORD = "s3cr3t-w0rd"


def options(**changes: Any) -> dict[str, Any]:
    """Return complete options with the argument spec's defaults."""
    given = {name: spec.get("default") for name, spec in _adr030.ARGUMENTS.items()}
    given.update(
        directory="/nowhere",
        database_host="postgres",
        database_port=5432,
        database_name="action_history",
        database_user="slm_user",
        database_password=PASSWORD,
        redis_host="redis",
        redis_port=6379,
    )
    given.update(changes)
    return given


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory that does not exist yet, in a parent that is closed to others."""
    tmp_path.chmod(0o700)
    return tmp_path / "config"


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("server_port", 1024),
        ("server_port", 65535),
        ("read_timeout", "0"),
        ("read_timeout", "1h30m"),
        ("write_timeout", "1.5s"),
        ("write_timeout", ".5h"),
        ("conn_max_lifetime", "100ms"),
        ("conn_max_idle_time", "7µs"),
        *(("log_level", level) for level in ("debug", "info", "warn", "error")),
        *(("log_format", form) for form in ("json", "console")),
        ("database_port", 1),
        ("database_password", "x"),
        ("database_password", "A-z_0.9~!#$%&()*+,/:;<=>?@[]^`{|}"),
        ("redis_password", ""),
        ("redis_password", "spaces and 'quotes' are fine"),
        ("redis_db", 0),
        ("dlq_max_len", 1),
        ("max_idle_conns", 0),
        ("mount", "/etc/datastorage"),
    ],
)
def test_what_the_service_takes_is_taken(option: str, value: Any) -> None:
    assert _adr030.validate(options(**{option: value}), V0) == []


@pytest.mark.parametrize(
    ("option", "value", "wrong"),
    [
        ("server_port", 1023, "must be between 1024 and 65535, not 1023"),
        ("server_port", 65536, "must be between 1024 and 65535"),
        ("server_host", "", "must not be empty"),
        ("read_timeout", "30", "must be a duration"),
        ("read_timeout", "", "must be a duration"),
        ("read_timeout", "-5s", "must be a duration"),
        ("write_timeout", "30 s", "must be a duration"),
        ("write_timeout", "1d", "must be a duration"),
        ("conn_max_lifetime", "five", "must be a duration"),
        ("conn_max_idle_time", "5m\n", "must be a duration"),
        ("log_level", "INFO", "must be one of debug, info, warn, error, not 'INFO'"),
        ("log_format", "text", "must be one of json, console"),
        ("database_host", "", "must not be empty"),
        ("database_host", "a b", "printable ASCII"),
        ("database_port", 0, "must be between 1 and 65535"),
        ("database_port", 70000, "must be between 1 and 65535"),
        ("database_name", "", "must not be empty"),
        ("database_name", "x'y", "printable ASCII"),
        ("database_user", "", "must not be empty"),
        ("ssl_mode", "", "must be one of disable"),
        ("ssl_mode", "on", "must be one of disable"),
        ("max_open_conns", 0, "must be at least 1"),
        ("max_idle_conns", -1, "must be at least 0"),
        ("redis_host", "", "must not be empty"),
        ("redis_port", 0, "must be between 1 and 65535"),
        ("redis_db", -1, "must be at least 0"),
        ("dlq_max_len", 0, "must be at least 1"),
        ("mount", "etc", "must be an absolute path"),
    ],
)
def test_what_the_service_refuses_is_refused_by_name(option: str, value: Any, wrong: str) -> None:
    problems = _adr030.validate(options(**{option: value}), V0)
    assert len(problems) == 1
    assert problems[0].startswith(option)
    assert wrong in problems[0]


@pytest.mark.parametrize(
    "password",
    ["", "two words", "tab\t", "quo'te", 'quo"te', "back\\slash", "bell\a", "nul\0", "größer", "line\n", "\x7f"],
)
def test_a_password_that_the_connection_string_cannot_carry_is_refused_and_not_shown(password: str) -> None:
    problems = _adr030.validate(options(database_password=password), V0)
    assert len(problems) == 1
    assert "(variable postgres_password)" in problems[0]
    assert not password or password not in problems[0]


def test_all_problems_are_named_at_once_the_first_one_first(directory: Path) -> None:
    with pytest.raises(PhaseError) as caught:
        _adr030.run(options(directory=str(directory), server_port=80, log_level="INFO"), Context())
    lines = caught.value.message.splitlines()
    assert lines[0].startswith("DataStorage's configuration is refused: server_port")
    assert "log_level" in lines[1]
    assert not directory.exists()


def test_the_keys_are_spelled_as_v0_reads_them() -> None:
    found = _adr030.documents(options(), V0)
    assert found == {
        "config.yaml": {
            "server": {"port": 8080, "host": "0.0.0.0", "read_timeout": "30s", "write_timeout": "30s"},
            "logging": {"level": "info", "format": "json"},
            "database": {
                "host": "postgres",
                "port": 5432,
                "name": "action_history",
                "user": "slm_user",
                "ssl_mode": "disable",
                "max_open_conns": 25,
                "max_idle_conns": 5,
                "conn_max_lifetime": "5m",
                "conn_max_idle_time": "10m",
                "secretsFile": "/etc/datastorage/db-secrets.yaml",
                "usernameKey": "username",
                "passwordKey": "password",
            },
            "redis": {
                "db": 0,
                "dlq_max_len": 10000,
                "addr": "redis:6379",
                "secretsFile": "/etc/datastorage/redis-secrets.yaml",
                "passwordKey": "password",
            },
        },
        "db-secrets.yaml": {"username": "slm_user", "password": PASSWORD},
        "redis-secrets.yaml": {"password": ""},
    }


@pytest.mark.parametrize(
    ("host", "address"), [("redis", "redis:6379"), ("127.0.0.1", "127.0.0.1:6379"), ("::1", "[::1]:6379")]
)
def test_redis_address(host: str, address: str) -> None:
    assert _adr030.documents(options(redis_host=host), V0)["config.yaml"]["redis"]["addr"] == address


@pytest.mark.parametrize(
    "password", ["12345", "true", "null", "0x10", "1e3", "~", "2026-11-23", "no", "- x", "a: b #c"]
)
def test_a_secret_stays_a_string_whatever_it_looks_like(password: str) -> None:
    found = _adr030.documents(options(redis_password=password), V0)
    text = _adr030.render(found)["redis-secrets.yaml"]
    assert yaml.safe_load(text) == {"password": password}
    assert text.splitlines()[1] == '"password": "%s"' % password


def test_rendering_is_the_same_every_time_and_says_who_manages_it() -> None:
    first, second = (_adr030.render(_adr030.documents(options(), V0)) for _again in range(2))
    assert first == second
    assert all(text.startswith("# Managed by Ansible") for text in first.values())


def test_what_does_not_survive_yaml_is_not_installed() -> None:
    found = _adr030.documents(options(), V0)
    texts = {**_adr030.render(found), "redis-secrets.yaml": "password: 12345\n"}
    with pytest.raises(PhaseError, match=r"redis-secrets\.yaml does not survive"):
        _adr030.reparse(texts, found)


@pytest.mark.parametrize(
    ("option", "value"),
    [("max_open_conns", 50), ("log_level", "debug"), ("redis_db", 3), ("server_host", "127.0.0.1")],
)
def test_an_option_without_effect_is_reported(option: str, value: Any) -> None:
    (warning,) = _adr030.ignored(options(**{option: value}), V0)
    assert warning.startswith("%s=%s has no effect" % (option, value))


def test_defaults_need_no_warning() -> None:
    assert _adr030.ignored(options(), V0) == []


def test_install_is_idempotent_and_shows_no_secret(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_files, "may_give_away", lambda: False)
    wanted = options(directory=str(directory), redis_password="r3d1s")
    planned = _adr030.run(wanted, Context(check=True, diff=True))
    assert not directory.exists()
    assert planned["content_hash"] == ""
    first = _adr030.run(wanted, Context(diff=True))
    second = _adr030.run(wanted, Context(diff=True))
    assert first["changed_files"] == planned["changed_files"]
    assert first["diff"] == planned["diff"]
    assert (second["changed"], second["changed_files"], second["diff"]) == (False, [], [])
    assert second["content_hash"] == first["content_hash"]
    third = _adr030.run({**wanted, "database_password": "another"}, Context(diff=True))
    assert third["changed_files"] == [str(directory / "db-secrets.yaml")]
    assert third["content_hash"] != first["content_hash"]
    shown = str([planned, first, second, third])
    assert all(secret not in shown for secret in (PASSWORD, "r3d1s", "another'"))
    assert third["configuration"]["db-secrets.yaml"] == {"username": "slm_user", "password": "********"}
    assert third["diff"][0]["before"] != third["diff"][0]["after"]


@pytest.mark.parametrize(
    ("root", "owner", "modes"),
    [
        (False, 1001, (0o755, 0o444)),
        (False, None, (0o755, 0o444)),
        (True, None, (0o755, 0o444)),
        (True, 1001, (0o500, 0o400)),
    ],
)
def test_who_may_read_the_files(
    directory: Path, monkeypatch: pytest.MonkeyPatch, root: bool, owner: int | None, modes: tuple[int, int]
) -> None:
    if root and owner is not None and os.geteuid() != 0:
        pytest.skip("only root gives files away")
    monkeypatch.setattr(_files, "may_give_away", lambda: root)
    result = _adr030.run(options(directory=str(directory), owner=owner), Context())
    paths = [directory, *(Path(path) for path in result["files"])]
    assert [stat.S_IMODE(path.stat().st_mode) for path in paths] == [modes[0]] + [modes[1]] * 3
    expected = 1001 if root and owner else os.geteuid()
    assert {path.stat().st_uid for path in paths} == {expected}
    assert stat.S_IMODE((directory.parent / "config.key").stat().st_mode) == 0o600


def test_the_hash_depends_on_every_byte_and_on_the_key() -> None:
    texts = {"a": "1", "b": "2"}
    hashes = {
        _files.keyed_hash(texts, b"k"),
        _files.keyed_hash(texts, b"K"),
        _files.keyed_hash({"a": "1", "b": "3"}, b"k"),
        _files.keyed_hash({"a": "1b", "": "2"}, b"k"),
        _files.keyed_hash({"a": "1b2"}, b"k"),
    }
    assert len(hashes) == 5
    assert _files.keyed_hash({"b": "2", "a": "1"}, b"k") == _files.keyed_hash(texts, b"k")


def test_a_lost_or_damaged_key_is_made_anew_and_counts_as_a_change(directory: Path) -> None:
    wanted = options(directory=str(directory))
    first = _adr030.run(wanted, Context())
    key = directory.parent / "config.key"
    key.chmod(0o644)
    assert _adr030.run(wanted, Context())["changed_files"] == [str(key)]
    key.write_text("damaged")
    again = _adr030.run(wanted, Context())
    assert again["changed_files"] == [str(key)]
    assert again["content_hash"] != first["content_hash"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("db-secrets.yaml", "password: old-s3cr3t\nusername: me\n"),
        ("db-secrets.yaml", '{"password": "old-s3cr3t"}'),
        ("db-secrets.yaml", "password: |\n  old-s3cr3t\n"),
        ("db-secrets.yaml", "pass: old-s3cr3t\n"),
        ("db-secrets.yaml", "old-s3cr3t"),
        ("db-secrets.yaml", "password: [old-s3cr3t\n"),
        ("redis-secrets.yaml", "- old-s3cr3t\n"),
        ("config.yaml", "database:\n  password: old-s3cr3t\n  passwordKey: password\n"),
    ],
)
def test_the_diff_hides_secrets_in_files_of_others(name: str, text: str) -> None:
    shown = _adr030.shown_before(name, text, V0)
    assert shown is not None
    assert "s3cr3t" not in shown
    assert _files.MASK in shown
