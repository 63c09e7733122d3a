# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: ARG001 - a stand-in takes what the real one takes
"""Bad input stops before anything is started, and the message names the variable."""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.kubernaut.integration.plugins.module_utils import _ports, _preflight
from ansible_collections.kubernaut.integration.plugins.module_utils._access import stub_kubeconfig
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import Context, PhaseError
from ansible_collections.kubernaut.integration.plugins.module_utils._plan import LABEL
from ansible_collections.kubernaut.integration.plugins.module_utils._podman import Podman

#: What a role hands over when it has nothing of a kind to check.
NOTHING: dict[str, Any] = {name: option.get("default") for name, option in _preflight.PHASE.argument_spec.items()}


def secret(value: str, empty: bool = False) -> dict[str, Any]:
    return {"secrets": [{"variable": "v", "value": value, "empty": empty}]}


def run(**options: Any) -> dict[str, Any]:
    return _preflight.run({**NOTHING, **options}, Context())


def test_nothing_to_check_is_fine() -> None:
    assert run() == {"changed": False}


#: Statuses at paths of a DataStorage that runs already, and its contract; None for one that nobody knows.
RUNNING = [
    ({"/health": 200, "/health/ready": 200}, "v0"),
    ({"/health": 503}, "v0"),
    ({"/readyz": 200}, "v1"),
    ({"/readyz": 503}, "v1"),
    ({"/health": 401, "/readyz": 301}, None),
    ({}, None),
]


@pytest.mark.parametrize(("paths", "contract"), RUNNING)
def test_a_running_service_is_asked_for_its_contract(paths: dict[str, int], contract: str | None) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(paths.get(self.path, 404))
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_given: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        where = f"127.0.0.1:{server.server_port}"
        variables = {"stack_contract": "auto", "datastorage_external": where}
        try:
            if contract:
                (path,) = (path for path in paths if path in ("/health", "/readyz"))
                source = f"the answer of datastorage_external {where} to GET {path}"
                assert run(variables=variables)["contract"] == {"name": contract, "source": source}
            else:
                with pytest.raises(PhaseError, match=r"^stack_contract: .* has none of the paths /health, /readyz"):
                    run(variables=variables)
        finally:
            server.shutdown()
    with pytest.raises(PhaseError, match=r"^stack_contract: auto asks .* [Cc]onnection refused; start it, or name"):
        run(variables=variables)
    with pytest.raises(PhaseError, match=r"^datastorage_tls: 'maybe' is neither true nor false"):
        run(variables={**variables, "datastorage_tls": "maybe"})


@pytest.mark.parametrize(
    ("answer", "tls", "says"),
    [
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n",
            False,
            "write it with https://",
        ),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", True, "speaks no TLS; write it without https://"),
    ],
)
def test_what_is_asked_in_the_wrong_way_is_named(answer: bytes, tls: bool, says: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def refuse() -> None:
            connection, _peer = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=refuse)
        thread.start()
        where = "127.0.0.1:%d" % listener.getsockname()[1]
        with pytest.raises(PhaseError, match=says):
            run(variables={"stack_contract": "auto", "datastorage_external": where, "datastorage_tls": tls})
        thread.join()


