# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every image of the stack is present: used as it is, loaded, pulled or built. PRIVATE to the collection.

What to try for an image is decided in ``_image_plan.py`` over one ``podman inspect`` of all candidates; that single
call is all that a warm run costs. An image built here is named and labelled by the hash of everything it was built
from, so a second run builds nothing, and a changed input rebuilds exactly what depends on it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import tempfile
import time
from dataclasses import replace
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence

from ansible_collections.kubernaut.integration.plugins.module_utils._image_plan import (
    LABEL_COLLECTION,
    LABEL_COMPONENT,
    LABEL_CONTENT,
    LABEL_CREATED,
    LABEL_PACKAGES,
    LABEL_REFERENCE,
    POLICIES,
    Files,
    Source,
    Step,
    Want,
    built_name,
    check_wants,
    choose_archived,
    content_hash,
    describe,
    executable,
    failure,
    file_hash,
    find_image,
    find_source,
    foresee,
    labels_of,
    parse_packages,
    plan,
    read_archive,
    registry_host,
    stale_images,
    upstream_version,
)
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import (
    Context,
    Options,
    Phase,
    PhaseError,
    Result,
)
from ansible_collections.kubernaut.integration.plugins.module_utils._plan import COLLECTION, COMPONENTS
from ansible_collections.kubernaut.integration.plugins.module_utils._podman import Answer, Podman, stream
from ansible_collections.kubernaut.integration.plugins.module_utils._state import make_private, state_home

#: Component -> variable that the official image has -> package whose upstream version is its value.
VERSION_ENV: Mapping[str, Mapping[str, str]] = {
    "postgres": {"PG_VERSION": "postgresql-17"},
    "redis": {"REDIS_VERSION": "redis-server"},
}


#: Registry as an image's name has it -> the host that podman will ask.
API_HOSTS: Mapping[str, str] = {"docker.io": "registry-1.docker.io"}


def registry_answers(host: str, timeout: float) -> bool:
    """Ask a registry once whether it answers at all; any HTTP status and any TLS trouble counts as an answer.

    A daemon thread keeps the bound, because resolving a name has no timeout of its own.

    :param timeout: seconds for everything: name, connection, proxy, answer.
    """
    import ssl
    import threading
    import urllib.error

    from ansible.module_utils.urls import open_url

    answered = threading.Event()

    def ask() -> None:
        try:
            open_url("https://%s/v2/" % API_HOSTS.get(host, host), timeout=timeout).close()
            answered.set()
        except urllib.error.HTTPError:
            answered.set()
        except urllib.error.URLError as error:
            # A certificate or a plain-HTTP registry is podman's to judge: its registries.conf may know better.
            if isinstance(error.reason, ssl.SSLError):
                answered.set()
        except (OSError, ValueError):
            pass

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(timeout)
    return answered.is_set()


@contextlib.contextmanager
def build_lock(timeout: float) -> Iterator[None]:
    """Let one process of this user at a time change images: podman builds that run side by side were seen to fail.

    :param timeout: seconds to wait for another process.
    :raises PhaseError: the other process is still at it.
    """
    import fcntl

    directory = state_home()
    make_private(directory)
    path = os.path.join(directory, "images.lock")
    deadline = time.monotonic() + timeout
    with open(path, "a", encoding="utf-8") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise PhaseError(
                        "images: another run has been building or loading for %.0f s (lock %s): wait for it, or end it."
                        % (timeout, path)
                    ) from None
                time.sleep(0.2)
        yield


class LackingError(PhaseError):
    """A build needs a program that this machine lacks, and that its package manager may bring."""


