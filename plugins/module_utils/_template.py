# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep the database as the migrations left it, and bring it back. PRIVATE to the collection.

Phase ``database_template``.

Beside the service's database lies a copy of it, the template, that nobody can connect to. To bring it back, a copy of
the template is made under a third name while the service goes on, and takes the place of the database in one
transaction. So whatever is killed at whatever moment: there is a whole database of the service's name, and what is
left over has a name of its own, which the next run removes.
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence

from ansible_collections.kubernaut.integration.plugins.module_utils import _migrations, _partitions, _schema
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import (
    Context,
    Options,
    Phase,
    PhaseError,
    Result,
)
from ansible_collections.kubernaut.integration.plugins.module_utils._plan import digest
from ansible_collections.kubernaut.integration.plugins.module_utils._schema import LedgerRow

if TYPE_CHECKING:
    import psycopg

TEMPLATE_SPEC: Dict[str, Dict[str, Any]] = {
    **_migrations.MIGRATIONS_SPEC,
    "directory": {"type": "path"},
    "state": {"type": "str", "choices": ["kept", "restored"], "required": True},
    "fresh": {"type": "bool", "default": False},
}

#: By its limit of connections a database is known as made here, even when whoever made it was killed right afterwards:
#: CREATE DATABASE sets the limit itself, a comment comes later. The bytes "kube" as a number; nothing reaches it.
MARK = int.from_bytes(b"kube", "big")
#: What PostgreSQL sets the limit to when a DROP DATABASE begins; whose that was cannot be told any more.
DROPPED = -2
#: Bytes of a name in PostgreSQL, which cuts off the rest.
NAME_LIMIT = 63
#: Seconds for the sessions of a database to end by themselves, or because they were told to.
LEAVE_TIME = 1.0
GAP = 0.01

_RESET = "start clean with stack_fresh: true"
_COMMENT = "As the migrations left it, kept by kubernaut.integration to reset from. Ledger: %s"
_LEDGER = re.compile(r"Ledger: ([0-9a-f]{64})")

_LOOK = """
SELECT datname, pg_get_userbyid(datdba), datconnlimit, shobj_description(oid, 'pg_database')
  FROM pg_database WHERE datname = ANY(%s)
"""
#: The server's own workers, which have no user, leave by themselves.
_OTHERS = " FROM pg_stat_activity WHERE datname = %s AND usesysid IS NOT NULL AND pid <> pg_backend_pid()"
_SESSIONS = "SELECT count(*)" + _OTHERS
_END_SESSIONS = "SELECT pg_terminate_backend(pid)" + _OTHERS
#: CREATE DATABASE copies neither privileges on the database itself nor settings made for it. The values of some
#: settings are lists of names, quoted already.
_INHERIT = """
WITH source AS (SELECT oid, datacl FROM pg_database WHERE datname = %(source)s)
SELECT format('REVOKE ALL ON DATABASE %%I FROM PUBLIC', %(target)s::text) FROM source WHERE datacl IS NOT NULL
UNION ALL
SELECT format('GRANT %%s ON DATABASE %%I TO %%s%%s', privilege_type, %(target)s::text,
              CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END,
              CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
  FROM source, aclexplode(datacl)
UNION ALL
SELECT format('ALTER %%s SET %%s TO %%s',
              CASE setrole WHEN 0 THEN format('DATABASE %%I', %(target)s::text)
                   ELSE format('ROLE %%I IN DATABASE %%I', pg_get_userbyid(setrole), %(target)s::text) END,
              split_part(entry, '=', 1),
              CASE WHEN split_part(entry, '=', 1) IN ('search_path', 'session_preload_libraries',
                                                      'local_preload_libraries', 'temp_tablespaces')
                   THEN regexp_replace(substr(entry, strpos(entry, '=') + 1), '(^|, )""(?=,|$)', '\\1''''', 'g')
                   ELSE quote_literal(substr(entry, strpos(entry, '=') + 1)) END)
  FROM source JOIN pg_db_role_setting ON setdatabase = oid, unnest(setconfig) entry
"""


