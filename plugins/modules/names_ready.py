#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module front of the phase in ``module_utils/_ready.py``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: names_ready
short_description: Wait until names can be resolved inside a stack's network
version_added: 1.0.0
description:
  - Calls C(getent hosts) in O(container), again and again until every one of O(names) has an address, as DataStorage
    will need them.
  - Fails when O(timeout) has passed. Fails at once when O(container) is gone or has no C(getent). The message's first
    line names the cause and what to do.
options:
  container:
    description: Name of a running container of the network whose image has C(getent).
    type: str
    required: true
  names:
    description: Names to resolve, such as those of the other containers.
    type: list
    elements: str
    required: true
  timeout:
    description:
      - Seconds after which the gate gives up.
      - It polls every 50 ms for 10 seconds, then ever more slowly, at most every 0.5 seconds.
    type: float
    default: 30.0
  stable_for:
    description: Seconds for which the names must stay resolvable. They come on top of O(timeout).
    type: float
    default: 0.0
  secrets:
    description: Passwords that the container's log may quote. They are masked in every answer and not used otherwise.
    type: list
    elements: str
    default: []
  podman:
    description: Podman executable.
    type: str
    default: podman
extends_documentation_fragment:
  - kubernaut.integration.attributes
attributes:
  check_mode:
    support: full
    details: Asks nothing; RV(ready) is V(false) and RV(attempts) is V(0).
  diff_mode:
    support: N/A
    details: Nothing is changed.
  idempotent:
    support: full
seealso:
  - module: kubernaut.integration.datastorage_ready
author:
  - The kubernaut.integration authors (@kubernaut)
"""

EXAMPLES = r"""
- name: Wait until PostgreSQL and Redis have names that resolve
  kubernaut.integration.names_ready:
    container: workflowexecution_postgres_1
    names:
      - workflowexecution_postgres_1
      - workflowexecution_redis_1
    timeout: 10
"""

RETURN = r"""
ready:
  description: Whether the claim is true. Can be V(false) without a failure in check mode only.
  returned: when the gate was asked
  type: bool
  sample: true
elapsed:
  description: Seconds from the first attempt to the end.
  returned: when the gate was asked
  type: float
  sample: 1.204
attempts:
  description: How often the service was asked.
  returned: when the gate was asked
  type: int
  sample: 24
observations:
  description: What the attempts saw, in order; equal ones in a row are one entry.
  returned: when the gate was asked
  type: list
  elements: dict
  contains:
    state:
      description: What was seen, in a word or two.
      type: str
      sample: no such name
    detail:
      description: The evidence in one line.
      type: str
      sample: workflowexecution_redis_1 cannot be resolved
    since:
      description: Seconds after the first attempt at which it was first seen.
      type: float
      sample: 0.012
    times:
      description: How many attempts in a row saw it.
      type: int
      sample: 23
identity:
  description: What must not change about O(container) while the gate waits.
  returned: except in check mode
  type: dict
  contains:
    id:
      description: Id of the container.
      type: str
      sample: 3f1d6b3b9c58
    started_at:
      description: When podman started it.
      type: str
      sample: '2025-12-21T10:15:00.123456789Z'
    restarts:
      description: How often podman restarted it.
      type: int
      sample: 0
cause:
  description: Id of the most likely cause, V(unknown) where no known one fits. The first line of C(msg) ends with it.
  returned: on failure
  type: str
  sample: out-of-memory
at:
  description: When the phase ended, in seconds since the epoch by the clock of the host that executed it.
  returned: success
  type: float
  sample: 1766304000.123
"""

from ansible_collections.kubernaut.integration.plugins.module_utils._phase import run_module
from ansible_collections.kubernaut.integration.plugins.module_utils._ready import NAMES_PHASE


def main() -> None:
    """Run the phase as a module."""
    run_module(NAMES_PHASE)


if __name__ == "__main__":
    main()