class Maker:
    """Carries out steps for images, and remembers what it did.

    :ivar actions: what was done, or in check mode what would be, one line each.
    """

    def __init__(self, options: Options, context: Context, podman: Podman) -> None:
        self.options = options
        self.context = context
        self.podman = podman
        self.actions: List[str] = []
        self.contexts: Mapping[str, Files] = options["contexts"] or {}
        self.base_content = ""
        if "base" in self.contexts:
            self.base_content = content_hash(
                "base", self.contexts["base"], suite=options["suite"], mirror=options["mirror"] or ""
            )
        self.base_name = built_name("base", self.base_content) if self.base_content else ""
        #: Seconds that this run took to build the base; 0 when it was there.
        self.base_elapsed = 0.0
        self._answers: Dict[str, bool] = {}
        self._total = 0
        self._built = 0

    def complete(self, item: Mapping[str, Any]) -> Want:
        """Read what an image's option points to: files, archive, executable.

        :raises PhaseError: the archive or the executable cannot be read.
        """
        binary, archive = item.get("binary") or "", item.get("archive") or ""
        want = Want(
            component=item["component"],
            name=item.get("name") or "",
            fallback=bool(item.get("fallback")),
            policy=item.get("policy") or "auto",
            archive=archive,
            archive_sha256=(item.get("archive_sha256") or "").lower(),
            archived=choose_archived(archive, item.get("name") or "", read_archive(archive)) if archive else None,
            binary=binary,
        )
        if item.get("context"):
            source = find_source(item["context"], item.get("containerfile") or "", item.get("build_args") or {})
            try:
                return replace(want, source=source, content=source.content)
            except OSError as error:
                raise PhaseError(
                    "datastorage_context: %s cannot be read: %s." % (error.filename, error.strerror)
                ) from error
        files = self.contexts.get(want.context)
        if files is None or not self.base_content:
            return want
        inputs = {"base": self.base_content}
        if binary:
            try:
                inputs["binary"] = file_hash(binary)
            except OSError as error:
                raise PhaseError("images: the executable %s cannot be read: %s." % (binary, error.strerror)) from error
        return replace(want, content=content_hash(want.component, files, **inputs))

    def pullable(self, want: Want) -> str:
        """Return why there is no point in pulling; empty when the registry answers or the pull is forced."""
        if want.policy == "pull":
            return ""
        host, timeout = registry_host(want.name), float(self.options["registry_timeout"])
        if host not in self._answers:
            self.context.progress("images: asking %s whether it answers (at most %.0f s)" % (host, timeout))
            self._answers[host] = registry_answers(host, timeout)
        return "" if self._answers[host] else "%s does not answer (asked for at most %.0f s)" % (host, timeout)

    def foresee(self, want: Want, steps: Sequence[Step]) -> str:
        """Say what would be done for an image that is not present, and return the source it would have."""
        reason = ""
        for step in steps:
            reason = self.pullable(want) if step.source == "pull" else ""
            if not reason:
                self._refuse_remote_build(want, step)
                self._note(want, step.source)
                return step.source
        raise self._unpulled(want, reason)

    def make(self, want: Want, steps: Sequence[Step]) -> str:
        """Have an image that is not present, and return the source that it came from.

        :raises PhaseError: no step succeeded; the message is that of the last.
        """
        reason = ""
        for step in steps:
            if step.source == "archive":
                self._load(want)
                return step.source
            if step.source == "build":
                self._refuse_remote_build(want, step)
                self._build(want)
                return step.source
            reason = self.pullable(want) or self._pull(want)
            if not reason:
                return step.source
            self.actions.append("did not pull %s: %s" % (want.name, reason))
            self.context.progress("images: " + self.actions[-1])
        raise self._unpulled(want, reason)

    def _refuse_remote_build(self, want: Want, step: Step) -> None:
        """Refuse to build for a service on another machine: the packages would be for this one's architecture.

        :raises PhaseError: podman is remote, and this step builds.
        """
        if step.source == "build" and shutil.which(self.podman.executable) and self.podman.remote():
            raise PhaseError(
                "%s_image: %s is not built with a remote podman (host_podman), whose machine may be of another kind "
                "than this one; load it there with `podman load`, set %s_archive, or set %s_image to one that can be "
                "pulled." % (want.component, want.own_name or want.name, want.component, want.component)
            )

    def expect_builds(self, plans: Sequence[Sequence[Step]], images: Sequence[Mapping[str, Any]]) -> None:
        """Set how many builds the progress lines count to."""
        builds = sum(1 for steps in plans if steps[0].source == "build")
        self._total = builds + (1 if builds and not self.base_present(images) else 0)

    def _note(self, want: Want, source: str) -> None:
        what = {"archive": "load " + want.archive, "pull": "pull " + want.name, "build": "build " + want.own_name}
        self.actions.append(what[source])

    def _unpulled(self, want: Want, reason: str) -> PhaseError:
        return PhaseError(
            "%s (%s) is not on this machine and cannot be pulled: %s. Load it (`podman load`), give an archive, "
            "correct %s, or leave it empty for the collection's own image."
            % (want.variable, want.name, reason, want.variable),
            cause="image-missing",
        )

    def _pull(self, want: Want) -> str:
        """Pull, and return podman's reason when it did not work."""
        self.context.progress("images: pulling %s" % want.name)
        answer = self.podman.call("pull", "--quiet", want.name, timeout=float(self.options["pull_timeout"]))
        if answer.rc != 0:
            return answer.reason if answer.rc != 124 else answer.err
        self._note(want, "pull")
        return ""

    def _load(self, want: Want) -> None:
        actual = file_hash(want.archive) if want.archive_sha256 else ""
        if actual != want.archive_sha256:
            raise PhaseError(
                "images: %s has the SHA-256 %s, expected %s: fetch it again, or correct the checksum."
                % (want.archive, actual, want.archive_sha256)
            )
        self.context.progress("images: loading %s" % want.archive)
        timeout = float(self.options["pull_timeout"])
        answer = self.podman.call("load", "--quiet", "--input", want.archive, timeout=timeout)
        if answer.rc != 0:
            raise failure("loading %s" % want.archive, Answer(answer.rc, answer.out + answer.err, answer.err), timeout)
        self._note(want, "archive")

    def _build_source(self, want: Want, source: Source) -> None:
        """Build somebody's own image; podman fetches what it is based on."""
        self._announce(want.component)
        labels = {LABEL_COLLECTION: COLLECTION, LABEL_COMPONENT: want.component, LABEL_CONTENT: want.content}
        arguments = ["--build-arg=%s=%s" % pair for pair in source.arguments.items()]
        arguments += ["--label=%s=%s" % pair for pair in labels.items()]
        fixed = ["build", "--layers", "--network", "host", *self.options["run_arguments"]]
        command = [*fixed, "--file", source.containerfile, "--tag", want.own_name, *arguments, source.directory]
        timeout = float(self.options["build_timeout"])
        answer = self.podman.stream(*command, line=self._line, timeout=timeout)
        if answer.rc != 0:
            raise failure("building %s from %s" % (want.component, source.directory), answer, timeout)
        self._note(want, "build")

    def _build(self, want: Want) -> None:
        if want.source:
            self._build_source(want, want.source)
            return
        if not want.content:
            raise PhaseError("images: there is no build context for %s." % want.context)
        files = self.contexts[want.context]
        if not self.base_present(self.podman.inspect(self.base_name, kind="image")):
            self.build_base()
        with tempfile.TemporaryDirectory(prefix="kubernaut-images-") as directory:
            self._announce(want.component)
            root = os.path.join(directory, "context")
            write_context(root, files)
            if want.binary:
                shutil.copyfile(want.binary, os.path.join(root, "datastorage"))
            id_file = os.path.join(directory, "id")
            self._podman_build("--build-arg", "BASE=" + self.base_name, "--iidfile", id_file, root, what=want.component)
            if not os.path.exists(id_file):
                # podman that somebody else tells to end says 0.
                raise PhaseError("images: building %s was cut off from outside: run again." % want.component)
            with open(id_file, encoding="ascii") as file:
                image = file.read().strip()
            extra = {}
            if want.component == "datastorage" and not want.binary:
                extra[LABEL_REFERENCE] = "true"
            self._seal(directory, want.component, want.content, image, extra)
        self._note(want, "build")

    def _announce(self, component: str) -> None:
        self._built += 1
        self.context.progress("images: building %s (%d of %d)" % (component, self._built, self._total))

    def base_present(self, images: Sequence[Mapping[str, Any]]) -> bool:
        """Tell whether the base that images are built on is among inspected images."""
        image = find_image(self.base_name, images) if self.base_name else None
        return image is not None and labels_of(image).get(LABEL_CONTENT) == self.base_content

    def build_base(self) -> None:
        """Make the root file system that every built image starts from.

        :raises PhaseError: mmdebstrap is not here or fails.
        """
        mmdebstrap = shutil.which("mmdebstrap")
        if mmdebstrap is None:
            raise LackingError(
                "images: mmdebstrap, which makes the base of built images, is not installed: install the package "
                "mmdebstrap (and debian-archive-keyring), or give the images by name or archive.",
                lacking=["mmdebstrap"],
            )
        started = time.monotonic()
        self._announce("base")
        files, timeout = self.contexts["base"], float(self.options["build_timeout"])
        with tempfile.TemporaryDirectory(prefix="kubernaut-images-") as directory:
            context = os.path.join(directory, "base")
            write_context(context, files)
            archive = os.path.join(directory, "base.tar")
            command = base_command(mmdebstrap, context, files, archive, self.options["suite"], self.options["mirror"])
            answer = stream(command, line=self._line, timeout=timeout)
            if answer.rc != 0:
                raise failure("building base", answer, timeout)
            answer = self.podman.call("import", "--quiet", archive, timeout=timeout)
            if answer.rc != 0:
                raise failure("importing base", Answer(answer.rc, answer.out + answer.err, answer.err), timeout)
            self._seal(directory, "base", self.base_content, answer.out.split()[-1], {})
        self.actions.append("build " + self.base_name)
        self.base_elapsed = time.monotonic() - started

    def _seal(self, directory: str, component: str, content: str, image: str, extra: Mapping[str, str]) -> None:
        """Give an unnamed image its labels and, as the last thing, its name.

        The versions are asked of the image itself, which also proves that it runs; a build that is interrupted before
        this point leaves layers for the next one, and no name.
        """
        script = r"apt-mark showmanual | xargs dpkg-query --show --showformat '${Package}=${Version}\n'"
        run = ["run", "--rm", "--network", "none", "--log-driver", "none", "--user", "0", "--entrypoint", "/bin/sh"]
        answer = self.podman.call(*run, *self.options["run_arguments"], image, "-c", script)
        if answer.rc != 0:
            raise failure("running the new image of %s" % component, Answer(answer.rc, answer.err, answer.err), 60)
        packages = ",".join(sorted(answer.out.split()))
        versions = parse_packages(packages)
        lines = ["FROM " + image]
        for variable, package in VERSION_ENV.get(component, {}).items():
            lines.append("ENV %s=%s" % (variable, upstream_version(versions[package])))
        labels = {
            LABEL_COLLECTION: COLLECTION,
            LABEL_COMPONENT: component,
            LABEL_CONTENT: content,
            LABEL_CREATED: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            LABEL_PACKAGES: packages,
            **extra,
        }
        lines.append("LABEL " + " ".join("%s=%s" % (key, json.dumps(value)) for key, value in labels.items()))
        root = os.path.join(directory, "seal-" + component)
        write_context(root, {"Containerfile": {"text": "\n".join(lines) + "\n"}})
        name = built_name(component, content)
        # With layers the unnamed image becomes a parent, which podman removes together with its last child.
        self._podman_build("--tag", name, root, what=component, quiet=True)

    def _podman_build(self, *arguments: str, what: str, quiet: bool = False) -> None:
        """Run ``podman build``.

        The host's network, because package mirrors and a proxy are where the host sees them, and because a machine that
        cannot make container networks can still build.
        """
        timeout = float(self.options["build_timeout"])
        fixed = ["build", "--pull=never", "--layers", "--format", "oci", "--network", "host"]
        command = [*fixed, *self.options["run_arguments"], *arguments]
        answer = self.podman.stream(*command, line=_drop if quiet else self._line, timeout=timeout)
        if answer.rc != 0:
            raise failure("building %s" % what, answer, timeout)

    def _line(self, line: str) -> None:
        """Pass on the few lines of a build that say where it is."""
        if line.startswith(("STEP ", "I: ")):
            self.context.progress("images:   " + (line if len(line) <= 100 else line[:97] + "..."))

    def stale(self, current: Sequence[str]) -> List[str]:
        """Name the collection's images that nothing here is built from any more."""
        ours = "label=%s=%s" % (LABEL_COLLECTION, COLLECTION)
        return stale_images(json.loads(self.podman.must("images", "--format", "json", "--filter", ours)), current)


