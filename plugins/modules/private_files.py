#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module front of the phase in ``module_utils/_private_files.py``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: private_files
short_description: Write files that hold secrets
version_added: 1.0.0
description:
  - Makes a directory and files in it, such as a password file that is mounted into a container.
  - Every file is replaced atomically, and only when content, mode or owner differ. Contents appear in no result and no
    diff.
  - Refuses files that everybody could read, unless the directory's parent is closed to everybody but its owner.
options:
  directory:
    description: Absolute path of the directory. Missing parents are made with mode 0700.
    type: path
    required: true
  directory_mode:
    description: Mode of the directory, four octal digits in quotes.
    type: str
    default: '0700'
  files:
    description: The files. Others in the directory are left alone.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: File name without a directory.
        type: str
        required: true
      content:
        description: The text, written as it is, in UTF-8.
        type: str
        required: true
      mode:
        description: Mode of the file, four octal digits in quotes.
        type: str
        default: '0400'
  owner:
    description: Uid that becomes owner (and group) of directory and files. Only root can give files to others.
    type: int
extends_documentation_fragment:
  - kubernaut.integration.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Contents are masked.
  idempotent:
    support: full
author:
  - The kubernaut.integration authors (@kubernaut)
"""

EXAMPLES = r"""
- name: Write PostgreSQL's password file
  kubernaut.integration.private_files:
    directory: "{{ stack_state_dir }}/secrets"
    files:
      - name: postgres-password
        content: "{{ postgres_password }}"
"""

RETURN = r"""
directory:
  description: The directory.
  returned: success
  type: str
files:
  description: Absolute paths of the files.
  returned: success
  type: list
  elements: str
changed_files:
  description: Absolute paths that were changed, or would be; the directory and the key of RV(content_hash) count, too.
  returned: success
  type: list
  elements: str
content_hash:
  description:
    - HMAC-SHA-256 over the files' names and contents, for a container's label. Its key lies in C(config.key) beside the
      directory, so that nobody can guess a weak password from the hash.
    - Empty in check mode when there is no key yet.
  returned: success
  type: str
"""

from ansible_collections.kubernaut.integration.plugins.module_utils._phase import run_module
from ansible_collections.kubernaut.integration.plugins.module_utils._private_files import PHASE


def main() -> None:
    """Run the phase as a module."""
    run_module(PHASE)


if __name__ == "__main__":
    main()
