# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at a stack from every side at once, in bounded time and room, and keep no secret. PRIVATE to the collection.

Every collector runs in a thread of its own, and all share one budget. One that fails or does not end in time leaves a
line that says so, and the others do not wait for it. Nothing here changes the stack.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import shlex
import shutil
import tempfile
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Mapping, Optional

from ansible_collections.kubernaut.integration.plugins.module_utils import (
    _causes,
    _contracts,
    _evidence,
    _ports,
    _postgres,
    _ready,
    _redis,
    _rootless,
    _schema,
)
from ansible_collections.kubernaut.integration.plugins.module_utils._access import AUTHORITY, TOKEN
from ansible_collections.kubernaut.integration.plugins.module_utils._files import read
from ansible_collections.kubernaut.integration.plugins.module_utils._gate import Observation
from ansible_collections.kubernaut.integration.plugins.module_utils._mask import (
    Mask,
    secrets_in,
    shown,
    shown_container,
    shown_settings,
)
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import Context, Options, PhaseError
from ansible_collections.kubernaut.integration.plugins.module_utils._plan import LABEL
from ansible_collections.kubernaut.integration.plugins.module_utils._podman import LOOK_TIMEOUT, Answer, Podman

if TYPE_CHECKING:
    import psycopg

#: Seconds that one call may take; the budget may allow it less.
CALL_TIMEOUT = 3.0
#: What is kept: lines of each log, of a container's last words, and of what else is a list; errors of each queue.
LOG_LINES = 2000
LAST_LINES = 20
LIST_LINES = 500
QUEUE_ERRORS = 20
#: Characters of one file.
FILE_LIMIT = 1024 * 1024

#: Component of the stack -> who it is in words.
SUBJECTS: Mapping[str, str] = {prefix: subject for subject, prefix in _causes.PREFIXES.items()}
#: End of a file's name -> what is in it, in the order in which a person wants to read them.
FILES: Mapping[str, str] = {
    ".log": "the last %d lines of each container's log" % LOG_LINES,
    "_inspect.json": "`podman inspect` of each container",
    "podman_events.txt": "what happened to the containers in the last 24 hours",
    "configuration.txt": "the files that the containers read, secrets masked",
    "postgres_ledger.json": "which migrations are applied",
    "postgres_schema.json": "tables with their columns, functions, extensions",
    "postgres_partitions.json": "partitions of the partitioned tables",
    "postgres_settings.json": "server settings that are not the default",
    "postgres_sessions.json": "who is connected, and what they wait for",
    "redis_queues.json": "length and last errors of each dead letter queue",
    "redis_info.json": "INFO",
    "redis_settings.json": "CONFIG GET *",
    "ports.txt": "who listens at the stack's ports",
    "disk.txt": "free space",
    "kernel.txt": "the kernel's lines about memory that ran out",
    "podman_info.json": "`podman info`",
}

_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)")