@pytest.mark.parametrize(
    "options",
    [
        secret("test_password"),
        secret("!#$%&()*+,-./:;<=>?@[]^_`{|}~"),
        secret("", empty=True),
        {"sizes": [{"variable": "v", "value": size} for size in ("1k", "256m", "10g")]},
        {"identifiers": [{"variable": "v", "value": name} for name in ("slm_user", "_a", "a" * 63)]},
        {"numbers": [{"variable": "v", "value": 0.1, "least": 0.1}]},
        {"variables": {"stack_team": "gateway"}},
        {"booleans": [{"variable": "v", "value": value} for value in ("True", "no", "1", "off")]},
        {"choices": [{"variable": "v", "value": "a", "choices": ["a", "b"]}]},
        {"alternatives": [{"variable": "v", "value": "x"}, {"variable": "w", "value": ""}]},
    ],
)
def test_good_input(options: dict[str, Any]) -> None:
    run(**options)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (secret(""), "it is empty"),
        ({"booleans": [{"variable": "v", "value": "maybe"}]}, "neither true nor false"),
        ({"choices": [{"variable": "v", "value": "c", "choices": ["a", "b"]}]}, "choose one of a, b"),
        (secret("a b", empty=True), "cannot carry"),
        (secret("a'b"), "cannot carry"),
        (secret('a"b'), "cannot carry"),
        (secret("a\\b"), "cannot carry"),
        (secret("a\n"), "cannot carry"),
        (secret("pässwort"), "cannot carry"),
        ({"sizes": [{"variable": "v", "value": "256"}]}, "'256' is not a size"),
        ({"sizes": [{"variable": "v", "value": "0m"}]}, "not a size"),
        ({"sizes": [{"variable": "v", "value": "1.5g"}]}, "not a size"),
        ({"sizes": [{"variable": "v", "value": "256MB"}]}, "not a size"),
        ({"sizes": [{"variable": "v", "value": ""}]}, "not a size"),
        ({"identifiers": [{"variable": "v", "value": "Slm"}]}, "not a plain PostgreSQL name"),
        ({"identifiers": [{"variable": "v", "value": "1a"}]}, "not a plain PostgreSQL name"),
        ({"identifiers": [{"variable": "v", "value": "a-b"}]}, "not a plain PostgreSQL name"),
        ({"identifiers": [{"variable": "v", "value": "a" * 64}]}, "63"),
        ({"identifiers": [{"variable": "v", "value": ""}]}, "not a plain PostgreSQL name"),
        ({"numbers": [{"variable": "v", "value": 0.0, "least": 0.1}]}, "at least 0.1"),
        ({"ports": [{"variable": "v", "port": 0}]}, "0 is not a port"),
        ({"ports": [{"variable": "v", "port": 1023}]}, "1023 is not a port"),
        ({"ports": [{"variable": "v", "port": 65536}]}, "65536 is not a port"),
        ({"ports": [{"variable": "w", "port": 15443}, {"variable": "v", "port": 15443}]}, "15443 is also w"),
        (
            {"paths": [{"variable": "v", "path": "/nonexistent/x", "executable": False, "certificates": False}]},
            "there is no file /nonexistent/x",
        ),
        (
            {"paths": [{"variable": "v", "path": "/", "executable": False, "certificates": False}]},
            "/ is a directory; name a file",
        ),
        ({"durations": [{"variable": "v", "value": "foo"}]}, "'foo' is no duration"),
        ({"durations": [{"variable": "v", "value": "-1s"}]}, "'-1s' is no duration"),
        ({"durations": [{"variable": "v", "value": "5"}]}, "'5' is no duration"),
    ],
)
def test_bad_input_names_the_variable(options: dict[str, Any], says: str) -> None:
    with pytest.raises(PhaseError, match=r"\Av: .*" + re.escape(says)):
        run(**options)


def test_bad_secret_is_not_in_the_message() -> None:
    with pytest.raises(PhaseError) as failure:
        run(**secret("hunter2 hunter2"))
    assert "hunter2" not in failure.value.message


def test_bad_variable_of_the_stack_names_itself() -> None:
    with pytest.raises(PhaseError, match=r"\Astack_team: "):
        run(variables={"stack_team": "nobody"})


def test_a_file_without_certificates() -> None:
    entry = {"variable": "datastorage_ca_file", "path": __file__, "executable": False, "certificates": True}
    with pytest.raises(PhaseError, match=r"\Adatastorage_ca_file: .*: there is no certificate in it; name a PEM file"):
        run(paths=[entry])


