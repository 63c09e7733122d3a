# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``vars.json`` keeps: what somebody has set, with paths that hold everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.kubernaut.integration.plugins.plugin_utils import _kept


def test_defaults_of_the_roles_are_left_to_the_next_run() -> None:
    settings = {"postgres_memory": "1g", "postgres_durable": False, "images_policy": "auto", "postgres_image": ""}
    assert _kept.given(settings) == {}
    assert _kept.given({**settings, "datastorage_build_args": {}, "redis_image": "valkey"}) == {"redis_image": "valkey"}
    assert _kept.given({"postgres_memory": "2g", "postgres_durable": True, "postgres_max_connections": "200"}) == {
        "postgres_memory": "2g",
        "postgres_durable": True,
    }


def test_what_follows_from_a_checkout_is_left_to_it() -> None:
    checkout = {"kubernaut_dir": "/src/a", "migrations_dir": "/src/a/migrations", "datastorage_context": "/src/a"}
    assert _kept.given(checkout) == {"kubernaut_dir": "/src/a"}
    own = {**checkout, "migrations_dir": "/mine"}
    assert _kept.given(own) == {"kubernaut_dir": "/src/a", "migrations_dir": "/mine"}


@pytest.mark.parametrize(
    ("remote", "given", "changed"),
    [
        (False, {"migrations_dir": "mine"}, {"migrations_dir": "{here}/mine"}),
        (False, {"migrations_dir": "$SOMEWHERE/mine"}, {"migrations_dir": "/somewhere/mine"}),
        (False, {"stack_state_dir": "state"}, {"stack_state_dir": "{here}/state"}),
        (False, {"datastorage_binary": "", "stack_team": "mine"}, {}),
        (True, {"datastorage_binary": "bin/d", "stack_state_dir": "state"}, {}),
        (True, {"migrations_dir": "mine"}, {"migrations_dir": "{here}/mine"}),
        (True, {"migrations_dir": "mine", "migrations_remote_src": "false"}, {"migrations_dir": "{here}/mine"}),
        (True, {"migrations_dir": "mine", "migrations_remote_src": True}, {}),
        (True, {"stack_contract_file": "next.yml"}, {"stack_contract_file": "{here}/next.yml"}),
    ],
)
def test_paths_mean_the_same_in_every_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, remote: bool, given: dict[str, Any], changed: dict[str, str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOMEWHERE", "/somewhere")
    wanted = {name: value.format(here=tmp_path) for name, value in changed.items()}
    assert _kept.absolute(given, remote) == {**given, **wanted}