class Budget:
    """Seconds that everything together may take, by the monotonic clock."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.seconds = seconds
        self._end = clock() + seconds

    def left(self) -> float:
        """Return the seconds that are left, never less than 0."""
        return max(0.0, self._end - self._clock())


class GapError(Exception):
    """Something could not be collected; the message says why."""


class HastyPodman(Podman):
    """Podman whose every call ends within the budget, whoever makes it."""

    def __init__(self, executable: str, budget: Budget) -> None:
        super().__init__(executable)
        self._budget = budget

    def call(self, *arguments: str, timeout: float = LOOK_TIMEOUT, stdin: Optional[str] = None) -> Answer:
        """Run podman, as :meth:`Podman.call` does."""
        return super().call(*arguments, timeout=min(timeout, CALL_TIMEOUT, self._budget.left() + 0.1), stdin=stdin)

    def ask(self, *arguments: str) -> Answer:
        """Run podman.

        :raises GapError: it failed, or did not answer in time.
        """
        answer = self.call(*arguments)
        if answer.rc != 0:
            raise GapError(answer.reason)
        return answer


def seconds(moment: str) -> float:
    """Return a moment as podman writes it in seconds since the epoch; 0 for what is none."""
    found = _MOMENT.match(moment)
    if not found:
        return 0.0
    zone = "+00:00" if found[4] == "Z" else found[4]
    return datetime.fromisoformat("%sT%s%s" % (found[1], found[2], zone)).timestamp() + float(found[3] or 0)


def ended(container: Mapping[str, Any]) -> bool:
    """Tell whether a container ran and ended."""
    return container["State"]["Status"] in ("exited", "stopped", "dead")


def published(container: Mapping[str, Any]) -> int:
    """Return the first port of this machine at which a container is published; 0 when there is none."""
    bindings = (container["HostConfig"].get("PortBindings") or {}).values()
    return next((int(binding["HostPort"]) for each in bindings for binding in each or []), 0)


def bounded(text: str, limit: int) -> str:
    """Return a text of about ``limit`` characters at most: how it begins, and above all how it ends."""
    if len(text) <= limit:
        return text
    head, tail = text[: limit // 4], text[len(text) - (limit - limit // 4) :]
    # Whole lines, where there are any.
    head, tail = head[: head.rfind("\n") + 1] or head, tail[tail.find("\n") + 1 :] or tail
    left_out = len(text) - len(head) - len(tail)
    return "%s\n[... %d characters are left out here ...]\n%s" % (head.rstrip("\n"), left_out, tail)


@dataclass
class Harvest:
    """What the collectors found.

    :param files: name -> text without secrets.
    :param ends: component -> why its container does not run.
    :param answers: component -> what it answered.
    :param queued: dead letter queue -> number of its entries.
    :param gaps: collector -> why something of it is missing.
    """

    files: Dict[str, str] = field(default_factory=dict)
    ends: Dict[str, _causes.Named] = field(default_factory=dict)
    answers: Dict[str, Observation] = field(default_factory=dict)
    queued: Dict[str, int] = field(default_factory=dict)
    gaps: Dict[str, str] = field(default_factory=dict)

    def copy(self) -> Harvest:
        """Return what there is now; whatever comes later does not reach it."""
        return Harvest(dict(self.files), dict(self.ends), dict(self.answers), dict(self.queued), dict(self.gaps))


class Look:
    """One look at a stack: what every collector needs, and the collectors.

    :param options: those of the phase ``diagnose``.
    :param directory: the stack's directory.
    """

    def __init__(self, options: Options, directory: str, budget: Budget) -> None:
        self.options = options
        self.directory = directory
        self.budget = budget
        self.podman = HastyPodman(options["podman"], budget)
        #: Component -> its container, as ``podman inspect`` describes it; those that exist.
        self.found: Dict[str, Dict[str, Any]] = {}
        self.harvest = Harvest()
        texts = {path: read(path) or "" for path in (*self._files_read(), os.path.join(directory, "stack.env"))}
        #: What the stack was made with; a run may have been given something else, or nothing.
        self._on_disk = {os.path.relpath(path, directory): text for path, text in texts.items()}
        known = [secret for text in texts.values() for secret in secrets_in(text)]
        given = [options["password"] or "", options["redis_password"] or ""]
        given.append((read(os.path.join(directory, TOKEN)) or "").strip())
        self.mask = Mask([*given, self._postgres_password(), *known])

    def _files_read(self) -> List[str]:
        """Return the paths of the files that the containers read, in order."""
        top = os.path.join(self.directory, "config")
        paths = [os.path.join(where, name) for where, _directories, names in os.walk(top) for name in names]
        return sorted(path for path in paths if path.endswith((".yaml", ".conf", "/password")))

    def _postgres_password(self) -> str:
        return self._on_disk.get("config/postgres/password", "").strip() or self._told("POSTGRES_PASSWORD")

    def _redis_password(self) -> str:
        own = next(iter(secrets_in(self._on_disk.get("config/redis/redis.conf", ""))), "")
        return own or self._told("REDIS_PASSWORD")

    def _told(self, variable: str) -> str:
        """Return what the stack's environment says; what is outside has no file of its own here."""
        lines = self._on_disk.get("stack.env", "").splitlines()
        values = [line.partition("=")[2] for line in lines if line.startswith(variable + "=")]
        return "".join(shlex.split(values[0])) if values else ""

    def inspect(self) -> None:
        """Look which containers there are; a podman that hangs must not take all the time that there is."""
        self.gather({"podman": self._inspect}, CALL_TIMEOUT + 0.5)

    def _inspect(self) -> None:
        names = {name: component for component, name in self.options["containers"].items()}
        if not shutil.which(self.podman.executable):
            raise GapError("there is no %s" % self.podman.executable)
        _rootless.demand_runtime_directory()
        for container in self.podman.inspect(*names, kind="container"):
            labels = container["Config"].get("Labels") or {}
            if labels.get(LABEL + "stack") == self.options["name"]:
                self.found[names[container["Name"]]] = container
            else:  # somebody else's, with secrets that are not ours to keep
                self.gap(container["Name"], "it is not a container of this stack, and is left alone")

    @contextlib.contextmanager
    def guard(self, name: str) -> Iterator[None]:
        """Turn whatever goes wrong into a line that says so: a collector must not hide what it is to explain."""
        try:
            yield
        except ImportError as error:
            self.gap(name, "the Python library %s is missing" % error.name)
        except (GapError, PhaseError) as error:
            self.gap(name, str(error))
        except Exception as error:
            self.gap(name, "%s: %s" % (type(error).__name__, error))

    def gap(self, name: str, why: str) -> None:
        """Say why something of a collector is missing."""
        self.harvest.gaps[name] = self.mask((why.strip().splitlines() or ["no reason was given"])[0])[:300]

    def keep(self, name: str, text: str) -> None:
        """Keep a file."""
        self.harvest.files[name] = bounded(self.mask(text), FILE_LIMIT)

    def keep_json(self, name: str, data: Any) -> None:
        """Keep data as a file."""
        self.keep(name, json.dumps(data, indent=2, default=str) + "\n")

    def gather(self, collectors: Mapping[str, Callable[[], None]], patience: float = math.inf) -> Harvest:
        """Run all collectors at once, and wait as long as the budget allows, at most ``patience`` seconds."""

        def guarded(name: str, collect: Callable[[], None]) -> None:
            with self.guard(name):
                collect()

        threads = {}
        for name, collect in collectors.items():
            with self.guard(name):  # a machine in trouble may have no thread left
                # Nobody waits for a daemon that hangs.
                thread = threading.Thread(target=guarded, args=(name, collect), daemon=True)
                thread.start()
                threads[name] = thread
        here = Budget(min(patience, self.budget.left()))
        for thread in threads.values():
            thread.join(here.left())
        for name in [name for name, thread in threads.items() if thread.is_alive()]:
            self.gap(name, "no end within %.1f s" % here.seconds)
        return self.harvest.copy()

    def why(self) -> Dict[str, Callable[[], None]]:
        """Return the collectors that find out what is wrong, by name."""
        collectors: Dict[str, Callable[[], None]] = {}
        for component, container in self.found.items():
            collect = self.answer if container["State"]["Running"] else self.end
            collectors[SUBJECTS[component]] = _later(collect, component)
        for component in self.options["outside"]:
            collectors[SUBJECTS[component]] = _later(self.answer, component)
        return collectors

    def what(self) -> Dict[str, Callable[[], None]]:
        """Return the collectors of everything that is worth keeping, by name."""
        collectors = {
            "configuration": self.configuration,
            "disk": self.disk,
            "kernel's log": self.kernel,
            "ports": self.ports,
        }
        if "podman" not in self.harvest.gaps:
            collectors.update({"podman info": self.podman_info, "podman events": self.podman_events})
        for container in self.found.values():
            collectors["log of " + container["Name"]] = _later(self.log, container["Name"])
            self.keep_json(container["Name"] + "_inspect.json", shown_container(container))
        if "postgres" in self.found or "postgres" in self.options["outside"]:
            collectors.update({"ledger, schema, partitions": self.database, "PostgreSQL's state": self.server})
        if "redis" in self.found or "redis" in self.options["outside"]:
            collectors.update({"dead letter queues": self.queues, "Redis' state": self.redis_server})
        return collectors

    # ----------------------------------------------------------------------------------------------- what is wrong

    def end(self, component: str) -> None:
        """Find out why a container does not run."""
        container = self.found[component]
        state = container["State"]
        peers = [peer for other, peer in self.found.items() if other != component]
        marks, values = _evidence.of_container(self.podman, container, peers)
        # What an earlier start of it said must not be taken for the cause of this one's end.
        begin = _evidence.first_words(container)
        # Without --tail: with it, podman 4.3 loses a last line that was written in two pieces.
        said = self.podman.call("logs", "--since", begin, container["Name"])
        evidence = _causes.Evidence(
            subject=SUBJECTS[component],
            state="exited" if ended(container) else state["Status"],
            said=state.get("Error") or "",
            log=(said.out + said.err).splitlines()[-LAST_LINES:],
            exit_code=state["ExitCode"] if ended(container) else None,
            marks=marks,
            values={**self.values(component), **values},
        )
        self.harvest.ends[component] = _causes.explain(evidence)

    def values(self, component: str) -> Dict[str, Any]:
        """Return what the sentences about a component may name."""
        apart = self.options["health_port"] if component == "datastorage" else 0
        return {
            "container": self.options["containers"].get(component) or self.options["outside"].get(component, "?"),
            "port": apart or self.port(component),
            "host": self.options["hosts"].get(component, "?"),
            "variable": "datastorage_health_port" if apart else component + "_port",
            "user": self.options["user"],
            "name": self.options["database"],
        }

    def port(self, component: str) -> int:
        """Return where a component listens: what podman says counts more than a variable."""
        known = published(self.found[component]) if component in self.found else 0
        return known or self.options["ports"].get(component) or 0

    def access(self) -> Dict[str, Any]:
        """Return the options with which gates and schema reach the services."""
        password, redis_password = self.options["password"], self.options["redis_password"]
        return {
            **{component + "_host": host for component, host in self.options["hosts"].items()},
            "postgres_port": self.port("postgres"),
            "postgres_database": self.options["database"],
            "postgres_user": self.options["user"],
            # Whoever only asks what is wrong need not know the passwords.
            "postgres_password": self._postgres_password() if password is None else password,
            "redis_port": self.port("redis"),
            "redis_password": self._redis_password() if redis_password is None else redis_password,
            "datastorage_port": self.port("datastorage"),
            "health_port": self.options["health_port"],
            "datastorage_tls": self.options["datastorage_tls"],
            "datastorage_ca_file": self._authority(),
            "path": self.options["health_path"],
            "expect": self.options["expect"],
        }

    def _authority(self) -> str:
        """Return what is trusted at the API: the file that was named, or the one that the stack made for its own."""
        made = os.path.join(self.directory, AUTHORITY)
        return self.options["datastorage_ca_file"] or (made if os.path.exists(made) else "")

    def answer(self, component: str) -> None:
        """Ask a service once what its gate would ask, and write nothing."""
        ask: Mapping[str, _ready.Ask] = {
            "postgres": _ready.PostgresProbe(),
            "redis": lambda options, left: _ready.redis_observation(options, left, write=False),
            "datastorage": _ready.datastorage_observation,
        }
        self.harvest.answers[component] = ask[component](self.access(), _ready.ATTEMPT)

    # ------------------------------------------------------------------------------------------------ what is kept

    def log(self, name: str) -> None:
        """Keep the end of a container's log."""
        answer = self.podman.ask("logs", name)
        lines = (answer.out + answer.err).splitlines(keepends=True)[-LOG_LINES:]
        self.keep(name + ".log", _causes.plain("".join(lines)))

    def podman_info(self) -> None:
        """Keep what podman says of itself."""
        self.keep("podman_info.json", self.podman.ask("info", "--format", "json").out)

    def podman_events(self) -> None:
        """Keep what happened to the stack's containers."""
        label = "label=%sstack=%s" % (LABEL, self.options["name"])
        answer = self.podman.ask(
            "events", "--stream=false", "--since", "24h", "--filter", "type=container", "--filter", label,
            "--format", "json",
        )  # fmt: skip
        lines = [event_line(json.loads(line)) for line in answer.out.splitlines()[-LIST_LINES:]]
        self.keep("podman_events.txt", "".join(lines) or "nothing in the last 24 hours\n")

    def configuration(self) -> None:
        """Keep the files that the containers read, with what decides who may read them."""
        parts = []
        for path in self._files_read():
            status = os.stat(path)
            facts = (os.path.relpath(path, self.directory), status.st_mode & 0o7777, status.st_uid, status.st_size)
            text = read(path)
            parts.append("==> %s (mode %04o, uid %d, %d bytes)\n%s\n" % (*facts, shown(text or "cannot be read\n")))
        if not parts:
            raise GapError("%s holds no files that containers read" % self.directory)
        self.keep("configuration.txt", "".join(parts))

    def disk(self) -> None:
        """Keep how much room there is where the stack writes."""
        wanted = ["/", tempfile.gettempdir(), os.path.dirname(self.directory), self.options["storage"]]
        lines = []
        for path in [path for path in dict.fromkeys(wanted) if os.path.isdir(path)]:
            room = os.statvfs(path)
            mib = room.f_frsize / 1024 / 1024
            facts = (path, room.f_bavail * mib, room.f_blocks * mib, room.f_favail, room.f_files)
            lines.append("%s: %.0f of %.0f MiB and %d of %d inodes are free\n" % facts)
        self.keep("disk.txt", "".join(lines))

    def kernel(self) -> None:
        """Keep the kernel's lines about memory that ran out, of whomever."""
        lines = _evidence.kernel_log("")[-LIST_LINES:]
        self.keep("kernel.txt", "\n".join(lines or ["no such line, or this user may not read the kernel's log"]) + "\n")

    def ports(self) -> None:
        """Keep who listens where the stack should."""
        lines = []
        for component, port in [(component, self.port(component)) for component in SUBJECTS]:
            if port:
                owners = ["%s by %s" % (address, _ports.owner(port, address)) for address in _ports.taken(port)]
                lines.append("%s_port %d: %s\n" % (component, port, ", ".join(owners) or "nobody listens"))
        self.keep("ports.txt", "".join(lines) or "no port is known\n")

    def database(self) -> None:
        """Keep ledger, partitions and schema."""
        self._demand_running("postgres")
        unset = {name: option.get("default") for name, option in _schema.SCHEMA_SPEC.items()}
        # Connected first, and not for long: where nobody answers, the schema's own patience would take all the time.
        with self._connect() as connection:
            facts = _schema.run({**unset, **self.access()}, Context())
            self.keep_json("postgres_ledger.json", facts["ledger"])
            self.keep_json("postgres_partitions.json", facts["partitions"])
            columns: Dict[str, Dict[str, str]] = {table: {} for table in facts["tables"]}
            for table, column, kind in connection.execute(
                "SELECT table_name, column_name, data_type FROM information_schema.columns"
                " WHERE table_schema = 'public' ORDER BY table_name, ordinal_position"
            ):
                if table in columns:
                    columns[table][column] = kind
        kept = {"tables": columns, "functions": facts["functions"], "extensions": facts["extensions"]}
        self.keep_json("postgres_schema.json", kept)

    def server(self) -> None:
        """Keep how PostgreSQL is set, and what its sessions do."""
        self._demand_running("postgres")
        with self._connect() as connection:
            settings = connection.execute(
                "SELECT name, setting FROM pg_settings WHERE source NOT IN ('default', 'override', 'client', 'session')"
            )
            self.keep_json("postgres_settings.json", dict(settings.fetchall()))
            sessions = connection.execute(
                "SELECT pid, usename, application_name, host(client_addr) AS client, backend_start, state,"
                " state_change, wait_event_type, wait_event, pg_blocking_pids(pid) AS blocked_by"
                " FROM pg_stat_activity WHERE datname IS NOT NULL ORDER BY backend_start"
            )
            names = [column.name for column in sessions.description or ()]
            self.keep_json("postgres_sessions.json", [dict(zip(names, row)) for row in sessions.fetchmany(LIST_LINES)])

    def _connect(self) -> psycopg.Connection[Any]:
        """Connect for queries that may have to wait for a lock, and must not for long."""
        connection = _postgres.connect(self.access(), CALL_TIMEOUT, "kubernaut.integration diagnose")
        connection.execute("SELECT set_config('statement_timeout', %s, false)", ("%.0fs" % CALL_TIMEOUT,))
        return connection

    def queues(self) -> None:
        """Keep how many events wait in the dead letter queues, and why the last ones came there."""
        self._demand_running("redis")
        kept = {}
        with _redis.client(self.access(), CALL_TIMEOUT) as client:
            for queue in sorted({queue for row in _contracts.CONTRACTS.values() for queue in row.queues}):
                self.harvest.queued[queue] = client.xlen(queue)
                entries = client.xrevrange(queue, count=QUEUE_ERRORS)
                kept[queue] = {"length": self.harvest.queued[queue], "newest": [queue_error(*each) for each in entries]}
        self.keep_json("redis_queues.json", kept)

    def redis_server(self) -> None:
        """Keep what Redis says of itself, and how it is set."""
        self._demand_running("redis")
        with _redis.client(self.access(), CALL_TIMEOUT) as client:
            self.keep_json("redis_info.json", client.info())
            self.keep_json("redis_settings.json", shown_settings(client.config_get()))

    def _demand_running(self, component: str) -> None:
        """Refuse to ask somebody else who may have taken the port."""
        if component in self.found and not self.found[component]["State"]["Running"]:
            raise GapError("%s does not run" % self.options["containers"][component])


def _later(collect: Callable[[str], None], argument: str) -> Callable[[], None]:
    return lambda: collect(argument)


def event_line(event: Mapping[str, Any]) -> str:
    """Return one of podman's events as a line; 5 spells the keys in another way than 4."""
    facts = {key.lower(): value for key, value in event.items()}
    moment = facts.get("time", "")
    if isinstance(moment, (int, float)):
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))
    code = facts.get("containerexitcode")
    happened = "%s (exit status %s)" % (facts.get("status"), code) if code is not None else facts.get("status")
    return "%s %s %s\n" % (moment, facts.get("name"), happened)


def queue_error(identity: str, fields: Mapping[str, str]) -> Dict[str, Any]:
    """Return what an entry of a dead letter queue tells about itself, without the event."""
    told: Dict[str, Any] = {"id": identity, **{name: text for name, text in fields.items() if name != "message"}}
    with contextlib.suppress(KeyError, ValueError, TypeError, AttributeError):  # whoever wrote it
        message = json.loads(fields["message"])
        told.update({name: value for name, value in message.items() if name != "payload"})
        told["correlation_id"] = message["payload"]["correlation_id"]
    return told