def _drop(_line: str) -> None:
    """Take a line that nobody needs."""


def write_context(root: str, files: Files) -> None:
    """Write a build context below ``root``.

    :raises PhaseError: a path leads out of it.
    """
    for path, entry in files.items():
        target = os.path.normpath(os.path.join(root, path))
        if not target.startswith(root + os.sep):
            raise PhaseError("images: the path %r leads out of the build context." % path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "w", encoding="utf-8", newline="") as file:
            file.write(entry["text"])
        os.chmod(target, 0o755 if executable(entry) else 0o644)


def base_command(
    mmdebstrap: str, context: str, files: Files, archive: str, suite: str, mirror: Optional[str]
) -> List[str]:
    """Return the command that makes the base's root file system.

    As root mmdebstrap works directly, as a user in a user namespace; it chooses by itself. There it cannot read files
    of a private directory, except by its ``upload`` hooks; so the last hook travels as text.
    """
    uploads = (("apt.conf", "/etc/apt/apt.conf.d/"), ("dpkg.cfg", "/etc/dpkg/dpkg.cfg.d/"))
    return [
        mmdebstrap,
        "--variant=apt",
        '--aptopt=Acquire::Retries "3"',
        # A build that is cut off is thrown away: waiting for the disk after every file costs 10 s.
        "--dpkgopt=force-unsafe-io",
        *(
            "--customize-hook=upload %s %skubernaut-integration" % (shlex.quote(os.path.join(context, name)), target)
            for name, target in uploads
        ),
        "--customize-hook=" + files["trim.sh"]["text"],
        "--format=tar",
        suite,
        archive,
        *([mirror] if mirror else []),
    ]


