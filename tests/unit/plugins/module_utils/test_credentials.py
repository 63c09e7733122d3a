# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Passwords of a stack's own: made once, kept for the owner only, never replaced unasked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.kubernaut.integration.plugins.module_utils import _adr030_keys, _credentials
from ansible_collections.kubernaut.integration.plugins.module_utils._credentials import FILE, NAMES, parse
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import Context, PhaseError


@pytest.fixture(name="home")
def _home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def run(home: Path, check: bool = False, create: bool = True) -> dict[str, Any]:
    return _credentials.run({"name": "wf", "state_dir": str(home), "create": create}, Context(check=check))


def test_they_are_made_once(home: Path) -> None:
    first = run(home)
    assert first["changed"]
    assert run(home) == {**first, "changed": False}
    assert run(home, create=False) == {**first, "changed": False}
    assert (home / "wf").stat().st_mode & 0o777 == 0o700
    assert (home / "wf" / FILE).stat().st_mode & 0o777 == 0o600


def test_no_two_are_the_same(home: Path) -> None:
    other = _credentials.run({"name": "other", "state_dir": str(home), "create": True}, Context())
    assert len({*run(home)["credentials"].values(), *other["credentials"].values()}) == 2 * len(NAMES)


def test_the_service_can_carry_them(home: Path) -> None:
    for password in run(home)["credentials"].values():
        assert _adr030_keys._dsn_wrong(password) is None
        assert len(password) == 32


def test_check_mode_plans_with_some_and_keeps_none(home: Path) -> None:
    planned = run(home, check=True)
    assert planned["changed"]
    assert sorted(planned["credentials"]) == sorted(NAMES)
    assert not (home / "wf" / FILE).exists()


def test_who_only_looks_makes_none(home: Path) -> None:
    assert run(home, create=False) == {"changed": False, "credentials": {}}
    assert not (home / "wf" / FILE).exists()


GOOD = dict.fromkeys(NAMES, "a" * 32)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        json.dumps({**GOOD, "redis_password": ""}),
        json.dumps({**GOOD, "redis_password": 5}),
        json.dumps({**GOOD, "redis_password": "a b" + "c" * 29}),
        json.dumps({"postgres_password": "a" * 32}),
        json.dumps({**GOOD, "more": "a" * 32}),
    ],
)
def test_what_is_not_ours_is_refused_and_stays(home: Path, text: str) -> None:
    file = home / "wf" / FILE
    file.parent.mkdir(parents=True)
    file.write_text(text)
    assert parse(text) is None
    with pytest.raises(
        PhaseError, match="does not hold what stack_credentials: generated has written there"
    ) as failure:
        run(home)
    assert "aaaa" not in failure.value.message
    assert file.read_text() == text


def test_what_is_ours_is_read() -> None:
    assert parse(json.dumps(GOOD)) == GOOD
