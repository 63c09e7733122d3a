#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module front of the phase in ``module_utils/_preflight.py``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight
short_description: Refuse bad input before anything is started
version_added: 1.0.0
description:
  - Checks names, numbers, passwords, memory sizes, files and ports of a stack on the target.
  - Stops at the first value that cannot be used. The message begins with the name of the variable to correct.
  - A port is free when nobody listens at it on 127.0.0.1 and on [::1]; suites say C(localhost) and get either. A
    listener on 127.0.0.1 that is a running container of the stack itself does not count.
options:
  podman:
    description: Podman executable. It is called only when a port is taken and O(containers) is not empty.
    type: str
    default: podman
  stack:
    description: Name of the stack, as containers carry it in their label.
    type: str
    default: ''
  containers:
    description: Names of the stack's containers, whose published ports may be taken.
    type: list
    elements: str
    default: []
  ports:
    description: Ports at which the stack will listen. Each must be different, free and from 1024 to 65535.
    type: list
    elements: dict
    default: []
    suboptions:
      variable:
        description: Variable to name in the message.
        type: str
        required: true
      port:
        description: TCP port.
        type: raw
        required: true
  secrets:
    description:
      - Passwords that the service joins into its connection string without quotes.
      - They may hold printable ASCII except space, quote and backslash.
    type: list
    elements: dict
    default: []
    suboptions:
      variable:
        description: Variable to name in the message.
        type: str
        required: true
      value:
        description: The password.
        type: str
        required: true
      empty:
        description: Whether it may be empty.
        type: bool
        default: false
  variables:
    description: >-
      The variables C(stack_team), C(stack_contract), C(stack_contract_file), C(stack_run_id), C(stack_teams),
      C(stack_credentials), C(migrations_dir), C(migrations_remote_src), C(postgres_external), C(redis_external),
      C(datastorage_external), C(datastorage_tls) and C(datastorage_ca_file), for a look at whether they make a stack;
      missing ones take their defaults. Where C(stack_contract) is V(auto) and no file tells it, C(datastorage_external)
      is asked over HTTP for the paths by which a generation is known.
    type: dict
    default: {}
  numbers:
    description: Numbers that must not be too small.
    type: list
    elements: dict
    default: []
    suboptions:
      variable:
        description: Variable to name in the message.
        type: str
        required: true
      value:
        description: The number.
        type: raw
        required: true
      least:
        description: The smallest number that is allowed.
        type: float
        required: true
  booleans:
    description: Values that must be true or false, in any spelling that Ansible takes.
    type: list
    elements: dict
    default: []
    suboptions:
      variable:
        description: The variable that a person sets.
        type: str
        required: true
      value:
        description: Its value.
        type: str
        required: true
  choices:
    description: Values that must be one of a few.
    type: list
    elements: dict
    default: []
    suboptions:
      variable:
        description: The variable that a person sets.
        type: str
        required: true
      value:
        description: Its value.
        type: str
        required: true
      choices:
        description: What it may be.
        type: list
        elements: str
        required: true
  alternatives:
    description: Variables of which at most one may be set.
    type: list
    elements: dict
    default: []
    suboptions:
      variable:
        description: The variable that a person sets.
        type: str
        required: true
      value:
        description: Its value; empty when it is not set.
        type: str
        required: true
  kubeconfigs:
    description: Kubeconfigs that are to be used in a container.
    type: list
    elements: dict
    default: []
    suboptions:
      variable:
        description: Variable to name in the message.
        type: str
        required: true
      path:
        description: Where it lies on the target.
        type: str
        required: true
      on_host:
        description: Whether the container shares the host's network, and so its loopback.
        type: bool
        default: false
  wanted:
    description: What only the user can give, and without which nothing can be started.
    type: list
    elements: dict
    default: []
    suboptions:
      variables:
        description: Variables to name in the message, each of which would do.
        type: list
        elements: str
        required: true
      given:
        description: Whether one of them is set.
        type: bool
        required: true
      reason:
        description: Why it is needed, and what to do.
        type: str
        required: true
  dates:
    description: Dates; an empty one means today.
    type: list
    elements: dict
    default: []
    suboptions:
      variable:
        description: Variable to name in the message.
        type: str
        required: true
      value:
        description: The date, written as YYYY-MM-DD.
        type: str
        required: true
  migrations:
    description: >-
      Directory on the controller that must hold at least one C(*.sql) file. The action plugin looks at it; the module
      itself does not.
    type: path
  identifiers:
    description: Names of databases and users, of lower-case letters, digits and C(_), so that they need no quotes.
    type: list
    elements: dict
    default: []
    suboptions:
      variable:
        description: Variable to name in the message.
        type: str
        required: true
      value:
        description: The name.
        type: str
        required: true
  sizes:
    description: Memory sizes, as a number with the unit V(k), V(m) or V(g).
    type: list
    elements: dict
    default: []
    suboptions:
      variable:
        description: Variable to name in the message.
        type: str
        required: true
      value:
        description: The size, such as V(256m).
        type: str
        required: true
  durations:
    description: Spans of time as Go writes them; not negative.
    type: list
    elements: dict
    default: []
    suboptions:
      variable:
        description: Variable to name in the message.
        type: str
        required: true
      value:
        description: The span, such as V(30s) or V(1m30s).
        type: str
        required: true
  context:
    description: What DataStorage's image is to be built from; the directory and a recipe in it must be there.
    type: dict
    suboptions:
      directory:
        description: The build context.
        type: path
        required: true
      containerfile:
        description: Recipe within it; empty for the first that is there of the usual names.
        type: str
        default: ''
  paths:
    description: Files that must exist on the target and be readable.
    type: list
    elements: dict
    default: []
    suboptions:
      variable:
        description: Variable to name in the message.
        type: str
        required: true
      path:
        description: The file.
        type: path
        required: true
      executable:
        description: Whether it must be executable, too.
        type: bool
        default: false
      certificates:
        description: Whether it must be a PEM file with certificates; the message then names C(datastorage_ca_file).
        type: bool
        default: false
