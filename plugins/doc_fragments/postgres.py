# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of every module that connects to PostgreSQL."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  postgres_host:
    description: Address at which the target reaches PostgreSQL.
    type: str
    default: 127.0.0.1
  postgres_port:
    description: Published TCP port of PostgreSQL, 1 to 65535.
    type: int
    required: true
  postgres_database:
    description: The service's own database.
    type: str
    default: action_history
  postgres_user:
    description: The service's own user.
    type: str
    default: slm_user
  postgres_password:
    description: Password of O(postgres_user).
    type: str
    required: true
requirements:
  - psycopg >= 3.1 on the host that executes the module
"""
