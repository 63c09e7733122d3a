# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of the execution needs no server; the rest is in tests/live."""

from __future__ import annotations

from pathlib import Path

import yaml

from ansible_collections.kubernaut.integration.plugins.module_utils import _migrations

ROOT = Path(__file__).parents[4]


def test_tool_version_is_the_collections() -> None:
    assert yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))["version"] == _migrations.TOOL


def test_texts_of_the_server_are_bounded() -> None:
    assert _migrations._short(None) is None
    assert _migrations._short("a" * 500) == "a" * 500
    assert _migrations._short("a" * 501) == "a" * 500 + " ..."
