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


@pytest.mark.parametrize("check", [False, True])
def test_who_only_looks_makes_none_and_is_told_so(home: Path, check: bool) -> None:
    """Redis would be asked without a password, as if it had none."""
    with pytest.raises(PhaseError, match=r"\Astack_credentials: the stack wf has no generated passwords in "):
        run(home, check, create=False)
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


def settle(home: Path, credentials: str | None, **how: bool) -> list[str]:
    how = {"kept": False, "fresh": False, "check": False, **how}
    return _credentials.settle(str(home / "wf"), credentials, **how)


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("credentials", [None, "upstream", "generated"])
def test_nothing_is_settled_where_there_is_nothing(home: Path, credentials: str | None, check: bool) -> None:
    assert settle(home, credentials, check=check) == []
    assert settle(home, credentials, check=check, fresh=True) == []
    assert not home.exists()


def test_those_of_the_data_stay(home: Path) -> None:
    made = run(home)
    for credentials in ("generated", None):
        assert settle(home, credentials, kept=True) == []
    # Redis has one, and no volume.
    assert settle(home, "generated") == []
    assert run(home, create=False)["credentials"] == made["credentials"]


@pytest.mark.parametrize(
    ("credentials", "how"),
    [("generated", {"fresh": True}), ("upstream", {"fresh": True}), (None, {"fresh": True}), ("upstream", {})],
)
def test_those_that_are_nobodys_any_more_go(home: Path, credentials: str | None, how: dict[str, bool]) -> None:
    run(home)
    path = home / "wf" / FILE
    assert settle(home, credentials, **how, check=True) == [f"would remove {path}"]
    assert path.exists()
    assert settle(home, credentials, **how) == [f"removed {path}"]
    assert not path.exists()


@pytest.mark.parametrize("check", [False, True])
def test_data_that_was_made_with_them_is_refused_to_others(home: Path, check: bool) -> None:
    made = run(home)
    with pytest.raises(PhaseError, match=r"\Astack_credentials: .* set it to generated, or start clean") as refusal:
        settle(home, "upstream", kept=True, check=check)
    assert not [password for password in made["credentials"].values() if password in str(refusal.value)]
    assert run(home, create=False)["credentials"] == made["credentials"]


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("text", [None, "", "{", json.dumps({**GOOD, "redis_password": ""})])
def test_data_whose_password_is_lost_is_refused(home: Path, text: str | None, check: bool) -> None:
    """New ones were made once, and PostgreSQL refused them."""
    file = home / "wf" / FILE
    file.parent.mkdir(parents=True)
    if text is not None:
        file.write_text(text)
    with pytest.raises(PhaseError, match=r"\Astack_credentials: PostgreSQL's volume keeps .* stack_fresh: true\.\Z"):
        settle(home, "generated", kept=True, check=check)
    assert file.exists() == (text is not None)
    # Whoever gives PostgreSQL's password knows better.
    assert settle(home, None, kept=True, check=check) == []
