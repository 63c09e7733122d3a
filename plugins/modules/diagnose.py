#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module front of the phase in ``module_utils/_diagnose.py``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: diagnose
short_description: Say what is wrong with a stack, and keep the evidence
version_added: 1.0.0
description:
  - Looks at a stack from every side at once. Where the failed task did not name the cause, the module does, from the
    ends of containers, their logs and the answers of the services. Without a failed task it says whether the stack is
    healthy.
  - Writes a directory below the stack's C(report) directory, and a tar beside it. C(summary.md) is to be read first.
    Further files hold logs and C(podman inspect) of every container, what happened to them, the configuration that
    they read, the ledger of migrations, schema and partitions, settings and sessions of PostgreSQL and Redis, length
    and last errors of the dead letter queues, free space, who listens at the ports, the kernel's lines about memory
    that ran out, and C(podman info).
  - Takes at most 10 seconds and some 8 MiB. What could not be collected is named in RV(gaps) and C(summary.md).
  - Everything belongs to its owner alone. Passwords are masked wherever they stand, in base64 and in URLs, too, and so
    are the values of variables and settings whose names speak of a password, secret, token or key. Values of up to 3
    characters cannot be masked in logs.
  - Changes nothing about the stack.
options:
  name:
    description: Name of the stack.
    type: str
    required: true
  containers:
    description: Component (V(postgres), V(redis), V(datastorage)) -> name of its container, of the stack's own ones.
    type: dict
    required: true
  outside:
    description: Component that is not the stack's own -> what and where it is, in words. It is asked, too.
    type: dict
    default: {}
  ports:
    description: Where the components should listen. A container's own published port counts more.
    type: dict
    default: {}
    suboptions:
      postgres:
        description: TCP port of PostgreSQL.
        type: int
      redis:
        description: TCP port of Redis.
        type: int
      datastorage:
        description: TCP port of DataStorage.
        type: int
  database:
    description: The service's own database.
    type: str
    default: action_history
  user:
    description: The service's own user of the database.
    type: str
    default: slm_user
  password:
    description: Password of O(user); by default the one that the stack's own files hold.
    type: str
  redis_password:
    description: Password of Redis, empty when it asks for none; by default the one that the stack's own files hold.
    type: str
  health_port:
    description: Published port of O(health_path); V(0) where it is that of DataStorage's API.
    type: int
    default: 0
  health_path:
    description: Where DataStorage says how it is.
    type: str
    default: /health
  expect:
    description: What a healthy one's JSON body holds there.
    type: dict
    default: {status: healthy, database: connected}
  state_dir:
    description:
      - Directory below which every stack has its own directory.
      - Empty for C($XDG_STATE_HOME/kubernaut-integration), by default C(~/.local/state/kubernaut-integration), of the
        target's user.
    type: str
    default: ''
  storage:
    description: Where podman keeps images and volumes, as M(kubernaut.integration.host_probe) returns it; empty when
      that is not known.
    type: str
    default: ''
  podman:
    description: Podman executable.
    type: str
    default: podman
  task:
    description: Name of the task that failed.
    type: str
    default: ''
  failure:
    description: What the failed task said; empty when none failed.
    type: str
    default: ''
  cause:
    description: Id of the cause as far as the failed task named it.
    type: str
    default: ''
  marks:
    description: When each phase of the run ended. What was dead before the first one did not make the run fail.
    type: list
    elements: dict
    default: []
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
    description: Extra variables with which the teardown playbook means this very stack.
    type: dict
    default: {}
  host:
    description: Name of the host on which the evidence lies. The action plugin fills it in for remote hosts, whatever
      is given.
    type: str
    default: ''
  teardown_command:
    description: Command that takes the stack down. The action plugin fills it in, whatever is given.
    type: str
    default: ''
extends_documentation_fragment:
  - kubernaut.integration.attributes
  - kubernaut.integration.hosts
  - kubernaut.integration.tls
requirements:
  - psycopg >= 3.1 on the host that executes the module, for what PostgreSQL knows
  - redis >= 4.3 (redis-py) on the host that executes the module, for what Redis knows
attributes:
  check_mode:
    support: full
    details: Looks for the cause and writes no file.
  diff_mode:
    support: none
  idempotent:
    support: full
    details: Every call writes a directory of its own, which does not count as a change.
seealso:
  - module: kubernaut.integration.stack
  - module: kubernaut.integration.stack_report
author:
  - The kubernaut.integration authors (@kubernaut)
"""

EXAMPLES = r"""
- name: Start the stack, and keep the evidence when that fails
  vars:
    plan: "{{ lookup('kubernaut.integration.stack_plan') }}"
  block:
    - name: Start PostgreSQL
      ansible.builtin.include_role:
        name: kubernaut.integration.postgres
  rescue:
    - name: Keep the evidence
      kubernaut.integration.diagnose:
        name: "{{ plan.name }}"
        containers: "{{ plan.containers }}"
        ports: "{{ plan.ports }}"
        password: "{{ plan.password }}"
        task: "{{ ansible_failed_task.name }}"
        failure: "{{ ansible_failed_result.msg }}"
        cause: "{{ ansible_failed_result.cause | default('') }}"
      register: diagnosis

    - name: Stay a failure
      ansible.builtin.fail:
        msg: "{{ diagnosis.message }}"
"""

RETURN = r"""
healthy:
  description: Whether no task failed, every container runs and every service answers as its gate demands.
  returned: success
  type: bool
  sample: false
cause:
  description: Id of the cause; V(unknown) when a task failed and nobody knows why, empty when nothing is wrong.
  returned: success
  type: str
  sample: out-of-memory
message:
  description:
    - The first line says what is wrong and what to do next, and ends with the cause's id in brackets. It is the failed
      task's own first line where that named the cause.
    - Further lines are the failed task's first line where it did not, and where everything is.
  returned: success
  type: str
  sample: |-
    the container workflowexecution_redis_1 ran out of its memory limit (256 MiB); raise redis_memory. [out-of-memory]
    The events could not be queued
    Everything is in /home/dev/stacks/workflowexecution/report/failure-20251221-101500/summary.md.
directory:
  description: Directory of the evidence, named after the time in UTC. It is not made in check mode.
  returned: success
  type: str
  sample: /home/dev/.local/state/kubernaut-integration/workflowexecution/report/failure-20251221-101500
archive:
  description: The same as a tar; empty when it could not be written, and in check mode.
  returned: success
  type: str
  sample: /home/dev/.local/state/kubernaut-integration/workflowexecution/report/failure-20251221-101500.tar.gz
states:
  description: How each container stands, in one line.
  returned: success
  type: list
  elements: str
  sample:
    - workflowexecution_postgres_1 is exited, exit status 1
gaps:
  description: What could not be collected -> why.
  returned: success
  type: dict
  sample:
    PostgreSQL's state: workflowexecution_postgres_1 does not run
lines:
  description: What the action plugin shows on the terminal.
  returned: success
  type: list
  elements: str
at:
  description: When the phase ended, in seconds since the epoch by the clock of the host that executed it.
  returned: success
  type: float
  sample: 1766304000.123
"""

from ansible_collections.kubernaut.integration.plugins.module_utils._diagnose import PHASE
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import run_module


def main() -> None:
    """Run the phase as a module."""
    run_module(PHASE)


if __name__ == "__main__":
    main()
