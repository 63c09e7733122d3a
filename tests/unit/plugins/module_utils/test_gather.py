# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collectors of the evidence: bounded, independent of one another, and silent about secrets."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.kubernaut.integration.plugins.module_utils import _causes, _diagnose, _gather
from ansible_collections.kubernaut.integration.plugins.module_utils._gather import (
    Budget,
    GapError,
    HastyPodman,
    Look,
    bounded,
    ended,
    event_line,
    published,
    queue_error,
    seconds,
)
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import PhaseError
from ansible_collections.kubernaut.integration.plugins.module_utils._plan import plan
from ansible_collections.kubernaut.integration.plugins.module_utils._podman import Answer, Podman

PLAN = plan({})
SECRET = "test_password"


def container(component: str, status: str = "running", **changes: Any) -> dict[str, Any]:
    name = PLAN["containers"][component]
    return {
        "Id": component,
        "Name": name,
        "State": {"Running": status == "running", "Status": status, "StartedAt": "", "ExitCode": 0, **changes},
        "HostConfig": {"PortBindings": {"5432/tcp": [{"HostIp": "127.0.0.1", "HostPort": "15999"}]}},
        "Config": {
            "Env": ["POSTGRES_PASSWORD=hunter2"],
            "CreateCommand": ["podman", "run", SECRET],
            "Labels": PLAN["labels"],
        },
    }


@pytest.fixture(name="options")
def _options() -> dict[str, Any]:
    spec = {name: option.get("default") for name, option in _diagnose.PHASE.argument_spec.items()}
    return {**spec, "ports": {}, "name": PLAN["name"], "containers": PLAN["containers"], "password": SECRET}


@pytest.fixture(name="look")
def _look(options: dict[str, Any], tmp_path: Path) -> Look:
    return Look(options, str(tmp_path), Budget(5.0))


@pytest.fixture(name="said")
def _said(monkeypatch: pytest.MonkeyPatch) -> dict[str, Answer]:
    """Answers of podman by its first argument."""
    answers: dict[str, Answer] = {}
    monkeypatch.setattr(_gather.shutil, "which", lambda name, **_more: name)
    monkeypatch.setattr(Podman, "call", lambda _self, *arguments, **_more: answers[arguments[0]])
    return answers


# ----------------------------------------------------------------------------------------------------------- bounds


@pytest.mark.parametrize(
    ("health_port", "place"), [(0, "datastorage_port (18100)"), (2, "datastorage_health_port (2)")]
)
@pytest.mark.parametrize(("state", "marks"), [("body", ()), ("refused", (_causes.OUTSIDE,)), ("refused", ())])
def test_sentences_name_the_port_that_was_asked(
    options: dict[str, Any], tmp_path: Path, health_port: int, place: str, state: str, marks: tuple[str, ...]
) -> None:
    given = {"hosts": PLAN["hosts"], "ports": {"datastorage": 18100}, "health_port": health_port}
    values = Look({**options, **given}, str(tmp_path), Budget(5.0)).values("datastorage")
    said = str(
        _causes.explain(_causes.Evidence(_causes.DATASTORAGE, state, "why", marks=frozenset(marks), values=values))
    )
    assert "?" not in said
    assert (place if state == "body" else str(health_port or 18100)) in said


@pytest.mark.parametrize("length", [0, 10, 100])
def test_a_short_text_stays_as_it_is(length: int) -> None:
    assert bounded("x" * length, 100) == "x" * length


def test_a_long_text_keeps_its_begin_and_above_all_its_end() -> None:
    lines = ["line %04d" % number for number in range(1000)]
    text = bounded("\n".join(lines) + "\n", 1000).splitlines()
    assert text[0] == lines[0]
    assert text[-1] == lines[-1]
    cut = text.index(next(line for line in text if line.startswith("[... ")))
    assert text[cut] == "[... 9010 characters are left out here ...]"
    # Whole lines only, three times as many of the end.
    assert text[:cut] == lines[:cut]
    assert text[cut + 1 :] == lines[cut + 1 - len(text) :]
    assert 20 < cut < 30 < 70 < len(text) - cut < 80


