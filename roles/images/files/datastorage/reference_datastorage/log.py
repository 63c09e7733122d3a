# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Structured log lines on standard error, one per event, in the two formats of the contract."""

from __future__ import annotations

import json
import logging
import sys
from datetime import datetime

_COLOURS = {"DEBUG": 35, "INFO": 34, "WARNING": 33, "ERROR": 31, "CRITICAL": 31}
_LEVELS = {"WARNING": "WARN", "CRITICAL": "FATAL"}


class Logger:
    """A named logger whose lines carry fields. Values that JSON does not know are written as text."""

    def __init__(self, name: str) -> None:
        """Take the logger called ``name`` from the logging module."""
        self._logger = logging.getLogger(name)

    def info(self, message: str, **fields: object) -> None:
        """Log a normal event."""
        self._logger.info(message, extra={"fields": fields}, stacklevel=2)

    def error(self, error: object, message: str, **fields: object) -> None:
        """Log a failure; ``error`` becomes the field of that name."""
        self._logger.error(message, extra={"fields": {"error": str(error), **fields}}, stacklevel=2)


def _fields(record: logging.LogRecord) -> dict[str, object]:
    fields: dict[str, object] = dict(getattr(record, "fields", {}))
    if record.exc_info:  # a library's own record: kept on one line, inside the JSON
        fields["stacktrace"] = logging.Formatter().formatException(record.exc_info)
    return fields


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created).astimezone()
    offset = moment.strftime("%z")
    return (
        moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}" + (offset if int(offset) else "Z")
    )


def _level(record: logging.LogRecord) -> str:
    return _LEVELS.get(record.levelname, record.levelname)


class ConsoleFormatter(logging.Formatter):
    """``time LEVEL logger file:line message {json}``, separated by tabs, with the level in colour."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line without its end."""
        colour = _COLOURS.get(record.levelname, 0)
        columns = [
            _time(record),
            f"\x1b[{colour}m{_level(record)}\x1b[0m",
            record.name,
            f"{record.filename}:{record.lineno}",
            record.getMessage(),
        ]
        fields = _fields(record)
        if fields:
            columns.append(json.dumps(fields, default=str))
        return "\t".join(columns)


class JsonFormatter(logging.Formatter):
    """One JSON object per line: ``level``, ``ts``, ``logger``, ``caller``, ``msg`` and the event's fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line without its end."""
        line: dict[str, object] = {
            "level": _level(record).lower(),
            "ts": _time(record),
            "logger": record.name,
            "caller": f"{record.filename}:{record.lineno}",
            "msg": record.getMessage(),
        }
        return json.dumps(line | _fields(record), default=str)


def configure(*, production: bool) -> None:
    """Send every logger's lines to standard error; libraries only from warnings on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if production else ConsoleFormatter())
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    logging.getLogger("datastorage").setLevel(logging.INFO)
