#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module front of the phase in ``module_utils/_report.py``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_report
short_description: Say where a stack listens and what starting it took
version_added: 1.0.0
description:
  - Writes C(stack.env), environment variables by which kubernaut's suites find their stack, and C(stack.json), the
    same facts for other tools, into O(state_dir). Both belong to their owner alone (mode 0600).
  - C(stack.env) holds the passwords, because suites need them. C(stack.json) and the summary do not.
  - Returns a summary, which the action plugin shows on the terminal.
options:
  name:
    description: Name of the stack.
    type: str
    required: true
  team:
    description: Team whose stack it is.
    type: str
    required: true
  contract:
    description: Generation of DataStorage, such as V(v0).
    type: str
    required: true
  host:
    description: Name of the host on which the stack runs, for the summary.
    type: str
    required: true
  state_dir:
    description: The stack's own directory, which must exist (RV(kubernaut.integration.stack#module:state_dir)).
    type: path
    required: true
  podman:
    description: How podman is called for this stack, for C(stack.json).
    type: str
    required: true
  ports:
    description: Published TCP ports.
    type: dict
    required: true
    suboptions:
      postgres:
        description: Port of PostgreSQL.
        type: int
        required: true
      redis:
        description: Port of Redis.
        type: int
        required: true
      datastorage:
        description: Port of DataStorage.
        type: int
        required: true
  containers:
    description: Component -> name of its container.
    type: dict
    required: true
  network:
    description: Name of the network.
    type: str
    required: true
  images:
    description: >-
      Component -> its image, with the keys C(reference), C(id) and C(digest), which may be empty.
    type: dict
    required: true
  reference_service:
    description: Whether DataStorage is the collection's own reference service.
    type: bool
    required: true
  database:
    description: The service's own database.
    type: str
    required: true
  user:
    description: The service's own user of the database.
    type: str
    required: true
  password:
    description: Password of O(user).
    type: str
    required: true
  redis_password:
    description: Password of Redis; empty when it asks for none.
    type: str
    default: ''
  generated:
    description: >-
      Passwords that the stack keeps itself (RV(kubernaut.integration.stack_credentials#module:credentials)). They are
      left out of what is kept on the controller.
    type: dict
    default: {}
  health_port:
    description: Published port of O(health_path); V(0) where it is that of DataStorage's API.
    type: int
    default: 0
  metrics_port:
    description: Published port of O(metrics_path); V(0) where it is that of DataStorage's API.
    type: int
    default: 0
  token_file:
    description: File with the token that DataStorage asks for; empty where it asks for none.
    type: str
    default: ''
  tls:
    description: Whether DataStorage's API speaks TLS.
    type: bool
    default: false
  ca_file:
    description: File with what clients of the API must trust; empty for what the host trusts anyway, or without TLS.
    type: str
    default: ''
  health_path:
    description: DataStorage's health path.
    type: str
    required: true
  metrics_path:
    description: DataStorage's metrics path.
    type: str
    required: true
  configuration:
    description: >-
      What DataStorage really uses, by key (RV(kubernaut.integration.adr030_config#module:effective)), for
      C(stack.json).
    type: dict
    default: {}
  started:
    description: Whether DataStorage was started, or is left to a later run.
    type: bool
    default: true
  proof:
    description: The proof that the stack works, in one line (RV(kubernaut.integration.audit_verify#module:summary)).
    type: str
    required: true
  marks:
    description: Moments at which phases ended, in order. The first entry is the beginning of the run and has no
      duration.
    type: list
    elements: dict
    required: true
    suboptions:
      phase:
        description: Name of the phase.
        type: str
        required: true
      at:
        description: When it ended, in seconds since the epoch.
        type: float
        required: true
  variables:
    description:
      - Extra variables, beside ports and credentials, with which another playbook means this very stack. They are kept
        on the controller in C(vars.json), which the commands in RV(lines) name.
    type: dict
    default: {}
  settings:
    description: >-
      What the stack was made with, such as images, migrations and limits. What is no default of the roles is kept with
      O(variables).
    type: dict
    default: {}
  memory:
    description: >-
      Memory of the containers in one line (RV(kubernaut.integration.stack_stable#module:headroom)), for the summary.
    type: str
    default: ''
  notes:
    description: Sentences about machine and configuration that the summary repeats.
    type: list
    elements: str
    default: []
  verify_command:
    description: Command that proves the stack again. The action plugin fills it in, whatever is given.
    type: str
    default: ''
  finish_command:
    description: Command that starts DataStorage where it was left out; filled in by the action front.
    type: str
    default: ''
  teardown_command:
    description: Command that takes the stack down. The action plugin fills it in, whatever is given.
    type: str
    default: ''
extends_documentation_fragment:
  - kubernaut.integration.attributes
  - kubernaut.integration.hosts
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
seealso:
  - module: kubernaut.integration.stack
  - module: kubernaut.integration.diagnose
author:
  - The kubernaut.integration authors (@kubernaut)
"""

EXAMPLES = r"""
- name: Report where everything is
  vars:
    plan: "{{ lookup('kubernaut.integration.stack_plan') }}"
  kubernaut.integration.stack_report:
    name: "{{ plan.name }}"
    team: "{{ plan.team }}"
    contract: "{{ plan.contract_name }}"
    host: "{{ inventory_hostname }}"
    state_dir: "{{ stack.state_dir }}"
    podman: "{{ host.podman }}"
    ports: "{{ plan.ports }}"
    containers: "{{ plan.containers }}"
    network: "{{ plan.network }}"
    images:
      postgres:
        reference: localhost/kubernaut-integration/postgres
        id: 0a1b2c3d4e5f
        digest: ''
      redis:
        reference: localhost/kubernaut-integration/redis
        id: 0a1b2c3d4e5f
        digest: ''
      datastorage:
        reference: registry.example.com/kubernaut/datastorage:v1.0
        digest: sha256:4bc453b53cb3d914b45f4b250294236adba2c0e09ff6f03793949e7e39fd4cc1
        id: 4bc453b53cb3
    reference_service: false
    database: "{{ plan.database }}"
    user: "{{ plan.user }}"
    password: "{{ plan.password }}"
    health_path: "{{ plan.contract.health }}"
    metrics_path: "{{ plan.contract.metrics }}"
    proof: "{{ audit.summary }}"
    marks:
      - phase: begin
        at: "{{ host.at }}"
      - phase: postgres
        at: "{{ postgres.at }}"
"""

RETURN = r"""
lines:
  description: The summary for the terminal.
  returned: success
  type: list
  elements: str
last_line:
  description: Which DataStorage this is.
  returned: success
  type: str
  sample: DataStorage is the collection's REFERENCE SERVICE (localhost/datastorage); set datastorage_image for a real
    one.
durations:
  description: Phase -> seconds that it took, after the first of O(marks).
  returned: success
  type: dict
  sample:
    postgres: 1.32
    redis: 0.41
files:
  description: C(stack.env) and C(stack.json) -> absolute path.
  returned: success
  type: dict
  sample:
    stack.env: /home/dev/.local/state/kubernaut-integration/workflowexecution/stack.env
    stack.json: /home/dev/.local/state/kubernaut-integration/workflowexecution/stack.json
stack:
  description: What C(stack.json) says.
  returned: success
  type: dict
at:
  description: When the phase ended, in seconds since the epoch by the clock of the host that executed it.
  returned: success
  type: float
  sample: 1766304000.123
"""

from ansible_collections.kubernaut.integration.plugins.module_utils._phase import run_module
from ansible_collections.kubernaut.integration.plugins.module_utils._report import PHASE


def main() -> None:
    """Run the phase as a module."""
    run_module(PHASE)


if __name__ == "__main__":
    main()
