# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: what has to be done so that a container matches its specification."""

from __future__ import annotations

from typing import Any, Callable

from ansible_collections.kubernaut.integration.plugins.module_utils._plan import container_plan


class FilterModule:
    """Filters of the collection."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"container_plan": _container_plan}


def _container_plan(
    spec: dict[str, Any],
    component: str,
    found: dict[str, Any] | None,
    replaced: list[str] | None = None,
    run_labels: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Let the data come first, as filters want it."""
    return container_plan(component, spec, found, replaced or [], run_labels)
