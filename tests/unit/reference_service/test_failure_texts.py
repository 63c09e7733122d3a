# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every failure text of the contract: which files bring it about, what the service says, and who foretells it.

The service is its real start-up code, as a process with a real directory. The linter judges the same directory before,
and the renderer's validator the option that would have written the fault.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.kubernaut.integration.plugins.module_utils import _adr030, _adr030_checkout
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import Context

SERVICE = Path(__file__).parents[3] / "roles" / "images" / "files" / "datastorage"
#: Contracts that the reference service speaks. The rows of another are foretold here, and said by nobody yet.
SPOKEN = ("v0",)
V0, V1, BOTH = ("v0",), ("v1",), ("v0", "v1")

#: Section 1.5 of the contract, written out: condition, contracts, text. K is `password` or `username`, N a number.
TEXTS: list[tuple[str, tuple[str, ...], str]] = [
    ("no CONFIG_PATH", BOTH, "CONFIG_PATH not set"),
    ("no CONFIG_PATH", BOTH, "CONFIG_PATH environment variable required (ADR-030)"),
    ("unreadable file", BOTH, "failed to read config file:"),
    ("unparsable file", BOTH, "failed to parse config:"),
    ("DB secret keys missing in config", BOTH, "database secretsFile required (ADR-030 Section 6)"),
    ("DB secret keys missing in config", BOTH, "database passwordKey required (ADR-030 Section 6)"),
    ("secret file problems", BOTH, "failed to load database secrets from"),
    ("secret file problems", BOTH, "failed to read secret file"),
    ("secret file problems", BOTH, "failed to parse secret file as YAML or JSON"),
    ("key absent", BOTH, "password key 'password' not found in database secret file"),
    ("key absent", BOTH, "password key 'password' not found in redis secret file"),
    ("wrong type", BOTH, "database password key 'password' in secret file is not a string"),
    ("wrong type", BOTH, "database username key 'username' in secret file is not a string"),
    ("wrong type", BOTH, "redis password key 'password' in secret file is not a string"),
    ("redis", BOTH, "redis secretsFile required"),
    ("redis", BOTH, "redis passwordKey required"),
    ("redis", BOTH, "redis address required"),
    ("ranges", BOTH, "server port required"),
    ("ranges", BOTH, "server port must be between 1024 and 65535, got: 80"),
    ("ranges", BOTH, "database port must be between 1 and 65535, got: 70000"),
    ("required", BOTH, "database host required"),
    ("required", BOTH, "database port required"),
    ("required", BOTH, "database name required"),
    ("required", BOTH, "database user required"),
    ("enums", V0, "invalid log level: INFO (must be debug, info, warn, or error)"),
    ("enums", V0, "invalid log format"),
    ("durations", V0, "invalid read_timeout"),
    ("durations", V0, "invalid write_timeout"),
    ("durations", V0, "invalid conn_max_lifetime"),
    ("durations", V0, "invalid conn_max_idle_time"),
    ("durations", V1, "invalid connMaxLifetime"),
    ("PG down", BOTH, "failed to ping PostgreSQL:"),
    ("PG down", V0, "Failed to create server"),
    ("PG down", V1, "Failed to create server after all retries"),
    ("Redis down", BOTH, "failed to connect to Redis:"),
    ("no signer", V1, "signing certificate not found at"),
    ("no cluster", V1, "failed to load in-cluster kubernetes config (DD-AUTH-014)"),
]

#: Why options of the collection cannot bring a fault about.
WRITTEN = "the renderer writes it whatever the options are"
SPELLED = "the renderer writes secret files itself, and quotes what is in them"
PATHS = "the renderer gives the file and its path"
DB, REDIS = "db-secrets.yaml", "redis-secrets.yaml"


@dataclass(frozen=True)
class Failure:
    """Files that keep the service from starting.

    :param says: what it says then, in its words; the first is what the linter foretells.
    :param rule: the linter's; empty where it cannot know.
    :param changes: path -> value in a good configuration, None without the key; a text is the whole file.
    :param files: name -> content of a secret file, None for none.
    :param option: what has the same fault as an option of the renderer; empty where ``because`` says why not.
    :param because: why an option cannot have it, or, without a rule, why nobody can foretell it.
    :param path: what CONFIG_PATH names; None leaves it out.
    :param contract: whose text it is.
    """

    says: tuple[str, ...]
    rule: str
    changes: dict[str, Any] | str = field(default_factory=dict)
    files: dict[str, str | None] = field(default_factory=dict)
    option: dict[str, Any] = field(default_factory=dict)
    because: str = ""
    path: str | None = "config.yaml"
    contract: str = "v0"


