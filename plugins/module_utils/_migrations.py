# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Apply SQL migrations once each, and remember it. PRIVATE to the collection.

One connection, one advisory lock, one transaction per file. :mod:`_sql_files` says what the files hold,
:mod:`_ledger` what is to be done with them.
"""

from __future__ import annotations

import math
import select
import time
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.kubernaut.integration.plugins.module_utils import _goose, _partitions, _schema
from ansible_collections.kubernaut.integration.plugins.module_utils._contracts import CONTRACTS
from ansible_collections.kubernaut.integration.plugins.module_utils._ledger import RESET, Facts, Plan, Policy, plan
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import (
    Context,
    Options,
    Phase,
    PhaseError,
    Result,
)
from ansible_collections.kubernaut.integration.plugins.module_utils._postgres import POSTGRES_SPEC
from ansible_collections.kubernaut.integration.plugins.module_utils._schema import GOOSE, LEDGER_SPEC
from ansible_collections.kubernaut.integration.plugins.module_utils._sql_files import (
    Migration,
    parse,
    position,
    read_directory,
    split,
)

if TYPE_CHECKING:
    import psycopg

#: Version of the collection, for the ledger; a unit test keeps it equal to galaxy.yml, which no module carries along.
TOOL = "1.0.0"

#: Key of the advisory lock, the same for every run on a database: the bytes "kubernau" as a number.
LOCK_KEY = int.from_bytes(b"kubernau", "big")
#: How pg_locks shows it.
_LOCK_HELD = """
locktype = 'advisory' AND granted AND objsubid = 1 AND classid = {} AND objid = {}
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
#: Seconds between two attempts to get it.
LOCK_GAP = 0.1

#: Tables by which a database is known that something else has migrated.
SERVICE_TABLES = sorted({table for contract in CONTRACTS.values() for table in contract.tables})

#: More seconds than PostgreSQL takes for a limit would be an error of its own.
MOST_SECONDS = 2_000_000
#: Messages of the server that are kept of one file, and characters of one text of the server's.
MOST_NOTES = 20
MOST_TEXT = 500

#: How far a migration was when it failed: its row, its statements, what comes after them up to the COMMIT.
BEFORE, WITHIN, AFTER = "before", "within", "after"
#: Statements before those of a file that is sent together with them: BEGIN, and the INSERT of its row.
ROW = 2
#: What the last statement before the COMMIT fails with when the transaction must not be committed. An error, so that
#: the COMMIT can travel in the same message: every message costs as much as a small migration does.
ENDED_ITSELF = "kubernaut.integration: the migration ended its own transaction"
LOST_LOCK = "kubernaut.integration: the migration gave away the lock"


class Finding(NamedTuple):
    """A cause by its id, and what to do before the next run."""

    id: str
    action: str


#: SQLSTATE of a failed statement -> what it means.
FINDINGS: Mapping[Optional[str], Finding] = {
    "55P03": Finding("migration-blocked", "end the session that holds it, or raise migrations_table_lock_timeout,"),
    "57014": Finding("migration-timeout", "see why it takes so long, or raise migrations_statement_timeout,"),
    "53100": Finding("disk-full", "make room where PostgreSQL's data is"),
}
PARTITIONS = Finding("partition-refused", "correct its partitions by hand")
UNEXPECTED = Finding("migration-sql", "see what it says")
CORRECT = Finding("migration-sql", "correct it in migrations_dir")
AWAY = Finding("postgres-away", "see the log of PostgreSQL's container")
SYNTAX_ERROR = "42601"
#: SQLSTATEs of what PostgreSQL refuses in a transaction.
NEEDS_NO_TRANSACTION = ("25001", "2D000", "55P04")

