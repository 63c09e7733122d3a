# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What contract v1 demands beside its configuration: made once, judged before a container meets it, and private."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.kubernaut.integration.plugins.module_utils import _access
from ansible_collections.kubernaut.integration.plugins.module_utils._access import judge_kubeconfig, stub_kubeconfig
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import Context, PhaseError

STUB = "http://wf_auth_1:6443"


@pytest.fixture(name="home")
def _home(tmp_path: Path) -> Path:
    (tmp_path / "wf").mkdir(mode=0o700)
    return tmp_path


def run(home: Path, check: bool = False, **given: Any) -> dict[str, Any]:
    options = {"name": "wf", "state_dir": str(home), "owner": None, "kubeconfig": "", "stub_url": "", "on_host": False}
    options |= {"token": "", "token_file": "", "create": True, "outside": False, "tls": False}
    options |= {"names": [], "ca_file": ""}
    return _access.run({**options, **given}, Context(check=check))


def kubeconfig(server: str = "https://10.0.0.1:6443", **cluster: str) -> str:
    document = yaml.safe_load(stub_kubeconfig(server))
    document["clusters"][0]["cluster"] |= cluster
    return yaml.safe_dump(document)


def test_with_the_stub_everything_is_made_once(home: Path) -> None:
    first = run(home, stub_url=STUB)
    assert first["changed"]
    again = run(home, stub_url=STUB)
    assert (again["changed"], again["changed_files"]) == (False, [])
    assert {name: again[name] for name in ("token", "content_hash")} == {
        name: first[name] for name in ("token", "content_hash")
    }
    kept = Path(first["token_file"])
    assert kept.read_text() == first["token"] + "\n"
    assert kept.stat().st_mode & 0o777 == 0o600
    tokens = json.loads((home / "wf/config/auth/tokens.json").read_text())["tokens"]
    assert tokens[first["token"]] == {"user": "system:serviceaccount:default:wf-ds-client", "allowed": True}
    assert (
        yaml.safe_load((home / "wf/config/access/kubeconfig").read_text())["clusters"][0]["cluster"]["server"] == STUB
    )


