# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Passwords of a stack's own: phase ``stack_credentials``. PRIVATE to the collection.

They are made once and stay what they are as long as the data volume does, which keeps the one that it was made with.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from typing import Dict, List, Optional

from ansible_collections.kubernaut.integration.plugins.module_utils import _files
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import (
    Context,
    Options,
    Phase,
    PhaseError,
    Result,
)
from ansible_collections.kubernaut.integration.plugins.module_utils._state import make_private, state_home

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


def settle(directory: str, credentials: Optional[str], kept: bool, fresh: bool, check: bool) -> List[str]:
    """Drop passwords that are nobody's any more, and refuse those that a data volume does not have.

    Called before anything is changed, by the phase ``stack``, whose message nobody hides.

    :param directory: the stack's own.
    :param credentials: ``stack_credentials``; None where PostgreSQL's password is given, and with it the care.
    :param kept: whether there is a data volume.
    :param fresh: whether the stack was removed just now, and its passwords with it.
    :param check: true to change nothing.
    :returns: what was done, in words.
    :raises PhaseError: the volume was made with the other kind of passwords, or its own are lost.
    """
    path = os.path.join(directory, FILE)
    there = os.path.lexists(path)
    if kept and there and credentials == "upstream":
        raise PhaseError(
            "stack_credentials: PostgreSQL's volume was made with generated passwords, which are in %s; set it to "
            "generated, or start clean with stack_fresh: true." % path
        )
    if kept and credentials == "generated" and parse(_files.read(path) or "") is None:
        raise PhaseError(
            "stack_credentials: PostgreSQL's volume keeps the password that it was made with, and %s does not hold it; "
            "set it to upstream, or give that one as postgres_password, or start clean with stack_fresh: true." % path
        )
    if not there or not (fresh or credentials == "upstream"):
        return []
    if not check:
        os.unlink(path)
    return ["%s %s" % ("would remove" if check else "removed", path)]


def run(options: Options, context: Context) -> Result:
    """Return the stack's passwords, and make them first where they are wanted and not there yet.

    In check mode they are made and not kept, so that what follows can be planned.

    :raises PhaseError: there are none, or the file holds something else, or cannot be made.
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
        raise PhaseError(
            "stack_credentials: the stack %s has no generated passwords in %s; bring it up with generated ones, set "
            "stack_credentials to upstream, or name its stack_state_dir." % (options["name"], path)
        )
    made = {name: secrets.token_urlsafe(LENGTH) for name in NAMES}
    if not context.check:
        make_private(directory)
        _files.install_file(directory, _files.Wanted(FILE, json.dumps(made) + "\n", 0o600))
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