#: What a file may have left behind in the session and the next one must not see: upstream ran one psql per file.
_FRESH_SESSION = (
    "RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL; CLOSE ALL; UNLISTEN *; DISCARD TEMP; DISCARD SEQUENCES;"
    " DEALLOCATE ALL; SET client_encoding TO 'UTF8'; "
    # The caller's PGTZ must not move the bounds of partitions.
    "SET TimeZone TO 'UTC'; SET statement_timeout TO {statement}; SET lock_timeout TO {lock}"
)
#: The server notices within a second that the client was killed, and what it did holds no lock any longer.
_NOTICE_DEATH = "; SET client_connection_check_interval TO 1000"
_NOTICES_DEATH_FROM = 140000

#: Tables that the system did not come with (their OIDs are smaller, see FirstNormalObjectId in transam.h), outside the
#: ledger's schema. No join with pg_namespace: it is asked after every file.
_COUNT_TABLES = """
SELECT count(*) FROM pg_class WHERE oid >= 16384 AND relkind IN ('r', 'p') AND relpersistence <> 't'
   AND relnamespace IS DISTINCT FROM to_regnamespace({})
"""

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
    "table_lock_timeout": {"type": "float", "default": 30.0},
    "statement_timeout": {"type": "float", "default": 0.0},
    "allow_removed": {"type": "bool", "default": False},
    "allow_inserted": {"type": "bool", "default": False},
    "goose_table": {"type": "bool", "default": False},
    "ensure_partitions": {"type": "list", "elements": "str", "default": []},
    "today": {"type": "str", "default": ""},
}