extends_documentation_fragment:
  - kubernaut.integration.attributes.info
seealso:
  - module: kubernaut.integration.host_probe
  - plugin: kubernaut.integration.stack_plan
    plugin_type: lookup
author:
  - The kubernaut.integration authors (@kubernaut)
"""

EXAMPLES = r"""
- name: Refuse ports that are taken and passwords that the service cannot use
  kubernaut.integration.preflight:
    stack: workflowexecution
    containers:
      - workflowexecution_postgres_1
      - workflowexecution_redis_1
      - workflowexecution_datastorage_1
    ports:
      - variable: postgres_port
        port: 15443
      - variable: redis_port
        port: 16389
      - variable: datastorage_port
        port: 18100
    secrets:
      - variable: postgres_password
        value: "{{ postgres_password }}"
      - variable: redis_password
        value: "{{ redis_password }}"
        empty: true
    sizes:
      - variable: postgres_memory
        value: 512m
"""

RETURN = r"""
at:
  description: When the phase ended, in seconds since the epoch by the clock of the host that executed it.
  returned: success
  type: float
  sample: 1766304000.123
contract:
  description:
    - C(name) of the generation that C(datastorage_external) keeps and C(source), what says so.
  returned: when it was asked, as C(stack_contract) is V(auto) and no file in C(migrations_dir) tells
  type: dict
  sample:
    name: v1
    source: the answer of datastorage_external 192.0.2.7:8080 to GET /readyz
"""

from ansible_collections.kubernaut.integration.plugins.module_utils._phase import run_module
from ansible_collections.kubernaut.integration.plugins.module_utils._preflight import PHASE


def main() -> None:
    """Run the phase as a module."""
    run_module(PHASE)


if __name__ == "__main__":
    main()
