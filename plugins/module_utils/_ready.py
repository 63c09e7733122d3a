# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gates: what each service must answer before anything behind it starts. PRIVATE to the collection."""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import replace
from typing import Any, Callable, Dict, FrozenSet, Mapping, Optional, Sequence, Tuple

from ansible_collections.kubernaut.integration.plugins.module_utils import _causes, _http, _postgres, _redis
from ansible_collections.kubernaut.integration.plugins.module_utils._causes import (
    DATASTORAGE,
    NETWORK,
    POSTGRES,
    PREFIXES,
    REDIS,
    Evidence,
    Named,
    explain,
)
from ansible_collections.kubernaut.integration.plugins.module_utils._gate import Observation, Verdict, attempt, wait
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
    "stable_for": {"type": "float", "default": 0.0},
    # Only masked: the fronts take them out of every answer, and a log may quote one.
    "secrets": {"type": "list", "elements": "str", "default": [], "no_log": True},
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
#: Seconds between the clock of PostgreSQL and the one here that are too much: the service takes events that are up to
#: 300 s ahead, and the suite's clock is this one.
SKEW_LIMIT = 240.0
#: States in which nobody answered: the published port may be dead while the service lives.
_NO_ANSWER = ("refused", "silent", "unreachable")
#: What a sentence may name -> the option that says it.
_TOLD = {"user": "postgres_user", "name": "postgres_database"}
#: States in which a service said itself that it needs time; it may be too busy to say so every time.
_BUSY = ("loading", "starting")
#: Names of the same time zone.
_UTC = ("UTC", "Etc/UTC", "GMT", "Etc/GMT", "UCT", "Etc/UCT", "Zulu", "Etc/Zulu", "Universal", "Etc/Universal")
#: A key that nobody else has, gone after this many milliseconds even if this process ends in between.
_PROBE_KEY, _PROBE_LIFE = "kubernaut-integration:probe:%s", 5000

#: Causes that DataStorage names in its log and that waiting does not cure. Contract v1 tries for up to 37 s before it
#: gives up; the gate does so as soon as it reads one.
_HOPELESS = (
    *("config-key-missing", "config-path-missing", "config-unreadable", "config-value", "no-cluster", "signer-missing"),
    *("secret-key-missing", "secret-not-a-string", "secret-unreadable", "schema-missing", "host-name"),
    *("postgres-password", "postgres-database", "postgres-user", "redis-noauth", "redis-password"),
)
#: Seconds between two looks at the log, which are a process each.
LOG_GAP = 1.0

#: Asks once, with the options of the gate and the seconds that are left.
Ask = Callable[[Options, float], Observation]


def _evidence_of(watch: Optional[Watch]) -> Tuple[FrozenSet[str], Dict[str, Any], Optional[int]]:
    """Return what podman knows of the container's end; a podman that fails must not hide what the gate saw."""
    try:
        return watch.evidence() if watch else (frozenset(), {}, None)
    except PhaseError:
        return frozenset(), {}, None


def asked_at(subject: str, options: Options) -> str:
    """Return the option that says at which port a gate asks."""
    return "health_port" if options.get("health_port") else PREFIXES.get(subject, "") + "_port"


def name_cause(subject: str, verdict: Verdict, watch: Optional[Watch], options: Options, marks: Sequence[str]) -> Named:
    """Return the cause of a gate that did not open.

    :param marks: facts that were found out by asking elsewhere.
    """
    found, values, code = _evidence_of(watch)
    prefix, asked = PREFIXES.get(subject, ""), asked_at(subject, options)
    state, said = verdict.last.state, verdict.last.detail
    busy = [seen for seen in verdict.observations if seen.state in _BUSY]
    if state in _NO_ANSWER and busy:
        state, said = busy[-1].state, busy[-1].detail
    evidence = Evidence(
        subject=subject,
        state=state,
        said=said,
        log=watch.last_words() if watch else (),
        exit_code=code,
        marks=found
        | set(marks)
        | ({_causes.WAS_READY} if verdict.lapsed else set())
        | (set() if options["container"] else {_causes.OUTSIDE}),
        values={
            "container": options["container"] or "the service",
            "port": options.get(asked, "?"),
            "host": options.get(prefix + "_host", "?"),
            "variable": "datastorage_health_port" if asked == "health_port" else asked,
            "api": options.get("datastorage_port", "?"),
            **{name: options[key] for name, key in _TOLD.items() if key in options},
            **values,
        },
    )
    return explain(evidence)


def conclude(
    subject: str, verdict: Verdict, watch: Optional[Watch], options: Options, marks: Sequence[str] = ()
) -> Result:
    """Turn a verdict into the gate's result.

    :raises PhaseError: the gate did not open; first line: cause and next action, then the container's log.
    """
    result: Result = {"changed": False, **verdict.as_dict(), **({"identity": watch.identity} if watch else {})}
    if verdict.ready:
        return result
    attempts = "%d attempt%s" % (verdict.attempts, "" if verdict.attempts == 1 else "s")
    after = "after %.1f s and %s" % (verdict.elapsed, attempts)
    named = name_cause(subject, verdict, watch, options, marks)
    lines = ["%s is not ready %s: %s" % (subject, after, named)]
    if verdict.last.detail not in lines[0]:
        lines.append("Last seen: %s." % verdict.last.detail.rstrip("."))
    if watch:
        lines += ["Last lines of `podman logs %s`:" % watch.name, *("  " + line for line in watch.log())]
    raise PhaseError("\n".join(lines), cause=named.id, **result)


