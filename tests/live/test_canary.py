# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets are planted, and everything that a run says or leaves behind is searched for them.

What both fronts of each phase say at -vvv is searched in test_fronts.py.
"""

from __future__ import annotations

import base64
import json
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pytest
import yaml

from ansible_collections.kubernaut.integration.tests.live.canary import Search, Watcher, planted
from ansible_collections.kubernaut.integration.tests.live.playing import (
    ANSIBLE_PLAYBOOK,
    LABEL,
    LIMIT,
    ROOT,
    Run,
    Stack,
    command,
    environment,
    podman,
)

#: Files of a stack that are meant to hold passwords -> their modes. Two are for a container whose user has no number on
#: this machine: they are behind the stack's directory, which only its owner may enter.
HOLDERS = {
    "credentials.json": 0o600,
    "stack.env": 0o600,
    "vars.json": 0o600,
    "config/postgres/password": 0o444,
    "config/redis/redis.conf": 0o444,
    "config/datastorage/db-secrets.yaml": 0o400,
    "config/datastorage/redis-secrets.yaml": 0o400,
}
CALLBACKS = "kubernaut.integration.summary,ansible.posix.profile_tasks,ansible.builtin.junit,ansible.builtin.tree"
#: Settings that make Ansible say and keep all that it can, where the directory ``SEEN`` is searched in the end.
LOUD = {
    "ANSIBLE_CALLBACKS_ENABLED": CALLBACKS,
    "ANSIBLE_DISPLAY_OK_HOSTS": "1",
    "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "1",
    "ANSIBLE_DISPLAY_TRACEBACK": "always",
    "ANSIBLE_LOG_PATH": "SEEN/log",
    "JUNIT_OUTPUT_DIR": "SEEN/junit",
    "ANSIBLE_CALLBACK_TREE_DIR": "SEEN/tree",
    "ANSIBLE_CACHE_PLUGIN": "ansible.builtin.jsonfile",
    "ANSIBLE_CACHE_PLUGIN_CONNECTION": "SEEN/facts",
}
NAMES = ("postgres_password", "redis_password")
RUNS = ["first", "second", "plan", "failing", "proving"]
#: What Ansible writes in place of a secret.
HIDDEN = "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"
#: Run -> what prints it, where that is not the usual callback: every result as JSON, and no more than results.
PRINTERS = {"second": "ansible.posix.jsonl", "proving": "ansible.builtin.minimal"}


@dataclass
class Planted:
    """A stack with secrets, and what was seen of it.

    :param given: what its owner sets: a password of PostgreSQL, with characters that many languages write otherwise.
    :param own: passwords of the stack's own (``stack_credentials``), of which it uses that of Redis.
    :param others: secrets that are tried later, each of which is wrong.
    """

    stack: Stack
    given: dict[str, str]
    own: dict[str, str]
    others: dict[str, str]
    outside: Path
    said: dict[str, Run] = field(default_factory=dict)
    watchers: list[Watcher] = field(default_factory=list)

    @property
    def search(self) -> Search:
        """Looks for all of them."""
        kinds = {"given": self.given, "own": self.own, "other": self.others}
        return Search(**{f"{kind} {name}": secret for kind, found in kinds.items() for name, secret in found.items()})

    def play(self, name: str, playbook: str, *arguments: str, given: dict[str, str], **extra: Any) -> Run:
        """Run a playbook with secrets from a file, as loud as it can be, and watch the machine meanwhile."""
        vault = self.outside / "vault.yml"
        vault.write_text(yaml.safe_dump(given))
        place = self.outside / "seen" / name
        place.mkdir()
        loud = {setting: value.replace("SEEN", str(place)) for setting, value in LOUD.items()}
        printer = {"ANSIBLE_STDOUT_CALLBACK": PRINTERS[name]} if name in PRINTERS else {}
        argv = command(playbook, {**self.stack.variables, **extra}, "-e", f"@{vault}", "-vvv", *arguments)
        with Watcher(self.search, map(self.stack.container, self.stack.ports)) as watcher:
            done = subprocess.run(
                argv,
                env=environment(**loud, **printer),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=LIMIT,
                check=False,
            )
        vault.unlink()
        self.watchers.append(watcher)
        self.said[name] = Run(done.returncode, done.stdout)
        return self.said[name]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planted]:
    """A run, another one, one that only looks, one that fails and one that proves, all with secrets."""
    home = tmp_path_factory.mktemp("state")
    stack = Stack("canary", {"postgres": 27943, "redis": 27889, "datastorage": 27500}, home)
    here = Planted(
        stack,
        {"postgres_password": planted("po")},
        {name: secrets.token_urlsafe(24) for name in NAMES},
        {name: planted("x" + name[:2]) for name in NAMES},
        tmp_path_factory.mktemp("outside"),
    )
    (here.outside / "seen").mkdir()
    # As an earlier run made them, so that they are known before anything is said.
    stack.state_dir.mkdir(mode=0o700)
    (stack.state_dir / "credentials.json").write_text(json.dumps(here.own))
    (stack.state_dir / "credentials.json").chmod(0o600)
    quick = {"stack_credentials": "generated", "stack_stop_timeout": 1}
    module = {**quick, "stack_front": "module"}
    others = {name: {**here.given, name: here.others[name]} for name in NAMES}
    try:
        here.play("first", "integration", "--diff", given=here.given, **quick).ok()
        here.play("second", "integration", "--diff", given=here.given, **quick).ok()
        here.play("plan", "integration", "--diff", "--check", given=others["redis_password"], **quick).ok()
        here.play("failing", "integration", "--diff", given=others["postgres_password"], **module)
        here.play("proving", "verify", given=here.given, **module)
        yield here
    finally:
        stack.remove(**quick)


def test_the_runs_were_what_they_should_be(seen: Planted) -> None:
    assert list(seen.said) == RUNS
    assert "7/7 in PostgreSQL" in seen.said["first"].out
    assert "requirepass" in seen.said["plan"].out or "redis.conf" in seen.said["plan"].out
    assert seen.said["failing"].rc != 0
    assert "[postgres-password]" in seen.said["failing"].out
    assert list(seen.stack.state_dir.rglob("summary.md"))
    assert list(seen.stack.state_dir.rglob("*.tar*"))


def test_a_second_run_changes_nothing_and_shows_every_result(seen: Planted) -> None:
    events = [json.loads(line) for line in seen.said["second"].out.splitlines() if line.startswith('{"')]
    (stats,) = [event["stats"] for event in events if event["_event"] == "v2_playbook_on_stats"]
    assert stats["localhost"]["changed"] == 0
    results = [event["hosts"]["localhost"] for event in events if event["_event"] == "v2_runner_on_ok"]
    # Results are there with what the tasks were given, and the place of a secret is seen in them.
    given = [result["invocation"]["module_args"] for result in results if "at" in result and "invocation" in result]
    assert HIDDEN in [arguments.get("postgres_password") for arguments in given]


@pytest.mark.parametrize("name", RUNS)
def test_no_run_says_a_secret(seen: Planted, name: str) -> None:
    """-vvv, differences, what callbacks print, tasks that fail."""
    assert seen.search.hits("output", seen.said[name].out) == []


def test_no_log_or_report_of_ansible_holds_one(seen: Planted) -> None:
    for name in RUNS:
        place = seen.outside / "seen" / name
        assert {path.name for path in place.iterdir()} >= {"log", "junit", "tree"}
        assert all(list((place / kind).iterdir()) for kind in ("junit", "tree")), name
    assert seen.search.files(seen.outside) == []


def test_only_the_files_that_must_hold_one_do_and_only_their_readers_may(seen: Planted) -> None:
    """Evidence and its archive, stack.json, vars.json, what a run remembers: nothing of it."""
    home, name = seen.stack.home, seen.stack.name
    holders = {hit.split(" in ", 1)[1].split(": ")[0] for hit in seen.search.files(home)}
    modes = {holder: (home / holder).stat().st_mode & 0o777 for holder in holders}
    assert modes == {f"{name}/{holder}": mode for holder, mode in HOLDERS.items()}
    assert seen.stack.state_dir.stat().st_mode & 0o077 == 0


def test_no_process_and_no_container_ever_showed_one(seen: Planted) -> None:
    watched = [watcher.found for watcher in seen.watchers]
    assert watched == [set()] * len(seen.said)
    processes = {shown for watcher in seen.watchers for shown in watcher.processes}
    for name in ("ansible-playbook", "podman", "postgres", "redis-server", "reference_datastorage"):
        assert any(name in shown for shown in processes), f"{name} was never seen"
    assert all(watcher.inspected for watcher in seen.watchers)
    for kind in ("volume", "network"):
        names = podman(kind, "ls", "--quiet", "--filter", f"label={LABEL}={seen.stack.name}").split()
        assert len(names) == 1, kind
        assert seen.search.hits(kind, podman(kind, "inspect", *names)) == []


def test_the_watcher_sees_what_a_process_is_given() -> None:
    shown = {"arguments": planted("ar"), "environment": planted("en")}
    with Watcher(Search(**shown), []) as watcher:
        subprocess.run(["sh", "-c", "sleep 0.5", shown["arguments"]], env={"GIVEN": shown["environment"]}, check=True)
    assert {hit.split(" in ")[0] for hit in watcher.found} == set(shown)


def test_nothing_is_left_in_ansibles_own_directories(seen: Planted) -> None:
    for directory in (ROOT / ".cache" / "ansible" / "tmp", Path("~/.ansible/tmp").expanduser()):
        if directory.is_dir():
            assert seen.search.files(directory) == []


def change(path: Path, before: str, after: str) -> None:
    """Replace something that is there."""
    text = path.read_text()
    assert before in text, f"{path.name} has changed: break it in another way"
    path.write_text(text.replace(before, after))


def forget_an_options_secrecy(collection: Path) -> None:
    """Remove one no_log."""
    change(collection / "plugins/module_utils/_postgres.py", ', "no_log": True', "")


def forget_to_mask_results(collection: Path) -> None:
    """Let the action front return what the phase gave it."""
    change(collection / "plugins/plugin_utils/_action.py", "dict(remove_values(result, secrets))", "result")


def forget_to_mask_differences(collection: Path) -> None:
    """Let a difference show what was in a secret file: a secret that no option of the task holds."""
    change(collection / "plugins/module_utils/_adr030.py", "shown_before(name, before[name])", "before[name]")


def forget_a_tasks_secrecy(collection: Path) -> None:
    """Remove the no_log of the task whose result is passwords."""
    change(collection / "roles/stack/tasks/credentials.yml", '  no_log: "{{ stack_secure_logging | bool }}"\n', "")


def forget_to_mask_evidence(collection: Path) -> None:
    """Keep the files of a stack as they are."""
    change(collection / "plugins/module_utils/_gather.py", "bounded(self.mask(text), ", "bounded(text, ")


CONFIGURATION = {
    "directory": "{{ here }}/configuration",
    "database_host": "db",
    "database_port": 5432,
    "database_name": "action_history",
    "database_user": "slm_user",
    "redis_host": "redis",
    "redis_port": 6379,
}
OWN = {"name": "kubernaut.integration.stack", "tasks_from": "credentials"}
EVIDENCE = {
    "name": "workflowexecution",
    "containers": {},
    "state_dir": "{{ stack_state_dir }}",
    "podman": "false",
    "password": "{{ secret }}",
}
GATE = {"postgres_port": 1, "postgres_password": "{{ secret }}", "timeout": 0.1}
#: A secret is written, another one takes its place; passwords of a stack's own are looked up; its files are kept as
#: evidence; and a task fails with a secret.
PHASES = [
    {"kubernaut.integration.adr030_config": {**CONFIGURATION, "database_password": "{{ secret }}"}, "diff": True},
    {"kubernaut.integration.adr030_config": {**CONFIGURATION, "database_password": "another"}, "diff": True},
    {"ansible.builtin.include_role": OWN, "vars": {"stack_credentials": "generated"}},
    {"kubernaut.integration.diagnose": EVIDENCE},
    {"kubernaut.integration.postgres_ready": GATE},
]


@pytest.mark.parametrize(
    ("mutate", "front", "leaking"),
    [
        (None, "auto", []),
        (None, "module", []),
        (forget_an_options_secrecy, "auto", ["output"]),
        pytest.param(forget_an_options_secrecy, "module", ["output"], marks=pytest.mark.slow),
        pytest.param(forget_to_mask_results, "auto", ["output"], marks=pytest.mark.slow),
        pytest.param(forget_to_mask_differences, "auto", ["output"], marks=pytest.mark.slow),
        (forget_a_tasks_secrecy, "auto", ["output"]),
        (forget_to_mask_evidence, "auto", ["evidence"]),
    ],
)
def test_the_search_finds_what_a_forgotten_mask_shows(
    tmp_path: Path, mutate: Callable[[Path], None] | None, front: str, leaking: list[str]
) -> None:
    collection = tmp_path / "ansible_collections" / "kubernaut" / "integration"
    for part in ("plugins", "meta", "roles/stack"):
        shutil.copytree(ROOT / part, collection / part, ignore=shutil.ignore_patterns("__pycache__"))
    if mutate is not None:
        mutate(collection)
    secret, own = planted("pg"), {name: secrets.token_urlsafe(24) for name in NAMES}
    state = tmp_path / "state" / "workflowexecution"
    (state / "config" / "postgres").mkdir(parents=True)
    (state / "config" / "postgres" / "password").write_text(secret)
    (state / "credentials.json").write_text(json.dumps(own))
    playbook = [{"hosts": "localhost", "gather_facts": False, "tasks": PHASES}]
    (tmp_path / "tasks.yml").write_text(yaml.safe_dump(playbook))
    (tmp_path / "vault.yml").write_text(yaml.safe_dump({"secret": secret}))
    extra = json.dumps({"here": str(tmp_path), "stack_state_dir": str(state.parent), "stack_front": front})
    done = subprocess.run(
        [ANSIBLE_PLAYBOOK, tmp_path / "tasks.yml", "-vvv", "-e", extra, "-e", f"@{tmp_path / 'vault.yml'}"],
        env=environment(ANSIBLE_COLLECTIONS_PATH=str(tmp_path), ANSIBLE_DISPLAY_OK_HOSTS="1"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    output, evidence = done.stdout + done.stderr, state / "report"
    assert "[outside-away]" in output, output
    assert list(evidence.rglob("configuration.txt")), output
    search = Search(secret=secret, **own)
    hits = {"output": search.hits("output", output), "evidence": search.files(evidence)}
    assert [place for place, found in hits.items() if found] == leaking, hits


@pytest.mark.parametrize("before", ["", "a", "ab"])
def test_a_secret_is_known_in_every_form(before: str) -> None:
    secret = planted("pg")
    search = Search(secret=secret)
    text = (before + secret + "z").encode()
    for written in (text, base64.b64encode(text), base64.urlsafe_b64encode(text), text.hex(), quote_plus(secret)):
        assert search.hits("text", written), written
    assert search.hits("text", secret[:-1]) == []
