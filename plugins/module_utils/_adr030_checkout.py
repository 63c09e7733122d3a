# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find DataStorage's configurations in a checkout and lint them: phase ``adr030_lint``. PRIVATE to the collection."""

from __future__ import annotations

import difflib
import os
import re
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Set, Tuple
from xml.etree import ElementTree

from ansible_collections.kubernaut.integration.plugins.module_utils._adr030_keys import (
    CHOICES,
    DEAD_VARIABLES,
    V1,
    VARIABLES,
)
from ansible_collections.kubernaut.integration.plugins.module_utils._adr030_lint import (
    AUTO,
    ERROR,
    WARNING,
    Config,
    Finding,
    Surroundings,
)
from ansible_collections.kubernaut.integration.plugins.module_utils._adr030_yaml import (
    Malformed,
    entries,
    first_document,
)
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import (
    Context,
    Options,
    Phase,
    PhaseError,
    Result,
)
from ansible_collections.kubernaut.integration.plugins.module_utils._state import write_private

#: Where findings about the container's environment are.
ENVIRONMENT = "environment"
#: Directories that hold nobody's own configuration.
_SKIPPED = {".git", ".hg", ".svn", ".venv", ".tox", ".cache", "node_modules", "vendor", "__pycache__"}
#: Larger files are no configuration of the service, in bytes.
LARGEST = 256 * 1024
#: Words without which a file is not even looked into: parsing all of a large checkout would take minutes.
_HINT = re.compile(r"\b(?:addr|database|redis)\b|secrets_?file|password_?key", re.IGNORECASE)
#: Keys that only configurations of DataStorage have, in whatever spelling; in a file that is no YAML they tell.
_OWN = re.compile(r"(?:secrets_?file|password_?key|dlq_?(?:max_?len|stream_?name|consumer_?group))", re.IGNORECASE)
_OWN_ANYWHERE = re.compile(r"\b%s\b[\"']?[ \t]*:" % _OWN.pattern, re.IGNORECASE)
_TEMPLATE = re.compile(r"\{\{.*?\}\}")
_MANIFEST = re.compile(r"^apiVersion[ \t]*:.*^kind[ \t]*:", re.MULTILINE | re.DOTALL)
_EMBEDDED = re.compile(r"^[ \t]+secretsFile[ \t]*:", re.MULTILINE)
#: Names under which people expect their configuration to be found.
_CONFIG = re.compile(r".*(?:config|storage).*\.ya?ml", re.IGNORECASE)
_SECRETS = re.compile(r"(?:secret|credential)s?\.(?:ya?ml|json)$", re.IGNORECASE)
#: What JUnit's XML cannot hold.
_NO_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd]")

Notes = List[Dict[str, str]]


def sections(text: str) -> Optional[Dict[str, Set[str]]]:
    """Return section -> keys of a file that may be a configuration, or None where it is no YAML."""
    if not _HINT.search(text):
        return {}
    try:
        root, _second = first_document(text)
        return {entry.path: {str(inner.key.value) for inner in entries(entry.value)} for entry in entries(root)}
    except Malformed:
        return None


def is_config(text: str) -> bool:
    """Tell whether a file looks like a configuration of DataStorage, be it a broken one, and not another service's."""
    found = sections(text)
    if found is None:
        return bool(_OWN_ANYWHERE.search(text))
    own = [section for section, keys in found.items() if any(map(_OWN.fullmatch, keys))]
    # Other services have such a key, too, elsewhere.
    meant = [section for section in own if difflib.get_close_matches(section.lower(), ("database", "redis"))]
    return bool(meant) or len(own) > 1 or ("database" in found and "addr" in found.get("redis", ()))


def is_secrets(text: str) -> bool:
    """Tell whether a file looks like one that a configuration names: a mapping of nothing but words."""
    try:
        root, _second = first_document(text)
        found = entries(root)
    except Malformed:
        return False
    return bool(found) and all(isinstance(getattr(entry.value, "value", None), str) for entry in found)


def why_skipped(text: str, name: str) -> str:
    """Return why a file that may hold a configuration cannot be judged; empty when it can, or does not look like one.

    :param name: of the file.
    """
    if _MANIFEST.search(text):
        return "it is a Kubernetes manifest" if _EMBEDDED.search(text) else ""
    if _TEMPLATE.search(text) and is_config(text):
        return "it is a template"
    if is_config(text) or not _CONFIG.fullmatch(name):
        return ""
    found = sections(text)
    if found is None:
        return "it cannot be parsed"
    near = sorted({"database", "redis"} & set(found))
    return "it has %s, and no key that another service's would not have" % " and ".join(near) if near else ""


def walk(directory: str) -> Iterator[str]:
    """Yield the YAML files below a directory, in order."""
    for parent, directories, names in os.walk(directory):
        directories[:] = sorted(name for name in directories if name not in _SKIPPED)
        for name in sorted(names):
            path = os.path.join(parent, name)
            if name.endswith((".yaml", ".yml")) and os.path.isfile(path) and os.path.getsize(path) <= LARGEST:
                yield path


