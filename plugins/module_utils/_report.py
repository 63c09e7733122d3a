# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where everything listens and what it took: phase ``stack_report``. PRIVATE to the collection."""

from __future__ import annotations

import json
import os
import shlex
from typing import Any, Dict, List, Mapping, Sequence, Tuple

from ansible_collections.kubernaut.integration.plugins.module_utils._phase import Context, Options, Phase, Result
from ansible_collections.kubernaut.integration.plugins.module_utils._plan import COMPONENTS, HOSTS_SPEC
from ansible_collections.kubernaut.integration.plugins.module_utils._state import write_private

#: Files that other tools read, and what they hold is the owner's only.
ENV_FILE = "stack.env"
JSON_FILE = "stack.json"
#: Extra variables for the playbooks that verify the stack and take it down; lies on the controller.
VARIABLES_FILE = "vars.json"


def environment(options: Options) -> Dict[str, str]:
    """Return the environment variables by which kubernaut's suites look for their stack, all spellings."""
    hosts, ports = options["hosts"], options["ports"]
    url = _api(options)
    apart = (
        {"DATASTORAGE_HEALTH_URL": _service_urls(options)[0], "DATASTORAGE_TOKEN_FILE": options["token_file"]}
        if options["token_file"]
        else {}
    )
    # kubernaut's clients trust what is in this file, and it alone.
    trust = {"TLS_CA_FILE": options["ca_file"]} if options["ca_file"] else {}
    return {
        "POSTGRES_HOST": hosts["postgres"],
        "POSTGRES_PORT": str(ports["postgres"]),
        "POSTGRES_DB": options["database"],
        "POSTGRES_USER": options["user"],
        "POSTGRES_PASSWORD": options["password"],
        "REDIS_HOST": hosts["redis"],
        "REDIS_PORT": str(ports["redis"]),
        "REDIS_ADDR": _place(options, "redis"),
        "REDIS_PASSWORD": options["redis_password"],
        "DATASTORAGE_URL": url,
        "DATASTORAGE_PORT": str(ports["datastorage"]),
        # Other suites' names for the same address.
        "DATA_STORAGE_URL": url,
        "TEST_DATA_STORAGE_URL": url,
        **apart,
        **trust,
    }


def _api(options: Options) -> str:
    """Return the base URL of DataStorage's API."""
    return ("https://" if options["tls"] else "http://") + _place(options, "datastorage")


def _service_urls(options: Options) -> Tuple[str, str]:
    """Return where DataStorage says how it is, and where its metrics are: at its API where it has no other port.

    Ports of their own speak plain HTTP, whatever the API does.
    """
    places = ((options["health_port"], options["health_path"]), (options["metrics_port"], options["metrics_path"]))
    health, metrics = (
        ("http://" + _place(options, "datastorage", port) if port else _api(options)) + path for port, path in places
    )
    return health, metrics


def _place(options: Options, component: str, port: int = 0) -> str:
    """Return ``host:port`` of a component, or of another port of its host."""
    host = options["hosts"][component]
    return "%s:%d" % ("[%s]" % host if ":" in host else host, port or options["ports"][component])


def env_text(variables: Mapping[str, str]) -> str:
    """Return a file that a POSIX shell can source, and that ``podman --env-file`` reads where nothing needs quotes."""
    return "".join("%s=%s\n" % (name, shlex.quote(value) if value else "") for name, value in variables.items())