def test_one_long_line_is_cut_all_the_same() -> None:
    text = bounded("x" * 10_000, 100)
    assert len(text) < 200
    assert "9900 characters are left out" in text


def test_the_budget_is_never_negative() -> None:
    now = [0.0]
    budget = Budget(2.0, clock=lambda: now[0])
    assert budget.left() == 2.0
    now[0] = 5.0
    assert budget.left() == 0.0


@pytest.mark.parametrize(("left", "asked", "given"), [(9.0, 60.0, 3.0), (9.0, 1.0, 1.0), (0.5, 60.0, 0.6)])
def test_podman_is_given_what_is_left(left: float, asked: float, given: float, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(Podman, "call", lambda _self, *_arguments, timeout, **_more: seen.append(timeout))
    HastyPodman("podman", Budget(left, clock=lambda: 0.0)).call("info", timeout=asked)
    assert seen == [pytest.approx(given)]


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("1970-01-01T00:00:10Z", 10.0),
        ("1970-01-01T01:00:10.5+01:00", 10.5),
        ("1970-01-01T00:00:10.123456789Z", 10.123456789),
        ("0001-01-01T00:00:00Z", -62135596800.0),
        ("", 0.0),
        ("soon", 0.0),
    ],
)
def test_moments_of_podman(moment: str, expected: float) -> None:
    assert seconds(moment) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("status", "expected"), [("exited", True), ("stopped", True), ("created", False), ("running", False)]
)
def test_ended(status: str, expected: bool) -> None:
    assert ended(container("redis", status)) is expected


def test_published_port() -> None:
    assert published(container("postgres")) == 15999
    assert published({"HostConfig": {"PortBindings": None}}) == 0
    assert published({"HostConfig": {"PortBindings": {"80/tcp": None}}}) == 0


# ------------------------------------------------------------------------------------------------------------- look


def test_a_published_port_counts_more_than_a_variable(look: Look) -> None:
    look.options["ports"]["postgres"] = 1  # type: ignore[index]
    assert look.port("postgres") == 1
    look.found["postgres"] = container("postgres")
    assert look.port("postgres") == 15999
    assert look.port("redis") == 0


def write(directory: Path, **files: str) -> None:
    for name, text in files.items():
        path = directory / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_whoever_asks_what_is_wrong_need_not_know_the_passwords(options: dict[str, Any], tmp_path: Path) -> None:
    write(
        tmp_path,
        config__postgres__password="of-the-stack\n",
        config__redis__redis_dot_conf="port 6379\nrequirepass of-redis\n",
        stack_dot_env="POSTGRES_PASSWORD=of-a-suite\n",
    )
    look = Look({**options, "password": None}, str(tmp_path), Budget(5.0))
    assert look.access()["postgres_password"] == "of-the-stack"
    assert look.access()["redis_password"] == "of-redis"
    assert look.mask("of-the-stack of-redis of-a-suite") == " ".join(["********"] * 3)
    given = Look({**options, "redis_password": ""}, str(tmp_path), Budget(5.0))
    assert given.access()["postgres_password"] == SECRET
    assert given.access()["redis_password"] == ""
    assert given.mask("of-the-stack of-redis of-a-suite " + SECRET) == " ".join(["********"] * 4)


def test_the_configuration_is_kept_without_secrets(options: dict[str, Any], tmp_path: Path) -> None:
    write(
        tmp_path,
        config__postgres__password="hunter2",
        config__datastorage__db_dot_yaml='username: "slm_user"\npassword: "hunter2"\n',
        config__config_dot_key="0123456789abcdef",
    )
    look = Look(options, str(tmp_path), Budget(5.0))
    look.configuration()
    text = look.harvest.files["configuration.txt"]
    assert "hunter2" not in text
    assert "0123456789abcdef" not in text
    assert 'username: "slm_user"\npassword: ********\n' in text
    assert "==> config/postgres/password (mode 0" in text


def test_without_files_the_configuration_is_a_gap(look: Look) -> None:
    with pytest.raises(GapError, match="holds no files that containers read"):
        look.configuration()


