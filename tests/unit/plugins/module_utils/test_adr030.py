# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""ADR-030: every rule, the exact spelling, secrets that stay hidden."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.kubernaut.integration.plugins.module_utils import _adr030, _files
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import Context, PhaseError
from ansible_collections.kubernaut.integration.plugins.modules import adr030_config

V0, V1, BOTH = _adr030.CHOICES["v0"], _adr030.CHOICES["v1"], _adr030.CHOICES["both"]
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
        ("max_connections", 28),
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
        ("redis_host", "", "must be a host name"),
        ("redis_host", "a b", "must be a host name"),
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
            "logging": {"level": "info", "format": "console"},
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
    for name, text in (
        ("redis-secrets.yaml", "password: 12345\n"),
        ("config.yaml", "server: {port: 8080}\n"),
        ("x", "["),
    ):
        with pytest.raises(PhaseError, match=re.escape(name) + " does not survive"):
            _adr030.reparse({**_adr030.render(found), name: text}, options(), V0)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("max_open_conns", 50),
        ("log_level", "debug"),
        ("log_format", "json"),
        ("redis_db", 3),
        ("server_host", "127.0.0.1"),
        ("metrics_port", 19090),
        ("endpoint_propagation_delay", "1s"),
    ],
)
def test_an_option_without_effect_is_reported(option: str, value: Any) -> None:
    (warning,) = _adr030.ignored(options(**{option: value}), V0)
    variable = " (variable datastorage_log_level)" if option == "log_level" else ""
    assert warning.startswith("%s=%s%s has no effect" % (option, value, variable))


def test_what_has_no_effect_is_returned_and_warned_of(tmp_path: Path) -> None:
    loud = _adr030.run(options(directory=str(tmp_path / "private" / "config"), log_format="json"), Context(check=True))
    assert loud["ignored"] == loud["warnings"] == _adr030.ignored(options(log_format="json"), V0) != []
    quiet = _adr030.run(options(directory=str(tmp_path / "private" / "config")), Context(check=True))
    assert quiet["ignored"] == []
    assert "warnings" not in quiet


@pytest.mark.parametrize("contracts", [V0, V1, BOTH])
def test_defaults_need_no_warning(contracts: tuple[str, ...]) -> None:
    assert _adr030.ignored(options(), contracts) == []


def test_the_words_say_why_an_option_has_no_effect() -> None:
    given = options(metrics_port=19090, max_open_conns=50)
    assert _adr030.ignored(given, V0) == [
        "metrics_port=19090 has no effect: contract v0 has no such key. "
        "v0 serves its metrics at /metrics of server.port.",
        "max_open_conns=50 has no effect: DataStorage reads database.max_open_conns, and the service always uses 25.",
    ]
    assert _adr030.ignored(given, V1) == _adr030.ignored(given, BOTH) == []


@pytest.mark.parametrize(
    ("option", "value", "used"),
    [
        ("shutdown_timeout", "10s", "30s"),
        ("shutdown_timeout", "3m", "120s"),
        ("endpoint_propagation_delay", "100ms", "1s"),
        ("endpoint_propagation_delay", "1h", "30s"),
        ("max_body_size", "10", "1048576"),
        ("max_body_size", "99999999", "52428800"),
        ("max_idle_conns", 26, "25"),
    ],
)
@pytest.mark.parametrize("contracts", [V1, BOTH])
def test_an_option_out_of_range_is_reported(contracts: tuple[str, ...], option: str, value: Any, used: str) -> None:
    (warning,) = _adr030.ignored(options(**{option: value}), contracts)
    assert warning.startswith("%s=%s is out of range" % (option, value))
    assert warning.endswith("uses %s." % used)


@pytest.mark.parametrize(
    ("option", "value", "wrong"),
    [
        ("health_port", 80, "must be between 1024 and 65535, not 80"),
        ("health_port", 8080, "must not be 8080, which is server.port"),
        ("metrics_port", 8081, "must not be 8081, which is server.healthPort"),
        ("shutdown_timeout", "60", "must be a duration"),
        ("max_body_size", "5MiB", "must be bytes in digits only"),
        ("max_batch_size", 0, "must be at least 1"),
        ("max_open_conns", -1, "must be at least 1"),
        ("conn_max_lifetime", "", "must be a duration"),
        ("ssl_mode", "", "must be one of disable"),
        ("lock_timeout", "x", "must be a duration"),
        ("signer_cert_dir", "certs", "must be an absolute path"),
        ("log_level", "LOUD", "must be one of"),
        ("database_name", "", "must not be empty"),
        ("max_open_conns", 198, "makes a pool of 198 connections, and PostgreSQL has 200"),
    ],
)
@pytest.mark.parametrize("contracts", [V1, BOTH])
def test_what_v1_refuses_is_refused_by_name(contracts: tuple[str, ...], option: str, value: Any, wrong: str) -> None:
    (problem,) = _adr030.validate(options(**{"max_connections": 200, option: value}), contracts)
    assert problem.startswith(option)
    assert wrong in problem


