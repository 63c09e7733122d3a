# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of every gate."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  timeout:
    description:
      - Seconds after which the gate gives up.
      - It polls every 50 ms for 10 seconds, then ever more slowly, at most every 0.5 seconds.
    type: float
    default: 30.0
  container:
    description:
      - Name of the container that should answer. The gate fails at once when it stops, restarts or is replaced.
      - Empty when the service does not run in a container of this host.
    type: str
    default: ''
  stable_for:
    description: >-
      Seconds for which the service must stay ready after it first was, without its container ending. They come on top
      of O(timeout).
    type: float
    default: 0.0
  secrets:
    description: Passwords that the container's log may quote. They are masked in every answer and not used otherwise.
    type: list
    elements: str
    default: []
  podman:
    description: Podman executable.
    type: str
    default: podman
"""