#: Encoding and locale of a database that has not those of what the server copies by default.
_OTHER_LOCALE = """
SELECT pg_encoding_to_char(own.encoding), own.datcollate, own.datctype
  FROM pg_database own, pg_database common
 WHERE own.datname = %s AND common.datname = 'template1'
   AND (own.encoding, own.datcollate, own.datctype) IS DISTINCT FROM
       (common.encoding, common.datcollate, common.datctype)
"""


class Names(NamedTuple):
    """Databases by what they are for.

    :param database: the service's own.
    :param template: as the migrations left it.
    :param new: what is to take the place of one of these two.
    :param old: what one of these two has made room for.
    :param entry: where one connects to meanwhile.
    """

    database: str
    template: str
    new: str
    old: str
    entry: str


def names(database: str) -> Names:
    """Return the names that belong to the service's database; a long one is shortened and told apart by its hash."""
    stem = database + "_template"
    if len(stem.encode()) + len("_new") > NAME_LIMIT:
        short = database.encode()[:32].decode(errors="ignore")
        stem = "%s_%s_template" % (short, hashlib.sha256(database.encode()).hexdigest()[:8])
    # No sessions may be in template1 when a database is made, so it is the second choice.
    return Names(database, stem, stem + "_new", stem + "_old", "template1" if database == "postgres" else "postgres")


def ledger_digest(ledger: Sequence[LedgerRow]) -> str:
    """Return what two databases have in common exactly when the same files were applied, and goose knows the same.

    The names of files are not part of it, since an applied file may be renamed.
    """
    return digest([[row.version, row.checksum, row.goose] for row in ledger])


@dataclass(frozen=True)
class Found:
    """A database as the server lists it.

    :param limit: its limit of connections; -1 for none.
    """

    owner: str
    limit: int
    comment: Optional[str]

    @property
    def ledger(self) -> str:
        """Digest of the ledger that a template was kept with; empty where there is none."""
        stated = _LEDGER.search(self.comment or "")
        return stated[1] if stated else ""


def judge(named: Names, found: Dict[str, Found]) -> List[str]:
    """Return the left-overs of a run that was killed.

    :param found: databases that have one of the names.
    :raises PhaseError: one of them was made by somebody else.
    """
    for name in (named.template, named.new, named.old):
        if name in found and found[name].limit not in ((MARK,) if name == named.template else (MARK, DROPPED)):
            raise PhaseError(
                "The database %s, owned by %s, was not made by this collection and is left alone: rename or drop it, "
                "or set migrations_template to false." % (name, found[name].owner),
                cause="template-foreign",
            )
    return [name for name in (named.new, named.old) if name in found]


def behind(ledger: Sequence[LedgerRow], kept: str) -> bool:
    """Tell whether the ledger with the digest ``kept`` is the beginning of ``ledger``."""
    return any(ledger_digest(ledger[:length]) == kept for length in range(1, len(ledger)))


