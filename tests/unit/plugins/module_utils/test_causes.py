# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From evidence to one cause: every row of the table, look-alikes told apart, the unknown called unknown."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.kubernaut.integration.plugins.module_utils import _causes
from ansible_collections.kubernaut.integration.plugins.module_utils._causes import (
    DATASTORAGE,
    NETWORK,
    POSTGRES,
    REDIS,
    Evidence,
    explain,
)

VALUES = {
    "host": "127.0.0.1",
    "variable": "datastorage_port",
    "api": 18100,
    "container": "wf_x_1",
    "memory": "64 MiB",
    "user": "slm_user",
    "name": "action_history",
    "port": 18100,
}


def dead(*log: str, code: int = 1, **more: Any) -> Evidence:
    """DataStorage as it ended."""
    return Evidence(**{"subject": DATASTORAGE, "state": "exited", "log": log, "exit_code": code, **more})


def seen(subject: str, state: str, said: str = "", **more: Any) -> Evidence:
    """What a living service answered."""
    return Evidence(subject=subject, state=state, said=said, **more)


def marks(*names: str) -> frozenset[str]:
    return frozenset(names)


#: Texts of DataStorage as running services wrote them (colours included where they did), of PostgreSQL 17, Redis 8 and
#: podman 4.3.
CASES: list[tuple[str, Evidence]] = [
    ("out-of-memory", dead(code=137, marks=marks(_causes.OOM, _causes.AT_LIMIT))),
    ("out-of-memory", dead(code=137, marks=marks(_causes.OOM, _causes.PEER_FIRST))),
    ("out-of-memory", dead("initdb: error: child process was terminated", code=1, marks=marks(_causes.OOM))),
    ("killed", dead(code=137, marks=marks(_causes.KILLED, _causes.AT_LIMIT))),
    ("stop-order", dead(code=137, marks=marks(_causes.PEER_FIRST), values={"peer": "wf_redis_1"})),
    ("out-of-memory-likely", dead(code=137, marks=marks(_causes.AT_LIMIT))),
    ("sigkill", dead("INFO healthy", code=137)),
    # The same facts mean less where nothing has to wait for the one that ended first.
    ("sigkill", dead(code=137, subject=REDIS, marks=marks(_causes.PEER_FIRST))),
    ("stopped", dead(code=143)),
    ("stopped", dead("bye", code=0, subject=REDIS)),
    ("not-executable", dead(code=126)),
    ("no-such-command", dead(code=127)),
    ("port-bound", dead("Server error listen tcp :8080: bind: address already in use", "stopped", code=0)),
    (
        "config-path-missing",
        dead("\x1b[31mERROR\x1b[0m CONFIG_PATH environment variable required (ADR-030) CONFIG_PATH not set"),
    ),
    ("config-unreadable", dead('{"error":"failed to read config file: open /x: no such file or directory"}')),
    ("config-unreadable", dead("failed to parse config: yaml: line 3: did not find expected key")),
    (
        "secret-unreadable",
        dead("failed to read secret file /etc/datastorage/db-secrets.yaml: open /etc/x: permission denied"),
    ),
    ("secret-file", dead("failed to parse secret file: yaml: line 1: cannot unmarshal hunter2 into map")),
    ("secret-file", dead("failed to read secret file /x: open /x: no such file or directory")),
    ("secret-not-a-string", dead("database password key 'password' in secret file is not a string")),
    ("secret-key-missing", dead("password key 'pass' not found in database secret file /x")),
    ("config-key-missing", dead("database secretsFile required (ADR-030 Section 6)")),
    ("config-key-missing", dead("redis address required")),
    ("config-value", dead("invalid log level: INFO (must be debug, info, warn, or error)")),
    ("config-value", dead("server port must be between 1024 and 65535, got: 80")),
    ("config-value", dead("invalid connMaxLifetime")),
    ("config-value", dead("cannot parse `host=db sslmode=`: failed to configure TLS (sslmode is invalid)")),
    (
        "schema-missing",
        dead('failed to create partition audit_events_2026_11: ERROR: relation "audit_events" does not exist'),
    ),
    ("schema-missing", dead('{"error":"ERROR: relation \\"audit_events\\" does not exist (SQLSTATE 42P01)"}')),
    ("signer-missing", dead("signing certificate not found at /etc/certs (AU-9)")),
    ("no-cluster", dead("failed to load in-cluster kubernetes config (DD-AUTH-014)")),
    (
        "postgres-password",
        dead("failed to ping PostgreSQL: failed SASL auth: FATAL: password authentication failed (SQLSTATE 28P01)"),
    ),
    ("postgres-password", seen(POSTGRES, "password", 'password authentication failed for user "slm_user"')),
    ("postgres-database", seen(POSTGRES, "no database", 'database "other" does not exist')),
    ("postgres-database", dead('FATAL: database "other" does not exist (SQLSTATE 3D000)')),
    ("postgres-user", seen(POSTGRES, "authorization", 'role "slm" does not exist')),
    ("postgres-connections", seen(POSTGRES, "connections", "sorry, too many clients already")),
    (
        "disk-full",
        dead("initdb: error: could not write to file: No space left on device", subject=POSTGRES),
    ),
    (
        "host-name",
        dead(
            "Failed to create server failed to ping PostgreSQL: failed to connect to `host=postgrez`: "
            "hostname resolving error: lookup postgrez on 10.89.0.1:53: no such host"
        ),
    ),
    ("host-name", dead("failed to connect to Redis: dial tcp: lookup redis on 10.89.0.1:53: no such host")),
    ("redis-away", dead("failed to connect to Redis: dial tcp 10.89.0.3:6379: connect: connection refused")),
    (
        "postgres-away",
        dead("failed to ping PostgreSQL: dial error: dial tcp 10.89.0.2:5432: connect: connection refused"),
    ),
    (
        "volume-permission",
        dead('could not open directory "/var/lib/postgresql/data": Permission denied', subject=POSTGRES),
    ),
    ("postgres-version", dead("FATAL:  database files are incompatible with server", subject=POSTGRES)),
    ("flapping", dead("bye", code=0, marks=marks(_causes.WAS_READY))),
    ("replaced", seen(REDIS, "replaced", "the container c was started anew")),
    ("removed", seen(REDIS, "removed", "the container c was removed")),
    ("paused", seen(REDIS, "paused", "the container c is paused")),
    ("redis-noauth", seen(REDIS, "noauth", "Authentication required.")),
    ("redis-password", seen(REDIS, "wrongpass", "invalid username-password pair or user is disabled.")),
    ("redis-loading", seen(REDIS, "loading")),
    ("redis-memory", seen(REDIS, "refuses writes", "OOM: command not allowed when used memory > 'maxmemory'.")),
    ("redis-read-only", seen(REDIS, "refuses writes", "You can't write against a read only replica.")),
    ("postgres-restarted", seen(POSTGRES, "restarted")),
    ("postgres-encoding", seen(POSTGRES, "encoding", "SQL_ASCII")),
    ("postgres-time-zone", seen(POSTGRES, "time zone", "Europe/Berlin")),
    ("clock-skew", seen(POSTGRES, "clock", "600 s further back")),
    ("slow-start", seen(POSTGRES, "starting", "the database system is starting up")),
    ("published-port-dead", seen(POSTGRES, "silent", "no answer", marks=marks(_causes.OWN_ADDRESS))),
    ("wrong-contract", seen(DATASTORAGE, "refused", "why", marks=marks(_causes.API_ANSWERS))),
    ("wrong-contract", seen(DATASTORAGE, "refused", "why", marks=marks(_causes.API_ANSWERS, _causes.OUTSIDE))),
    ("wrong-service", seen(DATASTORAGE, "body", "/health answered 200 without a JSON object: <html>")),
    ("postgres-unreachable", seen(DATASTORAGE, "unhealthy", "503: database unreachable")),
    ("name-server-dead", seen(NETWORK, "no such name", "x cannot be resolved")),
    ("no-getent", seen(NETWORK, "no getent")),
    ("tls-unwanted", seen(DATASTORAGE, "plain", "no TLS with 127.0.0.1:8080: wrong version number")),
    ("tls-untrusted", seen(DATASTORAGE, "tls", "no TLS with 127.0.0.1:8080: self-signed certificate")),
    ("tls-wanted", seen(DATASTORAGE, "no tls", "Client sent an HTTP request to an HTTPS server.")),
    ("outside-away", seen(REDIS, "silent", "no answer within 2 s", marks=marks(_causes.OUTSIDE))),
    ("silent", seen(REDIS, "silent", "no answer within 2 s")),
    ("not-listening", seen(POSTGRES, "refused", "connection refused")),
    ("port-taken", seen("", "", "rootlessport listen tcp 127.0.0.1:15443: bind: address already in use")),
    ("network-gone", seen("", "", "Error: unable to find network with name or ID x: network not found")),
    ("oci-runtime", seen("", "", "Error: OCI runtime error: crun: the requested cgroup controller is not available")),
    ("oci-runtime", seen("", "", 'Error: default OCI runtime "crun" not found: invalid argument')),
    (
        "no-such-command",
        seen(
            "",
            "",
            'Error: runc: exec: "/dial": stat /dial: no such file or directory: OCI runtime attempted to invoke a '
            "command that was not found",
        ),
    ),
    ("not-executable", seen("", "", "Error: runc: exec: /x: permission denied: OCI permission denied")),
    ("image-missing", seen("", "", "Error: localhost/x:1: image not known")),
    ("unknown", dead("the answer is 42", code=42)),
    # Numbers and ids are no SQLSTATE.
    ("unknown", dead('{"ts":1785310012.1,"msg":"bye"}', "request id=3d0009ff-53300", "duration: 28000 ms", code=42)),
    ("unknown", seen(POSTGRES, "unreachable", "green smoke")),
    ("unknown", Evidence()),
]


