"""A stack's name, folders, ports and addresses come from options, variables and defaults, in this order."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from pathlib import Path

import pytest

from oncelog.settings import Settings as ProgramSettings
from stack import plan
from stack.cache import cache_folder
from stack.cli import chosen
from stack.errors import UsageError
from stack.servers import BY_NAME, DEFAULT, Definition
from stack.settings import PORTS, Settings, read_settings
from stack.state import ServerState, State

ADDRESSES = {
    "temporal": ("TEMPORAL_ADDRESS", "temporal.example:7233"),
    "redis": ("ONCELOG_REDIS_URL", "redis://redis.example:6379/0"),
    "kafka": ("ONCELOG_KAFKA_BOOTSTRAP_SERVERS", "kafka.example:9092"),
    "elasticsearch": ("ONCELOG_ELASTICSEARCH_URL", "http://search.example:9200"),
    "s3": ("ONCELOG_S3_ENDPOINT_URL", "http://s3.example:7070"),
}


def settle(settings: Settings, *names: str, state: State | None = None, running: tuple[str, ...] = ()) -> State:
    """Plan these servers; free ports are 1, 2, 3 ..."""
    state = state or State()
    free = iter(range(1, 100))
    class_schemas = [BY_NAME[name] for name in names]
    plan.settle(class_schemas, state, settings=settings, running=running, reserve=lambda: next(free))
    return state


@pytest.mark.parametrize("name", ADDRESSES)
def test_server_with_an_address_in_the_environment_is_external(name: str) -> None:
    variable, address = ADDRESSES[name]
    state = settle(read_settings({variable: address}, name="x"), name)
    assert state.servers[name] == ServerState(address=address)


def test_own_passes_addresses_over() -> None:
    settings = read_settings(dict(ADDRESSES.values()), name="x", own=True)
    assert settle(settings, "redis").servers["redis"].address is None


def test_own_address_in_the_environment_changes_nothing() -> None:
    known = State(ports={"redis": 16379}, servers={"redis": ServerState()})
    settings = read_settings({"ONCELOG_REDIS_URL": "redis://127.0.0.1:16379/0"}, name="x")
    assert settle(settings, "redis", state=known, running=("redis",)).servers["redis"].address is None


def test_running_server_is_not_replaced_by_an_external_one() -> None:
    known = State(ports={"redis": 16379}, servers={"redis": ServerState()})
    settings = read_settings({"ONCELOG_REDIS_URL": "redis://redis.example/0"}, name="x")
    with pytest.raises(UsageError, match=r"runs at redis://127.0.0.1:16379/0, asked for is ONCELOG_REDIS_URL=.*down"):
        settle(settings, "redis", state=known, running=("redis",))


def test_a_running_server_is_not_silently_left_on_another_port() -> None:
    known = State(ports={"redis": 16379}, servers={"redis": ServerState()})
    with pytest.raises(UsageError, match="asked for is redis port 16380"):
        settle(read_settings({}, name="x", ports={"redis": 16380}), "redis", state=known, running=("redis",))


@pytest.mark.parametrize(
    ("environ", "ports", "expected"),
    [
        ({}, {}, PORTS["toxiproxy"]),
        ({"ONCELOG_STACK_TOXIPROXY_PORT": "18474"}, {}, 18474),
        ({"ONCELOG_STACK_TOXIPROXY_PORT": "18474"}, {"toxiproxy": 18475}, 18475),
    ],
    ids=["default", "variable", "option before variable"],
)
def test_ports_of_the_default_stack(environ: Mapping[str, str], ports: Mapping[str, int], expected: int) -> None:
    assert settle(read_settings(environ, ports=ports), "toxiproxy").ports == {"toxiproxy": expected}


def test_other_stacks_take_free_ports_and_keep_them() -> None:
    settings = read_settings({"ONCELOG_STACK_NAME": "other"})
    state = settle(settings, "redis")
    assert state.ports == {"redis": 1}
    assert settle(settings, "redis", state=State(ports={"redis": 21})).ports == {"redis": 21}


@pytest.mark.parametrize("text", ["0", "65536", "-1", "http"])
def test_a_port_that_cannot_be_is_refused_with_its_source(text: str) -> None:
    expected = re.escape(f"ONCELOG_STACK_S3_PORT: expected a port from 1 to 65535, found {text!r}")
    with pytest.raises(UsageError, match=expected):
        read_settings({"ONCELOG_STACK_S3_PORT": text})


@pytest.mark.parametrize("name", ["../x", "a b", "", "-x", "x" * 64])
def test_a_name_that_cannot_be_a_folder_is_refused(name: str) -> None:
    if name:
        with pytest.raises(UsageError, match="stack name"):
            read_settings({}, name=name)
    else:
        assert read_settings({}, name=name).name == "default"


def test_java_options_are_read_from_their_variable() -> None:
    assert read_settings({}).java_options == ()
    assert read_settings({"ONCELOG_STACK_JAVA_OPTIONS": "-Xss1m  -Xint"}).java_options == ("-Xss1m", "-Xint")


def test_data_folder_is_chosen_by_option_variable_and_name(tmp_path: Path) -> None:
    variable = {"ONCELOG_STACK_DATA_DIR": str(tmp_path / "variable"), "ONCELOG_STACK_NAME": "mine"}
    assert read_settings(variable, data=tmp_path / "option").data == tmp_path / "option"
    assert read_settings(variable).data == tmp_path / "variable"
    assert read_settings({"ONCELOG_STACK_NAME": "mine"}).data.name == "mine"


def test_the_cache_lies_where_the_variable_says(tmp_path: Path) -> None:
    assert cache_folder({"ONCELOG_CACHE_DIR": str(tmp_path)}) == tmp_path


def test_the_cache_of_an_ordinary_account_follows_the_xdg_rules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert cache_folder({"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / "oncelog"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder({}) == tmp_path / "home" / ".cache" / "oncelog"


def test_messages_name_the_command_for_this_very_stack(tmp_path: Path) -> None:
    assert read_settings({}).command("down") == "python -m stack down"
    assert read_settings({}, name="x").command("down") == "python -m stack down --name x"
    assert read_settings({}, data=tmp_path).command("up") == f"python -m stack up --data {tmp_path}"


def test_port_of_a_running_program_of_ours_stays() -> None:
    with socket.create_server(("127.0.0.1", 0)) as worker:
        known = {"worker_metrics": worker.getsockname()[1], "projector_metrics": 3}
        ports = settle(read_settings({}, name="x"), "prometheus", state=State(ports=dict(known))).ports
    assert (ports["worker_metrics"], ports["projector_metrics"]) == (known["worker_metrics"], 3)


@pytest.mark.parametrize(
    ("only", "besides", "expected"),
    [
        (None, None, None),
        ("redis, s3", None, ["redis", "s3"]),
        (None, "prometheus", [*(definition.name for definition in DEFAULT), "prometheus"]),
        ("redis", "prometheus,toxiproxy", ["redis", "prometheus", "toxiproxy"]),
    ],
)
def test_servers_besides_are_added(only: str | None, besides: str | None, expected: list[str] | None) -> None:
    assert chosen(only, besides) == expected


@pytest.mark.parametrize("server", BY_NAME.values(), ids=lambda server: server.name)
def test_programs_take_every_variable_of_a_server(server: Definition, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in server.environment(dict.fromkeys(server.ports, 9)).items():
        monkeypatch.setenv(name, value)
    ProgramSettings.from_environment()
