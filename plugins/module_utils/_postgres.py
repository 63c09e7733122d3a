# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connect to the stack's PostgreSQL the way the service does. PRIVATE to the collection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict

from ansible_collections.kubernaut.integration.plugins.module_utils._phase import Options

if TYPE_CHECKING:
    import psycopg

#: Options of every phase that connects to PostgreSQL; documented in the doc fragment ``postgres``.
POSTGRES_SPEC: Dict[str, Dict[str, Any]] = {
    "postgres_host": {"type": "str", "default": "127.0.0.1"},
    "postgres_port": {"type": "int", "required": True},
    "postgres_database": {"type": "str", "default": "action_history"},
    "postgres_user": {"type": "str", "default": "slm_user"},
    "postgres_password": {"type": "str", "required": True, "no_log": True},
}


def connect(options: Options, timeout: float, application: str) -> psycopg.Connection[Any]:
    """Open an autocommit connection over TCP as the service's own user to its own database.

    :param options: values of :data:`POSTGRES_SPEC`.
    :param timeout: seconds; libpq counts whole seconds and raises 1 to 2.
    :param application: application_name, so that a lock's holder can be named.
    :raises psycopg.Error: whatever the server or the network said.
    """
    import psycopg

    return psycopg.connect(
        host=options["postgres_host"],
        port=options["postgres_port"],
        dbname=options["postgres_database"],
        user=options["postgres_user"],
        password=options["postgres_password"],
        connect_timeout=max(2, int(timeout)),
        application_name=application,
        sslmode="disable",
        # A database made without a locale is SQL_ASCII, and psycopg would give its texts as bytes.
        client_encoding="UTF8",
        autocommit=True,
        # The caller's PGOPTIONS must not change what is proven here.
        options="-c client_min_messages=notice",
    )
