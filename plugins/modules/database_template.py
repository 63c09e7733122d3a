#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module front of the phase in ``module_utils/_template.py``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: database_template
short_description: Keep the database as the migrations left it, and bring it back
version_added: 1.0.0
description:
  - With O(state=kept), sees to it that beside the service's database there is a template, which holds what the
    migrations made and nothing that anybody wrote since. It is called like the database with C(_template) at the end,
    nobody can connect to it, and it knows the ledger that it was kept with. Where that is no longer the database's, the
    template is made anew.
  - With O(state=restored), makes a copy of the template, adds the monthly partitions that are missing by now, and lets
    it take the place of the database in one transaction. All sessions in the database are ended for that; whoever
    connects again finds the new one. This takes less than a second.
  - A run that is killed leaves a whole database of the service's name, the former one or the new one. What else it
    leaves is removed by the next run.
  - A database of the template's name that was not made here is named and left alone.
options:
  state:
    description: What there should be, a template or a database that is like it.
    type: str
    choices: [kept, restored]
    required: true
  fresh:
    description:
      - Nobody has written to the database since the migrations, so that the template can be a copy of it.
      - Without it, or while somebody is in the database, the migrations are applied to the template itself, from where
        the former template ends.
    type: bool
    default: false
  directory:
    description:
      - Directory of the migrations that were applied to the database, required with O(state=kept).
      - A relative path counts from where C(ansible-playbook) runs; with O(remote_src=true) it must be absolute.
    type: path
  lock_timeout:
    description: Seconds to wait for another run that keeps or restores a database of the same server.
    type: float
    default: 30.0
extends_documentation_fragment:
  - kubernaut.integration.postgres
  - kubernaut.integration.migrations
  - kubernaut.integration.attributes
attributes:
  check_mode:
    support: full
    details: The server may be absent in check mode; then a change is predicted.
  diff_mode:
    support: N/A
    details: There is nothing that could be shown.
  idempotent:
    support: partial
    details: With O(state=restored), the database is restored each time.
notes:
  - O(postgres_user) must be allowed to create databases and own the service's one, or be a superuser. Where it may not,
    O(state=kept) is no failure, and RV(notes) says so.
  - The sessions that are ended are those of connection pools, too. DataStorage looks at a connection before it uses it
    again only when that has lain idle for a second, so give it that second.
requirements:
  - pglast >= 8 on the controller, as for M(kubernaut.integration.sql_migrations)
seealso:
  - module: kubernaut.integration.sql_migrations
  - module: kubernaut.integration.queues_empty
author:
  - The kubernaut.integration authors (@kubernaut)
"""

EXAMPLES = r"""
- name: Apply the migrations
  kubernaut.integration.sql_migrations:
    postgres_port: 15443
    postgres_password: "{{ postgres_password }}"
    directory: "{{ kubernaut_checkout }}/migrations"
  register: migrated

- name: Keep the database as it is now
  kubernaut.integration.database_template:
    state: kept
    postgres_port: 15443
    postgres_password: "{{ postgres_password }}"
    directory: "{{ kubernaut_checkout }}/migrations"
    fresh: "{{ migrated.applied | length == migrated.ledger | length }}"

- name: Forget what a suite wrote
  kubernaut.integration.database_template:
    state: restored
    postgres_port: 15443
    postgres_password: "{{ postgres_password }}"
    ensure_partitions: [audit_events, resource_action_traces]
"""

RETURN = r"""
template:
  description: Name of the template.
  returned: success
  type: str
  sample: action_history_template
kept:
  description: Whether there is a template of the database's own ledger.
  returned: success with O(state=kept)
  type: bool
  sample: true
how:
  description: >-
    How the template was made, V(copied) from the database or V(migrated) by itself; empty when it was there already.
  returned: success with O(state=kept), unless the server is absent
  type: str
  sample: copied
notes:
  description: Why there is none, in a sentence.
  returned: success with O(state=kept), unless the server is absent
  type: list
  elements: str
  sample: []
sessions:
  description: How many sessions were in the database, and were ended.
  returned: success with O(state=restored), unless the server is absent
  type: int
  sample: 5
partitions:
  description: >-
    What was found and done, by table of O(ensure_partitions), as M(kubernaut.integration.sql_migrations) returns it.
  returned: success with O(state=restored), unless the server is absent
  type: dict
  sample: {"audit_events": {"state": "present", "created": []}}
lines:
  description: The same for a person.
  returned: success, unless the server is absent
  type: list
  elements: str
  sample: ["  database action_history is as the migrations left it (0.21 s, 5 sessions ended)"]
elapsed:
  description: Seconds that the run took.
  returned: success, unless the server is absent
  type: float
  sample: 0.207
cause:
  description: Id of the cause, where there is a known one. The first line of C(msg) ends with it.
  returned: on failure
  type: str
  sample: template-missing
at:
  description: When the phase ended, in seconds since the epoch by the clock of the host that executed it.
  returned: success
  type: float
  sample: 1766304000.123
"""

from ansible_collections.kubernaut.integration.plugins.module_utils._phase import run_module
from ansible_collections.kubernaut.integration.plugins.module_utils._template import PHASE


def main() -> None:
    """Run the phase as a module."""
    run_module(PHASE)


if __name__ == "__main__":
    main()