ADR = " (ADR-030 Section 6)"
FAILURES = [
    Failure(
        ("CONFIG_PATH not set", "CONFIG_PATH environment variable required (ADR-030)"),
        "environment", path=None, because=PATHS,
    ),
    Failure(("failed to read config file:",), "environment", path="config.yml", because=PATHS),
    Failure(("failed to parse config:",), "syntax", "server: [", because=WRITTEN),
    Failure(("failed to parse config:",), "type", {"server.port": "8080"}, because="an option has a type"),
    Failure(("database secretsFile required" + ADR,), "missing-key", {"database.secretsFile": None}, because=WRITTEN),
    Failure(("database passwordKey required" + ADR,), "missing-key", {"database.passwordKey": None}, because=WRITTEN),
    Failure(("redis secretsFile required",), "missing-key", {"redis.secretsFile": None}, because=WRITTEN),
    Failure(("redis passwordKey required",), "missing-key", {"redis.passwordKey": None}, because=WRITTEN),
    Failure(
        ("failed to read secret file", "failed to load database secrets from"),
        "secret-file", files={DB: None}, because=SPELLED,
    ),
    Failure(
        ("failed to parse secret file as YAML or JSON", "failed to load database secrets from"),
        "secret-file", files={DB: "- password\n"}, because=SPELLED,
    ),
    Failure(("failed to parse secret file as YAML or JSON",), "secret-file", files={REDIS: "word"}, because=SPELLED),
    Failure(
        ("password key 'password' not found in database secret file",),
        "secret-key", files={DB: "username: u\n"}, because=SPELLED,
    ),
    Failure(
        ("password key 'password' not found in redis secret file",),
        "secret-key", files={REDIS: "{}\n"}, because=SPELLED,
    ),
    Failure(
        ("database password key 'password' in secret file is not a string",),
        "secret-type", files={DB: "username: u\npassword: 12345\n"}, because=SPELLED,
    ),
    Failure(
        ("database username key 'username' in secret file is not a string",),
        "secret-type", files={DB: "username: 7\npassword: x\n"}, because=SPELLED,
    ),
    Failure(
        ("redis password key 'password' in secret file is not a string",),
        "secret-type", files={REDIS: "password: 0\n"}, because=SPELLED,
    ),
    Failure(("redis address required",), "missing-key", {"redis.addr": None}, option={"redis_host": ""}),
    Failure(("server port required",), "missing-key", {"server.port": None}, option={"server_port": 0}),
    Failure(
        ("server port must be between 1024 and 65535, got: 80",),
        "value", {"server.port": 80}, option={"server_port": 80},
    ),
    Failure(
        ("database port must be between 1 and 65535, got: 70000",),
        "value", {"database.port": 70000}, option={"database_port": 70000},
    ),
    Failure(("database host required",), "missing-key", {"database.host": None}, option={"database_host": ""}),
    Failure(("database port required",), "missing-key", {"database.port": None}, option={"database_port": 0}),
    Failure(("database name required",), "missing-key", {"database.name": None}, option={"database_name": ""}),
    Failure(
        ("database user required",),
        "missing-key", {"database.user": None, "database.usernameKey": None}, option={"database_user": ""},
    ),
    Failure(
        ("invalid log level: INFO (must be debug, info, warn, or error)",),
        "value", {"logging.level": "INFO"}, option={"log_level": "INFO"},
    ),
    Failure(("invalid log format: text",), "value", {"logging.format": "text"}, option={"log_format": "text"}),
    Failure(("invalid read_timeout",), "value", {"server.read_timeout": "30"}, option={"read_timeout": "30"}),
    Failure(("invalid write_timeout",), "value", {"server.write_timeout": "x"}, option={"write_timeout": "x"}),
    Failure(
        ("invalid conn_max_lifetime",),
        "value", {"database.conn_max_lifetime": "1d"}, option={"conn_max_lifetime": "1d"},
    ),
    Failure(
        ("invalid conn_max_idle_time",),
        "value", {"database.conn_max_idle_time": "s"}, option={"conn_max_idle_time": "s"},
    ),
    Failure(
        ("failed to ping PostgreSQL:", "Failed to create server"),
        "", {"database.port": "CLOSED"}, because="whether somebody listens shows when it is tried",
    ),
    Failure(
        ("failed to connect to Redis:", "Failed to create server"),
        "", {"database.port": "POSTGRES", "redis.addr": "127.0.0.1:CLOSED"},
        because="whether somebody listens shows when it is tried",
    ),
    Failure(
        ("invalid connMaxLifetime",),
        "missing-key", {"database.connMaxLifetime": None}, option={"conn_max_lifetime": ""}, contract="v1",
    ),
    Failure(
        ("Failed to create server after all retries", "failed to ping PostgreSQL:"),
        "", {"database.port": "CLOSED"}, because="whether somebody listens shows when it is tried", contract="v1",
    ),
    Failure(
        ("signing certificate not found at",),
        "signer", because="the certificate is another's file, of which an option gives only the place", contract="v1",
    ),
    Failure(
        ("failed to load in-cluster kubernetes config (DD-AUTH-014)",),
        "environment", because="the container's environment is no configuration", contract="v1",
    ),
]  # fmt: skip
CASES = {f"{number:02} {case.contract} {case.says[0]}": case for number, case in enumerate(FAILURES, 1)}
EVERY = pytest.mark.parametrize(("name", "case"), list(CASES.items()), ids=list(CASES))
SPOKEN_CASES = [(name, case) for name, case in CASES.items() if case.contract in SPOKEN]

