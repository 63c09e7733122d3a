# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Can this machine run a stack, and how: phase ``host_probe``. PRIVATE to the collection."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.kubernaut.integration.plugins.module_utils import _remote, _rootless
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import (
    LIBRARIES,
    Context,
    Options,
    Phase,
    PhaseError,
    Result,
)
from ansible_collections.kubernaut.integration.plugins.module_utils._plan import digest
from ansible_collections.kubernaut.integration.plugins.module_utils._podman import Podman
from ansible_collections.kubernaut.integration.plugins.module_utils._state import (
    make_private,
    state_home,
    write_private,
)

#: Need -> package, by family of distribution (``ID`` and ``ID_LIKE`` of os-release).
PACKAGES: Mapping[str, Mapping[str, str]] = {
    "debian": {
        "podman": "podman",
        "runc": "runc",
        "netavark": "netavark",
        "aardvark-dns": "aardvark-dns",
        "iptables": "iptables",
        "nft": "nftables",
        "newuidmap": "uidmap",
        "slirp4netns": "slirp4netns",
        "pasta": "passt",
        "mmdebstrap": "mmdebstrap",
        "psycopg": "python3-psycopg",
        "redis": "python3-redis",
        "yaml": "python3-yaml",
    },
    "fedora": {
        "podman": "podman",
        "runc": "runc",
        "netavark": "netavark",
        "aardvark-dns": "aardvark-dns",
        "iptables": "iptables",
        "nft": "nftables",
        "newuidmap": "shadow-utils",
        "slirp4netns": "slirp4netns",
        "pasta": "passt",
        "mmdebstrap": "mmdebstrap",
        "psycopg": "python3-psycopg3",
        "redis": "python3-redis",
        "yaml": "python3-pyyaml",
    },
}
#: Where distributions put podman's helpers, which are not on PATH.
HELPERS = ("/usr/libexec/podman", "/usr/lib/podman", "/usr/local/libexec/podman", "/usr/local/lib/podman", "/usr/sbin")
#: What podman says when it cannot run any container -> what may be missing; the first that fits.
HELP: Sequence[Tuple[str, str]] = (("nft", "nft"), ("netavark", "iptables"), ("", "runc"))
#: Limits that every machine grants, for those that refuse even their own hard limits to a container.
MODEST = 1024
#: Raised when what is remembered of a machine changes its shape.
FORMAT = 4
#: Environment variable with the directory from which a container is started.
DIRECTORY_VARIABLE = "KUBERNAUT_INTEGRATION_DIRECTORY"
#: What podman asks for where nothing limits it.
MOST_FILES = 1048576


#: How every container of a stack is run, so that the trial means what it says.
AS_THE_STACK = ("--network", "bridge", "--read-only", "--cap-drop", "all", "--security-opt", "no-new-privileges")
LIMITED = ("--memory", "64m", "--pids-limit", "64")
#: What podman says when it runs a container and does not limit it.
UNLIMITED = "not supported and ignored"


@dataclass(frozen=True)
class Way:
    """A way in which this machine runs containers.

    :param runtime: OCI runtime to name; empty for podman's own choice.
    :param ulimits: ``name=soft:hard`` for every limit that has to be lowered; both or none, because naming one
        replaces podman's whole list and the other would be raised again.
    :param limits: memory and number of processes can be limited; not so where no cgroup controller is delegated.
    """

    runtime: str
    ulimits: Tuple[str, ...]
    limits: bool = True

    def __str__(self) -> str:
        memory = "" if self.limits else " without a memory limit"
        return "%s %s%s" % (self.runtime or "default", " ".join(self.ulimits) or "no ulimits", memory)

    @property
    def run_arguments(self) -> List[str]:
        """Arguments of ``podman run``."""
        return _ulimit_arguments(self.ulimits)


def _ulimit_arguments(ulimits: Sequence[str]) -> List[str]:
    return [part for limit in ulimits for part in ("--ulimit", limit)]


