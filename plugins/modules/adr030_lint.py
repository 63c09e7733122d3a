#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module front of the phase in ``module_utils/_adr030_checkout.py``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: adr030_lint
short_description: Say what is wrong with DataStorage's configuration before it is started
version_added: 1.0.0
description:
  - Reads configurations of DataStorage (kubernaut's ADR-030) and the secret files that they name as the service reads
    them, and judges every key by what the service does with it. The service ignores what it does not know, so a
    misspelt key is found late or never.
  - An C(error) is what keeps the service from starting, makes it misbehave, or shows a secret; a C(warning) is what has
    no effect. Every finding has a file, a line, a column and a rule, and says in which words the service would fail.
    Values of secrets are never shown.
  - 'Rules that are errors: C(syntax), C(type), C(missing-key), C(value), C(clash) (keys that contradict each other),
    C(pool-size), C(secret-in-config), C(secret-file), C(secret-key), C(secret-type) (no string), C(secret-value) (one
    that the connection string cannot carry), C(unreadable), C(host), C(environment), C(signer).'
  - 'Rules that are warnings: C(unknown-key), C(wrong-spelling) (of the other contract), C(dead-key), C(no-effect),
    C(clamped), C(address), C(second-document), C(unused-secret), C(dead-variable).'
  - In a directory, files are looked at that have the service's sections; templates, and Kubernetes manifests that hold
    a configuration as text, are skipped with a note.
options:
  paths:
    description: >-
      Files, which are linted whatever they look like, and directories, in which configurations are found at any depth.
    type: list
    elements: path
    required: true
  root:
    description:
      - Absolute directory from which relative paths start, and relative to which files are named in findings.
      - When the target is the controller itself, the default is the directory in which C(ansible-playbook) was called.
        Elsewhere there is none, and paths must be absolute.
    type: path
  contract:
    description:
      - Generation of DataStorage that is to read the files.
      - V(auto) tells it from the spelling of each file's keys. Where that does not tell, only what is wrong in both is
        named, and a note says so.
      - V(both) is for files that either generation is to accept.
    type: str
    choices: [auto, v0, v1, both]
    default: auto
  hosts:
    description: >-
      Names that exist on the network of the service's container. A configuration that names another host is an error.
      C(host.containers.internal) always exists. When it is empty, names are not judged.
    type: list
    elements: str
    default: []
  mounts:
    description:
      - Path inside the container -> file or directory that is mounted there. With it, secret files and v1's signing
        certificate must be there, and so must the file that C(CONFIG_PATH) in O(environment) names.
      - Without it, secret files are looked for beside the configuration and below it.
    type: dict
    default: {}
  environment:
    description: >-
      Variables of the service's container. When they are given, those that are missing are errors, and those that the
      service does not read are warnings.
    type: dict
  uid:
    description: >-
      Uid that the service runs as; a file that it may not read by owner and mode is an error. V(0) reads everything.
    type: int
    default: 1001
  max_connections:
    description: >-
      PostgreSQL's C(max_connections). A pool that is larger than what it leaves to ordinary users is an error. When it
      is not given, pools are not judged.
    type: int
  junit:
    description: >-
      File for a JUnit report, in a directory that exists. A file without findings passes, an error is a failure, and a
      warning a skipped test.
    type: path
  fail_on:
    description: Least severity with which the task fails; the findings are returned all the same.
    type: str
    choices: [error, warning, never]
    default: error
extends_documentation_fragment:
  - kubernaut.integration.attributes.info
requirements:
  - PyYAML on the host that executes the module
seealso:
  - module: kubernaut.integration.adr030_config
author:
  - The kubernaut.integration authors (@kubernaut)
"""

EXAMPLES = r"""
- name: Lint every configuration of a checkout
  kubernaut.integration.adr030_lint:
    paths:
      - test/integration
    junit: build/config.xml

- name: Lint what a container will be started with, and demand that nothing in it is without effect
  vars:
    plan: "{{ lookup('kubernaut.integration.stack_plan') }}"
  kubernaut.integration.adr030_lint:
    paths:
      - test/integration/workflowexecution/config
    contract: v0
    mounts:
      /etc/datastorage: test/integration/workflowexecution/config
    environment:
      CONFIG_PATH: /etc/datastorage/config.yaml
    hosts: "{{ plan.containers.values() | list }}"
    max_connections: 200
    fail_on: warning
"""

RETURN = r"""
findings:
  description: What is wrong, by file, line and column.
  returned: when there is a configuration
  type: list
  elements: dict
  contains:
    file:
      description: The file, relative to O(root) when it lies below; V(environment) for a variable.
      type: str
      sample: test/integration/notification/config/config.yaml
    line:
      description: Line, counted from 1; 0 for a variable.
      type: int
      sample: 6
    column:
      description: Column, counted from 1; 0 for a variable.
      type: int
      sample: 3
    severity:
      description: V(error) or V(warning).
      type: str
      sample: warning
    rule:
      description: Id of the rule.
      type: str
      sample: unknown-key
    message:
      description: What is wrong.
      type: str
      sample: "`database.sslmode` is not read: did you mean `ssl_mode`?"
    suggestion:
      description: What to write instead, such as a key with its dots; empty when that is not known.
      type: str
      sample: database.ssl_mode
    predicts:
      description: What the service would say, or a part of it; empty when it would say nothing.
      type: str
      sample: ''
errors:
  description: Number of errors.
  returned: when there is a configuration
  type: int
  sample: 0
warning_count:
  description: Number of warnings.
  returned: when there is a configuration
  type: int
  sample: 2
files:
  description: The configurations that were linted.
  returned: when there is a configuration
  type: list
  elements: dict
  contains:
    file:
      description: The file, as in RV(findings).
      type: str
    contract:
      description: V(v0), V(v1), V(both), or V(undetermined) when its keys do not tell.
      type: str
      sample: v0
    effective:
      description: >-
        Contract -> key -> what the service would really use, after defaults, clamps and what it hard-codes; secrets
        masked.
      type: dict
notes:
  description: What was not looked at, and why; each with RV(ignore:file) and RV(ignore:note).
  returned: when there is a configuration
  type: list
  elements: dict
verdict:
  description: All of it in one line.
  returned: when there is a configuration
  type: str
  sample: 0 errors and 2 warnings in 1 configuration and 2 secret files
lines:
  description: What the terminal shows.
  returned: when there is a configuration
  type: list
  elements: str
at:
  description: When the phase ended, in seconds since the epoch by the clock of the host that executed it.
  returned: success
  type: float
  sample: 1766304000.123
"""

from ansible_collections.kubernaut.integration.plugins.module_utils._adr030_checkout import PHASE
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import run_module


def main() -> None:
    """Run the phase as a module."""
    run_module(PHASE)


if __name__ == "__main__":
    main()