def run(options: Options, context: Context) -> Result:
    """Make every wanted image present and say what it is.

    :param options: values of :data:`SPEC`.
    :raises PhaseError: an image cannot be had; the first line names the variable or the cause, and the remedy.
    """
    check_wants(options["images"])
    podman = Podman(options["podman"])
    maker = Maker(options, context, podman)
    wants = [maker.complete(item) for item in options["images"]]
    # Check mode plans on a machine that has no podman yet.
    absent = context.check and shutil.which(podman.executable) is None
    images = [] if absent else look(podman, maker, wants)
    plans = [plan(want, images) for want in wants]
    complete = all(steps[0].image is not None for steps in plans)
    if context.check and not complete:
        return _forecast(maker, wants, plans, images)

    before = {image["Id"] for image in images}
    elapsed = {want.component: 0.0 for want in wants}
    sources: Dict[str, str] = {}
    if not complete:
        with build_lock(float(options["build_timeout"])):
            # Another run may have made them while this one waited for the lock.
            images = look(podman, maker, wants)
            plans = [plan(want, images) for want in wants]
            maker.expect_builds(plans, images)
            for want, steps in zip(wants, plans):
                if steps[0].image is None:
                    started, base_before = time.monotonic(), maker.base_elapsed
                    try:
                        sources[want.component] = maker.make(want, steps)
                    except LackingError as error:
                        if not options["may_lack"]:
                            raise
                        return {"changed": bool(sources), "images": {}, "actions": maker.actions, **error.result}
                    base = maker.base_elapsed - base_before
                    elapsed[want.component] = round(time.monotonic() - started - base, 2)
            images = look(podman, maker, wants)
    results = {}
    for want, steps in zip(wants, plans):
        source = sources.get(want.component, "present")
        results[want.component] = describe(want, source, steps[0].image or _made(want, source, images))
    current = [want.content for want in wants] + [maker.base_content]
    return {
        # A forced pull that brings what was there has changed nothing.
        "changed": any(results[component]["id"] not in before for component in sources),
        "images": results,
        "elapsed": {**elapsed, "base": round(maker.base_elapsed, 2)},
        "actions": maker.actions,
        "stale": maker.stale(current) if "build" in sources.values() else [],
        "lacking": [],
    }