def _reading(ask: Ask, watch: Watch, hopeless: Callable[[Sequence[str]], bool]) -> Ask:
    """Return ``ask`` that gives up when the container's log says that waiting is in vain.

    It is asked what it said since the gate began, as the failure's sentence is made of: a complaint that is true is
    repeated at every try.
    """
    read = [time.monotonic()]

    def asking(options: Options, left: float) -> Observation:
        observation = ask(options, left)
        if observation.state not in _NO_ANSWER or time.monotonic() - read[0] < LOG_GAP:
            return observation
        read[0] = time.monotonic()
        return replace(observation, final=True) if hopeless(watch.last_words()) else observation

    return asking


def _gate(
    subject: str,
    options: Options,
    context: Context,
    ask: Ask,
    hopeless: Optional[Callable[[Sequence[str]], bool]] = None,
) -> Result:
    """Run one gate with the shared options; in check mode one attempt tells how things stand.

    :param hopeless: tells of the container's log whether waiting is in vain.
    """
    if context.check:
        return {"changed": False, **wait(lambda _left: ask(options, ATTEMPT), 0.0).as_dict()}
    watch: Optional[Watch] = None
    prefix = PREFIXES.get(subject, "")
    if options["container"]:
        watch = Watch(Podman(options["podman"]), options["container"])
        if prefix:
            watch.demand_port(prefix + "_port", options[prefix + "_port"])
            if options.get("health_port"):
                watch.demand_port("datastorage_health_port", options["health_port"])
        ask = _reading(ask, watch, hopeless) if hopeless else ask
    verdict = wait(lambda left: ask(options, left), options["timeout"], watch, options["stable_for"])
    marks: Sequence[str] = ()
    if options.get("health_port") and verdict.last.state in _NO_ANSWER and api_answers(options):
        marks = (_causes.API_ANSWERS,)
    if watch and prefix and verdict.last.state in _NO_ANSWER:
        asked = asked_at(subject, options)
        own = watch.own_address(options[asked])
        there = {**options, prefix + "_host": own[0], asked: own[1]} if own else None
        if there and attempt(lambda left: ask(there, left), ATTEMPT).ready:
            marks = (_causes.OWN_ADDRESS,)
    return conclude(subject, verdict, watch, options, marks)


class PostgresProbe:
    """Log in over TCP as the service's own user to its own database and ask what the service relies on.

    ``pg_isready`` is no substitute: it says yes to the temporary server of an image's first start, and to a server
    that has neither the user nor the database.
    """

    def __init__(self) -> None:
        self._started: Optional[float] = None

    def __call__(self, options: Options, left: float) -> Observation:
        """Make one attempt."""
        import psycopg

        before = time.time()
        try:
            with _postgres.connect(options, min(left, ATTEMPT), "kubernaut.integration postgres_ready") as connection:
                row = connection.execute(
                    "SELECT extract(epoch FROM pg_postmaster_start_time())::float8, pg_encoding_to_char(d.encoding),"
                    " extract(epoch FROM clock_timestamp())::float8, s.setting, s.source"
                    " FROM pg_database d, pg_settings s WHERE d.datname = current_database() AND s.name = 'TimeZone'"
                ).fetchone()
        except psycopg.Error as error:
            return _postgres_refusal(error.sqlstate, str(error))
        if row is None:
            return Observation(False, "answer", "pg_settings has no TimeZone")
        return self.judge((before, time.time()), *row)

    def judge(
        self, here: Tuple[float, float], started: float, encoding: str, clock: float, zone: str, source: str
    ) -> Observation:
        """Compare what PostgreSQL said with what the service relies on.

        :param here: this machine's clock before and after PostgreSQL read its own, in seconds since the epoch.
        :param started: when the server started, likewise; ``clock``: what it read.
        :param source: where ``zone`` comes from; this process's own PGTZ says nothing about the service's sessions.
        """
        if self._started is not None and started != self._started:
            return Observation(False, "restarted", "PostgreSQL was started anew", final=True)
        self._started = started
        if encoding != "UTF8":
            return Observation(False, "encoding", encoding, final=True)
        if zone not in _UTC and source != "client":
            return Observation(False, "time zone", zone, final=True)
        skew = max(here[0] - clock, 0.0) + min(here[1] - clock, 0.0)
        if abs(skew) > SKEW_LIMIT:
            behind = "%.0f s %s" % (abs(skew), "further back" if skew > 0 else "further ahead")
            return Observation(False, "clock", behind, final=True)
        return Observation(True, "ready", "SELECT as the service's user, UTF8, UTC")


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
    if "timeout expired" in line:
        return Observation(False, "silent", "no answer within %.0f s" % ATTEMPT)
    # What follows is libpq's guess, in two lines.
    return Observation(False, "unreachable", line.split(" This probably means", 1)[0][-300:])


