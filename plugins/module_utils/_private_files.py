# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write files that hold a secret, such as PostgreSQL's password file. PRIVATE to the collection."""

from __future__ import annotations

import os

from ansible_collections.kubernaut.integration.plugins.module_utils import _files
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import (
    Context,
    Options,
    Phase,
    PhaseError,
    Result,
)


def run(options: Options, context: Context) -> Result:
    """Install the files.

    :raises PhaseError: a name, mode or directory is refused, or the owner cannot be given.
    """
    directory, owner = options["directory"], options["owner"]
    if owner is not None and owner != os.geteuid() and not _files.may_give_away():
        raise PhaseError(
            "Only root can give files to uid %d: leave owner out, and let the directory and the files be readable by"
            " everybody inside a parent directory of mode 0700." % owner
        )
    names = [file["name"] for file in options["files"]]
    if len(set(names)) != len(names):
        raise PhaseError("A file is named twice in %s: give each file once." % ", ".join(names))
    wanted = [
        _files.Wanted(file["name"], file["content"], _files.parse_mode(file["mode"], "mode of %s" % file["name"]))
        for file in options["files"]
    ]
    mode = _files.parse_mode(options["directory_mode"], "directory_mode")
    before = {file.name: _files.read(os.path.join(directory, file.name)) for file in wanted}
    changed = _files.install(directory, mode, wanted, owner, context.check)
    texts = {file.name: file.content for file in wanted}
    content_hash, key_changed = _files.content_hash(directory, texts, context.check)
    changed += key_changed
    result: Result = {
        "changed": bool(changed),
        "changed_files": changed,
        "directory": directory,
        "files": [os.path.join(directory, file.name) for file in wanted],
        "content_hash": content_hash,
    }
    if context.diff:
        # Not even the length of a secret belongs into a log.
        mask = _files.MASK + "\n"
        result["diff"] = [
            _files.masked_diff(path, None if before[file.name] is None else mask, mask)
            for file, path in zip(wanted, result["files"])
            if path in changed
        ]
    return result


PHASE = Phase(
    name="private_files",
    run=run,
    argument_spec={
        "directory": {"type": "path", "required": True},
        "directory_mode": {"type": "str", "default": "0700"},
        "files": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "options": {
                "name": {"type": "str", "required": True},
                "content": {"type": "str", "required": True, "no_log": True},
                "mode": {"type": "str", "default": "0400"},
            },
        },
        "owner": {"type": "int"},
    },
)
