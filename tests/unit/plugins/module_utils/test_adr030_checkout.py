# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The linter of a checkout: which files it looks at, the container's environment, reports, when it fails."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from ansible_collections.kubernaut.integration.plugins.module_utils import _adr030, _adr030_checkout
from ansible_collections.kubernaut.integration.plugins.module_utils._adr030_lint import RULES
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import Context, PhaseError
from ansible_collections.kubernaut.integration.plugins.modules import adr030_lint

GOOD = """\
server:
  port: 8080
database:
  host: postgres
  port: 5432
  name: action_history
  user: slm_user
  ssl_mode: disable
  secretsFile: /etc/datastorage/db-secrets.yaml
  passwordKey: password
redis:
  addr: redis:6379
  secretsFile: /etc/datastorage/redis-secrets.yaml
  passwordKey: password
"""
BAD = GOOD.replace("ssl_mode", "sslmode").replace("8080", "80")
SECRETS = {"db-secrets.yaml": "password: s3cr3t\n", "redis-secrets.yaml": 'password: ""\n'}
ANOTHERS = "server: {host: x}\ndatabase:\n  host: x\n  password: s3cr3t\nredis:\n  host: x\n"


def options(**changes: Any) -> dict[str, Any]:
    """Return complete options with the argument spec's defaults."""
    given = {name: spec.get("default") for name, spec in _adr030_checkout.PHASE.argument_spec.items()}
    return {**given, "uid": 0, "contract": "v0", **changes}


def put(root: Path, **files: str) -> None:
    """Write files; two underscores stand for a slash, one for a dot."""
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def team(root: Path, name: str, text: str = GOOD) -> None:
    """Write a team's directory."""
    home = root / name / "config"
    home.mkdir(parents=True)
    for file, content in {**SECRETS, "config.yaml": text}.items():
        (home / file).write_text(content)


def run(root: Path, *paths: str, check: bool = False, **changes: Any) -> dict[str, Any]:
    """Lint below a directory, without failing."""
    given = {"fail_on": "never", **changes}
    return _adr030_checkout.run(options(root=str(root), paths=list(paths) or ["."], **given), Context(check=check))


def test_configurations_are_found_at_any_depth_and_nothing_else_is_linted(tmp_path: Path) -> None:
    team(tmp_path, "test/one")
    team(tmp_path, "test/deep/er/two", BAD)
    team(tmp_path, "node_modules/three", BAD)
    put(tmp_path, other_yaml=ANOTHERS, crd_yaml="apiVersion: x\nkind: y\n" + GOOD.replace("secretsFile", "x"))
    (tmp_path / "large.yaml").write_text(GOOD + "#" * _adr030_checkout.LARGEST)
    (tmp_path / "config.txt").write_text(BAD)
    result = run(tmp_path)
    assert [entry["file"] for entry in result["files"]] == [
        "test/deep/er/two/config/config.yaml",
        "test/one/config/config.yaml",
    ]
    assert [(finding["file"], finding["rule"]) for finding in result["findings"]] == [
        ("test/deep/er/two/config/config.yaml", "value"),
        ("test/deep/er/two/config/config.yaml", "unknown-key"),
    ]
    assert result["verdict"] == "1 error and 1 warning in 2 configurations and 4 secret files"
    assert result["lines"][-1] == result["verdict"]
    assert (result["errors"], result["warning_count"], result["notes"], result["changed"]) == (1, 1, [], False)
    assert "s3cr3t" not in str(result)
    assert result["files"][1]["effective"]["v0"]["database.password"] == "********"


def test_what_cannot_be_judged_is_noted(tmp_path: Path) -> None:
    team(tmp_path, "one")
    indented = "".join(f"    {line}\n" for line in GOOD.splitlines())
    put(tmp_path, map_yaml="apiVersion: v1\nkind: ConfigMap\ndata:\n  config.yaml: |\n" + indented)
    put(tmp_path, template_yaml=GOOD.replace("8080", "{{ PORT }}"))
    assert run(tmp_path)["notes"] == [
        {"file": "map.yaml", "note": "it is a Kubernetes manifest, so it was not looked at"},
        {"file": "template.yaml", "note": "it is a template, so it was not looked at"},
    ]


BROKEN = {
    "a section is missing": (GOOD[: GOOD.index("redis:")], "missing-key"),
    "a section is misspelt": (GOOD.replace("database:", "databse:"), "missing-key"),
    "everything is indented": ("".join(f"  {line}\n" for line in BAD.splitlines()), "value"),
    "it is written on one line": (yaml.safe_dump(yaml.safe_load(BAD), default_flow_style=True, width=999), "value"),
    "a tab": (GOOD.replace("  host", "\thost"), "syntax"),
    "a key is there twice": (GOOD + "  addr: x:1\n", "syntax"),
    "no secret files": ("database:\n  host: x\n  password: S3cret\nredis:\n  addr: x:1\n", "secret-in-config"),
    "it is Windows's": ("\ufeff" + BAD.replace("\n", "\r\n"), "value"),
}


