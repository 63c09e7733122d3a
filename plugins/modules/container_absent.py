#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module front of the phase in ``module_utils/_stack.py``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: container_absent
short_description: Remove some containers of a stack in the right order
version_added: 1.0.0
description:
  - Stops and removes the containers of the given components, DataStorage before Redis before PostgreSQL, because a
    DataStorage that outlives what it writes to loses events.
  - Removes only containers that carry the stack's labels, and their anonymous volumes with them. The data volume and
    the network stay.
options:
  stack:
    description: Name of the stack, as containers carry it in their label.
    type: str
    required: true
  components:
    description: Components to remove, in any order.
    type: list
    elements: str
    choices: [postgres, redis, datastorage, auth]
    required: true
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
  diff_mode:
    support: none
    details: RV(actions) says what was done.
  idempotent:
    support: full
seealso:
  - module: kubernaut.integration.stack
author:
  - The kubernaut.integration authors (@kubernaut)
"""

EXAMPLES = r"""
- name: Remove Redis, and first the DataStorage that writes to it
  kubernaut.integration.container_absent:
    stack: workflowexecution
    components:
      - redis
      - datastorage
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, in words and in order.
  returned: success
  type: list
  elements: str
  sample:
    - removed container workflowexecution_datastorage_1 (exit 0, 5.3 s)
    - removed container workflowexecution_redis_1 (exit 0, 0.4 s)
at:
  description: When the phase ended, in seconds since the epoch by the clock of the host that executed it.
  returned: success
  type: float
  sample: 1766304000.123
"""

from ansible_collections.kubernaut.integration.plugins.module_utils._phase import run_module
from ansible_collections.kubernaut.integration.plugins.module_utils._stack import ABSENT_PHASE


def main() -> None:
    """Run the phase as a module."""
    run_module(ABSENT_PHASE)


if __name__ == "__main__":
    main()