def _text(path: str) -> str:
    """Return a file's text.

    :raises PhaseError: it cannot be read.
    """
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError as error:
        raise PhaseError("%s cannot be read: %s. Correct its mode or name." % (path, error.strerror)) from error


def collect(paths: Sequence[str], around: Surroundings) -> Tuple[Dict[str, str], Notes, List[str]]:
    """Return path -> text of the files to lint, notes about others, and the files that were seen in directories.

    :param paths: absolute paths. A file is linted whatever it looks like, unless it cannot be judged at all.
    :raises PhaseError: a path does not exist.
    """
    named: Dict[str, str] = {}
    seen: List[str] = []
    for path in paths:
        if os.path.isdir(path):
            seen += walk(path)
        elif os.path.exists(path):
            named[path] = _text(path)
        else:
            raise PhaseError("There is no file or directory %s: name one that exists." % path)
    texts: Dict[str, str] = {}
    notes: Notes = []
    for path in dict.fromkeys([*named, *seen]):
        text = named.get(path) or _text(path)
        why = why_skipped(text, os.path.basename(path))
        if path in named and not is_config(text) and is_secrets(text):
            why = "it is a secret file, which is judged together with the configuration that names it"
        elif path in named and not _MANIFEST.search(text) and not _TEMPLATE.search(text):
            why = ""
        if why:
            notes.append({"file": around.shown(path), "note": "%s, so it was not looked at" % why})
        elif not _MANIFEST.search(text) and (path in named or is_config(text)):
            texts[path] = text
    return texts, notes, seen


def lint_files(texts: Mapping[str, str], wanted: str, around: Surroundings) -> List[Config]:
    """Lint files; one that another names as its secret file is none of them."""
    configs: List[Config] = []
    # Those first that look like one, because they name the others.
    for path in sorted(texts, key=lambda path: not is_config(texts[path])):
        if not any(path in config.secret_files for config in configs):
            configs.append(Config(path, texts[path], wanted, around))
    return configs


def unused_secrets(configs: Sequence[Config], seen: Sequence[str], around: Surroundings) -> Iterator[Finding]:
    """Yield the secret files beside and below a configuration that no configuration names."""
    used = {path for config in configs for path in config.secret_files}
    homes = tuple(os.path.dirname(config.path) + os.sep for config in configs if config.secret_files)
    for path in seen:
        if _SECRETS.search(path) and path.startswith(homes) and path not in used:
            message = "no configuration here names it as its secret file"
            yield Finding(around.shown(path), 1, 1, "unused-secret", message)


def lint_environment(variables: Mapping[str, Any], contracts: Sequence[str], around: Surroundings) -> Iterator[Finding]:
    """Yield what is wrong with the container's environment."""

    def finding(rule: str, message: str, predicts: str = "") -> Finding:
        return Finding(ENVIRONMENT, 0, 0, rule, message, predicts=predicts)

    path = str(variables.get("CONFIG_PATH") or "")
    if not path:
        yield finding("environment", "CONFIG_PATH is not set, and the service guesses no path", "CONFIG_PATH not set")
    elif around.mounts and not os.path.isfile(around.mounted(path) or ""):
        message = "CONFIG_PATH is %s, and no mount provides such a file" % path
        yield finding("environment", message, "failed to read config file:")
    if V1 in contracts and not (variables.get("KUBECONFIG") or "KUBERNETES_SERVICE_HOST" in variables):
        message = "KUBECONFIG is not set, and contract v1 asks a cluster about every token"
        yield finding("environment", message, "failed to load in-cluster kubernetes config (DD-AUTH-014)")
    for name in variables:
        readers = VARIABLES.get(name, contracts)
        if not set(readers) & set(contracts):
            yield finding("dead-variable", "%s is read by contract %s only" % (name, readers[0]))
        elif name not in VARIABLES and DEAD_VARIABLES.fullmatch(name):
            yield finding("dead-variable", "%s is not read: such settings belong into config.yaml" % name)


def _count(number: int, word: str) -> str:
    """Return a number with its noun."""
    return "%d %s%s" % (number, word, "" if number == 1 else "s")