#: Imports the service once and becomes it for every case: argument 1 is a list of environments and logs.
DRIVER = """
import json, os, signal, sys
from reference_datastorage.__main__ import main
for case in json.loads(sys.argv[1]):
    child = os.fork()
    if not child:
        signal.alarm(20)  # a service that starts after all
        os.environ.update(case["environment"])
        os.dup2(os.open(case["log"], os.O_WRONLY | os.O_CREAT, 0o600), 2)
        os._exit(main())
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@dataclass(frozen=True)
class Said:
    """How a process ended: its exit status, and message and error of its last line."""

    rc: int
    message: str
    error: str


def postgres_that_only_answers(listener: socket.socket) -> None:
    """Let everybody in and answer every query with one row, until the listener is closed."""

    def message(kind: bytes, body: bytes) -> bytes:
        return kind + (len(body) + 4).to_bytes(4, "big") + body

    ready = message(b"Z", b"I")
    column = b"one\0" + bytes(6) + (23).to_bytes(4, "big") + b"\0\4" + b"\xff" * 4 + bytes(2)
    row = message(b"T", b"\0\1" + column) + message(b"D", b"\0\1\0\0\0\1" + b"1") + message(b"C", b"SELECT 1\0")
    while True:
        try:
            client, _address = listener.accept()
        except OSError:
            return
        with client, client.makefile("rb") as stream:
            stream.read(int.from_bytes(stream.read(4), "big") - 4)
            client.sendall(message(b"R", bytes(4)) + message(b"S", b"client_encoding\0UTF8\0") + ready)
            while kind := stream.read(1):
                stream.read(int.from_bytes(stream.read(4), "big") - 4)
                if kind == b"Q":
                    client.sendall(row + ready)


@pytest.fixture(scope="module")
def ports() -> Iterator[dict[str, int]]:
    """A port on which nobody listens, and one with as much of a PostgreSQL as the service asks for at start-up."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets it
        thread = threading.Thread(target=postgres_that_only_answers, args=(listener,))
        thread.start()
        yield {"POSTGRES": listener.getsockname()[1], "CLOSED": closed.getsockname()[1]}
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)
    assert not thread.is_alive()


def write(home: Path, case: Failure, ports: dict[str, int]) -> None:
    """Write a good directory with the case's faults."""
    config: Any = {
        "server": {"port": 8080},
        "database": {
            "host": "127.0.0.1",
            "port": ports["CLOSED"],
            "name": "action_history",
            "user": "slm_user",
            "ssl_mode": "disable",
            "secretsFile": str(home / DB),
            "usernameKey": "username",
            "passwordKey": "password",
        },
        "redis": {"addr": "127.0.0.1:6379", "secretsFile": str(home / REDIS), "passwordKey": "password"},
    }
    if case.contract == "v1":
        del config["database"]["ssl_mode"]
        config["database"].update(sslMode="disable", connMaxLifetime="5m", connMaxIdleTime="10m")
    for path, value in case.changes.items() if isinstance(case.changes, dict) else ():
        section, name = path.split(".")
        config.setdefault(section, {})[name] = value
        if value is None:
            del config[section][name]
    text = case.changes if isinstance(case.changes, str) else yaml.safe_dump(config)
    for name, port in ports.items():
        text = text.replace(name, str(port))
    (home / "config.yaml").write_text(text)
    for name, content in {DB: "username: slm_user\npassword: s3cr3t\n", REDIS: 'password: ""\n', **case.files}.items():
        if content is not None:
            (home / name).write_text(content)