def test_an_inspect_that_fails_is_a_gap(look: Look, said: dict[str, Answer]) -> None:
    said["inspect"] = Answer(124, "", "no answer within 3 s")
    look.inspect()
    assert look.found == {}
    assert "no answer within 3 s" in look.harvest.gaps["podman"]


def test_what_somebody_else_made_is_left_alone(look: Look, said: dict[str, Answer]) -> None:
    foreign = {**container("redis"), "Config": {"Labels": {"io.podman.compose.project": "theirs"}}}
    said["inspect"] = Answer(0, json.dumps([foreign]), "")
    look.inspect()
    assert look.found == {}
    assert "not a container of this stack" in look.harvest.gaps[foreign["Name"]]


def test_the_containers_are_found_by_their_names(look: Look, said: dict[str, Answer]) -> None:
    said["inspect"] = Answer(125, json.dumps([container("redis")]), "Error: no such container x")
    look.inspect()
    assert list(look.found) == ["redis"]


def test_every_file_is_masked(look: Look, said: dict[str, Answer]) -> None:
    said["logs"] = Answer(0, "\x1b[31mpassword %s\x1b[0m\n" % SECRET, "")
    look.found["redis"] = container("redis")
    collectors = look.what()
    collectors["log of workflowexecution_redis_1"]()
    assert look.harvest.files["workflowexecution_redis_1.log"] == "password ********\n"
    inspected = look.harvest.files["workflowexecution_redis_1_inspect.json"]
    assert SECRET not in inspected
    assert "hunter2" not in inspected
    assert json.loads(inspected)["Config"]["CreateCommand"] == ["podman", "run", "********"]


@pytest.mark.parametrize("end", _gather.FILES)
def test_every_kind_of_file_that_is_described_is_written(end: str) -> None:
    assert Path(_gather.__file__).read_text().count('"%s"' % end) >= 2


def test_machines_without_podman_are_not_asked_for_it(look: Look) -> None:
    look.podman.executable = "/nonexistent/podman"
    look.inspect()
    assert not [name for name in look.what() if "podman" in name]


def test_a_dead_service_is_not_asked(look: Look) -> None:
    """Somebody else may have taken its port."""
    look.found.update(postgres=container("postgres", "exited"), redis=container("redis", "exited"))
    for collect in (look.database, look.server, look.queues, look.redis_server):
        with pytest.raises(GapError, match=r"_1 does not run$"):
            collect()


def test_free_space_is_told_for_every_place_once(look: Look, tmp_path: Path) -> None:
    look.options["storage"] = str(tmp_path)  # type: ignore[index]
    look.disk()
    places = [line.split(": ")[0] for line in look.harvest.files["disk.txt"].splitlines()]
    assert places[0] == "/"
    assert str(tmp_path) in places
    assert len(places) == len(set(places))


def test_who_listens_at_the_ports(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_gather._ports, "taken", lambda port: ["127.0.0.1"] if port == 15999 else [])
    monkeypatch.setattr(_gather._ports, "owner", lambda _port, _address: "nginx (pid 7)")
    look.options["ports"].update(postgres=15999, redis=16999, datastorage=None)
    look.ports()
    assert look.harvest.files["ports.txt"] == (
        "postgres_port 15999: 127.0.0.1 by nginx (pid 7)\nredis_port 16999: nobody listens\n"
    )


def test_the_kernel_is_asked_about_everybody(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_gather._evidence, "kernel_log", lambda identity, _since=0.0: ["oom-kill: %r" % identity])
    look.kernel()
    assert look.harvest.files["kernel.txt"] == "oom-kill: ''\n"


def test_why_asks_the_living_and_explains_the_dead(look: Look, said: dict[str, Answer]) -> None:
    said["logs"] = Answer(0, "", "CONFIG_PATH not set\n")
    look.found["datastorage"] = container("datastorage", "exited", ExitCode=1)
    (collect,) = look.why().values()
    collect()
    assert look.harvest.ends["datastorage"].id == "config-path-missing"
    assert look.harvest.answers == {}


