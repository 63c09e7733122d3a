# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gates: what each service must answer before anything behind it starts. PRIVATE to the collection."""

from __future__ import annotations

import json
from typing import Any, Callable, Dict, Mapping, Optional

from ansible_collections.kubernaut.integration.plugins.module_utils import _http, _postgres, _redis
from ansible_collections.kubernaut.integration.plugins.module_utils._gate import Observation, Verdict, wait
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import (
    Context,
    Options,
    Phase,
    PhaseError,
    Result,
)
from ansible_collections.kubernaut.integration.plugins.module_utils._podman import Podman
from ansible_collections.kubernaut.integration.plugins.module_utils._watch import Watch

#: Options of every gate; documented in the doc fragment ``gate``.
GATE_SPEC: Dict[str, Dict[str, Any]] = {
    "timeout": {"type": "float", "default": 30.0},
    "container": {"type": "str", "default": ""},
    "podman": {"type": "str", "default": "podman"},
}
#: Longest single attempt in seconds, so that one lost packet does not eat the whole deadline.
ATTEMPT = 2.0
#: The same for a look-up of names, which starts a process in a container.
NAME_ATTEMPT = 10.0

#: SQLSTATE -> (state, final): what PostgreSQL says while it cannot serve the service's user.
_SQLSTATES: Mapping[str, Any] = {
    "57P03": ("starting", False),
    "28P01": ("password", True),
    "28000": ("authorization", True),
    "3D000": ("no database", True),
    "53300": ("connections", False),
}
#: state -> what a person does about it.
_REMEDIES: Mapping[str, str] = {
    "password": "the data volume keeps the password of its first start: set postgres_password to that one, "
    "or start clean with stack_fresh: true",
    "authorization": "set postgres_user to the user of the data volume, or start clean with stack_fresh: true",
    "no database": "the data volume was made for another postgres_database: set it, "
    "or start clean with stack_fresh: true",
    "exited": "read the log lines below",
    "replaced": "somebody else restarts it; see `podman events`",
    "removed": "somebody else removed it; see `podman events`",
    "noauth": "set redis_password",
    "wrongpass": "set redis_password to the one that Redis was started with",
    "connections": "close other sessions, or raise PostgreSQL's max_connections",
    "exec": "see whether the container runs with `podman ps --all`",
    "no getent": "name a container whose image has getent",
    "unhealthy": "read what it says, and the log lines below",
    "body": "something else listens at datastorage_port; see who with `ss -ltnp`",
    "no such name": "the network's name server does not answer; see `podman network inspect`",
}
_PATIENCE = "if the machine is only slow, raise stack_patience"


def conclude(subject: str, verdict: Verdict, watch: Optional[Watch]) -> Result:
    """Turn a verdict into the gate's result.

    :raises PhaseError: the gate did not open; first line: cause and next action, then the container's log.
    """
    result: Result = {"changed": False, **verdict.as_dict(), **({"identity": watch.identity} if watch else {})}
    if verdict.ready:
        return result
    last = verdict.last
    after = "after %.1f s and %d attempts" % (verdict.elapsed, verdict.attempts)
    lines = ["%s is not ready %s: %s; %s." % (subject, after, last.detail, _REMEDIES.get(last.state, _PATIENCE))]
    if watch:
        result["log"] = watch.log()
        lines += ["Last lines of `podman logs %s`:" % watch.name, *("  " + line for line in result["log"])]
    raise PhaseError("\n".join(lines), **result)


def _gate(
    subject: str, options: Options, context: Context, probe: Callable[[float], Observation], port: str = ""
) -> Result:
    """Run one gate with the shared options; in check mode one attempt tells how things stand.

    :param port: the option with the port at which the probe asks.
    """
    watch: Optional[Watch] = None
    if options["container"] and not context.check:
        watch = Watch(Podman(options["podman"]), options["container"])
        if port:
            watch.demand_port(port, options[port])
    if context.check:
        return {"changed": False, **wait(lambda _left: probe(ATTEMPT), 0.0).as_dict()}
    verdict = wait(probe, options["timeout"], watch)
    return conclude(subject, verdict, watch)


