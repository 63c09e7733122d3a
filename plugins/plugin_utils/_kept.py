# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``vars.json`` keeps beside ports and credentials. PRIVATE to the collection."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from ansible.module_utils.parsing.convert_bool import boolean

ROLES = Path(__file__).resolve().parents[2] / "roles"
#: Variables that name files of the host on which the stack runs.
HERE = (
    *("datastorage_archive", "datastorage_binary", "datastorage_ca_file", "datastorage_context"),
    *("datastorage_kubeconfig", "datastorage_token_file", "kubernaut_dir", "postgres_archive", "redis_archive"),
    "stack_state_dir",
)


@cache
def defaults() -> Mapping[str, Any]:
    """Return the roles' defaults, templates as they are written."""
    found: dict[str, Any] = {}
    for path in sorted(ROLES.glob("*/defaults/main.yml")):
        found.update(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    return found


def follows(variables: Mapping[str, Any]) -> dict[str, str]:
    """Return what a checkout of kubernaut stands for where nothing else was said, as the roles' defaults have it."""
    root = str(variables.get("kubernaut_dir") or "")
    return {"migrations_dir": root + "/migrations", "datastorage_context": root} if root else {}


def given(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that somebody has made: what is a default, or follows from another, is left to the next run.

    :param settings: name -> value, as they hold in a run.
    """
    derived = follows(settings)
    return {
        name: value
        for name, value in settings.items()
        if value not in ("", {}) and value != derived.get(name) and str(value) != str(defaults().get(name, ""))
    }


def absolute(variables: Mapping[str, Any], remote: bool) -> dict[str, Any]:
    """Return variables whose paths mean the same in every directory.

    :param remote: the stack runs on another host; paths of that one are left to it.
    """
    names = {"stack_contract_file", *(() if remote else HERE)}
    if not (remote and boolean(variables.get("migrations_remote_src") or False, strict=False)):
        names.add("migrations_dir")
    paths = {
        name: os.path.abspath(os.path.expanduser(os.path.expandvars(variables[name])))
        for name in names
        if variables.get(name)
    }
    return {**variables, **paths}
