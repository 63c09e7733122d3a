# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A podman that is only a client of a service, perhaps on another machine. PRIVATE to the collection.

``podman --remote``, podman machine, and podman on systems that are not Linux. Nothing of this machine says how
containers run there: the service's own configuration decides.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from typing import Any, Dict, Mapping, Optional

from ansible_collections.kubernaut.integration.plugins.module_utils._phase import PhaseError
from ansible_collections.kubernaut.integration.plugins.module_utils._podman import Podman, PodmanError
from ansible_collections.kubernaut.integration.plugins.module_utils._rootless import REMOTE
from ansible_collections.kubernaut.integration.plugins.module_utils._state import make_private


def may_be_remote(named: str, environment: Mapping[str, str], system: str) -> bool:
    """Tell whether podman has to be asked what it is; the one of a Linux distribution works by itself.

    :param named: ``host_podman``.
    :param system: as ``sys.platform`` has it.
    """
    return bool(named or any(map(environment.get, REMOTE)) or not system.startswith("linux"))


def service(podman: Podman, named: str) -> Optional[Dict[str, Any]]:
    """Return what a remote podman's service says of itself, or None where podman works by itself.

    :param named: ``host_podman``.
    :raises PhaseError: podman is a client, and its service does not answer.
    """
    if not may_be_remote(named, os.environ, sys.platform):
        return None
    answer = podman.call("info", "--format", "json")
    if answer.unreached:
        raise PodmanError(("info",), answer)
    if answer.rc != 0:
        return None  # a podman of this machine that lacks something, such as an OCI runtime: that is found out later
    info: Dict[str, Any] = json.loads(answer.out)
    return info if info["host"].get("serviceIsRemote") else None


def facts(info: Mapping[str, Any]) -> Dict[str, Any]:
    """Return what is known of the service's machine, as phase ``host_probe`` returns it.

    :param info: what :func:`service` returned.
    """
    return {
        "remote": True,
        "storage": info["store"]["graphRoot"],
        "driver": info["store"]["graphDriverName"],
        "network": info["host"]["networkBackend"],
        "cgroups": info["host"]["cgroupVersion"],
        "selinux": info["host"]["security"]["selinuxEnabled"],
    }


def demand_shared(podman: Podman, home: str) -> None:
    """Refuse a service that does not see this machine's files under the same names.

    A container that is never started tells: its root must be a directory of the service's machine.

    :param home: where containers will mount their configuration from.
    :raises PhaseError: the service sees another file system, or cannot read this directory.
    """
    make_private(home)
    with tempfile.TemporaryDirectory(dir=home, prefix="probe-") as directory:
        answer = podman.call("create", "--rootfs", directory, "true")
        if answer.rc == 0:
            podman.must("rm", answer.out.split()[-1])
            return
    raise PhaseError(
        "stack_state_dir: the service behind host_podman does not see %s, from which containers read their "
        "configuration; name a directory that its machine has under the same name, too (%s)." % (home, answer.reason)
    )
