# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Apply SQL migrations once each, and remember it. PRIVATE to the collection.

Three parts: files (which there are, what of them is to run, how PostgreSQL's parser cuts them), judgement (ledger
against files; pure), and execution (one connection, one advisory lock, one transaction per file).
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from dataclasses import dataclass, field, replace
from datetime import date
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.kubernaut.integration.plugins.module_utils import _partitions, _schema
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import (
    Context,
    Options,
    Phase,
    PhaseError,
    Result,
)
from ansible_collections.kubernaut.integration.plugins.module_utils._postgres import POSTGRES_SPEC
from ansible_collections.kubernaut.integration.plugins.module_utils._schema import LEDGER_SPEC, LedgerRow

if TYPE_CHECKING:
    import psycopg

#: Version of the collection, for the ledger; a unit test keeps it equal to galaxy.yml, which no module carries along.
TOOL = "1.0.0"

#: Key of the advisory lock, the same for every run on a database: the bytes "kubernau" as a number.
LOCK_KEY = int.from_bytes(b"kubernau", "big")
#: So many applied files without a single match are no edits: they are another set.
SEVERAL = 4
#: Seconds between two attempts to get it.
LOCK_GAP = 0.1

#: What a file may have left behind in the session and the next one must not see. Upstream ran one psql per file.
FRESH_SESSION = b"RESET SESSION AUTHORIZATION; RESET ALL; SET client_encoding TO 'UTF8'; DISCARD TEMP"

MIGRATIONS_SPEC: Dict[str, Dict[str, Any]] = {
    **POSTGRES_SPEC,
    **LEDGER_SPEC,
    "directory": {"type": "path", "required": True},
    "remote_src": {"type": "bool", "default": False},
    "files": {
        "type": "list",
        "elements": "dict",
        "options": {
            "name": {"type": "str", "required": True},
            "text": {"type": "str", "required": True},
            "statements": {"type": "list", "elements": "list"},
            "transactional": {"type": "bool", "default": True},
        },
    },
    "lock_timeout": {"type": "float", "default": 30.0},
    "ensure_partitions": {"type": "list", "elements": "str", "default": []},
    "today": {"type": "str", "default": ""},
}

_NUMBER = re.compile(r"(\d{1,18})(?!\d)")
_ANNOTATION = re.compile(r"--[^\S\r\n]*\+goose\b[^\S\r\n]*([^\r\n]*)", re.IGNORECASE)
_LINE_END = re.compile(r"\r\n|\n|\r")
_KNOWN = ("up", "down", "no transaction", "statementbegin", "statementend", "envsub off")


# ---------------------------------------------------------------------------------------------------------------- files


@dataclass(frozen=True)
class Migration:
    """One file.

    :param version: its leading number.
    :param checksum: SHA-256 of its bytes, in hex.
    :param sql: what is to run: the file up to its Down part. Offsets into it are offsets into the file.
    :param transactional: runs in one transaction as a whole.
    :param statements: begin and end of each statement in :attr:`sql`; None when no parser has looked at it.
    """

    version: int
    name: str
    checksum: str
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
        if not entry.name.endswith(".sql") or entry.name.startswith(".") or entry.is_dir():
            continue
        try:
            with open(entry.path, "rb") as stream:
                content = stream.read()
        except OSError as error:
            raise PhaseError("%s in migrations_dir cannot be read: %s." % (entry.name, error.strerror)) from error
        try:
            files.append({"name": entry.name, "text": content.decode("utf-8")})
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            raise PhaseError(
                "%s in migrations_dir is not UTF-8 (byte 0x%02x in line %d): save it as UTF-8."
                % (entry.name, content[error.start], line)
            ) from error
    if not files:
        raise PhaseError("migrations_dir is %s, which holds no *.sql file: name the right directory." % directory)
    return files


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
            checksum=hashlib.sha256(text.encode("utf-8")).hexdigest(),
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
        return migration
    try:
        spans = parser.split(migration.sql, only_slices=True)
        trees = [raw.stmt for raw in parser.parse_sql(migration.sql)]
    except parser.ParseError as error:
        if '"\\"' not in str(error):
            return migration
        offset = error.args[1] if len(error.args) > 1 else 0
        why = "a command of psql (backslash) is not SQL, and migrations run without psql"
        raise _refusal(migration.name, position(migration.sql, offset)[0], why) from error
    return replace(
        migration,
        transactional=migration.transactional and not any(map(_refuses_transaction, trees)),
        statements=[(span.start, span.stop) for span in spans],
    )


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


