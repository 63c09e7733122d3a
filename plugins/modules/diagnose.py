#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module front of the phase in ``module_utils/_diagnose.py``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: diagnose
short_description: Keep the evidence of a failed run
version_added: 1.0.0
description:
  - Writes the last 2000 log lines and C(podman inspect) of every container of the stack, and a C(summary.md) with the
    failure, into a directory of its own below the stack's C(report) directory. Everything in it belongs to its owner
    alone.
  - Values of environment variables whose names speak of a password, secret, token or key are masked in what
    C(podman inspect) said. Logs are kept as they are.
  - Returns lines that say how the containers stand, which the action plugin shows on the terminal.
  - Changes nothing about the stack.
options:
  name:
    description: Name of the stack.
    type: str
    required: true
  containers:
    description: Component (V(postgres), V(redis), V(datastorage)) -> name of its container. Missing containers are
      skipped.
    type: dict
    required: true
  state_dir:
    description:
      - Directory below which every stack has its own directory.
      - Empty for C($XDG_STATE_HOME/kubernaut-integration), by default C(~/.local/state/kubernaut-integration), of the
        target's user.
    type: str
    default: ''
  podman:
    description: Podman executable.
    type: str
    default: podman
  inspect:
    description: Whether to ask podman; V(false) when the machine has none yet.
    type: bool
    default: true
  task:
    description: Name of the task that failed.
    type: str
    default: ''
  failure:
    description: Message of the task that failed.
    type: str
    default: ''
  variables:
    description: Extra variables with which the teardown playbook means this very stack.
    type: dict
    default: {}
  teardown_command:
    description: Command that takes the stack down. The action plugin fills it in, whatever is given.
    type: str
    default: ''
extends_documentation_fragment:
  - kubernaut.integration.attributes
attributes:
  check_mode:
    support: full
    details: Writes no file.
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
        task: "{{ ansible_failed_task.name }}"
        failure: "{{ ansible_failed_result.msg }}"
"""

RETURN = r"""
directory:
  description: Directory of the evidence, named after the time in UTC. It is not made in check mode.
  returned: success
  type: str
  sample: /home/dev/.local/state/kubernaut-integration/workflowexecution/report/failure-20251221-101500
states:
  description: How each container stands, in one line.
  returned: success
  type: list
  elements: str
  sample:
    - workflowexecution_postgres_1 is exited, exit status 1
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
