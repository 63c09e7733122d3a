# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A DataStorage that is built from a checkout: its image, its migrations and its contract by one variable."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.kubernaut.integration.tests.live.playing import ROOT, Stack, podman

PROOF = "7/7 in PostgreSQL"
MADE_BY = "kubernaut-integration-tests"
IMAGES = ROOT / "roles" / "images" / "files"


class Checkout:
    """A directory that is laid out as kubernaut's is, and builds the reference service."""

    def __init__(self, root: Path) -> None:
        self.root = root
        shutil.copytree(IMAGES / "datastorage", root, ignore=shutil.ignore_patterns("__pycache__"))
        (root / "docker").mkdir()
        self.recipe = root / "docker" / "data-storage.Dockerfile"
        (root / "Containerfile").rename(self.recipe)
        migrations = ROOT / "roles" / "migrations" / "files" / "v0"
        shutil.copytree(migrations, root / "migrations")
        # By this name the contract is known.
        first = min((root / "migrations").iterdir())
        first.rename(first.with_name("001_initial_schema.sql"))
        (root / "migrations" / "testdata").mkdir()
        (root / "migrations" / "testdata" / "999_none.sql").write_text("DROP TABLE audit_events;")

    @property
    def variables(self) -> dict[str, Any]:
        """What a user sets."""
        ours = ("images", "--format", "{{.Repository}}:{{.Tag}}", "--filter")
        bases = podman(*ours, "label=io.kubernaut.integration.component=base").split()
        if not bases:
            pytest.skip("images are pulled here, so there is no base to build on")
        return {"kubernaut_dir": str(self.root), "datastorage_build_args": {"BASE": bases[0]}, "stack_stop_timeout": 1}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return Checkout(tmp_path_factory.mktemp("src") / "kubernaut")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack("build", {"postgres": 28243, "redis": 28289, "datastorage": 28200}, tmp_path_factory.mktemp("state"))
    yield stack
    stack.remove(stack_stop_timeout=1)
    images = podman("images", "--quiet", "--filter", "label=made-by=" + MADE_BY).split()
    if images:
        podman("rmi", "--force", *dict.fromkeys(images))


def image_of(stack: Stack) -> str:
    return podman("inspect", "--format={{.Image}}", stack.container("datastorage")).strip()


def test_one_variable_takes_image_migrations_and_contract(checkout: Checkout, stack: Stack) -> None:
    checkout.recipe.write_text(checkout.recipe.read_text() + "\nLABEL made-by=" + MADE_BY + "\n")
    run = stack.play("integration", **checkout.variables).ok()
    assert PROOF in run.out
    assert "contract v0 by " in run.out
    assert "REFERENCE SERVICE" not in run.out
    labels = json.loads(podman("inspect", "--format={{json .Config.Labels}}", image_of(stack)))
    assert labels["made-by"] == MADE_BY


def test_what_did_not_change_is_not_built_again(checkout: Checkout, stack: Stack) -> None:
    (checkout.root / ".git").mkdir()
    (checkout.root / ".git" / "HEAD").write_text("another commit")
    before = image_of(stack)
    assert stack.play("integration", **checkout.variables).ok().recap["changed"] == 0
    assert image_of(stack) == before


@pytest.mark.slow
def test_what_changed_is(checkout: Checkout, stack: Stack) -> None:
    stack.play("integration", **checkout.variables).ok()  # no other slow test has done so
    before = image_of(stack)
    main = checkout.root / "reference_datastorage" / "__main__.py"
    main.write_text(main.read_text() + "# changed\n")
    assert PROOF in stack.play("integration", **checkout.variables).ok().out
    assert image_of(stack) != before


def test_a_build_that_fails_says_why_and_leaves_the_stack(checkout: Checkout, stack: Stack) -> None:
    before, recipe = image_of(stack), checkout.recipe.read_text()
    checkout.recipe.write_text(recipe + "RUN echo the reason >&2 && exit 3\n")
    try:
        run = stack.play("integration", **checkout.variables)
        assert run.complaint.startswith(f"images: building datastorage from {checkout.root} failed: "), run.tail
        assert run.complaint.endswith("[image-not-made]")
        assert "the reason" in run.out
    finally:
        checkout.recipe.write_text(recipe)
    assert image_of(stack) == before


@pytest.mark.parametrize(
    ("variables", "complaint"),
    [
        ({"kubernaut_dir": "/nonexistent"}, "kubernaut_dir: /nonexistent/migrations: No such file"),
        ({"datastorage_context": "/nonexistent"}, "datastorage_context: there is no directory /nonexistent"),
        ({"datastorage_containerfile": "recipe"}, "datastorage_containerfile: there is none of this name"),
        (
            {"datastorage_binary": "/bin/true", "datastorage_context": "/etc"},
            "datastorage_binary and datastorage_conte",
        ),
    ],
)
def test_what_cannot_be_built_is_refused_first(
    checkout: Checkout, stack: Stack, variables: dict[str, Any], complaint: str
) -> None:
    run = stack.play("integration", **{**checkout.variables, **variables})
    assert complaint in run.complaint, run.tail
    assert "Bring the stack up" not in run.out