class _Server:
    """The connection over which databases are made, swapped and dropped."""

    def __init__(self, connection: psycopg.Connection[Any], options: Options, named: Names) -> None:
        self.connection = connection
        self.options = options
        self.named = named

    def take_lock(self) -> None:
        """Let no other run at the same names; the lock ends with the connection.

        :raises psycopg.Error: another run has it.
        """
        patience = "%dms" % max(1, int(self.options["lock_timeout"] * 1000))  # 0 would be for ever
        self.connection.execute("SELECT set_config('lock_timeout', %s, false)", (patience,))
        self.connection.execute("SELECT pg_advisory_lock(%s)", (_migrations.LOCK_KEY,))

    def look(self) -> Dict[str, Found]:
        """Return which of the names there are."""
        return {row[0]: Found(*row[1:]) for row in self.connection.execute(_LOOK, (list(self.named),))}

    def enter(self, name: str) -> psycopg.Connection[Any]:
        """Connect to one of the databases.

        :raises PhaseError: that is refused.
        """
        connection = _schema.open_database({**self.options, "postgres_database": name}, PHASE.name, check=False)
        if connection is None:  # in check mode only
            raise PhaseError("There is no database %s." % name)
        return connection

    def ledger(self, name: str) -> List[LedgerRow]:
        """Return the ledger of one of the databases.

        :raises PhaseError: it cannot be connected to.
        """
        with self.enter(name) as connection:
            return _schema.read_ledger(connection, self.options["ledger_schema"])

    def do(self, template: str, *identifiers: str, **literals: Any) -> None:
        """Execute a statement, in which ``{}`` stands for a name and ``{word}`` for a value."""
        from psycopg import sql

        values = {word: sql.Literal(value) for word, value in literals.items()}
        self.connection.execute(sql.SQL(template).format(*map(sql.Identifier, identifiers), **values))

    def sessions(self, name: str) -> int:
        """Return how many sessions there are in a database."""
        row = self.connection.execute(_SESSIONS, (name,)).fetchone()
        return int(row[0]) if row else 0

    def deserted(self, name: str) -> bool:
        """Tell whether there is no session in a database, once those that end just now have done so."""
        deadline = time.monotonic() + LEAVE_TIME
        while self.sessions(name):
            if time.monotonic() >= deadline:
                return False
            time.sleep(GAP)
        return True

    def drop(self, name: str) -> None:
        """Drop a database in which nobody has any business; a killed run may have left a session in it."""
        self.connection.execute(_END_SESSIONS, (name,))
        self.deserted(name)
        self.do("DROP DATABASE IF EXISTS {}", name)

    def create(self, source: Optional[str], owner: str) -> None:
        """Make the new database.

        A copy of the server's own template has the server's encoding and locale; where the service's database has
        others, it was made from template0, and so is this.

        Of PostgreSQL's two ways to copy, the default since 15 takes half the time of the other for a database of this
        size, because it needs no checkpoint.

        :param source: what to copy; what the server copies by default when None.
        :raises psycopg.Error: the server refused; somebody who is in ``source`` is such a case.
        """
        copied, values = "" if source is None else "TEMPLATE {} ", {}
        if source is None:
            row = self.connection.execute(_OTHER_LOCALE, (self.named.database,)).fetchone()
            if row:
                copied = "TEMPLATE template0 ENCODING {encoding} LC_COLLATE {collate} LC_CTYPE {ctype} "
                values = dict(zip(("encoding", "collate", "ctype"), row))
        self.do(
            "CREATE DATABASE {} WITH " + copied + "OWNER {} CONNECTION LIMIT {mark}",
            self.named.new,
            *([] if source is None else [source]),
            owner,
            mark=MARK,
            **values,
        )

    def inherit(self, source: str) -> None:
        """Give the new database the privileges and settings of ``source`` that are no part of its content."""
        rows = self.connection.execute(_INHERIT, {"source": source, "target": self.named.new}).fetchall()
        for (statement,) in rows:
            self.connection.execute(statement)

    @contextmanager
    def ended_sessions(self, name: str) -> Iterator[None]:
        """End every session of a database, again and again while the block runs.

        Whoever would reconnect meanwhile waits for the lock that renaming takes; whoever did so before that is seen by
        the second connection. A flag that forbids connections would do as well, and stay behind after a kill.
        """
        import psycopg

        stop = threading.Event()

        def end() -> None:
            # Whatever is wrong here, renaming says that somebody is in the database.
            with suppress(psycopg.Error, PhaseError), self.enter(self.named.entry) as connection:
                while not stop.wait(GAP):
                    connection.execute(_END_SESSIONS, (name,))

        self.connection.execute(_END_SESSIONS, (name,))
        thread = threading.Thread(target=end, daemon=True)
        thread.start()
        try:
            self.deserted(name)
            yield
        finally:
            stop.set()
            thread.join()

    def take_place(
        self, name: str, found: Optional[Found], attributes: str, limit: int, comment: Optional[str]
    ) -> None:
        """Let the new database be ``name``, in one transaction; what had the name has the old one's then.

        :param found: what has this name now; None when nothing has.
        :param attributes: further ones, in PostgreSQL's words.
        """
        self.deserted(self.named.new)
        with self.connection.transaction():
            if found:
                self.do("ALTER DATABASE {} RENAME TO {}", name, self.named.old)
                self.do(
                    "ALTER DATABASE {} WITH IS_TEMPLATE false ALLOW_CONNECTIONS false CONNECTION LIMIT {mark}",
                    self.named.old,
                    mark=MARK,
                )
            self.do("ALTER DATABASE {} RENAME TO {}", self.named.new, name)
            self.do("ALTER DATABASE {} WITH " + attributes + " CONNECTION LIMIT {limit}", name, limit=limit)
            self.do("COMMENT ON DATABASE {} IS {comment}", name, comment=comment)


