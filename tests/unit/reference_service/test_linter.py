# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the linter foretells, the reference service says, and about nothing else."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.kubernaut.integration.plugins.module_utils import _adr030_lint
from ansible_collections.kubernaut.integration.tests.unit.plugins.module_utils.test_adr030_lint import (
    DB,
    FORETOLD,
    MOUNTED,
    REDIS,
    lint,
)
from reference_datastorage.config import ConfigError, load

VALUES = [8080, 80, 0, -1, 70000, "8080", "30s", "1d", "", None, True, "word", ["a"], {"a": 1}, "info", "INFO", "json"]
PATHS = [at.path for _key, at in _adr030_lint.table.keys_of("v0") if not at.path.endswith("secretsFile")]
SECRETS = [
    "username: u\npassword: word\n", "password: word\n", "password: 5\n", "pass: x\n", "", "- a\n", "[\n",
    '{\n\t"password": "j"\n}', "password:\n", "username: 5\npassword: x\n",
]  # fmt: skip


@pytest.mark.parametrize(("contract", "changes", "says", "files", "around"), FORETOLD)
def test_the_reference_service_says_just_that(
    tmp_path: Path, contract: str, changes: dict[str, Any], says: str, files: dict[str, str], around: dict[str, Any]
) -> None:
    del contract, around
    config = lint(tmp_path, "server: x\n" if "server" in changes else changes, "v0", files, mounts=MOUNTED)
    inside = (tmp_path / "config.yaml").read_text().replace("/etc/datastorage", str(tmp_path))
    (tmp_path / "inside.yaml").write_text(inside)
    with pytest.raises(ConfigError) as caught:
        load(str(tmp_path / "inside.yaml"))
    assert says in str(caught.value)
    assert any(finding.predicts in str(caught.value) for finding in config.findings if finding.predicts)


@settings(max_examples=300, deadline=None, database=None)
@given(
    st.dictionaries(st.sampled_from(PATHS), st.sampled_from(VALUES), max_size=3),
    st.sampled_from(SECRETS),
    st.sampled_from(["", 'password: ""\n', 'password: ""\n', "password: 1\n"]),
)
def test_whatever_the_file_the_linter_and_the_service_agree(changes: dict[str, Any], database: str, redis: str) -> None:
    """A refusal is foretold in its words, and where nothing is foretold the service takes what is effective."""
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        files = {"database.secretsFile": str(home / DB), "redis.secretsFile": str(home / REDIS)}
        config = lint(home, {**changes, **files}, "v0", {DB: database, REDIS: redis})
        told = [finding.predicts for finding in config.findings if finding.predicts]
        refusal = ""
        try:
            taken = load(str(home / "config.yaml"))
        except ConfigError as error:
            refusal = str(error)
        if refusal:
            assert any(words in refusal for words in told), (refusal, told)
            return
        assert [words for words in told if "sslmode" not in words] == []
        used = config.effective["v0"]
        assert (taken.server.port, taken.redis.dlq_max_len) == (used["server.port"], used["redis.dlq_max_len"])
        assert (taken.database.user, taken.database.host) == (used["database.user"], used["database.host"])
        assert taken.database.conninfo().endswith("sslmode=" + used["database.ssl_mode"])
