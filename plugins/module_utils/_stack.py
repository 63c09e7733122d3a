# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stack as a whole: its directory, lock, network, and its end. Phase ``stack``. PRIVATE to the collection."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from typing import Any, Container, Dict, List, Mapping, Sequence

from ansible_collections.kubernaut.integration.plugins.module_utils import _credentials, _lock
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import (
    Context,
    Options,
    Phase,
    PhaseError,
    Result,
)
from ansible_collections.kubernaut.integration.plugins.module_utils._plan import (
    COLLECTION,
    COMPONENTS,
    CREDENTIALS,
    DEPENDENTS,
    LABEL,
    stop_order,
)
from ansible_collections.kubernaut.integration.plugins.module_utils._podman import Podman, PodmanError
from ansible_collections.kubernaut.integration.plugins.module_utils._state import keep_private, make_private, state_home

#: Seconds on top of a container's own stop budget before podman is given up on.
STOP_MARGIN = 30
LOCK = "lock.json"
#: A name that stays below the state directory, because a whole directory of that name is removed.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def classify(found: Sequence[Mapping[str, Any]], stack: str, containers: Mapping[str, str]) -> Dict[str, Any]:
    """Sort what one inspect of every name of the stack returned.

    :param found: objects as ``podman inspect`` describes them.
    :param stack: the stack's name.
    :param containers: component -> container name.
    :returns: a component's name -> ``{id, running, status, image, labels, started}`` or None, ``network`` and
        ``volume`` -> labels or None, ``foreign`` -> sentences about objects that somebody else made.
    """
    result: Dict[str, Any] = {**_nothing(containers), "foreign": []}
    components = {name: component for component, name in containers.items()}
    for thing in found:
        name = str(thing.get("Name") or thing.get("name"))
        if "RepoTags" in thing:
            continue  # an image may have the name of a container
        if "State" in thing:
            kind, labels = "container", thing["Config"].get("Labels") or {}
        elif "Mountpoint" in thing:
            kind, labels = "volume", thing.get("Labels") or {}
        else:
            kind, labels = "network", thing.get("labels") or thing.get("Labels") or {}
        if labels.get(LABEL + "collection") != COLLECTION or labels.get(LABEL + "stack") != stack:
            result["foreign"].append(_whose(kind, name, labels))
        elif kind == "container":
            state = thing["State"]
            result[components[name]] = {
                "id": thing["Id"],
                "running": bool(state["Running"]),
                "status": state["Status"],
                "started": state["StartedAt"],
                "image": thing["Image"],
                "labels": labels,
            }
        else:
            result[kind] = labels
    return result


def _whose(kind: str, name: str, labels: Mapping[str, str]) -> str:
    """Say in words who seems to have made something that is not ours."""
    # Images of the collection hand its label on to whatever is made of them; only a stack's own things name the stack.
    if labels.get(LABEL + "collection") == COLLECTION and LABEL + "stack" in labels:
        maker = "belongs to the stack %s" % labels[LABEL + "stack"]
    elif "io.podman.compose.project" in labels or "com.docker.compose.project" in labels:
        project = labels.get("io.podman.compose.project") or labels.get("com.docker.compose.project")
        maker = "belongs to the compose project %s" % project
    else:
        maker = "was not made by this collection"
    return "the %s %s %s" % (kind, name, maker)


def inspect(podman: Podman, options: Options) -> Dict[str, Any]:
    """Look at everything that the stack may have, with as few podman calls as podman allows.

    :param options: ``name``, ``containers``, ``network`` and ``volume`` of the phase.
    :raises PhaseError: something of the same name belongs to somebody else.
    """
    containers = options["containers"]
    found = podman.inspect(*containers.values(), options["volume"])
    found += podman.inspect(options["network"], kind="network")  # 4.3 finds no network among objects of other kinds
    result = classify(found, options["name"], containers)
    foreign = result.pop("foreign")
    if foreign:
        raise PhaseError(
            "stack_run_id: %s and is left alone; remove it, or set stack_run_id so that this stack gets other names."
            % "; ".join(foreign),
            cause="foreign",
            foreign=foreign,
        )
    return result


