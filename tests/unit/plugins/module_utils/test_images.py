# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the images phase decides, without podman; and what it does, with a podman that only remembers."""

from __future__ import annotations

import io
import json
import os
import socket
import stat
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.kubernaut.integration.plugins.module_utils import _image_plan as plans
from ansible_collections.kubernaut.integration.plugins.module_utils import _images as images
from ansible_collections.kubernaut.integration.plugins.module_utils._image_plan import ArchivedImage, Want
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import Context, PhaseError
from ansible_collections.kubernaut.integration.plugins.module_utils._podman import Answer

CONTENT = "0123456789ab" + "c" * 52
FILES = {"Containerfile": {"text": "FROM x\n", "mode": "0644"}, "entrypoint": {"text": "#!/bin/sh\n", "mode": "0755"}}


def image(*tags: str, id: str = "f" * 64, content: str = "", **more: Any) -> dict[str, Any]:  # noqa: A002
    """Return an image as ``podman inspect`` shows it."""
    labels = {plans.LABEL_CONTENT: content} if content else {}
    return {"Id": id, "RepoTags": list(tags), "Labels": labels, "Digest": "sha256:d", "Config": {}, **more}


# --- names and hashes


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("docker.io/library/postgres:17", "docker.io"),
        ("registry.example.com:5000/a/b@sha256:00", "registry.example.com:5000"),
        ("localhost:5000/a", "localhost:5000"),
        ("[::1]:5000/a", "[::1]:5000"),
        ("localhost/data-storage:test", ""),
        ("library/postgres:17", ""),
        ("postgres:17", ""),
        ("", ""),
    ],
)
def test_registry_host(name: str, host: str) -> None:
    assert plans.registry_host(name) == host


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("docker.io/library/postgres:17", True),
        ("library/postgres:17", True),
        ("postgres:17", True),
        ("gres:17", False),
        ("postgres", False),
        ("postgres:1", False),
        ("f" * 64, True),
        ("docker.io/library/postgres@sha256:d1", True),
        ("postgres:17@sha256:d1", True),
        ("postgres@sha256:d2", False),
    ],
)
def test_find_image(name: str, found: bool) -> None:
    known = image("docker.io/library/postgres:17", RepoDigests=["docker.io/library/postgres@sha256:d1"])
    assert (plans.find_image(name, [image("other:1", id="e" * 64), known]) is known) is found


def test_find_image_takes_latest_for_a_name_without_a_tag() -> None:
    known = image("localhost:5000/a/b:latest")
    assert plans.find_image("localhost:5000/a/b", [known]) is known


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("b:2", "localhost/b:2"),
        ("localhost/a", "localhost/a:latest"),
        ("x@sha256:d", "x@sha256:d"),
        ("elsewhere:1", "localhost/a:latest"),
    ],
)
def test_reference_is_a_full_name(name: str, shown: str) -> None:
    assert plans.reference(name, image("localhost/a:latest", "localhost/b:2")) == shown


def test_reference_of_an_image_without_a_name_is_its_id() -> None:
    assert plans.reference("x", image()) == "f" * 64


def test_content_hash_is_stable() -> None:
    reordered = dict(reversed(list(FILES.items())))
    assert plans.content_hash("redis", FILES, base="b") == plans.content_hash("redis", reordered, base="b")
    umask = {**FILES, "entrypoint": {**FILES["entrypoint"], "mode": "0700"}}
    assert plans.content_hash("redis", FILES, base="b") == plans.content_hash("redis", umask, base="b")


@pytest.mark.parametrize(
    ("component", "files", "inputs"),
    [
        ("postgres", FILES, {"base": "b"}),
        ("redis", {**FILES, "more": {"text": "", "mode": "0644"}}, {"base": "b"}),
        ("redis", {**FILES, "entrypoint": {"text": "#!/bin/sh\n", "mode": "0644"}}, {"base": "b"}),
        ("redis", {**FILES, "entrypoint": {"text": "#!/bin/sh \n", "mode": "0755"}}, {"base": "b"}),
        ("redis", FILES, {"base": "c"}),
        ("redis", FILES, {"base": "b", "binary": "d"}),
    ],
)
def test_content_hash_changes_with_every_input(
    component: str, files: dict[str, dict[str, str]], inputs: dict[str, str]
) -> None:
    assert plans.content_hash(component, files, **inputs) != plans.content_hash("redis", FILES, base="b")


