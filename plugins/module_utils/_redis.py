# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connect to the stack's Redis the way the service does. PRIVATE to the collection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict

from ansible_collections.kubernaut.integration.plugins.module_utils._phase import Options

if TYPE_CHECKING:
    import redis

#: Options of every phase that connects to Redis; documented in the doc fragment ``redis``.
REDIS_SPEC: Dict[str, Dict[str, Any]] = {
    "redis_host": {"type": "str", "default": "127.0.0.1"},
    "redis_port": {"type": "int", "required": True},
    "redis_password": {"type": "str", "default": "", "no_log": True},
}


def client(options: Options, timeout: float) -> redis.Redis:
    """Return a client that makes one attempt per command.

    :param options: values of :data:`REDIS_SPEC`; an empty password means no authentication.
    :param timeout: seconds for connecting and for each answer.
    """
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    # Before 5 (Debian 12) there is no choice of protocols, and no such argument.
    protocol: Dict[str, Any] = {} if int(redis.__version__.split(".", 1)[0]) < 5 else {"protocol": 2}
    return redis.Redis(
        host=options["redis_host"],
        port=options["redis_port"],
        password=options["redis_password"] or None,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        decode_responses=True,
        retry=Retry(NoBackoff(), 0),  # the gate counts attempts itself
        **protocol,
    )