def test_certificate_is_one_for_its_key_and_lasts(home: Path) -> None:
    run(home, stub_url=STUB)
    access = home / "wf/config/access"
    text = subprocess.run(
        ["openssl", "x509", "-noout", "-subject", "-checkend", str(365 * 86400), "-in", access / "tls.crt"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "datastorage-signing-wf" in text.stdout
    assert (access / "tls.key").stat().st_mode & 0o077 in (0, 0o044)  # 0400 of root's making, else behind a 0700


@pytest.mark.parametrize("spoil", ["tls.crt", "tls.key"])
def test_certificate_and_key_that_do_not_fit_are_made_anew(home: Path, spoil: str) -> None:
    first = run(home, stub_url=STUB)
    path = home / "wf/config/access" / spoil
    path.chmod(0o600)
    path.write_text(_access.make_pair("other")[spoil])
    assert run(home, stub_url=STUB)["content_hash"] != first["content_hash"]
    assert not run(home, stub_url=STUB)["changed"]


def test_the_api_has_a_certificate_for_its_names_that_clients_trust(home: Path) -> None:
    given = {"stub_url": STUB, "tls": True, "names": ["DNS:localhost", "IP:127.0.0.1"]}
    first = run(home, **given)
    assert first["ca_file"] == str(home / "wf/datastorage.crt")
    shown = home / "wf/config/api/tls.crt"
    assert Path(first["ca_file"]).read_text() == shown.read_text()
    text = subprocess.run(
        ["openssl", "x509", "-noout", "-ext", "subjectAltName", "-in", shown],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "DNS:localhost, IP Address:127.0.0.1" in text
    assert shown.read_text() != (home / "wf/config/access/tls.crt").read_text()
    assert not run(home, **given)["changed"]
    assert run(home, create=False, tls=True)["ca_file"] == first["ca_file"]
    assert run(home, stub_url=STUB, tls=True, names=["DNS:localhost"])["changed"]
    assert not run(home, stub_url=STUB, tls=True, names=["DNS:localhost"])["changed"]
    assert run(home, create=False, tls=True, outside=True)["ca_file"] == ""
    assert run(home, create=False, tls=True, outside=True, ca_file="/x.pem")["ca_file"] == "/x.pem"
    again = run(home, stub_url=STUB)
    assert again["content_hash"] != first["content_hash"]
    assert [Path(path).name for path in again["changed_files"]] == ["tls.crt", "tls.key", "datastorage.crt"]
    assert not shown.exists()


def test_check_mode_makes_nothing(home: Path) -> None:
    assert run(home, check=True, stub_url=STUB)["changed"]
    assert list((home / "wf").iterdir()) == []


def test_token_of_a_stack_is_found_again_without_making_anything(home: Path) -> None:
    assert run(home, create=False) == {"changed": False, "token": "", "token_file": "", "ca_file": ""}
    made = run(home, stub_url=STUB)
    assert run(home, create=False)["token"] == made["token"]


def test_token_of_a_service_outside_is_kept_and_nothing_else(home: Path) -> None:
    made = run(home, create=False, outside=True, token="abc")
    assert (made["changed"], made["token"], made["token_file"]) == (True, "abc", str(home / "wf" / _access.TOKEN))
    assert [path.name for path in (home / "wf").iterdir()] == [_access.TOKEN]
    assert not run(home, create=False, outside=True, token="abc")["changed"]


def test_kubeconfig_and_token_of_the_user(home: Path) -> None:
    given = home / "mine"
    given.write_text(kubeconfig())
    (home / "token").write_text("abc.def\n")
    result = run(home, kubeconfig=str(given), token_file=str(home / "token"))
    assert result["token"] == "abc.def"
    assert (home / "wf/config/access/kubeconfig").read_text() == given.read_text()
    assert not (home / "wf/config/auth").exists()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "datastorage_kubeconfig: contract v1 asks an API server"),
        ({"kubeconfig": "/nowhere"}, "datastorage_kubeconfig: contract v1 asks an API server"),
        ({"stub_url": STUB, "token": "two words"}, "datastorage_token: it holds a character"),
        ({"stub_url": STUB, "token_file": "/nowhere"}, "datastorage_token_file: /nowhere holds no token"),
    ],
)
def test_what_is_missing_is_named(home: Path, given: dict[str, str], says: str) -> None:
    with pytest.raises(PhaseError, match=says):
        run(home, **given)


def test_token_of_a_stub_is_not_taken_for_one_of_an_api_server(home: Path) -> None:
    (home / "mine").write_text(kubeconfig())
    with pytest.raises(PhaseError, match="datastorage_token_file: contract v1 asks everybody"):
        run(home, kubeconfig=str(home / "mine"))


@pytest.mark.parametrize(
    ("text", "on_host", "wrong"),
    [
        (kubeconfig(), False, ""),
        (kubeconfig("https://127.0.0.1:6443"), True, ""),
        (kubeconfig("https://127.0.0.1:6443"), False, "datastorage_network=host"),
        (kubeconfig("https://[::1]:6443"), False, "datastorage_network=host"),
        (kubeconfig("https://localhost:6443"), False, "datastorage_network=host"),
        (kubeconfig(**{"certificate-authority": "/home/me/ca.crt"}), False, "--flatten"),
        (kubeconfig(**{"certificate-authority-data": "bm90aGluZw=="}), False, "no PEM"),
        (kubeconfig(**{"certificate-authority-data": "%%%"}), False, "no PEM"),
        (kubeconfig(**{"certificate-authority-data": "LS0tLS1CRUdJTiBD\nRVJUSUZJQ0FURS0tLS0tCg==\n"}), False, ""),
        (kubeconfig(**{"certificate-authority-data": "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg=="}), False, ""),
        (kubeconfig(""), False, "no server"),
        (kubeconfig().replace("current-context: stub", "current-context: other"), False, "no server"),
        ("- a\n- list\n", False, "no kubeconfig"),
        ("{", False, "no kubeconfig"),
    ],
)
def test_kubeconfig_that_cannot_work_in_a_container_is_refused(text: str, on_host: bool, wrong: str) -> None:
    said = judge_kubeconfig(text, on_host)
    assert wrong in said
    assert bool(wrong) == bool(said)
