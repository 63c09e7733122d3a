# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Migrations on a PostgreSQL of their own: what is killed half-way is completed or explained, and the role's variables.

``make soak`` kills at every step and at many more moments.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.kubernaut.integration.plugins.module_utils import _ledger, _migrations
from ansible_collections.kubernaut.integration.tests.live.playing import Run
from ansible_collections.kubernaut.integration.tests.soak import migrations
from ansible_collections.kubernaut.integration.tests.soak.migrations import Server

ROLE = """
- name: Migrate
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Migrate
      ansible.builtin.include_role: {name: kubernaut.integration.migrations}
"""


@pytest.fixture(scope="module")
def where() -> Iterator[Server]:
    """A PostgreSQL alone."""
    with migrations.server("live-kill", 27843) as server:
        yield server


@pytest.mark.parametrize(("kind", "stride"), [("module", 9), ("connection", 9), ("container", 30)])
def test_whatever_is_killed_at_a_step_the_next_run_completes_or_explains(where: Server, kind: str, stride: int) -> None:
    steps, problems = migrations.every_step(where, kind, stride)
    assert problems == []
    assert steps > stride


@pytest.mark.parametrize("kind", migrations.KINDS)
def test_whatever_is_killed_at_some_moment_the_next_run_completes_or_explains(where: Server, kind: str) -> None:
    assert migrations.random_moments(where, kind, rounds=1, seed=3) == []


def test_such_a_trial_finds_what_is_wrong(where: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger that forgets, and a plan that does not mind."""
    monkeypatch.setattr(_migrations, "Policy", lambda *_asked: _ledger.Policy(True, True))
    real = _migrations.Session.apply

    def forget(self: Any, migration: Any) -> dict[str, Any]:
        done = real(self, migration)
        self.connection.execute("DELETE FROM kubernaut_integration.migrations WHERE version = 2")
        return done

    monkeypatch.setattr(_migrations.Session, "apply", forget)
    _struck, problems = migrations.one(where, "module", 10**6)
    assert any("a row of somebody was lost" in problem for problem in problems)


def migrate(where: Server, tmp_path: Path, **variables: Any) -> Run:
    """Run the role alone."""
    assert where.stack is not None
    playbook = tmp_path / "migrate.yml"
    playbook.write_text(ROLE)
    return where.stack.play(playbook, migrations_required={}, migrations_template=False, **variables)


@pytest.mark.slow
def test_the_roles_variables_arrive(where: Server, tmp_path: Path) -> None:
    directory = tmp_path / "files"
    directory.mkdir()
    (directory / "002_b.sql").write_text("CREATE TABLE b ();")
    given: dict[str, Any] = {"migrations_dir": str(directory), "migrations_remote_src": True}

    # On the target, it is the module that misses it and not the look at the controller's files.
    run = migrate(where, tmp_path, **{**given, "migrations_dir": "/nonexistent"})
    assert "migrations_dir is /nonexistent, which cannot be read" in run.complaint
    migrate(where, tmp_path, **given, migrations_goose_table=True).ok()
    with where.connect("action_history") as asking:
        assert asking.execute("SELECT max(version_id) FROM goose_db_version").fetchone() == (2,)

    (directory / "001_a.sql").write_text("CREATE TABLE a ();\nSELECT pg_sleep(10);")
    assert migrate(where, tmp_path, **given).complaint.endswith("[migration-changed]")
    given["migrations_allow_inserted"] = True
    assert migrate(where, tmp_path, **given, migrations_statement_timeout=0.2).complaint.endswith("[migration-timeout]")
    (directory / "001_a.sql").write_text("DROP TABLE b;")
    with where.connect("action_history") as holder, holder.transaction():
        holder.execute("LOCK TABLE b")
        run = migrate(where, tmp_path, **given, migrations_table_lock_timeout=0.2)
        assert run.complaint.endswith("[migration-blocked]")
    migrate(where, tmp_path, **given).ok()

    (directory / "002_b.sql").unlink()
    assert migrate(where, tmp_path, **given).complaint.endswith("[migration-changed]")
    migrate(where, tmp_path, **given, migrations_allow_removed=True).ok()
    for variable in ("migrations_statement_timeout", "migrations_table_lock_timeout"):
        assert variable in migrate(where, tmp_path, **given, **{variable: -1}).complaint
