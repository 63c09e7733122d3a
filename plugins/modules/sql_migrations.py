#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module front of the phase in ``module_utils/_migrations.py``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: sql_migrations
short_description: Apply SQL migrations once each, with a ledger
version_added: 1.0.0
description:
  - Applies every C(*.sql) file directly in O(directory) that the ledger does not know yet, in the numeric order of the
    number that its name begins with, and writes it into the ledger with its checksum.
  - Each file is sent as it is and runs in one transaction together with its ledger row. A file that cannot, such as
    one with C(CREATE INDEX CONCURRENTLY) or a C(COMMIT) of its own, is recognised by PostgreSQL's own parser and runs
    statement by statement; the ledger calls it dirty until it is through.
  - Of a file with C(goose) annotations only the Up part runs. C(-- +goose NO TRANSACTION) is honoured,
    C(-- +goose ENVSUB ON) is refused.
  - Refuses to guess. An applied file that was changed or removed, a new one below the newest applied version, a file
    that was begun and never finished, a schema that was replaced under its ledger, and a database that something else
    has migrated are each named, and nothing is applied.
  - A database that C(goose) has migrated is continued. What the newest rows in C(goose_db_version) call applied goes
    into the ledger with the checksums that the files have now; what they call rolled back (C(is_applied) is false) is
    pending.
  - Reads the files on the controller by default, so the target needs neither the files nor a parser.
options:
  directory:
    description:
      - Directory of the migrations. Directories in it are ignored, and so are files whose names begin with a dot.
      - A relative path counts from where C(ansible-playbook) runs; with O(remote_src=true) it must be absolute.
    type: path
    required: true
  lock_timeout:
    description:
      - Seconds to wait for another run on the same database, before that is named and this one fails.
      - How long a statement may wait for a table is O(table_lock_timeout).
    type: float
    default: 30.0
extends_documentation_fragment:
  - kubernaut.integration.postgres
  - kubernaut.integration.migrations
  - kubernaut.integration.attributes
attributes:
  check_mode:
    support: full
    details: The database may be absent in check mode; then every migration is pending.
  diff_mode:
    support: full
  idempotent:
    support: full
requirements:
  - pglast >= 8 on the controller (with O(remote_src=true), on the target) for files that cannot run in a transaction
seealso:
  - module: kubernaut.integration.schema_info
author:
  - The kubernaut.integration authors (@kubernaut)
"""

EXAMPLES = r"""
- name: Apply the migrations of a kubernaut checkout
  kubernaut.integration.sql_migrations:
    postgres_port: 15443
    postgres_password: "{{ postgres_password }}"
    directory: "{{ kubernaut_checkout }}/migrations"
    ensure_partitions:
      - audit_events
      - resource_action_traces

- name: Apply migrations that lie on the target already
  kubernaut.integration.sql_migrations:
    postgres_port: 15443
    postgres_password: "{{ postgres_password }}"
    directory: /srv/kubernaut/migrations
    remote_src: true
"""

RETURN = r"""
database:
  description: V(present), or V(absent) when nothing listened in check mode.
  returned: success
  type: str
  sample: present
applied:
  description: Migrations that this run applied, in order. Also returned by a run that failed at a later one.
  returned: always, unless the files are refused
  type: list
  elements: dict
  contains:
    version:
      description: Number that the name begins with.
      type: int
      sample: 6
    name:
      description: Name of the file.
      type: str
      sample: 006_effectiveness_assessment.sql
    checksum:
      description: SHA-256 of the file.
      type: str
      sample: e654840b5ca74854d9dfb2f8174f7065643d00674aec5c3a8bf920d57f994761
    elapsed:
      description: Seconds that it took.
      type: float
      sample: 0.048
    transactional:
      description: Whether it ran in one transaction.
      type: bool
      sample: false
    warnings:
      description:
        - Warnings of the server, each with C(severity), C(message) and C(line).
        - C(line) is where the statement begins, or null where all of the file was sent at once.
      type: list
      elements: dict
      sample: [{"severity": "WARNING", "message": "there is no transaction in progress", "line": 217}]
    notices:
      description: What else the server said, in the same form.
      type: list
      elements: dict
      sample: []
    omitted:
      description: Number of further messages. At most 20 of a file are returned.
      type: int
      sample: 0
adopted:
  description:
    - Migrations that C(goose) has applied and this run has written into the ledger; C(version), C(name) and
      C(checksum) of each.
    - In check mode those that would be.
  returned: always, unless the files are refused
  type: list
  elements: dict
  sample: []
pending:
  description:
    - Migrations that are not applied; C(version), C(name) and C(checksum) of each.
    - In check mode those that would be, after a failure those that were not, else none.
  returned: always, unless the files are refused
  type: list
  elements: dict
  sample: []
already:
  description: Number of migrations that were applied before this run.
  returned: always, unless the files are refused
  type: int
  sample: 17
partitions:
  description: For each table of O(ensure_partitions) what was found and done.
  returned: success
  type: dict
  sample:
    audit_events:
      state: present
      created: [{"name": "audit_events_2026_11", "from": "2026-11-01", "to": "2026-12-01"}]
    resource_action_traces:
      state: absent
      created: []
ledger:
  description: The ledger as it is now, in order of version.
  returned: success
  type: list
  elements: dict
  contains:
    version:
      description: Number that the name begins with.
      type: int
      sample: 6
    name:
      description: Name of the file when it was applied.
      type: str
      sample: 006_effectiveness_assessment.sql
    checksum:
      description: SHA-256 of the file when it was applied.
      type: str
      sample: e654840b5ca74854d9dfb2f8174f7065643d00674aec5c3a8bf920d57f994761
    applied_at:
      description: When it was applied, in UTC.
      type: str
      sample: '2026-11-23T18:14:09.216Z'
    elapsed:
      description: Seconds that it took.
      type: float
      sample: 0.048
    tool:
      description: Version of this collection that applied it; V(goose) when it was applied by C(goose).
      type: str
      sample: 1.0.0
    dirty:
      description: Whether it was begun and never finished.
      type: bool
      sample: false
    goose:
      description: Whether C(goose_db_version) has it, too.
      type: bool
      sample: false
elapsed:
  description: Seconds that the run took.
  returned: success
  type: float
  sample: 0.918
failure:
  description: Where a migration failed and what PostgreSQL said.
  returned: when a migration failed
  type: dict
  contains:
    name:
      description: Name of the file.
      type: str
      sample: 003_stored_procedures.sql
    version:
      description: Number that the name begins with.
      type: int
      sample: 3
    line:
      description: Line in the file, from 1; null when it cannot be told, as without pglast.
      type: int
      sample: 12
    column:
      description: Column in that line, from 1.
      type: int
      sample: 5
    statement:
      description: First line of the statement.
      type: str
      sample: CREATE TABLE broken (
    sqlstate:
      description: PostgreSQL's error code.
      type: str
      sample: '42601'
    message:
      description: PostgreSQL's message.
      type: str
      sample: syntax error at or near "FOO"
    detail:
      description: PostgreSQL's detail, if any.
      type: str
    hint:
      description: PostgreSQL's hint, if any.
      type: str
    context:
      description: Where PostgreSQL was, such as the line of a function.
      type: str
"""

from ansible_collections.kubernaut.integration.plugins.module_utils._migrations import PHASE
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import run_module


def main() -> None:
    """Run the phase as a module."""
    run_module(PHASE)


if __name__ == "__main__":
    main()
