# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of every module that applies migrations."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  remote_src:
    description: Look for O(directory) on the target instead of on the controller.
    type: bool
    default: false
  files:
    description:
      - The migrations themselves. Leave it alone, the action plugin fills it from O(directory) on the controller.
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the file.
        type: str
        required: true
      text:
        description: Its content.
        type: str
        required: true
      transactional:
        description: Whether all of it may run in one transaction.
        type: bool
        default: true
      statements:
        description: Begin and end of each statement, as offsets into O(files[].text).
        type: list
        elements: list
  ledger_schema:
    description: Schema of the ledger. It is none that the migrations drop.
    type: str
    default: kubernaut_integration
  ensure_partitions:
    description:
      - Tables of schema C(public) that get the monthly partitions they lack, from seven days before O(today) to three
        months after it, when the migrations are through. The service accepts events that are a week old.
      - A new partition is named like the table's newest monthly one.
      - A table that is absent or not partitioned by date is reported and left alone.
    type: list
    elements: str
    default: []
  today:
    description:
      - Current date in UTC as C(YYYY-MM-DD). Empty means PostgreSQL's clock, which must not be more than a day away
        from that of the host that executes the module.
    type: str
    default: ''
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
