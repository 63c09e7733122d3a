# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the database holds: tables, functions, extensions, partitions, and the ledger. PRIVATE to the collection.

Nothing in this module changes the database. :mod:`_migrations` writes the ledger, this module reads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Dict, List, Optional

from ansible_collections.kubernaut.integration.plugins.module_utils import _partitions
from ansible_collections.kubernaut.integration.plugins.module_utils._causes import POSTGRES, UNKNOWN, Evidence, explain
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import (
    Context,
    Options,
    Phase,
    PhaseError,
    Result,
)
from ansible_collections.kubernaut.integration.plugins.module_utils._postgres import POSTGRES_SPEC, connect

if TYPE_CHECKING:
    import psycopg

#: Seconds for opening a connection; the gate in front of this phase has already seen the server answer.
CONNECT_TIMEOUT = 10.0

#: What the ledger calls whoever applied what goose's table had before the ledger.
GOOSE = "goose"

#: Option of both phases: the schema that holds the ledger, apart from what the migrations may drop.
LEDGER_SPEC: Dict[str, Dict[str, Any]] = {"ledger_schema": {"type": "str", "default": "kubernaut_integration"}}

SCHEMA_SPEC: Dict[str, Dict[str, Any]] = {
    **POSTGRES_SPEC,
    **LEDGER_SPEC,
    "required_tables": {"type": "list", "elements": "str", "default": []},
    "required_functions": {"type": "list", "elements": "str", "default": []},
    "required_extensions": {"type": "list", "elements": "str", "default": []},
    "absent_tables": {"type": "list", "elements": "str", "default": []},
    "partitioned_tables": {"type": "list", "elements": "str", "default": []},
    "today": {"type": "str", "default": ""},
}

_TABLES = """
SELECT relname FROM pg_class
 WHERE relnamespace = to_regnamespace('public') AND relkind IN ('r', 'p') AND NOT relispartition
 ORDER BY relname
"""
_COLUMNS = """
SELECT relname, attname, format_type(atttypid, atttypmod)
  FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
 WHERE relnamespace = to_regnamespace('public') AND relkind IN ('r', 'p') AND NOT relispartition
 ORDER BY relname, attnum
"""
# Those that an extension brought along are the extension's business.
_FUNCTIONS = """
SELECT DISTINCT proname FROM pg_proc
 WHERE pronamespace = to_regnamespace('public') AND NOT EXISTS (
       SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = pg_proc.oid AND deptype = 'e')
 ORDER BY proname
"""
_EXTENSIONS = "SELECT extname FROM pg_extension ORDER BY extname"


@dataclass(frozen=True)
class LedgerRow:
    """One migration as the ledger remembers it.

    :param checksum: SHA-256 of the file's bytes, in hex.
    :param applied_at: when it was finished (or, if dirty, begun), ISO 8601.
    :param elapsed: seconds that it took.
    :param tool: version of this collection that applied it; :data:`GOOSE` when goose did.
    :param dirty: it began outside a transaction and never finished.
    :param public_oid: identity of schema public at that time; a schema dropped and created again has another one.
    :param tables: number of tables in the database when it was finished, the ledger itself not counted.
    :param goose: goose's own table has it, too.
    """

    version: int
    name: str
    checksum: str
    applied_at: str
    elapsed: float
    tool: str
    dirty: bool
    public_oid: int
    tables: int
    goose: bool

    def as_dict(self) -> Dict[str, Any]:
        """The row as tasks return it."""
        return {
            "version": self.version,
            "name": self.name,
            "checksum": self.checksum,
            "applied_at": self.applied_at,
            "elapsed": self.elapsed,
            "tool": self.tool,
            "dirty": self.dirty,
            "goose": self.goose,
        }


def open_database(options: Options, phase: str, check: bool) -> Optional[psycopg.Connection[Any]]:
    """Connect as the service would, or return None in check mode when nothing listens there yet.

    :param phase: name under which the connection shows in ``pg_stat_activity``.
    :raises PhaseError: the server refused, or (outside check mode) is not there.
    """
    import psycopg
    from psycopg.conninfo import make_conninfo

    place = "%s:%s" % (options["postgres_host"], options["postgres_port"])
    try:
        return connect(options, CONNECT_TIMEOUT, "kubernaut.integration " + phase)
    except psycopg.Error as error:
        # libpq gives no error code for a failed connection, and its text is translated; a ping answers both.
        address = make_conninfo(host=options["postgres_host"], port=options["postgres_port"], connect_timeout=2)
        listening = psycopg.pq.PGconn.ping(address.encode()) != psycopg.pq.Ping.NO_RESPONSE
        if check and not listening:
            return None
        cause = (
            "PostgreSQL at %s does not let user %s into database %s: check the postgres role's credentials."
            % (place, options["postgres_user"], options["postgres_database"])
            if listening
            else "Nothing answers as PostgreSQL at %s: start it first (role kubernaut.integration.postgres)." % place
        )
        named = explain(Evidence(POSTGRES, said=str(error), values={"user": options["postgres_user"]}))
        known = named.id if named.id != UNKNOWN else "postgres-access" if listening else "postgres-away"
        raise PhaseError("%s\n%s" % (cause, str(error).strip()), cause=known) from error