def postgres_observation(options: Options, left: float) -> Observation:
    """Log in over TCP as the service's own user to its own database and ask a question.

    ``pg_isready`` is no substitute: it says yes to the temporary server of an image's first start, and to a server
    that has neither the user nor the database.
    """
    import psycopg

    try:
        with _postgres.connect(options, min(left, ATTEMPT), "kubernaut.integration postgres_ready") as connection:
            row = connection.execute("SELECT 1").fetchone()
    except psycopg.OperationalError as error:
        return _postgres_refusal(error.sqlstate, str(error))
    if row != (1,):
        return Observation(False, "answer", "SELECT 1 answered %r" % (row,))
    return Observation(True, "ready", "SELECT 1 as %s" % options["postgres_user"])


def _postgres_refusal(sqlstate: Optional[str], text: str) -> Observation:
    """Name what PostgreSQL, or the network in front of it, said.

    libpq does not hand out the SQLSTATE of a refused connection, so the server's English words must do; the server of
    the stack runs with lc_messages C.
    """
    line = " ".join(text.split())
    words = {
        "is starting up": "57P03",
        "in recovery mode": "57P03",
        "not yet accepting connections": "57P03",
        "is shutting down": "57P03",
        "password authentication failed": "28P01",
        "no password supplied": "28P01",
        "no pg_hba.conf entry": "28000",
        "pg_hba.conf rejects connection": "28000",
        "too many clients": "53300",
        "remaining connection slots": "53300",
    }
    code = sqlstate or next((code for word, code in words.items() if word in line), None)
    if code is None and "database" in line and "does not exist" in line:
        code = "3D000"
    if code is None and "role" in line and "does not exist" in line:
        code = "28000"
    if code is not None and code in _SQLSTATES:
        state, final = _SQLSTATES[code]
        return Observation(False, state, line.rsplit("FATAL: ", 1)[-1], final)
    if "Connection refused" in line:
        return Observation(False, "refused", "nothing listens at the port yet (connection refused)")
    return Observation(False, "unreachable", line[-300:])


def redis_observation(options: Options, left: float) -> Observation:
    """Demand exactly PONG and a data set that is loaded; the exit status of redis-cli would say 0 to errors too."""
    import redis

    try:
        with _redis.client(options, min(left, ATTEMPT)) as client:
            pong = client.execute_command("PING")
            if pong is not True and pong != "PONG":
                return Observation(False, "answer", "PING answered %r" % (pong,))
            loading = client.info("persistence").get("loading")
    except redis.exceptions.BusyLoadingError:
        return Observation(False, "loading", "Redis is loading its data set")
    except redis.exceptions.AuthenticationError as error:
        text = str(error)
        missing = "NOAUTH" in text or "required" in text.lower()
        return Observation(False, "noauth" if missing else "wrongpass", text, final=True)
    except (redis.exceptions.RedisError, OSError) as error:
        text = str(error)
        if "refused" in text:
            return Observation(False, "refused", "nothing listens at the port yet (connection refused)")
        return Observation(False, "unreachable", text[:300])
    if int(loading or 0) != 0:
        return Observation(False, "loading", "Redis is loading its data set")
    return Observation(True, "ready", "PONG, loading:0")


