# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action front of every phase. PRIVATE to the collection.

An action plugin runs in the controller. When the target is the controller itself and nobody else is asked for, the
phase is called right here, which saves the half second that a module task costs; else the module of the same name
travels to the target. Same options, same function, same result.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from contextlib import contextmanager, suppress
from typing import Any, Callable, Dict, Iterator, Optional

from ansible.module_utils.common.parameters import remove_values
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.kubernaut.integration.plugins.module_utils._phase import (
    Context,
    Phase,
    PhaseError,
    Result,
    execute,
    silent,
)

#: Variable that forces a front: ``auto`` (default), ``module`` or ``action``. Tests compare the two with it.
FRONT_VARIABLE = "stack_front"


class PhaseAction(ActionBase):
    """Base of the collection's action plugins; a subclass only names its :attr:`phase`."""

    phase: Phase
    _supports_check_mode = True
    _supports_async = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Import the phase's libraries in ansible-playbook itself: its forked workers then have them for nothing.

        A library that is missing is named when the phase is called, not when the plugin is loaded.
        """
        super().__init_subclass__(**kwargs)
        for name in cls.phase.libraries if hasattr(cls, "phase") else ():
            with suppress(ImportError):
                importlib.import_module(name)

    def localize(self, options: Dict[str, Any], task_vars: Dict[str, Any]) -> Dict[str, Any]:
        """Add what only the controller knows, such as files of the collection; called before either front."""
        return options

    def run(self, tmp: Optional[str] = None, task_vars: Optional[Dict[str, Any]] = None) -> Result:
        """Validate, choose the front, run, mask."""
        task_vars = task_vars or {}
        super().run(tmp, task_vars)
        validation, _ignored = self.validate_argument_spec(self.phase.argument_spec, **self.phase.constraints)
        try:
            options = self.localize(_plain(validation.validated_parameters), task_vars)
        except PhaseError as error:
            return dict(remove_values(error.as_result(), validation._no_log_values))
        if not self._in_process(task_vars):
            # As the task has them: `~` in a path is the target user's home, and the module takes its own defaults.
            before = validation.validated_parameters
            added = {name: value for name, value in options.items() if value is not None and value != before.get(name)}
            given = {**self._task.args, **added}
            return dict(
                self._execute_module(
                    module_name="kubernaut.integration." + self.phase.name,
                    module_args=given,
                    task_vars=task_vars,
                    wrap_async=bool(self._task.async_val),
                )
            )
        secrets = validation._no_log_values
        context = Context(check=self._task.check_mode, diff=self._task.diff, progress=self._progress(secrets))
        with self._task_environment():
            result = execute(self.phase, options, context, sys.executable)
        result["invocation"] = {"module_args": options}
        return dict(remove_values(result, secrets))

    def _progress(self, secrets: Any) -> Callable[[str], None]:
        """Return what shows progress lines; a task with ``no_log`` shows none."""
        return silent if self._task.no_log else _Progress(secrets)

    def _in_process(self, task_vars: Dict[str, Any]) -> bool:
        """Tell whether the target is this very process's machine and user, now."""
        wanted = task_vars.get(FRONT_VARIABLE, "auto")
        if wanted == "module" or self._task.async_val:
            return False
        local = self._connection.transport == "local" and not self._connection.become
        return bool(local)

    @contextmanager
    def _task_environment(self) -> Iterator[None]:
        """Apply the task's ``environment:``, as the connection would do for a module, and take it back afterwards."""
        wanted: Dict[str, Any] = {}
        self._compute_environment_string(wanted)
        before = dict(os.environ)
        os.environ.update({name: str(value) for name, value in wanted.items()})
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def _plain(options: Any) -> Dict[str, Any]:
    """Return the options as a module would get them, through JSON.

    In-process, Ansible's values are subclasses of str and int that carry tags, which others refuse (PyYAML) or keep.
    """
    plain: Dict[str, Any] = json.loads(json.dumps(options))
    return plain


class _Progress:
    """Write progress lines to the terminal while the task runs, secrets masked."""

    def __init__(self, secrets: Any) -> None:
        self._secrets = secrets
        self._display = Display()

    def __call__(self, line: str) -> None:
        self._display.display("  " + str(remove_values(line, self._secrets)))


class TellingAction(PhaseAction):
    """A phase whose result holds ``lines`` for the terminal."""

    def run(self, tmp: Optional[str] = None, task_vars: Optional[Dict[str, Any]] = None) -> Result:
        """Run the phase and show its lines, whichever front it took."""
        result = super().run(tmp, task_vars)
        display = Display()
        for line in result.get("lines", []) if self.tells() else []:
            display.display(str(line))
        return result

    def tells(self) -> bool:
        """Tell whether the lines are to be shown now; a task with ``no_log`` shows none."""
        return not self._task.no_log
