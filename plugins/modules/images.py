#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module front of the phase in ``module_utils/_images.py``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: images
short_description: Have every image of the stack on the target
description:
  - Makes the images of PostgreSQL, Redis and DataStorage present, each by a policy, and says what they are.
  - An image that is present and right is used as it is. Else it is loaded from an archive, pulled, or built from the
    distribution's packages, so that a stack also comes up where no registry answers.
  - An image that this module builds is named and labelled by the hash of everything it was built from. A second run
    builds nothing; a changed input rebuilds only what depends on it.
author:
  - The kubernaut.integration authors (@kubernaut)
options:
  podman:
    description: Command name or path of podman on the target.
    type: str
    default: podman
  run_arguments:
    description:
      - Arguments for every C(podman run) and C(podman build), such as resource limits that the target's OCI runtime can
        set.
    type: list
    elements: str
    default: []
  images:
    description: The wanted images.
    type: list
    elements: dict
    required: true
    suboptions:
      component:
        description: What the image is for.
        type: str
        required: true
        choices: [postgres, redis, datastorage]
      name:
        description:
          - Name of the image, with its registry if it is to be pulled.
          - Empty for the collection's own image. For V(datastorage) that is the collection's reference service.
        type: str
        default: ""
      fallback:
        description:
          - Whether the collection's own image may stand in when O(images[].name) is not on the target and cannot be
            pulled.
          - Meant for a name that is a default and not somebody's choice.
        type: bool
        default: false
      policy:
        description:
          - V(auto) uses what is present; else loads O(images[].archive) if given; else pulls O(images[].name), after
            asking its registry once whether it answers; else, where O(images[].fallback) allows it or no name is given,
            builds.
          - V(present) uses what is there and does nothing else.
          - V(archive) uses the image of O(images[].archive).
          - V(pull) pulls every time, without asking the registry first, so that mirrors in podman's own configuration
            count.
          - V(build) uses the collection's own image.
        type: str
        default: auto
        choices: [auto, present, archive, pull, build]
      archive:
        description:
          - Path on the target of an archive that C(podman save) wrote. It wins over a present image of the same name,
            which may be older; it is loaded only when its image is not there yet.
          - If it holds several images, O(images[].name) chooses.
        type: path
      archive_sha256:
        description: Expected SHA-256 of O(images[].archive), checked before it is loaded.
        type: str
      binary:
        description:
          - Path on the target of a statically linked DataStorage executable that becomes an image. For V(datastorage)
            only.
        type: path
      context:
        description:
          - Directory on the target that DataStorage's image is built from, as C(podman build) takes it. It is built
            again when anything in it has changed, but for C(.git). For V(datastorage) only.
        type: path
      containerfile:
        description:
          - Recipe within O(images[].context). Empty for the first that is there of C(Containerfile), C(Dockerfile) and
            C(docker/data-storage.Dockerfile).
        type: str
      build_args:
        description: Build arguments by name.
        type: dict
  may_lack:
    description:
      - Do not fail when a build needs a program that is not installed, but name it in RV(lacking), so that it can be
        installed and the module called again.
    type: bool
    default: false
  contexts:
    description:
      - Build contexts by name, each a dictionary of relative paths with C(text) and C(mode).
      - Filled in with the collection's own when the task runs; there is no need to give it.
    type: dict
  suite:
    description: Debian suite of the images that are built.
    type: str
    default: trixie
  mirror:
    description: URL of the Debian mirror to build from. Without it the one that C(mmdebstrap) knows is used.
    type: str
  registry_timeout:
    description: Seconds in which a registry must answer before an image is pulled from it.
    type: float
    default: 5.0
  pull_timeout:
    description: Seconds that pulling or loading one image may take.
    type: float
    default: 600.0
  build_timeout:
    description: Seconds that one step of building an image may take, and that another run's build is waited for.
    type: float
    default: 900.0
notes:
  - Nothing is removed. Images that the collection built from older inputs are listed in RV(stale).
  - Builds use the host's network and its proxy variables.
requirements:
  - podman 4.3 or later on the target
  - mmdebstrap and debian-archive-keyring on the target, for images that are built
extends_documentation_fragment:
  - kubernaut.integration.attributes
attributes:
  check_mode:
    support: full
    details: Works without podman. Whether a registry answers is asked in check mode too.
  diff_mode:
    support: N/A
  idempotent:
    support: full
    details: With O(images[].policy=pull) a newer image in the registry is a change.
"""

EXAMPLES = r"""
- name: Have the collection's own images
  kubernaut.integration.images:
    images:
      - component: postgres
      - component: redis
      - component: datastorage

- name: Prefer a registry's PostgreSQL, and take DataStorage from an archive
  kubernaut.integration.images:
    images:
      - component: postgres
        name: registry.example.com/library/postgres:17
        fallback: true
      - component: redis
      - component: datastorage
        archive: /srv/images/datastorage.tar
        archive_sha256: "{{ datastorage_archive_sha256 }}"

- name: Run a DataStorage that was just compiled, where the runtime cannot raise resource limits
  kubernaut.integration.images:
    run_arguments: [--ulimit, "nofile=1024:1024", --ulimit, "nproc=1024:1024"]
    images:
      - component: datastorage
        binary: /home/me/kubernaut/bin/datastorage
"""

RETURN = r"""
images:
  description: Every wanted image by component.
  returned: success
  type: dict
  contains:
    name:
      description: Name as it was given, or the name of the collection's own image.
      type: str
      sample: localhost/kubernaut-integration/postgres:75a6684b7c99
    reference:
      description: What to pass to C(podman run).
      type: str
    id:
      description: Id of the image; empty when check mode did not make it.
      type: str
    digest:
      description: Digest of the image's manifest.
      type: str
    source:
      description: How this run came to it, one of V(present), V(archive), V(pull) and V(build).
      type: str
    content:
      description: Hash of what the image was built from; empty for images that others built.
      type: str
    created:
      description: When the image was made.
      type: str
    packages:
      description: The packages that the image was made for, with their versions; known of the collection's own images.
      type: dict
    config:
      description: How the image is configured, as C(user), C(env), C(volumes) and C(labels).
      type: dict
    reference_service:
      description: Whether this is the collection's stand-in for DataStorage.
      type: bool
elapsed:
  description: Seconds by component, and those of the images' common C(base).
  returned: success
  type: dict
  sample: {"base": 15.7, "postgres": 14.4, "redis": 7.2, "datastorage": 0.0}
actions:
  description: What was done, or in check mode would be done.
  returned: success
  type: list
  elements: str
  sample: ["build localhost/kubernaut-integration/redis:33b44dec36e8"]
lacking:
  description: Programs that must be installed before the module is called again; only with O(may_lack=true).
  returned: success
  type: list
  elements: str
stale:
  description: The collection's images that were built from older inputs; listed when something was built.
  returned: success
  type: list
  elements: str
"""

from ansible_collections.kubernaut.integration.plugins.module_utils._images import PHASE
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import run_module


def main() -> None:
    run_module(PHASE)


if __name__ == "__main__":
    main()