@dataclass
class Session:
    """The one connection of a run, and what is done with it.

    :param fresh: SQL after which the session is as a new one.
    :param goose_table: goose's own table is to know what is applied here.
    :param adopted: goose, and not this collection, has applied some of what is there.
    :param ended: how many statements of the migration in progress are through; negative while what was sent before
        them is not.
    :param before: how many characters were sent in one message before the migration's own.
    :param line: where the statement in progress begins; None when all of the file is.
    :param notes: what the server said of its own accord about the migration in progress.
    :param unsaid: how many more messages there were.
    """

    connection: psycopg.Connection[Any]
    ledger_schema: str
    fresh: str
    goose_table: bool
    adopted: bool = False
    ended: int = 0
    before: int = 0
    line: Optional[int] = None
    notes: List[Dict[str, Any]] = field(default_factory=list)
    unsaid: int = 0

    @cached_property
    def _names(self) -> Mapping[str, Any]:
        from psycopg import sql

        return {
            "ledger": sql.Identifier(self.ledger_schema, "migrations"),
            "count": sql.SQL(_COUNT_TABLES).format(
                sql.Literal(sql.Identifier(self.ledger_schema).as_string(self.connection))
            ),
            "held": sql.SQL(_LOCK_HELD).format(sql.Literal(LOCK_KEY >> 32), sql.Literal(LOCK_KEY & 0xFFFFFFFF)),
        }

    @cached_property
    def _written(self) -> Mapping[str, str]:
        return {name: value.as_string(self.connection) for name, value in self._names.items()}

    def sql(self, template: str) -> Any:
        """Return SQL in which names in braces are replaced, for psycopg's own execute.

        :param template: ``{ledger}`` is the ledger's table, ``{count}`` asks how many tables there are, ``{held}`` says
            of a row of pg_locks that it is this run's lock.
        """
        from psycopg import sql

        return sql.SQL(template).format(**self._names)

    def text(self, template: str, **values: object) -> str:
        """Return SQL for :meth:`send`, in which the names of :meth:`sql` are replaced and further ones by values.

        psycopg's own composing takes as long as a small file does.
        """
        from psycopg import pq

        escape = pq.Escaping(self.connection.pgconn).escape_literal
        literals = {
            name: escape(value.encode()).decode() if isinstance(value, str) else value for name, value in values.items()
        }
        return template.format(**self._written, **literals)

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
                    "Wait for it or end it, or raise stack_patience (which multiplies lock_timeout)."
                    % (seconds, self._lock_holder()),
                    cause="migration-locked",
                )
            time.sleep(LOCK_GAP)

    def _lock_holder(self) -> str:
        row = self.connection.execute(
            self.sql(
                "SELECT pid, application_name, backend_start FROM pg_locks JOIN pg_stat_activity USING (pid)"
                " WHERE {held}"
            )
        ).fetchone()
        if row is None:
            return "its holder is gone just now"
        return "server process %d, application %r, connected since %s" % (
            row[0],
            row[1],
            _second(row[2]),
        )

    def facts(self) -> Facts:
        """Look at the database beside the ledger."""
        row = self.connection.execute(
            self.sql(
                "SELECT coalesce(to_regnamespace('public')::oid::bigint, 0), ({count}),"
                " ARRAY(SELECT name FROM unnest(%s::text[]) name"
                " WHERE to_regclass(format('public.%%I', name)) IS NOT NULL)"
            ),
            ([*SERVICE_TABLES, _goose.NAME],),
        ).fetchone()
        public_oid, tables, foreign = row or (0, 0, [])
        goose = _goose.read(self.connection)
        return Facts(public_oid, tables, [name for name in foreign if goose is None or name != _goose.NAME], goose)

    def create_ledger(self) -> None:
        """Create the ledger where there is none yet."""
        from psycopg import sql

        table = sql.Identifier(self.ledger_schema, "migrations").as_string(self.connection)
        if self.connection.execute("SELECT to_regclass(%s)", (table,)).fetchone() != (None,):
            self.connection.execute(
                self.sql("ALTER TABLE {ledger} ADD COLUMN IF NOT EXISTS goose boolean NOT NULL DEFAULT false")
            )
            return
        with self.connection.transaction():
            self.connection.execute(
                sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(self.ledger_schema))
            )
            self.connection.execute(
                self.sql(
                    "CREATE TABLE {ledger} (version bigint PRIMARY KEY, name text NOT NULL, checksum text NOT NULL,"
                    " applied_at timestamptz NOT NULL DEFAULT clock_timestamp(), elapsed float8 NOT NULL DEFAULT 0,"
                    " tool text NOT NULL, dirty boolean NOT NULL DEFAULT true, public_oid oid NOT NULL DEFAULT 0,"
                    " tables integer NOT NULL DEFAULT 0, goose boolean NOT NULL DEFAULT false)"
                )
            )

    def agree_with_goose(self, todo: Plan, facts: Facts) -> None:
        """Write into the ledger what goose has applied, and into goose's table what it is to know."""
        if self.goose_table and facts.goose is None:
            _goose.create(self.connection)
        with self.connection.transaction():
            for migration in todo.adopt:
                self.connection.execute(
                    self.sql(
                        "INSERT INTO {ledger} (version, name, checksum, applied_at, tool, dirty, public_oid, tables,"
                        " goose) VALUES (%s, %s, %s, %s, %s, false, %s, %s, true)"
                    ),
                    (
                        migration.version,
                        migration.name,
                        migration.checksum,
                        (facts.goose or {})[migration.version],
                        GOOSE,
                        facts.public_oid,
                        facts.tables,
                    ),
                )
            if todo.tell_goose:
                self.connection.execute(_goose.record(todo.tell_goose))
            self.connection.execute(
                self.sql("UPDATE {ledger} SET goose = true WHERE version = ANY (%s)"),
                ([*todo.goose_has, *todo.tell_goose],),
            )

    def note(self, diag: psycopg.errors.Diagnostic) -> None:
        """Keep what the server says of its own accord."""
        if len(self.notes) == MOST_NOTES:
            self.unsaid += 1
            return
        self.notes.append(
            {
                "severity": diag.severity_nonlocalized or "NOTICE",
                "message": _short(diag.message_primary or ""),
                "line": self.line,
            }
        )

    def send(self, text: str) -> None:
        """Let the server execute SQL, all of it in one message and byte for byte, and count its statements.

        psycopg's own execute does not tell which of several statements failed, and costs more than a small one does.

        :raises psycopg.Error: a statement failed; those behind it did not run.
        """
        import psycopg

        copies = (psycopg.pq.ExecStatus.COPY_IN, psycopg.pq.ExecStatus.COPY_OUT, psycopg.pq.ExecStatus.COPY_BOTH)
        server = self.connection.pgconn
        failed: Optional[psycopg.Error] = None
        try:
            server.send_query(text.encode("utf-8"))
            while server.flush():
                select.select([server.socket], [server.socket], [])
                server.consume_input()
            while True:
                while server.is_busy():
                    select.select([server.socket], [], [])
                    server.consume_input()
                answer = server.get_result()
                if answer is None:
                    break
                if answer.status in copies:
                    self.connection.close()
                    raise psycopg.ProgrammingError("COPY from or to psql itself does not work without psql")
                if answer.status == psycopg.pq.ExecStatus.FATAL_ERROR:
                    failed = failed or psycopg.errors.error_from_result(answer)
                elif failed is None:
                    self.ended += 1
        except KeyboardInterrupt:
            self.connection.cancel()
            raise
        except psycopg.OperationalError as error:
            # A server that ends the connection says why first.
            raise failed or error from None
        if failed:
            raise failed

    def apply(self, migration: Migration) -> Dict[str, Any]:
        """Run one migration and write it down, in one transaction where the file allows it.

        :returns: what the result lists under ``applied``.
        :raises PhaseError: PostgreSQL refused, or the file handles transactions in a way that cannot be recorded.
        """
        import psycopg

        begun = time.monotonic()
        self.ended, self.before, self.line = 0, 0, None
        self.notes, self.unsaid = [], 0
        stage = BEFORE
        try:
            # First of all a dirty row: where there is no transaction to roll back, it is what remains of a failure.
            row = "BEGIN; " + self._dirty_row(migration)
            clean = self._clean_row(migration)
            if migration.transactional:
                # Where a parser has seen that the file is whole, nothing of what follows it can become part of it.
                last = "" if migration.statements is None else "\n; " + clean
                stage, self.ended, self.before = WITHIN, -ROW, len(row)
                self.send(row + migration.sql + last)
                stage = AFTER
                if not last:
                    self.send(clean)
            else:
                self.send(row + "COMMIT")
                stage, self.ended = WITHIN, 0
                self._run_without_transaction(migration)
                stage = AFTER
                if self.connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                    self.connection.rollback()
                    raise PhaseError(
                        "Migration %s begins a transaction that it never ends; what it did in it was rolled back: add "
                        "the COMMIT, and %s." % (migration.name, RESET),
                        cause="migration-transaction",
                    )
                self.send(clean)
        except psycopg.Error as error:
            raise self._failure(migration, stage, error) from error
        return {
            **migration.as_dict(),
            "elapsed": round(time.monotonic() - begun, 3),
            "transactional": migration.transactional,
            "warnings": [note for note in self.notes if note["severity"] == "WARNING"],
            "notices": [note for note in self.notes if note["severity"] != "WARNING"],
            "omitted": self.unsaid,
        }

    def _run_without_transaction(self, migration: Migration) -> None:
        """Run the statements of a migration one by one; all of it at once where no parser has found them."""
        if migration.statements is None:
            self.send(migration.sql)
            return
        for begin, end in migration.statements:
            self.line = position(migration.sql, begin)[0]
            self.send(migration.sql[begin:end])
        self.line = None

    def _dirty_row(self, migration: Migration) -> str:
        """Return SQL that writes a migration down as begun."""
        return self.text(
            "INSERT INTO {ledger} (version, name, checksum, tool) VALUES ({version}, {name}, {checksum}, {tool}); ",
            version=migration.version,
            name=migration.name,
            checksum=migration.checksum,
            tool=TOOL,
        )

    def _clean_row(self, migration: Migration) -> str:
        """Return SQL that leaves a fresh session, writes a migration down as ended, and commits.

        It fails before the COMMIT, with one of the texts above, where what began with the dirty row is not what would
        be committed, or the lock is no longer this session's.
        """
        finish = self.text(
            "; WITH done AS (UPDATE {ledger} SET dirty = false, applied_at = clock_timestamp(), goose = {goose},"
            " elapsed = round(extract(epoch FROM clock_timestamp() - applied_at)::numeric, 3), tables = ({count}),"
            " public_oid = coalesce(to_regnamespace('public')::oid, 0)"
            " WHERE version = {version} AND ({free} OR xmin = pg_current_xact_id()::xid)"
            " RETURNING EXISTS (SELECT FROM pg_locks WHERE pid = pg_backend_pid() AND {held}) AS locked)"
            " SELECT coalesce((SELECT CASE WHEN locked THEN 'true' ELSE {lost} END FROM done), {ended})::boolean; ",
            goose=self.goose_table,
            version=migration.version,
            free=not migration.transactional,
            lost=LOST_LOCK,
            ended=ENDED_ITSELF,
        )
        goose = _goose.record([migration.version]) + "; " if self.goose_table else ""
        return ("" if migration.transactional else "BEGIN; ") + self.fresh + finish + goose + "COMMIT"

    def _abandon(self, migration: Migration) -> bool:
        """Leave the transaction, if there is one; return whether nothing of the migration stayed.

        The ledger knows: a row that is still there was committed, and with it what went before.
        """
        import psycopg

        try:
            self.connection.rollback()
            row = self.connection.execute(
                self.sql("SELECT count(*) FROM {ledger} WHERE version = %s"), (migration.version,)
            ).fetchone()
        except psycopg.Error:
            self.connection.close()
            return migration.transactional
        return row == (0,)

    def _failure(self, migration: Migration, stage: str, error: psycopg.Error) -> PhaseError:
        """Turn PostgreSQL's error into ours: where in the file, what it said, what is left, what to do.

        :param stage: how far the migration was.
        """
        diag = error.diag
        away = _is_away(error)
        rolled_back = self._abandon(migration)
        for text, broken in ((ENDED_ITSELF, self._ended_itself), (LOST_LOCK, self._lost_lock)):
            if text in (diag.message_primary or ""):
                return broken(migration, rolled_back)
        unread = stage == WITHIN and self.ended <= 0 and _is_unread(error)
        if unread and not rolled_back:
            self.connection.execute(self.sql("DELETE FROM {ledger} WHERE version = %s"), (migration.version,))
            rolled_back = True
        span, offset = self._place(migration, diag.statement_position, unread) if stage == WITHIN else (None, None)
        line, column = (None, None) if offset is None else position(migration.sql, offset)
        statement = None
        if offset is not None:
            shown = migration.sql[span[0] : span[1]] if span else migration.sql[offset:]
            statement = (shown.strip().splitlines() or [""])[0][:200]
        said = _short(diag.message_primary or str(error).strip())
        evidence = {
            "statement": statement,
            "detail": _short(diag.message_detail),
            "hint": _short(diag.message_hint),
            "context": _short(diag.context),
        }
        found = AWAY if away else FINDINGS.get(error.sqlstate, CORRECT)
        message = "Migration %s failed%s: %s%s. %s%s." % (
            migration.name,
            "" if line is None else " at line %d, column %d" % (line, column or 1),
            said,
            " (SQLSTATE %s)" % error.sqlstate if error.sqlstate else "",
            _what_is_left(rolled_back, away) % found.action,
            _advice(migration, error.sqlstate, said),
        )
        message += "".join("\n%s: %s" % (name, text) for name, text in evidence.items() if text)
        if self.adopted and found is CORRECT:
            message += (
                "\n%s knows the versions that goose applied, not their files: if it applied others than those of "
                "migrations_dir, set that to their directory, or %s" % (_goose.NAME, RESET)
            )
        if found.id == "migration-blocked":
            message += "".join("\nin a transaction: %s" % session for session in self._others())
        return PhaseError(
            message,
            cause=found.id,
            changed=not rolled_back,
            failure={
                "name": migration.name,
                "version": migration.version,
                "line": line,
                "column": column,
                "sqlstate": error.sqlstate,
                "message": said,
                "notices": self.notes,
                **evidence,
            },
        )

    def _place(
        self, migration: Migration, said: Optional[str], unread: bool
    ) -> Tuple[Optional[Tuple[int, int]], Optional[int]]:
        """Return which statement of a migration failed, where a parser has found them, and where in the file.

        :param said: the server's position: it counts characters, from 1, of what was sent in one message.
        :param unread: the server has not even begun to run what was sent.
        """
        spans = migration.statements or ()
        offset = int(said) - 1 - self.before if said else None
        if unread and migration.transactional and offset is not None:
            holding = [span for span in spans if span[0] <= offset < span[1]]
            return (holding[0] if holding else None), (offset if offset <= len(migration.sql) else None)
        if self.ended < 0 or (spans and self.ended >= len(spans)):
            return None, None  # it is not the file's own statement
        span = spans[self.ended] if spans else None
        if span and not migration.transactional:
            return span, span[0] + (offset or 0)
        return span, (span[0] if span else None) if offset is None else offset

    def _ended_itself(self, migration: Migration, rolled_back: bool) -> PhaseError:
        """Refuse a migration whose row is not its transaction's, and see to it that the ledger calls it dirty."""
        if migration.statements is not None:
            return PhaseError(
                "Migration %s removes its own row from the ledger: leave schema %s alone, and %s."
                % (migration.name, self.ledger_schema, "run again" if migration.transactional else RESET),
                cause=CORRECT.id,
                changed=not migration.transactional,
            )
        if rolled_back:
            self.send(self._dirty_row(migration))
        return PhaseError(
            "Migration %s ends its own transaction, so it was not applied as a whole: install pglast on the "
            "controller, which finds such files beforehand, and %s." % (migration.name, RESET),
            cause="migration-transaction",
        )

    def _lost_lock(self, migration: Migration, rolled_back: bool) -> PhaseError:
        """Refuse a migration after which another run could begin."""
        return PhaseError(
            "Migration %s gives away the lock that keeps other runs out (pg_advisory_unlock_all); what it did "
            "in a transaction was rolled back: %s and %s."
            % (migration.name, CORRECT.action, "run again" if rolled_back else RESET),
            cause=CORRECT.id,
            changed=not rolled_back,
        )

    def _others(self) -> List[str]:
        """Return who else is in a transaction in this database, the oldest first: one of them holds the lock."""
        rows = self.connection.execute(
            "SELECT pid, application_name, xact_start FROM pg_stat_activity WHERE datname = current_database()"
            " AND xact_start IS NOT NULL AND pid <> pg_backend_pid() ORDER BY xact_start LIMIT 5"
        )
        return ["server process %d, application %r, since %s" % (*row[:2], _second(row[2])) for row in rows]