# ------------------------------------------------------------------------------------------------------------ judgement


@dataclass(frozen=True)
class Facts:
    """What the database looks like beside the ledger.

    :param public_oid: identity of schema public; 0 when there is none.
    :param tables: number of tables outside the system's schemas and the ledger's.
    :param foreign: tables that show that something else has migrated this database.
    """

    public_oid: int
    tables: int
    foreign: Sequence[str]


def pending(migrations: Sequence[Migration], ledger: Sequence[LedgerRow], facts: Facts) -> List[Migration]:
    """Return the migrations that are still to be applied, in order.

    :param migrations: all of them, in order.
    :param ledger: its rows, in order.
    :raises PhaseError: ledger, files and database do not fit together, so that applying anything would be a guess.
    """
    reset = "reset the database (stack_fresh: true)"
    dirty = [row for row in ledger if row.dirty]
    if dirty:
        raise PhaseError(
            "Migration %s was begun at %s and never finished; as it does not run in one transaction, part of it is in "
            "the database: %s." % (dirty[0].name, dirty[0].applied_at, reset),
            cause="migration-dirty",
        )
    if not ledger:
        if facts.foreign:
            raise PhaseError(
                "The database holds %s but no ledger of this collection: something else has migrated it, and applying "
                "the files again would damage it: %s." % (" and ".join(facts.foreign), reset),
                cause="migration-foreign",
            )
        return list(migrations)
    if ledger[-1].public_oid != facts.public_oid:
        raise PhaseError(
            "Schema public was dropped%s after the ledger's newest migration, %s of %s: %s."
            % (
                " and created again" if facts.public_oid else "",
                ledger[-1].name,
                ledger[-1].applied_at,
                reset,
            ),
            cause="schema-dropped",
        )
    if ledger[-1].tables and not facts.tables:
        raise PhaseError(
            "The ledger says that %s is applied and left %d tables, but there is not one in the database: %s."
            % (ledger[-1].name, ledger[-1].tables, reset),
            cause="schema-dropped",
        )
    files = {migration.version: migration for migration in migrations}
    applied = {row.version: row for row in ledger}
    problems = [
        "%s is applied, but changed since: its checksum was %s and is %s"
        % (files[row.version].name, row.checksum, files[row.version].checksum)
        for row in ledger
        if row.version in files and files[row.version].checksum != row.checksum
    ]
    problems += [
        "%s is applied, but no longer in migrations_dir" % row.name for row in ledger if row.version not in files
    ]
    if len(problems) == len(ledger) >= SEVERAL:
        raise PhaseError(
            "This database was migrated from other files: none of the %d in its ledger (%s and so on) is in "
            "migrations_dir as it was then; set migrations_dir to their directory, or %s."
            % (len(ledger), ledger[0].name, reset),
            cause="migration-changed",
        )
    rest = [migration for migration in migrations if migration.version not in applied]
    problems += [
        "%s is new, but its version is below the newest applied one, %s" % (migration.name, ledger[-1].name)
        for migration in rest
        if migration.version < ledger[-1].version
    ]
    if problems:
        raise PhaseError(
            "Migration %s: put the files back as they were, or %s.%s"
            % (problems[0], reset, "".join("\nalso: " + problem for problem in problems[1:])),
            cause="migration-changed",
        )
    return rest


# ------------------------------------------------------------------------------------------------------------ execution


