#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module front of the phase in ``module_utils/_access.py``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: datastorage_access
short_description: Provide the certificate, kubeconfig and token that contract v1 of DataStorage demands
version_added: 1.0.0
description:
  - Makes a certificate for DataStorage to sign with (C(tls.crt), C(tls.key)) and puts it and the kubeconfig into the
    directory C(config/access) of the stack, for the container's user alone. A certificate stays until it is about to
    expire or its key does not fit.
  - Refuses a kubeconfig that cannot work in a container, because it names files or the host's loopback.
  - With O(stub_url), the kubeconfig is one for the stub of an API server at that address, and the stub's list of tokens
    is written to C(config/auth).
  - Keeps the token in C(datastorage.token) of the stack's directory, mode 0600, for those who send requests.
  - The token is what the result is for, so the task wants C(no_log).
options:
  name:
    description: Name of the stack.
    type: str
    required: true
  state_dir:
    description: >-
      Directory of all stacks; empty for C($XDG_STATE_HOME/kubernaut-integration), or
      C(~/.local/state/kubernaut-integration).
    type: str
    default: ''
  owner:
    description: >-
      Uid of the container's user, who becomes owner of what the container reads. Ignored when the module does not run
      as root; then everybody may read it who gets into the stack's private directory, which is the caller alone.
    type: int
  kubeconfig:
    description: Kubeconfig of the API server that DataStorage asks; not looked at with O(stub_url).
    type: str
    default: ''
  stub_url:
    description: Address of the stub of an API server; empty for a real one.
    type: str
    default: ''
  on_host:
    description: Whether DataStorage's container shares the host's network, and so reaches its loopback.
    type: bool
    default: false
  token:
    description: Token for requests; empty for O(token_file).
    type: str
    default: ''
  token_file:
    description: >-
      File with the token; empty for the one that was kept. With O(stub_url) a token is made where there is none.
    type: str
    default: ''
  tls:
    description: >-
      Whether DataStorage's API speaks TLS. Then a second certificate, for O(names), is put into C(config/api),
      and what its clients must trust is kept in C(datastorage.crt) of the stack's directory.
    type: bool
    default: false
  names:
    description: Names and addresses under which clients reach the API, such as V(DNS:localhost) or V(IP:127.0.0.1).
    type: list
    elements: str
    default: []
  ca_file:
    description: >-
      PEM file with what clients must trust, with O(outside); empty for what the host trusts anyway.
    type: str
    default: ''
  create:
    description: Whether to provide anything; V(false) only returns the token, as far as there is one.
    type: bool
    default: true
  outside:
    description: DataStorage is not the stack's own, so that only the token is kept.
    type: bool
    default: false
extends_documentation_fragment:
  - kubernaut.integration.attributes
attributes:
  check_mode:
    support: full
    details: A token that is not there yet is returned and not kept.
  diff_mode:
    support: none
    details: There is nothing that a difference could show.
  idempotent:
    support: full
requirements:
  - openssl and PyYAML on the host that executes the module
seealso:
  - module: kubernaut.integration.adr030_config
  - module: kubernaut.integration.audit_verify
author:
  - The kubernaut.integration authors (@kubernaut)
"""

EXAMPLES = r"""
- name: Provide what DataStorage demands
  kubernaut.integration.datastorage_access:
    name: workflowexecution
    owner: 1001
    kubeconfig: /src/kubernaut/envtest.kubeconfig
    token_file: /src/kubernaut/token
  register: access
  no_log: true
"""

RETURN = r"""
token:
  description: >-
    The token; empty when there is none and O(create) is false. Ansible masks it here where it was given as O(token).
  returned: success
  type: str
token_file:
  description: Where it is kept; empty when there is none.
  returned: success
  type: str
ca_file:
  description: What clients of the API must trust; empty for what the host trusts anyway, or where no TLS is spoken.
  returned: success
  type: str
content_hash:
  description: >-
    HMAC-SHA-256 over what the container reads, for a label by which it is replaced when that changes; empty in check
    mode when its key does not exist yet.
  returned: O(create) is true
  type: str
changed_files:
  description: Absolute paths that were changed, or would be.
  returned: O(create) is true
  type: list
  elements: str
"""

from ansible_collections.kubernaut.integration.plugins.module_utils._access import PHASE
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import run_module


def main() -> None:
    """Run the phase as a module."""
    run_module(PHASE)


if __name__ == "__main__":
    main()
