# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write DataStorage's configuration as ADR-030 has it: one file and two secret files. PRIVATE to the collection.

The service ignores keys that it does not know and reads no password from its main file, so a misspelt key fails late or
never. The tables below are the keys it does read, spelled as it spells them, with the rules by which it judges them.
"""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

from ansible_collections.kubernaut.integration.plugins.module_utils import _files
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import (
    Context,
    Options,
    Phase,
    PhaseError,
    Result,
)

#: A rule: takes a value, returns what is wrong with it as ``must be ...``, or None.
Rule = Callable[[Any], Optional[str]]
Document = Dict[str, Any]

HEADER = "# Managed by Ansible (kubernaut.integration.adr030_config): changes here are overwritten.\n"

CONFIG = "config.yaml"
DATABASE_SECRETS = "db-secrets.yaml"
REDIS_SECRETS = "redis-secrets.yaml"

_DURATION = re.compile(r"0|(?:(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+")


def _port(lowest: int) -> Rule:
    """Return the rule for a TCP port of at least ``lowest``."""
    return lambda value: None if lowest <= value <= 65535 else "must be between %d and 65535" % lowest


def _at_least(lowest: int) -> Rule:
    """Return the rule for a number of at least ``lowest``."""
    return lambda value: None if value >= lowest else "must be at least %d" % lowest


def _one_of(*words: str) -> Rule:
    """Return the rule for an enumeration, which the service compares letter by letter."""
    return lambda value: None if value in words else "must be one of %s" % ", ".join(words)


def _duration(value: str) -> Optional[str]:
    """Judge a Go duration; Go's parser takes a sign, too, but no time-out or lifetime is negative."""
    return None if _DURATION.fullmatch(value) else "must be a duration such as 30s, 5m or 1h30m"


def _text(value: str) -> Optional[str]:
    """Judge a text that must be there."""
    return None if value.strip() and value.isprintable() else "must not be empty or contain control characters"


def _dsn(value: str) -> Optional[str]:
    """Judge a word of the connection string.

    The service joins ``key=value`` without quotes: an empty value swallows the next key, and spaces, quotes and
    backslashes end or change it.
    """
    if not value:
        return "must not be empty: in the service's connection string it would swallow the next setting"
    if not all("!" <= character <= "~" and character not in "'\"\\" for character in value):
        return "must be printable ASCII without space, quote or backslash: the service does not quote it"
    return None


def _anything(value: Any) -> Optional[str]:
    """Take any value: the service does not look at it, or YAML can carry it."""
    del value
    return None


@dataclass(frozen=True)
class Key:
    """A key of ``config.yaml``.

    :param path: where it is, with dots.
    :param option: the module's option that gives the value.
    :param rule: what the service, or what it passes the value on to, demands.
    :param honoured: false when the service reads and judges the key but does something fixed. Such a key is written
        all the same: its default is what the service really does, so the file says what happens. Another value is
        written, too (a later service may follow it), and reported as a warning.
    """

    path: str
    option: str
    rule: Rule
    honoured: bool = True


@dataclass(frozen=True)
class Secret:
    """A key of a secret file; its value is always a quoted string, since the service refuses a number.

    :param name: key in the file.
    :param option: the module's option that gives the value.
    :param rule: see :class:`Key`.
    :param variable: variable of the collection that people set, for the message.
    :param hidden: true when the value must not be shown.
    """

    name: str
    option: str
    rule: Rule
    variable: str
    hidden: bool = True


@dataclass(frozen=True)
class Contract:
    """How a generation of DataStorage spells its configuration.

    :param keys: options that go into ``config.yaml``, in order.
    :param redis_address: path of the key that joins Redis' host and port.
    :param file_references: path of a key -> the secret file that it names.
    :param key_references: path of a key -> the key in that file which it names.
    :param secret_files: file -> its keys.
    """

    keys: Tuple[Key, ...]
    redis_address: str
    file_references: Mapping[str, str]
    key_references: Mapping[str, str]
    secret_files: Mapping[str, Tuple[Secret, ...]]


