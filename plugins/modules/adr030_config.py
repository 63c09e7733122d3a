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
  - Reads the rendered files back as the service does before they are installed. Every file is replaced atomically, and
    only when it differs.
  - An option whose key the service reads without following it, or that it does not have in O(contract), yields a
    warning when it is not left at its default.
  - Called as root with O(owner), the directory has mode 0500 and the files mode 0400, and both belong to O(owner).
    Otherwise the directory has mode 0755 and the files mode 0444, and the directory's parent must have mode 0700 (it is
    made so when it is missing); a container gets at the files through its mount, other users of the machine do not.
options:
  directory:
    description: Absolute path of the directory to write to. Mount it, rather than single files, at O(mount).
    type: path
    required: true
  mount:
    description:
      - Absolute path of O(directory) inside the container; C(config.yaml) names the secret files by it.
      - Keys C(database.secretsFile) and C(redis.secretsFile).
    type: str
    default: /etc/datastorage
  contract:
    description:
      - Generation of DataStorage whose keys are written. V(both) writes every key in both spellings, which either
        generation accepts, and judges every value by both.
    type: str
    choices: [v0, v1, both]
    default: v0
  owner:
    description:
      - Uid of the container's user, who becomes owner (and group) of directory and files.
      - Ignored when the module does not run as root, since nobody else may give files away.
    type: int
  backup:
    description:
      - Whether files are kept before they are replaced, in a directory of their own beside O(directory), which only the
        caller may enter; see RV(backup_directory).
    type: bool
    default: false
  max_connections:
    description:
      - PostgreSQL's C(max_connections). A pool that is larger than what that leaves to ordinary users is refused; v0
        always has a pool of 25.
      - When it is not given, the pool is not compared.
    type: int
  server_port:
    description: Port of the API inside the container, 1024 to 65535. Key C(server.port).
    type: int
    default: 8080
  health_port:
    description: Port of v1's C(/readyz) and C(/healthz), 1024 to 65535. Key C(server.healthPort), v1 only.
    type: int
    default: 8081
  metrics_port:
    description: Port of v1's metrics, 1024 to 65535. Key C(server.metricsPort), v1 only.
    type: int
    default: 9090
  server_host:
    description: Only logged; the service listens on every interface of its container. Key C(server.host).
    type: str
    default: 0.0.0.0
  read_timeout:
    description: Time for reading a request, a Go duration. Key C(server.read_timeout), in v1 C(server.readTimeout).
    type: str
    default: 30s
  write_timeout:
    description: Time for writing an answer, a Go duration. Key C(server.write_timeout), in v1 C(server.writeTimeout).
    type: str
    default: 30s
  shutdown_timeout:
    description: >-
      Time for an orderly end, a Go duration that the service brings into the range from 30s to 120s. Key
      C(server.shutdownTimeout), v1 only; v0 takes the environment variable C(SHUTDOWN_TIMEOUT).
    type: str
    default: 60s
  endpoint_propagation_delay:
    description: >-
      Time that the service goes on serving after it was told to stop, a Go duration that it brings into the range from
      1s to 30s; a short one makes teardown faster. Key C(server.endpointPropagationDelay), v1 only.
    type: str
    default: 5s
  max_body_size:
    description: >-
      Largest request in bytes, digits only, which the service brings into the range from 1048576 to 52428800. Key
      C(server.maxBodySize), v1 only.
    type: str
    default: '5242880'
  max_batch_size:
    description: Most events of one request, at least 1. Key C(server.maxBatchSize), v1 only.
    type: int
    default: 500
  signer_cert_dir:
    description: >-
      Directory inside the container with C(tls.crt) and C(tls.key), without which v1 does not start. Key
      C(server.signerCertDir), v1 only.
    type: str
    default: /etc/certs
  tls_cert_dir:
    description: >-
      Directory inside the container with C(tls.crt) and C(tls.key), with which the API speaks TLS; empty for plain
      HTTP, as is one without them. Key C(server.tls.certDir), v1 only.
    type: str
    default: ''
  log_level:
    description: V(debug), V(info), V(warn) or V(error). Judged but not applied by v0. Key C(logging.level).
    type: str
    default: info
  log_format:
    description: >-
      V(json) or V(console). Judged but not applied by v0, which writes JSON only where the environment variable C(ENV)
      is C(production). Key C(logging.format), v0 only.
    type: str
    default: console
  database_host:
    description: Name or address at which the service reaches PostgreSQL. Key C(database.host).
    type: str
    required: true
  database_port:
    description: Port at which the service reaches PostgreSQL, 1 to 65535. Key C(database.port).
    type: int
    required: true
  database_name:
    description: Database. Key C(database.name).
    type: str
    required: true
  database_user:
    description: User of the database. Key C(database.user), and C(username) in C(db-secrets.yaml).
    type: str
    required: true
  database_password:
    description: Password of O(database_user), printable ASCII without space, quote and backslash, not empty.
    type: str
    required: true
  ssl_mode:
    description: >-
      PostgreSQL's C(sslmode): V(disable), V(allow), V(prefer), V(require), V(verify-ca) or V(verify-full). Key
      C(database.ssl_mode), in v1 C(database.sslMode), which v1 does not start without.
    type: str
    default: disable
  max_open_conns:
    description: >-
      Size of the connection pool, at least 1; v0 always has 25. Key C(database.max_open_conns), in v1
      C(database.maxOpenConns).
    type: int
    default: 25
  max_idle_conns:
    description: >-
      Idle connections in the pool, at least 0; v0 always has 5. Key C(database.max_idle_conns), in v1
      C(database.maxIdleConns), without which v1 keeps none.
    type: int
    default: 5
  conn_max_lifetime:
    description: >-
      Lifetime of a connection, a Go duration; v0 always has 5m. Key C(database.conn_max_lifetime), in v1
      C(database.connMaxLifetime), which v1 does not start without.
    type: str
    default: 5m
  conn_max_idle_time:
    description: >-
      Idle time of a connection, a Go duration; v0 always has 10m. Key C(database.conn_max_idle_time), in v1
      C(database.connMaxIdleTime), which v1 does not start without.
    type: str
    default: 10m
  statement_timeout:
    description: Time for a statement in PostgreSQL, a Go duration. Key C(database.statementTimeout), v1 only.
    type: str
    default: 30s
  lock_timeout:
    description: Time for waiting on a lock in PostgreSQL, a Go duration. Key C(database.lockTimeout), v1 only.
    type: str
    default: 10s
  redis_host:
    description: Name or address at which the service reaches Redis. Key C(redis.addr).
    type: str
    required: true
  redis_port:
    description: Port at which the service reaches Redis, 1 to 65535. Key C(redis.addr).
    type: int
    required: true
  redis_password:
    description: Password of Redis; empty when it asks for none.
    type: str
    default: ''
  redis_db:
    description: Number of the Redis database, at least 0; the service always uses 0. Key C(redis.db), v0 only.
    type: int
    default: 0
  dlq_max_len:
    description: >-
      Entries that the dead letter queue keeps, at least 1. Key C(redis.dlq_max_len), in v1 C(redis.dlqMaxLen).
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
seealso:
  - module: kubernaut.integration.adr030_lint
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

- name: Configure a service of contract v1 that ends quickly
  kubernaut.integration.adr030_config:
    directory: "{{ stack_state_dir }}/config"
    contract: v1
    endpoint_propagation_delay: 1s
    max_open_conns: 50
    max_connections: 200
    database_host: workflowexecution_postgres_1
    database_port: 5432
    database_name: action_history
    database_user: slm_user
    database_password: "{{ postgres_password }}"
    redis_host: workflowexecution_redis_1
    redis_port: 6379
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
effective:
  description:
    - Contract -> key -> what the service really uses, after defaults, clamps and what it hard-codes, also for keys that
      are not written. Passwords are masked.
    - O(contract=both) has both contracts here, every other one itself.
  returned: success
  type: dict
  sample:
    v0:
      server.port: 8080
      database.max_open_conns: 25
      database.password: "********"
ignored:
  description: One sentence for every option that DataStorage does not follow as it was given; each is a warning, too.
  returned: success
  type: list
  elements: str
  sample: []
backup_directory:
  description: Where the files that were replaced are kept; empty without O(backup), and when none was replaced.
  returned: success
  type: str
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