def read_ledger(connection: psycopg.Connection[Any], schema: str) -> List[LedgerRow]:
    """Return the ledger's rows in order of version; none when there is no ledger.

    :raises psycopg.Error: the server refused.
    """
    from psycopg import sql

    table = sql.Identifier(schema, "migrations")
    if connection.execute("SELECT to_regclass(%s)", (table.as_string(connection),)).fetchone() == (None,):
        return []
    rows = connection.execute(
        sql.SQL(
            "SELECT version, name, checksum,"
            " to_char(applied_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'), elapsed,"
            " tool, dirty, public_oid::bigint, tables,"
            # A ledger that is older than this column has written nothing into goose's table.
            " coalesce((to_jsonb(ledger) ->> 'goose')::boolean, false) FROM {} AS ledger ORDER BY version"
        ).format(table)
    )
    return [LedgerRow(*row) for row in rows]


def run(options: Options, context: Context) -> Result:
    """Read the schema and, where something is required of it, be the gate.

    :raises PhaseError: something required is missing; everything that was found is in the result all the same.
    """
    _partitions.parse_today(options["today"])
    connection = open_database(options, PHASE.name, context.check)
    if connection is None:
        empty: Result = {name: [] for name in ("tables", "functions", "extensions", "ledger", "unwanted")}
        return {**empty, "database": "absent", "columns": {}, "partitions": {}, "missing": {}}
    with connection:
        today = _partitions.current(connection, options["today"])
        partitioned = _partitions.read(connection)
        result: Result = {
            "database": "present",
            "tables": _names(connection, _TABLES),
            "columns": {},
            "functions": _names(connection, _FUNCTIONS),
            "extensions": _names(connection, _EXTENSIONS),
            "partitions": {name: [p.as_dict() for p in table.partitions] for name, table in partitioned.items()},
            "ledger": [row.as_dict() for row in read_ledger(connection, options["ledger_schema"])],
        }
        for table, column, kind in connection.execute(_COLUMNS):
            result["columns"].setdefault(table, {})[column] = kind
    missing: Dict[str, List[str]] = {
        kind: [name for name in options["required_" + kind] if name not in result[kind]]
        for kind in ("tables", "functions", "extensions")
    }
    missing["partitions"] = []
    for name in options["partitioned_tables"]:
        partitions = partitioned[name].partitions if name in partitioned else []
        missing["partitions"] += [
            "%s for %s" % (name, month.strftime("%Y-%m")) for month in _partitions.missing_months(partitions, today)
        ]
    result["missing"] = {kind: names for kind, names in missing.items() if names}
    result["unwanted"] = [name for name in options["absent_tables"] if name in result["tables"]]
    if result["unwanted"]:
        raise PhaseError(
            "Database %s has %s, which the service's schema must not have, so this is the schema of another "
            "generation: name the right migrations (migrations_dir, stack_contract) and reset the database "
            "(stack_fresh: true)." % (options["postgres_database"], " and ".join(result["unwanted"])),
            cause="schema-generation",
            **result,
        )
    if result["missing"]:
        only_partitions = set(result["missing"]) == {"partitions"}
        known = "partition-missing" if only_partitions else "schema-missing"
        raise PhaseError(_complaint(options, result["missing"]), cause=known, **result)
    return result


def _names(connection: psycopg.Connection[Any], query: str) -> List[str]:
    return [row[0] for row in connection.execute(query.encode())]


def _complaint(options: Options, missing: Dict[str, List[str]]) -> str:
    """Return the failure's text: what to do depends on whether only partitions are missing."""
    only_partitions = set(missing) == {"partitions"}
    advice = (
        "let the migrations role create them (migrations_ensure_partitions: true)"
        if only_partitions
        else "name the right migrations (migrations_dir, stack_contract) and reset the database (stack_fresh: true)"
    )
    lines = ["missing %s: %s" % (kind, ", ".join(names)) for kind, names in missing.items()]
    # The first line is all that some readers get to see.
    named = [name for names in missing.values() for name in names]
    more = " and %d more" % (len(named) - 3) if len(named) > 3 else ""
    return "Database %s lacks %s that the service needs (%s%s): %s.\n%s" % (
        options["postgres_database"],
        " and ".join(missing),
        ", ".join(named[:3]),
        more,
        advice,
        "\n".join(lines),
    )


PHASE = Phase(name="schema_info", run=run, argument_spec=SCHEMA_SPEC, libraries=("psycopg",))