@dataclass
class _Session:
    """The one connection of a run, and what is done with it.

    :param notices: what the server said of its own accord; the statement in progress empties it.
    """

    connection: psycopg.Connection[Any]
    ledger_schema: str
    notices: List[Tuple[str, str]] = field(default_factory=list)

    def ledger_sql(self, template: str) -> Any:
        """Return ``template`` with ``{}`` standing for the ledger's table."""
        from psycopg import sql

        return sql.SQL(template).format(sql.Identifier(self.ledger_schema, "migrations"))

    def take_lock(self, seconds: float) -> None:
        """Get the lock of all runs on this database; it ends with the connection.

        Asked for again and again instead of waited for in the server: a waiting statement holds a snapshot, and the
        holder's CREATE INDEX CONCURRENTLY would wait for that in turn.

        :raises PhaseError: another session kept it for ``seconds``.
        """
        deadline = time.monotonic() + seconds
        while self.connection.execute("SELECT pg_try_advisory_lock(%s)", (LOCK_KEY,)).fetchone() != (True,):
            if time.monotonic() >= deadline:
                raise PhaseError(
                    "Another run is migrating this database, and %g s were not enough for it to finish: %s. "
                    "Wait for it or end it, or raise lock_timeout." % (seconds, self._lock_holder()),
                    cause="migration-locked",
                )
            time.sleep(LOCK_GAP)

    def _lock_holder(self) -> str:
        row = self.connection.execute(
            "SELECT pid, application_name, backend_start FROM pg_locks JOIN pg_stat_activity USING (pid)"
            " WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND classid = %s AND objid = %s"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            (LOCK_KEY >> 32, LOCK_KEY & 0xFFFFFFFF),
        ).fetchone()
        if row is None:
            return "its holder is gone just now"
        return "server process %d, application %r, connected since %s" % (
            row[0],
            row[1],
            row[2].isoformat(" ", "seconds"),
        )

    def facts(self) -> Facts:
        """Look at the database beside the ledger."""
        rows = self.connection.execute(
            "SELECT coalesce(to_regnamespace('public')::oid::bigint, 0),"
            " (SELECT count(*) FROM pg_class JOIN pg_namespace spaces ON spaces.oid = relnamespace"
            " WHERE relkind IN ('r', 'p') AND relpersistence <> 't' AND nspname <> 'information_schema'"
            " AND nspname NOT LIKE 'pg\\_%%' AND nspname <> %s),"
            " array_remove(ARRAY[to_regclass('public.audit_events')::text,"
            " to_regclass('public.goose_db_version')::text], NULL)",
            (self.ledger_schema,),
        ).fetchall()
        return Facts(*rows[0])

    def create_ledger(self) -> None:
        """Create the ledger where there is none yet."""
        from psycopg import sql

        table = sql.Identifier(self.ledger_schema, "migrations").as_string(self.connection)
        if self.connection.execute("SELECT to_regclass(%s)", (table,)).fetchone() != (None,):
            return
        with self.connection.transaction():
            self.connection.execute(
                sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(self.ledger_schema))
            )
            self.connection.execute(
                self.ledger_sql(
                    "CREATE TABLE {} (version bigint PRIMARY KEY, name text NOT NULL, checksum text NOT NULL,"
                    " applied_at timestamptz NOT NULL DEFAULT clock_timestamp(), elapsed float8 NOT NULL DEFAULT 0,"
                    " tool text NOT NULL, dirty boolean NOT NULL DEFAULT true, public_oid oid NOT NULL DEFAULT 0,"
                    " tables integer NOT NULL DEFAULT 0)"
                )
            )

    def apply(self, migration: Migration) -> Dict[str, Any]:
        """Run one migration and write it down, in one transaction where the file allows it.

        :returns: what the result lists under ``applied``.
        :raises PhaseError: PostgreSQL refused, or the file handles transactions in a way that cannot be recorded.
        """
        import psycopg

        begun = time.monotonic()
        said: List[Dict[str, Any]] = []
        spans = [(0, len(migration.sql))] if migration.statements is None else migration.statements
        span = (0, 0)
        try:
            if migration.transactional:
                self.connection.execute("BEGIN")
            # First of all a dirty row: where there is no transaction to roll back, it is what remains of a failure.
            transaction = self._begin_row(migration)
            for span in spans:
                self.notices.clear()
                self.connection.execute(migration.sql[span[0] : span[1]].encode("utf-8"))
                line = position(migration.sql, span[0])[0] if migration.statements is not None else None
                said += [{"severity": kind, "message": text, "line": line} for kind, text in self.notices]
            span = (0, 0)
            if (
                not migration.transactional
                and self.connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE
            ):
                self.connection.rollback()
                raise PhaseError(
                    "Migration %s begins a transaction that it never ends; what it did in it was rolled back: add the "
                    "COMMIT, and reset the database (stack_fresh: true)." % migration.name,
                    cause="migration-transaction",
                )
            self.connection.execute(FRESH_SESSION)
            elapsed = time.monotonic() - begun
            if not self._finish_row(migration, elapsed, transaction if migration.transactional else None):
                self._abandon(migration)
                self._begin_row(migration)
                raise PhaseError(
                    "Migration %s ends its own transaction, so it was not applied as a whole: install pglast on the "
                    "controller, which finds such files beforehand, and reset the database (stack_fresh: true)."
                    % migration.name,
                    cause="migration-transaction",
                )
            if migration.transactional:
                self.connection.execute("COMMIT")
        except psycopg.Error as error:
            raise _failure(migration, span, error, rolled_back=self._abandon(migration)) from error
        return {
            **migration.as_dict(),
            "elapsed": round(elapsed, 3),
            "transactional": migration.transactional,
            "warnings": [note for note in said if note["severity"] == "WARNING"],
            "notices": [note for note in said if note["severity"] != "WARNING"],
        }

    def _begin_row(self, migration: Migration) -> Any:
        """Write a dirty row and return the transaction that did it."""
        row = self.connection.execute(
            self.ledger_sql(
                "INSERT INTO {} (version, name, checksum, tool) VALUES (%s, %s, %s, %s)"
                " ON CONFLICT (version) DO UPDATE SET dirty = true RETURNING pg_current_xact_id()"
            ),
            (migration.version, migration.name, migration.checksum, TOOL),
        ).fetchone()
        return row[0] if row else None

    def _finish_row(self, migration: Migration, elapsed: float, transaction: Any) -> bool:
        """Make the row clean; return False when ``transaction``, if given, is no longer the current one."""
        facts = self.facts()
        return (
            self.connection.execute(
                self.ledger_sql(
                    "UPDATE {} SET dirty = false, applied_at = clock_timestamp(), elapsed = %s, public_oid = %s,"
                    " tables = %s WHERE version = %s AND pg_current_xact_id() = coalesce(%s, pg_current_xact_id())"
                ),
                (round(elapsed, 3), facts.public_oid, facts.tables, migration.version, transaction),
            ).rowcount
            == 1
        )

    def _abandon(self, migration: Migration) -> bool:
        """Leave the transaction, if there is one; return whether nothing of the migration stayed.

        The ledger knows: a row that is still there was committed, and with it what went before.
        """
        import psycopg

        try:
            self.connection.rollback()
            row = self.connection.execute(
                self.ledger_sql("SELECT count(*) FROM {} WHERE version = %s"), (migration.version,)
            ).fetchone()
        except psycopg.Error:
            self.connection.close()
            return migration.transactional
        return row == (0,)


