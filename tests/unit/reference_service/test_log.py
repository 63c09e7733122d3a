# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two formats of a log line, the shutdown timeout, and the exit code without a configuration."""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import timedelta

import pytest

from reference_datastorage.__main__ import main, shutdown_timeout
from reference_datastorage.log import ConsoleFormatter, JsonFormatter, Logger


@pytest.fixture
def record(caplog: pytest.LogCaptureFixture) -> logging.LogRecord:
    """What an error of the service leaves behind."""
    Logger("datastorage").error(ValueError("no such host"), "Failed to create server", attempt=1)
    return caplog.records[-1]


def test_console(record: logging.LogRecord) -> None:
    columns = ConsoleFormatter().format(record).split("\t")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}(Z|[+-]\d{4})", columns[0])
    assert columns[1:3] == ["\x1b[31mERROR\x1b[0m", "datastorage"]
    assert re.fullmatch(r"test_log\.py:\d+", columns[3])
    assert columns[4] == "Failed to create server"
    assert json.loads(columns[5]) == {"error": "no such host", "attempt": 1}


def test_console_without_fields(record: logging.LogRecord) -> None:
    del record.__dict__["fields"]
    assert ConsoleFormatter().format(record).endswith("\tFailed to create server")


def test_json(record: logging.LogRecord) -> None:
    line = json.loads(JsonFormatter().format(record))
    assert line.pop("ts")
    assert line.pop("caller").startswith("test_log.py:")
    assert line == {
        "level": "error",
        "logger": "datastorage",
        "msg": "Failed to create server",
        "error": "no such host",
        "attempt": 1,
    }


@pytest.mark.parametrize("formatter", [ConsoleFormatter(), JsonFormatter()])
def test_a_library_s_traceback_stays_on_one_line(record: logging.LogRecord, formatter: logging.Formatter) -> None:
    try:
        raise RuntimeError("first\nsecond")
    except RuntimeError:
        record.exc_info = sys.exc_info()
    line = formatter.format(record)
    assert "\n" not in line
    assert "RuntimeError" in line


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("", 30), ("1m", 60), ("500ms", 0.5), ("soon", 30)],
    ids=["unset", "1m", "500ms", "no duration"],
)
def test_shutdown_timeout(text: str, seconds: float) -> None:
    assert shutdown_timeout(text) == timedelta(seconds=seconds)


def test_no_config_path(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.delenv("CONFIG_PATH", raising=False)
    assert main() == 1
    assert caplog.records[-1].message == "CONFIG_PATH environment variable required (ADR-030)"
