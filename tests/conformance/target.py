# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which service is asked: one that the options name, or that of a running stack of this collection."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from ansible_collections.kubernaut.integration.plugins.module_utils import _state
from ansible_collections.kubernaut.integration.tests.conformance.contract import HUMAN, SERVICE, STRANGER

#: Whose token -> the variable of the environment (or of ``stack.env``) that holds it, or with ``_FILE`` its file.
TOKENS: Mapping[str, str] = {
    SERVICE: "DATASTORAGE_TOKEN",
    STRANGER: "DATASTORAGE_STRANGER_TOKEN",
    HUMAN: "DATASTORAGE_HUMAN_TOKEN",
}
#: The variable that kubernaut's clients read, too.
AUTHORITY = "TLS_CA_FILE"
#: Whose stack it is where there are several and none was named.
DEFAULT_STACK = "workflowexecution"


#: Where a session of pytest keeps the service that it asks.
TARGET: pytest.StashKey[Target] = pytest.StashKey()


class TargetError(Exception):
    """What is missing or wrong; the message is one sentence."""


@dataclass(frozen=True)
class Target:
    """A service and what is behind it.

    :param contract: the generation that it is compared with.
    :param url: of its API, without a slash at the end; ``health_url`` and ``metrics_url`` likewise.
    :param postgres: libpq's conninfo or URL. ``redis``: a URL.
    :param passwords: of ``postgres`` and ``redis``, where the addresses do not hold them.
    :param tokens: identity -> bearer token.
    :param ca_file: PEM file with what is to be trusted at an ``https`` address; empty for what the machine trusts.
    :param stack: what ``stack.json`` says, where it is a stack's.
    """

    contract: str
    url: str
    health_url: str
    metrics_url: str
    postgres: str = field(repr=False)
    redis: str = field(repr=False)
    passwords: Mapping[str, str] = field(default_factory=dict, repr=False)
    tokens: Mapping[str, str] = field(default_factory=dict, repr=False)
    ca_file: str = ""
    stack: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Wanted:
    """What the options say; empty is not given."""

    stack: str = ""
    contract: str = ""
    url: str = ""
    health_url: str = ""
    metrics_url: str = ""
    postgres: str = ""
    redis: str = ""
    faults: bool = False


def resolve(wanted: Wanted, environ: Mapping[str, str], home: Path | None = None) -> Target:
    """Return the service that is meant.

    :param environ: holds tokens and passwords, which are no options because everybody can read a command line.
    :param home: where stacks keep their files; None for the default.
    :raises TargetError: something is missing or wrong.
    """
    if wanted.url:
        if wanted.faults:
            raise TargetError(
                "--faults works on a stack of this collection; for another service give --control instead."
            )
        return _named(wanted, environ)
    if wanted.postgres or wanted.redis or wanted.health_url or wanted.metrics_url:
        raise TargetError(
            "URL is missing: name the DataStorage to ask (URL=http://127.0.0.1:18100), or none of its parts."
        )
    return _of_stack(wanted, environ, home)


def _named(wanted: Wanted, environ: Mapping[str, str]) -> Target:
    contract = wanted.contract or "v0"
    needed = {"POSTGRES": wanted.postgres, "REDIS": wanted.redis}
    if contract == "v1":
        needed |= {"HEALTH_URL": wanted.health_url, "METRICS_URL": wanted.metrics_url}
        needed |= {f"{TOKENS[SERVICE]} in the environment": _tokens(environ).get(SERVICE, "")}
    missing = [name for name, value in needed.items() if not value]
    if missing:
        raise TargetError(
            f"{' and '.join(missing)} must be given with URL for contract {contract}; see docs/conformance.md."
        )
    return Target(
        contract=_contract(contract),
        url=_url("URL", wanted.url),
        health_url=_url("HEALTH_URL", wanted.health_url or wanted.url),
        metrics_url=_url("METRICS_URL", wanted.metrics_url or wanted.url),
        postgres=wanted.postgres,
        redis=wanted.redis,
        passwords={
            "postgres": environ.get("POSTGRES_PASSWORD", environ.get("PGPASSWORD", "")),
            "redis": environ.get("REDIS_PASSWORD", ""),
        },
        tokens=_tokens(environ),
        ca_file=environ.get(AUTHORITY, ""),
    )


def _of_stack(wanted: Wanted, environ: Mapping[str, str], home: Path | None) -> Target:
    directory = Path(wanted.stack).expanduser() if wanted.stack else _only_stack(home or Path(_state.state_home()))
    try:
        facts = json.loads((directory / "stack.json").read_text())
        lines = shlex.split((directory / "stack.env").read_text(), comments=True)
    except (OSError, ValueError) as error:
        raise TargetError(f"STACK: {directory} is not the directory of a running stack ({error}).") from None
    env = dict(line.partition("=")[::2] for line in lines)
    postgres, redis, service = facts["postgres"], facts["redis"], facts["datastorage"]
    return Target(
        contract=_contract(wanted.contract or facts["contract"]),
        url=_url("URL", service["url"]),
        health_url=_base(service["health"]),
        metrics_url=_base(service["metrics"]),
        postgres="postgresql://{user}@{address}:{port}/{database}".format(**postgres),
        redis="redis://{address}:{port}".format(**redis),
        passwords={"postgres": env["POSTGRES_PASSWORD"], "redis": env["REDIS_PASSWORD"]},
        tokens=_tokens({**env, **environ}),
        ca_file=service.get("ca_file", environ.get(AUTHORITY, "")),
        stack=facts,
    )


def _only_stack(home: Path) -> Path:
    """Return the directory of the stack that must be meant."""
    found = sorted(path.parent for path in home.glob("*/stack.json"))
    if len(found) > 1:
        found = [path for path in found if path.name == DEFAULT_STACK] or found
    if not found:
        raise TargetError(
            f"No stack is running below {home}: start one (make integration), name its directory (STACK=...), or name "
            "a DataStorage, its PostgreSQL and its Redis (URL=... POSTGRES=... REDIS=...)."
        )
    if len(found) > 1:
        raise TargetError(f"Several stacks are running: name the directory of one (STACK={found[0]}).")
    return found[0]


def _contract(name: str) -> str:
    if name not in ("v0", "v1"):
        raise TargetError(f"CONTRACT: {name!r} is none; there are v0 and v1.")
    return name


def _url(name: str, text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise TargetError(f"{name}: {text!r} is no URL like http://127.0.0.1:18100.")
    return text.rstrip("/")


def _base(url: str) -> str:
    """Return the part of a URL before its path."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _tokens(environ: Mapping[str, str]) -> dict[str, str]:
    """Return identity -> token, from the variable itself or else from the file that ``<variable>_FILE`` names."""
    found = {}
    for identity, name in TOKENS.items():
        path = environ.get(f"{name}_FILE", "")
        try:
            token = environ.get(name, "") or (Path(path).read_text().strip() if path else "")
        except OSError as error:
            raise TargetError(f"{name}_FILE: {path}: {error.strerror}.") from None
        if token:
            found[identity] = token
    return found
