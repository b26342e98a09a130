"""Processes are started detached, ended for certain, and never confused with strangers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from stack import keeper, process
from stack.errors import LaunchError
from stack.process import Identity, Order

ROOT = Path(__file__).parents[2]
SHELL = "/bin/sh"
WaitUntil = Callable[..., None]


@pytest.fixture
def order(tmp_path: Path) -> Iterator[Order]:
    """An order for a process that waits for ever."""
    order = Order(tmp_path / "server", tmp_path / "server" / "log", [SHELL, "-c", "echo ready; exec sleep 600"])
    yield order
    process.kill(order.folder)


def script(order: Order, text: str) -> Order:
    return replace(order, argv=[SHELL, "-c", text])


def has_logged(order: Order, text: str) -> Callable[[], bool]:
    return lambda: order.log.exists() and text in order.log.read_text()


def exit_code(order: Order) -> int | None:
    record = process.read_record(order.folder)
    assert record is not None
    return record.exit_code


def test_stop_ends_a_process_in_order(order: Order, wait_until: WaitUntil) -> None:
    order = script(order, "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.05; done")
    record = process.launch(order)
    wait_until(has_logged(order, "ready"))
    process.stop(order.folder)
    assert not record.is_alive()
    assert exit_code(order) == 3
    assert has_logged(order, "bye")()
    assert process.marked(order.folder) == []


def test_stop_kills_what_does_not_listen(order: Order, wait_until: WaitUntil) -> None:
    order = replace(script(order, "trap '' TERM; echo ready; while :; do sleep 0.05; done"), stop_timeout_s=0.2)
    record = process.launch(order)
    wait_until(has_logged(order, "ready"))
    process.stop(order.folder, timeout_s=0.2)
    assert not record.is_alive()
    assert exit_code(order) == -signal.SIGKILL


def test_stop_ends_a_frozen_process(order: Order, wait_until: WaitUntil) -> None:
    record = process.launch(order)
    wait_until(has_logged(order, "ready"))
    assert record.server.signal_group(signal.SIGSTOP)
    process.stop(order.folder)
    assert exit_code(order) == -signal.SIGTERM


@pytest.mark.parametrize("start", ["sleep 600 &", "setsid sleep 600 &"], ids=["child", "child in a session of its own"])
def test_what_a_server_leaves_behind_ends_with_it(start: str, order: Order, wait_until: WaitUntil) -> None:
    order = script(order, f"{start} echo ready; wait; sleep 600")
    process.launch(order)
    wait_until(has_logged(order, "ready"))
    wait_until(lambda: len(process.marked(order.folder)) >= 2)
    process.kill(order.folder)
    assert process.marked(order.folder) == []


def test_a_keeper_cleans_up_after_a_server_that_dies(order: Order, wait_until: WaitUntil) -> None:
    order = script(order, "setsid sleep 600 & echo ready; wait; sleep 600")
    record = process.launch(order)
    wait_until(has_logged(order, "ready"))
    wait_until(lambda: len(process.marked(order.folder)) == 2)
    assert record.server.signal(signal.SIGKILL)
    assert record.keeper.wait_end(10)
    assert process.marked(order.folder) == []
    assert exit_code(order) == -signal.SIGKILL


def test_a_server_dies_with_its_keeper(order: Order) -> None:
    record = process.launch(order)
    assert record.keeper.signal(signal.SIGKILL)
    assert record.keeper.wait_end(10)
    assert record.server.wait_end(10)


def test_a_server_dies_with_its_owner_even_by_sigkill(order: Order) -> None:
    owner = subprocess.Popen(["/bin/sleep", "600"])
    identity = Identity.of(owner.pid)
    assert identity is not None
    record = process.launch(replace(order, owner=identity))
    assert record.server.is_alive()
    owner.kill()
    owner.wait()
    assert record.keeper.wait_end(10)
    assert not record.server.is_alive()


def test_nothing_starts_for_an_owner_that_is_gone_already(order: Order) -> None:
    owner = subprocess.Popen(["/bin/sleep", "600"])
    recycled = Identity(owner.pid, 1)  # as if the PID had been given to another process meanwhile
    try:
        with pytest.raises(LaunchError):
            process.launch(replace(order, owner=recycled))
        assert process.marked(order.folder) == []
    finally:
        owner.kill()
        owner.wait()


def test_throw_away_data_is_removed_when_the_owner_cannot(order: Order, tmp_path: Path) -> None:
    owner = subprocess.Popen(["/bin/sleep", "600"])
    scratch = tmp_path / "scratch"
    first, second = (replace(order, folder=scratch / name, log=scratch / name / "log") for name in ("first", "second"))
    identity = Identity.of(owner.pid)
    records = [process.launch(replace(each, owner=identity, scratch=scratch)) for each in (first, second)]
    owner.kill()
    owner.wait()
    assert all(record.keeper.wait_end(10) for record in records)
    assert not scratch.exists()


def test_a_process_with_a_recycled_pid_is_never_touched(order: Order) -> None:
    stranger = subprocess.Popen(["/bin/sleep", "600"], start_new_session=True)
    try:
        recycled = Identity(stranger.pid, 1)
        order.folder.mkdir()
        record = {
            "keeper": asdict(recycled),
            "server": asdict(recycled),
            "log": str(order.log),
            "started_at_s": 0.0,
            "exit": None,
        }
        keeper.write_json(order.folder / keeper.RECORD_NAME, record)
        assert not recycled.is_alive()
        assert not recycled.signal(signal.SIGKILL)
        assert not recycled.signal_group(signal.SIGKILL)
        process.stop(order.folder)
        process.kill(order.folder)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_zombie_counts_as_gone() -> None:
    child = subprocess.Popen(["/bin/sleep", "600"])
    identity = Identity.of(child.pid)
    assert identity is not None
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # ended, and not yet collected
    assert not identity.is_alive()
    assert Identity.of(child.pid) is None
    child.wait()


def test_a_program_that_cannot_be_executed_is_named(order: Order, tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match=r"could not execute .*missing: No such file or directory"):
        process.launch(replace(order, argv=[str(tmp_path / "missing")]))
    assert process.marked(order.folder) == []


def test_a_system_that_is_not_linux_is_told_the_other_way(order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(LaunchError, match=r"Linux 5\.3 or newer only.*docker-compose\.temporal\.yml"):
        process.launch(order)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process as somebody else")
def test_a_process_of_another_account_dies_with_its_keeper_too(order: Order) -> None:
    nobody = process.User("nobody", 65534, 65534)
    order = replace(order, user=nobody)
    record = process.launch(order)
    assert Path(f"/proc/{record.server.pid}").stat().st_uid == nobody.uid
    assert record.keeper.signal(signal.SIGKILL)
    assert record.server.wait_end(10)


def test_the_keeper_needs_nothing_but_the_standard_library() -> None:
    code = (
        "import runpy, sys; runpy.run_path(sys.argv[1]); assert not [n for n in sys.modules if n.startswith('stack')]"
    )
    subprocess.run([sys.executable, "-I", "-S", "-c", code, keeper.__file__], check=True, cwd="/")
