# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input stops before anything is started: phase ``preflight``. PRIVATE to the collection."""

from __future__ import annotations

import math
import os
import re
import shutil
import ssl
from typing import Any, Dict, FrozenSet, List, Mapping, Optional, Sequence, Tuple

from ansible.module_utils.parsing.convert_bool import boolean

from ansible_collections.kubernaut.integration.plugins.module_utils import _http, _ports, _rootless, _sql_files
from ansible_collections.kubernaut.integration.plugins.module_utils._access import judge_kubeconfig
from ansible_collections.kubernaut.integration.plugins.module_utils._contracts import AUTO, CONTRACTS
from ansible_collections.kubernaut.integration.plugins.module_utils._durations import nanoseconds
from ansible_collections.kubernaut.integration.plugins.module_utils._files import read
from ansible_collections.kubernaut.integration.plugins.module_utils._image_plan import find_source
from ansible_collections.kubernaut.integration.plugins.module_utils._partitions import parse_today
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import (
    Context,
    Options,
    Phase,
    PhaseError,
    Result,
)
from ansible_collections.kubernaut.integration.plugins.module_utils._plan import (
    LABEL,
    PlanError,
    Told,
    outside,
    plan,
)
from ansible_collections.kubernaut.integration.plugins.module_utils._podman import Podman

#: Characters that the service's unquoted connection string can carry.
_DSN_SAFE = re.compile(r"[!#-&(-\[\]-~]+")
_IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]{0,62}")
#: Seconds that a running service has to say which generation it is.
ASK_TIMEOUT = 5.0
_SIZE = re.compile(r"[1-9][0-9]*[kmg]")


def check_port(variable: str, value: Any) -> int:
    """Return a port as a number; refuse one that no unprivileged service of this stack can be published on."""
    text = str(value)
    if not text.isdecimal() or not 1024 <= int(text) <= 65535:
        raise PhaseError("%s: %s is not a port from 1024 to 65535; choose another." % (variable, text))
    return int(text)


def check_distinct(ports: Sequence[Mapping[str, Any]]) -> None:
    """Refuse two variables that name the same port."""
    seen: Dict[int, str] = {}
    for entry in ports:
        port, variable = entry["port"], entry["variable"]
        if port in seen:
            raise PhaseError("%s: %d is also %s; give each its own port." % (variable, port, seen[port]))
        seen[port] = variable


def check_secret(variable: str, value: str, empty: bool) -> None:
    """Refuse a password that does not survive the service's unquoted connection string."""
    if not value and empty:
        return
    if not value:
        raise PhaseError(
            "%s: it is empty, and the service's connection string would take what follows for the password; set one."
            % variable
        )
    if not _DSN_SAFE.fullmatch(value):
        raise PhaseError(
            "%s: it holds a character that the service's unquoted connection string cannot carry (space, quote, "
            "backslash, control or non-ASCII); use letters, digits, '_' and '-'." % variable
        )


def check_identifier(variable: str, value: str) -> None:
    """Refuse a database or user that would need quotes, which the service's connection string does not have."""
    if not _IDENTIFIER.fullmatch(value):
        raise PhaseError(
            "%s: %r is not a plain PostgreSQL name; use at most 63 lower-case letters, digits and '_'."
            % (variable, value)
        )


def check_size(variable: str, value: str) -> None:
    """Refuse a memory size that podman would not take."""
    if not _SIZE.fullmatch(value):
        raise PhaseError("%s: %r is not a size; write one such as 256m or 1g." % (variable, value))


def check_duration(variable: str, value: str) -> None:
    """Refuse what Go's parser would not take for a span of time."""
    length = nanoseconds(value)
    if length is None or length < 0:
        raise PhaseError("%s: %r is no duration; write one such as 500ms, 30s or 1m30s." % (variable, value))


def check_number(variable: str, value: Any, least: float) -> None:
    """Refuse what is no number, and a number below the least that makes sense."""
    try:
        number = float(str(value))
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise PhaseError("%s: %s is not a number; give one, at least %g." % (variable, value, least))
    if number < least:
        raise PhaseError("%s: %g is too little; give at least %g." % (variable, number, least))


