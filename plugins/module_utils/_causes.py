# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From evidence to one cause and one next action: a table, as data. PRIVATE to the collection.

Texts of DataStorage are those that were observed on running services of both contracts; those of PostgreSQL and Redis
are their own; what podman says is that of 4.3 to 5.4. The first row of :data:`CAUSES` whose conditions all hold is the
cause, so special rows stand before general ones. What no row names is called unknown, never guessed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Dict, FrozenSet, Mapping, Optional, Sequence, Tuple

#: Colours, which upstream's console log uses.
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")

POSTGRES, REDIS, DATASTORAGE, NETWORK = "PostgreSQL", "Redis", "DataStorage", "The network"
#: Who asks -> prefix of its variables.
PREFIXES: Mapping[str, str] = {POSTGRES: "postgres", REDIS: "redis", DATASTORAGE: "datastorage"}

#: Marks that :class:`Evidence` may carry; each is a fact, found outside logs and answers.
OOM = "oom"  # the kernel, its control group or podman say that memory ran out
AT_LIMIT = "at limit"  # memory was at its limit when it was last looked at
KILLED = "killed"  # podman was told to kill the container
PEER_FIRST = "peer first"  # PostgreSQL or Redis ended before DataStorage did
OWN_ADDRESS = "own address"  # the container answers at its own address, past the published port
OUTSIDE = "outside"  # no container of the stack is in question
API_ANSWERS = "api answers"  # nothing at the port for health, but something at that of the API
WAS_READY = "was ready"  # the gate had been satisfied once


@dataclass(frozen=True)
class Evidence:
    """What is known about a failure.

    :param subject: :data:`POSTGRES`, :data:`REDIS`, :data:`DATASTORAGE`, :data:`NETWORK`, or empty for a machine.
    :param state: the gate's last state, such as ``refused``; empty when no gate was asked.
    :param said: what the last attempt, or the failed task, said.
    :param log: lines of the container's log since its start; colours are taken off here.
    :param exit_code: of the container; None while it runs, or where there is none.
    :param marks: further facts, as above.
    :param values: for the sentences: ``container``, ``memory``, ``user``, ``port`` and so on; missing ones read ``?``.
    """

    subject: str = ""
    state: str = ""
    said: str = ""
    log: Sequence[str] = ()
    exit_code: Optional[int] = None
    marks: FrozenSet[str] = frozenset()
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """Everything that was said, newest last, without colours."""
        return plain("\n".join([*self.log, self.said]))


@dataclass(frozen=True)
class Cause:
    """A row of the table; conditions that are not given hold always.

    :param id: what tests and scripts match; stays the same for good.
    :param sentence: what is wrong. ``{name}`` is a named group of ``said`` or one of the evidence's values.
    :param action: what to do next, likewise.
    :param subject: whose failure; any of them when empty.
    :param states: last states of the gate.
    :param said: regular expression, searched in everything that was said.
    :param exits: exit statuses of the container.
    :param marks: facts that must all be there.
    """

    id: str
    sentence: str
    action: str
    subject: str = ""
    states: Tuple[str, ...] = ()
    said: str = ""
    exits: Tuple[int, ...] = ()
    marks: Tuple[str, ...] = ()

    def match(self, evidence: Evidence) -> Optional[Dict[str, Any]]:
        """Return the values for the sentences, or None when a condition does not hold."""
        if self.subject and self.subject != evidence.subject:
            return None
        if self.states and evidence.state not in self.states:
            return None
        if self.exits and evidence.exit_code not in self.exits:
            return None
        if not set(self.marks) <= evidence.marks:
            return None
        found: Dict[str, Any] = {}
        if self.said:
            hits = list(re.finditer(self.said, evidence.text, re.IGNORECASE))
            if not hits:
                return None
            # The last one counts; what it does not name, an earlier one may.
            for hit in hits:
                found.update({name: value for name, value in hit.groupdict().items() if value is not None})
        prefix = PREFIXES.get(evidence.subject, "")
        return {"prefix": prefix, "subject": evidence.subject, **evidence.values, **found}


@dataclass(frozen=True)
class Named:
    """A cause in words: ``sentence`` says what is wrong, ``action`` what to do next."""

    id: str
    sentence: str
    action: str

    def __str__(self) -> str:
        return "%s; %s." % (self.sentence, self.action)


class _Known(Dict[str, Any]):
    """Values for a sentence; what is not known reads ``?``."""

    def __missing__(self, key: str) -> str:
        return "?"


