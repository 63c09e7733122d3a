#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module front of the phase in ``module_utils/_schema.py``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: schema_info
short_description: Read what the service's database holds, and fail when something required is missing
version_added: 1.0.0
description:
  - Reads tables with their columns, functions, extensions and partitions of schema C(public), and the ledger of
    M(kubernaut.integration.sql_migrations). Changes nothing.
  - With requirements it is a gate. DataStorage reports itself healthy on a database without a schema, so the schema is
    asked.
options:
  ledger_schema:
    description: Schema of the ledger.
    type: str
    default: kubernaut_integration
  required_tables:
    description: Tables that must be there.
    type: list
    elements: str
    default: []
  required_functions:
    description: Functions that must be there, by name without arguments.
    type: list
    elements: str
    default: []
  required_extensions:
    description: Extensions that must be there.
    type: list
    elements: str
    default: []
  absent_tables:
    description: Tables that must not be there, because only the schema of another generation has them.
    type: list
    elements: str
    default: []
  partitioned_tables:
    description: Tables whose partitions must cover every day from seven days before O(today) to three months after it.
    type: list
    elements: str
    default: []
  today:
    description:
      - Current date in UTC as C(YYYY-MM-DD). Empty means PostgreSQL's clock, which must not be more than a day away
        from that of the host that executes the module.
    type: str
    default: ''
extends_documentation_fragment:
  - kubernaut.integration.postgres
  - kubernaut.integration.attributes.info
attributes:
  check_mode:
    details: The database may be absent in check mode; then nothing is required of it.
seealso:
  - module: kubernaut.integration.sql_migrations
author:
  - The kubernaut.integration authors (@kubernaut)
"""

EXAMPLES = r"""
- name: The schema is the one that the service needs
  kubernaut.integration.schema_info:
    postgres_port: 15443
    postgres_password: "{{ postgres_password }}"
    required_tables: [audit_events, notification_audit]
    required_functions: [set_audit_event_date]
    required_extensions: [uuid-ossp]
    partitioned_tables: [audit_events]
"""

RETURN = r"""
database:
  description: V(present), or V(absent) when nothing listened in check mode.
  returned: always
  type: str
  sample: present
tables:
  description: Tables by name. Partitions are listed under RV(partitions) only.
  returned: always
  type: list
  elements: str
  sample: [audit_events, notification_audit]
columns:
  description: Columns of each of RV(tables), in order, with their types.
  returned: always
  type: dict
  sample: {"notification_audit": {"id": "bigint", "channel": "character varying(50)"}}
functions:
  description: Functions by name, without those of extensions.
  returned: always
  type: list
  elements: str
  sample: [set_audit_event_date]
extensions:
  description: Extensions by name.
  returned: always
  type: list
  elements: str
  sample: [plpgsql, uuid-ossp]
partitions:
  description:
    - Partitions of each partitioned table, with first day and first day after.
    - Both are null for a default partition; one whose bounds are no dates is left out.
  returned: always
  type: dict
  sample:
    audit_events:
      - {"name": "audit_events_2026_11", "from": "2026-11-01", "to": "2026-12-01"}
missing:
  description: What is required and missing, by kind. Empty when all is there.
  returned: always
  type: dict
  sample: {"partitions": ["audit_events for 2026-03"]}
unwanted:
  description: Those of O(absent_tables) that are there.
  returned: always
  type: list
  elements: str
  sample: []
ledger:
  description: The ledger in order of version, as M(kubernaut.integration.sql_migrations) returns it.
  returned: always
  type: list
  elements: dict
  sample: []
"""

from ansible_collections.kubernaut.integration.plugins.module_utils._phase import run_module
from ansible_collections.kubernaut.integration.plugins.module_utils._schema import PHASE


def main() -> None:
    """Run the phase as a module."""
    run_module(PHASE)


if __name__ == "__main__":
    main()