def test_file_that_cannot_be_executed(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    file.chmod(0o600)
    run(paths=[{"variable": "v", "path": str(file), "executable": False, "certificates": False}])
    with pytest.raises(PhaseError, match=r"\Av: .* cannot be executed"):
        run(paths=[{"variable": "v", "path": str(file), "executable": True, "certificates": False}])


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        (None, "migrations_dir: there is no directory"),
        ([], "migrations_dir: .* holds no"),
        (["a.txt"], "migrations_dir: .* holds no"),
        (["1_a.sql", "01_b.sql"], "migrations_dir: 0?1_[ab].sql and 0?1_[ab].sql have the same version"),
        (["a.sql"], "migrations_dir: a.sql does not begin with a version number"),
        (["1_a.sql"], ""),
    ],
)
def test_directory_of_migrations(tmp_path: Path, entries: list[str] | None, says: str) -> None:
    directory = tmp_path / "migrations"
    if entries is not None:
        directory.mkdir()
        for entry in entries:
            (directory / entry).write_text("SELECT 1;")
    if not says:
        _preflight.check_migrations(str(directory))
        return
    with pytest.raises(PhaseError, match=says):
        _preflight.check_migrations(str(directory))


@contextmanager
def listener(address: str) -> Iterator[int]:
    """Listen at a port of an address; skip the test where the machine has no such address."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        server = socket.create_server((address, 0), family=family)
    except OSError:
        pytest.skip("no address %s here" % address)
    with server:
        yield server.getsockname()[1]


def container(port: int, stack: str = "wf", running: bool = True) -> dict[str, Any]:
    return {
        "Name": "wf_postgres_1",
        "Config": {"Labels": {LABEL + "stack": stack}},
        "State": {"Running": running},
        "HostConfig": {"PortBindings": {"5432/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port)}], "1/tcp": None}},
    }


def ports(port: int) -> dict[str, Any]:
    return {
        "stack": "wf",
        "containers": ["wf_postgres_1"],
        "ports": [{"variable": "postgres_port", "port": port}],
    }


@pytest.fixture(name="containers")
def _containers(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The stack's containers as podman would describe them, on whatever machine the test runs."""
    found: list[dict[str, Any]] = []
    monkeypatch.setattr(_preflight.shutil, "which", lambda name: name)
    monkeypatch.setattr(_preflight._rootless, "demand_runtime_directory", lambda: None)
    monkeypatch.setattr(Podman, "inspect", lambda *_names, **_kind: found)
    return found


@pytest.mark.parametrize(
    ("address", "seen"),
    [
        ("127.0.0.1", ["127.0.0.1"]),
        ("::1", ["[::1]"]),
        ("0.0.0.0", ["127.0.0.1"]),
        ("::", ["[::1]"]),
    ],
)
def test_listener_is_seen(address: str, seen: list[str]) -> None:
    with listener(address) as port:
        assert _ports.taken(port) == seen
        name = Path("/proc/self/comm").read_text().strip()
        assert _ports.owner(port, seen[0]) == "%s (pid %d)" % (name, os.getpid())
    assert _ports.taken(port) == []


def test_listener_of_both_families_is_seen_on_both() -> None:
    with listener("127.0.0.1") as port:
        pass
    if not socket.has_dualstack_ipv6():
        pytest.skip("no dual stack here")
    with socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True):
        assert _ports.taken(port) == ["127.0.0.1", "[::1]"]
        assert _ports.owner(port, "127.0.0.1").endswith("(pid %d)" % os.getpid())


def test_owner_is_the_one_at_the_address() -> None:
    """Our own container at 127.0.0.1 was named once for a stranger at [::1] of the same port."""
    head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    four = head + "   0: 0100007F:3C53 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1\n"
    six = head + (
        "   0: 00000000000000000000000001000000:3C53 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 22 1\n"
        "   1: 00000000000000000000000000000000:3C54 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 33 1\n"
        "   2: 00000000000000000000000001000000:3C53 00000000000000000000000000000000:0000 01 0:0 0:0 0 0 0 44 1\n"
    )
    assert _ports.listener_inodes(four, 15443, "127.0.0.1") == ["11"]
    assert _ports.listener_inodes(four, 15443, "[::1]") == []
    assert _ports.listener_inodes(six, 15443, "127.0.0.1") == []
    assert _ports.listener_inodes(six, 15443, "[::1]") == ["22"]
    assert _ports.listener_inodes(six, 15444, "127.0.0.1") == ["33"]