_FRESH = "or start clean with stack_fresh: true"
_RERUN = "run playbooks/integration.yml, which starts it again"
_WHEN = "`podman events --stream=false --since 1h --filter container={container}` says when"
_SLOW = "if the machine is only slow, raise stack_patience"
_CONFIG = "correct the configuration that the container mounts; the datastorage role renders one that is read"
_FILES = "correct the secret file; the datastorage role writes one that is read"

#: PostgreSQL's refusals.
_WRONG_LOGIN = (
    r"SQLSTATE 28P01|password authentication failed(?: for user \\*\"(?P<user>[^\"\\]+)\\*\")?|no password supplied"
)
_NO_DATABASE = r"SQLSTATE 3D000|database \\*\"(?P<name>[^\"\\]+)\\*\" does not exist"
_NO_USER = r"SQLSTATE 28000|role \\*\"(?P<user>[^\"\\]+)\\*\" does not exist|no pg_hba\.conf entry|pg_hba\.conf rejects"

#: First the end of a container, whatever it is; then what its log says; then what a living one answers.
CAUSES: Sequence[Cause] = (
    # Killed: three causes with one exit status.
    Cause(
        "out-of-memory",
        "the container {container} ran out of its memory limit ({memory})",
        "raise {prefix}_memory",
        exits=(137,),
        marks=(OOM,),
    ),
    Cause(
        "out-of-memory",
        "a process in the container {container} was killed because its memory limit ({memory}) was reached",
        "raise {prefix}_memory",
        marks=(OOM,),
    ),
    Cause(
        "killed",
        "somebody killed the container {container} (exit status 137, and podman was told to)",
        _RERUN + "; " + _WHEN,
        exits=(137,),
        marks=(KILLED,),
    ),
    Cause(
        "stop-order",
        "the container {container} was killed (exit status 137) because {peer} ended before it, for which it then "
        "waited",
        "stop DataStorage first, as playbooks/teardown.yml does",
        DATASTORAGE,
        exits=(137,),
        marks=(PEER_FIRST,),
    ),
    Cause(
        "out-of-memory-likely",
        "the container {container} was killed (exit status 137) while its memory was at its limit ({memory})",
        "raise {prefix}_memory",
        exits=(137,),
        marks=(AT_LIMIT,),
    ),
    Cause(
        "sigkill",
        "the container {container} was killed from outside (exit status 137), neither by podman nor for its memory",
        "see who sends SIGKILL on that machine (a stop that ran out of time does, too), then " + _RERUN,
        exits=(137,),
    ),
    Cause(
        "stopped",
        "somebody stopped the container {container} (exit status 143)",
        _RERUN + "; " + _WHEN,
        exits=(143,),
    ),
    Cause(
        "not-executable",
        "the command of the container {container} cannot be executed (exit status 126)",
        "see whether the image is for this processor, and the mode of its entry point",
        exits=(126,),
    ),
    Cause(
        "no-such-command",
        "the image of the container {container} does not have the command that it is to run (exit status 127)",
        "name another image in {prefix}_image",
        exits=(127,),
    ),
    # DataStorage's own last words.
    Cause(
        "port-bound",
        "the port on which DataStorage is to listen was already bound in its container (exit status {exit_code})",
        "run one service per container, and none with --network host on the same port",
        DATASTORAGE,
        said=r"bind: address already in use|address already in use",
    ),
    Cause(
        "config-path-missing",
        "DataStorage was started without CONFIG_PATH (ADR-030)",
        "set CONFIG_PATH in the container's environment, as the datastorage role does",
        DATASTORAGE,
        said=r"CONFIG_PATH not set|CONFIG_PATH environment variable required",
    ),
    Cause(
        "config-unreadable",
        "DataStorage cannot read or parse its configuration ({what})",
        _CONFIG,
        DATASTORAGE,
        said=r"failed to (?P<what>(?:read|parse) config(?: file)?: ?[^\n\"}]{0,160})",
    ),
    Cause(
        "secret-unreadable",
        "DataStorage's user may not read its secret file {file}",
        "give the file the owner or mode that the user of the image needs; the datastorage role does",
        DATASTORAGE,
        said=r"failed to read secret file (?P<file>[^\s:]+): [^\n]*permission denied",
    ),
    Cause(
        "secret-file",
        "DataStorage cannot read or parse its secret file ({what})",
        _FILES,
        DATASTORAGE,
        # No more than that: what YAML could not read may be the secret.
        said=r"failed to (?P<what>(?:read|parse) secret file)",
    ),
    Cause(
        "secret-not-a-string",
        "the key {key} of DataStorage's {what} secret is a number or boolean to YAML, and the service wants a string",
        "quote the value in the secret file; the datastorage role does",
        DATASTORAGE,
        said=r"(?P<what>database|redis) \w+ key '(?P<key>[^']+)' in secret file is not a string",
    ),
    Cause(
        "secret-key-missing",
        "DataStorage's secret file has no key {key}",
        _FILES,
        DATASTORAGE,
        said=r"key '(?P<key>[^']+)' not found in \w+ secret file",
    ),
    Cause(
        "config-key-missing",
        "DataStorage's configuration lacks a key, or spells it in another way: {what}",
        _CONFIG,
        DATASTORAGE,
        said=r"(?P<what>(?:database|redis|server) (?:secretsFile|passwordKey|address|port|host|name|user) required)",
    ),
    Cause(
        "config-value",
        "DataStorage refuses a value of its configuration: {what}",
        _CONFIG,
        DATASTORAGE,
        said=r"(?P<what>sslmode is invalid"
        r"|(?:invalid (?:log level|log format|\w*(?:timeout|lifetime|time))|\w+ port must be between)[^\n\"}]{0,120})",
    ),
    Cause(
        "signer-missing",
        "DataStorage of contract v1 has no signing certificate",
        "mount one where the message says",
        DATASTORAGE,
        said=r"signing certificate not found at",
    ),
    Cause(
        "no-cluster",
        "DataStorage of contract v1 found neither a kubeconfig nor a cluster to ask for tokens",
        "set stack_contract to v1, and datastorage_kubeconfig, or datastorage_auth to stub",
        DATASTORAGE,
        said=r"failed to load in-cluster kubernetes config",
    ),
    Cause(
        "schema-missing",
        "DataStorage finds no table audit_events",
        "apply the migrations of its contract before it starts (role kubernaut.integration.migrations)",
        DATASTORAGE,
        # In a line of JSON, its quotes are escaped.
        said=r"relation \\*\"audit_events\\*\" does not exist",
    ),
    # PostgreSQL's refusals, from the gate or from DataStorage's log.
    Cause(
        "postgres-password",
        "PostgreSQL refuses the password of {user}",
        "set postgres_password to the one that it has",
        POSTGRES,
        said=_WRONG_LOGIN,
        marks=(OUTSIDE,),
    ),
    Cause(
        "postgres-database",
        "PostgreSQL has no database {name}",
        "make it there, or set postgres_database",
        POSTGRES,
        said=_NO_DATABASE,
        marks=(OUTSIDE,),
    ),
    Cause(
        "postgres-user",
        "PostgreSQL does not let {user} in",
        "make the user there, or set postgres_user",
        POSTGRES,
        said=_NO_USER,
        marks=(OUTSIDE,),
    ),
    Cause(
        "postgres-password",
        "PostgreSQL refuses the password of {user}: a data volume keeps that of its first start",
        "set postgres_password to that one, or stack_credentials to what it was, " + _FRESH,
        said=_WRONG_LOGIN,
    ),
    Cause(
        "postgres-database",
        "PostgreSQL has no database {name}: a data volume keeps that of its first start",
        "set postgres_database to that one, " + _FRESH,
        said=_NO_DATABASE,
    ),
    Cause(
        "postgres-user",
        "PostgreSQL does not let {user} in: a data volume keeps the user of its first start",
        "set postgres_user to that one, " + _FRESH,
        said=_NO_USER,
    ),
    Cause(
        "postgres-connections",
        "PostgreSQL has no connection left",
        "close other sessions, or raise postgres_max_connections",
        said=r"SQLSTATE 53300|too many clients|remaining connection slots",
    ),
    Cause(
        "disk-full",
        "there is no space left where {container} writes",
        "make room there (`podman system df` shows what takes it), or give the volume more",
        said=r"No space left on device|SQLSTATE 53100|ENOSPC|disk quota exceeded",
    ),
    # The network between DataStorage and what it needs.
    Cause(
        "host-name",
        "DataStorage looks for {name}, and the network has no such name",
        "see that this container runs in the stack's network, and compare database.host and redis.addr in config.yaml",
        DATASTORAGE,
        said=r"lookup (?P<name>\S+?)(?: on \S+)?: (?:no such host|Temporary failure|server misbehaving)",
        exits=(1,),
    ),
    Cause(
        "redis-away",
        "DataStorage cannot reach Redis ({what})",
        "start Redis before it, as playbooks/integration.yml does, and compare redis.addr in config.yaml",
        DATASTORAGE,
        said=r"failed to connect to Redis: (?P<what>[^\n\"}]{0,160})",
    ),
    Cause(
        "postgres-away",
        "DataStorage cannot reach PostgreSQL ({what})",
        "start PostgreSQL before it, as playbooks/integration.yml does, and compare database.host in config.yaml",
        DATASTORAGE,
        said=r"failed to ping PostgreSQL: (?P<what>[^\n\"}]{0,160})",
    ),
    # The other images.
    Cause(
        "volume-permission",
        "{container} may not write to its directory ({what})",
        "see who owns the volume; " + _FRESH[3:],
        said=r"(?P<what>(?:could not|cannot|can't)[^\n]{0,120}Permission denied)",
        exits=(1,),
    ),
    Cause(
        "postgres-version",
        "the data volume was made by another major version of PostgreSQL",
        "set postgres_image to that version, " + _FRESH,
        POSTGRES,
        said=r"database files are incompatible with server",
    ),
    Cause(
        "flapping",
        "{subject} was ready and then ended (exit status {exit_code})",
        "read the log lines below",
        states=("exited",),
        marks=(WAS_READY,),
    ),
    Cause(
        "stopped",
        "the container {container} ended in good order (exit status 0): somebody stopped it, or what its image runs is "
        "no service",
        _RERUN + "; " + _WHEN,
        exits=(0,),
    ),
    # What happened to the container while a gate waited.
    Cause(
        "replaced",
        "the container {container} was started anew while it was waited for",
        "find out who restarts it; " + _WHEN,
        states=("replaced",),
    ),
    Cause(
        "removed",
        "the container {container} was removed while it was waited for",
        "find out who removes it; " + _WHEN,
        states=("removed",),
    ),
    Cause("paused", "the container {container} is paused", "run `podman unpause {container}`", states=("paused",)),
    # What a living service answers, or does not.
    Cause(
        "redis-noauth",
        "Redis asks for a password, and redis_password is empty",
        "set redis_password",
        REDIS,
        states=("noauth",),
    ),
    Cause(
        "redis-password",
        "Redis refuses redis_password",
        "set redis_password to the one that Redis was started with",
        REDIS,
        states=("wrongpass",),
    ),
    Cause(
        "redis-loading",
        "Redis is still loading its data set",
        "raise redis_timeout, or start it without that data set",
        REDIS,
        states=("loading",),
    ),
    Cause(
        "redis-memory",
        "Redis refuses writes, because maxmemory is reached and its policy removes nothing",
        "raise maxmemory, or remove what fills it",
        REDIS,
        states=("refuses writes",),
        said=r"\bOOM\b",
    ),
    Cause(
        "redis-read-only",
        "Redis takes no writes ({said})",
        "make it a master that can save, or start the stack's own",
        REDIS,
        states=("refuses writes",),
    ),
    Cause(
        "postgres-restarted",
        "PostgreSQL was started anew while it was waited for",
        "see its log for why; " + _WHEN,
        POSTGRES,
        states=("restarted",),
    ),
    Cause(
        "postgres-encoding",
        "the database is {said}, and audit events are UTF8",
        "make the database with UTF8 (images with LANG=C.UTF-8 do), " + _FRESH,
        POSTGRES,
        states=("encoding",),
    ),
    Cause(
        "postgres-time-zone",
        "PostgreSQL's time zone is {said}, and the days of audit events are those of UTC",
        "start PostgreSQL with timezone=UTC",
        POSTGRES,
        states=("time zone",),
    ),
    Cause(
        "clock-skew",
        "the clock of {container} is {said} than the one here, and DataStorage refuses events that are more than 5 "
        "minutes ahead",
        "set the clocks right (with podman machine: restart it)",
        states=("clock",),
    ),
    Cause(
        "slow-start",
        "{subject} is still starting",
        _SLOW,
        states=("starting",),
    ),
    Cause(
        "published-port-dead",
        "{subject} answers at the container's own address but not at the published port {port}: the machine's firewall "
        "rules for it are gone",
        "run `podman network reload {container}`",
        marks=(OWN_ADDRESS,),
    ),
    Cause(
        "wrong-service",
        "what answers at {variable} ({port}) is not a healthy DataStorage ({said})",
        "see what the image is, or who listens there with `ss -ltnp`",
        DATASTORAGE,
        states=("body",),
    ),
    Cause(
        "postgres-unreachable",
        "DataStorage runs, and cannot reach PostgreSQL ({said})",
        "see whether PostgreSQL runs with `podman ps --all`",
        DATASTORAGE,
        states=("unhealthy",),
        said=r"unreachable|not_ready|bad connection|no such host|connection refused",
    ),
    Cause(
        "name-server-dead",
        "the network's name server does not answer for its containers",
        "run `podman network reload --all`, or take the stack down and up again",
        NETWORK,
        states=("no such name",),
    ),
    Cause(
        "no-getent",
        "the image of {container} has no getent, with which names are looked up",
        "name an image that has it",
        NETWORK,
        states=("no getent",),
    ),
    Cause(
        "tls-unwanted",
        "DataStorage's API speaks no TLS",
        "write datastorage_external without https://, or leave datastorage_tls out",
        DATASTORAGE,
        states=("plain",),
    ),
    Cause(
        "tls-untrusted",
        "{said}",
        "name the certificate to trust (datastorage_ca_file), or correct datastorage_tls",
        DATASTORAGE,
        states=("tls",),
    ),
    Cause(
        "tls-wanted",
        "DataStorage's API speaks TLS only",
        "set datastorage_tls",
        DATASTORAGE,
        states=("no tls",),
    ),
    Cause(
        "wrong-contract",
        "DataStorage answers at datastorage_port ({api}), and nothing at datastorage_health_port ({port})",
        "set stack_contract to the contract that it keeps, or correct datastorage_health_port",
        DATASTORAGE,
        states=("refused", "silent", "unreachable"),
        marks=(API_ANSWERS,),
    ),
    Cause(
        "outside-away",
        "{subject} is not reached at {host}, port {port}: {said}",
        "start it, or correct its address ({prefix}_external)",
        states=("refused", "silent", "unreachable"),
        marks=(OUTSIDE,),
    ),
    Cause(
        "silent",
        "{subject} takes connections and does not answer ({said})",
        "see what {container} does with `podman top {container}`; " + _SLOW,
        states=("silent",),
    ),
    Cause(
        "not-listening",
        "{container} runs, and nothing listens at port {port} yet",
        _SLOW,
        states=("refused",),
    ),
    # What podman and the machine say when a container cannot even start.
    Cause(
        "port-taken",
        "a port of the stack is taken by somebody else ({what})",
        "stop that, or set another port",
        said=r"(?P<what>[^\n]{0,80}address already in use)",
    ),
    Cause(
        "network-gone",
        "the stack's network is gone",
        "run playbooks/teardown.yml, then the playbook again",
        said=r"unable to find network with name or ID|network not found",
    ),
    Cause(
        "no-such-command",
        "an image does not have the command that it is to run ({what})",
        "name another image",
        said=r"(?P<what>[^\n]{0,160}): OCI runtime attempted to invoke a command that was not found",
    ),
    Cause(
        "not-executable",
        "the command of an image cannot be executed ({what})",
        "see whether the image is for this processor, and the mode of its entry point",
        said=r"(?P<what>OCI permission denied|exec format error)",
    ),
    Cause(
        "oci-runtime",
        "podman's OCI runtime cannot start a container ({what})",
        "see `podman info --format '{{{{.Host.OCIRuntime}}}}'`, or set host_podman to a podman that can",
        said=r"OCI runtime (?P<what>[^\n]{1,160})",
    ),
    Cause(
        "image-missing",
        "an image is not there ({what})",
        "see images_policy, or name another image",
        said=r"(?P<what>[^\n]{0,80}(?:image not known|no such image|does not resolve to an image)[^\n]{0,80})",
    ),
)

UNKNOWN = "unknown"
#: Causes that may only be what another container's end looks like from here.
SYMPTOMS = frozenset(
    {
        "postgres-away",
        "redis-away",
        "datastorage-away",
        "postgres-unreachable",
        "host-name",
        "name-server-dead",
        "not-listening",
        "outside-away",
        "silent",
        UNKNOWN,
    }
)


def plain(text: str) -> str:
    """Return a text without terminal colours."""
    return _ANSI.sub("", text)


def explain(evidence: Evidence) -> Named:
    """Return the first cause whose conditions all hold, or an unknown one with what there is to see."""
    for cause in CAUSES:
        found = cause.match(evidence)
        if found is not None:
            values = _Known({"said": plain(evidence.said)[:200], "exit_code": evidence.exit_code, **found})
            return Named(cause.id, cause.sentence.format_map(values), cause.action.format_map(values))
    if evidence.exit_code is not None:
        what = "the container %s ended with exit status %d, which no known cause explains" % (
            evidence.values.get("container", "?"),
            evidence.exit_code,
        )
    else:
        what = "no known cause explains it: %s" % (plain(evidence.said)[:300] or "nothing was said")
    return Named(UNKNOWN, what, "read the log lines below")
