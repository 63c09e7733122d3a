# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stack that the scenario's inventory describes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml

COMPONENTS = ("datastorage", "postgres", "redis")
_SCENARIO = yaml.safe_load(Path(os.environ["MOLECULE_FILE"]).read_text())
_VARIABLES = _SCENARIO["provisioner"]["inventory"]["host_vars"]["localhost"]


@pytest.fixture(params=COMPONENTS)
def component(request):
    """Each part of the stack."""
    return request.param


@pytest.fixture(scope="session")
def ports():
    """Component -> published port."""
    return {component: _VARIABLES[component + "_port"] for component in COMPONENTS}


@pytest.fixture(scope="module")
def containers(host):
    """What podman inspect says of each component."""
    names = ("workflowexecution_%s_%s_1" % (_VARIABLES["stack_run_id"], component) for component in COMPONENTS)
    return dict(zip(COMPONENTS, json.loads(host.check_output("podman inspect " + " ".join(names))), strict=True))


@pytest.fixture
def container(containers, component):
    """What podman inspect says of one component."""
    return containers[component]
