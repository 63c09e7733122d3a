# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every phase gives the same result through both of its fronts: in-process, and as a module."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
import yaml

from ansible_collections.kubernaut.integration.plugins.module_utils import _audit
from ansible_collections.kubernaut.integration.tests.live.canary import Search
from ansible_collections.kubernaut.integration.tests.live.playing import ROOT, Run, Stack, left_of, play

COLLECTION = "kubernaut.integration."
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("[!_]*.py"))
FRONTS = ("auto", "module")
#: Passwords that no output may hold.
SECRETS = ("sesame-one", "sesame-two", "sesame-three", "sesame-four")
#: In every result, and about the call rather than the phase. `exception` is the traceback: its frames are the front's.
ALWAYS = ("at", "invocation", "exception")
#: Of a task that takes the stack's lock: whose run it is, and since when.
WHOSE = ("run",)
#: Database of each front that others do not look at; it is made before the tasks run.
OWN_DATABASE = "fronts_{{ stack_front }}"
#: Name of the task that is not waited for.
ASYNC = "async"
#: Files that hold what is made by chance.
CHANCE = ("access.key", "config.key", "credentials.json", "datastorage.token", "tls.crt", "tls.key", "tokens.json")
GATE = ("elapsed", "attempts", "observations")
MEMORY = ("memory", "headroom", "lines")


@dataclass(frozen=True)
class Row:
    """A task that runs once on each front.

    :param module: short name.
    :param args: its options; ``{{ here }}`` is a directory of the front's own, which counts as the same.
    :param differs: keys of the result that cannot be equal, beside :data:`ALWAYS`.
    :param fails: whether it must fail.
    :param changed: what it must say.
    :param task: further keywords of the task.
    :param blur: pattern of text that cannot be equal, such as a time in a file's name.
    """

    module: str
    args: dict[str, Any]
    differs: tuple[str, ...] = ()
    fails: bool = False
    changed: bool = False
    task: dict[str, Any] = field(default_factory=dict)
    blur: str = "(?!)"


def connections(live: Stack) -> dict[str, dict[str, Any]]:
    """Return the options with which a phase reaches each service."""
    return {
        "postgres": {"postgres_port": live.ports["postgres"], "postgres_password": live.env["POSTGRES_PASSWORD"]},
        "redis": {"redis_port": live.ports["redis"]},
        "datastorage": {"datastorage_port": live.ports["datastorage"]},
    }


def gates(live: Stack) -> dict[str, Row]:
    """Rows of the gates: open, closed at once, closed after a while, and in check mode."""
    to = connections(live)
    podman = {"podman": live.facts["podman"]}
    postgres = {**to["postgres"], **podman, "container": live.container("postgres"), "timeout": 5}
    redis = {**to["redis"], **podman, "container": live.container("redis"), "timeout": 5}
    datastorage = {**to["datastorage"], **podman, "container": live.container("datastorage"), "timeout": 5}
    names = {**podman, "container": live.container("redis")}
    return {
        "postgres is ready": Row("postgres_ready", postgres, GATE),
        "postgres refuses a password": Row(
            "postgres_ready",
            {**to["postgres"], "postgres_password": SECRETS[0]},
            ("elapsed",),
            fails=True,
            blur=r"after [\d.]+ s|'since': [\d.]+",
        ),
        "postgres is not there": Row(
            "postgres_ready", {**postgres, "postgres_port": 1}, GATE, task={"check_mode": True}
        ),
        "redis is ready": Row("redis_ready", redis, GATE),
        "redis refuses a password": Row(
            "redis_ready", {**to["redis"], "redis_password": SECRETS[1]}, GATE, fails=True, blur=r"after [\d.]+ s"
        ),
        "redis in check mode": Row("redis_ready", redis, GATE, task={"check_mode": True}),
        "datastorage is ready": Row("datastorage_ready", datastorage, GATE),
        "datastorage says something else": Row(
            "datastorage_ready",
            {**to["datastorage"], "expect": {"status": "jolly"}, "timeout": 0.1},
            GATE,
            fails=True,
            blur=r"after [\d.]+ s and \d+ attempts",
        ),
        "names": Row("names_ready", {**names, "names": [live.container("postgres")]}, GATE),
        "names in check mode": Row("names_ready", {**names, "names": ["x"]}, task={"check_mode": True}),
        "options that are missing": Row("names_ready", names, fails=True),
    }


