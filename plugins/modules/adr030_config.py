#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module front of the phase in ``module_utils/_adr030.py``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: adr030_config
short_description: Write DataStorage's configuration and secret files
version_added: 1.0.0
description:
  - Writes C(config.yaml), C(db-secrets.yaml) and C(redis-secrets.yaml) as kubernaut's ADR-030 and the service's own
    code want them, spelled for the generation of the service in O(contract).
  - Judges every value by the service's rules before anything is written, so that a mistake does not show first as a
    container that stops. The service joins its connection string without quotes; what it cannot carry is refused.
  - Reads the rendered files back before they are installed. Every file is replaced atomically, and only when it
    differs.
  - Called as root with O(owner), the directory has mode 0500 and the files mode 0400, and both belong to O(owner).
    Otherwise the directory has mode 0755 and the files mode 0444, and the directory's parent must have mode 0700 (it is
    made so when it is missing); a container gets at the files through its mount, other users of the machine do not.
options:
  directory:
    description: Absolute path of the directory to write to. Mount it, rather than single files, at O(mount).
    type: path
    required: true
  mount:
    description: Absolute path of O(directory) inside the container; C(config.yaml) names the secret files by it.
    type: str
    default: /etc/datastorage
  contract:
    description: Generation of DataStorage whose keys are written.
    type: str
    choices: [v0]
    default: v0
  owner:
    description:
      - Uid of the container's user, who becomes owner (and group) of directory and files.
      - Ignored when the module does not run as root, since nobody else may give files away.
    type: int
  server_port:
    description: Port of the API inside the container, 1024 to 65535.
    type: int
    default: 8080
  server_host:
    description: Only logged by v0, which listens on every interface of its container; another value yields a warning.
    type: str
    default: 0.0.0.0
  read_timeout:
    description: Time for reading a request, as a Go duration.
    type: str
    default: 30s
  write_timeout:
    description: Time for writing an answer, as a Go duration.
    type: str
    default: 30s
  log_level:
    description: V(debug), V(info), V(warn) or V(error). Judged but not applied by v0; another value yields a warning.
    type: str
    default: info
  log_format:
    description: V(json) or V(console). Judged but not applied by v0; another value yields a warning.
    type: str
    default: json
  database_host:
    description: Name or address at which the service reaches PostgreSQL.
    type: str
    required: true
  database_port:
    description: Port at which the service reaches PostgreSQL, 1 to 65535.
    type: int
    required: true
  database_name:
    description: Database.
    type: str
    required: true
  database_user:
    description: User of the database.
    type: str
    required: true
  database_password:
    description: Password of O(database_user), printable ASCII without space, quote and backslash, not empty.
    type: str
    required: true
  ssl_mode:
    description: PostgreSQL's C(sslmode).
    type: str
    default: disable
  max_open_conns:
    description: Size of the connection pool, hard-coded in v0; another value yields a warning.
    type: int
    default: 25
  max_idle_conns:
    description: Idle connections in the pool, hard-coded in v0; another value yields a warning.
    type: int
    default: 5
  conn_max_lifetime:
    description: Lifetime of a connection as a Go duration, hard-coded in v0; another value yields a warning.
    type: str
    default: 5m
  conn_max_idle_time:
    description: Idle time of a connection as a Go duration, hard-coded in v0; another value yields a warning.
    type: str
    default: 10m
  redis_host:
    description: Name or address at which the service reaches Redis.
    type: str
    required: true
  redis_port:
    description: Port at which the service reaches Redis, 1 to 65535.
    type: int
    required: true
  redis_password:
    description: Password of Redis; empty when it asks for none.
    type: str
    default: ''
  redis_db:
    description: Number of the Redis database, always 0 in v0; another value yields a warning.
    type: int
    default: 0
  dlq_max_len:
    description: Entries that the dead letter queue keeps.
    type: int
    default: 10000
extends_documentation_fragment:
  - kubernaut.integration.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Secrets are masked; a line says when what is not shown changes.
  idempotent:
    support: full
requirements:
  - PyYAML on the host that executes the module
author:
  - The kubernaut.integration authors (@kubernaut)
"""

EXAMPLES = r"""
- name: Configure DataStorage for a stack whose containers find each other by name
  kubernaut.integration.adr030_config:
    directory: "{{ stack_state_dir }}/config"
    owner: 1001
    database_host: workflowexecution_postgres_1
    database_port: 5432
    database_name: action_history
    database_user: slm_user
    database_password: "{{ postgres_password }}"
    redis_host: workflowexecution_redis_1
    redis_port: 6379
  register: configuration
"""

RETURN = r"""
directory:
  description: The directory.
  returned: success
  type: str
files:
  description: Absolute paths of the three files.
  returned: success
  type: list
  elements: str
changed_files:
  description: Absolute paths that were changed, or would be; the directory and the key of RV(content_hash) count, too.
  returned: success
  type: list
  elements: str
configuration:
  description: What is in the files by file name, passwords masked.
  returned: success
  type: dict
  sample:
    config.yaml:
      server:
        port: 8080
    db-secrets.yaml:
      username: slm_user
      password: "********"
    redis-secrets.yaml:
      password: ""
content_hash:
  description:
    - HMAC-SHA-256 over all files, secrets included, for a label by which a container is replaced when they change.
    - The key lies in C(config.key) beside the directory, mode 0600, so that nobody guesses a password from the label.
    - Empty in check mode when the key does not exist yet.
  returned: success
  type: str
"""

from ansible_collections.kubernaut.integration.plugins.module_utils._adr030 import PHASE
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import run_module


def main() -> None:
    """Run the phase as a module."""
    run_module(PHASE)


if __name__ == "__main__":
    main()