def datastorage_observation(options: Options, left: float) -> Observation:
    """Demand 200, a JSON body that says healthy, and a connected database."""
    try:
        answer = _http.get(
            options["datastorage_host"], options["datastorage_port"], options["path"], min(left, ATTEMPT)
        )
    except _http.HttpRefusedError:
        return Observation(False, "refused", "nothing listens at the port yet (connection refused)")
    except _http.HttpError as error:
        return Observation(False, "unreachable", str(error)[:300])
    try:
        body = answer.json()
    except _http.HttpBrokenError:
        body = None
    if not isinstance(body, dict):
        said = "%s answered %d without a JSON object: %s" % (options["path"], answer.status, answer.text(100))
        return Observation(False, "body", said)
    if answer.status != 200:
        said = ", ".join("%s %s" % item for item in sorted(body.items()))
        return Observation(False, "unhealthy", "%s answered %d: %s" % (options["path"], answer.status, said[:200]))
    wrong = {key: body.get(key) for key, value in options["expect"].items() if body.get(key) != value}
    if wrong:
        return Observation(False, "body", "%s answered 200 with %r" % (options["path"], wrong))
    return Observation(True, "ready", "%s answered 200, %s" % (options["path"], json.dumps(body, sort_keys=True)))


def names_observation(podman: Podman, options: Options, left: float) -> Observation:
    """Resolve names from inside a container of the network, as DataStorage will have to."""
    patience = min(left, NAME_ATTEMPT)
    answer = podman.call("exec", options["container"], "getent", "hosts", *options["names"], timeout=patience)
    lines = [line.split() for line in answer.out.splitlines() if line.strip()]
    resolved = {name for line in lines for name in line[1:]}
    missing = [name for name in options["names"] if not any(r == name or r.startswith(name + ".") for r in resolved)]
    if answer.rc == 0 and not missing:
        return Observation(True, "ready", ", ".join("%s is %s" % (line[1], line[0]) for line in lines))
    if answer.rc == 124:
        return Observation(False, "no such name", "the name server hangs (no answer within %.0f s)" % patience)
    if answer.rc in (0, 2):
        return Observation(False, "no such name", "%s cannot be resolved" % ", ".join(missing or options["names"]))
    if answer.rc in (126, 127):
        return Observation(False, "no getent", "podman exec: %s" % answer.reason, final=True)
    return Observation(False, "exec", "podman exec: %s" % answer.reason)


def run_postgres(options: Options, context: Context) -> Result:
    """Gate ``postgres_ready``."""
    return _gate("PostgreSQL", options, context, lambda left: postgres_observation(options, left), "postgres_port")


def run_redis(options: Options, context: Context) -> Result:
    """Gate ``redis_ready``."""
    return _gate("Redis", options, context, lambda left: redis_observation(options, left), "redis_port")


def run_datastorage(options: Options, context: Context) -> Result:
    """Gate ``datastorage_ready``."""
    return _gate(
        "DataStorage", options, context, lambda left: datastorage_observation(options, left), "datastorage_port"
    )


def run_names(options: Options, context: Context) -> Result:
    """Gate ``names_ready``."""
    podman = Podman(options["podman"])
    if context.check:
        return {"changed": False, "ready": False, "elapsed": 0.0, "attempts": 0, "observations": []}
    return _gate("The network", options, context, lambda left: names_observation(podman, options, left))


POSTGRES_PHASE = Phase(
    name="postgres_ready",
    run=run_postgres,
    argument_spec={**GATE_SPEC, **_postgres.POSTGRES_SPEC},
    libraries=("psycopg",),
)

REDIS_PHASE = Phase(
    name="redis_ready",
    run=run_redis,
    argument_spec={**GATE_SPEC, **_redis.REDIS_SPEC},
    libraries=("redis",),
)

DATASTORAGE_PHASE = Phase(
    name="datastorage_ready",
    run=run_datastorage,
    argument_spec={
        **GATE_SPEC,
        "datastorage_host": {"type": "str", "default": "127.0.0.1"},
        "datastorage_port": {"type": "int", "required": True},
        "path": {"type": "str", "default": "/health"},
        "expect": {"type": "dict", "default": {"status": "healthy", "database": "connected"}},
    },
)

NAMES_PHASE = Phase(
    name="names_ready",
    run=run_names,
    argument_spec={
        **GATE_SPEC,
        "container": {"type": "str", "required": True},
        "names": {"type": "list", "elements": "str", "required": True},
    },
)