def _list(podman: Podman, stack: str, *command: str) -> List[Dict[str, Any]]:
    """List what carries the stack's labels, whatever it is called.

    Podman only narrows the list down: 4.3 takes several label filters of a volume for alternatives, and a teardown
    that trusted it would remove the volumes of other stacks.
    """
    listed = podman.must(*command, "--format", "json", "--filter", "label=%sstack=%s" % (LABEL, stack))
    owned = []
    for thing in json.loads(listed or "[]") or []:
        labels = thing.get("Labels") or thing.get("labels") or {}
        if labels.get(LABEL + "collection") == COLLECTION and labels.get(LABEL + "stack") == stack:
            owned.append(thing)
    return owned


def _of(podman: Podman, stack: str, components: Container[str]) -> List[Dict[str, Any]]:
    """List the stack's containers of some components."""
    listed = _list(podman, stack, "ps", "--all")
    return [container for container in listed if (container["Labels"] or {}).get(LABEL + "component") in components]


def _owned(podman: Podman, stack: str) -> Dict[str, List[Dict[str, Any]]]:
    """Everything that carries the stack's labels, by kind."""
    return {
        "containers": _list(podman, stack, "ps", "--all"),
        "networks": _list(podman, stack, "network", "ls"),
        "volumes": _list(podman, stack, "volume", "ls"),
    }


def remove_containers(
    podman: Podman, containers: Sequence[Mapping[str, Any]], budget: int, context: Context
) -> List[str]:
    """Stop and remove containers in the order DataStorage, Redis, PostgreSQL; return what was done, in words.

    :param containers: entries of ``podman ps --format json``.
    :param budget: seconds that a container has for a clean stop; DataStorage sleeps 5 s before it drains.
    """
    done: List[str] = []
    by_component: Dict[str, List[Mapping[str, Any]]] = {}
    for container in containers:
        by_component.setdefault((container["Labels"] or {}).get(LABEL + "component", ""), []).append(container)
    order = [*[component for component in by_component if component not in COMPONENTS], *stop_order([*by_component])]
    for component in order:
        for container in by_component[component]:
            name = container["Names"][0]
            if context.check:
                done.append("would remove container %s" % name)
                continue
            begin = time.monotonic()
            if container["State"] == "running":
                context.progress("stopping %s" % name)
                podman.must("stop", "--time", str(budget), container["Id"], timeout=budget + STOP_MARGIN)
            stopped = podman.inspect(container["Id"], kind="container")
            # --volumes takes the anonymous ones only, which images with a VOLUME leave behind.
            podman.must("rm", "--force", "--volumes", container["Id"], timeout=budget + STOP_MARGIN)
            code = "exit %d" % stopped[0]["State"]["ExitCode"] if stopped else "somebody else removed it, too"
            done.append("removed container %s (%s, %.1f s)" % (name, code, time.monotonic() - begin))
    return done


def remove_all(podman: Podman, name: str, budget: int, context: Context) -> List[str]:
    """Remove exactly what the stack's labels name, and prove that nothing is left.

    :returns: what was done, in words.
    :raises PhaseError: something is still there afterwards.
    """
    owned = _owned(podman, name)
    done = remove_containers(podman, owned["containers"], budget, context)
    for kind, key in (("network", "networks"), ("volume", "volumes")):
        for thing in owned[key]:
            label = thing.get("name") or thing.get("Name")
            if context.check:
                done.append("would remove %s %s" % (kind, label))
                continue
            podman.must(kind, "rm", str(label))
            done.append("removed %s %s" % (kind, label))
    if done and not context.check:
        left = {kind: things for kind, things in _owned(podman, name).items() if things}
        if left:
            raise PhaseError("%s is not gone: %s are left; see `podman ps --all`." % (name, ", ".join(left)), left=left)
    return done


