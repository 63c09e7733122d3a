# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide how each image of the stack is had. PRIVATE to the collection.

Pure functions over the options and one ``podman inspect``; what they decide is carried out in ``_images.py``.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tarfile
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.kubernaut.integration.plugins.module_utils._phase import PhaseError
from ansible_collections.kubernaut.integration.plugins.module_utils._plan import LABEL
from ansible_collections.kubernaut.integration.plugins.module_utils._podman import Answer

POLICIES = ("auto", "present", "archive", "pull", "build")

LABEL_COLLECTION = LABEL + "collection"
LABEL_COMPONENT = LABEL + "component"
LABEL_CONTENT = LABEL + "content"
LABEL_PACKAGES = LABEL + "packages"
#: ``true`` on the collection's own stand-in for DataStorage, wherever the image travels.
LABEL_REFERENCE = LABEL + "reference-service"
LABEL_CREATED = "org.opencontainers.image.created"

REPOSITORY = "localhost/kubernaut-integration"
#: Raised when this module builds differently from the same files.
RECIPE = 1
#: Lines of a build's output that a failure shows.
TAIL = 30

Files = Mapping[str, Mapping[str, str]]


# --- what is asked for ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ArchivedImage:
    """An image inside an archive.

    :param id: 64 hex digits; the id that the image has once it is loaded.
    :param tags: names that loading gives it; may be empty.
    """

    id: str
    tags: Tuple[str, ...]


@dataclass(frozen=True)
class Source:
    """A directory that somebody's own image is built from, as ``podman build`` takes it.

    :param directory: absolute path of the build context.
    :param containerfile: absolute path.
    :param arguments: build arguments by name.
    """

    directory: str
    containerfile: str
    arguments: Mapping[str, str]

    @property
    def content(self) -> str:
        """Hash of everything that goes into the build; what an ignore file leaves out counts, too.

        :raises OSError: a file cannot be read.
        """
        inputs = {
            "containerfile": file_hash(self.containerfile),
            "arguments": json.dumps(self.arguments, sort_keys=True),
        }
        return content_hash("datastorage", {}, directory=tree_hash(self.directory), **inputs)


@dataclass(frozen=True)
class Want:
    """One image of the stack, and what it may be made from.

    :param component: one of :data:`COMPONENTS`.
    :param name: image name as given; empty for the collection's own image.
    :param fallback: true when ``name`` is a default, so that the collection's own image may stand in.
    :param policy: one of :data:`POLICIES`.
    :param archive: path of an image archive, or empty.
    :param archive_sha256: what its checksum must be, or empty.
    :param archived: the image inside it.
    :param binary: path of a static executable, or empty.
    :param source: what somebody's own image is built from.
    :param content: hash of everything the collection's own image is built from; empty when it cannot be built.
    """

    component: str
    name: str = ""
    fallback: bool = False
    policy: str = "auto"
    archive: str = ""
    archive_sha256: str = ""
    archived: Optional[ArchivedImage] = None
    binary: str = ""
    source: Optional[Source] = None
    content: str = ""

    @property
    def own_name(self) -> str:
        """Name of the image as the collection builds it; empty when it cannot be built."""
        return built_name(self.component, self.content) if self.content else ""

    @property
    def variable(self) -> str:
        """The user's variable for the image's name."""
        return self.component + "_image"

    @property
    def context(self) -> str:
        """Name of the build context of the collection's own image."""
        return "datastorage-binary" if self.binary else self.component

    def candidates(self) -> List[str]:
        """Names and ids under which a suitable image may already be present."""
        archived = self.archived.id if self.archived else ""
        return [name for name in (self.name, self.own_name, archived) if name]


@dataclass(frozen=True)
class Step:
    """One way to have an image: ``present`` (with the image found), ``archive``, ``pull`` or ``build``."""

    source: str
    image: Optional[Mapping[str, Any]] = None


