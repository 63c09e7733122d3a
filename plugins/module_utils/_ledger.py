# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files, ledger and database compared: what is to be done, or why nothing can be. PRIVATE to the collection.

All of it is pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Mapping, Optional, Sequence

from ansible_collections.kubernaut.integration.plugins.module_utils import _goose
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import PhaseError
from ansible_collections.kubernaut.integration.plugins.module_utils._schema import LedgerRow
from ansible_collections.kubernaut.integration.plugins.module_utils._sql_files import Migration, checksum

#: So many applied files without a single match are no edits: they are another set.
SEVERAL = 4

RESET = "reset the database (stack_fresh: true)"


@dataclass(frozen=True)
class Facts:
    """What the database looks like beside the ledger.

    :param public_oid: identity of schema public; 0 when there is none.
    :param tables: number of tables outside the system's schemas and the ledger's.
    :param foreign: tables that show that something else has migrated this database.
    :param goose: what goose has applied, and when; None when it has never been here.
    """

    public_oid: int
    tables: int
    foreign: Sequence[str]
    goose: Optional[Mapping[int, str]] = None


@dataclass(frozen=True)
class Policy:
    """What is allowed, as the options of the same names say."""

    allow_removed: bool = False
    allow_inserted: bool = False
    goose_table: bool = False


@dataclass(frozen=True)
class Plan:
    """What there is to do, in this order.

    :param adopt: migrations that goose has applied and the ledger does not know.
    :param goose_has: versions that goose's table has by now, which the ledger does not know.
    :param tell_goose: versions that goose's table lacks and is to have.
    :param apply: migrations that are still to be applied.
    :param warnings: what is allowed, and still worth knowing.
    """

    adopt: Sequence[Migration]
    goose_has: Sequence[int]
    tell_goose: Sequence[int]
    apply: Sequence[Migration]
    warnings: Sequence[str]

    @property
    def changes(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.adopt or self.goose_has or self.tell_goose or self.apply)


def plan(migrations: Sequence[Migration], ledger: Sequence[LedgerRow], facts: Facts, policy: Policy) -> Plan:
    """Compare files, ledger and database.

    :param migrations: all of them, in order.
    :param ledger: its rows, in order.
    :raises PhaseError: they do not fit together, so that applying anything would be a guess.
    """
    goose = facts.goose or {}
    _demand_whole(ledger, facts)
    _demand_same_files(migrations, ledger, goose, policy)
    known = {row.version for row in ledger}
    adopt = [migration for migration in migrations if migration.version in goose and migration.version not in known]
    apply = [migration for migration in migrations if migration.version not in known and migration.version not in goose]
    applied = known | {migration.version for migration in adopt}
    untold = sorted(version for version in applied if version not in goose)
    warnings = []
    if facts.goose is not None and not policy.goose_table:
        untold += [migration.version for migration in apply]
        if untold:
            warnings.append(
                "%s does not have version%s %s, which the ledger has or will have, so goose would apply %s again; with "
                "migrations_goose_table: true it is told."
                % (
                    _goose.NAME,
                    "s" if len(untold) > 1 else "",
                    ", ".join(map(str, untold[:5])) + (" and so on" if len(untold) > 5 else ""),
                    "them" if len(untold) > 1 else "it",
                )
            )
    goose_has = [row.version for row in ledger if not row.goose and row.version in goose]
    return Plan(adopt, goose_has, untold if policy.goose_table else [], apply, warnings)


