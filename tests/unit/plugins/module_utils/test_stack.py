# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: ARG001, ARG002 - a stand-in takes what the real one takes
"""The stack as a whole, with a podman that only remembers."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.kubernaut.integration.plugins.module_utils import _lock, _stack
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import Context, PhaseError
from ansible_collections.kubernaut.integration.plugins.module_utils._plan import COLLECTION, LABEL, plan
from ansible_collections.kubernaut.integration.plugins.module_utils._podman import Answer, Podman

PLAN = plan({})
NAME = PLAN["name"]
CONTAINERS = PLAN["containers"]
OURS = {LABEL + "collection": COLLECTION, LABEL + "stack": NAME}
ME = _lock.this_owner(os.getpid())


def container(name: str, labels: dict[str, str] | None = None, running: bool = True) -> dict[str, Any]:
    """A container as `podman inspect` describes it."""
    return {
        "Id": "id-" + name,
        "Name": name,
        "Image": "sha256:1",
        "State": {
            "Running": running,
            "Status": "running" if running else "exited",
            "StartedAt": "then",
            "ExitCode": 0 if running else 137,
        },
        "Config": {"Labels": OURS if labels is None else labels},
    }


def network(labels: dict[str, str] | None = None) -> dict[str, Any]:
    return {"name": PLAN["network"], "driver": "bridge", "labels": OURS if labels is None else labels}


def volume(labels: dict[str, str] | None = None) -> dict[str, Any]:
    return {"Name": PLAN["volume"], "Mountpoint": "/x", "Labels": OURS if labels is None else labels}


def classify(*things: dict[str, Any]) -> dict[str, Any]:
    return _stack.classify(things, NAME, CONTAINERS)


def test_nothing_is_found_on_an_empty_machine() -> None:
    assert classify() == {
        "postgres": None,
        "redis": None,
        "datastorage": None,
        "network": None,
        "volume": None,
        "foreign": [],
    }


def test_everything_of_the_stack_is_found() -> None:
    found = classify(
        container(CONTAINERS["postgres"]), container(CONTAINERS["redis"], running=False), network(), volume()
    )
    assert found["postgres"] == {
        "id": "id-workflowexecution_postgres_1",
        "running": True,
        "status": "running",
        "started": "then",
        "image": "sha256:1",
        "labels": OURS,
    }
    assert (found["redis"]["running"], found["redis"]["status"]) == (False, "exited")
    assert found["datastorage"] is None
    assert (found["network"], found["volume"], found["foreign"]) == (OURS, OURS, [])


@pytest.mark.parametrize(
    ("thing", "sentence"),
    [
        (
            container(CONTAINERS["redis"], {}),
            "the container workflowexecution_redis_1 was not made by this collection",
        ),
        (
            container(CONTAINERS["redis"], {"io.podman.compose.project": "wf"}),
            "the container workflowexecution_redis_1 belongs to the compose project wf",
        ),
        (
            container(CONTAINERS["redis"], {"com.docker.compose.project": "wf"}),
            "the container workflowexecution_redis_1 belongs to the compose project wf",
        ),
        (
            container(CONTAINERS["redis"], {**OURS, LABEL + "stack": "gateway"}),
            "the container workflowexecution_redis_1 belongs to the stack gateway",
        ),
        (network({}), "the network workflowexecution_test-network was not made by this collection"),
        (volume({}), "the volume workflowexecution_postgres_data was not made by this collection"),
        (
            {**container(CONTAINERS["redis"]), "Config": {"Labels": None}},
            "the container workflowexecution_redis_1 was not made by this collection",
        ),
    ],
)
def test_what_is_not_ours_is_told_whose_it_is(thing: dict[str, Any], sentence: str) -> None:
    found = classify(thing)
    assert found.pop("foreign") == [sentence]
    assert set(found.values()) == {None}


def test_image_of_a_containers_name_is_no_container() -> None:
    """`podman inspect` finds it when there is no container of the name."""
    found = classify({"Id": "1", "RepoTags": ["localhost/workflowexecution_redis_1:latest"], "Labels": None})
    assert found["foreign"] == []


class FakePodman(Podman):
    """A machine's containers, networks and volumes, and every call that changes something."""

    def __init__(self) -> None:
        super().__init__("podman")
        self.containers: list[dict[str, Any]] = []
        self.networks: list[dict[str, Any]] = []
        self.volumes: list[dict[str, Any]] = []
        self.changes: list[str] = []
        #: Ids that `rm` does not remove.
        self.stuck: set[str] = set()

    def add(self, component: str, name: str = "", state: str = "running", stack: str = NAME) -> None:
        labels = {LABEL + "collection": COLLECTION, LABEL + "stack": stack}
        labels.update({LABEL + "component": component} if component else {})
        name = name or CONTAINERS[component]
        self.containers.append({"Id": "id-" + name, "Names": [name], "State": state, "Labels": labels})

    def call(self, *arguments: str, timeout: float = 60.0, stdin: str | None = None) -> Answer:
        if arguments[0] == "ps" or arguments[1] == "ls":
            # Everything there is: podman 4.3 takes several label filters of a volume for alternatives.
            things = {"ps": self.containers, "network": self.networks, "volume": self.volumes}[arguments[0]]
            return Answer(0, json.dumps(things), "")
        self.changes.append(" ".join(arguments))
        if arguments[0] == "rm" and arguments[-1] not in self.stuck:
            self.containers = [thing for thing in self.containers if thing["Id"] != arguments[-1]]
        if arguments[:2] == ("network", "rm"):
            self.networks = []
        if arguments[:2] == ("volume", "rm"):
            self.volumes = [thing for thing in self.volumes if thing["Name"] != arguments[-1]]
        return Answer(0, "", "")

    def inspect(self, *names: str, kind: str = "all") -> list[dict[str, Any]]:
        found = [container(thing["Names"][0], thing["Labels"]) for thing in self.containers]
        return [
            thing
            for thing in [*found, *self.networks, *self.volumes]
            if {thing.get("Id"), thing.get("Name"), thing.get("name")} & set(names)
        ]


