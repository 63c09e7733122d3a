# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Say what is wrong with one configuration of DataStorage before it is started. PRIVATE to the collection.

What is found has a file, a line and a column, and the words in which the service would fail. No value of a secret is in
it.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import stat
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.kubernaut.integration.plugins.module_utils import _adr030_keys as table
from ansible_collections.kubernaut.integration.plugins.module_utils._adr030_keys import (
    CHOICES,
    CONTRACTS,
    V1,
    Key,
    Override,
    Problem,
    Secret,
)
from ansible_collections.kubernaut.integration.plugins.module_utils._adr030_names import (
    UNDETERMINED,
    contract_of,
    nearest,
)
from ansible_collections.kubernaut.integration.plugins.module_utils._adr030_read import (
    decoded,
    flat,
    is_read,
    is_section,
    secret_nodes,
    string_of,
)
from ansible_collections.kubernaut.integration.plugins.module_utils._adr030_yaml import (
    Entry,
    Malformed,
    described,
    first_document,
    is_mapping,
    is_null,
    place,
)

if TYPE_CHECKING:
    import yaml

ERROR, WARNING = "error", "warning"

#: Every rule -> severity. An error keeps the service from starting, makes it misbehave, or shows a secret; a warning is
#: about what has no effect.
RULES: Mapping[str, str] = {
    "syntax": ERROR,
    "type": ERROR,
    table.MISSING: ERROR,
    table.VALUE: ERROR,
    table.CLASH: ERROR,
    table.POOL: ERROR,
    table.SECRET_VALUE: ERROR,
    "secret-in-config": ERROR,
    "secret-file": ERROR,
    "secret-key": ERROR,
    "secret-type": ERROR,
    "unreadable": ERROR,
    "host": ERROR,
    "environment": ERROR,
    "signer": ERROR,
    "unknown-key": WARNING,
    "wrong-spelling": WARNING,
    "dead-key": WARNING,
    "no-effect": WARNING,
    "clamped": WARNING,
    "address": WARNING,
    "second-document": WARNING,
    "unused-secret": WARNING,
    "dead-variable": WARNING,
}

#: Judge a file by the contract that its keys tell.
AUTO = "auto"
#: Names that podman gives every container of a network.
_OF_PODMAN = ("host.containers.internal", "host.docker.internal")
_VAULT = "$ANSIBLE_VAULT;"
_WORD = re.compile(r"[^_.-]+")
Place = Tuple[int, int]


@dataclass(frozen=True)
class Finding:
    """Something that is wrong.

    :param file: as it is shown.
    :param line: counted from 1, like ``column``; 0 where there is none.
    :param rule: key of :data:`RULES`.
    :param message: what is wrong, in one sentence.
    :param suggestion: what to write instead: a key with its dots, a host or a value; empty when that is not known.
    :param predicts: what the service will say when it is started so, or a part of it; empty when it says nothing.
    """

    file: str
    line: int
    column: int
    rule: str
    message: str
    suggestion: str = ""
    predicts: str = ""

    @property
    def severity(self) -> str:
        """``error`` or ``warning``."""
        return RULES[self.rule]

    def __str__(self) -> str:
        """Return the line for the terminal."""
        where = "%s:%d:%d" % (self.file, self.line, self.column) if self.line else self.file
        return "%s: %s: %s [%s]" % (where, self.severity, self.message, self.rule)

    def as_result(self) -> Dict[str, Any]:
        """Return what the task returns."""
        return {**asdict(self), "severity": self.severity}


