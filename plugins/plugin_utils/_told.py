# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What files of the controller tell about the contract. PRIVATE to the collection."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible.module_utils.parsing.convert_bool import boolean

from ansible_collections.kubernaut.integration.plugins.module_utils._contracts import AUTO
from ansible_collections.kubernaut.integration.plugins.module_utils._plan import PlanError, Told
from ansible_collections.kubernaut.integration.plugins.plugin_utils._kept import follows


def told(given: Mapping[str, Any]) -> Told:
    """Read the user's file, or look which migrations there are, where that is asked for.

    :param given: ``stack_contract``, ``stack_contract_file``, ``migrations_dir``, ``migrations_remote_src``,
        ``kubernaut_dir``; any may be missing.
    :raises PlanError: a file or directory cannot be read, or lies on the target.
    """
    path = str(given.get("stack_contract_file") or "")
    if path:
        try:
            return Told(yaml.safe_load(Path(path).expanduser().read_text(encoding="utf-8")))
        except OSError as error:
            raise PlanError(f"stack_contract_file: {path}: {error.strerror}; name a file on the controller.") from None
        except (ValueError, yaml.YAMLError):
            raise PlanError(f"stack_contract_file: {path} is no YAML; mend it.") from None
    if given.get("stack_contract") != AUTO:
        return Told()
    if boolean(given.get("migrations_remote_src") or False):
        raise PlanError(
            "stack_contract: auto looks for migrations_dir on the controller, and with migrations_remote_src it lies on"
            " the target; name the contract."
        )
    directory = str(given.get("migrations_dir") or "")
    try:
        return Told(migrations=os.listdir(os.path.expanduser(directory)) if directory else [])
    except OSError as error:
        name = "kubernaut_dir" if directory == follows(given).get("migrations_dir") else "migrations_dir"
        raise PlanError(f"{name}: {directory}: {error.strerror}; name another directory.") from None