def description(options: Options) -> Dict[str, Any]:
    """Return what ``stack.json`` says: facts that stay the same while the stack does, and no secret."""
    variables = environment(options)
    health, metrics = _service_urls(options)
    return {
        "stack": options["name"],
        "team": options["team"],
        "contract": options["contract"],
        "host": options["host"],
        "postgres": {
            "address": options["hosts"]["postgres"],
            "port": options["ports"]["postgres"],
            "database": options["database"],
            "user": options["user"],
            "container": options["containers"].get("postgres", ""),
        },
        "redis": {
            "address": options["hosts"]["redis"],
            "port": options["ports"]["redis"],
            "container": options["containers"].get("redis", ""),
        },
        "datastorage": {
            "url": variables["DATASTORAGE_URL"],
            "health": health,
            "metrics": metrics,
            "container": options["containers"].get("datastorage", ""),
            **({"token_file": options["token_file"]} if options["token_file"] else {}),
            **({"ca_file": options["ca_file"]} if options["ca_file"] else {}),
            # What the service really uses, after its defaults, clamps and what it hard-codes.
            "configuration": options["configuration"],
        },
        **({"auth": {"container": options["containers"]["auth"]}} if "auth" in options["containers"] else {}),
        "network": options["network"],
        "podman": options["podman"],
        "images": {
            component: {key: image[key] for key in ("reference", "id", "digest")}
            for component, image in options["images"].items()
        },
        "reference_service": options["reference_service"],
    }


def json_text(data: Mapping[str, Any]) -> str:
    """Return JSON for people and programs."""
    return json.dumps(data, indent=2) + "\n"


def variables(options: Options) -> Dict[str, Any]:
    """Return the extra variables with which another playbook means this very stack.

    They hold its passwords, except those that were made for it: the stack's own directory keeps them, and only that.
    """
    passwords = {"postgres_password": options["password"], "redis_password": options["redis_password"]}
    return {
        **options["variables"],
        "stack_hosts": options["host"],
        "postgres_port": options["ports"]["postgres"],
        "redis_port": options["ports"]["redis"],
        "datastorage_port": options["ports"]["datastorage"],
        "postgres_database": options["database"],
        "postgres_user": options["user"],
        **{name: value for name, value in passwords.items() if value != options["generated"].get(name)},
        **({"datastorage_token_file": options["token_file"]} if options["token_file"] else {}),
    }


def still_wanted(options: Options) -> str:
    """Return what must be added to the command that finishes the stack: files that nobody has named yet."""
    given = variables(options)
    if given.get("datastorage_auth") != "kubeconfig" or given.get("datastorage_external"):
        return ""
    names = ("datastorage_kubeconfig", "datastorage_token_file")
    return "".join(" -e %s=FILE" % name for name in names if not given.get(name))


def durations(marks: Sequence[Mapping[str, Any]]) -> List[Tuple[str, float]]:
    """Return what each phase took, in seconds, from the moments at which each one's last step ended."""
    # Not always in the chain's order: a role that is used alone brings its own images.
    ordered = sorted(marks, key=lambda mark: float(mark["at"]))
    pairs = zip(ordered, ordered[1:])
    return [(after["phase"], round(float(after["at"]) - float(before["at"]), 2)) for before, after in pairs]


def service_line(options: Options) -> str:
    """Say which DataStorage this is; the last line of a run."""
    image = options["images"].get("datastorage")
    if image is None:
        return "DataStorage is %s (datastorage_external)." % _api(options)
    if options["reference_service"]:
        return (
            "DataStorage is the collection's REFERENCE SERVICE (%s); set datastorage_image for a real one."
            % image["reference"]
        )
    return "DataStorage is %s (%s)." % (image["reference"], image["digest"] or image["id"])


