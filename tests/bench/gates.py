# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a gate costs: how long after the service it opens, and how long after the container's end it fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / ".collections"))

from ansible_collections.kubernaut.integration.plugins.module_utils import _ready  # noqa: E402
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import Context, PhaseError  # noqa: E402

#: Seconds that a gate may add to the moment when the service is ready, and to that when its container has ended.
OPENS, NOTICES = 0.150, 0.300
ROUNDS = 5


def ask_postgres(options: Any, left: float) -> Any:
    """Make one attempt that knows of no earlier one: the server is started anew every round."""
    return _ready.PostgresProbe()(options, left)


GATES: dict[str, tuple[Callable[[Any, Context], Any], _ready.Ask]] = {
    "postgres": (_ready.run_postgres, ask_postgres),
    "redis": (_ready.run_redis, _ready.redis_observation),
    "datastorage": (_ready.run_datastorage, _ready.datastorage_observation),
}


#: Options that nobody has to give.
DEFAULTS: dict[str, Any] = {
    name: option.get("default")
    for phase in (_ready.POSTGRES_PHASE, _ready.REDIS_PHASE, _ready.DATASTORAGE_PHASE)
    for name, option in phase.argument_spec.items()
}


def podman(stack: dict, *arguments: str) -> str:
    """Call the stack's podman."""
    return subprocess.run([stack["podman"], *arguments], capture_output=True, text=True, check=True).stdout.strip()


def opens(component: str, stack: dict, options: dict[str, Any]) -> float:
    """Start the component anew; return the seconds between the first success of a tight loop and the gate's answer."""
    container = stack[component]["container"]
    podman(stack, "kill", container)
    podman(stack, "start", container)
    first: list[float] = []

    def loop() -> None:
        while not GATES[component][1](options, 1.0).ready:
            time.sleep(0.001)
        first.append(time.monotonic())

    tight = threading.Thread(target=loop)
    tight.start()
    GATES[component][0](options, Context())
    answered = time.monotonic()
    tight.join()
    return max(0.0, answered - first[0])


def notices(component: str, stack: dict, options: dict[str, Any]) -> float:
    """Kill the component while a gate waits for it to stay ready; return the seconds until the gate knows."""
    container = stack[component]["container"]
    pid = int(podman(stack, "inspect", "--format", "{{.State.Pid}}", container))
    killed: list[float] = []

    def kill() -> None:
        time.sleep(1.0)
        killed.append(time.monotonic())
        os.kill(pid, signal.SIGKILL)

    ended: list[float] = []

    def conclude(subject: str, verdict: Any, *_more: Any) -> Any:
        ended.append(time.monotonic())
        raise PhaseError("%s: %s" % (subject, verdict.last.detail))

    threading.Thread(target=kill).start()
    real, _ready.conclude = _ready.conclude, conclude
    try:
        GATES[component][0]({**options, "stable_for": 20.0}, Context())
    except PhaseError:
        pass
    finally:
        _ready.conclude = real
    podman(stack, "start", container)
    GATES[component][0](options, Context())
    return ended[0] - killed[0]


def measure(stack: dict, password: str) -> bool:
    """Measure every gate of a running stack, print a table, and tell whether all limits hold."""
    missed = False
    for component in GATES:
        options: dict[str, Any] = {
            **DEFAULTS,
            "postgres_port": stack["postgres"]["port"],
            "postgres_database": stack["postgres"]["database"],
            "postgres_user": stack["postgres"]["user"],
            "postgres_password": password,
            "redis_port": stack["redis"]["port"],
            "datastorage_port": int(stack["datastorage"]["url"].rsplit(":", 1)[1]),
            "container": stack[component]["container"],
            "podman": stack["podman"],
            "timeout": 30.0,
        }
        for name, measured, limit in (("opens", opens, OPENS), ("notices an end", notices, NOTICES)):
            seconds = sorted(measured(component, stack, options) for _round in range(ROUNDS))
            worst = seconds[-1]
            missed = missed or worst > limit
            verdict = "MISSED" if worst > limit else "met"
            print(
                f"{component + ' gate ' + name:28} {seconds[len(seconds) // 2] * 1000:4.0f} ms after, at most"
                f" {worst * 1000:4.0f} ms; the limit is {limit * 1000:.0f} ms: {verdict}"
            )
    return not missed
