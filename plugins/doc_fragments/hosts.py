# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the components are, for modules that tell or ask about all of them."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  hosts:
    description: Hosts at which the components are reached.
    type: dict
    default: {}
    suboptions:
      postgres:
        description: Host of PostgreSQL.
        type: str
        default: 127.0.0.1
      redis:
        description: Host of Redis.
        type: str
        default: 127.0.0.1
      datastorage:
        description: Host of DataStorage.
        type: str
        default: 127.0.0.1
"""
