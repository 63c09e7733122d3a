#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module front of the phase in ``module_utils/_credentials.py``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_credentials
short_description: Give a stack passwords of its own
version_added: 1.0.0
description:
  - Makes a password for PostgreSQL and one for Redis, keeps them in the stack's private directory in a file of mode
    0600, and returns them. Once made they stay, until the stack is taken down or made fresh.
  - They are what the result is for, so the task wants C(no_log).
options:
  name:
    description: Name of the stack.
    type: str
    required: true
  state_dir:
    description: >-
      Directory of all stacks; empty for C($XDG_STATE_HOME/kubernaut-integration), or
      C(~/.local/state/kubernaut-integration).
    type: str
    default: ''
  create:
    description: Whether to make them where there are none yet. With V(false) that is a failure.
    type: bool
    default: true
extends_documentation_fragment:
  - kubernaut.integration.attributes
attributes:
  check_mode:
    support: full
    details: Passwords that are not there yet are returned and not kept.
  diff_mode:
    support: none
    details: There is nothing that a difference could show.
  idempotent:
    support: full
seealso:
  - module: kubernaut.integration.stack
author:
  - The kubernaut.integration authors (@kubernaut)
"""

EXAMPLES = r"""
- name: Give the stack passwords of its own
  kubernaut.integration.stack_credentials:
    name: workflowexecution
  register: passwords
  no_log: true
"""

RETURN = r"""
credentials:
  description: C(postgres_password) and C(redis_password), 32 letters, digits, C(_) and C(-) each.
  returned: success
  type: dict
  sample: {"postgres_password": "...", "redis_password": "..."}
"""

from ansible_collections.kubernaut.integration.plugins.module_utils._credentials import PHASE
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import run_module


def main() -> None:
    """Run the phase as a module."""
    run_module(PHASE)


if __name__ == "__main__":
    main()