def _create_network(podman: Podman, stack: str, network: str) -> None:
    """Create the labelled network; podman_network has no option for labels."""
    labels = ["--label", "%scollection=%s" % (LABEL, COLLECTION), "--label", "%sstack=%s" % (LABEL, stack)]
    try:
        podman.must("network", "create", *labels, network)
    except PodmanError as error:
        raise PhaseError(
            "The network %s cannot be created: %s. `podman network ls` shows what is there."
            % (network, error.answer.reason),
            cause="network-refused",
            stderr=error.answer.err[-2000:],
        ) from error


def _nothing(containers: Mapping[str, str]) -> Dict[str, Any]:
    return {**dict.fromkeys(containers), "network": None, "volume": None}


def _lock_out(options: Options, directory: str) -> None:
    """Take the stack's lock for this run.

    :raises PhaseError: another run has it.
    """
    owner = _lock.Owner(**options["owner"])
    dead = _lock.Owner(**options["dead_owner"]) if options["dead_owner"] else None
    holder = _lock.acquire(os.path.join(directory, LOCK), owner, options["lock_timeout"], dead)
    if holder is not None:
        raise PhaseError(
            "stack_lock_timeout: the stack %s is being worked on by %s; wait for it, raise stack_lock_timeout, "
            "or set stack_run_id for a stack of your own." % (options["name"], holder),
            cause="locked",
            holder=dict(holder.__dict__),
        )


def _present(options: Options, context: Context, podman: Podman, directory: str) -> Result:
    done: List[str] = []
    if not context.check:
        home = os.path.dirname(directory)
        done += ["created %s" % home] if make_private(home) else []
        done += keep_private(directory)
        _lock_out(options, directory)
        # Only now: the run that held the lock may have taken the directory away.
        for path in ("config", "run", *(os.path.join("run", component) for component in options["containers"])):
            made = os.path.join(directory, path)
            done += ["created %s" % made] if make_private(made) else []
    found = inspect(podman, options) if options["inspect"] else _nothing(options["containers"])
    if options["fresh"] and any(found.values()):
        done += remove_all(podman, options["name"], options["stop_timeout"], context)
        found = _nothing(options["containers"])
    if options["outside"] and options["inspect"]:
        done += _make_way(podman, options, context, found)
    kept = found["volume"] is not None
    done += _credentials.settle(directory, options["credentials"], kept, options["fresh"], context.check)
    if found["network"] is None:
        done.append("%s network %s" % ("would create" if context.check else "created", options["network"]))
        if not context.check:
            _create_network(podman, options["name"], options["network"])
    run_label = "%s pid %d" % (time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), options["owner"]["pid"])
    return {"changed": bool(done), "actions": done, "found": found, "run": run_label}


def _make_way(podman: Podman, options: Options, context: Context, found: Dict[str, Any]) -> List[str]:
    """Remove containers whose place something outside has taken, and first what depends on them.

    :param found: what there is; what was removed is taken out of it.
    """
    there = {each["Labels"][LABEL + "component"] for each in _of(podman, options["name"], options["outside"])}
    if not there:
        return []
    gone = there.union(*(DEPENDENTS[component] for component in there))
    found.update(dict.fromkeys(gone & set(found)))
    return remove_containers(podman, _of(podman, options["name"], gone), options["stop_timeout"], context)