def built_name(component: str, content: str) -> str:
    """Name of an image that the collection builds from ``content``."""
    return "%s/%s:%s" % (REPOSITORY, component, content[:12])


def content_hash(component: str, files: Files, **inputs: str) -> str:
    """Hash everything that an image is built from.

    :param files: relative path -> ``text`` and ``mode``; only the executable bit of the mode counts.
    :param inputs: further inputs by name, such as the base's content hash.
    :returns: 64 hex digits.
    """
    canonical = {
        "component": component,
        "files": {path: [executable(entry), entry["text"]] for path, entry in files.items()},
        "inputs": inputs,
        "recipe": RECIPE,
    }
    return hashlib.sha256(json.dumps(canonical, sort_keys=True).encode()).hexdigest()


def executable(entry: Mapping[str, str]) -> bool:
    """Tell whether a file of a build context is to be executable."""
    return bool(int(entry.get("mode", "0644"), 8) & 0o111)


def file_hash(path: str) -> str:
    """Return the SHA-256 of a file as 64 hex digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


#: Directories of a build context that no build should depend on.
_SKIPPED = (".git", "__pycache__")
#: Where a build context may have its recipe, the first that is there; the last is kubernaut's.
CONTAINERFILES = ("Containerfile", "Dockerfile", os.path.join("docker", "data-storage.Dockerfile"))


def tree_hash(root: str) -> str:
    """Return the SHA-256 over names, kinds, executable bits and contents below a directory.

    :raises OSError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for parent, directories, names in os.walk(root):
        links = [name for name in directories if os.path.islink(os.path.join(parent, name))]
        directories[:] = sorted(name for name in directories if name not in (*_SKIPPED, *links))
        for name in sorted([*names, *links]):
            path = os.path.join(parent, name)
            if os.path.islink(path):
                what = "link", os.readlink(path)
            elif os.path.isfile(path):
                what = "program" if os.stat(path).st_mode & 0o100 else "file", file_hash(path)
            else:
                continue  # a socket or a pipe, which no build takes
            digest.update(json.dumps([os.path.relpath(path, root), *what]).encode())
    return digest.hexdigest()


def find_source(directory: str, containerfile: str, arguments: Mapping[str, Any]) -> Source:
    """Return what an image is to be built from.

    :param containerfile: relative to the directory, or absolute; empty to find one.
    :raises PhaseError: there is no such directory, or no recipe in it.
    """
    root = os.path.abspath(directory)
    if not os.path.isdir(root):
        raise PhaseError("datastorage_context: there is no directory %s on this host; name one." % directory)
    candidates = [os.path.join(root, name) for name in ([containerfile] if containerfile else CONTAINERFILES)]
    found = next(filter(os.path.isfile, candidates), None)
    if found is None:
        names = containerfile or ", ".join(CONTAINERFILES)
        raise PhaseError(
            "datastorage_containerfile: there is none of this name in %s (%s); name the recipe." % (directory, names)
        )
    return Source(root, found, {str(name): str(value) for name, value in arguments.items()})


def registry_host(name: str) -> str:
    """Return the registry (``host`` or ``host:port``) that an image name can be pulled from.

    Empty for a short name, which could mean any registry, and for ``localhost/...``, which means this machine's store.
    """
    first, slash, _rest = name.partition("/")
    if not slash or first == "localhost" or not ("." in first or ":" in first or first.startswith("[")):
        return ""
    return first


def find_image(name: str, images: Sequence[Mapping[str, Any]]) -> Optional[Mapping[str, Any]]:
    """Find the image that podman means by ``name`` among inspected images.

    :param name: full name, short name, ``name@sha256:...`` or an image id.
    """
    plain = name.split("@", 1)[0]
    if ":" not in plain.rsplit("/", 1)[-1]:
        plain += ":latest"
    for image in images:
        tags = image.get("RepoTags") or []
        if "@" in name:
            repository, digest = name.split("@", 1)
            repository = re.sub(r":[^/:]*$", "", repository)
            wanted = repository + "@" + digest
            if any(known == wanted or known.endswith("/" + wanted) for known in image.get("RepoDigests") or []):
                return image
        elif image.get("Id") == name or any(tag == plain or tag.endswith("/" + plain) for tag in tags):
            return image
    return None


