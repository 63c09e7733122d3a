# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A phase: one function with two thin fronts. PRIVATE to the collection.

A phase is what a role calls when it wants something decided, waited for or proven. Its logic is a plain function
``run(options, context) -> result``. The module front (:func:`run_module`) travels to a remote host; the action front
(``plugin_utils/_action.py``) calls the same function in-process when the target is the controller itself.
"""

from __future__ import annotations

import importlib
import time
import traceback
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

Options = Mapping[str, Any]
Result = Dict[str, Any]

#: Library that a phase may import -> what a person installs to have it (PyPI name, Debian and Fedora package).
LIBRARIES: Mapping[str, Tuple[str, str]] = {
    "psycopg": ("psycopg[binary]", "python3-psycopg, on Fedora python3-psycopg3"),
    "redis": ("redis", "python3-redis"),
    "yaml": ("PyYAML", "python3-yaml"),
}


class PhaseError(Exception):
    """A phase failed for a reason that it can name.

    :param message: first line: the most likely cause and the next action; further lines: evidence.
    :param cause: id of the cause, for whoever has to act on it without reading; empty when the message is about a
        value that somebody gave.
    :param result: values that the task returns beside the message.
    """

    def __init__(self, message: str, cause: str = "", **result: Any) -> None:
        super().__init__(message)
        self.message = message
        self.cause = cause
        self.result: Result = result

    def as_result(self) -> Result:
        """Return the task's result; the first line of its ``msg`` ends with the cause's id."""
        failed: Result = {"changed": False, **self.result, "failed": True, "msg": self.message}
        if self.cause:
            first, line, rest = self.message.partition("\n")
            failed.update(cause=self.cause, msg="%s [%s]%s%s" % (first, self.cause, line, rest))
        return failed


def silent(line: str) -> None:
    """Drop a progress line: a module has nobody to tell while it runs."""


@dataclass(frozen=True)
class Context:
    """How a phase is called, apart from its options.

    :param check: true in check mode: find out and report, change nothing.
    :param diff: true when the caller wants ``diff`` in the result.
    :param progress: takes one line for the terminal; only the action front shows it.
    """

    check: bool = False
    diff: bool = False
    progress: Callable[[str], None] = silent


@dataclass(frozen=True)
class Phase:
    """A phase and what its fronts have to know.

    :param name: module name without the collection.
    :param run: the logic; raises :class:`PhaseError` for failures that it can name.
    :param argument_spec: Ansible argument spec, the same for both fronts.
    :param libraries: keys of :data:`LIBRARIES` that must be importable before ``run`` is called.
    :param constraints: further keyword arguments of AnsibleModule, such as ``required_if``.
    """

    name: str
    run: Callable[[Options, Context], Result]
    argument_spec: Dict[str, Dict[str, Any]]
    libraries: Tuple[str, ...] = ()
    constraints: Dict[str, Any] = field(default_factory=dict)


def missing_libraries(phase: Phase, interpreter: str) -> Optional[str]:
    """Return one sentence that names the libraries this interpreter lacks, or None when all are there."""
    lacking: List[str] = []
    for name in phase.libraries:
        try:
            importlib.import_module(name)
        except ImportError:
            lacking.append(name)
    if not lacking:
        return None
    pip = " ".join("'%s'" % LIBRARIES[name][0] for name in lacking)
    packages = " ".join(LIBRARIES[name][1] for name in lacking)
    return (
        "%s cannot import %s, which %s needs: install it with `pip install %s` or the package %s, "
        "or set host_install to true and let the host role do it."
        % (interpreter, ", ".join(lacking), phase.name, pip, packages)
    )


def execute(phase: Phase, options: Options, context: Context, interpreter: str) -> Result:
    """Run a phase and turn every outcome into a result; both fronts end here.

    :returns: the phase's result with ``changed`` and ``at`` (when it ended, seconds since the epoch), or a result with
        ``failed`` and ``msg``. An exception that the phase did not name keeps its traceback under ``exception``;
        masking of secrets is the front's duty.
    """
    lacking = missing_libraries(phase, interpreter)
    if lacking and context.check:
        return {"changed": False, "skipped": True, "msg": lacking}  # a real run would have installed them by now
    if lacking:
        return {"failed": True, "changed": False, "msg": lacking}
    try:
        result = phase.run(options, context)
    except PhaseError as error:
        return error.as_result()
    except Exception as error:  # the last net: whatever it is, the task fails and says what and where
        return {
            "failed": True,
            "changed": False,
            "msg": "%s failed unexpectedly: %s: %s" % (phase.name, type(error).__name__, error),
            "exception": traceback.format_exc(),
        }
    return {"changed": False, **result, "at": round(time.time(), 3)}


def run_module(phase: Phase) -> None:
    """Be the module front of ``phase``: parse, run, answer. AnsibleModule masks ``no_log`` values in every answer."""
    import sys

    from ansible.module_utils.basic import AnsibleModule

    # no_log here keeps the call out of the target's system log: options may be whole files.
    module = AnsibleModule(
        argument_spec=phase.argument_spec, supports_check_mode=True, no_log=True, **phase.constraints
    )
    context = Context(check=module.check_mode, diff=module._diff)
    result = execute(phase, module.params, context, sys.executable)
    if result.pop("failed", False):
        module.fail_json(msg=result.pop("msg"), **result)
    module.exit_json(**result)
