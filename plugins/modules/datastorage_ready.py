#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module front of the phase in ``module_utils/_ready.py``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: datastorage_ready
short_description: Wait until DataStorage says that it is healthy
version_added: 1.0.0
description:
  - Asks O(path) over HTTP, never through a proxy, and demands status 200 and a JSON object that holds everything in
    O(expect), again and again until it gets them.
  - Fails when O(timeout) has passed, and at once when O(container) is gone or its log names a cause that waiting
    does not cure, such as a refused password or a missing certificate. The message's first line names the cause and
    what to do.
  - That events can be written is more than a health path can tell; M(kubernaut.integration.audit_verify) proves it.
options:
  datastorage_host:
    description: Address at which the target reaches DataStorage.
    type: str
    default: 127.0.0.1
  datastorage_port:
    description: Published TCP port of DataStorage's API, 1 to 65535.
    type: int
    required: true
  health_port:
    description: >-
      Published TCP port on which O(path) is asked for, where that is not O(datastorage_port); V(0) where it is.
    type: int
    default: 0
  path:
    description: Health path.
    type: str
    default: /health
  expect:
    description: Keys and values that the answer must hold; it may hold more.
    type: dict
    default:
      status: healthy
      database: connected
extends_documentation_fragment:
  - kubernaut.integration.attributes
  - kubernaut.integration.gate
  - kubernaut.integration.tls
attributes:
  check_mode:
    support: full
    details: Makes one attempt, does not look at the container and does not fail; RV(ready) says how things stand.
  diff_mode:
    support: N/A
    details: Nothing is changed.
  idempotent:
    support: full
seealso:
  - module: kubernaut.integration.postgres_ready
  - module: kubernaut.integration.redis_ready
  - module: kubernaut.integration.audit_verify
author:
  - The kubernaut.integration authors (@kubernaut)
"""

EXAMPLES = r"""
- name: Wait for DataStorage
  kubernaut.integration.datastorage_ready:
    container: workflowexecution_datastorage_1
    datastorage_port: 18100
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
      sample: refused
    detail:
      description: The evidence in one line.
      type: str
      sample: nothing listens at the port yet (connection refused)
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
  returned: when O(container) is set, except in check mode
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
from ansible_collections.kubernaut.integration.plugins.module_utils._ready import DATASTORAGE_PHASE


def main() -> None:
    """Run the phase as a module."""
    run_module(DATASTORAGE_PHASE)


if __name__ == "__main__":
    main()