def _failure(migration: Migration, span: Tuple[int, int], error: psycopg.Error, rolled_back: bool) -> PhaseError:
    """Turn PostgreSQL's error into ours: where in the file, what it said, what is left, what to do.

    :param span: the text that was running; (0, 0) when the file itself was through.
    :param rolled_back: nothing of the migration stayed.
    """
    diag = error.diag
    offset: Optional[int] = None
    if diag.statement_position:
        offset = span[0] + int(diag.statement_position) - 1
    elif migration.statements is not None and span != (0, 0):
        offset = span[0]
    line, column = (None, None) if offset is None else position(migration.sql, offset)
    place = "" if line is None else " at line %d, column %d" % (line, column or 1)
    said = diag.message_primary or str(error).strip()
    code = " (SQLSTATE %s)" % error.sqlstate if error.sqlstate else ""
    left = (
        "It was rolled back, those before it stay applied: correct it in migrations_dir and run again"
        if rolled_back
        else "It does not run in one transaction, so what it did before stays, and the ledger calls it dirty: "
        "correct it in migrations_dir and reset the database (stack_fresh: true)"
    )
    unsplit = migration.statements is None
    if unsplit and error.sqlstate in ("25001", "2D000", "0A000"):
        left += "; a file that cannot run in a transaction needs pglast on the controller"
    elif error.sqlstate in ("25001", "2D000"):
        left += "; a file that cannot run in a transaction says so with `-- +goose NO TRANSACTION`"
    elif error.sqlstate == "42601" and '"\\"' in said:
        left += "; commands of psql (backslash) are not SQL"
    statement = None
    if offset is not None:
        whole = migration.sql[span[0] : span[1]] if not unsplit else migration.sql[offset:]
        statement = (whole.strip().splitlines() or [""])[0][:200]
    evidence = {
        "statement": statement,
        "detail": diag.message_detail,
        "hint": diag.message_hint,
        "context": diag.context,
    }
    message = "Migration %s failed%s: %s%s. %s." % (migration.name, place, said, code, left)
    message += "".join("\n%s: %s" % (name, text) for name, text in evidence.items() if text)
    return PhaseError(
        message,
        # Without an answer it was not the file.
        cause="migration-sql" if error.sqlstate else "postgres-away",
        changed=not rolled_back,
        failure={
            "name": migration.name,
            "version": migration.version,
            "line": line,
            "column": column,
            "sqlstate": error.sqlstate,
            "message": said,
            **evidence,
        },
    )


