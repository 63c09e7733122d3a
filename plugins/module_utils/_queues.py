# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Empty DataStorage's dead-letter queues. PRIVATE to the collection."""

from __future__ import annotations

from typing import Any, Dict, List

from ansible_collections.kubernaut.integration.plugins.module_utils import _redis
from ansible_collections.kubernaut.integration.plugins.module_utils._causes import REDIS, Evidence, explain
from ansible_collections.kubernaut.integration.plugins.module_utils._contracts import CONTRACTS, customised
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import (
    Context,
    Options,
    Phase,
    PhaseError,
    Result,
)

#: Seconds for each answer of Redis; the gate in front of this phase has already seen it answer.
TIMEOUT = 10.0


def _take(options: Options, queues: List[str], check: bool) -> List[int]:
    """Remove the queues in one step, unless only asked to count, and return how many entries each had."""
    client = _redis.client(options, TIMEOUT)
    try:
        with client.pipeline(transaction=True) as step:
            for queue in queues:
                step.xlen(queue)
            if not check:
                # With their consumer groups, which the service makes anew where it has any.
                step.delete(*queues)
            counts: List[int] = step.execute()
    finally:
        client.connection_pool.disconnect()  # close() is another thing in older releases
    return counts[: len(queues)]


def run(options: Options, context: Context) -> Result:
    """Remove what waits in the queues of a contract; in check mode only count it.

    :raises PhaseError: Redis refused, or is not there.
    """
    import redis

    queues = list(customised(CONTRACTS[options["contract"]], options["contract_differences"]).queues)
    try:
        counts = _take(options, queues, context.check)
    except redis.RedisError as error:
        named = explain(Evidence(REDIS, said=str(error)))
        place = "%s:%s" % (options["redis_host"], options["redis_port"])
        raise PhaseError("The queues in Redis at %s cannot be emptied: %s" % (place, named), cause=named.id) from error
    emptied = {queue: count for queue, count in zip(queues, counts) if count}
    lines = [
        "  %s: %d entr%s %sremoved" % (queue, count, "y" if count == 1 else "ies", "would be " if context.check else "")
        for queue, count in emptied.items()
    ]
    return {"changed": bool(emptied), "emptied": emptied, "lines": lines}


QUEUES_SPEC: Dict[str, Dict[str, Any]] = {
    **_redis.REDIS_SPEC,
    "contract": {"type": "str", "choices": sorted(CONTRACTS), "default": "v0"},
    "contract_differences": {"type": "dict", "default": {}},
}

PHASE = Phase(name="queues_empty", run=run, argument_spec=QUEUES_SPEC, libraries=("redis",))