def redis_observation(options: Options, left: float, write: bool = True) -> Observation:
    """Demand exactly PONG, a data set that is loaded, and that a key can be written.

    The exit status of redis-cli would say 0 to errors, too.

    :param write: false in check mode, which writes nothing.
    """
    import redis

    try:
        with _redis.client(options, min(left, ATTEMPT)) as client:
            pong = client.execute_command("PING")
            if pong is not True and pong != "PONG":
                return Observation(False, "answer", "PING answered %r" % (pong,))
            loading = client.info("persistence").get("loading")
            if write and not int(loading or 0):
                key = _PROBE_KEY % uuid.uuid4()
                client.set(key, "1", px=_PROBE_LIFE)
                client.delete(key)
    except redis.exceptions.BusyLoadingError:
        return Observation(False, "loading", "Redis is loading its data set")
    except redis.exceptions.AuthenticationError as error:
        text = str(error)
        missing = "NOAUTH" in text or "required" in text.lower()
        return Observation(False, "noauth" if missing else "wrongpass", text, final=True)
    except redis.exceptions.ResponseError as error:
        return _redis_refusal(str(error))
    except (redis.exceptions.TimeoutError, TimeoutError):
        return Observation(False, "silent", "no answer within %.0f s" % ATTEMPT)
    except (redis.exceptions.RedisError, OSError) as error:
        text = str(error)
        if "refused" in text:
            return Observation(False, "refused", "nothing listens at the port yet (connection refused)")
        return Observation(False, "unreachable", text[:300])
    if int(loading or 0) != 0:
        return Observation(False, "loading", "Redis is loading its data set")
    return Observation(True, "ready", "PONG, loading:0%s" % (", takes writes" if write else ""))


def _redis_refusal(text: str) -> Observation:
    """Name what Redis answered instead of a value."""
    if text.startswith("NOAUTH"):
        return Observation(False, "noauth", text, final=True)
    if "maxmemory" in text:
        return Observation(False, "refuses writes", "OOM: " + text, final=True)
    return Observation(False, "refuses writes", text[:200], final=True)


def health_of(options: Options) -> _http.Service:
    """Return where DataStorage says how it is: a port of its own speaks plain HTTP, whatever the API does."""
    if options["health_port"]:
        return _http.Service(options["datastorage_host"], options["health_port"])
    return api_of(options)


def api_of(options: Options) -> _http.Service:
    """Return where DataStorage's API is."""
    return _http.Service(options["datastorage_host"], options["datastorage_port"], tls=_http.trust(options))


def api_answers(options: Options) -> bool:
    """Tell whether there is any answer at all at DataStorage's API."""
    try:
        api_of(options).get(options["path"], ATTEMPT)
    except _http.HttpTlsError:
        return True  # it answered, in another way
    except (_http.HttpError, PhaseError):
        return False
    return True


def datastorage_observation(options: Options, left: float) -> Observation:
    """Demand 200 and a JSON body that says what it must.

    :raises PhaseError: the API's certificate cannot be judged.
    """
    service = health_of(options)
    try:
        answer = service.get(options["path"], min(left, ATTEMPT))
    except _http.HttpRefusedError:
        return Observation(False, "refused", "nothing listens at the port yet (connection refused)")
    except _http.HttpTimeoutError as error:
        return Observation(False, "silent", str(error)[:300])
    except _http.HttpTlsError as error:
        return Observation(False, error.state, str(error)[:300], final=True)
    except _http.HttpError as error:
        return Observation(False, "unreachable", str(error)[:300])
    try:
        body = answer.json()
    except _http.HttpBrokenError:
        body = None
    if answer.wants_tls:
        return Observation(False, "no tls", answer.text(100), final=True)
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
    return _gate(POSTGRES, options, context, PostgresProbe())


def run_redis(options: Options, context: Context) -> Result:
    """Gate ``redis_ready``."""
    return _gate(REDIS, options, context, lambda given, left: redis_observation(given, left, not context.check))


def hopeless(lines: Sequence[str]) -> bool:
    """Tell whether a log names a cause that waiting does not cure."""
    return (
        explain(Evidence(DATASTORAGE, state="refused", log=lines, values={"container": "", "port": ""})).id in _HOPELESS
    )


def run_datastorage(options: Options, context: Context) -> Result:
    """Gate ``datastorage_ready``."""
    return _gate(DATASTORAGE, options, context, datastorage_observation, hopeless)


def run_names(options: Options, context: Context) -> Result:
    """Gate ``names_ready``."""
    podman = Podman(options["podman"])
    if context.check:
        return {"changed": False, "ready": False, "elapsed": 0.0, "attempts": 0, "observations": []}
    return _gate(NETWORK, options, context, lambda given, left: names_observation(podman, given, left))


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
        "health_port": {"type": "int", "default": 0},
        **_http.TLS_SPEC,
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