def check_date(variable: str, value: str) -> None:
    """Refuse what is neither empty nor a date."""
    try:
        parse_today(value)
    except PhaseError:
        raise PhaseError("%s: %r is not a date; write it as YYYY-MM-DD (UTC)." % (variable, value)) from None


def check_boolean(variable: str, value: str) -> None:
    """Refuse what Ansible would not take for a yes or a no."""
    try:
        boolean(value)
    except TypeError:
        raise PhaseError("%s: %r is neither true nor false; write one of them." % (variable, value)) from None


def check_choice(variable: str, value: str, choices: Sequence[str]) -> None:
    """Refuse a value that is not one of a few."""
    if value not in choices:
        raise PhaseError("%s: %r is not known; choose one of %s." % (variable, value, ", ".join(choices)))


def check_alternatives(given: Sequence[Mapping[str, str]]) -> None:
    """Refuse more than one of several variables that say the same thing in different ways."""
    variables = [entry["variable"] for entry in given if entry["value"]]
    if len(variables) > 1:
        raise PhaseError(
            "%s: set one of them, not %d; one that vars.json has is cleared with an empty value."
            % (" and ".join(variables), len(variables))
        )


def check_wanted(wanted: Sequence[Mapping[str, Any]]) -> None:
    """Refuse to go on without something that only the user can give."""
    for entry in wanted:
        if not entry["given"]:
            raise PhaseError("%s: %s." % (" or ".join(entry["variables"]), entry["reason"]))


def check_kubeconfig(variable: str, path: str, on_host: bool) -> None:
    """Refuse a kubeconfig that cannot work in a container."""
    wrong = judge_kubeconfig(read(os.path.realpath(path)) or "", on_host)
    if wrong:
        raise PhaseError("%s: %s %s." % (variable, path, wrong), cause="kubeconfig-unfit")


def check_migrations(directory: str) -> None:
    """Refuse a directory of migrations that is missing, holds none, or one that nobody could apply.

    Called where the directory lies. What only PostgreSQL's parser sees is left for later: to load it takes a while.
    """
    if not os.path.isdir(directory):
        raise PhaseError("migrations_dir: there is no directory %s; name one that holds *.sql files." % directory)
    if not any(name.endswith(".sql") for name in os.listdir(directory)):
        raise PhaseError(
            "migrations_dir: %s holds no *.sql file (sub-directories do not count); name the directory that does."
            % directory
        )
    try:
        _sql_files.parse(_sql_files.read_directory(directory))
    except PhaseError as error:
        said = error.message.replace(" in migrations_dir", "", 1)
        raise PhaseError("migrations_dir: " + said, cause=error.cause, **error.result) from None


def check_path(variable: str, path: str, executable: bool, certificates: bool) -> None:
    """Refuse a file that is missing, cannot be read, or holds no certificates where it should."""
    if os.path.isdir(path):
        raise PhaseError("%s: %s is a directory; name a file." % (variable, path))
    if not os.path.isfile(path):
        raise PhaseError("%s: there is no file %s on this host; name one that exists." % (variable, path))
    if not os.access(path, os.X_OK if executable else os.R_OK):
        what = "executed" if executable else "read"
        raise PhaseError("%s: %s cannot be %s by this user; change its mode." % (variable, path, what))
    if certificates:
        _http.trust({"datastorage_tls": True, "datastorage_ca_file": path})


def published(found: Sequence[Mapping[str, Any]], stack: str) -> Dict[int, str]:
    """Return the host ports that running containers of ``stack`` publish, with the container's name."""
    ports: Dict[int, str] = {}
    for container in found:
        labels = container["Config"].get("Labels") or {}
        if labels.get(LABEL + "stack") != stack or not container["State"]["Running"]:
            continue
        for bindings in (container["HostConfig"].get("PortBindings") or {}).values():
            ports.update({int(binding["HostPort"]): container["Name"] for binding in bindings or []})
    return ports