def _keep(server: _Server, options: Options, context: Context) -> Result:
    """See to it that there is a template, and that it is of the database's own ledger."""
    import psycopg

    named = server.named
    result: Result = {"changed": False, "template": named.template, "kept": True, "how": "", "notes": []}
    found = server.look()
    left = judge(named, found)
    ledger = server.ledger(named.database)
    if not ledger or any(row.dirty for row in ledger):
        raise PhaseError(
            "Database %s has no ledger of finished migrations, so there is nothing to keep: apply them first "
            "(kubernaut.integration.sql_migrations)." % named.database,
            cause="migration-dirty" if ledger else "schema-missing",
        )
    wanted, kept = ledger_digest(ledger), found.get(named.template)
    same = kept is not None and kept.ledger == wanted
    if same and not left:
        return result
    if context.check:
        return {**result, "changed": True, "kept": same}
    for name in left:
        server.drop(name)
    if same:
        return {**result, "changed": True}
    owner = found[named.database].owner
    base = named.template if kept and behind(ledger, kept.ledger) else None
    try:
        how = "copied" if options["fresh"] and _copy(server, owner) else _migrate(server, options, owner, base, ledger)
        server.inherit(named.database)
    except (psycopg.Error, PhaseError) as error:
        # The database itself is good; what is missing is a convenience. A server that is gone refuses the next line.
        server.drop(named.new)
        return {**result, "kept": False, "notes": [_why_none(error, options)]}
    server.take_place(named.template, kept, "IS_TEMPLATE true ALLOW_CONNECTIONS false", MARK, comment=_COMMENT % wanted)
    server.drop(named.old)
    return {**result, "changed": True, "how": how}


def _copy(server: _Server, owner: str) -> bool:
    """Copy the database itself; return False when somebody is in it."""
    import psycopg

    if not server.deserted(server.named.database):
        return False
    try:
        server.create(server.named.database, owner)
    except psycopg.errors.ObjectInUse:
        return False
    return True


def _migrate(server: _Server, options: Options, owner: str, base: Optional[str], ledger: Sequence[LedgerRow]) -> str:
    """Apply the migrations to a database of its own, because somebody's rows may be in the other one by now.

    :param base: a template that lacks only the newest of them; None when there is none.
    :param ledger: of the other database, whose table of goose's knows what its rows say.
    :raises PhaseError: a migration that the other database took fails here.
    """
    new = server.named.new
    server.create(base, owner)
    _migrations.run({**options, "postgres_database": new}, Context())
    untold = {row.version for row in server.ledger(new) if not row.goose}
    known = [row.version for row in ledger if row.goose and row.version in untold]
    if known:
        with server.enter(new) as connection:
            _migrations.tell_goose(connection, options, known)
    if ledger_digest(server.ledger(new)) != ledger_digest(ledger):
        raise PhaseError(
            "the files that are there do not make what %s has: some of its migrations are gone from migrations_dir."
            % server.named.database
        )
    return "migrated"