@pytest.fixture(name="podman")
def _podman(monkeypatch: pytest.MonkeyPatch) -> FakePodman:
    fake = FakePodman()
    monkeypatch.setattr(_stack, "Podman", lambda _executable: fake)
    return fake


@pytest.fixture(name="whole")
def _whole(podman: FakePodman) -> FakePodman:
    """A whole stack, and another one beside it."""
    for component in ("postgres", "redis", "datastorage"):
        podman.add(component)
    podman.add("postgres", name="gateway_postgres_1", stack="gateway")
    podman.add("postgres", name="stranger")
    podman.containers[-1]["Labels"].pop(LABEL + "collection")
    podman.networks = [network()]
    podman.volumes = [volume(), {**volume({**OURS, LABEL + "stack": "gateway"}), "Name": "gateway_postgres_data"}]
    return podman


@pytest.fixture(name="options")
def _options(tmp_path: Path) -> dict[str, Any]:
    return {
        "podman": "podman",
        "state": "present",
        "name": NAME,
        "containers": CONTAINERS,
        "network": PLAN["network"],
        "volume": PLAN["volume"],
        "state_dir": str(tmp_path / "state"),
        "inspect": True,
        "fresh": False,
        "credentials": "upstream",
        "lock_timeout": 0.0,
        "outside": {},
        "stop_timeout": 60,
        "owner": asdict(ME),
        "dead_owner": None,
    }


def removed(changes: list[str]) -> list[str]:
    """What was removed, in order."""
    return [change.split()[-1].removeprefix("id-") for change in changes if " rm " in " " + change]


ORDER = [
    CONTAINERS["datastorage"],
    CONTAINERS["redis"],
    CONTAINERS["postgres"],
    PLAN["network"],
    PLAN["volume"],
]


def test_remove_order_and_nothing_of_other_stacks(whole: FakePodman) -> None:
    done = _stack.remove_all(whole, NAME, 60, Context())
    assert removed(whole.changes) == ORDER
    assert [sentence.split(" (")[0].split()[-1] for sentence in done] == ORDER
    assert [thing["Names"] for thing in whole.containers] == [["gateway_postgres_1"], ["stranger"]]
    assert [thing["Name"] for thing in whole.volumes] == ["gateway_postgres_data"]


def test_running_containers_are_stopped_with_their_budget_and_before_the_next(whole: FakePodman) -> None:
    _stack.remove_all(whole, NAME, 45, Context())
    assert whole.changes[:3] == [
        "stop --time 45 id-workflowexecution_datastorage_1",
        "rm --force --volumes id-workflowexecution_datastorage_1",
        "stop --time 45 id-workflowexecution_redis_1",
    ]


def test_container_that_does_not_run_is_not_stopped(podman: FakePodman) -> None:
    podman.add("redis", state="exited")
    _stack.remove_all(podman, NAME, 60, Context())
    assert podman.changes == ["rm --force --volumes id-workflowexecution_redis_1"]