def lines(options: Options, took: Sequence[Tuple[str, float]], files: Mapping[str, str]) -> List[str]:
    """Return the summary that a person reads at the end of a run."""
    facts = description(options)
    postgres, datastorage = facts["postgres"], facts["datastorage"]
    locked = ", with a password" if options["redis_password"] else ""
    rows = [
        ("PostgreSQL", _place(options, "postgres"), "%(database)s as %(user)s" % postgres),
        ("Redis", _place(options, "redis"), "DLQ streams audit:dlq:*" + locked),
        (
            "DataStorage",
            datastorage["url"],
            "contract %s, metrics at %s"
            % (facts["contract"], datastorage["metrics"] if options["metrics_port"] else options["metrics_path"]),
        ),
    ]
    if not options["started"]:
        rows[2] = ("DataStorage", datastorage["url"], "contract %s, not started" % facts["contract"])
    width = max(len(row[1]) for row in rows)
    text = ["", "%s on %s: %s" % (facts["stack"], facts["host"], options["proof"]), ""]
    text += ["  %-12s %-*s  %s" % (name, width, where, what) for name, where, what in rows]
    text += ["", "  " + "  ".join("%s %.2f s" % pair for pair in took)]
    text += ["  memory  " + options["memory"]] if options["memory"] else []
    text += ["", *("  note: " + note for note in options["notes"])] if options["notes"] else []
    text += [
        "",
        "  point a suite at it   set -a; . %s; set +a" % files[ENV_FILE],
        *(
            [
                "  check it again        %s" % options["verify_command"],
                "                        after every suite: it names what ended, restarted or ran out of memory since",
            ]
            if options["started"]
            else ["  finish it             %s%s" % (options["finish_command"], still_wanted(options))]
        ),
        "  take it down          %s" % options["teardown_command"],
        "",
        "  " + service_line(options),
    ]
    return text


def run(options: Options, context: Context) -> Result:
    """Write ``stack.env`` and ``stack.json``, and return the summary for the terminal."""
    files = {name: os.path.join(options["state_dir"], name) for name in (ENV_FILE, JSON_FILE)}
    took = durations(options["marks"])
    facts = description(options)
    changed = write_private(files[ENV_FILE], env_text(environment(options)), check=context.check)
    changed = write_private(files[JSON_FILE], json_text(facts), check=context.check) or changed
    return {
        "changed": changed,
        "lines": lines(options, took, files),
        "last_line": service_line(options),
        "durations": dict(took),
        "files": files,
        "stack": facts,
    }


_DICT: Dict[str, Any] = {"type": "dict", "required": True}
_STR: Dict[str, Any] = {"type": "str", "required": True}

PHASE = Phase(
    name="stack_report",
    run=run,
    argument_spec={
        "name": _STR,
        "team": _STR,
        "contract": _STR,
        "host": _STR,
        "state_dir": {"type": "path", "required": True},
        "podman": _STR,
        **HOSTS_SPEC,
        "ports": {
            "type": "dict",
            "required": True,
            # As numbers, whatever the command line made of them: -e postgres_port=15500 is text.
            "options": {component: {"type": "int", "required": True} for component in COMPONENTS},
        },
        "containers": _DICT,
        "network": _STR,
        "images": _DICT,
        "reference_service": {"type": "bool", "required": True},
        "database": _STR,
        "user": _STR,
        "password": {"type": "str", "required": True, "no_log": True},
        "redis_password": {"type": "str", "default": "", "no_log": True},
        "generated": {"type": "dict", "default": {}, "no_log": True},
        "health_port": {"type": "int", "default": 0},
        "metrics_port": {"type": "int", "default": 0},
        "token_file": {"type": "str", "default": "", "no_log": False},
        "tls": {"type": "bool", "default": False},
        "ca_file": {"type": "str", "default": ""},
        "health_path": _STR,
        "metrics_path": _STR,
        "configuration": {"type": "dict", "default": {}},
        "started": {"type": "bool", "default": True},
        "proof": _STR,
        "marks": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "options": {"phase": _STR, "at": {"type": "float", "required": True}},
        },
        "variables": {"type": "dict", "default": {}},
        # The action front keeps those that are no defaults.
        "settings": {"type": "dict", "default": {}},
        "memory": {"type": "str", "default": ""},
        "notes": {"type": "list", "elements": "str", "default": []},
        # The action front fills these in: the commands are the controller's.
        "verify_command": {"type": "str", "default": ""},
        "finish_command": {"type": "str", "default": ""},
        "teardown_command": {"type": "str", "default": ""},
    },
)