def _absent(options: Options, context: Context, podman: Podman, directory: str) -> Result:
    there = os.path.isdir(directory)
    if there and not context.check:
        _lock_out(options, directory)
    if there and not options["inspect"]:
        raise PhaseError(
            "host_podman: podman cannot be found, but the stack %s was here: name the podman that started it, so that "
            "what it left can be removed." % options["name"]
        )
    done: List[str] = []
    directories = [directory]
    if options["inspect"]:
        directories += _directories(podman, options["name"])
        done = remove_all(podman, options["name"], options["stop_timeout"], context)
    for path in dict.fromkeys(directories):
        if not os.path.isdir(path):
            continue
        done.append("%s %s" % ("would remove" if context.check else "removed", path))
        if not context.check:
            # Away in one step, lock and all, so that a run that waits for it never works in half a directory.
            gone = "%s.%d.gone" % (path, os.getpid())
            os.rename(path, gone)
            shutil.rmtree(gone)
    done_lines = done or ["nothing is left of %s" % options["name"]]
    left = ["left alone, as it is not of this stack: %s" % each for each in options["outside"].values()]
    lines = ["", *("  " + line for line in [*done_lines, *left]), ""]
    return {"changed": bool(done), "actions": done, "lines": lines}


def _directories(podman: Podman, stack: str) -> List[str]:
    """Return the stack's directories as its containers name them, whatever this run takes for it."""
    labels = [container["Labels"] for container in _list(podman, stack, "ps", "--all")]
    named = [label[LABEL + "state-dir"] for label in labels if LABEL + "state-dir" in label]
    return [path for path in named if os.path.basename(path) == stack]


def _released(options: Options, context: Context, _podman: Podman, directory: str) -> Result:
    if not context.check:
        _lock.release(os.path.join(directory, LOCK), _lock.Owner(**options["owner"]))
    return {"changed": False}


def run(options: Options, context: Context) -> Result:
    """Bring the stack's frame up, take the whole stack down, or give its lock back."""
    if not _NAME.fullmatch(options["name"]):
        raise PhaseError(
            "name: %r cannot be the name of a stack's directory; use letters, digits, '_', '.' and '-', "
            "beginning with a letter or digit." % options["name"]
        )
    directory = os.path.join(state_home(options["state_dir"]), options["name"])
    states = {"present": _present, "absent": _absent, "released": _released}
    try:
        result = states[options["state"]](options, context, Podman(options["podman"]), directory)
    except OSError as error:
        raise PhaseError(
            "stack_state_dir: %s cannot be used: %s; name a directory that this user can create or write to."
            % (error.filename or directory, error.strerror)
        ) from error
    return {**result, "state_dir": directory}


def run_absent(options: Options, context: Context) -> Result:
    """Remove some of the stack's containers, in stop order; phase ``container_absent``."""
    podman = Podman(options["podman"])
    owned = _of(podman, options["stack"], options["components"])
    done = remove_containers(podman, owned, options["stop_timeout"], context)
    return {"changed": bool(done), "actions": done}


_SHARED_SPEC: Dict[str, Any] = {
    "podman": {"type": "str", "default": "podman"},
    "stop_timeout": {"type": "int", "default": 60},
}

PHASE = Phase(
    name="stack",
    run=run,
    argument_spec={
        **_SHARED_SPEC,
        "state": {"type": "str", "choices": ["present", "absent", "released"], "default": "present"},
        "name": {"type": "str", "required": True},
        "containers": {"type": "dict", "required": True},
        "network": {"type": "str", "required": True},
        "volume": {"type": "str", "required": True},
        "state_dir": {"type": "str", "default": ""},
        "inspect": {"type": "bool", "default": True},
        "fresh": {"type": "bool", "default": False},
        "credentials": {"type": "str", "choices": list(CREDENTIALS)},
        "lock_timeout": {"type": "float", "default": 0.0},
        "outside": {"type": "dict", "default": {}},
        "owner": _lock.OWNER_SPEC,
        "dead_owner": _lock.OWNER_SPEC,
    },
)

ABSENT_PHASE = Phase(
    name="container_absent",
    run=run_absent,
    argument_spec={
        **_SHARED_SPEC,
        "stack": {"type": "str", "required": True},
        "components": {
            "type": "list",
            "elements": "str",
            "choices": ["postgres", "redis", "datastorage", "auth"],
            "required": True,
        },
    },
)