def _is_away(error: psycopg.Error) -> bool:
    """Tell whether the server has ended the connection, which is no file's fault."""
    import psycopg

    return isinstance(error, psycopg.OperationalError) and (not error.sqlstate or error.sqlstate[:4] == "57P0")


def _is_unread(error: psycopg.Error) -> bool:
    """Tell whether the server's parser refused what was sent, so that nothing of it has run.

    A procedure that has committed something raises the same error from within, but there it has a context.
    """
    diag = error.diag
    return bool(
        error.sqlstate == SYNTAX_ERROR and diag.statement_position and not diag.context and not diag.internal_query
    )


def _second(moment: datetime) -> str:
    return moment.isoformat(" ", "seconds")


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _short(text: Optional[str]) -> Any:
    """Return a text of the server's, not too much of it."""
    return text if text is None or len(text) <= MOST_TEXT else text[:MOST_TEXT] + " ..."


def _what_is_left(rolled_back: bool, away: bool) -> str:
    """Say what a failed migration left in the database, with room for what to do before the next run."""
    if away:
        return "Whether it is applied, the ledger tells: %s and run again"
    if rolled_back:
        return "It was rolled back, those before it stay applied: %s and run again"
    return (
        "It does not run in one transaction, so what it did before stays, and the ledger calls it dirty: %s and "
        + RESET
    )