def report(live: Stack) -> dict[str, Any]:
    """Return the options of a report on the live stack."""
    facts = live.facts
    return {
        "name": live.name,
        "team": "workflowexecution",
        "contract": "v0",
        "host": "localhost",
        "state_dir": "{{ here }}/private",
        "podman": facts["podman"],
        "ports": dict(live.ports),
        "containers": {name: live.container(name) for name in live.ports},
        "network": facts["network"],
        "images": facts["images"],
        "reference_service": True,
        "database": "action_history",
        "user": "slm_user",
        "password": SECRETS[2],
        "health_path": "/health",
        "metrics_path": "/metrics",
        "configuration": {"server.port": 8080},
        "proof": "7/7",
        "marks": [{"phase": "a", "at": 1.0}, {"phase": "b", "at": 2.5}],
        "verify_command": "verify",
        "teardown_command": "teardown",
    }


def files(live: Stack) -> dict[str, Row]:
    """Rows of the phases that write files."""
    private = {
        "directory": "{{ here }}/private",
        "files": [{"name": "password", "content": SECRETS[2]}],
    }
    adr030 = {
        "directory": "{{ here }}/adr/030",
        "database_host": "db",
        "database_port": 5432,
        "database_name": "action_history",
        "database_user": "slm_user",
        "database_password": SECRETS[2],
        "redis_host": "redis",
        "redis_port": 6379,
    }
    hashed = ("content_hash",)  # by a key of the directory's own
    lint = {"paths": ["{{ here }}/adr/030"], "hosts": ["db", "redis"], "uid": 0, "fail_on": "warning"}
    return {
        "files in check mode": Row("private_files", private, changed=True, task={"check_mode": True, "diff": True}),
        "files": Row("private_files", private, hashed, changed=True, task={"diff": True}),
        "files again": Row("private_files", private, hashed),
        "files of a mode that is none": Row("private_files", {**private, "directory_mode": "rwx"}, fails=True),
        "configuration in check mode": Row(
            "adr030_config", adr030, changed=True, task={"check_mode": True, "diff": True}
        ),
        "configuration": Row("adr030_config", adr030, hashed, changed=True, task={"diff": True}),
        "configuration again": Row("adr030_config", adr030, hashed),
        "configuration with another password": Row(
            "adr030_config", {**adr030, "database_password": SECRETS[3]}, hashed, changed=True, task={"diff": True}
        ),
        "configuration that is refused": Row(
            "adr030_config", {**adr030, "database_password": SECRETS[3] + " x"}, fails=True
        ),
        "configuration that is kept": Row(
            "adr030_config",
            {**adr030, "backup": True, "contract": "both"},
            hashed,
            changed=True,
            task={"diff": True},
            blur=r"030-\d+T\d+Z",
        ),
        "lint": Row("adr030_lint", {**lint, "junit": "{{ here }}/lint.xml"}, changed=True),
        "lint again": Row("adr030_lint", {**lint, "junit": "{{ here }}/lint.xml"}),
        "lint in check mode": Row(
            "adr030_lint", {**lint, "junit": "{{ here }}/more.xml"}, changed=True, task={"check_mode": True}
        ),
        "lint with errors": Row("adr030_lint", {**lint, "hosts": ["database"]}, fails=True),
        "lint of nothing": Row("adr030_lint", {**lint, "paths": ["{{ here }}/private"]}, fails=True),
        "report": Row("stack_report", report(live), changed=True),
        "report again": Row("stack_report", report(live)),
        "report in check mode": Row(
            "stack_report", {**report(live), "proof": "6/7", "network": "x"}, changed=True, task={"check_mode": True}
        ),
        # Nobody expects a file where the directory should be, and the system's own words hold the password.
        "report that nobody foresaw": Row(
            "stack_report", {**report(live), "state_dir": "{{ here }}/private/stack.json/" + SECRETS[2]}, fails=True
        ),
    }