@pytest.mark.parametrize(
    ("version", "upstream"), [("5:8.0.2-3+deb13u3", "8.0.2"), ("17.12-0+deb13u1", "17.12"), ("1.0", "1.0")]
)
def test_upstream_version(version: str, upstream: str) -> None:
    assert plans.upstream_version(version) == upstream


# --- what to try

NAME = "registry.example.com/x/redis:8"
OWN = plans.built_name("redis", CONTENT)
ARCHIVED = ArchivedImage("a" * 64, ("x:1",))


@pytest.mark.parametrize(
    ("want", "present", "sources"),
    [
        pytest.param({}, [], ["build"], id="no name: our own"),
        pytest.param({}, [image(OWN, content=CONTENT)], ["present"], id="our own is there"),
        pytest.param({}, [image(OWN, content="0123456789abd")], ["build"], id="our name, other content"),
        pytest.param({}, [image(OWN)], ["build"], id="our name, no label"),
        pytest.param({"name": NAME}, [image(NAME)], ["present"], id="named and there"),
        pytest.param({"name": NAME}, [], ["pull"], id="a chosen name is pulled or fails"),
        pytest.param({"name": NAME}, [image(OWN, content=CONTENT)], ["pull"], id="nothing stands in for a chosen name"),
        pytest.param({"name": NAME, "fallback": True}, [], ["pull", "build"], id="a default name falls back"),
        pytest.param({"name": NAME, "fallback": True}, [image(OWN, content=CONTENT)], ["present"], id="built before"),
        pytest.param({"name": "redis:8", "fallback": True}, [], ["build"], id="a short default is not pulled"),
        pytest.param({"archive": "x.tar", "archived": ARCHIVED}, [], ["archive"], id="archive"),
        pytest.param(
            {"archive": "x.tar", "archived": ARCHIVED, "name": NAME},
            [image(NAME)],
            ["archive"],
            id="archive beats name",
        ),
        pytest.param(
            {"archive": "x.tar", "archived": ARCHIVED}, [image("x:1", id="a" * 64)], ["present"], id="archive is loaded"
        ),
        pytest.param(
            {"archive": "x.tar", "archived": ARCHIVED}, [image("x:1", id="b" * 64)], ["archive"], id="older tag of it"
        ),
        pytest.param({"policy": "pull", "name": NAME}, [image(NAME)], ["pull"], id="forced pull"),
        pytest.param({"policy": "build", "name": NAME}, [image(NAME)], ["build"], id="forced build"),
        pytest.param({"policy": "build"}, [image(OWN, content=CONTENT)], ["present"], id="forced build, built before"),
        pytest.param({"policy": "present", "name": NAME}, [image(NAME)], ["present"], id="present"),
        pytest.param(
            {"binary": "/b", "name": NAME, "fallback": True}, [image(NAME)], ["build"], id="binary beats default"
        ),
    ],
)
def test_plan(want: dict[str, Any], present: list[dict[str, Any]], sources: list[str]) -> None:
    steps = plans.plan(Want("redis", content=CONTENT, **want), present)
    assert [step.source for step in steps] == sources
    assert all((step.image is not None) is (step.source == "present") for step in steps)