def junit(files: Sequence[str], findings: Sequence[Finding]) -> str:
    """Return a JUnit report: a file without findings passes, an error fails, a warning is skipped."""
    suite = ElementTree.Element("testsuite", name="adr030_lint")
    totals = {"failure": 0, "skipped": 0}
    for file in sorted({*files, *(finding.file for finding in findings)}):
        mine = [finding for finding in findings if finding.file == file]
        if not mine:
            ElementTree.SubElement(suite, "testcase", classname=file, name="lint")
        for finding in mine:
            name = _NO_XML.sub("?", "%d:%d %s" % (finding.line, finding.column, finding.message))
            case = ElementTree.SubElement(suite, "testcase", classname=file, name=name, file=file)
            case.set("line", str(finding.line))
            kind = "failure" if finding.severity == ERROR else "skipped"
            totals[kind] += 1
            element = ElementTree.SubElement(case, kind, message=name, type=finding.rule)
            element.text = _NO_XML.sub("?", str(finding))
            if finding.predicts:
                element.text += "\nDataStorage would say: " + finding.predicts
    suite.set("tests", str(len(suite)))
    suite.set("failures", str(totals["failure"]))
    suite.set("skipped", str(totals["skipped"]))
    suite.set("errors", "0")
    return '<?xml version="1.0" encoding="utf-8"?>\n%s\n' % ElementTree.tostring(suite, encoding="unicode")


def _write(path: str, text: str, check: bool) -> bool:
    """Write the report; return whether that is a change.

    :raises PhaseError: it cannot be written.
    """
    try:
        return write_private(path, text, 0o644, check)
    except OSError as error:
        raise PhaseError(
            "The JUnit report cannot be written: %s. Name a file in a directory that exists." % error
        ) from error


def _surroundings(options: Options) -> Surroundings:
    """Return what the files will meet.

    :raises PhaseError: a path cannot be told.
    """
    relative = [path for path in [*options["paths"], options["junit"] or "/"] if not os.path.isabs(path)]
    root = options["root"] or os.sep
    if not os.path.isabs(root) or (relative and not options["root"]):
        raise PhaseError("%s is a relative path: give an absolute one, or an absolute root." % (relative or [root])[0])
    return Surroundings(
        os.path.normpath(root), options["mounts"], options["hosts"], options["uid"], options["max_connections"]
    )


def run(options: Options, context: Context) -> Result:
    """Find, lint, report.

    :raises PhaseError: there is nothing to lint, or what was found is as bad as ``fail_on`` says.
    """
    if not options["paths"]:
        raise PhaseError("lint_paths: there is no path; name a file or a directory.")
    around = _surroundings(options)
    texts, notes, seen = collect([around.absolute(path) for path in options["paths"]], around)
    configs = lint_files(texts, options["contract"], around)
    if not configs:
        raise PhaseError(
            "There is no configuration of DataStorage in %s: name a file, or a directory that holds one."
            % ", ".join(options["paths"])
        )
    found = [finding for config in configs for finding in config.findings]
    found += unused_secrets(configs, seen, around)
    if options["environment"] is not None:
        contracts = sorted({contract for config in configs for contract in config.effective})
        found += lint_environment(options["environment"], contracts, around)
    findings = sorted(set(found), key=lambda finding: (finding.file, finding.line, finding.column, str(finding)))
    notes += [{"file": config.file, "note": note} for config in configs for note in config.notes]
    counts = {kind: sum(finding.severity == kind for finding in findings) for kind in (ERROR, WARNING)}
    secret_files = {path for config in configs for path in config.secret_files}
    looked = _count(len(configs), "configuration")
    looked += " and %s" % _count(len(secret_files), "secret file") if secret_files else ""
    verdict = "%s and %s in %s" % (_count(counts[ERROR], ERROR), _count(counts[WARNING], WARNING), looked)
    result: Result = {
        "changed": False,
        "findings": [finding.as_result() for finding in findings],
        "errors": counts[ERROR],
        "warning_count": counts[WARNING],
        "files": [
            {"file": config.file, "contract": config.contract, "effective": config.effective} for config in configs
        ],
        "notes": notes,
        "verdict": verdict,
        "lines": [
            *map(str, findings),
            *("%(file)s: note: %(note)s" % note for note in notes),
            verdict,
        ],
    }
    if options["junit"]:
        text = junit([config.file for config in configs], findings)
        result["changed"] = _write(around.absolute(options["junit"]), text, context.check)
    bad = [finding for finding in findings if options["fail_on"] in (WARNING, finding.severity)]
    if bad:
        message = "DataStorage's configuration has %s: correct them, first %s" % (verdict, bad[0])
        raise PhaseError(message, cause="config-lint", **result)
    return result


PHASE = Phase(
    name="adr030_lint",
    run=run,
    argument_spec={
        "paths": {"type": "list", "elements": "path", "required": True},
        # The action front says where its caller is.
        "root": {"type": "path"},
        "contract": {"type": "str", "choices": [AUTO, *CHOICES], "default": AUTO},
        "hosts": {"type": "list", "elements": "str", "default": []},
        "mounts": {"type": "dict", "default": {}},
        "environment": {"type": "dict"},
        "uid": {"type": "int", "default": 1001},
        "max_connections": {"type": "int"},
        "junit": {"type": "path"},
        "fail_on": {"type": "str", "choices": [ERROR, WARNING, "never"], "default": ERROR},
    },
    libraries=("yaml",),
)