@pytest.mark.parametrize("component", ["", "migrator"])
def test_container_of_no_known_component_goes_first(whole: FakePodman, component: str) -> None:
    """One with an unknown component stayed once, and the teardown failed over what it had left itself."""
    whole.add(component, name="helper")
    _stack.remove_all(whole, NAME, 60, Context())
    assert removed(whole.changes) == ["helper", *ORDER]


def test_check_mode_removes_nothing_and_says_what_would_go(whole: FakePodman) -> None:
    done = _stack.remove_all(whole, NAME, 60, Context(check=True))
    assert whole.changes == []
    kinds = ["container"] * 3 + ["network", "volume"]
    assert done == ["would remove %s %s" % pair for pair in zip(kinds, ORDER, strict=True)]


def test_what_is_left_fails_the_removal(whole: FakePodman) -> None:
    whole.stuck.add("id-" + CONTAINERS["redis"])
    with pytest.raises(PhaseError, match="workflowexecution is not gone: containers are left") as failure:
        _stack.remove_all(whole, NAME, 60, Context())
    assert list(failure.value.result["left"]) == ["containers"]


def test_some_components_only(whole: FakePodman) -> None:
    options = {"podman": "podman", "stack": NAME, "components": ["redis", "datastorage"], "stop_timeout": 60}
    result = _stack.run_absent(options, Context())
    assert removed(whole.changes) == ORDER[:2]
    assert result["changed"] is True
    assert _stack.run_absent(options, Context()) == {"changed": False, "actions": []}