@pytest.mark.parametrize(
    ("want", "words"),
    [
        ({"name": "redis:8"}, ["redis_image", "redis:8", "names no registry"]),
        ({"name": NAME, "policy": "present"}, ["redis_image", NAME, "`present`"]),
        ({"policy": "archive"}, ["redis_image", "no archive"]),
        ({"policy": "pull"}, ["redis_image", "names no registry"]),
        ({"policy": "pull", "name": "redis:8"}, ["redis_image", "REGISTRY/NAME:TAG"]),
    ],
)
def test_plan_refuses_by_name(want: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(PhaseError) as error:
        plans.plan(Want("redis", content=CONTENT, **want), [image(OWN, content=CONTENT)])
    assert "\n" not in error.value.message
    assert all(word in error.value.message for word in words)


@pytest.mark.parametrize(
    ("wants", "words"),
    [
        ([{"component": "redis"}, {"component": "redis"}], "given twice"),
        ([{"component": "redis", "binary": "/b"}], "datastorage only"),
        ([{"component": "datastorage", "binary": "/b", "archive": "/a"}], "keep one"),
        ([{"component": "datastorage", "binary": "/b", "name": "x:1"}], "keep one"),
        ([{"component": "redis", "context": "/c"}], "datastorage only"),
        (
            [{"component": "datastorage", "binary": "/b", "context": "/c"}],
            r"an executable \(/b\) and as a build context",
        ),
    ],
)
def test_contradictions_are_refused(wants: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(PhaseError, match=words):
        plans.check_wants(wants)


def test_a_binary_may_replace_a_default_name() -> None:
    plans.check_wants([{"component": "datastorage", "binary": "/b", "name": "x:1", "fallback": True}])


def change_nothing(_root: Path) -> None:
    """Leave it as it is."""


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (change_nothing, True),
        (lambda root: (root / ".git" / "HEAD").write_text("another"), True),
        (lambda root: (root / "main.go").touch(), True),
        (lambda root: (root / "main.go").write_text("other"), False),
        (lambda root: (root / "main.go").rename(root / "other.go"), False),
        (lambda root: (root / "main.go").chmod(0o755), False),
        (lambda root: (root / "deep" / "new").write_text(""), False),
        (lambda root: (root / "link").unlink(), False),
        (lambda root: ((root / "link").unlink(), (root / "link").symlink_to("elsewhere")), False),
        (lambda root: (root / "Dockerfile").write_text("FROM other"), False),
    ],
)
def test_a_build_context_is_known_by_everything_in_it(
    tmp_path: Path, change: Callable[[Path], Any], same: bool
) -> None:
    for name, text in {"Dockerfile": "FROM x", "main.go": "text", "deep/file": "", ".git/HEAD": "x"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "link").symlink_to("deep")
    before = plans.find_source(str(tmp_path), "", {"A": 1})
    content = before.content
    change(tmp_path)
    assert (before.content == content) is same
    assert plans.find_source(str(tmp_path), "", {"A": "1"}).content == before.content
    assert plans.find_source(str(tmp_path), "", {"A": 2}).content != before.content


@pytest.mark.parametrize(
    ("there", "named", "found"),
    [
        (["Dockerfile", "Containerfile"], "", "Containerfile"),
        (["docker/data-storage.Dockerfile", "Dockerfile"], "", "Dockerfile"),
        (["docker/data-storage.Dockerfile"], "", "docker/data-storage.Dockerfile"),
        (["Dockerfile", "deep/recipe"], "deep/recipe", "deep/recipe"),
        (["Dockerfile"], "recipe", None),
        ([], "", None),
    ],
)
def test_the_recipe_of_a_build_context(tmp_path: Path, there: list[str], named: str, found: str | None) -> None:
    for name in there:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("FROM x")
    if found is None:
        with pytest.raises(PhaseError, match=r"\Adatastorage_containerfile: there is none"):
            plans.find_source(str(tmp_path), named, {})
    else:
        assert plans.find_source(str(tmp_path), named, {}).containerfile == str(tmp_path / found)


def test_a_build_context_that_is_no_directory(tmp_path: Path) -> None:
    with pytest.raises(PhaseError, match=r"\Adatastorage_context: there is no directory"):
        plans.find_source(str(tmp_path / "none"), "", {})


# --- results


def test_describe() -> None:
    labels = {
        plans.LABEL_CONTENT: CONTENT,
        plans.LABEL_CREATED: "2026-01-02T03:04:05Z",
        plans.LABEL_PACKAGES: "redis-server=5:8.0.2-3,apt=3.0",
        plans.LABEL_REFERENCE: "true",
    }
    config = {"User": "redis", "Env": ["A=b=c"], "Volumes": {"/data": {}}}
    told = plans.describe(Want("redis", content=CONTENT), "build", image(OWN, Labels=labels, Config=config))
    assert told == {
        "name": OWN,
        "reference": OWN,
        "id": "f" * 64,
        "digest": "sha256:d",
        "source": "build",
        "content": CONTENT,
        "created": "2026-01-02T03:04:05Z",
        "packages": {"redis-server": "5:8.0.2-3", "apt": "3.0"},
        "config": {"user": "redis", "env": {"A": "b=c"}, "volumes": ["/data"], "labels": labels},
        "reference_service": True,
    }


