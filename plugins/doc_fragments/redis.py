# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of every module that connects to Redis."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  redis_host:
    description: Address at which the target reaches Redis.
    type: str
    default: 127.0.0.1
  redis_port:
    description: Published TCP port of Redis, 1 to 65535.
    type: int
    required: true
  redis_password:
    description: Password of Redis; empty when it asks for none.
    type: str
    default: ''
requirements:
  - redis >= 4.3 (redis-py) on the host that executes the module
"""