@dataclass(frozen=True)
class Surroundings:
    """What the files will meet.

    :param root: absolute directory that relative paths start from, and that files are shown relative to.
    :param mounts: path in the container -> path here; empty when that is not known.
    :param hosts: names that exist on the container's network; empty when that is not known.
    :param uid: of the container's user; None when modes are not to be judged.
    :param max_connections: of the PostgreSQL server; None when that is not known.
    """

    root: str
    mounts: Mapping[str, str] = field(default_factory=dict)
    hosts: Sequence[str] = ()
    uid: Optional[int] = None
    max_connections: Optional[int] = None

    def absolute(self, path: str) -> str:
        """Return a path that does not depend on where the process is."""
        return os.path.normpath(os.path.join(self.root, path))

    def shown(self, path: str) -> str:
        """Return a path as people know it."""
        inside = os.path.commonpath([self.root, path]) == self.root
        return os.path.relpath(path, self.root) if inside else path

    def mounted(self, path: str) -> Optional[str]:
        """Return where a path of the container is here; None when no mount provides it."""
        for target in sorted(self.mounts, key=len, reverse=True):
            below = os.path.relpath(path, target)
            if below.split(os.sep)[0] != os.pardir:
                return os.path.normpath(os.path.join(self.absolute(self.mounts[target]), below))
        return None

    def located(self, path: str, beside: str) -> Optional[str]:
        """Return where a path of the container is, likely, when nobody said what is mounted.

        Teams keep the secret files beside the configuration, or below it in directories that are called as there.
        """
        parts = [part for part in path.split("/") if part]
        for first in range(len(parts)):
            candidate = os.path.join(os.path.dirname(beside), *parts[first:])
            if os.path.isfile(candidate):
                return candidate
        return None

    def may_read(self, path: str) -> bool:
        """Tell whether the container's user may read a file."""
        if not self.uid:
            return True
        found = os.stat(path)
        owner, group = found.st_uid == self.uid, found.st_gid == self.uid
        return bool(found.st_mode & (stat.S_IRUSR if owner else stat.S_IRGRP if group else stat.S_IROTH))