def test_a_foreign_image_has_no_labels_and_still_describes() -> None:
    told = plans.describe(
        Want("redis", name="redis:8"), "present", {"Id": "1", "RepoTags": ["docker.io/library/redis:8"]}
    )
    assert (told["name"], told["reference"]) == ("redis:8", "docker.io/library/redis:8")
    assert told["packages"] == {}
    assert told["reference_service"] is False


def test_the_forecast_has_the_keys_of_the_result() -> None:
    assert plans.foresee(Want("redis"), "build").keys() == plans.describe(Want("redis"), "build", image(OWN)).keys()


@pytest.mark.parametrize(("binary", "reference"), [("", True), ("/b", False)])
def test_the_forecast_knows_the_reference_service(binary: str, reference: bool) -> None:
    assert plans.foresee(Want("datastorage", binary=binary), "build")["reference_service"] is reference


def test_stale_images() -> None:
    listed = [
        {"Id": "1" * 64, "Names": ["ours:old"], "Labels": {plans.LABEL_CONTENT: "old"}},
        {"Id": "2" * 64, "Names": ["ours:new"], "Labels": {plans.LABEL_CONTENT: "new"}},
        {"Id": "3" * 64, "Names": None, "Labels": {plans.LABEL_CONTENT: "older"}},
    ]
    assert plans.stale_images(listed, ["new"]) == ["3" * 12, "ours:old"]


# --- causes


@pytest.mark.parametrize(
    ("output", "word"),
    [
        ("E: You don't have enough free space in /var/cache/apt/archives/.", "disk is full"),
        ("Error: committing: write /x: no space left on device", "disk is full"),
        ("error setting rlimits for ready process: operation not permitted\nError: OCI runtime error", "ulimit"),
        ("Error: OCI runtime error: crun: setrlimit `RLIMIT_NPROC`: Operation not permitted", "ulimit"),
        ("E: invalid format in /etc/subuid", "subordinate ids"),
        ("W: GPG error: http://m trixie InRelease: NO_PUBKEY 6ED0E7B82643E131\nE: is not signed.", "archive keys"),
        ("E: Release file for http://m/InRelease is expired (invalid since 17d).", "clock"),
        ("E: Failed to fetch http://m/p.deb  404  Not Found", "run again"),
        ("E: Unable to locate package postgresql-17", "does not have this suite"),
        ("Err:1 http://m trixie InRelease\n  Temporary failure resolving 'm'\nE: Failed to fetch", "no package mirror"),
        ("Error: OCI runtime error: crun: cgroup: No such file or directory", "cannot run containers"),
        ("error running subprocess: exit status 1", "cannot run containers"),
    ],
)
def test_cause(output: str, word: str) -> None:
    assert word in plans.cause(output)


def test_a_failure_tells_the_cause_first_and_the_last_lines_below() -> None:
    output = "".join("line %d\n" % number for number in range(100)) + "no space left on device\n"
    lines = plans.failure("building redis", Answer(125, output, output), 900).message.splitlines()
    assert lines[0].startswith("images: building redis failed: the disk is full")
    assert len(lines) == 1 + plans.TAIL
    assert lines[-1] == "no space left on device"


def test_a_failure_without_a_known_cause_points_below() -> None:
    assert "exit status 7" in plans.failure("building redis", Answer(7, "boom\n", ""), 900).message.splitlines()[0]


def test_a_failure_by_timeout_names_the_time() -> None:
    assert "longer than 900 s" in plans.failure("building redis", Answer(124, "", ""), 900).message


# --- archives


def archive(path: Path, members: dict[str, Any], mode: str = "w") -> str:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, document in members.items():
            data = json.dumps(document).encode()
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return str(path)


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize("config", ["%s.json", "blobs/sha256/%s"])
def test_read_a_docker_archive(tmp_path: Path, mode: str, config: str) -> None:
    manifest = [{"Config": config % ("a" * 64), "RepoTags": ["x:1"]}]
    assert plans.read_archive(archive(tmp_path / "a.tar", {"manifest.json": manifest}, mode)) == [ARCHIVED]


