#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module front of the phase in ``module_utils/_queues.py``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: queues_empty
short_description: Remove what waits in DataStorage's dead-letter queues
version_added: 1.0.0
description:
  - Removes the Redis streams into which DataStorage puts events that it could not write, dead letters included. What a
    suite left there would otherwise come into the database when DataStorage replays it.
  - Counts the entries in the same step, so none is removed without being told of. Touches nothing else in Redis.
options:
  contract:
    description: Generation of DataStorage's outside behaviour, which says what the streams are called.
    type: str
    choices: [v0, v1]
    default: v0
  contract_differences:
    description: >-
      In what the generation differs from O(contract), as C(stack_contract_file) of the role
      P(kubernaut.integration.stack#role) says it.
    type: dict
    default: {}
extends_documentation_fragment:
  - kubernaut.integration.attributes
  - kubernaut.integration.redis
attributes:
  check_mode:
    support: full
    details: Counts the entries.
  diff_mode:
    support: N/A
    details: What is removed is in RV(emptied).
  idempotent:
    support: full
seealso:
  - module: kubernaut.integration.database_template
author:
  - The kubernaut.integration authors (@kubernaut)
"""

EXAMPLES = r"""
- name: Forget what the last suite left
  kubernaut.integration.queues_empty:
    redis_port: 16389
"""

RETURN = r"""
emptied:
  description: Entries that were removed, by stream. Streams that held none are left out.
  returned: success
  type: dict
  sample: {"audit:dlq:events": 12}
lines:
  description: The same for a person.
  returned: success
  type: list
  elements: str
  sample: ["  audit:dlq:events: 12 entries removed"]
cause:
  description: Id of the most likely cause, V(unknown) where no known one fits. The first line of C(msg) ends with it.
  returned: on failure
  type: str
  sample: redis-noauth
at:
  description: When the phase ended, in seconds since the epoch by the clock of the host that executed it.
  returned: success
  type: float
  sample: 1766304000.123
"""

from ansible_collections.kubernaut.integration.plugins.module_utils._phase import run_module
from ansible_collections.kubernaut.integration.plugins.module_utils._queues import PHASE


def main() -> None:
    """Run the phase as a module."""
    run_module(PHASE)


if __name__ == "__main__":
    main()