@pytest.mark.parametrize(("cause", "evidence"), CASES, ids=[f"{case[0]}-{n}" for n, case in enumerate(CASES)])
def test_cause(cause: str, evidence: Evidence) -> None:
    filled = Evidence(**{**evidence.__dict__, "values": {**VALUES, **evidence.values}})
    named = explain(filled)
    assert named.id == cause, str(named)
    text = str(named)
    assert "?" not in text, text
    assert "{" not in text.replace("{{.Host", ""), text
    assert "\n" not in text
    assert "\x1b" not in text


def test_a_broken_secret_file_is_not_quoted() -> None:
    assert "hunter2" not in str(explain(dead("failed to parse secret file: yaml: cannot unmarshal hunter2 into map")))


def test_every_row_has_a_case() -> None:
    assert {cause.id for cause in _causes.CAUSES} | {_causes.UNKNOWN} == {case[0] for case in CASES}


def test_unknown_keeps_the_evidence() -> None:
    assert "status 42" in str(explain(dead(code=42, values=VALUES)))
    assert "green smoke" in str(explain(seen(POSTGRES, "unreachable", "green smoke")))


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("password", 'password authentication failed for user "slm_user"'),
        ("no database", 'database "other" does not exist'),
        ("authorization", 'role "slm" does not exist'),
    ],
)
def test_no_advice_would_touch_what_is_outside(state: str, said: str) -> None:
    inside, outside = (explain(seen(POSTGRES, state, said, marks=marks(*names))) for names in ((), (_causes.OUTSIDE,)))
    assert inside.id == outside.id
    assert "stack_fresh" in inside.action
    assert "stack_fresh" not in outside.action