def reference(name: str, image: Mapping[str, Any]) -> str:
    """Return what to pass to ``podman run`` for exactly this image: a full name if it has one, else its id."""
    tags: List[str] = list(image.get("RepoTags") or [])
    plain = name if ":" in name.rsplit("/", 1)[-1] else name + ":latest"
    if "@" in name:
        return name
    for tag in tags:
        if tag == plain or tag.endswith("/" + plain):
            return tag
    return tags[0] if tags else str(image["Id"])


# --- what to try ---------------------------------------------------------------------------------------------------


def plan(want: Want, images: Sequence[Mapping[str, Any]]) -> List[Step]:
    """Decide what to try for an image, in order; the first that succeeds is used.

    :param images: what ``podman inspect`` found of all candidates.
    :returns: one or two steps; ``present`` always stands alone.
    :raises PhaseError: nothing can be tried; the message names the variable and the remedy.
    """
    named = find_image(want.name, images) if want.name else None
    own = _own(want, images)
    archived = find_image(want.archived.id, images) if want.archived else None

    if want.policy == "present":
        found = archived or named or (own if want.fallback or not want.name else None)
        if found is None:
            raise PhaseError(
                "%s (%s) is not on this machine, and its policy is `present`: "
                "load or pull it, or set the policy to `auto`."
                % (want.variable, want.name or want.own_name or want.archive),
                cause="image-missing",
            )
        return [Step("present", found)]
    if want.policy == "archive" or (want.policy == "auto" and want.archive):
        if not want.archive:
            raise PhaseError("%s has the policy `archive`, but no archive is given." % want.variable)
        return [Step("present", archived) if archived else Step("archive")]
    if want.policy == "pull":
        if not registry_host(want.name):
            raise PhaseError(
                "%s (%s) has the policy `pull`, but names no registry: give it as REGISTRY/NAME:TAG."
                % (want.variable, want.name or "empty")
            )
        return [Step("pull")]
    build = Step("present", own) if own else Step("build")
    if want.policy == "build" or want.binary or want.source or not want.name:
        return [build]
    if named:
        return [Step("present", named)]
    if want.fallback and own:
        return [build]
    if registry_host(want.name):
        return [Step("pull"), build] if want.fallback else [Step("pull")]
    if want.fallback:
        return [build]
    raise PhaseError(
        "%s (%s) is not on this machine and names no registry to pull it from: build or load it, "
        "give it as REGISTRY/NAME:TAG, or leave %s empty for the collection's own image."
        % (want.variable, want.name, want.variable),
        cause="image-missing",
    )


def _own(want: Want, images: Sequence[Mapping[str, Any]]) -> Optional[Mapping[str, Any]]:
    """Return the collection's own image when its label proves the wanted content; a name alone proves nothing."""
    image = find_image(want.own_name, images) if want.own_name else None
    return image if image and labels_of(image).get(LABEL_CONTENT) == want.content else None


def check_wants(wants: Sequence[Mapping[str, Any]]) -> None:
    """Refuse contradictions between the options of the images.

    :raises PhaseError: a component twice, or two things given of which only one can be used.
    """
    seen = set()
    for want in wants:
        component = want["component"]
        if component in seen:
            raise PhaseError("images: %s is given twice." % component)
        seen.add(component)
        given = {
            "an executable": want.get("binary"),
            "a build context": want.get("context"),
            "an image": want.get("archive") or (want.get("name") if not want.get("fallback") else ""),
        }
        if component != "datastorage" and (given["an executable"] or given["a build context"]):
            raise PhaseError("images: executable and build context are for datastorage only, not for %s." % component)
        several = ["%s (%s)" % (what, value) for what, value in given.items() if value]
        if component == "datastorage" and len(several) > 1:
            raise PhaseError("DataStorage is given as %s: keep one." % " and as ".join(several))