def database(live: Stack) -> dict[str, Row]:
    """Rows of the phases that ask the database."""
    to = connections(live)
    schema = {**to["postgres"], "required_tables": ["audit_events"], "partitioned_tables": ["audit_events"]}
    migrations = {**to["postgres"], "directory": str(ROOT / "roles" / "migrations" / "files" / "v0")}
    own = {**migrations, "postgres_database": OWN_DATABASE}
    template = {**own, "state": "kept", "fresh": True}
    restored = {**to["postgres"], "postgres_database": OWN_DATABASE, "state": "restored"}
    said = ("elapsed", "lines", "template")
    audit = {**to["postgres"], **to["redis"], **to["datastorage"]}
    proof = ("elapsed", "timings", "correlation_id", "event_ids")
    return {
        "schema": Row("schema_info", schema, ("elapsed",)),
        "schema without a table": Row("schema_info", {**schema, "required_tables": ["nosuch"]}, fails=True),
        "migrations": Row("sql_migrations", migrations, ("elapsed",), task={"diff": True}),
        "migrations in check mode": Row("sql_migrations", migrations, ("elapsed",), task={"check_mode": True}),
        "migrations of nowhere": Row("sql_migrations", {**migrations, "directory": "/nonexistent"}, fails=True),
        "migrations with a wrong password": Row(
            "sql_migrations", {**migrations, "postgres_password": SECRETS[0]}, fails=True
        ),
        "migrations of a database of its own": Row(
            "sql_migrations", own, ("elapsed", "applied", "ledger"), changed=True
        ),
        "template in check mode": Row("database_template", template, said, changed=True, task={"check_mode": True}),
        "template": Row("database_template", template, said, changed=True),
        "template again": Row("database_template", template, said),
        "template without migrations": Row("database_template", {**restored, "state": "kept"}, fails=True),
        "restored in check mode": Row("database_template", restored, said, changed=True, task={"check_mode": True}),
        "restored": Row("database_template", restored, said, changed=True),
        "restored from nothing": Row("database_template", {**restored, "postgres_database": "nosuch"}, fails=True),
        "restored with a wrong password": Row(
            "database_template", {**restored, "postgres_password": SECRETS[0]}, fails=True
        ),
        "queues in check mode": Row("queues_empty", to["redis"], task={"check_mode": True}),
        "queues": Row("queues_empty", to["redis"]),
        "queues with a wrong password": Row("queues_empty", {**to["redis"], "redis_password": SECRETS[1]}, fails=True),
        "proof": Row("audit_verify", audit, proof),
        "proof in check mode": Row("audit_verify", audit, proof, task={"check_mode": True}),
        "proof with a wrong password": Row(
            "audit_verify", {**audit, "postgres_password": SECRETS[0]}, proof, fails=True
        ),
    }