def test_the_last_word_counts() -> None:
    """A service that tried several times names the newest reason."""
    log = ("failed to connect to Redis: first", "failed to connect to Redis: second")
    assert "(second)" in str(explain(dead(*log)))


def test_what_is_said_is_bounded_and_one_line() -> None:
    text = str(explain(seen(DATASTORAGE, "body", "x" * 5000)))
    assert len(text) < 600


#: Ids that phases give by themselves, because they know more than a table could.
_GIVEN = re.compile(r'(?:cause=|Finding\(|_failure\(|\bknown = )\s*"([a-z-]+)"(?: if .* else "([a-z-]+)")?')


def test_every_id_is_in_the_documentation() -> None:
    ids = {cause.id for cause in _causes.CAUSES} | {_causes.UNKNOWN}
    for file in Path(_causes.__file__).parent.glob("_*.py"):
        ids |= {name for names in _GIVEN.findall(file.read_text()) for name in names if name}
    page = (Path(__file__).resolve().parents[4] / "docs" / "causes.md").read_text()
    assert set(re.findall(r"^\| `([a-z-]+)` \|", page, re.MULTILINE)) == ids


def test_quotes_that_a_line_of_json_escapes_hide_no_name() -> None:
    line = '{"error":"FATAL: password authentication failed for user \\"slm_user\\" (SQLSTATE 28P01)"}'
    assert "of slm_user:" in explain(dead(line)).sentence