def test_a_container_that_never_started_says_why(look: Look, said: dict[str, Answer]) -> None:
    said["logs"] = Answer(0, "", "")
    look.found["redis"] = container("redis", "created", Error="listen tcp 127.0.0.1:1: bind: address already in use")
    look.end("redis")
    assert look.harvest.ends["redis"].id == "port-taken"


# --------------------------------------------------------------------------------------------------------- together


def test_one_collector_that_fails_does_not_stop_the_others(look: Look) -> None:
    def fail(error: Exception) -> Callable[[], None]:
        def collect() -> None:
            raise error

        return collect

    harvest = look.gather(
        {
            "gap": fail(GapError("it is not there\nreally")),
            "phase": fail(PhaseError("Nothing answers: start it.\nmore")),
            "library": fail(ModuleNotFoundError("No module named 'psycopg'", name="psycopg")),
            "bug": fail(ValueError("the password is " + SECRET)),
            "silent": fail(GapError("")),
            "good": lambda: look.keep("good.txt", "fine"),
        }
    )
    assert harvest.files == {"good.txt": "fine"}
    assert harvest.gaps == {
        "gap": "it is not there",
        "phase": "Nothing answers: start it.",
        "library": "the Python library psycopg is missing",
        "bug": "ValueError: the password is ********",
        "silent": "no reason was given",
    }


def test_a_collector_that_hangs_is_left_behind(options: dict[str, Any], tmp_path: Path) -> None:
    look = Look(options, str(tmp_path), Budget(0.2))
    go = threading.Event()

    def hang() -> None:
        look.keep("early.txt", "this was known before")
        go.wait(10)
        look.keep("late.txt", "too late")

    begin = time.monotonic()
    harvest = look.gather({"hanging": hang, "good": lambda: look.keep("good.txt", "fine")})
    assert time.monotonic() - begin < 2
    assert harvest.gaps == {"hanging": "no end within 0.2 s"}
    go.set()
    time.sleep(0.05)
    assert harvest.files == {"early.txt": "this was known before", "good.txt": "fine"}


def test_a_podman_that_hangs_leaves_time_for_the_others(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that waits for its disk cannot even be killed."""
    go = threading.Event()
    monkeypatch.setattr(_gather, "CALL_TIMEOUT", 0.0)
    monkeypatch.setattr(_gather.shutil, "which", lambda name: name)
    monkeypatch.setattr(Podman, "call", lambda _self, *_arguments, **_more: go.wait(10))
    look.inspect()
    assert look.harvest.gaps == {"podman": "no end within 0.5 s"}
    assert look.budget.left() > 3
    go.set()


def test_a_machine_without_threads(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    harvest = look.gather({"good": lambda: look.keep("good.txt", "fine")})
    assert harvest.gaps == {"good": "RuntimeError: can't start new thread"}


# ----------------------------------------------------------------------------------------------- podman and Redis


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (
            {"Name": "x", "Status": "died", "Time": "2025-11-24T15:15:53.19Z", "ContainerExitCode": 137},
            "2025-11-24T15:15:53.19Z x died (exit status 137)\n",
        ),
        ({"Name": "x", "Status": "start", "time": 10}, "1970-01-01T00:00:10Z x start\n"),
        ({"Name": "x", "Status": "start", "time": 10, "ContainerExitCode": None}, "1970-01-01T00:00:10Z x start\n"),
    ],
)
def test_events_of_podman_4_and_5(event: dict[str, Any], line: str) -> None:
    assert event_line(event) == line


def test_an_entry_of_a_queue_is_told_without_the_event() -> None:
    message = {"type": "audit_event", "payload": {"correlation_id": "c", "actor_id": "me"}, "last_error": "no table"}
    assert queue_error("1-0", {"message": json.dumps(message), "moved_at": "now"}) == {
        "id": "1-0",
        "moved_at": "now",
        "type": "audit_event",
        "last_error": "no table",
        "correlation_id": "c",
    }


@pytest.mark.parametrize("fields", [{}, {"message": "no JSON"}, {"message": "[]"}, {"message": '{"payload": 1}'}])
def test_an_entry_that_is_none_of_ours(fields: dict[str, str]) -> None:
    assert queue_error("1-0", fields) == {"id": "1-0"}