def run(options: Options, context: Context) -> Result:
    """Apply what is pending, then see to the partitions.

    In check mode the database is only read, and may be absent: then everything is pending.

    :raises PhaseError: with ``applied`` in its result for what was applied before the failure.
    """
    begun = time.monotonic()
    today = _partitions.parse_today(options["today"])
    files = options["files"] if options["files"] is not None else read_directory(options["directory"])
    migrations = parse(files)
    result: Result = {
        "changed": False,
        "database": "present",
        "applied": [],
        "pending": [],
        "already": 0,
        "partitions": {},
        "ledger": [],
    }
    connection = _schema.open_database(options, PHASE.name, context.check)
    if connection is None:
        return {
            **result,
            "changed": True,
            "database": "absent",
            "pending": [m.as_dict() for m in map(split, migrations)],
        }
    with connection:
        _migrate(_Session(connection, options["ledger_schema"]), migrations, options, context, result)
        _ensure_partitions(connection, options["ensure_partitions"], today, context.check, result)
        ledger = _schema.read_ledger(connection, options["ledger_schema"])
    result["ledger"] = [row.as_dict() for row in ledger]
    if context.diff:
        before = [row.name for row in ledger][: result["already"]]
        after = before + [entry["name"] for entry in result["applied"] + result["pending"]]
        result["diff"] = {
            "before_header": "ledger",
            "after_header": "ledger",
            "before": "".join(name + "\n" for name in before),
            "after": "".join(name + "\n" for name in after),
        }
    return {**result, "elapsed": round(time.monotonic() - begun, 3)}


def _migrate(
    session: _Session, migrations: Sequence[Migration], options: Options, context: Context, result: Result
) -> None:
    """Apply what is pending, or in check mode list it, into ``result``."""
    connection = session.connection
    # Statements are never repeated, so preparing them on the server could only surprise.
    connection.prepare_threshold = None
    if not context.check:
        session.take_lock(options["lock_timeout"])
    ledger = _schema.read_ledger(connection, session.ledger_schema)
    # All are cut before the first one runs: what the parser refuses is refused while nothing has happened.
    todo = [split(migration) for migration in pending(migrations, ledger, session.facts())]
    result["already"] = len(ledger)
    result["changed"] = bool(todo)
    if context.check:
        result["pending"] = [migration.as_dict() for migration in todo]
        return
    if not todo:
        return
    session.create_ledger()
    connection.execute(FRESH_SESSION)
    connection.add_notice_handler(
        lambda diag: session.notices.append((diag.severity_nonlocalized or "NOTICE", diag.message_primary or ""))
    )
    for index, migration in enumerate(todo):
        try:
            done = session.apply(migration)
        except PhaseError as error:
            error.result.update(
                changed=bool(index) or error.result.get("changed", True),
                applied=result["applied"],
                pending=[left.as_dict() for left in todo[index:]],
                already=result["already"],
            )
            raise
        result["applied"].append(done)
        context.progress("%s  %.0f ms" % (migration.name, done["elapsed"] * 1000))


def _ensure_partitions(
    connection: psycopg.Connection[Any], tables: Sequence[str], today: date, check: bool, result: Result
) -> None:
    """Create the monthly partitions that ``tables`` lack, and say for each table what was found and done.

    A table that is absent or not partitioned by date is no failure: which ones there are differs between generations
    of the schema. Whether one *must* be there is schema_info's question.
    """
    import psycopg

    if not tables:
        return
    found = _partitions.read(connection)
    for name in tables:
        table = found.get(name)
        if table is None or not table.by_date:
            present = connection.execute("SELECT to_regclass(format('public.%%I', %s::text))", (name,)).fetchone()
            state = "absent" if present == (None,) else "not_partitioned_by_date"
            result["partitions"][name] = {"state": state, "created": []}
            continue
        new = _partitions.plan(name, table.partitions, today)
        if new and not check:
            try:
                _partitions.create(connection, name, new)
            except psycopg.Error as error:
                raise PhaseError(
                    "Table %s needs partitions that PostgreSQL refuses to create: %s. Correct its partitions by hand, "
                    "or reset the database (stack_fresh: true)."
                    % (name, error.diag.message_primary or str(error).strip()),
                    cause="partition-refused",
                    **result,
                ) from error
        result["changed"] = result["changed"] or bool(new)
        result["partitions"][name] = {"state": "present", "created": [part.as_dict() for part in new]}


PHASE = Phase(name="sql_migrations", run=run, argument_spec=MIGRATIONS_SPEC, libraries=("psycopg",))