@pytest.mark.parametrize(("text", "rule"), BROKEN.values(), ids=BROKEN)
def test_a_broken_one_is_found_all_the_same(tmp_path: Path, text: str, rule: str) -> None:
    put(tmp_path, config__some_yaml=text)
    result = run(tmp_path)
    assert [entry["file"] for entry in result["files"]] == ["config/some.yaml"]
    assert rule in {finding["rule"] for finding in result["findings"]}


@pytest.mark.parametrize(
    ("name", "text", "note"),
    [
        ("config.yml", "\tdatabase: x\n", "it cannot be parsed"),
        ("storage.yaml", ANOTHERS, "it has database and redis, and no key that another service's would not have"),
        ("config.yaml", "redis: {host: x}\n", "it has redis, and no key that another service's would not have"),
        ("config.yaml", "llm: {secrets_file: x}\n", ""),
        ("values.yaml", ANOTHERS, ""),
        ("config.yaml", "infrastructure:\n  redis:\n    addr: x\n", ""),
    ],
)
def test_one_that_may_be_meant_is_noted(tmp_path: Path, name: str, text: str, note: str) -> None:
    team(tmp_path, "one")
    (tmp_path / name).write_text(text)
    notes = [{"file": name, "note": f"{note}, so it was not looked at"}] if note else []
    assert run(tmp_path)["notes"] == notes


def test_a_secret_file_is_no_configuration_even_when_it_is_named(tmp_path: Path) -> None:
    team(tmp_path, "one")
    names = ("one/config/config.yaml", "one/config/db-secrets.yaml")
    assert run(tmp_path, *names)["errors"] == 0
    put(tmp_path, secrets_yaml="username: u\npassword: S3cret\n")
    result = run(tmp_path, "one", "secrets.yaml")
    assert [note["note"].partition(",")[0] for note in result["notes"]] == ["it is a secret file"]
    with pytest.raises(PhaseError, match=r"no configuration of DataStorage in secrets\.yaml"):
        run(tmp_path, "secrets.yaml")


def test_a_file_that_is_named_is_linted_whatever_it_looks_like(tmp_path: Path) -> None:
    put(tmp_path, some_txt="server: {port: 80}\n")
    result = run(tmp_path, "some.txt")
    assert result["errors"] > 1
    team(tmp_path, "one")
    names = [str(path) for path in sorted((tmp_path / "one/config").iterdir(), reverse=True)]
    assert [entry["file"] for entry in run(tmp_path, *names)["files"]] == ["one/config/config.yaml"]


def test_a_file_elsewhere_is_shown_with_its_whole_path(tmp_path: Path) -> None:
    team(tmp_path, "one", BAD)
    (tmp_path / "two").mkdir()
    result = run(tmp_path / "two", str(tmp_path / "one"))
    assert result["files"][0]["file"] == str(tmp_path / "one/config/config.yaml")


def test_copies_of_secret_files_that_nothing_names(tmp_path: Path) -> None:
    team(tmp_path, "one", GOOD.replace("/etc/datastorage/", "/etc/datastorage/secrets/"))
    secrets = tmp_path / "one/config/secrets"
    secrets.mkdir()
    for file, content in SECRETS.items():
        (secrets / file).write_text(content)
    (tmp_path / "one/config/notes.yaml").write_text("a: 1\n")
    assert [(finding["rule"], finding["file"]) for finding in run(tmp_path)["findings"]] == [
        ("unused-secret", "one/config/db-secrets.yaml"),
        ("unused-secret", "one/config/redis-secrets.yaml"),
    ]


@pytest.mark.parametrize(
    ("contract", "environment", "found"),
    [
        ("v0", None, []),
        ("v0", {"CONFIG_PATH": "/etc/datastorage/config.yaml", "ENV": "production", "SHUTDOWN_TIMEOUT": "9s"}, []),
        ("v0", {}, [("environment", "CONFIG_PATH not set")]),
        ("v0", {"CONFIG_PATH": "/dev/null"}, [("environment", "failed to read config file:")]),
        ("v0", {"CONFIG_PATH": "/etc/datastorage/config.yml"}, [("environment", "failed to read config file:")]),
        (
            "v0",
            {"CONFIG_PATH": "/etc/datastorage/config.yaml", "POSTGRES_HOST": "x", "METRICS_PORT": 1, "HOME": "/"},
            [("dead-variable", ""), ("dead-variable", "")],
        ),
        ("v0", {"CONFIG_PATH": "/etc/datastorage/config.yaml", "KUBECONFIG": "x"}, [("dead-variable", "")]),
        (
            "v1",
            {"CONFIG_PATH": "/etc/datastorage/config.yaml"},
            [("environment", "failed to load in-cluster kubernetes config (DD-AUTH-014)")],
        ),
        ("v1", {"CONFIG_PATH": "/etc/datastorage/config.yaml", "KUBECONFIG": "/k", "PORT": "8080"}, []),
        (
            "v1",
            {"CONFIG_PATH": "/etc/datastorage/config.yaml", "KUBECONFIG": "/k", "ENV": "x"},
            [("dead-variable", "")],
        ),
    ],
)
def test_the_containers_environment(
    tmp_path: Path, contract: str, environment: dict[str, Any] | None, found: list[tuple[str, str]]
) -> None:
    needed = "  sslMode: disable\n  connMaxLifetime: 5m\n  connMaxIdleTime: 5m\n"
    team(tmp_path, "one", GOOD.replace("  ssl_mode: disable\n", needed) if contract == "v1" else GOOD)
    put(tmp_path, certs__tls_crt="", certs__tls_key="")
    mounts = {"/etc/datastorage": "one/config", "/etc/certs": "certs"}
    result = run(tmp_path, "one", contract=contract, environment=environment, mounts=mounts)
    assert [(finding["rule"], finding["predicts"]) for finding in result["findings"]] == found
    assert all(finding["file"] == "environment" for finding in result["findings"])
    assert all(re.match(r"environment: (error|warning): ", line) for line in result["lines"][:-1])