def listening(found: Sequence[Mapping[str, Any]], stack: str) -> FrozenSet[int]:
    """Return the ports on which running containers of ``stack`` listen on every address, in the host's network."""
    labels = [
        container["Config"].get("Labels") or {}
        for container in found
        if container["State"]["Running"] and container["HostConfig"].get("NetworkMode") == "host"
    ]
    named = [each.get(LABEL + "listens", "") for each in labels if each.get(LABEL + "stack") == stack]
    return frozenset(int(port) for ports in named for port in ports.split(",") if port.isdecimal())


def ask(service: _http.Service) -> Tuple[str, str]:
    """Return the contract that a running DataStorage keeps, and what says so.

    Whether it is well is no question here: it has the path also while it answers there that it is not.

    :raises PhaseError: nobody answers, or none of the known generations.
    """
    where = "datastorage_external %s:%d" % (service.host, service.port)
    for name, contract in CONTRACTS.items():
        try:
            response = service.get(contract.known_by, ASK_TIMEOUT)
        except _http.HttpPlainError:
            raise PhaseError(
                "datastorage_external: %s:%d speaks no TLS; write it without https://." % (service.host, service.port),
                cause="tls-unwanted",
            ) from None
        except _http.HttpTlsError as error:
            raise PhaseError(
                "datastorage_ca_file: auto asks %s, and there is %s; name the certificate to trust." % (where, error),
                cause="tls-untrusted",
            ) from None
        except _http.HttpError as error:
            raise PhaseError(
                "stack_contract: auto asks %s, and there is %s; start it, or name the contract." % (where, error)
            ) from None
        if response.wants_tls:
            raise PhaseError(
                "datastorage_external: %s:%d speaks TLS only; write it with https://." % (service.host, service.port),
                cause="tls-wanted",
            )
        if response.status in (200, 503):
            return name, "the answer of %s to GET %s" % (where, contract.known_by)
    raise PhaseError(
        "stack_contract: %s has none of the paths %s, by which auto knows the contract; correct the address, or name "
        "the contract." % (where, ", ".join(contract.known_by for contract in CONTRACTS.values()))
    )


def _trust(variables: Mapping[str, Any]) -> Optional[ssl.SSLContext]:
    """Return whom to trust at DataStorage's API, as far as variables of the stack say it."""
    options = {name: variables.get(name) or option["default"] for name, option in _http.TLS_SPEC.items()}
    check_boolean("datastorage_tls", options["datastorage_tls"])
    return _http.trust({**options, "datastorage_tls": boolean(options["datastorage_tls"])})


def check_plan(variables: Mapping[str, Any]) -> Tuple[str, str]:
    """Judge the stack's variables together; return what :func:`ask` says where the contract was left to a service."""
    try:
        away = outside(variables)
        asked = variables.get("stack_contract") == AUTO and "datastorage" in away
        running = ask(_http.Service(*away["datastorage"], tls=_trust(variables))) if asked else ("", "")
        plan(variables, told=Told(running=running))
    except PlanError as error:
        raise PhaseError(str(error)) from None
    return running


def _check_values(options: Options) -> None:
    """Judge everything else that can be judged without a look at the machine's ports."""
    for entry in options["numbers"]:
        check_number(entry["variable"], entry["value"], entry["least"])
    for entry in options["booleans"]:
        check_boolean(entry["variable"], entry["value"])
    for entry in options["choices"]:
        check_choice(entry["variable"], entry["value"], entry["choices"])
    check_alternatives(options["alternatives"])
    check_wanted(options["wanted"])
    for entry in options["dates"]:
        check_date(entry["variable"], entry["value"])
    for entry in options["secrets"]:
        check_secret(entry["variable"], entry["value"], entry["empty"])
    for entry in options["identifiers"]:
        check_identifier(entry["variable"], entry["value"])
    for entry in options["sizes"]:
        check_size(entry["variable"], entry["value"])
    for entry in options["durations"]:
        check_duration(entry["variable"], entry["value"])
    for entry in options["paths"]:
        check_path(entry["variable"], entry["path"], entry["executable"], entry["certificates"])
    if options["context"]:
        find_source(options["context"]["directory"], options["context"]["containerfile"], {})
    for entry in options["kubeconfigs"]:
        check_kubeconfig(entry["variable"], entry["path"], entry["on_host"])


