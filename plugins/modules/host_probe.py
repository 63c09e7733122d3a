#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module front of the phase in ``module_utils/_host.py``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_probe
short_description: Find out whether and how this machine can run a stack
version_added: 1.0.0
description:
  - Looks for what a stack needs on the target (podman, its network helpers, Python libraries, disk space) and names
    what is lacking, with the distribution's packages for it.
  - Finds out how podman runs a container here. It tries podman's own choice first, then lower limits, then each
    installed OCI runtime. No image is needed for that.
  - What it found out is kept in C(host/podman.json) below the state directory of the user
    (C($XDG_STATE_HOME/kubernaut-integration), by default C(~/.local/state/kubernaut-integration)) until the machine
    boots, or podman, the runtimes or the limits change. Where another OCI runtime has to be named, a script that calls
    podman with it lies beside that file.
  - For a user who is not root, it first looks at what podman then needs (a runtime directory, subordinate ids, a
    privileged C(newuidmap), C(/dev/net/tun), C(/dev/fuse) where fuse-overlayfs is configured) and stops before podman
    is called when something is wrong, with one sentence and remedy each.
  - Installs nothing and changes no configuration of podman.
  - A podman that is only the client of a service (C(podman --remote), podman machine) is not tried, because no program
    of this machine may run there; the service's own configuration decides. What is tried is that the service sees the
    state directory under the same name.
  - Fails when the target does not run Linux and podman has no service that does, when its user cannot run containers,
    when there is too little disk space, and when no way of running a container works and nothing is left to install
    that may help.
options:
  podman:
    description:
      - Podman executable of the target.
      - Empty for the one on C(PATH).
    type: path
    default: ''
  probe:
    description:
      - Find out by running a container how containers run here. Without it, only what an earlier run found out is
        known, which is enough to remove containers.
    type: bool
    default: true
  state_dir:
    description:
      - Directory of the collection's files; empty for C($XDG_STATE_HOME/kubernaut-integration), or
        C(~/.local/state/kubernaut-integration).
    type: str
    default: ''
  min_free_mib:
    description: Free space in MiB that the state directory and podman's storage must each have.
    type: int
    default: 2048
  required:
    description: Fail when something is lacking, instead of only returning it in RV(lacking).
    type: bool
    default: false
extends_documentation_fragment:
  - kubernaut.integration.attributes
attributes:
  check_mode:
    support: partial
    details:
      - Starts no container. What is not known from an earlier run (RV(runtime), RV(run_arguments) and everything that
        only podman can tell, except RV(version)) is left empty or out.
  diff_mode:
    support: none
  idempotent:
    support: full
    details: The kept answer does not count as a change.
seealso:
  - module: kubernaut.integration.preflight
author:
  - The kubernaut.integration authors (@kubernaut)
"""

EXAMPLES = r"""
- name: Find out how to call podman here
  kubernaut.integration.host_probe:
  register: host

- name: Install what is lacking
  ansible.builtin.package:
    name: "{{ host.packages }}"
  become: true
  when: host.packages | length > 0

- name: Stop now if something is still lacking
  kubernaut.integration.host_probe:
    required: true
    min_free_mib: 4096
"""

RETURN = r"""
lacking:
  description: What is needed and not there, such as V(podman) or V(psycopg), sorted. Empty when the machine is ready.
  returned: success, and on failure because of O(required)
  type: list
  elements: str
  sample: [netavark]
packages:
  description: Packages that bring what is lacking; empty for an unknown distribution.
  returned: success, and on failure because of O(required)
  type: list
  elements: str
  sample: [netavark]
family:
  description: Family of the distribution, V(debian) or V(fedora); empty for any other.
  returned: success, and on failure because of O(required)
  type: str
  sample: debian
root:
  description: Whether the module ran as root.
  returned: success, and on failure because of O(required)
  type: bool
sudo:
  description: Whether there is a C(sudo) with which a user could install what is lacking.
  returned: success, and on failure because of O(required)
  type: bool
notes:
  description:
    - What works less well than it could for a user who is not root, a sentence with its remedy each, such as the
      storage driver vfs, limits that have no effect, or a stack that ends with the session. They are warnings, too.
  returned: success, and on failure because of O(required)
  type: list
  elements: str
problems:
  description: What keeps a user who is not root from running containers, a sentence with its remedy each.
  returned: on failure because of it
  type: list
  elements: str
python:
  description: Python interpreter that executed the module, and so the one that needs the libraries.
  returned: success, and on failure because of O(required)
  type: str
  sample: /usr/bin/python3
podman:
  description: How to call podman from here on. The path of a script where the OCI runtime has to be named.
  returned: success, and on failure because of O(required)
  type: str
  sample: /usr/bin/podman
starter:
  description: >-
    Script with which containers are started: it calls podman from the directory that
    E(KUBERNAUT_INTEGRATION_DIRECTORY) names. Absent where podman is a client, and where nothing was tried yet.
  returned: when it is known how containers run here
  type: str
  sample: /home/dev/.local/state/kubernaut-integration/_machine/start
runtime:
  description: OCI runtime that has to be named; empty when podman's own choice works.
  returned: success, and on failure because of O(required)
  type: str
  sample: runc
build_arguments:
  description: Arguments of C(podman build) on this machine.
  returned: success
  type: list
  elements: str
limits:
  description: Whether memory and number of processes of a container can be limited here.
  returned: success
  type: bool
ulimits:
  description: Limits that every container needs here, as C(name=soft:hard); empty when podman's own work.
  returned: success, and on failure because of O(required)
  type: list
  elements: str
  sample: ['nofile=1024:1024', 'nproc=1024:1024']
run_arguments:
  description: RV(ulimits) as arguments of C(podman run) and C(podman build).
  returned: success, and on failure because of O(required)
  type: list
  elements: str
  sample: ['--ulimit', 'nofile=1024:1024', '--ulimit', 'nproc=1024:1024']
version:
  description: Version of podman; empty when there is none.
  returned: success, and on failure because of O(required)
  type: str
  sample: 4.3.1
storage:
  description: Directory in which podman keeps images and containers; empty when it is not known.
  returned: success, and on failure because of O(required)
  type: str
  sample: /var/lib/containers/storage
driver:
  description: Storage driver of podman.
  returned: when podman was asked, now or earlier
  type: str
  sample: overlay
network:
  description: Network backend of podman.
  returned: when podman was asked, now or earlier
  type: str
  sample: netavark
cgroups:
  description: Version of the control groups.
  returned: when podman was asked, now or earlier
  type: str
  sample: v2
selinux:
  description: Whether SELinux is enabled, so that what is mounted into a container needs a label. V(false) when it is
    not known.
  returned: success, and on failure because of O(required)
  type: bool
  sample: false
remote:
  description: Whether podman is only the client of a service, so that containers run on another machine. Its containers
    are made of images that are present, archived or pulled; none is built.
  returned: success, and on failure because of O(required)
  type: bool
  sample: false
free_mib:
  description: Directory -> free space in MiB, for the state directory and, unless RV(remote), RV(storage).
  returned: success, and on failure because of O(required)
  type: dict
  sample:
    /var/lib/containers/storage: 20480
at:
  description: When the phase ended, in seconds since the epoch by the clock of the host that executed it.
  returned: success
  type: float
  sample: 1766304000.123
"""

from ansible_collections.kubernaut.integration.plugins.module_utils._host import PHASE
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import run_module


def main() -> None:
    """Run the phase as a module."""
    run_module(PHASE)


if __name__ == "__main__":
    main()