def labels_of(image: Mapping[str, Any]) -> Dict[str, str]:
    """Return the labels of an inspected image."""
    return dict(image.get("Labels") or {})


def parse_packages(label: str) -> Dict[str, str]:
    """Turn the label ``name=version,...`` into a dictionary."""
    return dict(item.split("=", 1) for item in label.split(",") if "=" in item)


def upstream_version(version: str) -> str:
    """Return the upstream part of a Debian version: ``5:8.0.2-3+deb13u1`` -> ``8.0.2``."""
    return version.split(":", 1)[-1].rsplit("-", 1)[0]


def describe(want: Want, source: str, image: Mapping[str, Any]) -> Dict[str, Any]:
    """Build the result for an image that is present.

    :param source: how this run came to it: ``present``, ``archive``, ``pull`` or ``build``.
    """
    labels = labels_of(image)
    config = image.get("Config") or {}
    name = want.name if want.name and find_image(want.name, [image]) else ""
    shown = reference(name or want.own_name, image)
    return {
        "name": name or shown,
        "reference": shown,
        "id": image["Id"],
        "digest": image.get("Digest", ""),
        "source": source,
        "content": labels.get(LABEL_CONTENT, ""),
        "created": labels.get(LABEL_CREATED) or image.get("Created", ""),
        "packages": parse_packages(labels.get(LABEL_PACKAGES, "")),
        "config": {
            "user": config.get("User", ""),
            "env": dict(item.split("=", 1) for item in config.get("Env") or [] if "=" in item),
            "volumes": sorted(config.get("Volumes") or {}),
            "labels": labels,
        },
        "reference_service": labels.get(LABEL_REFERENCE) == "true",
    }


def foresee(want: Want, source: str) -> Dict[str, Any]:
    """Build the result for an image that check mode does not make: what is known before it exists."""
    archived = "" if want.archived is None else (*want.archived.tags, want.archived.id)[0]
    name = {"archive": archived, "pull": want.name}.get(source, want.own_name)
    return {
        "name": name,
        "reference": name,
        "id": want.archived.id if want.archived and source == "archive" else "",
        "digest": "",
        "source": source,
        "content": want.content if source == "build" else "",
        "created": "",
        "packages": {},
        "config": {"user": "", "env": {}, "volumes": [], "labels": {}},
        "reference_service": source == "build" and want.component == "datastorage" and not (want.binary or want.source),
    }


def stale_images(listed: Sequence[Mapping[str, Any]], current: Sequence[str]) -> List[str]:
    """Name the collection's images whose content is none of ``current``.

    :param listed: ``podman images --format json`` of images with the collection's label.
    """
    stale: List[str] = []
    for image in listed:
        if (image.get("Labels") or {}).get(LABEL_CONTENT) not in current:
            stale.extend(image.get("Names") or [image["Id"][:12]])
    return sorted(stale)


# --- why it failed -------------------------------------------------------------------------------------------------