def test_a_level_that_only_v1_takes_is_refused_for_both() -> None:
    assert _adr030.validate(options(log_level="INFO"), V1) == []
    assert _adr030.validate(options(log_level="INFO"), BOTH) != []


@pytest.mark.parametrize(("max_connections", "good"), [(27, False), (28, True), (None, True)])
def test_v0s_fixed_pool_must_fit_whatever_is_asked_for(max_connections: int | None, good: bool) -> None:
    problems = _adr030.validate(options(max_connections=max_connections, max_open_conns=1), V0)
    assert bool(problems) is not good
    assert all("max_connections (variable postgres_max_connections)" in problem for problem in problems)


def test_both_is_v0_and_v1_in_one_file() -> None:
    v0, v1, both = (_adr030.documents(options(), contracts)["config.yaml"] for contracts in (V0, V1, BOTH))
    assert both["server"] == {**v0["server"], **v1["server"]}
    assert both["database"] == {**v0["database"], **v1["database"]}
    assert both["redis"] == {**v0["redis"], **v1["redis"]}
    assert both["database"]["ssl_mode"] == both["database"]["sslMode"] == "disable"
    assert set(v1["database"]) & {"connMaxLifetime", "connMaxIdleTime", "sslMode"} == {
        "connMaxLifetime",
        "connMaxIdleTime",
        "sslMode",
    }
    assert not any("_" in name for section in v1.values() for name in section)


@pytest.mark.parametrize("contract", ["v0", "v1", "both"])
def test_the_effective_configuration_shows_no_secret(directory: Path, contract: str) -> None:
    result = _adr030.run(options(directory=str(directory), contract=contract, max_open_conns=50), Context())
    assert sorted(result["effective"]) == (["v0", "v1"] if contract == "both" else [contract])
    for found in result["effective"].values():
        assert found["database.password"] == "********"
        assert found["redis.password"] == ""
        assert found["database.user"] == "slm_user"
    if contract != "v1":
        assert result["effective"]["v0"]["database.max_open_conns"] == 25
    if contract != "v0":
        assert result["effective"]["v1"]["database.maxOpenConns"] == 50
        assert result["effective"]["v1"]["retention.enabled"] is False
    assert PASSWORD not in str(result)


def test_what_is_replaced_is_kept_for_its_owner_only(directory: Path) -> None:
    wanted = options(directory=str(directory), backup=True)
    assert _adr030.run(wanted, Context())["backup_directory"] == ""
    before = {path.name: path.read_text() for path in directory.iterdir()}
    changed = {**wanted, "database_password": "another"}
    planned = _adr030.run(changed, Context(check=True))
    assert planned["backup_directory"].startswith(f"{directory}-")
    assert not Path(planned["backup_directory"]).exists()
    kept = Path(_adr030.run(changed, Context())["backup_directory"])
    assert {path.name: path.read_text() for path in kept.iterdir()} == {"db-secrets.yaml": before["db-secrets.yaml"]}
    assert stat.S_IMODE(kept.stat().st_mode) == 0o700
    assert stat.S_IMODE((kept / "db-secrets.yaml").stat().st_mode) == 0o600
    assert _adr030.run(changed, Context())["backup_directory"] == ""
    assert sorted(path.name for path in directory.iterdir()) == ["config.yaml", "db-secrets.yaml", "redis-secrets.yaml"]


def test_the_documentation_says_what_the_table_says() -> None:
    """Defaults, the upstream keys, which contract has them, ranges and units."""
    documented = yaml.safe_load(adr030_config.DOCUMENTATION)["options"]
    for key in _adr030.KEYS:
        if not key.option:
            continue
        text = "".join(documented[key.option]["description"])
        assert documented[key.option].get("default") == key.default, key.option
        assert all(f"C({key.path(contract)})" in text for contract in BOTH if key.at(contract)), key.option
        assert ("v1 only" in text) == (key.at("v0") is None), key.option
        assert ("v0 only" in text) == (key.at("v1") is None), key.option
        assert key.unit in text
        must = (
            re.search(r"(?:between|at least) ([\d]+)(?: and (\d+))?", key.rule.wrong(-1) or "")
            if key.kind == "int"
            else None
        )
        assert all(bound in text for bound in (must.groups() if must else ()) if bound), key.option
        at = key.at("v1")
        assert all(bound in text for bound in (at.lowest, at.highest) if bound) if at else True, key.option


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
    shown = _adr030.shown_before(name, text)
    assert shown is not None
    assert "s3cr3t" not in shown
    assert _files.MASK in shown
