# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The texts of PostgreSQL's failures, as a log matcher meets them."""

from __future__ import annotations

import psycopg
import pytest

from reference_datastorage.config import Database
from reference_datastorage.store import Store, StoreError, describe

DATABASE = Database(host="pg", port=5432, name="action_history", user="slm_user", ssl_mode="disable", password="x y")
TARGET = "failed to connect to `user=slm_user database=action_history`: "
SERVER = 'connection failed: connection to server at "10.0.0.2", port 5432 failed: '


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[Errno -2] Name or service not known", f"{TARGET}hostname resolving error: lookup pg: no such host"),
        (
            "failed to resolve host 'pg': [Errno -2] Name or service not known",
            f"{TARGET}hostname resolving error: lookup pg: no such host",
        ),
        (
            f"{SERVER}Connection refused\n\tIs the server running on that host and accepting TCP/IP connections?",
            f"{TARGET}10.0.0.2:5432 (pg): dial error: dial tcp 10.0.0.2:5432: connect: connection refused",
        ),
        (
            f'{SERVER}FATAL:  password authentication failed for user "slm_user"\nconnection to server at',
            (
                f"{TARGET}10.0.0.2:5432 (pg): failed SASL auth: FATAL: password authentication failed for user"
                ' "slm_user" (SQLSTATE 28P01)'
            ),
        ),
        (
            f'{SERVER}FATAL:  database "x" does not exist',
            f'{TARGET}10.0.0.2:5432 (pg): server error: FATAL: database "x" does not exist (SQLSTATE 3D000)',
        ),
        (
            f"{SERVER}FATAL:  the database system is starting up",
            f"{TARGET}10.0.0.2:5432 (pg): server error: FATAL: the database system is starting up (SQLSTATE 57P03)",
        ),
        (
            'connection to server at "pg" (10.0.0.3), port 5432 failed: FATAL:  something else',
            f"{TARGET}10.0.0.3:5432 (pg): server error: FATAL: something else",
        ),
        ("server closed the connection\n\tunexpectedly", "server closed the connection unexpectedly"),
        ("", "OperationalError"),
    ],
)
def test_failures_in_the_words_of_the_contract(text: str, expected: str) -> None:
    assert describe(psycopg.OperationalError(text), DATABASE) == expected


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_password_that_breaks_the_string_is_not_quoted_in_the_error() -> None:
    with pytest.raises(StoreError) as caught:
        await Store(DATABASE).ping()
    assert str(caught.value) == (
        "cannot parse `host=pg port=5432 dbname=action_history user=slm_user password=xxxxx`:"
        " failed to parse as keyword/value (invalid keyword/value)"
    )