def own_limits() -> Tuple[int, int]:
    """Return the hard limits of this process: open files, and processes up to the kernel's highest pid."""
    nofile = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    nproc = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    with open("/proc/sys/kernel/pid_max", encoding="ascii") as file:
        pid_max = int(file.read())
    return (
        nofile if nofile != resource.RLIM_INFINITY else MOST_FILES,
        min(nproc, pid_max) if nproc != resource.RLIM_INFINITY else pid_max,
    )


def may_raise_limits(status: str) -> bool:
    """Tell from the text of ``/proc/self/status`` whether this process may raise limits (CAP_SYS_RESOURCE)."""
    effective = next((line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")), "0")
    return bool(int(effective, 16) >> 24 & 1)


def build_arguments(way: Way, status: str) -> List[str]:
    """Return the arguments of ``podman build``.

    Where ``podman run`` keeps to the limits of its caller, as podman 5 does, a build still asks for more.
    """
    if way.ulimits or may_raise_limits(status):
        return way.run_arguments
    return _ulimit_arguments(_both(*own_limits()))


def _both(nofile: int, nproc: int) -> Tuple[str, str]:
    return ("nofile=%d:%d" % (nofile, nofile), "nproc=%d:%d" % (nproc, nproc))


def ways(runtimes: Sequence[str], nofile: int, nproc: int) -> Iterator[Way]:
    """Yield the ways to try, the user's own configuration first, then those that ask for less.

    :param runtimes: names of the OCI runtimes that are installed.
    :param nofile: hard limit of open files of this process.
    :param nproc: hard limit of processes of this process, at most the kernel's highest pid.
    """
    limits: List[Tuple[str, ...]] = [()]
    for files, processes in ((nofile, nproc), (MODEST, MODEST)):
        limits.append(_both(files, processes))
    for limited in (True, False):
        for runtime in ("", *runtimes):
            for ulimits in limits:
                yield Way(runtime, ulimits, limited)


def family(os_release: str) -> str:
    """Return the key of :data:`PACKAGES` for the text of an os-release file, or an empty string."""
    fields = dict(line.split("=", 1) for line in os_release.splitlines() if "=" in line)
    names = (fields.get("ID", "") + " " + fields.get("ID_LIKE", "")).replace('"', "").split()
    aliases = {"ubuntu": "debian", "rhel": "fedora", "centos": "fedora"}
    for name in names:
        if aliases.get(name, name) in PACKAGES:
            return aliases.get(name, name)
    return ""


def _helper(name: str) -> bool:
    return shutil.which(name, path=os.pathsep.join((*HELPERS, os.environ.get("PATH", "")))) is not None


def helps(said: Sequence[str]) -> List[str]:
    """Return what could still be installed and may help.

    :param said: what podman said when it could not run a container.
    """
    wanted = {next(need for word, need in HELP if word in reason) for reason in said}
    return sorted(need for need in wanted if not _helper(need))


class NoWayError(PhaseError):
    """No container can be run on this machine, in no way; ``said`` is what podman said each time."""

    def __init__(self, said: Sequence[str], evidence: Sequence[str] = ()) -> None:
        """Put the most likely cause first.

        :param said: a line for each way.
        :param evidence: everything that podman wrote for each way; the last line alone often hides the cause.
        """
        reason = said[-1].split(": ", 1)[1]
        known = [advice for word, advice in _rootless.HINTS if any(word in text for text in evidence)]
        cause = "%s (%s)" % (known[0], reason) if known else "%s. See below what each way said" % reason
        text = "podman cannot run any container on this machine: %s.\n%s" % (cause, "\n".join(said))
        super().__init__(text, cause="oci-runtime")
        # Where the cause is known, another runtime is none of the things that may help.
        self.said = [] if known else said


def rootless_network(podman: Podman, version: str) -> str:
    """Return the program with which podman connects the containers of a user who is not root.

    :param version: podman's. Before 5 it is slirp4netns, since then pasta, unless the user's configuration says else.
    """
    if int(version.split(".", 1)[0]) < 5:
        return "slirp4netns"
    if not _helper("pasta") and _helper("slirp4netns"):
        return podman.call("info", "--format", "{{.Host.RootlessNetworkCmd}}").out.strip() or "pasta"
    return "pasta"


def needs(root: bool, venv: bool, network: str = "") -> Dict[str, bool]:
    """Return what a stack needs on this machine and whether it is there, without calling podman.

    :param root: the process runs as root.
    :param venv: the interpreter is a virtual environment's, which no package manager can fill.
    :param network: what :func:`rootless_network` says; empty as long as there is no podman.
    :raises PhaseError: such an interpreter lacks a library.
    """
    found = {name: _helper(name) for name in ("podman", "netavark", "aardvark-dns")}
    if not root:
        found["newuidmap"] = _helper("newuidmap")
        found.update({network: _helper(network)} if network else {})
    libraries = {name: importlib.util.find_spec(name) is not None for name in LIBRARIES}
    if venv and not all(libraries.values()):
        lacking = [LIBRARIES[name][0] for name, there in libraries.items() if not there]
        raise PhaseError(
            "The virtual environment of %s lacks libraries of the modules: install them with `pip install %s`."
            % (sys.executable, " ".join("'%s'" % name for name in lacking))
        )
    return {**found, **libraries}


def _tiny_root(directory: str) -> List[str]:
    """Make a root file system that can run one program, from this machine's own files; return its command.

    No image is needed to find out which OCI runtime works: ``true`` and the libraries it is linked to are enough.
    """
    program = shutil.which("true") or "/bin/true"
    said = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    needed = {word for word in said.split() if word.startswith("/")} | {program}
    for path in needed:
        target = directory + path
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copy2(os.path.realpath(path), target)
    return [program]


def find_way(podman: Podman, runtimes: Sequence[str], home: str) -> Way:
    """Try ways until a container runs.

    :param home: directory for a short-lived root file system; the system's own may be mounted noexec.

    :raises NoWayError: none works.
    """
    said: List[str] = []
    evidence: List[str] = []
    make_private(home)
    with tempfile.TemporaryDirectory(dir=home, prefix="probe-") as directory:
        command = _tiny_root(directory)
        for way in ways(runtimes, *own_limits()):
            flags = ["--runtime", way.runtime] if way.runtime else []
            run = ["run", "--rm", *AS_THE_STACK, *(LIMITED if way.limits else ()), *way.run_arguments]
            answer = podman.call(*flags, *run, "--rootfs", directory, *command)
            if answer.rc == 0:
                return replace(way, limits=way.limits and UNLIMITED not in answer.err)
            said.append("%s: %s" % (way, answer.reason))
            evidence.append(answer.err)
    raise NoWayError(said, evidence)


def _fingerprint(executable: str, version: str, runtimes: Sequence[str]) -> str:
    """What the answer of :func:`find_way` depends on, as a hash; a reboot or an upgrade asks anew."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        boot = file.read().strip()
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        capabilities = [line for line in file if line.startswith("CapBnd")]
    limits = [resource.getrlimit(limit) for limit in (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC)]
    configuration = [os.environ.get("CONTAINERS_CONF", ""), _storage_configuration()]
    return digest(
        [FORMAT, executable, version, list(runtimes), boot, os.geteuid(), capabilities, limits, configuration]
    )


def _storage_configuration() -> str:
    """Return the text of the user's own storage.conf, which names the storage driver; empty when there is none."""
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    path = os.environ.get("CONTAINERS_STORAGE_CONF") or os.path.join(home, "containers", "storage.conf")
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _recall(path: str, fingerprint: str) -> Optional[Dict[str, Any]]:
    """Return what an earlier run found out about this very podman on this very boot, or None."""
    try:
        with open(path, encoding="utf-8") as file:
            known = json.load(file)
    except (OSError, ValueError):
        return None  # not asked yet, or half a file of a machine that lost power: ask again
    if not isinstance(known, dict) or known.get("fingerprint") != fingerprint:
        return None
    return known


def wrapper(podman: str, way: Way) -> str:
    """Return a shell script that calls podman with the runtime that works.

    containers.podman can be given an executable but no global option, and CONTAINERS_CONF would replace the user's
    configuration as a whole; so the option travels in a script.
    """
    return '#!/bin/sh\nexec "%s" --runtime "%s" "$@"\n' % (podman, way.runtime)


def starter(podman: str) -> str:
    """Return a shell script that calls podman from the directory that DIRECTORY_VARIABLE names.

    A container's monitor stays in the directory from which it was started, and some (2.1.6) write a file ``oom`` there
    when memory runs out: it must be neither the user's directory nor one that he wants to unmount.
    """
    return (
        '#!/bin/sh\ncd "${%s:-.}" || exit\n'
        # An old note would not become younger by another.
        'case "$*" in "container run "* | "container start "*) [ -z "$%s" ] || rm -f oom ;; esac\n'
        'exec "%s" "$@"\n' % (DIRECTORY_VARIABLE, DIRECTORY_VARIABLE, os.path.abspath(podman))
    )


def _free_mib(path: str) -> int:
    """Free space in MiB for an unprivileged writer, of the file system on which ``path`` will be."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return shutil.disk_usage(path).free // (1024 * 1024)


def check_disk(free: Mapping[str, int], wanted: int) -> None:
    """Refuse a machine with too little space.

    :param free: directory -> free MiB.
    :param wanted: ``host_min_free_mib``.
    :raises PhaseError: one of them has less.
    """
    for directory, mib in free.items():
        if mib < wanted:
            raise PhaseError(
                "host_min_free_mib: %s has %d MiB free and %d are wanted; make room (podman image prune shows what "
                "is unused) or lower host_min_free_mib." % (directory, mib, wanted),
                cause="disk-low",
            )


def run(options: Options, context: Context) -> Result:
    """Look at the machine and return how to call podman, and what is lacking."""
    venv = sys.prefix != sys.base_prefix
    root = os.geteuid() == 0
    podman = Podman(options["podman"] or shutil.which("podman") or "podman")
    there = bool(options["podman"]) or _helper("podman")
    user = _user(root, options["probe"])
    remote = _remote.service(podman, options["podman"]) if there else None
    if not remote and not sys.platform.startswith("linux"):
        raise PhaseError(
            "This machine runs %s; a stack needs Linux: run the playbook against a Linux host, or set host_podman to a "
            "podman with a service on Linux, such as podman machine's." % platform.system()
        )
    user = None if remote else user
    if user:
        check_user(user, options["probe"])
    version = podman.must("--version").split()[-1] if there else ""
    found = needs(root, venv, rootless_network(podman, version) if user and there else "")
    found["podman"] = there
    if remote:  # the network's helpers are the service's
        found = {name: found[name] for name in ("podman", *LIBRARIES)}
    lacking = sorted(name for name, there in found.items() if not there)
    runtimes = [name for name in ("crun", "runc") if _helper(name)]
    distribution = ""
    with contextlib.suppress(FileNotFoundError), open("/etc/os-release", encoding="utf-8") as file:
        distribution = family(file.read())
    home = state_home(options["state_dir"])
    result: Result = {
        "lacking": lacking,
        "family": distribution,
        "root": root,
        "sudo": shutil.which("sudo") is not None,
        "python": sys.executable,
        "podman": "podman",
        "run_arguments": [],
        "build_arguments": [],
        "ulimits": [],
        "limits": True,
        "runtime": "",
        "storage": "",
        "selinux": False,
        "remote": False,
        "version": version,
        "notes": [],
    }
    if remote:
        result.update({"podman": podman.executable, **_remote.facts(remote)})
        if options["probe"] and not context.check:
            _remote.demand_shared(podman, home)
    elif there:
        try:
            result.update(_ask_podman(podman, version, options, context, home, runtimes))
        except NoWayError as error:
            result["lacking"] = sorted({*lacking, *helps(error.said)})
            if not result["lacking"]:
                raise
    if user and options["probe"]:
        result["notes"] = _rootless.notes(user, result.get("driver", ""), result["limits"])
        result.update({"warnings": result["notes"]} if result["notes"] else {})
    result["package_names"] = dict(PACKAGES.get(distribution, {}))
    result["packages"] = [result["package_names"][name] for name in result["lacking"]] if distribution else []
    storage = "" if remote else result["storage"]
    result["free_mib"] = {path: _free_mib(path) for path in (home, storage) if path}
    check_disk(result["free_mib"], options["min_free_mib"])
    if result["lacking"] and options["required"]:
        raise PhaseError(
            "This machine lacks %s: install %s, or set host_install to true and run as root or with become."
            % (", ".join(result["lacking"]), " ".join(result["packages"]) or "them"),
            cause="host-lacks",
            **result,
        )
    return result


def check_user(user: _rootless.User, probe: bool) -> None:
    """Refuse a user who cannot run containers, for the causes that can be seen without podman.

    :param probe: containers are to be run; to remove them, a runtime directory is enough.
    :raises PhaseError: the first line names the first cause and its remedy, further lines the others.
    """
    problems = _rootless.problems(user) if probe else list(filter(None, [_rootless.runtime_problem(user)]))
    if problems:
        raise PhaseError("\n  also: ".join(problems), problems=problems)


def _user(root: bool, probe: bool) -> Optional[_rootless.User]:
    """Look at a user who is not root; one without a runtime directory is refused before podman's first call."""
    if root or not sys.platform.startswith("linux"):
        return None
    user = _rootless.look_at_user()
    if not _rootless.client() and _rootless.runtime_problem(user):
        check_user(user, probe)
    return user


def _ask_podman(
    podman: Podman, version: str, options: Options, context: Context, home: str, runtimes: Sequence[str]
) -> Dict[str, Any]:
    """What only podman itself can tell: storage, and the way in which it runs containers here."""
    executable = podman.executable
    answer: Dict[str, Any] = {"podman": executable}
    # No team can be called so: the names of stacks begin with a letter.
    directory = os.path.join(home, "_machine")
    cache = os.path.join(directory, "podman.json")
    fingerprint = _fingerprint(executable, version, runtimes)
    known = _recall(cache, fingerprint)
    if known is None:
        if context.check or not options["probe"]:
            return answer  # to find out, a container would have to run
        way = find_way(podman, runtimes, home)
        info = json.loads(podman.must("info", "--format", "json"))
        _rootless.check_fuse(info["store"].get("graphOptions") or {})
        known = {
            "fingerprint": fingerprint,
            "runtime": way.runtime,
            "ulimits": list(way.ulimits),
            "limits": way.limits,
            "storage": info["store"]["graphRoot"],
            "driver": info["store"]["graphDriverName"],
            "network": info["host"]["networkBackend"],
            "cgroups": info["host"]["cgroupVersion"],
            "selinux": info["host"]["security"]["selinuxEnabled"],
        }
        make_private(directory)
        write_private(cache, json.dumps(known))
    way = Way(known["runtime"], tuple(known["ulimits"]), known["limits"])
    if way.runtime:
        answer["podman"] = os.path.join(directory, "podman")
        write_private(answer["podman"], wrapper(executable, way), 0o700)
    answer["starter"] = os.path.join(directory, "start")
    write_private(answer["starter"], starter(shutil.which(answer["podman"]) or answer["podman"]), 0o700)
    del known["fingerprint"]
    answer.update(known)
    answer["run_arguments"] = way.run_arguments
    with open("/proc/self/status", encoding="utf-8", errors="replace") as file:
        answer["build_arguments"] = build_arguments(way, file.read())
    return answer


PHASE = Phase(
    name="host_probe",
    run=run,
    argument_spec={
        "podman": {"type": "path", "default": ""},
        "probe": {"type": "bool", "default": True},
        "state_dir": {"type": "str", "default": ""},
        "min_free_mib": {"type": "int", "default": 2048},
        "required": {"type": "bool", "default": False},
    },
)