def _advice(migration: Migration, sqlstate: Optional[str], said: str) -> str:
    """Return what may be worth knowing beside the remedy, as the end of a sentence."""
    if sqlstate in NEEDS_NO_TRANSACTION and migration.statements is None:
        return "; a file that cannot run in a transaction needs pglast on the controller"
    if sqlstate in NEEDS_NO_TRANSACTION:
        return "; a file that cannot run in a transaction says so with `-- +goose NO TRANSACTION`"
    if sqlstate == SYNTAX_ERROR and '"\\"' in said:
        return "; commands of psql (backslash) are not SQL"
    if sqlstate == "42704" and "role " in said:
        return "; files that name a role need it: set postgres_user to it, or create it"
    if sqlstate == "42P17" and "overlap" in said:
        return "; where migrations_ensure_partitions made the partition that is in its way, drop that, or " + RESET
    return ""


def run(options: Options, context: Context) -> Result:
    """Apply what is pending, then see to the partitions.

    In check mode the database is only read, and may be absent: then everything is pending.

    :raises PhaseError: with ``applied`` in its result for what was applied before the failure.
    """
    import psycopg

    begun = time.monotonic()
    _demand_options(options)
    _partitions.parse_today(options["today"])
    files = options["files"] if options["files"] is not None else read_directory(options["directory"])
    migrations = parse(files)
    result: Result = {
        "changed": False,
        "database": "present",
        "applied": [],
        "adopted": [],
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
        try:
            _migrate(connection, migrations, options, context, result)
            today = _partitions.current(connection, options["today"])
            _ensure_partitions(connection, options["ensure_partitions"], today, context.check, result)
            ledger = _schema.read_ledger(connection, options["ledger_schema"])
        except psycopg.Error as error:
            raise _refusal_of_server(error, options, result) from error
    result["ledger"] = [row.as_dict() for row in ledger]
    if context.diff:
        new = [entry["name"] for entry in result["adopted"] + result["applied"]]
        before = [row.name for row in ledger if row.name not in new]
        after = [row.name for row in ledger] + (
            [entry["name"] for entry in result["adopted"] + result["pending"]] if context.check else []
        )
        result["diff"] = {
            "before_header": "ledger",
            "after_header": "ledger",
            "before": "".join(name + "\n" for name in before),
            "after": "".join(name + "\n" for name in after),
        }
    return {**result, "elapsed": round(time.monotonic() - begun, 3)}


def _refusal_of_server(error: psycopg.Error, options: Options, result: Result) -> PhaseError:
    """Turn what PostgreSQL says outside of any migration into our failure."""
    said = _short(error.diag.message_primary or str(error).strip())
    if error.sqlstate == "42501":
        return PhaseError(
            "User %s may not keep the ledger in database %s: let it create schemas there (GRANT CREATE ON DATABASE), "
            "or give it what somebody else made in schema %s. PostgreSQL says: %s."
            % (options["postgres_user"], options["postgres_database"], options["ledger_schema"], said),
            cause="migration-permission",
            **result,
        )
    found = AWAY if _is_away(error) else FINDINGS.get(error.sqlstate, UNEXPECTED)
    return PhaseError(
        "PostgreSQL ends what every run does: %s%s. %s and run again."
        % (said, " (SQLSTATE %s)" % error.sqlstate if error.sqlstate else "", _sentence(found.action)),
        cause=found.id,
        **result,
    )


def _migrate(
    connection: psycopg.Connection[Any],
    migrations: Sequence[Migration],
    options: Options,
    context: Context,
    result: Result,
) -> None:
    """Apply what is pending, or in check mode list it, into ``result``."""
    # Statements are never repeated, so preparing them on the server could only surprise.
    connection.prepare_threshold = None
    session = Session(connection, options["ledger_schema"], _fresh(connection, options), options["goose_table"])
    if not context.check:
        session.take_lock(options["lock_timeout"])
    ledger = _schema.read_ledger(connection, session.ledger_schema)
    facts = session.facts()
    policy = Policy(options["allow_removed"], options["allow_inserted"], options["goose_table"])
    todo = plan(migrations, ledger, facts, policy)
    # All are cut before the first one runs: what the parser refuses is refused while nothing has happened.
    todo = replace(todo, apply=[split(migration) for migration in todo.apply])
    result["already"] = len(ledger)
    result["changed"] = todo.changes
    result["adopted"] = [migration.as_dict() for migration in todo.adopt]
    if todo.warnings:
        result["warnings"] = list(todo.warnings)
    if context.check:
        result["pending"] = [migration.as_dict() for migration in todo.apply]
        return
    # Whatever follows, partitions too, is done in a session without the caller's settings.
    connection.execute(session.fresh)
    if not todo.changes:
        return
    session.adopted = bool(todo.adopt) or any(row.tool == GOOSE for row in ledger)
    session.create_ledger()
    session.agree_with_goose(todo, facts)
    connection.add_notice_handler(session.note)
    for index, migration in enumerate(todo.apply):
        try:
            done = session.apply(migration)
        except PhaseError as error:
            error.result.update(
                changed=bool(index or todo.adopt) or error.result.get("changed", True),
                applied=result["applied"],
                adopted=result["adopted"],
                pending=[left.as_dict() for left in todo.apply[index:]],
                already=result["already"],
            )
            raise
        result["applied"].append(done)
        context.progress("%s  %.0f ms" % (migration.name, done["elapsed"] * 1000))
    connection.remove_notice_handler(session.note)


def tell_goose(connection: psycopg.Connection[Any], options: Options, versions: Sequence[int]) -> None:
    """Write into goose's table, which is made where there is none, that versions of the ledger were applied.

    :param versions: of the ledger, and not in goose's table.
    :raises psycopg.Error: the server refused.
    """
    session = Session(connection, options["ledger_schema"], _fresh(connection, options), goose_table=True)
    connection.execute(session.fresh)
    session.agree_with_goose(Plan([], [], versions, [], []), session.facts())


def _fresh(connection: psycopg.Connection[Any], options: Options) -> str:
    """Return the SQL after which a session is as a new one, with this run's limits."""
    limits = {"statement": options["statement_timeout"], "lock": options["table_lock_timeout"]}
    # Rounded up: a limit of next to nothing is none to PostgreSQL when it becomes 0.
    text = _FRESH_SESSION.format(**{name: math.ceil(seconds * 1000) for name, seconds in limits.items()})
    if connection.info.server_version >= _NOTICES_DEATH_FROM:
        text += _NOTICE_DEATH
    return text


def _demand_options(options: Options) -> None:
    """Refuse what would be another thing than it looks like, before anything is connected to.

    :raises PhaseError: a limit is no number of seconds, or the ledger would lie where suites drop everything.
    """
    for option in ("statement_timeout", "table_lock_timeout", "lock_timeout"):
        if not 0 <= options[option] <= MOST_SECONDS:  # nan is not, either
            raise PhaseError("%s is %g: give seconds up to %d, or 0." % (option, options[option], MOST_SECONDS))
    if options["ledger_schema"] == "public":
        raise PhaseError("ledger_schema is public, which suites drop: name a schema that nothing else uses.")


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
                if error.sqlstate is None:
                    raise
                reason = FINDINGS.get(error.sqlstate, PARTITIONS)
                raise PhaseError(
                    "Table %s needs partitions that PostgreSQL refuses to create: %s. %s and run again, or %s."
                    % (name, _short(error.diag.message_primary), _sentence(reason.action), RESET),
                    cause=reason.id,
                    **result,
                ) from error
        result["changed"] = result["changed"] or bool(new)
        result["partitions"][name] = {"state": "present", "created": [part.as_dict() for part in new]}


PHASE = Phase(name="sql_migrations", run=run, argument_spec=MIGRATIONS_SPEC, libraries=("psycopg",))