def environment(case: Failure, home: Path) -> dict[str, str]:
    """Return what the container's environment would be."""
    return {"CONFIG_PATH": str(home / case.path)} if case.path else {}


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory, ports: dict[str, int]) -> dict[str, Path]:
    """A directory of every case."""
    found = {name: tmp_path_factory.mktemp("failure") for name in CASES}
    for name, case in CASES.items():
        write(found[name], case, ports)
    return found


@pytest.fixture(scope="module")
def said(homes: dict[str, Path]) -> dict[str, Said]:
    """What the service said in every case of a contract that it speaks."""
    runs = [
        {"environment": environment(case, homes[name]), "log": str(homes[name] / "log")} for name, case in SPOKEN_CASES
    ]
    kept = {name: value for name, value in os.environ.items() if name != "CONFIG_PATH"}
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, json.dumps(runs)],
        env={**kept, "PYTHONPATH": str(SERVICE), "ENV": "production"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = {}
    for (name, _case), rc in zip(SPOKEN_CASES, done.stdout.split(), strict=True):
        line = json.loads((homes[name] / "log").read_text().splitlines()[-1])
        found[name] = Said(int(rc), line["msg"], line["error"])
    return found


def test_every_text_of_the_contract_has_a_case() -> None:
    for row, contracts, text in TEXTS:
        cases = [case for case in FAILURES if any(text in says for says in case.says)]
        assert {case.contract for case in cases} & set(contracts), (row, text)


def test_what_is_left_to_say_is_of_contract_v1_alone() -> None:
    """The service learns contract v1 where these become its own words: add that to SPOKEN then."""
    unsaid = [text for _row, contracts, text in TEXTS if not set(contracts) & set(SPOKEN)]
    assert unsaid == [
        "invalid connMaxLifetime",
        "Failed to create server after all retries",
        "signing certificate not found at",
        "failed to load in-cluster kubernetes config (DD-AUTH-014)",
    ]


@pytest.mark.parametrize(("name", "case"), SPOKEN_CASES, ids=[name for name, _case in SPOKEN_CASES])
def test_the_service_says_it_and_ends_with_1(name: str, case: Failure, said: dict[str, Said]) -> None:
    assert said[name].rc == 1
    for text in case.says:
        assert text in f"{said[name].message}: {said[name].error}"
    assert "s3cr3t" not in said[name].error


def findings(case: Failure, home: Path) -> list[dict[str, Any]]:
    """Lint the directory as it will be mounted."""
    spec = {name: option.get("default") for name, option in _adr030_checkout.PHASE.argument_spec.items()}
    options = {
        **spec,
        "root": str(home),
        "paths": ["config.yaml"],
        "mounts": {str(home): "."},
        "environment": {**environment(case, home), **({} if "cluster" in case.says[0] else {"KUBECONFIG": "/k"})},
        "contract": case.contract,
        "uid": 0,
        "fail_on": "never",
    }
    found: list[dict[str, Any]] = _adr030_checkout.run(options, Context())["findings"]
    if case.contract == "v1" and case.rule != "signer":
        found = [finding for finding in found if finding["rule"] != "signer"]  # there is no certificate in any case
    return [finding for finding in found if finding["severity"] == "error"]


@EVERY
def test_the_linter_foretells_it(name: str, case: Failure, homes: dict[str, Path], said: dict[str, Said]) -> None:
    """It names this fault and nothing beside it, in words that the service then says; where it cannot, it is silent."""
    found = findings(case, homes[name])
    if not case.rule:
        assert found == []
        assert case.because
        return
    assert {finding["rule"] for finding in found} == {case.rule}
    told = [finding["predicts"] for finding in found if finding["predicts"]]
    assert any(case.says[0].startswith(words) or words.startswith(case.says[0]) for words in told), told
    if name in said:
        assert all(words in said[name].error for words in told)


@EVERY
def test_the_validator_refuses_the_option_or_there_is_none(name: str, case: Failure) -> None:
    del name
    contracts = _adr030.CHOICES[case.contract]
    good = {option: spec.get("default") for option, spec in _adr030.ARGUMENTS.items()} | {
        "directory": "/nowhere",
        "database_host": "postgres",
        "database_port": 5432,
        "database_name": "action_history",
        "database_user": "slm_user",
        "database_password": "s3cr3t",
        "redis_host": "redis",
        "redis_port": 6379,
    }
    assert _adr030.validate(good, contracts) == []
    assert bool(case.option) != bool(case.because)
    for option in case.option:
        (problem,) = _adr030.validate({**good, **case.option}, contracts)
        assert problem.startswith(option + " ")
    if case.because == WRITTEN and isinstance(case.changes, dict):
        for path in case.changes:
            section, key = path.split(".")
            assert _adr030.documents(good, contracts)["config.yaml"][section][key]
