#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module front of the phase in ``module_utils/_audit.py``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: audit_verify
short_description: Prove that audit events arrive in PostgreSQL
version_added: 1.0.0
description:
  - Writes seven WorkflowExecution audit events to DataStorage in one batch (three started, three completed, one failed)
    and demands 201 with seven distinct ids.
  - Reads them back over two independent ways, DataStorage's query API and SQL past the service, and compares every
    field.
  - Demands that no entry of the dead letter queue (DLQ) in Redis carries the events. Entries of others do not count.
  - Takes its own rows and queue entries away again, also when the proof failed, unless O(keep=true).
  - On failure the first line names the most likely cause. For an answer of 500 or 202 the module finds it by trying the
    service's own insert on PostgreSQL in a transaction that it rolls back.
options:
  datastorage_host:
    description: Address at which the target reaches DataStorage. Never asked through a proxy.
    type: str
    default: 127.0.0.1
  datastorage_port:
    description: Published TCP port of DataStorage's API, 1 to 65535.
    type: int
    required: true
  datastorage_token:
    description: Bearer token that is shown to DataStorage; contract v0 asks for none.
    type: str
    default: ''
  contract:
    description: Generation of DataStorage whose outside behaviour is demanded.
    type: str
    choices: [v0, v1]
    default: v0
  contract_differences:
    description: >-
      In what the generation differs from O(contract), as C(stack_contract_file) of the role
      P(kubernaut.integration.stack#role) says it.
    type: dict
    default: {}
  team:
    description: Team whose stack this is. It is part of the events' namespace and resource names, so that kept rows
      tell where they came from.
    type: str
    default: workflowexecution
  keep:
    description: Leave the seven rows in the table, for a look at them. The task is then changed.
    type: bool
    default: false
  timeout:
    description: Seconds within which the query API must give back all events after it has acknowledged them.
    type: float
    default: 20.0
extends_documentation_fragment:
  - kubernaut.integration.attributes
  - kubernaut.integration.postgres
  - kubernaut.integration.redis
  - kubernaut.integration.tls
attributes:
  check_mode:
    support: full
    details: Writes nothing, connects to nothing and is skipped; RV(summary) says what would be done.
  diff_mode:
    support: none
  idempotent:
    support: partial
    details: With O(keep=true) every run leaves seven more rows, under a correlation id of their own.
author:
  - The kubernaut.integration authors (@kubernaut)
"""

EXAMPLES = r"""
- name: Prove that audit events arrive
  kubernaut.integration.audit_verify:
    datastorage_port: 18100
    postgres_port: 15443
    postgres_password: "{{ postgres_password }}"
    redis_port: 16389
  register: audit

- name: Say so
  ansible.builtin.debug:
    msg: "{{ audit.summary }} in {{ audit.elapsed }} s"

- name: Leave the events in the table for a look at them
  kubernaut.integration.audit_verify:
    datastorage_port: 18100
    postgres_port: 15443
    postgres_password: "{{ postgres_password }}"
    redis_port: 16389
    keep: true
"""

RETURN = r"""
lines:
  description: RV(summary) for the terminal.
  returned: always
  type: list
  elements: str
summary:
  description: The proof in one line.
  returned: always
  type: str
  sample: 7/7 written, 7/7 read back over HTTP, 7/7 in PostgreSQL, 0 in the DLQ
expected:
  description: Number of events that the proof consists of.
  returned: always
  type: int
  sample: 7
written:
  description: Events that DataStorage acknowledged with 201 and an id of their own.
  returned: always
  type: int
  sample: 7
read_http:
  description: Events that came back over the query API exactly as they were sent.
  returned: always
  type: int
  sample: 7
read_sql:
  description: Rows of C(audit_events) that are exactly what was sent, in the right day, under an acknowledged id.
  returned: always
  type: int
  sample: 7
dlq:
  description: Entries of the dead letter queue that carry the correlation id; anything but 0 is a failure.
  returned: always
  type: int
  sample: 0
chained:
  description: >-
    Events that DataStorage has verified as one chain of hashes; anything but all is a failure. Null for contract v0,
    which keeps none.
  returned: always
  type: int
  sample: 7
correlation_id:
  description: Correlation id of the events, fresh for every run; empty in check mode.
  returned: always
  type: str
  sample: kubernaut-integration-6f0c1ad5-3a5e-4a56-9f0e-0f5f9a1f0b7e
event_ids:
  description: Ids that DataStorage acknowledged.
  returned: always
  type: list
  elements: str
elapsed:
  description: Seconds that everything took.
  returned: always
  type: float
  sample: 0.09
timings:
  description: Seconds per step, of the steps that were reached.
  returned: always
  type: dict
  sample:
    connect: 0.017
    dlq_before: 0.004
    write: 0.021
    read_http: 0.006
    read_sql: 0.018
    dlq_after: 0.003
    remove: 0.017
"""

from ansible_collections.kubernaut.integration.plugins.module_utils._audit import PHASE
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import run_module


def main() -> None:
    """Run the phase as a module."""
    run_module(PHASE)


if __name__ == "__main__":
    main()
