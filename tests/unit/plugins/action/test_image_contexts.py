# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The build contexts that the action front of ``images`` hands out."""

from __future__ import annotations

from ansible_collections.kubernaut.integration.plugins.action.images import CONTEXTS, read_contexts


def test_the_collections_contexts_are_complete() -> None:
    contexts = read_contexts(CONTEXTS)
    assert {"base", "postgres", "redis", "datastorage", "datastorage-binary"} <= contexts.keys()
    assert {"apt.conf", "dpkg.cfg", "trim.sh"} == contexts["base"].keys()
    assert contexts["postgres"]["entrypoint"]["mode"] == "0755"
    for name, files in contexts.items():
        if name != "base":
            assert "ARG BASE\nFROM ${BASE}\n" in files["Containerfile"]["text"]
            assert "VOLUME" not in files["Containerfile"]["text"]
