# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of migrations: which there are, what of each is to run, where its statements are. PRIVATE to the collection."""

from __future__ import annotations

import codecs
import hashlib
import os
import re
import stat
from dataclasses import dataclass, replace
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.kubernaut.integration.plugins.module_utils._phase import PhaseError

_NUMBER = re.compile(r"(\d{1,18})(?!\d)")
_ANNOTATION = re.compile(r"--[^\S\r\n]*\+goose\b[^\S\r\n]*([^\r\n]*)", re.IGNORECASE)
#: What goose takes for an annotation of its own.
_COMMENT = re.compile(r"(?:^|[\r\n])[^\S\r\n]*(--[^\r\n]*\+goose[^\r\n]*)", re.IGNORECASE)
_LINE_END = re.compile(r"\r\n|\n|\r")
_KNOWN = ("up", "down", "no transaction", "statementbegin", "statementend", "envsub off")


@dataclass(frozen=True)
class Migration:
    """One file.

    :param version: its leading number.
    :param checksum: SHA-256 of its bytes, in hex.
    :param text: all of it.
    :param sql: what is to run: the file up to its Down part. Offsets into it are offsets into the file.
    :param transactional: runs in one transaction as a whole.
    :param statements: begin and end of each statement in :attr:`sql`; None when no parser has looked at it.
    """

    version: int
    name: str
    checksum: str
    text: str
    sql: str
    transactional: bool
    statements: Optional[Sequence[Tuple[int, int]]] = None

    def as_dict(self) -> Dict[str, Any]:
        """The migration as ``pending`` lists it."""
        return {"version": self.version, "name": self.name, "checksum": self.checksum}


def read_directory(directory: str) -> List[Dict[str, Any]]:
    """Return name and text of every ``*.sql`` directly in ``directory``: not below it, where upstream keeps test data.

    :raises PhaseError: the directory or a file cannot be read, or is not UTF-8.
    """
    try:
        entries = sorted(os.scandir(os.path.expanduser(directory)), key=lambda entry: entry.name)
    except OSError as error:
        raise PhaseError("migrations_dir is %s, which cannot be read: %s." % (directory, error.strerror)) from error
    files = []
    for entry in entries:
        if not entry.name.isprintable():
            raise PhaseError("%r in migrations_dir has a name that cannot be shown: rename it." % entry.name)
        if not entry.name.lower().endswith(".sql") or entry.name.startswith(".") or entry.is_dir():
            continue
        if not entry.name.endswith(".sql"):
            raise PhaseError("%s in migrations_dir does not end with .sql in small letters: rename it." % entry.name)
        files.append({"name": entry.name, "text": _read_file(entry)})
    if not files:
        raise PhaseError("migrations_dir is %s, which holds no *.sql file: name the right directory." % directory)
    return files


def _read_file(entry: os.DirEntry[str]) -> str:
    """Return a migration's text.

    :raises PhaseError: it cannot be read, is no file, is empty, or is not UTF-8.
    """
    try:
        if not stat.S_ISREG(entry.stat().st_mode):  # to read a pipe may take for ever
            raise PhaseError("%s in migrations_dir is no file: move it out of migrations_dir." % entry.name)
        with open(entry.path, "rb") as stream:
            content = stream.read()
    except OSError as error:
        raise PhaseError("%s in migrations_dir cannot be read: %s." % (entry.name, error.strerror)) from error
    if not content.lstrip(codecs.BOM_UTF8).strip():
        raise PhaseError(
            "%s in migrations_dir is empty, as a copy is that was broken off: copy it again, or remove it." % entry.name
        )
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise PhaseError(
            "%s in migrations_dir is not UTF-8 (byte 0x%02x in line %d): save it as UTF-8."
            % (entry.name, content[error.start], line)
        ) from error


def split_files(files: Sequence[Mapping[str, Any]]) -> List[Dict[str, Any]]:
    """Return ``files`` cut into statements where pglast is at hand, ready to travel to a target that lacks it.

    :raises PhaseError: as :func:`parse` and :func:`split` say.
    """
    cut = {migration.name: split(migration) for migration in parse(files)}
    return [
        {
            "name": file["name"],
            "text": file["text"],
            "transactional": cut[file["name"]].transactional,
            "statements": cut[file["name"]].statements,
        }
        for file in files
    ]


