# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets are planted, and everything that a run says or leaves behind is searched for them.

What both fronts of each phase say at -vvv is searched in test_fronts.py.
"""

from __future__ import annotations

import base64
import json
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
    LIMIT,
    ROOT,
    Run,
    Stack,
    command,
    environment,
)

#: Files of a stack that are meant to hold passwords -> their modes. Two are for a container whose user has no number on
#: this machine: they are behind the stack's directory, which only its owner may enter.
HOLDERS = {
    "stack.env": 0o600,
    "vars.json": 0o600,
    "config/postgres/password": 0o444,
    "config/redis/redis.conf": 0o444,
    "config/datastorage/db-secrets.yaml": 0o400,
    "config/datastorage/redis-secrets.yaml": 0o400,
}
CALLBACKS = "kubernaut.integration.summary,ansible.posix.profile_tasks,ansible.builtin.junit"


@dataclass
class Planted:
    """A stack with secrets, and what was seen of it.

    :param others: secrets that are tried later, each of which is wrong.
    """

    stack: Stack
    given: dict[str, str]
    others: dict[str, str]
    outside: Path
    said: dict[str, Run] = field(default_factory=dict)
    watchers: list[Watcher] = field(default_factory=list)

    @property
    def search(self) -> Search:
        """Looks for all of them."""
        return Search(**self.given, **{f"other {name}": secret for name, secret in self.others.items()})

    def play(self, name: str, playbook: str, *arguments: str, secrets: dict[str, str], **extra: Any) -> Run:
        """Run a playbook with secrets from a file, as loud as it can be, and watch the machine meanwhile."""
        vault = self.outside / "vault.yml"
        vault.write_text(yaml.safe_dump(secrets))
        log = {"ANSIBLE_LOG_PATH": str(self.outside / "seen" / f"{name}.log")}
        reports = {"ANSIBLE_CALLBACKS_ENABLED": CALLBACKS, "JUNIT_OUTPUT_DIR": str(self.outside / "seen" / name)}
        argv = command(playbook, {**self.stack.variables, **extra}, "-e", f"@{vault}", "-vvv", *arguments)
        with Watcher(self.search, map(self.stack.container, self.stack.ports)) as watcher:
            done = subprocess.run(
                argv,
                env=environment(**log, **reports),
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
    """A run, one that only looks, one that fails and one that proves, all with secrets."""
    home = tmp_path_factory.mktemp("state")
    stack = Stack("canary", {"postgres": 27943, "redis": 27889, "datastorage": 27500}, home)
    names = ("postgres_password", "redis_password")
    here = Planted(
        stack,
        {name: planted(name[:2]) for name in names},
        {name: planted("x" + name[:2]) for name in names},
        tmp_path_factory.mktemp("outside"),
    )
    (here.outside / "seen").mkdir()
    quick = {"stack_stop_timeout": 1}
    try:
        here.play("first", "integration", "--diff", secrets=here.given, **quick).ok()
        changed = {**here.given, "redis_password": here.others["redis_password"]}
        here.play("plan", "integration", "--diff", "--check", secrets=changed, **quick).ok()
        wrong = {**here.given, "postgres_password": here.others["postgres_password"]}
        here.play("failing", "integration", "--diff", secrets=wrong, stack_front="module", **quick)
        here.play("proving", "verify", secrets=here.given, stack_front="module", **quick)
        yield here
    finally:
        stack.remove(**quick)


def test_the_runs_were_what_they_should_be(seen: Planted) -> None:
    assert "7/7 in PostgreSQL" in seen.said["first"].out
    assert "requirepass" in seen.said["plan"].out or "redis.conf" in seen.said["plan"].out
    assert seen.said["failing"].rc != 0
    assert "[postgres-password]" in seen.said["failing"].out
    assert list(seen.stack.state_dir.rglob("summary.md"))
    assert list(seen.stack.state_dir.rglob("*.tar*"))
    assert all(list((seen.outside / "seen" / name).glob("*.xml")) for name in seen.said)


@pytest.mark.parametrize("name", ["first", "plan", "failing", "proving"])
def test_no_run_says_a_secret(seen: Planted, name: str) -> None:
    """-vvv, differences, what callbacks print, tasks that fail."""
    assert seen.search.hits("output", seen.said[name].out) == []


def test_no_log_or_report_of_ansible_holds_one(seen: Planted) -> None:
    assert len(list((seen.outside / "seen").glob("*.log"))) == len(seen.said)
    assert seen.search.files(seen.outside) == []


def test_only_the_files_that_must_hold_one_do_and_only_their_readers_may(seen: Planted) -> None:
    """Evidence and its archive, stack.json, vars.json, what a run remembers: nothing of it."""
    state = seen.stack.state_dir
    holders = {hit.split(" in ", 1)[1].split(": ")[0] for hit in seen.search.files(state)}
    assert {name: (state / name).stat().st_mode & 0o777 for name in holders} == HOLDERS
    assert state.stat().st_mode & 0o077 == 0


def test_no_process_and_no_container_ever_showed_one(seen: Planted) -> None:
    watched = [watcher.found for watcher in seen.watchers]
    assert watched == [set()] * len(seen.said)
    processes = {shown for watcher in seen.watchers for shown in watcher.processes}
    for name in ("ansible-playbook", "podman", "postgres", "redis-server", "reference_datastorage"):
        assert any(name in shown for shown in processes), f"{name} was never seen"
    assert all(watcher.inspected for watcher in seen.watchers)


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


CONFIGURATION = {
    "directory": "{{ here }}/configuration",
    "database_host": "db",
    "database_port": 5432,
    "database_name": "action_history",
    "database_user": "slm_user",
    "redis_host": "redis",
    "redis_port": 6379,
}
GATE = {"postgres_port": 1, "postgres_password": "{{ secret }}", "timeout": 0.1}
#: A secret is written, another one takes its place, and a third task fails with it.
PHASES = [
    {"kubernaut.integration.adr030_config": {**CONFIGURATION, "database_password": "{{ secret }}"}, "diff": True},
    {"kubernaut.integration.adr030_config": {**CONFIGURATION, "database_password": "another"}, "diff": True},
    {"kubernaut.integration.postgres_ready": GATE},
]


@pytest.mark.parametrize(
    ("mutate", "front", "leaks"),
    [
        (None, "auto", False),
        (None, "module", False),
        (forget_an_options_secrecy, "auto", True),
        (forget_an_options_secrecy, "module", True),
        (forget_to_mask_results, "auto", True),
        (forget_to_mask_differences, "module", True),
    ],
)
def test_the_search_finds_what_a_forgotten_mask_shows(
    tmp_path: Path, mutate: Callable[[Path], None] | None, front: str, leaks: bool
) -> None:
    collection = tmp_path / "ansible_collections" / "kubernaut" / "integration"
    for part in ("plugins", "meta"):
        shutil.copytree(ROOT / part, collection / part, ignore=shutil.ignore_patterns("__pycache__"))
    if mutate is not None:
        mutate(collection)
    secret = planted("pg")
    playbook = [{"hosts": "localhost", "gather_facts": False, "tasks": PHASES}]
    (tmp_path / "tasks.yml").write_text(yaml.safe_dump(playbook))
    (tmp_path / "vault.yml").write_text(yaml.safe_dump({"secret": secret}))
    extra = json.dumps({"here": str(tmp_path), "stack_front": front})
    done = subprocess.run(
        [ANSIBLE_PLAYBOOK, tmp_path / "tasks.yml", "-vvv", "-e", extra, "-e", f"@{tmp_path / 'vault.yml'}"],
        env=environment(ANSIBLE_COLLECTIONS_PATH=str(tmp_path)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert "[not-listening]" in done.stdout, done.stdout + done.stderr
    assert bool(Search(secret=secret).hits("output", done.stdout + done.stderr)) == leaks


@pytest.mark.parametrize("before", ["", "a", "ab"])
def test_a_secret_is_known_in_every_form(before: str) -> None:
    secret = planted("pg")
    search = Search(secret=secret)
    text = (before + secret + "z").encode()
    for written in (text, base64.b64encode(text), base64.urlsafe_b64encode(text), text.hex(), quote_plus(secret)):
        assert search.hits("text", written), written
    assert search.hits("text", secret[:-1]) == []