def _demand_whole(ledger: Sequence[LedgerRow], facts: Facts) -> None:
    """Refuse a database that is not what its ledger made it.

    :raises PhaseError: it is half migrated, migrated by something else, or replaced.
    """
    dirty = [row for row in ledger if row.dirty]
    if dirty:
        raise PhaseError(
            "Migration %s was begun at %s and never finished; as it does not run in one transaction, part of it is in "
            "the database: %s." % (dirty[0].name, dirty[0].applied_at, RESET),
            cause="migration-dirty",
        )
    if not ledger:
        if facts.foreign and not facts.goose:
            raise PhaseError(
                "The database holds %s but no ledger of this collection: something else has migrated it, and applying "
                "the files again would damage it: %s." % (_listed(facts.foreign), RESET),
                cause="migration-foreign",
            )
        return
    newest = max(ledger, key=lambda row: (row.applied_at, row.version))
    if newest.public_oid != facts.public_oid:
        raise PhaseError(
            "Schema public was dropped%s after the ledger's newest migration, %s of %s: %s."
            % (" and created again" if facts.public_oid else "", newest.name, newest.applied_at, RESET),
            cause="schema-dropped",
        )
    if newest.tables and not facts.tables:
        raise PhaseError(
            "The ledger says that %s is applied and left %d tables, but there is not one in the database: %s."
            % (newest.name, newest.tables, RESET),
            cause="schema-dropped",
        )
    undone = [row for row in ledger if row.goose and row.version not in (facts.goose or {})]
    if undone:
        raise PhaseError(
            "Migration %s is in the ledger, but no longer in %s, where it was: goose has rolled it back, or somebody "
            "has removed its row: let goose apply it again (goose up-to %d), or %s."
            % (undone[0].name, _goose.NAME, undone[-1].version, RESET),
            cause="migration-goose",
        )


def _demand_same_files(
    migrations: Sequence[Migration], ledger: Sequence[LedgerRow], goose: Mapping[int, str], policy: Policy
) -> None:
    """Refuse files that are not those that were applied.

    :param goose: versions that goose has applied.
    :raises PhaseError: one was changed, or removed or inserted where that is not allowed.
    """
    files = {migration.version: migration for migration in migrations}
    applied: Dict[int, str] = {version: "%d of %s" % (version, _goose.NAME) for version in goose}
    applied.update({row.version: row.name for row in ledger})
    if not applied:
        return
    newest = max(applied)
    changed = [row for row in ledger if row.version in files and files[row.version].checksum != row.checksum]
    removed = [version for version in sorted(applied) if version not in files]
    inserted = [m for m in migrations if m.version < newest and m.version not in applied]
    if ledger and len(changed) + len(removed) == len(applied) >= SEVERAL:
        raise PhaseError(
            "This database was migrated from other files, such as another contract's: none of the %d in its ledger (%s "
            "and so on) is in migrations_dir as it was then; set migrations_dir or stack_contract to theirs, or %s."
            % (len(ledger), ledger[0].name, RESET),
            cause="migration-changed",
        )
    problems = [_change(files[row.version], row) for row in changed]
    if not policy.allow_removed:
        problems += ["%s is applied, but no longer in migrations_dir" % applied[version] for version in removed]
    if not policy.allow_inserted:
        problems += [
            "%s is new, but its version is below the newest applied one, %s" % (migration.name, applied[newest])
            for migration in inserted
        ]
    if problems:
        allow = [
            "migrations_allow_%s: true" % name
            for name, found in (("removed", removed), ("inserted", inserted))
            if found and not getattr(policy, "allow_" + name)
        ]
        raise PhaseError(
            "Migration %s: put the files back as they were, or %s%s.%s"
            % (
                problems[0],
                "allow it (%s), or " % " and ".join(allow) if allow and not changed else "",
                RESET,
                "".join("\nalso: " + problem for problem in problems[1:]),
            ),
            cause="migration-changed",
        )


def _listed(names: Sequence[str]) -> str:
    """Return names as a sentence has them."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _change(migration: Migration, row: LedgerRow) -> str:
    """Say that a file changed after it was applied, and how to see what changed."""
    if migration.name != row.name:
        return "%s is applied, but another file has its version now, %s" % (row.name, migration.name)
    unix = migration.text.replace("\r\n", "\n")
    if row.checksum in (checksum(unix), checksum(unix.replace("\n", "\r\n"))):
        hint = "only its line ends changed, see core.autocrlf of git"
    else:
        hint = "`git log -p -- %s` there shows how, if that is a checkout" % migration.name
    return "%s is applied, but changed since: its checksum was %s and is %s (%s)" % (
        migration.name,
        row.checksum,
        migration.checksum,
        hint,
    )