def whole(live: Stack) -> dict[str, Row]:
    """Rows of the phases that look at machine and stack, or change them."""
    podman = {"podman": live.facts["podman"]}
    fronts = {
        **podman,
        "name": "workflowexecution-fronts",
        "containers": {name: f"workflowexecution_fronts_{name}_1" for name in live.ports},
        "network": "workflowexecution_fronts_test-network",
        "volume": "workflowexecution_fronts_postgres_data",
        "state_dir": "{{ here }}/stacks",
    }
    elsewhere = {**fronts, "state": "released", "state_dir": ""}
    images = [
        {"component": name, "name": image["reference"], "policy": "present"}
        for name, image in live.facts["images"].items()
    ]
    preflight = {
        "stack": live.name,
        "containers": [live.container("redis")],
        **podman,
        "ports": [{"variable": "redis_port", "port": live.ports["redis"]}],
        "secrets": [{"variable": "redis_password", "value": SECRETS[2]}],
    }
    evidence = {
        **podman,
        "name": live.name,
        "containers": {name: live.container(name) for name in live.ports},
        "state_dir": "{{ here }}/evidence",
        "teardown_command": "teardown",
        "task": "a task",
        "failure": "it failed",
    }
    gone = {**podman, "stack": live.name, "components": ["redis", "datastorage"]}
    stable = {**podman, **{key: evidence[key] for key in ("name", "containers")}, "state_dir": "{{ here }}/lives"}
    access = {"name": live.name, "state_dir": "{{ here }}/stacks", "stub_url": "http://auth:8443"}
    unfit = {**access, "stub_url": "", "kubeconfig": "/dev/null", "token": SECRETS[3] + " "}
    nowhere = {**stable, "name": "nosuch", "containers": dict.fromkeys(live.ports, "nosuch")}
    return {
        "host": Row("host_probe", {"min_free_mib": 1}, ("free_mib",)),
        "host in check mode": Row("host_probe", {"min_free_mib": 1}, ("free_mib",), task={"check_mode": True}),
        "host without room": Row("host_probe", {"min_free_mib": 10**9}, fails=True, blur=r"has \d+ MiB"),
        "preflight": Row("preflight", preflight),
        "preflight of a bad port": Row(
            "preflight", {**preflight, "ports": [{"variable": "v", "port": "x"}]}, fails=True
        ),
        "preflight of a bad secret": Row(
            "preflight", {**preflight, "secrets": [{"variable": "v", "value": SECRETS[2] + " "}]}, fails=True
        ),
        "preflight of no migrations": Row("preflight", {"migrations": "/nonexistent"}, fails=True),
        "images": Row("images", {**podman, "images": images}),
        "images in check mode": Row("images", {**podman, "images": images}, task={"check_mode": True}),
        "images that are not there": Row(
            "images",
            {**podman, "images": [{"component": "redis", "name": "localhost/nosuch:1", "policy": "present"}]},
            fails=True,
        ),
        "stack in check mode": Row("stack", fronts, WHOSE, changed=True, task={"check_mode": True}),
        "stack": Row("stack", fronts, WHOSE, changed=True),
        "stack again": Row("stack", fronts, WHOSE),
        "stack given back": Row("stack", {**fronts, "state": "released"}),
        "stack absent in check mode": Row(
            "stack", {**fronts, "state": "absent"}, changed=True, task={"check_mode": True}
        ),
        "stack absent": Row("stack", {**fronts, "state": "absent"}, changed=True),
        "stack absent again": Row("stack", {**fronts, "state": "absent"}),
        "credentials in check mode": Row(
            "stack_credentials",
            {"name": "made", "state_dir": "{{ here }}/lives"},
            ("credentials",),
            changed=True,
            task={"check_mode": True},
        ),
        "credentials that nobody made": Row(
            "stack_credentials", {"name": "made", "state_dir": "{{ here }}/lives", "create": False}, fails=True
        ),
        "credentials": Row(
            "stack_credentials", {"name": live.name, "state_dir": "{{ here }}/stacks"}, ("credentials",), changed=True
        ),
        "credentials again": Row(
            "stack_credentials", {"name": live.name, "state_dir": "{{ here }}/stacks"}, ("credentials",)
        ),
        "access in check mode": Row(
            "datastorage_access", access, ("token", "content_hash"), changed=True, task={"check_mode": True}
        ),
        "access": Row("datastorage_access", access, ("token", "content_hash"), changed=True),
        "access again": Row("datastorage_access", access, ("token", "content_hash")),
        "access with a token that is none": Row("datastorage_access", unfit, fails=True),
        "stack of no name": Row("stack", {**fronts, "name": "../x"}, fails=True),
        "stack with the task's environment": Row(
            "stack", elsewhere, task={"environment": {"XDG_STATE_HOME": "{{ here }}/xdg"}}
        ),
        "containers absent in check mode": Row("container_absent", gone, changed=True, task={"check_mode": True}),
        "containers of no stack absent": Row("container_absent", {**gone, "stack": "nosuch"}),
        "lives without a record": Row("stack_stable", stable, MEMORY),
        "lives recorded in check mode": Row(
            "stack_stable", {**stable, "record": True}, (*MEMORY, "since"), changed=True, task={"check_mode": True}
        ),
        "lives recorded": Row("stack_stable", {**stable, "record": True}, (*MEMORY, "since"), changed=True),
        "lives recorded again": Row("stack_stable", {**stable, "record": True}, (*MEMORY, "since")),
        "lives looked back at": Row("stack_stable", stable, (*MEMORY, "since")),
        "lives of no containers": Row("stack_stable", nowhere, fails=True),
        "evidence": Row("diagnose", evidence, blur=r"failure-\d+-\d+"),
        "evidence in check mode": Row("diagnose", evidence, blur=r"failure-\d+-\d+", task={"check_mode": True}),
    }


