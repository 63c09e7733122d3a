# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep the evidence of a failed run: phase ``diagnose``. PRIVATE to the collection."""

from __future__ import annotations

import json
import os
import re
import time
from typing import Any, Dict, List, Mapping

from ansible_collections.kubernaut.integration.plugins.module_utils._phase import (
    Context,
    Options,
    Phase,
    PhaseError,
    Result,
)
from ansible_collections.kubernaut.integration.plugins.module_utils._podman import Podman
from ansible_collections.kubernaut.integration.plugins.module_utils._state import (
    make_private,
    state_home,
    write_private,
)

#: Bounds of the evidence: seconds for each podman call, lines of each log.
CALL_TIMEOUT = 3.0
LOG_LINES = 2000
#: ``NAME=value`` as in an environment or behind ``--env``, but not the name of a file that holds the secret.
_SECRET = re.compile(
    r"^((?:--env=|-e)?\w*(?:PASSWORD|PASSWD|SECRET|TOKEN|KEY)\w*(?<!_FILE)=).+", re.IGNORECASE | re.DOTALL
)


def describe(container: Mapping[str, Any]) -> str:
    """Say in one line how a container stands."""
    state = container["State"]
    if state["Running"]:
        return "%s runs since %s" % (container["Name"], state["StartedAt"])
    return "%s is %s, exit status %d" % (container["Name"], state["Status"], state["ExitCode"])


def without_secrets(container: Mapping[str, Any]) -> Dict[str, Any]:
    """Return a container's inspect with the values of variables masked whose names speak of secrets."""
    config = dict(container["Config"])
    for key in ("Env", "CreateCommand"):
        config[key] = [_SECRET.sub(r"\1********", entry) for entry in config.get(key) or []]
    return {**container, "Config": config}


def _stopped(container: Mapping[str, Any]) -> bool:
    return not container["State"]["Running"]


def summary(options: Options, states: List[str], directory: str) -> str:
    """Return ``summary.md``: the failure first, then how things stand, then what to do."""
    return "\n".join(
        [
            "# %s: %s" % (options["name"], options["task"] or "a task failed"),
            "",
            options["failure"],
            "",
            *("- %s" % state for state in states or ["no container of the stack exists"]),
            "",
            "Logs and `podman inspect` of every container lie beside this file, in %s." % directory,
            "Take the stack down with `%s`." % options["teardown_command"],
            "",
        ]
    )


def _keep(directory: str, podman: Podman, found: List[Dict[str, Any]], text: str) -> None:
    """Write the evidence."""
    make_private(os.path.dirname(directory))
    make_private(directory)
    for container in found:
        name = container["Name"]
        answer = podman.call("logs", "--tail", str(LOG_LINES), name, timeout=CALL_TIMEOUT)
        write_private(os.path.join(directory, name + ".log"), answer.out + answer.err)
        inspected = json.dumps(without_secrets(container), indent=2) + "\n"
        write_private(os.path.join(directory, name + "_inspect.json"), inspected)
    write_private(os.path.join(directory, "summary.md"), text)


def run(options: Options, context: Context) -> Result:
    """Write logs and inspect of every container of the stack beside a summary; look only."""
    podman = Podman(options["podman"])
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    directory = os.path.join(state_home(options["state_dir"]), options["name"], "report", "failure-" + stamp)
    found: List[Dict[str, Any]] = []
    if options["inspect"]:
        found = podman.inspect(*options["containers"].values(), kind="container")
    states = [describe(container) for container in found]
    lines = ["", "%s failed. How its containers stand:" % options["name"]]
    lines += ["  " + state for state in states or ["there are none"]]
    if not context.check:
        try:
            _keep(directory, podman, found, summary(options, states, directory))
            lines += ["", "  evidence       %s" % os.path.join(directory, "summary.md")]
        except (OSError, PhaseError) as error:  # the failure that brought us here must stay the one that is told
            lines += ["", "  no evidence    %s cannot be written: %s" % (directory, error)]
    lines += ["  look           %s logs %s" % (options["podman"], each["Name"]) for each in found if _stopped(each)]
    lines += ["  take it down   %s" % options["teardown_command"], ""]
    return {"changed": False, "directory": directory, "states": states, "lines": lines}


PHASE = Phase(
    name="diagnose",
    run=run,
    argument_spec={
        "name": {"type": "str", "required": True},
        "containers": {"type": "dict", "required": True},
        "state_dir": {"type": "str", "default": ""},
        "podman": {"type": "str", "default": "podman"},
        "inspect": {"type": "bool", "default": True},
        "task": {"type": "str", "default": ""},
        "failure": {"type": "str", "default": ""},
        "variables": {"type": "dict", "default": {}},
        # The action front fills it in: the command is the controller's.
        "teardown_command": {"type": "str", "default": ""},
    },
)