@pytest.mark.parametrize(
    ("text", "fail_on", "failed"),
    [
        (GOOD, "warning", False),
        (BAD, "error", True),
        (BAD, "never", False),
        (GOOD.replace("ssl_mode", "sslmode"), "error", False),
        (GOOD.replace("ssl_mode", "sslmode"), "warning", True),
    ],
)
def test_when_it_fails(tmp_path: Path, text: str, fail_on: str, failed: bool) -> None:
    team(tmp_path, "one", text)
    if not failed:
        run(tmp_path, fail_on=fail_on)
        return
    with pytest.raises(PhaseError) as caught:
        run(tmp_path, fail_on=fail_on)
    assert caught.value.cause == "config-lint"
    assert "correct them, first one/config/config.yaml:" in caught.value.message
    assert caught.value.result["findings"]
    assert caught.value.result["lines"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"paths": []}, "lint_paths: there is no path"),
        ({"paths": ["nosuch"]}, "There is no file or directory"),
        ({"paths": ["empty"]}, "There is no configuration of DataStorage in empty"),
        ({"paths": ["."], "root": None}, ". is a relative path"),
        ({"paths": ["/"], "root": "here"}, "here is a relative path"),
        ({"paths": ["one"], "junit": "nosuch/x.xml"}, "The JUnit report cannot be written"),
    ],
)
def test_what_cannot_be_linted_is_said(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    team(tmp_path, "one")
    (tmp_path / "empty").mkdir()
    with pytest.raises(PhaseError, match=re.escape(said)):
        _adr030_checkout.run(options(**{"root": str(tmp_path), **changes}), Context())


def test_the_junit_report(tmp_path: Path) -> None:
    team(tmp_path, "one")
    team(tmp_path, "two", BAD.replace("slm_user", '"a\\x01b <&>"'))
    assert run(tmp_path, junit="lint.xml", check=True)["changed"]
    assert not (tmp_path / "lint.xml").exists()
    result = run(tmp_path, junit="lint.xml")
    assert result["changed"]
    assert not run(tmp_path, junit="lint.xml")["changed"]
    suite = ElementTree.fromstring((tmp_path / "lint.xml").read_text())  # noqa: S314 - written a moment ago
    cases = list(suite)
    assert suite.attrib["tests"] == str(len(cases)) == "4"
    assert suite.attrib["failures"] == str(result["errors"]) == "2"
    assert suite.attrib["skipped"] == str(result["warning_count"]) == "1"
    assert [len(case) for case in cases if case.get("classname") == "one/config/config.yaml"] == [0]
    failure = next(case for case in cases if "server.port" in str(case.get("name")))
    assert (failure.get("file"), failure.get("line")) == ("two/config/config.yaml", "2")
    assert "DataStorage would say: server port must be between" in str(failure[0].text)


def test_what_the_collection_writes_has_nothing_wrong(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    given = {name: spec.get("default") for name, spec in _adr030.ARGUMENTS.items()}
    given |= {"database_host": "db", "database_port": 5432, "database_name": "n", "database_user": "u"}
    given |= {"database_password": "s3cr3t", "redis_host": "redis", "redis_port": 6379}
    for contract in ("v0", "v1", "both"):
        directory = tmp_path / contract / "config"
        _adr030.run({**given, "directory": str(directory), "contract": contract}, Context())
        around = {"hosts": ["db", "redis"], "max_connections": 28, "fail_on": "warning"}
        result = run(tmp_path, contract, contract="auto", **around)
        assert [entry["contract"] for entry in result["files"]] == [contract]
        assert result["notes"] == []


def test_the_documentation_names_every_rule() -> None:
    errors, warnings = (
        next(line for line in yaml.safe_load(adr030_lint.DOCUMENTATION)["description"] if line.startswith(begin))
        for begin in ("Rules that are errors", "Rules that are warnings")
    )
    assert set(re.findall(r"C\(([a-z-]+)\)", errors)) == {rule for rule, kind in RULES.items() if kind == "error"}
    assert set(re.findall(r"C\(([a-z-]+)\)", warnings)) == {rule for rule, kind in RULES.items() if kind == "warning"}
