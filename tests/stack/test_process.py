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

from stack import process, supervisor
from stack.errors import LaunchError
from stack.process import Identity, LaunchSpec

ROOT = Path(__file__).parents[2]
SHELL = "/bin/sh"
WaitUntil = Callable[..., None]


@pytest.fixture
def spec(tmp_path: Path) -> Iterator[LaunchSpec]:
    """A launch spec for a process that waits for ever."""
    spec = LaunchSpec(tmp_path / "server", tmp_path / "server" / "log", [SHELL, "-c", "echo ready; exec sleep 600"])
    yield spec
    process.kill(spec.folder)


def script(spec: LaunchSpec, text: str) -> LaunchSpec:
    return replace(spec, argv=[SHELL, "-c", text])


def has_logged(spec: LaunchSpec, text: str) -> Callable[[], bool]:
    return lambda: spec.log.exists() and text in spec.log.read_text()


def exit_code(spec: LaunchSpec) -> int | None:
    record = process.read_record(spec.folder)
    assert record is not None
    return record.exit_code


def test_stop_ends_a_process_in_order(spec: LaunchSpec, wait_until: WaitUntil) -> None:
    spec = script(spec, "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.05; done")
    record = process.launch(spec)
    wait_until(has_logged(spec, "ready"))
    process.stop(spec.folder)
    assert not record.is_alive()
    assert exit_code(spec) == 3
    assert has_logged(spec, "bye")()
    assert process.marked(spec.folder) == []


def test_stop_kills_what_does_not_listen(spec: LaunchSpec, wait_until: WaitUntil) -> None:
    spec = replace(script(spec, "trap '' TERM; echo ready; while :; do sleep 0.05; done"), stop_timeout_s=0.2)
    record = process.launch(spec)
    wait_until(has_logged(spec, "ready"))
    process.stop(spec.folder, timeout_s=0.2)
    assert not record.is_alive()
    assert exit_code(spec) == -signal.SIGKILL


def test_stop_ends_a_frozen_process(spec: LaunchSpec, wait_until: WaitUntil) -> None:
    record = process.launch(spec)
    wait_until(has_logged(spec, "ready"))
    assert record.server.signal_group(signal.SIGSTOP)
    process.stop(spec.folder)
    assert exit_code(spec) == -signal.SIGTERM


@pytest.mark.parametrize("start", ["sleep 600 &", "setsid sleep 600 &"], ids=["child", "child in a session of its own"])
def test_what_a_server_leaves_behind_ends_with_it(start: str, spec: LaunchSpec, wait_until: WaitUntil) -> None:
    spec = script(spec, f"{start} echo ready; wait; sleep 600")
    process.launch(spec)
    wait_until(has_logged(spec, "ready"))
    wait_until(lambda: len(process.marked(spec.folder)) >= 2)
    process.kill(spec.folder)
    assert process.marked(spec.folder) == []


def test_a_supervisor_cleans_up_after_a_server_that_dies(spec: LaunchSpec, wait_until: WaitUntil) -> None:
    spec = script(spec, "setsid sleep 600 & echo ready; wait; sleep 600")
    record = process.launch(spec)
    wait_until(has_logged(spec, "ready"))
    wait_until(lambda: len(process.marked(spec.folder)) == 2)
    assert record.server.signal(signal.SIGKILL)
    assert record.supervisor.wait_end(10)
    assert process.marked(spec.folder) == []
    assert exit_code(spec) == -signal.SIGKILL


def test_a_server_dies_with_its_supervisor(spec: LaunchSpec) -> None:
    record = process.launch(spec)
    assert record.supervisor.signal(signal.SIGKILL)
    assert record.supervisor.wait_end(10)
    assert record.server.wait_end(10)


def test_a_server_dies_with_its_owner_even_by_sigkill(spec: LaunchSpec) -> None:
    owner = subprocess.Popen(["/bin/sleep", "600"])
    identity = Identity.of(owner.pid)
    assert identity is not None
    record = process.launch(replace(spec, owner=identity))
    assert record.server.is_alive()
    owner.kill()
    owner.wait()
    assert record.supervisor.wait_end(10)
    assert not record.server.is_alive()


def test_nothing_starts_for_an_owner_that_is_gone_already(spec: LaunchSpec) -> None:
    owner = subprocess.Popen(["/bin/sleep", "600"])
    recycled = Identity(owner.pid, 1)  # as if the PID had been given to another process meanwhile
    try:
        with pytest.raises(LaunchError):
            process.launch(replace(spec, owner=recycled))
        assert process.marked(spec.folder) == []
    finally:
        owner.kill()
        owner.wait()


def test_throw_away_data_is_removed_when_the_owner_cannot(spec: LaunchSpec, tmp_path: Path) -> None:
    owner = subprocess.Popen(["/bin/sleep", "600"])
    scratch = tmp_path / "scratch"
    first, second = (replace(spec, folder=scratch / name, log=scratch / name / "log") for name in ("first", "second"))
    identity = Identity.of(owner.pid)
    records = [process.launch(replace(each, owner=identity, scratch=scratch)) for each in (first, second)]
    owner.kill()
    owner.wait()
    assert all(record.supervisor.wait_end(10) for record in records)
    assert not scratch.exists()


def test_a_process_with_a_recycled_pid_is_never_touched(spec: LaunchSpec) -> None:
    stranger = subprocess.Popen(["/bin/sleep", "600"], start_new_session=True)
    try:
        recycled = Identity(stranger.pid, 1)
        spec.folder.mkdir()
        record = {
            "keeper": asdict(recycled),
            "server": asdict(recycled),
            "log": str(spec.log),
            "started_at_s": 0.0,
            "exit": None,
        }
        supervisor.write_json(spec.folder / supervisor.RECORD_NAME, record)
        assert not recycled.is_alive()
        assert not recycled.signal(signal.SIGKILL)
        assert not recycled.signal_group(signal.SIGKILL)
        process.stop(spec.folder)
        process.kill(spec.folder)
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


def test_a_program_that_cannot_be_executed_is_named(spec: LaunchSpec, tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match=r"could not execute .*missing: No such file or directory"):
        process.launch(replace(spec, argv=[str(tmp_path / "missing")]))
    assert process.marked(spec.folder) == []


def test_a_system_that_is_not_linux_is_told_the_other_way(spec: LaunchSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(LaunchError, match=r"Linux 5\.3 or newer only.*docker-compose\.temporal\.yml"):
        process.launch(spec)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process as somebody else")
def test_process_of_another_account_dies_with_its_supervisor(spec: LaunchSpec) -> None:
    nobody = process.User("nobody", 65534, 65534)
    spec = replace(spec, user=nobody)
    record = process.launch(spec)
    assert Path(f"/proc/{record.server.pid}").stat().st_uid == nobody.uid
    assert record.supervisor.signal(signal.SIGKILL)
    assert record.server.wait_end(10)


def test_the_supervisor_needs_nothing_but_the_standard_library() -> None:
    code = (
        "import runpy, sys; runpy.run_path(sys.argv[1]); assert not [n for n in sys.modules if n.startswith('stack')]"
    )
    subprocess.run([sys.executable, "-I", "-S", "-c", code, supervisor.__file__], check=True, cwd="/")