def checksum(text: str) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def parse(files: Sequence[Mapping[str, Any]]) -> List[Migration]:
    """Return the files as migrations, in numeric order of their versions.

    :param files: values of the option ``files``.
    :raises PhaseError: a name without a number, a number that two names share, or a file that goose would not take.
    """
    migrations: Dict[int, Migration] = {}
    for file in files:
        name, text = file["name"], file["text"]
        if "\0" in text:
            raise PhaseError("%s in migrations_dir holds a NUL byte: this is no SQL text in UTF-8." % name)
        number = _NUMBER.match(name)
        if not number:
            raise PhaseError(
                "%s in migrations_dir does not begin with a version number (of at most 18 digits), such as 023_%s: "
                "rename it, or move it out of migrations_dir." % (name, name)
            )
        version = int(number[1])
        if version in migrations:
            raise PhaseError(
                "%s and %s in migrations_dir have the same version %d: renumber one of them."
                % (migrations[version].name, name, version)
            )
        # A byte order mark is no SQL; a space in its place leaves every offset as it is.
        sql, transactional = up_part(name, " " + text[1:] if text.startswith("\ufeff") else text)
        statements = file.get("statements")
        migrations[version] = Migration(
            version=version,
            name=name,
            checksum=checksum(text),
            text=text,
            sql=sql,
            transactional=transactional and file.get("transactional", True),
            statements=None if statements is None else [(int(begin), int(end)) for begin, end in statements],
        )
    return [migrations[version] for version in sorted(migrations)]


def up_part(name: str, text: str) -> Tuple[str, bool]:
    """Return what of a file is to run, and whether it may run in a transaction as far as its annotations say.

    That is everything before ``-- +goose Down``: a file without annotations has no Down part, and before
    ``-- +goose Up`` goose allows only comments. Annotations are lines of their own, as for goose, whatever surrounds
    them; StatementBegin and StatementEnd tell a splitter what PostgreSQL's own parser knows anyway.

    :raises PhaseError: an annotation that is misplaced, unknown, or asks for something that is not done here.
    """
    up: Optional[int] = None
    down: Optional[int] = None
    transactional = True
    annotations = _annotations(name, text)
    for begin, line, words in annotations:
        if words == "up":
            if up is not None:
                raise _refusal(name, line, "a second `-- +goose Up`")
            up = begin
        elif words == "down":
            if up is None:
                raise _refusal(name, line, "`-- +goose Down` without `-- +goose Up` before it")
            down = begin if down is None else down
        elif words == "no transaction" and down is None:
            transactional = False
    if annotations and up is None:
        raise _refusal(name, annotations[0][1], "a goose annotation, but no `-- +goose Up`")
    for number, before in enumerate(_LINE_END.split(text[: up or 0]), 1):
        if before.strip() and not before.strip().startswith("--"):
            raise _refusal(name, number, "SQL before `-- +goose Up`, which goose refuses")
    return text[:down], transactional


def _annotations(name: str, text: str) -> List[Tuple[int, int, str]]:
    """Return the goose annotations of a file: offset and number of the line, and the words in lower case.

    :raises PhaseError: one that goose does not know, that shares its line, or that asks for what is not done here.
    """
    annotations = []
    for found in _ANNOTATION.finditer(text):
        begin = max(text.rfind("\n", 0, found.start()), text.rfind("\r", 0, found.start())) + 1
        line = position(text, begin)[0]
        words = " ".join(found[1].lower().split())
        if text[begin : found.start()].strip():
            raise _refusal(name, line, "a goose annotation must stand on a line of its own")
        if words == "envsub on":
            raise _refusal(name, line, "`-- +goose ENVSUB ON` is not supported: write the values into the file")
        if words not in _KNOWN:
            raise _refusal(name, line, "unknown goose annotation `%s`" % found[0].strip())
        annotations.append((begin, line, words))
    begins = {begin for begin, _line, _words in annotations}
    for found in _COMMENT.finditer(text):
        # "-- see +goose Down" is an error to goose; taken for a comment, it could let a Down part run.
        begin = max(text.rfind("\n", 0, found.start(1)), text.rfind("\r", 0, found.start(1))) + 1
        if begin not in begins:
            raise _refusal(name, position(text, begin)[0], "unknown goose annotation `%s`" % found[1].strip())
    return annotations


def _refusal(name: str, line: int, why: str) -> PhaseError:
    return PhaseError("%s in migrations_dir, line %d: %s." % (name, line, why))