#: Pattern in a failed command's output -> likely cause and next action; the first that matches is told.
CAUSES: Tuple[Tuple[str, str], ...] = (
    (
        r"no space left on device|disk quota exceeded|You don't have enough free space",
        "the disk is full: free space where podman keeps images (`podman system df`) and in the temporary directory",
    ),
    (
        r"rlimit",
        "the OCI runtime may not raise resource limits: give `run_arguments` such as --ulimit nofile=1024:1024",
    ),
    (
        r"newuidmap|newgidmap|/etc/sub[ug]id|insufficient UIDs or GIDs",
        "this user has no subordinate ids: let the administrator add it to /etc/subuid and /etc/subgid",
    ),
    (
        r"NO_PUBKEY|is not signed|no keyring|unable to find.*keyring",
        "the distribution's archive keys are not here: install the package debian-archive-keyring",
    ),
    (
        r"Release file.*is (expired|not valid yet)",
        "the package mirror's lists are too old or from the future: set this machine's clock, or another mirror",
    ),
    (
        r"Unable to locate package|has no installation candidate|Hash Sum mismatch|404 +Not Found|no Release file",
        "the package mirror is in the middle of an update or does not have this suite: run again, or set the mirror",
    ),
    (
        r"failure resolving|Could not (resolve|connect)|Unable to connect|Failed to fetch|Network is unreachable",
        "no package mirror can be reached: check network and proxy variables, set the mirror, or give an archive",
    ),
    (
        r"OCI runtime|\b(runc|crun)\b|error running (container|subprocess)|netavark|setting up (the )?network",
        "podman cannot run containers on this machine: let the host role find a working OCI runtime",
    ),
)


def cause(output: str) -> str:
    """Name the likely cause of a failed command and the next action; empty when nothing known is in its output."""
    for pattern, sentence in CAUSES:
        if re.search(pattern, output, re.IGNORECASE):
            return sentence
    return ""


def failure(what: str, answer: Answer, seconds: float) -> PhaseError:
    """Turn a failed command into an error: cause and next action first, the end of its output below.

    :param what: what was being done, such as ``building postgres``.
    :param seconds: the deadline it had.
    """
    tail = [line for line in answer.out.splitlines() if line.strip()][-TAIL:]
    if answer.rc == 124:
        likely = "it took longer than %.0f s: raise the timeout, or find out below what it waits for" % seconds
    else:
        likely = cause(answer.out) or "see its last lines below (exit status %d)" % answer.rc
    return PhaseError("\n".join(["images: %s failed: %s." % (what, likely), *tail]), cause="image-not-made")


# --- archives ------------------------------------------------------------------------------------------------------


def read_archive(path: str) -> List[ArchivedImage]:
    """List the images of an archive that ``podman save`` or ``docker save`` wrote, without loading it.

    :raises PhaseError: the file cannot be read, or is no image archive.
    """
    try:
        with tarfile.open(path) as tar:
            members = {member.name.lstrip("./"): member for member in tar}

            def document(name: str) -> Any:
                file = tar.extractfile(members[name])
                return json.load(file) if file else {}

            if "manifest.json" in members:
                return [_docker_image(entry) for entry in document("manifest.json")]
            found = []
            for entry in document("index.json")["manifests"]:
                manifest = document("blobs/" + entry["digest"].replace(":", "/"))
                name = (entry.get("annotations") or {}).get("org.opencontainers.image.ref.name")
                found.append(ArchivedImage(manifest["config"]["digest"].split(":")[-1], (name,) if name else ()))
            return found
    except OSError as error:
        raise PhaseError("images: the archive %s cannot be read: %s." % (path, error.strerror or error)) from error
    except (tarfile.TarError, KeyError, ValueError, EOFError) as error:
        raise PhaseError("images: %s is not an image archive; write one with `podman save`." % path) from error


def _docker_image(entry: Mapping[str, Any]) -> ArchivedImage:
    # podman writes <hex>.json, newer docker blobs/sha256/<hex>.
    config = os.path.basename(entry["Config"])
    return ArchivedImage(config.split(".")[0], tuple(entry.get("RepoTags") or ()))


def choose_archived(path: str, name: str, found: Sequence[ArchivedImage]) -> ArchivedImage:
    """Choose the image of an archive: the only one, or the one that has the wanted name.

    :raises PhaseError: the archive holds several and none is called ``name``.
    """
    if len(found) == 1:
        return found[0]
    for image in found:
        if name and find_image(name, [{"Id": image.id, "RepoTags": list(image.tags)}]):
            return image
    tags = sorted(tag for image in found for tag in image.tags)
    raise PhaseError(
        "images: %s holds %d images (%s): name the one to use." % (path, len(found), ", ".join(tags) or "without names")
    )