class Config:
    """One ``config.yaml`` and what it refers to, judged.

    :ivar findings: what is wrong, in no order, perhaps twice.
    :ivar notes: what a person ought to know though nothing is wrong.
    :ivar contract: ``v0``, ``v1``, ``both`` or :data:`UNDETERMINED`.
    :ivar effective: contract -> what the service really uses, secrets masked.
    :ivar secret_files: absolute path -> key -> node; None for a file that nobody can look into.
    """

    def __init__(self, path: str, text: str, wanted: str, around: Surroundings) -> None:
        """Judge a file.

        :param path: absolute path.
        :param wanted: contract to judge it by, or :data:`AUTO`.
        """
        self.path, self.around = path, around
        self.file = around.shown(path)
        self.findings: List[Finding] = []
        self.notes: List[str] = []
        self.contract = UNDETERMINED
        self.effective: Dict[str, Dict[str, Any]] = {}
        self.secret_files: Dict[str, Optional[Dict[str, yaml.Node]]] = {}
        #: Path -> file and place of a value that comes from a secret file.
        self._from_secret: Dict[str, Tuple[str, Place]] = {}
        if not around.may_read(path):
            self._unreadable(path, "failed to read config file:")
        try:
            root, second = first_document(text)
            self._found = flat(root)
        except Malformed as error:
            message = "it cannot be parsed: %s" % error.reason
            self._add((error.line, error.column), "syntax", message, predicts="failed to parse config:")
            return
        if root is not None and not is_mapping(root) and not is_null(root):
            message = "the file is %s and must be a mapping" % described(root)
            self._add(place(root), "type", message, predicts="failed to parse config:")
            return
        if second:
            message = "the service reads the first document only, and another one begins here"
            self._add((second, 1), "second-document", message)
        self.contract = contract_of(self._found) if wanted == AUTO else wanted
        self._contracts = CHOICES.get(self.contract, CONTRACTS)
        if self.contract == UNDETERMINED:
            self._note("its keys do not tell the contract, so only what is wrong in both is named")
        self._judge()

    def _add(
        self, where: Place, rule: str, message: str, suggestion: str = "", predicts: str = "", file: str = ""
    ) -> None:
        """Keep a finding about this file or another."""
        # What is wrong with an address may be that it holds a password.
        told = map(table.without_login, (message, suggestion, predicts))
        finding = Finding(file or self.file, where[0], where[1], rule, *told)
        if finding not in self.findings:  # either contract would give it
            self.findings.append(finding)

    def _note(self, note: str) -> None:
        """Keep a note."""
        if note not in self.notes:
            self.notes.append(note)

    def _unreadable(self, path: str, predicts: str) -> None:
        """Keep the finding that the container's user may not read a file."""
        mode = stat.S_IMODE(os.stat(path).st_mode)
        message = "uid %d, which the service runs as, may not read it: its mode is %04o" % (self.around.uid or 0, mode)
        self._add((1, 1), "unreadable", message, predicts=predicts, file=self.around.shown(path))

    def _place(self, path: str) -> Place:
        """Return where a key is, or the nearest section above it."""
        while path and path not in self._found:
            path = path.rpartition(".")[0]
        return self._found[path].place if path else (1, 1)

    def _judge(self) -> None:
        """Judge keys and values, by every contract that is meant."""
        meant = self._unread()
        self._logins()
        problems: List[Problem] = []
        overrides: List[Override] = []
        for contract in self._contracts:
            values, mistyped = decoded(self._found, contract)
            for entry, why in mistyped:
                says = "failed to parse config: yaml: unmarshal errors:"
                self._add(entry.place, "type", "`%s` %s" % (entry.path, why), predicts=says)
            unknown = [entry.path for entry, _why in mistyped] + self._take_secrets(values, contract)
            problems += [
                problem
                for problem in table.judge(values, contract, max_connections=self.around.max_connections)
                if not any((problem.path + ".").startswith(path + ".") for path in unknown)
            ]
            overrides += table.overrides(values, contract)
            self.effective[contract] = table.shown(table.effective(values, contract))
            self._hosts(values)
            if contract == V1:
                self._signer(self.effective[contract]["server.signerCertDir"])
        for problem in self._agreed(problems):
            self._tell(problem, meant)
        self._overridden(overrides)

    def _agreed(self, problems: Sequence[Problem]) -> List[Problem]:
        """Return the problems of all contracts, or of every one where it is not known which is meant."""
        found: Dict[Tuple[str, Any], List[Problem]] = {}
        for problem in problems:
            found.setdefault((problem.rule, id(problem.key) if problem.key else problem.path), []).append(problem)
        needed = len(CONTRACTS) if self.contract == UNDETERMINED else 1
        # In the words of the spelling that the file has.
        return [
            next((problem for problem in same if problem.path in self._found), same[0])
            for same in found.values()
            if len(same) >= needed
        ]

    def _tell(self, problem: Problem, meant: Mapping[int, Entry]) -> None:
        """Keep the finding for a problem, at the key that is meant to be the missing one if there is such a key."""
        entry = meant.get(id(problem.key)) if problem.rule == table.MISSING else None
        message = "`%s` %s" % (problem.path, problem.wrong)
        if problem.rule == table.MISSING:
            # Whoever wrote for the other contract learns by which one the file is judged.
            who = "contract %s" % self.contract if len(self._contracts) == 1 else "the service"
            message += ": %s does not start without it" % who
        if entry:
            self.findings = [finding for finding in self.findings if (finding.line, finding.column) != entry.place]
            message = "`%s` is not read, and `%s` is missing" % (entry.path, problem.path)
            self._add(entry.place, problem.rule, message, problem.path, problem.says)
        elif problem.path in self._from_secret:
            file, where = self._from_secret[problem.path]
            self._add(where, problem.rule, message, predicts=problem.says, file=file)
        else:
            self._add(self._place(problem.path), problem.rule, message, predicts=problem.says)

    # Keys that are not read

    def _unread(self) -> Dict[int, Entry]:
        """Keep findings about keys that are not read; return which of them is meant to be which key (by its id)."""
        meant: Dict[int, Entry] = {}
        for path, entry in self._found.items():
            section, _dot, name = path.rpartition(".")
            known = not section or is_section(section, self._contracts)
            if is_read(path, self._contracts) or (not known and is_read(section, self._contracts)):
                continue
            if is_mapping(entry.value):
                if known:
                    self._add(entry.place, "unknown-key", "`%s` and what is in it is not read" % path)
            elif table.SECRET_NAME.search(name) and getattr(entry.value, "value", None):
                message = "`%s` is a secret in the main file, where the service never looks for one" % path
                self._add(entry.place, "secret-in-config", message + ": put it into the secret file")
            else:
                key = nearest(path, self._contracts)
                if key:
                    meant.setdefault(id(key), entry)
                    self._not_read(entry, key)
                elif known:
                    self._add(entry.place, "unknown-key", "`%s` is not read" % path)
        return meant

    def _logins(self) -> None:
        """Keep findings about values that hold a login, as the addresses of other services may."""
        for path, entry in self._found.items():
            value = getattr(entry.value, "value", None)
            if isinstance(value, str) and table.without_login(value) != value:
                message = "`%s` holds a login: name and password belong into the secret file" % path
                self._add(entry.place, "secret-in-config", message)

    def _not_read(self, entry: Entry, key: Key) -> None:
        """Keep the finding about a key that is not read and is like ``key``."""
        path = entry.path
        live: Dict[str, str] = {}
        for contract in self._contracts:
            if key.at(contract):
                live.setdefault(key.path(contract), contract)
        there = next((other for other in live if other in self._found), "")
        other = next((contract for contract in CONTRACTS if key.path(contract) == path), "")
        if there and other:
            return  # a file that has both spellings
        pointless = next((at.why for at in map(key.at, self._contracts) if at and at.fixed == ""), "")
        if not live:
            self._add(entry.place, "dead-key", "`%s` is not read. %s" % (path, key.absent))
        elif pointless:
            self._add(entry.place, "dead-key", "`%s` is not read: %s" % (path, pointless))
        elif there:
            line = self._found[there].place[0]
            self._add(entry.place, "unknown-key", "`%s` is not read: `%s` in line %d is" % (path, there, line), there)
        elif other:
            reads = next(iter(live))
            message = "`%s` is the spelling of contract %s: contract %s reads `%s`"
            words = message % (path, other, live[reads], _short(reads, path))
            self._add(entry.place, "wrong-spelling", words, reads)
        else:
            told = len(self._contracts) > 1 and (len(live) > 1 or not all(key.at(contract) for contract in CONTRACTS))
            names = ["`%s`%s" % (_short(name, path), " (%s)" % live[name] if told else "") for name in live]
            message = "`%s` is not read: did you mean %s?" % (path, " or ".join(names))
            self._add(entry.place, "unknown-key", message, next(iter(live)))

    def _overridden(self, overrides: Sequence[Override]) -> None:
        """Keep findings about values that no contract follows."""
        found: Dict[int, List[Override]] = {}
        for override in overrides:
            found.setdefault(id(override.key), []).append(override)
        for same in found.values():
            # That of a contract that would follow another value says more.
            override = next((one for one in same if one.clamped), same[0])
            following = [name for name in self._contracts if override.key.path(name) in self._found]
            if len(same) < len(following):
                continue
            if override.clamped:
                message = "`%s` is %s, and the service uses %s" % (override.path, override.asked, override.used)
                self._add(self._place(override.path), "clamped", message, str(override.used))
            else:
                message = "`%s` has no effect: %s" % (override.path, override.why)
                self._add(self._place(override.path), "no-effect", message, str(override.used))

    # What it refers to

    def _hosts(self, values: Mapping[str, Any]) -> None:
        """Keep findings about host names that do not exist, and addresses that change."""
        hosts = {
            "database.host": (values.get("database.host", ""), "failed to ping PostgreSQL:"),
            "redis.addr": (values.get("redis.addr", "").rpartition(":")[0].strip("[]"), "failed to connect to Redis:"),
        }
        for path, (host, says) in hosts.items():
            if table.HOST.wrong(host) or host in (*self.around.hosts, *_OF_PODMAN):
                continue
            loopback, numeric = _address(host)
            if numeric and not loopback:
                message = "`%s` is an address, which may be another one after the next start: name the container" % path
                self._add(self._place(path), "address", message)
            elif self.around.hosts:
                why = "is the container itself" if loopback else "does not exist on its network"
                near = _near(host, self.around.hosts)
                hint = ": did you mean %s?" % near if near else ""
                message = "`%s` names %s, which %s%s" % (path, host, why, hint)
                self._add(self._place(path), "host", message, near, says)

    def _signer(self, directory: str) -> None:
        """Keep the finding about a certificate that contract v1 does not start without, where mounts are known."""
        for name in ("tls.crt", "tls.key") if self.around.mounts else ():
            path = "%s/%s" % (directory.rstrip("/"), name)
            here = self.around.mounted(path)
            if not here or not os.path.isfile(here):
                message = "`server.signerCertDir` is %s, and there is no file %s: contract v1 signs with it"
                says = "signing certificate not found at %s" % path if name == "tls.crt" else ""
                self._add(self._place("server.signerCertDir"), "signer", message % (directory, path), predicts=says)

    def _take_secrets(self, values: Dict[str, Any], contract: str) -> List[str]:
        """Add to the values what the secret files hold; return the paths whose values are not known."""
        unknown = []
        for secret in table.secrets_of(contract):
            file, name = values.get(secret.file, ""), values.get(secret.name, "")
            if not file or not name:
                continue
            here = self._secret_file(secret, file)
            nodes = self._secret_nodes(here) if here else None
            if here is None or nodes is None:
                unknown.append(secret.path)
            elif name in nodes:
                value = self._secret(secret, name, nodes[name], here)
                if value is None:
                    unknown.append(secret.path)
                else:
                    values[secret.path] = value
            else:
                self._lacking(secret, name, list(nodes), self.around.shown(here))
        return unknown

    def _secret_file(self, secret: Secret, file: str) -> Optional[str]:
        """Return where a secret file is here; None when it is not there, or it is not known where it would be."""
        here = self.around.mounted(file) if self.around.mounts else self.around.located(file, self.path)
        if here and os.path.isfile(here):
            return here
        if self.around.mounts:
            why = "there is no file %s" % self.around.shown(here) if here else "no mount provides that"
            message = "`%s` names %s, and %s" % (secret.file, file, why)
            self._add(self._place(secret.file), "secret-file", message, predicts="failed to read secret file")
        else:
            self._note("%s was not found near it, so it was not looked into" % file)
        return None

    def _secret_nodes(self, here: str) -> Optional[Dict[str, yaml.Node]]:
        """Return key -> node of a secret file; None when nobody can look into it."""
        if here not in self.secret_files:
            self.secret_files[here] = self._read_secrets(here)
        return self.secret_files[here]

    def _read_secrets(self, here: str) -> Optional[Dict[str, yaml.Node]]:
        """Read a secret file; None, with a finding or a note, when that is not possible."""
        shown = self.around.shown(here)
        if not self.around.may_read(here):
            self._unreadable(here, "failed to read secret file")
        try:
            with open(here, encoding="utf-8") as opened:
                text = opened.read()
            if text.startswith(_VAULT):
                self._note("%s is encrypted, so it was not looked into" % shown)
                return None
            return secret_nodes(text)
        except OSError as error:
            self._note("%s cannot be read: %s" % (shown, error.strerror))
        except UnicodeError:
            message, says = "it is not UTF-8", "failed to parse secret file as YAML or JSON"
            self._add((1, 1), "secret-file", message, predicts=says, file=shown)
        except Malformed as error:
            says = "failed to parse secret file as YAML or JSON"
            self._add((error.line, error.column), "secret-file", error.reason, predicts=says, file=shown)
        return None

    def _secret(self, secret: Secret, name: str, node: yaml.Node, here: str) -> Optional[str]:
        """Return a secret's value; None, with a finding, when it is no string."""
        file, where = self.around.shown(here), place(node)
        value = string_of(node)
        if value is None:
            message = "`%s` is %s to the service, which wants a string: put it into quotes" % (name, described(node))
            says = secret.mistyped.format(name=name)
            self._add(where, "secret-type", message, predicts=says, file=file)
        else:
            self._from_secret[secret.path] = (file, where)
        return value

    def _lacking(self, secret: Secret, name: str, names: Sequence[str], shown: str) -> None:
        """Keep the finding about a key that its secret file does not have."""
        if not secret.lacks:
            message = "`%s` has no effect: %s has no key `%s`, so `%s` is used"
            self._add(self._place(secret.name), "no-effect", message % (secret.name, shown, name, secret.path))
            return
        near = difflib.get_close_matches(name, names, 1)
        hint = ": did you mean `%s`?" % near[0] if near else ""
        message = "`%s` names the key `%s`, which %s does not have%s" % (secret.name, name, shown, hint)
        says = secret.lacks.format(name=name)
        self._add(self._place(secret.name), "secret-key", message, near[0] if near else "", says)


def _short(path: str, beside: str) -> str:
    """Return a path without the section that it shares with another."""
    section, _dot, name = path.rpartition(".")
    return name if section == beside.rpartition(".")[0] else path


def _near(host: str, hosts: Sequence[str]) -> str:
    """Return the host that is meant: one that is alike, or the only one with a word of it, as compose makes names."""
    alike = difflib.get_close_matches(host, hosts, 1)
    if alike:
        return alike[0]
    words = {word for word in _WORD.findall(host) if len(word) > 1}
    sharing = [other for other in hosts if words & set(_WORD.findall(other))]
    return sharing[0] if len(sharing) == 1 else ""


def _address(host: str) -> Tuple[bool, bool]:
    """Tell whether a host is the container itself, and whether it is given as a number."""
    try:
        number = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost", False
    return number.is_loopback, True