def split(migration: Migration) -> Migration:
    """Return ``migration`` cut into statements by PostgreSQL's own parser, where pglast is at hand.

    Without pglast, or where it finds a syntax error (its grammar is one version's, and the server's word is what
    counts), the migration is returned as it is: it runs as one text, and PostgreSQL says what is wrong with it.

    :raises PhaseError: the file holds commands of psql, which are no SQL.
    """
    if migration.statements is not None:
        return migration
    try:
        from pglast import parser
    except ImportError:
        if not migration.transactional:
            raise PhaseError(
                "%s in migrations_dir says `-- +goose NO TRANSACTION`, and to run it statement by statement takes "
                "pglast: install that (pip install pglast) where the files are read, which is the controller unless "
                "remote_src is set." % migration.name
            ) from None
        return migration
    try:
        spans = parser.split(migration.sql, only_slices=True)
        telling = any(token.name in _TELLING for token in parser.scan(migration.sql))
        trees = [raw.stmt for raw in parser.parse_sql(migration.sql)] if telling else []
    except parser.ParseError as error:
        if '"\\"' not in str(error):
            return migration
        offset = error.args[1] if len(error.args) > 1 else 0
        why = "a command of psql (backslash) is not SQL, and migrations run without psql"
        raise _refusal(migration.name, position(migration.sql, offset)[0], why) from error
    for tree, span in zip(trees, spans):
        why = _cannot_run(tree)
        if why:
            raise _refusal(migration.name, position(migration.sql, span.start)[0], why)
    return replace(
        migration,
        transactional=migration.transactional and not any(map(_refuses_transaction, trees)),
        statements=[(span.start, span.stop) for span in spans],
    )


#: Keywords, as PostgreSQL's scanner names them, of which a statement has one if :func:`_cannot_run` or
#: :func:`_refuses_transaction` is to say yes. To build the trees of all other files takes most of the time.
_TELLING = frozenset(
    [
        "ABORT_P",
        "BEGIN_P",
        "CLUSTER",
        "COMMIT",
        "CONCURRENTLY",
        "COPY",
        "DATABASE",
        "DISCARD",
        "END_P",
        "PREPARE",
        "REINDEX",
        "ROLLBACK",
        "START",
        "SUBSCRIPTION",
        "SYSTEM_P",
        "TABLESPACE",
        "VACUUM",
    ]
)


def _cannot_run(tree: Any) -> str:
    """Return why a statement cannot run here at all; an empty text when it can."""
    from pglast import ast, enums

    if isinstance(tree, ast.CopyStmt) and not tree.filename:
        return "COPY from or to psql itself does not work without psql: use INSERT"
    if isinstance(tree, ast.DiscardStmt) and tree.target == enums.DiscardMode.DISCARD_ALL:
        return "DISCARD ALL gives away the lock that keeps other runs out: remove it, every file has a fresh session"
    return ""


def _refuses_transaction(tree: Any) -> bool:
    """Tell whether PostgreSQL refuses this statement inside a transaction block, or it ends or begins one itself."""
    from pglast import ast, enums

    if isinstance(tree, ast.TransactionStmt):
        kinds = enums.TransactionStmtKind
        within = (kinds.TRANS_STMT_SAVEPOINT, kinds.TRANS_STMT_RELEASE, kinds.TRANS_STMT_ROLLBACK_TO)
        return tree.kind not in within
    if isinstance(tree, (ast.IndexStmt, ast.DropStmt)):
        return bool(tree.concurrent)
    if isinstance(tree, ast.ReindexStmt):
        kind = enums.ReindexObjectType
        single = tree.kind in (kind.REINDEX_OBJECT_INDEX, kind.REINDEX_OBJECT_TABLE)
        return not single or any(param.defname == "concurrently" for param in tree.params or ())
    if isinstance(tree, ast.AlterTableStmt):
        return any(isinstance(cmd.def_, ast.PartitionCmd) and cmd.def_.concurrent for cmd in tree.cmds or ())
    if isinstance(tree, ast.VacuumStmt):
        return bool(tree.is_vacuumcmd)
    if isinstance(tree, ast.ClusterStmt):
        return tree.relation is None
    return isinstance(
        tree,
        (
            ast.AlterSystemStmt,
            ast.CreatedbStmt,
            ast.DropdbStmt,
            ast.CreateTableSpaceStmt,
            ast.DropTableSpaceStmt,
            ast.CreateSubscriptionStmt,
            ast.DropSubscriptionStmt,
        ),
    )


def position(text: str, offset: int) -> Tuple[int, int]:
    """Return line and column, both from 1, of a character of ``text``."""
    line, begin = 1, 0
    for end in _LINE_END.finditer(text, 0, offset):
        line, begin = line + 1, end.end()
    return line, offset - begin + 1