#: One row per generation of DataStorage. Left out are keys which v0 parses and which say nothing true:
#: ``redis.dlq_stream_name`` and ``redis.dlq_consumer_group`` (the streams' names are fixed and there is no consumer).
CONTRACTS: Mapping[str, Contract] = {
    "v0": Contract(
        keys=(
            Key("server.port", "server_port", _port(1024)),
            # Only logged: the service listens on every interface of its container.
            Key("server.host", "server_host", _text, honoured=False),
            Key("server.read_timeout", "read_timeout", _duration),
            Key("server.write_timeout", "write_timeout", _duration),
            # Judged and not applied: the logger is chosen by the variable ENV.
            Key("logging.level", "log_level", _one_of("debug", "info", "warn", "error"), honoured=False),
            Key("logging.format", "log_format", _one_of("json", "console"), honoured=False),
            Key("database.host", "database_host", _dsn),
            Key("database.port", "database_port", _port(1)),
            Key("database.name", "database_name", _dsn),
            Key("database.user", "database_user", _dsn),
            Key(
                "database.ssl_mode",
                "ssl_mode",
                _one_of("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
            ),
            # The pool is hard-coded to exactly these defaults.
            Key("database.max_open_conns", "max_open_conns", _at_least(1), honoured=False),
            Key("database.max_idle_conns", "max_idle_conns", _at_least(0), honoured=False),
            Key("database.conn_max_lifetime", "conn_max_lifetime", _duration, honoured=False),
            Key("database.conn_max_idle_time", "conn_max_idle_time", _duration, honoured=False),
            # The service always uses database 0.
            Key("redis.db", "redis_db", _at_least(0), honoured=False),
            Key("redis.dlq_max_len", "dlq_max_len", _at_least(1)),
        ),
        redis_address="redis.addr",
        file_references={"database.secretsFile": DATABASE_SECRETS, "redis.secretsFile": REDIS_SECRETS},
        key_references={
            "database.usernameKey": "username",
            "database.passwordKey": "password",
            "redis.passwordKey": "password",
        },
        secret_files={
            DATABASE_SECRETS: (
                Secret("username", "database_user", _dsn, "postgres_user", hidden=False),
                Secret("password", "database_password", _dsn, "postgres_password"),
            ),
            REDIS_SECRETS: (Secret("password", "redis_password", _anything, "redis_password"),),
        },
    ),
}

#: Rules of options that are no key of their own.
OTHER_RULES: Mapping[str, Rule] = {
    "redis_host": _text,
    "redis_port": _port(1),
    "mount": lambda value: None if value.startswith("/") else "must be an absolute path inside the container",
}


def validate(options: Options, contract: Contract) -> List[str]:
    """Return one line per option that the service would refuse or misunderstand; secrets are never in it."""
    problems: Dict[str, str] = {}
    for file in contract.secret_files.values():
        for secret in file:
            wrong = secret.rule(options[secret.option])
            if wrong and secret.hidden:
                problems[secret.option] = "%s (variable %s) %s" % (secret.option, secret.variable, wrong)
    judged = [(key.option, key.rule) for key in contract.keys] + list(OTHER_RULES.items())
    for option, rule in judged:
        wrong = rule(options[option])
        if wrong:
            problems.setdefault(option, "%s %s, not %r" % (option, wrong, options[option]))
    return list(problems.values())


def ignored(options: Options, contract: Contract) -> List[str]:
    """Return one sentence per option whose value the service reads and does not follow."""
    return [
        "%s=%s has no effect: DataStorage reads %s and always uses %s."
        % (key.option, options[key.option], key.path, ARGUMENTS[key.option]["default"])
        for key in contract.keys
        if not key.honoured and options[key.option] != ARGUMENTS[key.option]["default"]
    ]


def _put(document: Document, path: str, value: Any) -> None:
    """Set the key at a dotted path."""
    *parents, last = path.split(".")
    for parent in parents:
        document = document.setdefault(parent, {})
    document[last] = value


def _address(host: str, port: int) -> str:
    """Return ``host:port`` as Go's dialer wants it, an IPv6 address in brackets."""
    try:
        six = ipaddress.ip_address(host).version == 6
    except ValueError:
        six = False
    return "%s:%d" % ("[%s]" % host if six else host, port)


def documents(options: Options, contract: Contract) -> Dict[str, Document]:
    """Return file name -> content as data, secrets in clear."""
    config: Document = {}
    for key in contract.keys:
        _put(config, key.path, options[key.option])
    _put(config, contract.redis_address, _address(options["redis_host"], options["redis_port"]))
    for path, file in contract.file_references.items():
        _put(config, path, "%s/%s" % (options["mount"].rstrip("/"), file))
    for path, name in contract.key_references.items():
        _put(config, path, name)
    found: Dict[str, Document] = {CONFIG: config}
    for file, keys in contract.secret_files.items():
        found[file] = {secret.name: options[secret.option] for secret in keys}
    return found


def mask(found: Mapping[str, Document], contract: Contract) -> Dict[str, Document]:
    """Return ``documents`` with every hidden value masked; an empty one stays empty, that is no secret."""
    masked = {name: dict(document) for name, document in found.items()}
    for file, keys in contract.secret_files.items():
        for secret in keys:
            if secret.hidden and masked[file][secret.name]:
                masked[file][secret.name] = _files.MASK
    return masked


def render(found: Mapping[str, Document]) -> Dict[str, str]:
    """Return file name -> text. Strings of a secret file are quoted, whatever they look like."""
    import yaml

    return {
        name: HEADER
        + yaml.safe_dump(
            document,
            sort_keys=False,
            default_flow_style=False,
            width=1000,
            default_style=None if name == CONFIG else '"',
        )
        for name, document in found.items()
    }


def reparse(texts: Mapping[str, str], found: Mapping[str, Document]) -> None:
    """Prove that the text says what was meant, before it is installed.

    :raises PhaseError: reading a file back gives something else.
    """
    import yaml

    for name, text in texts.items():
        if yaml.safe_load(text) != found[name]:
            raise PhaseError(
                "%s does not survive being written as YAML: use plain letters and digits in its values." % name
            )


def _conceal(value: Any, hidden: Callable[[str], bool]) -> Any:
    """Return parsed YAML with the values of hidden keys masked, at any depth."""
    if not isinstance(value, dict):
        return value
    return {name: _files.MASK if hidden(str(name)) else _conceal(item, hidden) for name, item in value.items()}


def shown_before(name: str, text: Optional[str], contract: Contract) -> Optional[str]:
    """Return an installed file for a diff: whoever wrote it, and however, it shows no secret; None stays None."""
    import yaml

    if text is None:
        return None
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError:
        document = None
    if not isinstance(document, dict):
        return _files.MASK + "\n"
    visible = {secret.name for secret in contract.secret_files.get(name, ()) if not secret.hidden}
    concealed = _conceal(document, lambda key: key == "password" if name == CONFIG else key not in visible)
    return render({name: concealed})[name]


def run(options: Options, context: Context) -> Result:
    """Validate, render, install.

    :raises PhaseError: the service would refuse or misunderstand an option, or the files cannot be written safely.
    """
    contract = CONTRACTS[options["contract"]]
    problems = validate(options, contract)
    if problems:
        raise PhaseError(
            "DataStorage's configuration is refused: %s." % problems[0]
            + "".join("\n  also: %s" % problem for problem in problems[1:])
        )
    found = documents(options, contract)
    texts = render(found)
    reparse(texts, found)
    shown = mask(found, contract)
    directory: str = options["directory"]
    # The container's user must read the files. Root gives them to that user. Nobody else can: a rootless container's
    # uid is one of the caller's subordinate ids, and to give to those takes privileges. Then everybody may read the
    # files, but only the caller can pass the parent directory (mode 0700, enforced by install) to get at them; the
    # container has a mount of its own.
    owner = options["owner"] if _files.may_give_away() else None
    directory_mode, mode = (0o755, 0o444) if owner is None else (0o500, 0o400)
    before = {name: _files.read(os.path.join(directory, name)) for name in texts}
    wanted = [_files.Wanted(name, text, mode) for name, text in texts.items()]
    changed = _files.install(directory, directory_mode, wanted, owner, context.check)
    content_hash, key_changed = _files.content_hash(directory, texts, context.check)
    changed += key_changed
    result: Result = {
        "changed": bool(changed),
        "changed_files": changed,
        "directory": directory,
        "files": [os.path.join(directory, name) for name in texts],
        "configuration": shown,
        "content_hash": content_hash,
    }
    warnings = ignored(options, contract)
    if warnings:
        result["warnings"] = warnings
    if context.diff:
        result["diff"] = [
            _files.masked_diff(os.path.join(directory, name), shown_before(name, before[name], contract), text)
            for name, text in render(shown).items()
            if os.path.join(directory, name) in changed
        ]
    return result


ARGUMENTS: Dict[str, Dict[str, Any]] = {
    "directory": {"type": "path", "required": True},
    "mount": {"type": "str", "default": "/etc/datastorage"},
    "contract": {"type": "str", "choices": sorted(CONTRACTS), "default": "v0"},
    "owner": {"type": "int"},
    "server_port": {"type": "int", "default": 8080},
    "server_host": {"type": "str", "default": "0.0.0.0"},  # noqa: S104 - the listener inside the container
    "read_timeout": {"type": "str", "default": "30s"},
    "write_timeout": {"type": "str", "default": "30s"},
    "log_level": {"type": "str", "default": "info"},
    "log_format": {"type": "str", "default": "json"},
    "database_host": {"type": "str", "required": True},
    "database_port": {"type": "int", "required": True},
    "database_name": {"type": "str", "required": True},
    "database_user": {"type": "str", "required": True},
    "database_password": {"type": "str", "required": True, "no_log": True},
    "ssl_mode": {"type": "str", "default": "disable"},
    "max_open_conns": {"type": "int", "default": 25},
    "max_idle_conns": {"type": "int", "default": 5},
    "conn_max_lifetime": {"type": "str", "default": "5m"},
    "conn_max_idle_time": {"type": "str", "default": "10m"},
    "redis_host": {"type": "str", "required": True},
    "redis_port": {"type": "int", "required": True},
    "redis_password": {"type": "str", "default": "", "no_log": True},
    "redis_db": {"type": "int", "default": 0},
    "dlq_max_len": {"type": "int", "default": 10000},
}

PHASE = Phase(name="adr030_config", run=run, argument_spec=ARGUMENTS, libraries=("yaml",))
