#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module front of the phase in ``module_utils/_stack.py``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack
short_description: Bring up the frame of a stack, or take the whole stack down
version_added: 1.0.0
description:
  - With O(state=present) makes the stack's private directory and its labelled network, takes the stack's lock for the
    run, and returns what there is of the stack's containers. It starts no container.
  - With O(state=absent) removes exactly what carries the stack's labels, in the order DataStorage, Redis, PostgreSQL,
    network, volume, looks again whether anything is left, and removes the stack's directory. The images stay.
  - With O(state=released) gives the lock back.
  - A container, network or volume of the same name without the stack's labels is never touched. O(state=present) fails
    and says whose it is.
  - The lock belongs to the C(ansible-playbook) process. It ends with that process, or, where that process runs on
    another machine, 30 minutes after it was last taken.
options:
  state:
    description: What to bring about.
    type: str
    choices: [present, absent, released]
    default: present
  name:
    description:
      - Name of the stack, for its labels and its directory.
      - Letters, digits, C(_), C(.) and C(-), beginning with a letter or digit.
    type: str
    required: true
  containers:
    description: Component (V(postgres), V(redis), V(datastorage)) -> name of its container, of the stack's own ones.
    type: dict
    required: true
  outside:
    description:
      - Component that is not the stack's own -> what and where it is, in words.
      - With O(state=present), a container that the stack had in its place is removed. With O(state=absent) it is said
        that nothing outside was touched.
    type: dict
    default: {}
  network:
    description: Name of the network.
    type: str
    required: true
  volume:
    description: Name of PostgreSQL's data volume. It is looked at and removed here, and made elsewhere.
    type: str
    required: true
  state_dir:
    description:
      - Directory below which every stack has its own directory.
      - Empty for C($XDG_STATE_HOME/kubernaut-integration), by default C(~/.local/state/kubernaut-integration), of the
        target's user.
    type: str
    default: ''
  inspect:
    description: >-
      Whether to ask podman what there is. With V(false) the target counts as empty, which is for a check mode run on a
      machine that has no podman yet.
    type: bool
    default: true
  fresh:
    description: With O(state=present), first remove everything that carries the stack's labels, data included.
    type: bool
    default: false
  credentials:
    description:
      - Where the passwords of the stack come from. With O(state=present), refuses a data volume that was made with
        passwords of the other kind, or whose own are lost, because it keeps the one that it was made with.
      - P(kubernaut.integration.stack_credentials#module) makes generated ones. O(fresh=true) removes them.
      - Leave it out where PostgreSQL's password is given.
    type: str
    choices: [upstream, generated]
  lock_timeout:
    description: Seconds to wait for another run that holds the stack. With V(0) the module fails at once.
    type: float
    default: 0.0
  owner:
    description: The process that holds the lock. The action plugin fills it in, whatever is given.
    type: dict
    suboptions: &owner
      host:
        description: Name of the controller.
        type: str
        required: true
      boot:
        description: Boot and process namespace of the controller; empty when it has no C(/proc).
        type: str
        required: true
      pid:
        description: Process id on the controller.
        type: int
        required: true
      started:
        description: When that process started, in clock ticks since the boot.
        type: int
        required: true
  dead_owner:
    description: An owner that the controller knows to have ended. The action plugin fills it in, whatever is given.
    type: dict
    suboptions: *owner
  stop_timeout:
    description: >-
      Seconds that each container has for a clean stop before it is killed. DataStorage waits 5 seconds before it
      begins to stop, and may then take 45 more.
    type: int
    default: 60
  podman:
    description: Podman executable.
    type: str
    default: podman
extends_documentation_fragment:
  - kubernaut.integration.attributes
attributes:
  check_mode:
    support: full
    details: Takes no lock, removes and makes nothing; RV(actions) says what would be done.
  diff_mode:
    support: none
    details: RV(actions) says what was done.
  idempotent:
    support: partial
    details: With O(fresh=true) and O(state=present) a stack that has containers or a volume is removed every time.
seealso:
  - module: kubernaut.integration.container_absent
  - module: kubernaut.integration.stack_credentials
  - module: kubernaut.integration.stack_report
  - plugin: kubernaut.integration.stack_plan
    plugin_type: lookup
author:
  - The kubernaut.integration authors (@kubernaut)
"""

EXAMPLES = r"""
- name: Bring up the frame
  vars:
    plan: "{{ lookup('kubernaut.integration.stack_plan') }}"
  kubernaut.integration.stack:
    name: "{{ plan.name }}"
    containers: "{{ plan.containers }}"
    network: "{{ plan.network }}"
    volume: "{{ plan.volume }}"
    lock_timeout: 60
  register: stack

- name: Take the stack down
  vars:
    plan: "{{ lookup('kubernaut.integration.stack_plan') }}"
  kubernaut.integration.stack:
    state: absent
    name: "{{ plan.name }}"
    containers: "{{ plan.containers }}"
    network: "{{ plan.network }}"
    volume: "{{ plan.volume }}"
"""

RETURN = r"""
state_dir:
  description: The stack's own directory, O(name) below O(state_dir).
  returned: success
  type: str
  sample: /home/dev/.local/state/kubernaut-integration/workflowexecution
actions:
  description: What was done, or would be done in check mode, in words and in order.
  returned: success, unless O(state=released)
  type: list
  elements: str
  sample:
    - created network workflowexecution_test-network
run:
  description: What the containers of this run are labelled with, its time in UTC and its process.
  returned: when O(state=present)
  type: str
  sample: 2026-11-23T18:00:00Z pid 4711
lines:
  description: What a person should read.
  returned: when O(state=absent)
  type: list
  elements: str
found:
  description: What there is of the stack, after O(fresh). A key for every key of O(containers), each null when there
    is none.
  returned: when O(state=present)
  type: dict
  contains:
    postgres:
      description: PostgreSQL's container; the keys are the same for every component.
      type: dict
      contains:
        id:
          description: Id of the container.
          type: str
        running:
          description: Whether it runs.
          type: bool
        status:
          description: Podman's word for how it stands.
          type: str
          sample: exited
        started:
          description: When podman started it.
          type: str
        image:
          description: Id of its image.
          type: str
        labels:
          description: Its labels.
          type: dict
    network:
      description: Labels of the network. It is null also when this very task made the network.
      type: dict
    volume:
      description: Labels of the data volume.
      type: dict
foreign:
  description: Sentences about things of the same name that do not belong to the stack.
  returned: on failure because of them
  type: list
  elements: str
holder:
  description: Who holds the stack's lock; the keys are those of O(owner).
  returned: on failure because of the lock
  type: dict
left:
  description: What is still there after a removal, as podman lists it.
  returned: on failure because of it
  type: dict
at:
  description: When the phase ended, in seconds since the epoch by the clock of the host that executed it.
  returned: success
  type: float
  sample: 1766304000.123
"""

from ansible_collections.kubernaut.integration.plugins.module_utils._phase import run_module
from ansible_collections.kubernaut.integration.plugins.module_utils._stack import PHASE


def main() -> None:
    """Run the phase as a module."""
    run_module(PHASE)


if __name__ == "__main__":
    main()