def test_free_port_needs_no_podman() -> None:
    with listener("127.0.0.1") as port:
        pass
    run(**ports(port), podman="/nonexistent")


@pytest.mark.parametrize(("address", "where"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
def test_foreign_listener_is_refused_by_name(containers: list[Any], address: str, where: str) -> None:
    with listener(address) as port, pytest.raises(PhaseError) as failure:
        run(**ports(port))
    assert failure.value.message.startswith("postgres_port: port %d on %s is taken by " % (port, where))
    assert "(pid %d)" % os.getpid() in failure.value.message


def test_running_container_of_the_stack_is_no_stranger(containers: list[Any]) -> None:
    with listener("127.0.0.1") as port:
        containers.append(container(port))
        run(**ports(port))


@pytest.mark.parametrize("other", [{"stack": "another"}, {"running": False}])
def test_container_that_cannot_be_the_listener_is_no_excuse(containers: list[Any], other: dict[str, Any]) -> None:
    with listener("127.0.0.1") as port:
        containers.append(container(port, **other))
        with pytest.raises(PhaseError, match="postgres_port"):
            run(**ports(port))


def test_own_container_does_not_excuse_a_stranger_at_the_other_address(containers: list[Any]) -> None:
    """Suites say `localhost`, which may mean [::1]."""
    with listener("::1") as port:
        containers.append(container(port))
        with pytest.raises(PhaseError, match=r"on \[::1\] is taken"):
            run(**ports(port))


def test_two_ways_to_say_one_thing_are_refused() -> None:
    both = [{"variable": "datastorage_image", "value": "x"}, {"variable": "datastorage_binary", "value": "/y"}]
    with pytest.raises(PhaseError, match=r"\Adatastorage_image and datastorage_binary: set one of them"):
        run(alternatives=both)


def test_a_containers_port_is_named_by_the_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = open

    def proc(path: str, **more: Any) -> Any:
        texts = {"/proc/7/comm": "conmon\n", "/proc/7/cmdline": "/usr/bin/conmon\0-c\0abc\0-n\0their_db\0-u\0x"}
        if path not in texts:
            return real(path, **more)
        (tmp_path / "proc").write_text(texts[path])
        return real(tmp_path / "proc", **more)

    monkeypatch.setattr("builtins.open", proc)
    assert _ports._name("7") == "the container their_db"


def test_what_only_the_user_can_give_is_asked_for() -> None:
    wanted = {"variables": ["a_token", "a_token_file"], "given": False, "reason": "it is needed; give one"}
    with pytest.raises(PhaseError, match=r"^a_token or a_token_file: it is needed; give one\.$"):
        run(wanted=[wanted])
    assert run(wanted=[{**wanted, "given": True}]) == {"changed": False}


@pytest.mark.parametrize(
    ("mode", "stack", "running", "ports"),
    [
        ("host", "wf", True, {31600, 31681}),
        ("host", "wf", False, set()),
        ("host", "other", True, set()),
        # A label alone is no proof of the host's network.
        ("bridge", "wf", True, set()),
    ],
)
def test_ports_in_the_hosts_network_are_known_by_their_label(
    mode: str, stack: str, running: bool, ports: set[int]
) -> None:
    labels = {LABEL + "stack": stack, LABEL + "listens": "31600,31681"}
    found = {"Config": {"Labels": labels}, "State": {"Running": running}, "HostConfig": {"NetworkMode": mode}}
    assert _preflight.listening([found], "wf") == ports


def test_kubeconfig_that_cannot_work_in_a_container_is_refused_before_anything_is_started(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(stub_kubeconfig("https://127.0.0.1:6443"))
    entry = {"variable": "datastorage_kubeconfig", "path": str(path), "on_host": False}
    with pytest.raises(PhaseError, match=r"^datastorage_kubeconfig: .*datastorage_network=host"):
        run(kubeconfigs=[entry])
    assert run(kubeconfigs=[{**entry, "on_host": True}]) == {"changed": False}
