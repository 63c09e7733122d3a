# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Passwords of a stack's own: phase ``stack_credentials``. PRIVATE to the collection.

They are made once and stay what they are as long as the stack's directory does, as those of a data volume do.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from typing import Dict, Optional

from ansible_collections.kubernaut.integration.plugins.module_utils import _files
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import (
    Context,
    Options,
    Phase,
    PhaseError,
    Result,
)
from ansible_collections.kubernaut.integration.plugins.module_utils._state import (
    make_private,
    state_home,
    write_private,
)

FILE = "credentials.json"
#: Options of the roles that get a password.
NAMES = ("postgres_password", "redis_password")
#: Bytes of chance in each; base64 makes 32 characters of them that the service's unquoted connection string carries.
LENGTH = 24
_PASSWORD = re.compile(r"[A-Za-z0-9_-]{%d}" % (LENGTH * 4 // 3))


def parse(text: str) -> Optional[Dict[str, str]]:
    """Return what the file holds, or None when it is not what this phase writes."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    if not isinstance(found, dict) or sorted(found) != sorted(NAMES):
        return None
    good = all(isinstance(value, str) and _PASSWORD.fullmatch(value) for value in found.values())
    return found if good else None


def run(options: Options, context: Context) -> Result:
    """Return the stack's passwords, and make them first where they are wanted and not there yet.

    In check mode they are made and not kept, so that what follows can be planned.

    :raises PhaseError: the file is there and holds something else, or cannot be made.
    """
    directory = os.path.join(state_home(options["state_dir"]), options["name"])
    path = os.path.join(directory, FILE)
    if os.path.lexists(path):
        found = parse(_files.read(path) or "")
        if found is None:
            raise PhaseError(
                "%s does not hold what stack_credentials: generated has written there: put it back, or take the stack "
                "down (kubernaut.integration.teardown) and up again." % path
            )
        return {"changed": False, "credentials": found}
    if not options["create"]:
        return {"changed": False, "credentials": {}}
    made = {name: secrets.token_urlsafe(LENGTH) for name in NAMES}
    if not context.check:
        make_private(directory)
        write_private(path, json.dumps(made) + "\n")
    return {"changed": True, "credentials": made}


PHASE = Phase(
    name="stack_credentials",
    run=run,
    argument_spec={
        "name": {"type": "str", "required": True},
        "state_dir": {"type": "str", "default": ""},
        "create": {"type": "bool", "default": True},
    },
)