def test_present_makes_a_private_directory_and_a_labelled_network(
    podman: FakePodman, options: dict[str, Any], tmp_path: Path
) -> None:
    result = _stack.run(options, Context())
    directory = tmp_path / "state" / NAME
    assert result["state_dir"] == str(directory)
    for path in (directory.parent, directory, directory / "config"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert podman.changes == [
        "network create --label io.kubernaut.integration.collection=kubernaut.integration "
        "--label io.kubernaut.integration.stack=workflowexecution workflowexecution_test-network"
    ]
    assert result["changed"] is True
    assert result["found"]["network"] is None


def test_second_present_changes_nothing(podman: FakePodman, options: dict[str, Any]) -> None:
    _stack.run(options, Context())
    podman.networks = [network()]
    podman.changes.clear()
    result = _stack.run(options, Context())
    assert (result["changed"], result["actions"], podman.changes) == (False, [], [])


def test_present_in_check_mode_writes_nothing(podman: FakePodman, options: dict[str, Any], tmp_path: Path) -> None:
    result = _stack.run(options, Context(check=True))
    assert (result["changed"], result["actions"]) == (True, ["would create network workflowexecution_test-network"])
    assert podman.changes == []
    assert not (tmp_path / "state").exists()


def test_strangers_thing_of_the_same_name_stops_the_run(podman: FakePodman, options: dict[str, Any]) -> None:
    podman.networks = [network({"io.podman.compose.project": "wf"})]
    with pytest.raises(
        PhaseError, match=r"\Astack_run_id: the network .* belongs to the compose project wf"
    ) as failure:
        _stack.run(options, Context())
    assert podman.changes == []
    assert len(failure.value.result["foreign"]) == 1


def test_directory_that_others_may_enter_is_closed(podman: FakePodman, options: dict[str, Any], tmp_path: Path) -> None:
    directory = tmp_path / "state" / NAME
    directory.mkdir(parents=True)
    directory.chmod(0o755)
    assert f"closed {directory} to others" in _stack.run(options, Context())["actions"]
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


@pytest.mark.parametrize("check", [False, True])
def test_passwords_that_the_data_does_not_have_are_refused_before_anything_is_made(
    podman: FakePodman, options: dict[str, Any], check: bool
) -> None:
    podman.volumes = [volume()]
    with pytest.raises(PhaseError, match=r"\Astack_credentials: "):
        _stack.run({**options, "credentials": "generated"}, Context(check=check))
    assert podman.changes == []


def test_fresh_removes_the_passwords_with_the_data(whole: FakePodman, options: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "state" / NAME / "credentials.json"
    path.parent.mkdir(parents=True)
    path.touch()
    options.update(credentials="generated", fresh=True)
    assert f"would remove {path}" in _stack.run(options, Context(check=True))["actions"]
    assert path.exists()
    assert f"removed {path}" in _stack.run(options, Context())["actions"]
    assert not path.exists()


def test_fresh_removes_first(whole: FakePodman, options: dict[str, Any]) -> None:
    result = _stack.run({**options, "fresh": True}, Context())
    assert removed(whole.changes) == ORDER
    assert whole.changes[-1].startswith("network create")
    assert set(result["found"].values()) == {None}


def test_fresh_in_check_mode_removes_nothing(whole: FakePodman, options: dict[str, Any]) -> None:
    result = _stack.run({**options, "fresh": True}, Context(check=True))
    assert whole.changes == []
    assert [action.split()[-1] for action in result["actions"]] == [*ORDER, PLAN["network"]]


def test_machine_without_podman_counts_as_empty(options: dict[str, Any]) -> None:
    context = Context(check=True)
    result = _stack.run({**options, "inspect": False, "podman": "/nonexistent"}, context)
    assert set(result["found"].values()) == {None}


@pytest.mark.parametrize("state", ["present", "absent"])
def test_stack_of_another_run_is_left_alone(
    whole: FakePodman, options: dict[str, Any], tmp_path: Path, state: str
) -> None:
    _stack.run(options, Context())
    _lock.release(str(tmp_path / "state" / NAME / _stack.LOCK), ME)
    _lock.acquire(str(tmp_path / "state" / NAME / _stack.LOCK), _lock.Owner("ci-7", "other boot", 4711, 1), 0)
    whole.changes.clear()
    with pytest.raises(PhaseError, match=r"\Astack_lock_timeout: .* by pid 4711 on ci-7; "):
        _stack.run({**options, "state": state}, Context())
    assert whole.changes == []
    assert (tmp_path / "state" / NAME).is_dir()


def test_absent_leaves_nothing(whole: FakePodman, options: dict[str, Any], tmp_path: Path) -> None:
    _stack.run(options, Context())
    result = _stack.run({**options, "state": "absent"}, Context())
    assert removed(whole.changes) == ORDER
    assert list((tmp_path / "state").iterdir()) == []
    assert result["changed"] is True
    assert _stack.run({**options, "state": "absent"}, Context())["changed"] is False


def test_absent_in_check_mode_leaves_everything(whole: FakePodman, options: dict[str, Any], tmp_path: Path) -> None:
    _stack.run(options, Context())
    whole.changes.clear()
    result = _stack.run({**options, "state": "absent"}, Context(check=True))
    assert whole.changes == []
    assert result["actions"][-1] == "would remove %s" % (tmp_path / "state" / NAME)
    assert (tmp_path / "state" / NAME / "config").is_dir()


def test_what_is_outside_takes_the_place_of_a_container(whole: FakePodman, options: dict[str, Any]) -> None:
    within = {component: name for component, name in options["containers"].items() if component != "redis"}
    result = _stack.run({**options, "containers": within, "outside": {"redis": "redis_external r:1"}}, Context())
    # DataStorage first, as it depends on it; PostgreSQL stays.
    assert removed(whole.changes) == [options["containers"][component] for component in ("datastorage", "redis")]
    assert result["found"]["datastorage"] is None
    assert result["found"]["postgres"] is not None
    result = _stack.run({**options, "containers": within, "outside": {"redis": "redis_external r:1"}}, Context())
    assert result["changed"] is False


def test_teardown_says_what_it_leaves_alone(podman: FakePodman, options: dict[str, Any]) -> None:
    result = _stack.run({**options, "state": "absent", "outside": {"redis": "redis_external r:1"}}, Context())
    assert "  left alone, as it is not of this stack: redis_external r:1" in result["lines"]


def test_released_gives_the_lock_back_and_is_no_change(
    podman: FakePodman, options: dict[str, Any], tmp_path: Path
) -> None:
    _stack.run(options, Context())
    lock = tmp_path / "state" / NAME / _stack.LOCK
    assert _stack.run({**options, "state": "released"}, Context(check=True))["changed"] is False
    assert lock.exists()
    someone = asdict(replace(ME, pid=1))
    _stack.run({**options, "state": "released", "owner": someone}, Context())
    assert lock.exists()
    assert _stack.run({**options, "state": "released"}, Context())["changed"] is False
    assert not lock.exists()


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "/tmp", "a/b", "a/..", "a\n", ".hidden"])  # noqa: S108
@pytest.mark.parametrize("state", ["present", "absent", "released"])
def test_name_that_leads_out_of_the_state_directory_is_refused(
    podman: FakePodman, options: dict[str, Any], tmp_path: Path, name: str, state: str
) -> None:
    """A whole directory of that name is removed."""
    (tmp_path / "state").mkdir()
    with pytest.raises(PhaseError, match=r"\Aname: "):
        _stack.run({**options, "name": name, "state": state}, Context())
    assert (tmp_path / "state").is_dir()
    assert podman.changes == []