def _forecast(
    maker: Maker, wants: Sequence[Want], plans: Sequence[Sequence[Step]], images: Sequence[Mapping[str, Any]]
) -> Result:
    """Say what a run would do: the result of check mode."""
    results, changed = {}, False
    for want, steps in zip(wants, plans):
        if steps[0].image is not None:
            results[want.component] = describe(want, "present", steps[0].image)
            continue
        source = maker.foresee(want, steps)
        # What a forced pull would bring cannot be known before.
        changed = changed or source != "pull" or find_image(want.name, images) is None
        results[want.component] = foresee(want, source)
    elapsed = {**{want.component: 0.0 for want in wants}, "base": 0.0}
    return {
        "changed": changed,
        "images": results,
        "elapsed": elapsed,
        "actions": maker.actions,
        "stale": [],
        "lacking": [],
    }


def look(podman: Podman, maker: Maker, wants: Sequence[Want]) -> List[Dict[str, Any]]:
    """Inspect every image that could be wanted, and the base, with one call."""
    names = [name for want in wants for name in want.candidates()]
    return podman.inspect(*names, *([maker.base_name] if maker.base_name else []), kind="image")


def _made(want: Want, source: str, images: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the image that was just made."""
    name = {"archive": want.archived.id if want.archived else "", "pull": want.name}.get(source, want.own_name)
    image = find_image(name, images)
    if image is None:
        raise PhaseError("images: %s was made (%s), but podman does not know it: run again." % (name, source))
    return image


SPEC: Dict[str, Dict[str, Any]] = {
    "podman": {"type": "str", "default": "podman"},
    "run_arguments": {"type": "list", "elements": "str", "default": []},
    "images": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "component": {"type": "str", "required": True, "choices": list(COMPONENTS)},
            "name": {"type": "str", "default": ""},
            "fallback": {"type": "bool", "default": False},
            "policy": {"type": "str", "default": "auto", "choices": list(POLICIES)},
            "archive": {"type": "path"},
            "archive_sha256": {"type": "str"},
            "binary": {"type": "path"},
            "context": {"type": "path"},
            "containerfile": {"type": "str"},
            "build_args": {"type": "dict"},
        },
    },
    "may_lack": {"type": "bool", "default": False},
    "contexts": {"type": "dict"},
    "suite": {"type": "str", "default": "trixie"},
    "mirror": {"type": "str"},
    "registry_timeout": {"type": "float", "default": 5.0},
    "pull_timeout": {"type": "float", "default": 600.0},
    "build_timeout": {"type": "float", "default": 900.0},
}

PHASE = Phase(name="images", run=run, argument_spec=SPEC)