#: Rows that do not know of one another; they run at the same time.
GROUPS = {"gates": gates, "files": files, "database": database, "whole": whole}


def all_rows(live: Stack) -> dict[str, Row]:
    """Return every row by its name."""
    return {name: row for group in GROUPS.values() for name, row in group(live).items()}


def tasks(rows: Mapping[str, Row]) -> Iterator[dict[str, Any]]:
    """Turn rows into tasks that register what they returned, whatever it is."""
    for number, (name, row) in enumerate(rows.items()):
        yield {
            "name": name,
            COLLECTION + row.module: row.args,
            "register": f"result_{number}",
            "ignore_errors": True,
            **row.task,
        }


@dataclass(frozen=True)
class Fronts:
    """What both fronts said.

    :param results: front -> row -> result.
    :param here: front -> its directory.
    """

    run: Run
    rows: Mapping[str, Row]
    results: Mapping[str, Mapping[str, dict[str, Any]]]
    here: Mapping[str, Path]

    def comparable(self, front: str, name: str) -> Any:
        """Return a result without what cannot be equal."""
        row = self.rows[name]
        result = self.results[front][name]
        kept = {key: result[key] for key in sorted(result) if key not in (*ALWAYS, *row.differs)}
        return re.sub(row.blur, "...", repr(kept).replace(str(self.here[front]), "HERE"))


def prepare(live: Stack) -> None:
    """Make each front's own database, and forget what earlier tests left in the queues."""
    address = {"host": "127.0.0.1", "port": live.ports["postgres"], "dbname": "postgres"}
    login = {"user": live.env["POSTGRES_USER"], "password": live.env["POSTGRES_PASSWORD"]}
    with psycopg.connect(**address, **login, autocommit=True) as admin:
        for front in FRONTS:
            admin.execute(f"CREATE DATABASE {OWN_DATABASE}".replace("{{ stack_front }}", front).encode())
    redis.Redis(port=live.ports["redis"]).delete(*_audit.CONTRACTS["v0"].queues)


@pytest.fixture(scope="module")
def fronts(live: Stack, tmp_path_factory: pytest.TempPathFactory) -> Fronts:
    """Run every row on both fronts, as loud as a person would who looks for a mistake."""
    base = tmp_path_factory.mktemp("fronts")
    here = {front: base / front for front in FRONTS}
    waiting = Row("redis_ready", connections(live)["redis"], task={"async": 30, "poll": 1})
    for name, group in GROUPS.items():
        rows = {**group(live), **({ASYNC: waiting} if name == "gates" else {})}
        listed = {row: "{{ result_%d }}" % number for number, row in enumerate(rows)}
        keep = {"dest": "{{ here }}-{{ inventory_hostname }}.json", "content": "{{ all | to_json }}"}
        last = {"name": "Keep", "ansible.builtin.copy": keep, "vars": {"all": listed}}
        (base / f"{name}.yml").write_text(yaml.safe_dump([*tasks(rows), last], sort_keys=False))
    prepare(live)
    plays = []
    for front in FRONTS:
        here[front].mkdir()
        plays.append(
            {
                "name": front,
                "hosts": "all",
                "strategy": "ansible.builtin.free",
                "gather_facts": False,
                "vars": {"stack_front": front, "here": str(here[front])},
                "tasks": [{"ansible.builtin.include_tasks": "{{ inventory_hostname }}.yml"}],
            }
        )
    playbook = base / "fronts.yml"
    playbook.write_text(yaml.safe_dump(plays, sort_keys=False))
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    inventory = base / "inventory.yml"
    inventory.write_text(yaml.safe_dump({"all": {"hosts": {name: {} for name in GROUPS}, "vars": local}}))
    run = play(playbook, "-vvv", "-i", str(inventory), env={"ANSIBLE_DISPLAY_TRACEBACK": "error"}).ok()
    results = {
        front: {
            row: result
            for name in GROUPS
            for row, result in json.loads((base / f"{front}-{name}.json").read_text()).items()
        }
        for front in FRONTS
    }
    return Fronts(run, all_rows(live), results, here)


