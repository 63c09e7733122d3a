# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of every module that applies migrations."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  table_lock_timeout:
    description:
      - Seconds that a statement of a migration waits for a table, an index or a row that another session has locked;
        V(0) means for ever. This is what PostgreSQL itself calls C(lock_timeout).
      - When it is over, the migration fails, and the sessions that are in a transaction are named.
    type: float
    default: 30.0
  statement_timeout:
    description: Seconds that one statement of a migration may take; V(0) means as long as it likes.
    type: float
    default: 0.0
  allow_removed:
    description: Accept that files of applied migrations are no longer there.
    type: bool
    default: false
  allow_inserted:
    description:
      - Apply new files whose versions are below the newest applied one, too. They run in the order of their versions,
        but later than their authors thought.
    type: bool
    default: false
  goose_table:
    description:
      - Write what is applied into C(goose_db_version), too, so that C(goose) can go on from there. It is created where
        it is missing, and gets what the ledger already has.
      - Without it, C(goose) would apply again what this collection has added to a database of its own; a warning says
        so.
    type: bool
    default: false
"""
