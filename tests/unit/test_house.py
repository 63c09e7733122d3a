# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps the house in order and no linter checks."""

from __future__ import annotations

import ast
import importlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import ansible
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = ROOT / "plugins"
#: The oldest Python that a managed host may have.
PYTHON_FLOOR = (3, 9)


def stems(kind: str) -> list[str]:
    """Return the names of the public plugins of a kind."""
    return sorted(path.stem for path in (PLUGINS / kind).glob("[!_]*.py"))


def travelling_files() -> list[str]:
    """Return what runs on managed hosts, relative to the checkout."""
    return sorted(
        str(path.relative_to(ROOT)) for kind in ("modules", "module_utils") for path in (PLUGINS / kind).glob("*.py")
    )


def test_there_are_modules_to_check() -> None:
    assert stems("modules")
    assert travelling_files()


def test_the_action_group_names_every_module() -> None:
    runtime = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())
    assert runtime["action_groups"]["integration"] == stems("modules")


def test_every_module_has_an_action_and_every_action_a_module() -> None:
    assert stems("action") == stems("modules")


@pytest.mark.parametrize("name", stems("action"))
def test_action_calls_the_phase_of_its_name(name: str) -> None:
    action = importlib.import_module(f"ansible_collections.kubernaut.integration.plugins.action.{name}")
    assert action.ActionModule.phase.name == name


@pytest.mark.parametrize("name", stems("modules"))
def test_module_documents_the_options_of_its_phase(name: str) -> None:
    """What a module documents, in its file or in the YAML file beside it, is what its phase accepts."""
    module = importlib.import_module(f"ansible_collections.kubernaut.integration.plugins.modules.{name}")
    action = importlib.import_module(f"ansible_collections.kubernaut.integration.plugins.action.{name}")
    beside = PLUGINS / "modules" / f"{name}.yml"
    if beside.exists():
        documentation = yaml.safe_load(beside.read_text())["DOCUMENTATION"]
    else:
        documentation = yaml.safe_load(module.DOCUMENTATION)
    documented = set(documentation.get("options") or {})
    for fragment in documentation.get("extends_documentation_fragment", []):
        documented |= fragment_options(fragment)
    assert documented == set(action.ActionModule.phase.argument_spec)


def fragment_options(name: str) -> set[str]:
    """Return the options of the documentation fragment ``kubernaut.integration.FILE[.PART]``."""
    file, *part = name.removeprefix("kubernaut.integration.").split(".")
    module = importlib.import_module(f"ansible_collections.kubernaut.integration.plugins.doc_fragments.{file}")
    text = getattr(module.ModuleDocFragment, (part[0] if part else "documentation").upper())
    return set(yaml.safe_load(text).get("options") or {})


@pytest.mark.parametrize("name", travelling_files())
def test_file_for_managed_hosts_is_readable_for_the_oldest_python(name: str) -> None:
    ast.parse((ROOT / name).read_text(), filename=name, feature_version=PYTHON_FLOOR)


def oldest_python() -> str | None:
    """Return an interpreter of the oldest version that a managed host may have, where this machine has one."""
    name = "python%d.%d" % PYTHON_FLOOR
    versions = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    beside = versions.glob("%d.%d.*/bin/%s" % (*PYTHON_FLOOR, name))
    for found in (shutil.which(name), *map(str, beside)):
        # A shim of pyenv is there even where no version is chosen.
        if found and subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode == 0:
            return found
    return None


def test_files_for_managed_hosts_can_be_imported_by_the_oldest_python(tmp_path: Path) -> None:
    python = oldest_python()
    if python is None:
        pytest.skip("no Python %d.%d here" % PYTHON_FLOOR)
    (tmp_path / "ansible").symlink_to(Path(ansible.__file__).parent)
    names = [name.removesuffix(".py").replace("/", ".") for name in travelling_files()]
    code = "import importlib, sys\nfor name in sys.argv[1:]:\n    importlib.import_module(name)\n"
    done = subprocess.run(
        [python, "-I", "-c", "import sys; sys.path[:0] = %r\n%s" % ([str(tmp_path), str(ROOT / ".collections")], code)]
        + ["ansible_collections.kubernaut.integration." + name for name in names],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", sorted(str(path.relative_to(PLUGINS)) for path in PLUGINS.glob("module_utils/*.py")))
def test_module_utils_are_private(name: str) -> None:
    assert Path(name).name.startswith("_")


def test_the_shell_scripts_parse() -> None:
    for script, shell in (("tests/setup-venv", "sh"), (".ci/run", "bash")):
        subprocess.run([shell, "-n", str(ROOT / script)], check=True)


def test_ansible_test_installs_the_same_versions() -> None:
    files = ("requirements.txt", "requirements-test.txt")
    pinned = {line for name in files for line in (ROOT / name).read_text().splitlines() if "==" in line}
    asked = [line for line in (ROOT / "tests/unit/requirements.txt").read_text().splitlines() if "==" in line]
    assert set(asked) <= pinned


def test_a_directory_with_secrets_is_mounted_in_one_container_and_labelled_for_it() -> None:
    """Where SELinux is enabled, `Z` gives a directory to the one container that mounts it; `z` gives it to all."""
    assert "',Z'" in yaml.safe_load((ROOT / "roles/stack/vars/main.yml").read_text())["__stack_mount"]
    text = "".join(path.read_text() for path in ROOT.glob("roles/*/vars/main.yml"))
    mounted = re.findall(r"^ .*__stack_mount.*$", text, re.MULTILINE)
    assert len(set(mounted)) == len(mounted) == 6


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("roles/*/tasks/*.yml")), ids=lambda path: f"{path.parts[-3]}/{path.stem}"
)
def test_deadlines_are_numbers_whatever_the_command_line_made_of_them(path: Path) -> None:
    """`30 * "2"` is thirty twos to Jinja, and a gate once waited for ever."""
    products = [line for line in path.read_text().splitlines() if "* stack_patience" in line]
    assert [line for line in products if not re.search(r"(float|\d+) \* stack_patience \| float", line)] == []