def test_every_module_has_a_row(live: Stack) -> None:
    """Add one for a new module: a success at least, and a failure if it can fail."""
    assert sorted({row.module for row in all_rows(live).values()}) == MODULES


def test_every_module_has_two_fronts() -> None:
    assert sorted(path.stem for path in (ROOT / "plugins" / "action").glob("[!_]*.py")) == MODULES


def test_both_fronts_give_the_same_result(fronts: Fronts) -> None:
    different = {
        name: pair
        for name in fronts.rows
        if len(set(pair := [fronts.comparable(front, name) for front in FRONTS])) != 1
    }
    assert not different, "\n\n".join(f"{name}\n  {one}\n  {two}" for name, (one, two) in different.items())


def test_results_are_what_the_rows_say(fronts: Fronts) -> None:
    wrong = {
        f"{name} ({front})": result
        for name, row in fronts.rows.items()
        for front, results in fronts.results.items()
        if (result := results[name]).get("failed", False) != row.fails or result["changed"] != row.changed
    }
    assert not wrong, "\n\n".join(f"{name}\n  {result}" for name, result in wrong.items())


def test_both_fronts_write_the_same_files(fronts: Fronts) -> None:
    def content(front: str) -> dict[str, tuple[int, str]]:
        here, written = fronts.here[front], {}
        for path in sorted(path for path in here.rglob("*") if path.is_file() and path.name not in CHANCE):
            # What podman says about containers that live on changes all the time.
            text = path.read_text() if path.name == "summary.md" or "evidence" not in path.parts else ""
            name, text = (
                re.sub(
                    r'failure-\d+-\d+|(?<=030-)\d+T\d+Z|(?<="since": ")[^"]+', "time", each.replace(str(here), "HERE")
                )
                for each in (str(path), text)
            )
            written[name] = (path.stat().st_mode, text)
        return written

    auto = content("auto")
    assert auto == content("module")
    assert {"HERE/private/password", "HERE/private/stack.env", "HERE/adr/030/config.yaml"} <= set(auto)
    assert any(name.endswith("summary.md") for name in auto)


def test_no_front_shows_a_secret_even_when_it_is_loud(fronts: Fronts) -> None:
    search = Search(**{secret: secret for secret in SECRETS})
    assert search.hits("output", fronts.run.out) == []
    assert search.hits("results", json.dumps(fronts.results)) == []


def test_a_wrong_password_is_named_on_both_fronts(fronts: Fronts) -> None:
    for results in fronts.results.values():
        message = results["postgres refuses a password"]["msg"]
        assert "password authentication failed" in message
        assert "set postgres_password to the one that it has" in message


def test_an_exception_that_nobody_foresaw_is_told_without_its_secret(fronts: Fronts) -> None:
    for results in fronts.results.values():
        result = results["report that nobody foresaw"]
        assert result["msg"].startswith("stack_report failed unexpectedly: NotADirectoryError: ")
        assert "Traceback" in str(result["exception"])


def test_the_tasks_environment_reaches_the_phase(fronts: Fronts) -> None:
    for front, results in fronts.results.items():
        wanted = fronts.here[front] / "xdg" / "kubernaut-integration" / "workflowexecution-fronts"
        assert results["stack with the task's environment"]["state_dir"] == str(wanted)


def test_nothing_is_left_of_the_fronts_stack(fronts: Fronts) -> None:
    assert left_of("workflowexecution-fronts") == []
    assert fronts.run.rc == 0


def test_an_async_task_takes_the_module(fronts: Fronts) -> None:
    """An action cannot be left alone; the module can."""
    result = fronts.results["auto"][ASYNC]
    assert result["ready"] is True
    assert result["finished"]
    assert result["ansible_job_id"]
