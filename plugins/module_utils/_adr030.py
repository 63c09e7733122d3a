# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write DataStorage's configuration as ADR-030 has it: one file and two secret files. PRIVATE to the collection.

The service ignores keys that it does not know and reads no password from its main file, so a misspelt key fails late or
never. What it does read, and by which rules, is in ``_adr030_keys.py``.
"""

from __future__ import annotations

import os
import time
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence

from ansible_collections.kubernaut.integration.plugins.module_utils import _adr030_keys as table
from ansible_collections.kubernaut.integration.plugins.module_utils import _files
from ansible_collections.kubernaut.integration.plugins.module_utils._adr030_keys import CHOICES, CONFIG, KEYS, SECRETS
from ansible_collections.kubernaut.integration.plugins.module_utils._adr030_read import read_config, read_secrets
from ansible_collections.kubernaut.integration.plugins.module_utils._adr030_yaml import Malformed
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import (
    Context,
    Options,
    Phase,
    PhaseError,
    Result,
)

Document = Dict[str, Any]
Contracts = Sequence[str]

HEADER = "# Managed by Ansible (kubernaut.integration.adr030_config): changes here are overwritten.\n"

#: Rules of options that are no key of their own.
OTHER_RULES: Mapping[str, table.Rule] = {
    "redis_host": table.HOST,
    "redis_port": table.PORT,
    "mount": table.must(lambda value: value.startswith("/"), "be an absolute path inside the container"),
}


def values_of(options: Options, contract: str) -> Dict[str, Any]:
    """Return path -> value of what is rendered for a contract, secrets included."""
    values = {
        at.path: key.gives(options) if key.gives else options[key.option]
        for key, at in table.keys_of(contract)
        if key.gives or key.option
    }
    return {**values, **{secret.path: options[secret.option] for secret in SECRETS if secret.option}}


def validate(options: Options, contracts: Contracts) -> List[str]:
    """Return one line per option that the service would refuse or misunderstand; secrets are never in it."""
    secrets = {secret.path: secret for secret in SECRETS if secret.hidden}
    problems: Dict[str, str] = {}
    for contract in contracts:
        named = {at.path: key.option for key, at in table.keys_of(contract) if key.option}
        for problem in table.judge(values_of(options, contract), contract, True, options["max_connections"]):
            secret = secrets.get(problem.path)
            if secret:
                line = "%s (variable %s) %s" % (secret.option, secret.variable, problem.wrong)
                problems.setdefault(secret.option, line)
            elif problem.path in named:
                option = named[problem.path]
                tails = {table.VALUE: ", not %r" % options[option], table.POOL: " (variable postgres_max_connections)"}
                tail = tails.get(problem.rule, "")
                problems.setdefault(option, "%s %s%s" % (option, problem.wrong, tail))
    for option, rule in OTHER_RULES.items():
        wrong = rule.wrong(options[option])
        if wrong:
            problems[option] = "%s %s, not %r" % (option, wrong, options[option])
    return list(problems.values())


_FIXED = "%s has no effect: DataStorage reads %s, and %s."


def ignored(options: Options, contracts: Contracts) -> List[str]:
    """Return one sentence per option that no contract follows as it was given."""
    overrides = {
        (contract, override.key.option): override
        for contract in contracts
        for override in table.overrides(values_of(options, contract), contract)
    }
    sentences = []
    for key in (key for key in KEYS if key.option and options[key.option] != key.default):
        having = [contract for contract in contracts if key.at(contract)]
        found = [override for override in (overrides.get((name, key.option)) for name in having) if override]
        given = "%s=%s%s" % (key.option, options[key.option], " (variable %s)" % key.variable if key.variable else "")
        if not having:
            sentences.append("%s has no effect: contract %s has no such key. %s" % (given, contracts[0], key.absent))
        elif len(found) == len(having):
            # That of a contract that would follow another value says more.
            override = next((one for one in found if one.clamped), found[0])
            words = "%s is out of range: DataStorage reads %s and uses %s." if override.clamped else _FIXED
            sentences.append(words % (given, override.path, override.used if override.clamped else override.why))
    return sentences


def _put(document: Document, path: str, value: Any) -> None:
    """Set the key at a dotted path."""
    *parents, last = path.split(".")
    for parent in parents:
        document = document.setdefault(parent, {})
    document[last] = value


def documents(options: Options, contracts: Contracts) -> Dict[str, Document]:
    """Return file name -> content as data, secrets in clear; a key of two contracts in both spellings."""
    config: Document = {}
    rendered = {contract: values_of(options, contract) for contract in contracts}
    for key in (key for key in KEYS if key.gives or key.option):
        for contract in contracts:
            if key.at(contract):
                _put(config, key.path(contract), rendered[contract][key.path(contract)])
    found: Dict[str, Document] = {CONFIG: config}
    for secret in (secret for secret in SECRETS if secret.option):
        found.setdefault(secret.into, {})[secret.written] = options[secret.option]
    return found


def mask(found: Mapping[str, Document]) -> Dict[str, Document]:
    """Return ``documents`` with every hidden value masked; an empty one stays empty, that is no secret."""
    masked = {name: dict(document) for name, document in found.items()}
    for secret in SECRETS:
        if secret.option and secret.hidden and masked[secret.into][secret.written]:
            masked[secret.into][secret.written] = _files.MASK
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


def reparse(texts: Mapping[str, str], options: Options, contracts: Contracts) -> None:
    """Prove that the service reads what was meant, before it is installed.

    :raises PhaseError: reading a file back gives something else.
    """
    for name, text in texts.items():
        try:
            same = _reads(name, text, options, contracts)
        except Malformed:
            same = False
        if not same:
            raise PhaseError(
                "%s does not survive being written as YAML: use plain letters and digits in its values." % name
            )


def _reads(name: str, text: str, options: Options, contracts: Contracts) -> bool:
    """Tell whether the service finds in a file what the options say."""
    if name != CONFIG:
        return read_secrets(text) == {
            secret.written: options[secret.option] for secret in SECRETS if secret.option and secret.into == name
        }
    secrets = {secret.path for secret in SECRETS if secret.hidden}
    for contract in contracts:
        meant = {path: value for path, value in values_of(options, contract).items() if path not in secrets}
        if read_config(text, contract) != meant:
            return False
    return True


def _conceal(value: Any, hidden: Callable[[str], bool]) -> Any:
    """Return parsed YAML with the values of hidden keys masked, at any depth."""
    if isinstance(value, list):
        return [_conceal(item, hidden) for item in value]
    if not isinstance(value, dict):
        return value
    return {name: _files.MASK if hidden(str(name)) else _conceal(item, hidden) for name, item in value.items()}


def shown_before(name: str, text: Optional[str]) -> Optional[str]:
    """Return an installed file for a diff: whoever wrote it, and however, it shows no secret; None stays None."""
    import yaml

    if text is None:
        return None
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):  # ValueError: a date that does not exist
        document = None
    if not isinstance(document, dict):
        return _files.MASK + "\n"
    visible = {secret.written for secret in SECRETS if secret.into == name and not secret.hidden}
    concealed = _conceal(
        document, lambda key: bool(table.SECRET_NAME.search(key)) if name == CONFIG else key not in visible
    )
    return render({name: concealed})[name]


def _back_up(directory: str, before: Mapping[str, Optional[str]], changed: Sequence[str], check: bool) -> str:
    """Keep the files that are about to be replaced, for the caller only; return where, or an empty string.

    Beside the directory and not in it: what lies there is mounted into the container.
    """
    kept = [
        _files.Wanted(name, text, 0o600)
        for name, text in before.items()
        if text is not None and os.path.join(directory, name) in changed
    ]
    if not kept:
        return ""
    path = "%s-%s" % (directory.rstrip("/"), time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()))
    _files.install(path, 0o700, kept, check=check)
    return path


def run(options: Options, context: Context) -> Result:
    """Validate, render, install.

    :raises PhaseError: the service would refuse or misunderstand an option, or the files cannot be written safely.
    """
    contracts = CHOICES[options["contract"]]
    problems = validate(options, contracts)
    if problems:
        raise PhaseError(
            "DataStorage's configuration is refused: %s." % problems[0]
            + "".join("\n  also: %s" % problem for problem in problems[1:])
        )
    found = documents(options, contracts)
    texts = render(found)
    reparse(texts, options, contracts)
    shown = mask(found)
    directory: str = options["directory"]
    # The container's user must read the files. Root gives them to that user. Nobody else can: a rootless container's
    # uid is one of the caller's subordinate ids, and to give to those takes privileges. Then everybody may read the
    # files, but only the caller can pass the parent directory (mode 0700, enforced by install) to get at them; the
    # container has a mount of its own.
    owner = options["owner"] if _files.may_give_away() else None
    directory_mode, mode = (0o755, 0o444) if owner is None else (0o500, 0o400)
    before = {name: _files.read(os.path.join(directory, name)) for name in texts}
    wanted = [_files.Wanted(name, text, mode) for name, text in texts.items()]
    backup = ""
    if options["backup"]:
        differing = [os.path.join(directory, name) for name in texts if before[name] != texts[name]]
        backup = _back_up(directory, before, differing, context.check)
    changed = _files.install(directory, directory_mode, wanted, owner, context.check)
    content_hash, key_changed = _files.content_hash(directory, texts, context.check)
    changed += key_changed
    result: Result = {
        "changed": bool(changed),
        "changed_files": changed,
        "directory": directory,
        "files": [os.path.join(directory, name) for name in texts],
        "configuration": shown,
        "effective": {
            contract: table.shown(table.effective(values_of(options, contract), contract)) for contract in contracts
        },
        "ignored": ignored(options, contracts),
        "content_hash": content_hash,
        "backup_directory": backup,
    }
    if result["ignored"]:
        result["warnings"] = result["ignored"]
    if context.diff:
        result["diff"] = [
            _files.masked_diff(os.path.join(directory, name), shown_before(name, before[name]), text)
            for name, text in render(shown).items()
            if os.path.join(directory, name) in changed
        ]
    return result


def _arguments() -> Dict[str, Dict[str, Any]]:
    """Return the argument spec: what the table's keys and secrets ask for, and what is about the files."""
    arguments: Dict[str, Dict[str, Any]] = {
        "directory": {"type": "path", "required": True},
        "mount": {"type": "str", "default": "/etc/datastorage"},
        "contract": {"type": "str", "choices": list(CHOICES), "default": table.V0},
        "owner": {"type": "int"},
        "backup": {"type": "bool", "default": False},
        "max_connections": {"type": "int"},
        "redis_host": {"type": "str", "required": True},
        "redis_port": {"type": "int", "required": True},
        "database_password": {"type": "str", "required": True, "no_log": True},
        "redis_password": {"type": "str", "default": "", "no_log": True},
    }
    for key in (key for key in KEYS if key.option):
        given = {"required": True} if key.default is None else {"default": key.default}
        arguments[key.option] = {"type": key.kind, **given}
    return arguments


ARGUMENTS = _arguments()

PHASE = Phase(name="adr030_config", run=run, argument_spec=ARGUMENTS, libraries=("yaml",))