def test_read_an_oci_archive(tmp_path: Path) -> None:
    annotations = {"org.opencontainers.image.ref.name": "x:1"}
    members = {
        "index.json": {"manifests": [{"digest": "sha256:m", "annotations": annotations}]},
        "blobs/sha256/m": {"config": {"digest": "sha256:" + "a" * 64}},
    }
    assert plans.read_archive(archive(tmp_path / "a.tar", members)) == [ARCHIVED]


def test_what_is_no_archive_is_named(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no tar")
    for path in (str(tmp_path / "text"), archive(tmp_path / "b.tar", {"other.json": []}), str(tmp_path / "absent")):
        with pytest.raises(PhaseError) as error:
            plans.read_archive(path)
        assert path in error.value.message


def test_choose_archived() -> None:
    other = ArchivedImage("b" * 64, ("docker.io/y:2",))
    assert plans.choose_archived("p", "", [ARCHIVED]) is ARCHIVED
    assert plans.choose_archived("p", "unrelated", [ARCHIVED]) is ARCHIVED
    assert plans.choose_archived("p", "y:2", [ARCHIVED, other]) is other
    with pytest.raises(PhaseError, match=r"holds 2 images \(docker.io/y:2, x:1\)"):
        plans.choose_archived("p", "", [ARCHIVED, other])


# --- doing


def test_a_closed_port_is_no_answer_and_any_listener_is_one() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        host = "127.0.0.1:%d" % listener.getsockname()[1]
        assert images.registry_answers(host, 2) is False
        listener.listen()
        started = time.monotonic()
        assert images.registry_answers(host, 0.3) is False, "connected, but silent"
        assert time.monotonic() - started < 2


def test_write_context(tmp_path: Path) -> None:
    root = str(tmp_path / "context")
    images.write_context(root, {**FILES, "a/b": {"text": "ü\r\n"}})
    assert (tmp_path / "context/a/b").read_bytes() == "ü\r\n".encode()
    assert stat.S_IMODE(os.stat(os.path.join(root, "entrypoint")).st_mode) == 0o755
    assert stat.S_IMODE(os.stat(os.path.join(root, "Containerfile")).st_mode) == 0o644
    with pytest.raises(PhaseError, match="leads out"):
        images.write_context(root, {"../x": {"text": ""}})


@pytest.mark.parametrize("mirror", [None, "http://mirror.example.com/debian"])
def test_base_command(mirror: str | None) -> None:
    files = {"trim.sh": {"text": "true", "mode": "0644"}}
    command = images.base_command("/bin/mmdebstrap", "/a dir", files, "/a dir/base.tar", "trixie", mirror)
    assert command[-1] == (mirror or "/a dir/base.tar")
    assert "--customize-hook=upload '/a dir/dpkg.cfg' /etc/dpkg/dpkg.cfg.d/kubernaut-integration" in command


def options(**more: Any) -> dict[str, Any]:
    given = {name: spec.get("default") for name, spec in images.SPEC.items()}
    return {**given, "contexts": {"base": FILES, "redis": FILES}, "images": [{"component": "redis"}], **more}


def test_check_mode_plans_without_podman() -> None:
    result = images.run(options(podman="/absent/podman"), Context(check=True))
    told = result["images"]["redis"]
    assert (result["changed"], told["source"], told["id"]) == (True, "build", "")
    assert result["actions"] == ["build " + told["reference"]]


def test_a_warm_run_is_one_inspect(tmp_path: Path) -> None:
    first = images.run(options(podman="/absent/podman"), Context(check=True))["images"]["redis"]
    answer = tmp_path / "answer.json"
    answer.write_text(json.dumps([image(first["reference"], content=first["content"])]))
    podman = tmp_path / "podman"
    podman.write_text('#!/bin/sh\necho "$1" >>"%s/calls"\ncat "%s"\n' % (tmp_path, answer))
    podman.chmod(0o755)
    result = images.run(options(podman=str(podman)), Context())
    assert (result["changed"], result["images"]["redis"]["source"], result["stale"]) == (False, "present", [])
    assert (tmp_path / "calls").read_text() == "inspect\n"
