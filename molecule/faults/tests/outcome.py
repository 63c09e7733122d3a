# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What came of a fault: judged against its row, and shown as a table."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.kubernaut.integration.molecule.faults.tests.rows import Row
from ansible_collections.kubernaut.integration.molecule.faults.tests.scene import PROOF
from ansible_collections.kubernaut.integration.plugins.module_utils._causes import SYMPTOMS
from ansible_collections.kubernaut.integration.tests.live.playing import Run

#: A cause's id at the end of a failure's first line.
_ID = re.compile(r"\[([a-z][a-z0-9-]*)\]$")
_HEADER = re.compile(r"^TASK \[(?:kubernaut\.integration\.)?(?P<where>.*?)\] \**$", re.MULTILINE)
_FATAL = re.compile(r"^fatal: \[", re.MULTILINE)


@dataclass(frozen=True)
class Outcome:
    """A play on which a fault was tried.

    :param seconds: from the play's start, or from the strike, to its end.
    :param evidence: the directories and archives in which it kept evidence.
    """

    run: Run
    seconds: float
    evidence: Sequence[Path]

    @property
    def failed(self) -> bool:
        """Whether the play failed."""
        return self.run.rc != 0

    @property
    def messages(self) -> list[str]:
        """What the failed tasks said: the one that failed first, and the one that ends the play when it was rescued."""
        return [str(failure.get("msg", "")) for failure in self.run.failures()] if self.failed else []

    @property
    def message(self) -> str:
        """All that the first of them said; empty where there is none."""
        return next(iter(self.messages), "")

    @property
    def first_line(self) -> str:
        """The line with which the play ends: what a person reads first. A task of others' modules names no cause."""
        return self.messages[-1].partition("\n")[0] if self.messages else ""

    @property
    def causes(self) -> set[str]:
        """Every id that a first line of them ends with."""
        found = [_ID.search(message.partition("\n")[0]) for message in self.messages]
        return {each[1] for each in found if each}

    @property
    def cause(self) -> str:
        """The id with which the play ends; empty where there is none."""
        found = _ID.search(self.first_line)
        return found[1] if found else ""

    @property
    def where(self) -> str:
        """Role and task that failed first."""
        fatal = _FATAL.search(self.run.out)
        headers = [found["where"] for found in _HEADER.finditer(self.run.out[: fatal.start()])] if fatal else []
        return headers[-1] if headers else ""


def _texts(evidence: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of every file of a directory or an archive."""
    if evidence.is_dir():
        for path in evidence.rglob("*"):
            if path.is_file():
                yield path.name, path.read_bytes()
        return
    with tarfile.open(evidence) as archive:
        for member in archive:
            content = archive.extractfile(member)
            yield member.name, content.read() if content else b""


def judge(row: Row, outcome: Outcome, secrets: Sequence[str]) -> list[str]:
    """Return what is not as the row says, a line for each."""
    wrong = _judge_failure(row, outcome) if row.cause else _judge_success(row, outcome)
    if outcome.seconds > row.deadline:
        wrong.append(f"it took {outcome.seconds:.1f} s, and the deadline is {row.deadline:g} s")
    if outcome.seconds < row.least:
        wrong.append(f"it took {outcome.seconds:.1f} s, so that the fault cannot have been there")
    if any(secret in outcome.run.out for secret in secrets):
        wrong.append("a secret was shown")
    for evidence in outcome.evidence:
        told = [name for name, text in _texts(evidence) if any(secret.encode() in text for secret in secrets)]
        if told:
            wrong.append(f"{evidence.name} holds a secret, in {', '.join(told)}")
    return wrong


def _judge_success(row: Row, outcome: Outcome) -> list[str]:
    if outcome.failed:
        return [f"it failed at {outcome.where!r}: {outcome.first_line}"]
    said = (PROOF, *filter(None, [row.words]))
    return [f"it did not say {words!r}" for words in said if not re.search(words, outcome.run.out)]


def _judge_failure(row: Row, outcome: Outcome) -> list[str]:
    if not outcome.failed:
        return ["it did not fail"]
    wrong = []
    if outcome.cause != row.cause or outcome.causes - SYMPTOMS - {row.cause}:
        wrong.append(f"it named {outcome.cause or 'nothing'} in {outcome.first_line!r}")
    if outcome.where != row.where:
        wrong.append(f"it failed at {outcome.where!r}")
    if not re.search(row.words, outcome.first_line):
        wrong.append(f"{row.words!r} is not in {outcome.first_line!r}")
    if not re.search(row.evidence, outcome.message):
        wrong.append(f"{row.evidence!r} is not in the message")
    if "Traceback" in outcome.run.out:
        wrong.append("it showed a traceback")
    summaries = {
        evidence.name: text.decode()
        for evidence in outcome.evidence
        for name, text in _texts(evidence)
        if name.endswith("summary.md")
    }
    if len(summaries) != (2 if row.diagnosed else 0):
        wrong.append(f"evidence is in {', '.join(summaries) or 'nothing'}, not in one directory and one archive")
    wrong += [f"{name} does not name the cause" for name, text in summaries.items() if f"[{row.cause}]" not in text]
    return wrong


@dataclass(frozen=True)
class Result:
    """A row of the table.

    :param outcome: None where the fault was not tried.
    :param wrong: what was not as the row says.
    """

    row: Row
    outcome: Outcome | None
    wrong: Sequence[str] = ()

    @property
    def cells(self) -> tuple[str, ...]:
        """The row as the table shows it."""
        expected = self.row.cause or "success"
        if self.outcome is None:
            return self.row.name, self.row.fault, expected, "", "", f"{self.row.deadline:g}", "not tried"
        found = (self.outcome.cause or "no cause") if self.outcome.failed else "success"
        seconds = f"{self.outcome.seconds:.1f}"
        verdict = "FAILED" if self.wrong else "ok"
        return self.row.name, self.row.fault, expected, found, seconds, f"{self.row.deadline:g}", verdict


TITLES = ("row", "fault", "expected", "found", "s", "deadline", "result")


def table(results: Sequence[Result]) -> list[str]:
    """Return the lines of a Markdown table, in columns."""
    rows = [TITLES, *(result.cells for result in results)]
    widths = [max(len(cells[column]) for cells in rows) for column in range(len(TITLES))]
    lines = [
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))} |" for cells in rows
    ]
    return [lines[0], f"|{'|'.join('-' * (width + 2) for width in widths)}|", *lines[1:]]


# REUSE-IgnoreStart: the header of the report, not of this file
def document(results: Sequence[Result]) -> str:
    """Return the report."""
    tried = [result for result in results if result.outcome is not None]
    good = [result for result in tried if not result.wrong]
    return "\n".join(
        [
            "<!--",
            "SPDX-FileCopyrightText: 2026 The kubernaut.integration authors",
            "SPDX-License-Identifier: GPL-3.0-or-later",
            "-->",
            "",
            "# Faults",
            "",
            "Made by `make soak ARGS='--report'`; `molecule test --scenario-name faults` tries all but the slow ones.",
            "Each fault is brought about for real, and undone.",
            "",
            f"{len(good)} of {len(tried)} faults came out as they should: the play failed at the right task, its",
            "first line named the cause, in time, nothing of a secret was shown, and the evidence was kept; or all was",
            "proven, where the fault is none. Seconds count from the play's start, or from the moment of the fault, to",
            "the play's end, evidence included. What each cause means is in [causes.md](causes.md).",
            "",
            *table(results),
            "",
        ]
    )


# REUSE-IgnoreEnd
