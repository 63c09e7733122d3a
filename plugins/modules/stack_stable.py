#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module front of the phase in ``module_utils/_stability.py``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_stable
short_description: Prove that nothing happened to a stack's containers since they were proven
version_added: 1.0.0
description:
  - A container that died and was started again looks well to every gate, and what was written in between is lost all
    the same. With O(record=true), a run that has just proven a stack records which containers it proved. Without it,
    the module looks back over the whole time since then, and fails when one of them ended, was restarted, replaced or
    removed, or when memory ran out in one, also for a process in a container that lives on.
  - Ids, start times and restart counts decide. Podman's events, the control groups (version 1 and 2) and the kernel's
    log say when and why, as far as they can be read. The message's first line names the container, what happened to it
    and when, and what to do next; RV(findings) says the same to programs.
  - Reports the memory of each container, without the page cache as far as that can be known, and notes where it came
    within a tenth of the limit.
  - Where there is no record, only what is there now is looked at, and a note says so.
options:
  name:
    description: Name of the stack.
    type: str
    required: true
  containers:
    description: Names of the stack's containers.
    type: dict
    required: true
    suboptions:
      postgres:
        description: Container of PostgreSQL; empty when it is not the stack's own.
        type: str
        default: ""
      redis:
        description: Container of Redis; empty when it is not the stack's own.
        type: str
        default: ""
      datastorage:
        description: Container of DataStorage; empty when it is not the stack's own.
        type: str
        default: ""
  proven:
    description:
      - What the gates of this run saw of each container (RV(kubernaut.integration.redis_ready#module:identity)).
        Nothing may have happened to it since.
    type: dict
    default: {}
    suboptions:
      postgres:
        description: What the gate of PostgreSQL saw.
        type: dict
        default: {}
      redis:
        description: What the gate of Redis saw.
        type: dict
        default: {}
      datastorage:
        description: What the gate of DataStorage saw.
        type: dict
        default: {}
  record:
    description:
      - Record the containers as they are, because this run has proven them. What happened to them before this run is
        then no failure but a note.
      - The record is C(identity.json) in the stack's directory, which belongs to its owner alone. It is written only
        when something about the containers has changed.
    type: bool
    default: false
  state_dir:
    description: >-
      Directory in which every stack has its own; empty for C($XDG_STATE_HOME/kubernaut-integration), or
      C(~/.local/state/kubernaut-integration).
    type: str
    default: ''
  podman:
    description: How podman is called for this stack, as M(kubernaut.integration.host_probe) found it.
    type: str
    default: podman
  remote:
    description: >-
      Whether podman is the client of a service that may be on another machine. Memory is not looked at then, since the
      control groups are that machine's.
    type: bool
    default: false
extends_documentation_fragment:
  - kubernaut.integration.attributes
attributes:
  check_mode:
    support: full
    details: Looks and fails as ever, and writes no record.
  diff_mode:
    support: none
  idempotent:
    support: full
seealso:
  - module: kubernaut.integration.audit_verify
  - module: kubernaut.integration.diagnose
author:
  - The kubernaut.integration authors (@kubernaut)
"""

EXAMPLES = r"""
- name: Record the containers that were just proven
  kubernaut.integration.stack_stable:
    name: workflowexecution
    containers:
      postgres: workflowexecution_postgres_1
      redis: workflowexecution_redis_1
      datastorage: workflowexecution_datastorage_1
    record: true

- name: After a suite, see whether all of them lived on
  vars:
    plan: "{{ lookup('kubernaut.integration.stack_plan') }}"
  kubernaut.integration.stack_stable:
    name: "{{ plan.name }}"
    containers: "{{ plan.containers }}"
"""

RETURN = r"""
since:
  description: Since when the containers ought to have lived on; empty when there is no record.
  returned: when there are containers
  type: str
  sample: '2025-12-21T10:15:00Z'
events:
  description: >-
    Whether podman's events were read, and reach back to the start of every container. They are not asked for when there
    is no record, nor by a run that records and finds nothing changed.
  returned: when there are containers
  type: bool
  sample: true
containers:
  description: Component -> its container as it is now.
  returned: when there are containers
  type: dict
  contains:
    name:
      description: Name of the container.
      type: str
      sample: workflowexecution_redis_1
    id:
      description: Id of the container.
      type: str
      sample: 3f1d6b3b9c58
    started_at:
      description: When podman started it.
      type: str
      sample: '2025-12-21T10:15:00.123456789Z'
    restarts:
      description: How often podman restarted it by itself.
      type: int
      sample: 0
    kills:
      description: Processes in it that were killed because memory ran out, since its start.
      type: int
      sample: 0
    run:
      description: The run of a playbook that made it; empty when none did.
      type: str
      sample: 2025-12-21T10:14:52Z pid 4711
memory:
  description: Component -> its memory in bytes; what cannot be read is not there.
  returned: when there are containers
  type: dict
  contains:
    used:
      description: In use now, without the page cache that the kernel takes back first.
      type: int
      sample: 9437184
    peak:
      description: The most that was ever in use, likewise as far as that can be known.
      type: int
      sample: 12582912
    limit:
      description: Its limit; null when it has none.
      type: int
      sample: 134217728
headroom:
  description: The same in one line; empty when nothing can be read.
  returned: when there are containers
  type: str
  sample: postgres 61 (peak 74) of 512 MiB, redis 9 (peak 12) of 128 MiB, datastorage 48 (peak 60) of 256 MiB
notes:
  description: What a person ought to know though nothing is wrong, such as memory that came near its limit.
  returned: when there are containers
  type: list
  elements: str
findings:
  description: What happened, in the order of time.
  returned: on failure, when something happened
  type: list
  elements: dict
  contains:
    component:
      description: Whose container it is.
      type: str
      sample: redis
    cause:
      description: >-
        Id of the cause, such as V(restarted), V(replaced), V(removed), V(out-of-memory), V(killed) or V(sigkill).
      type: str
      sample: restarted
    sentence:
      description: What happened.
      type: str
    action:
      description: What to do next.
      type: str
    at:
      description: When it happened; empty when that is not known.
      type: str
      sample: 2025-12-21 10:20:00 UTC
lines:
  description: What the terminal shows; nothing for a run that records, because its report says the same.
  returned: success
  type: list
  elements: str
at:
  description: When the phase ended, in seconds since the epoch by the clock of the host that executed it.
  returned: success
  type: float
  sample: 1766304000.123
"""

from ansible_collections.kubernaut.integration.plugins.module_utils._phase import run_module
from ansible_collections.kubernaut.integration.plugins.module_utils._stability import PHASE


def main() -> None:
    """Run the phase as a module."""
    run_module(PHASE)


if __name__ == "__main__":
    main()