def run(options: Options, context: Context) -> Result:  # noqa: ARG001 - every phase takes both
    """Check every kind of input that was handed over; the first thing that is wrong stops the run."""
    name, source = check_plan(options["variables"])
    _check_values(options)
    ports: List[Dict[str, Any]] = [
        {**entry, "port": check_port(entry["variable"], entry["port"])} for entry in options["ports"]
    ]
    check_distinct(ports)
    occupied = [(entry, address) for entry in ports for address in _ports.taken(entry["port"])]
    ours: Dict[int, str] = {}
    everywhere: FrozenSet[int] = frozenset()
    if occupied and options["containers"] and shutil.which(options["podman"]):  # without podman, none is ours
        _rootless.demand_runtime_directory()
        found = Podman(options["podman"]).inspect(*options["containers"], kind="container")
        ours, everywhere = published(found, options["stack"]), listening(found, options["stack"])
    for entry, address in occupied:
        if entry["port"] in everywhere:
            continue
        if entry["port"] not in ours or address != "127.0.0.1":
            raise PhaseError(
                "%s: port %d on %s is taken by %s; stop it, or set %s to a free port."
                % (entry["variable"], entry["port"], address, _ports.owner(entry["port"], address), entry["variable"]),
                cause="port-taken",
            )
    return {"changed": False, **({"contract": {"name": name, "source": source}} if name else {})}


_VARIABLE: Dict[str, Any] = {"type": "str", "required": True}
_NAMED_VALUE: Dict[str, Any] = {"variable": _VARIABLE, "value": {"type": "str", "required": True}}

PHASE = Phase(
    name="preflight",
    run=run,
    argument_spec={
        "podman": {"type": "str", "default": "podman"},
        "stack": {"type": "str", "default": ""},
        "containers": {"type": "list", "elements": "str", "default": []},
        "ports": {
            "type": "list",
            "elements": "dict",
            "default": [],
            # Raw, so that what is no number is refused by the variable's name.
            "options": {"variable": _VARIABLE, "port": {"type": "raw", "required": True}},
        },
        "secrets": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "no_log": False,
            "options": {
                "variable": _VARIABLE,
                "value": {"type": "str", "required": True, "no_log": True},
                "empty": {"type": "bool", "default": False},
            },
        },
        "variables": {"type": "dict", "default": {}},
        "numbers": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {
                "variable": _VARIABLE,
                "value": {"type": "raw", "required": True},
                "least": {"type": "float", "required": True},
            },
        },
        "booleans": {"type": "list", "elements": "dict", "default": [], "options": _NAMED_VALUE},
        "choices": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {**_NAMED_VALUE, "choices": {"type": "list", "elements": "str", "required": True}},
        },
        "alternatives": {"type": "list", "elements": "dict", "default": [], "options": _NAMED_VALUE},
        "wanted": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {
                "variables": {"type": "list", "elements": "str", "required": True},
                "given": {"type": "bool", "required": True},
                "reason": {"type": "str", "required": True},
            },
        },
        "dates": {"type": "list", "elements": "dict", "default": [], "options": _NAMED_VALUE},
        # Checked by the action front, because the files lie on the controller.
        "migrations": {"type": "path"},
        "identifiers": {"type": "list", "elements": "dict", "default": [], "options": _NAMED_VALUE},
        "kubeconfigs": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {
                "variable": _VARIABLE,
                "path": {"type": "str", "required": True},
                "on_host": {"type": "bool", "default": False},
            },
        },
        "sizes": {"type": "list", "elements": "dict", "default": [], "options": _NAMED_VALUE},
        "durations": {"type": "list", "elements": "dict", "default": [], "options": _NAMED_VALUE},
        "context": {
            "type": "dict",
            "options": {
                "directory": {"type": "path", "required": True},
                "containerfile": {"type": "str", "default": ""},
            },
        },
        "paths": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {
                "variable": _VARIABLE,
                "path": {"type": "path", "required": True},
                "executable": {"type": "bool", "default": False},
                "certificates": {"type": "bool", "default": False},
            },
        },
    },
)