def _restore(server: _Server, options: Options, context: Context) -> Result:
    """Let a copy of the template take the place of the database."""
    import psycopg

    named = server.named
    _partitions.parse_today(options["today"])
    result: Result = {"changed": True, "template": named.template, "sessions": 0, "partitions": {}}
    found = server.look()
    left = judge(named, found)
    kept, lost = found.get(named.template), found.get(named.database)
    if kept is None:
        raise PhaseError(
            "There is no template of database %s: run playbooks/integration.yml, which keeps one unless "
            "migrations_template is false; or %s." % (named.database, _RESET),
            cause="template-missing",
        )
    result["sessions"] = server.sessions(named.database)
    ledger: List[LedgerRow] = []
    with suppress(PhaseError, psycopg.Error):  # whatever became of the database, it can be reset
        ledger = server.ledger(named.database)
    if ledger and not any(row.dirty for row in ledger) and ledger_digest(ledger) != kept.ledger:
        raise PhaseError(
            "The template of database %s is of another ledger than that, whose newest migration is %s: run "
            "playbooks/integration.yml, which renews it; or %s." % (named.database, ledger[-1].name, _RESET),
            cause="template-outdated",
        )
    if context.check:
        return result
    for name in left:
        server.drop(name)
    server.create(named.template, (lost or kept).owner)
    server.inherit(named.template)
    if options["ensure_partitions"]:
        # The template may be months old.
        with server.enter(named.new) as connection:
            today = _partitions.current(connection, options["today"])
            _migrations._ensure_partitions(connection, options["ensure_partitions"], today, False, result)
    with server.ended_sessions(named.database):
        limit, comment = (lost.limit, lost.comment) if lost else (-1, None)
        server.take_place(named.database, lost, "ALLOW_CONNECTIONS true", limit, comment)
    # Not before: as long as it takes, sessions of that name are ended, and from here on they are the new database's.
    server.drop(named.old)
    return result


def _why_none(error: Exception, options: Options) -> str:
    """Say in one sentence why no template is kept, and what would help."""
    none = "No template is kept, and playbooks/reset.yml cannot be used: "
    if isinstance(error, PhaseError):
        return none + "%s To have one, %s." % (error.message.splitlines()[0], _RESET)
    what = "let user %s do that" % options["postgres_user"]
    if "create database" in _said(error):
        what = "let user %s create databases (CREATEDB)" % options["postgres_user"]
    return none + "PostgreSQL says: %s; %s, or set migrations_template to false." % (_said(error), what)


def _said(error: Exception) -> str:
    """Return what PostgreSQL said, without where it said it."""
    return str(error).strip().splitlines()[0]


class Finding(NamedTuple):
    """A cause by its id, and the next action."""

    id: str
    action: str


#: SQLSTATE -> what it means here; None when the server is gone.
_REFUSALS: Mapping[Optional[str], Finding] = {
    "42501": Finding("template-permission", "let the user create databases (CREATEDB) and own this one, or " + _RESET),
    "55P03": Finding("template-locked", "another run keeps or restores a database; wait for it"),
    "53100": Finding("disk-full", "make room where PostgreSQL's data is"),
    None: Finding("postgres-away", "see the log of PostgreSQL's container, then run it again"),
}
_OTHER = Finding("template-refused", "see to that and run it again; nothing is half done, and what is left is removed")


def _refusal(error: psycopg.Error, named: Names) -> PhaseError:
    """Turn PostgreSQL's refusal into ours."""
    found = _REFUSALS.get(error.sqlstate, _OTHER)
    detail = "\ndetail: %s" % error.diag.message_detail if error.diag.message_detail else ""
    message = "Template %s: PostgreSQL says: %s: %s.%s" % (named.template, _said(error), found.action, detail)
    return PhaseError(message, cause=found.id)


def run(options: Options, context: Context) -> Result:
    """Keep a template of the service's database, or bring the database back from it.

    :raises PhaseError: that cannot be done; the database is then as it was.
    """
    import psycopg

    begun = time.monotonic()
    named = names(options["postgres_database"])
    entry = {**options, "postgres_database": named.entry}
    connection = _schema.open_database(entry, PHASE.name, context.check)
    if connection is None:
        return {"changed": True, "template": named.template, "kept": False}
    states = {"kept": _keep, "restored": _restore}
    with connection:
        server = _Server(connection, options, named)
        try:
            server.take_lock()
            result = states[options["state"]](server, options, context)
        except psycopg.Error as error:
            raise _refusal(error, named) from error
    result["elapsed"] = round(time.monotonic() - begun, 3)
    result["lines"] = ["  " + note for note in result.get("notes", [])]
    if options["state"] == "restored" and not context.check:
        result["lines"] += [
            "  database %s is as the migrations left it (%.2f s, %d session%s ended)"
            % (named.database, result["elapsed"], result["sessions"], "" if result["sessions"] == 1 else "s")
        ]
    return result


PHASE = Phase(
    name="database_template",
    run=run,
    argument_spec=TEMPLATE_SPEC,
    libraries=("psycopg",),
    constraints={"required_if": [("state", "kept", ["directory"])]},
)
