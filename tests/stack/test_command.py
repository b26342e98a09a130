"""`python -m stack`, as a person uses it; with the two servers that start at once."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from stack import process

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
Command = Callable[..., subprocess.CompletedProcess[str]]
WaitUntil = Callable[..., None]
SOME = ("up", "--only", "redis,s3")


def test_up_status_env_logs_down(command: Command, tmp_path: Path) -> None:
    up = command(*SOME)
    assert up.returncode == 0, up.stderr
    assert "is up" in up.stdout

    status = command("status", "--json")
    assert status.returncode == 0
    reports = {report["server"]: report for report in json.loads(status.stdout)}
    assert set(reports) == {"redis", "s3"}
    for report in reports.values():
        assert report["healthy"]
        assert report["memory_bytes"] > 0
        assert Path(f"/proc/{report['pid']}").exists()
    assert "redis" in command("status").stdout

    variables = json.loads(command("env", "--json").stdout)
    exports = [shlex.split(line) for line in command("env").stdout.splitlines()]
    assert [export[0] for export in exports] == ["export"] * len(variables)
    assert dict(export[1].split("=", 1) for export in exports) == variables
    assert variables["ONCELOG_S3_BUCKET"] == "oncelog"
    assert {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "ONCELOG_REDIS_URL"} <= set(variables)

    assert "Ready to accept connections" in command("logs", "redis").stdout

    down = command("down")
    assert down.returncode == 0
    assert "redis" in down.stdout
    for name in ("redis", "s3"):
        assert process.marked(tmp_path / "data" / name) == []
    assert command("status").returncode == 3


def test_up_leaves_what_runs_alone_and_starts_what_died(command: Command) -> None:
    command(*SOME)
    before = {report["server"]: report["pid"] for report in json.loads(command("status", "--json").stdout)}
    again = command(*SOME)
    assert again.returncode == 0
    assert "was running already" in again.stdout

    os.kill(before["redis"], signal.SIGKILL)
    died = command("status", "--json")
    assert died.returncode == 3
    assert "SIGKILL" in json.loads(died.stdout)[0]["problem"]
    assert command(*SOME).returncode == 0
    after = {report["server"]: report["pid"] for report in json.loads(command("status", "--json").stdout)}
    assert after["s3"] == before["s3"]
    assert after["redis"] != before["redis"]


def test_data_outlives_down_and_does_not_outlive_wipe(command: Command, tmp_path: Path) -> None:
    command("up", "--only", "redis")
    assert redis(command, "SET kept yes") == "+OK"
    command("down")
    command("up", "--only", "redis")
    assert redis(command, "GET kept") == "$3\r\nyes"
    command("down", "--wipe")
    assert not (tmp_path / "data").exists()


def test_wipe_leaves_what_is_not_the_stacks(command: Command, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "letter").write_text("dear")
    command("up", "--only", "redis")
    command("down", "--wipe")
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["letter"]


def test_a_taken_port_is_an_error_that_says_whose_it_is(command: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        up = command("up", "--only", "redis", "--redis-port", str(port))
    assert up.returncode == 3
    assert f"port {port}, wanted for redis, is taken by" in up.stderr
    assert f"(pid {os.getpid()})" in up.stderr


def test_server_that_dies_at_start_reports_its_log(command: Command, tmp_path: Path) -> None:
    broken = tmp_path / "data" / "redis" / "data" / "appendonlydir"
    broken.mkdir(parents=True)
    (broken / "appendonly.aof.manifest").write_text("rubbish\n")
    up = command(*SOME)
    assert up.returncode == 3
    assert "redis died (exit code 1) before it was healthy" in up.stderr
    assert f"its log is {tmp_path / 'data' / 'redis' / 'log'}" in up.stderr
    assert "Invalid AOF manifest file format" in up.stderr, "the last lines of the log"
    assert process.marked(tmp_path / "data" / "s3") == [], "what this command had started is stopped again"


def test_a_server_run_by_others_is_only_checked(command: Command, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
    up = command("up", "--only", "redis", ONCELOG_REDIS_URL=url)
    assert up.returncode == 3
    assert f"ONCELOG_REDIS_URL is set to {url}" in up.stderr

    command("up", "--only", "redis", "--own")
    own = json.loads(command("env", "--json").stdout)["ONCELOG_REDIS_URL"]
    other = {"ONCELOG_REDIS_URL": own, "ONCELOG_STACK_DATA_DIR": str(tmp_path / "other")}
    assert "run by others" in command("up", "--only", "redis", **other).stderr
    [report] = json.loads(command("status", "--json", **other).stdout)
    assert (report["healthy"], report["run_by_others"], report["pid"]) == (True, True, None)
    assert command("down", **other).returncode == 0
    assert command("status").returncode == 0, "it still runs, since it was not the other stack's to end"


@pytest.mark.parametrize(
    "arguments",
    [("up", "--only", "redys"), ("up", "--redis-port", "none"), ("logs", "kafka"), ("dance",), ("up", "--name", "a/b")],
)
def test_a_request_that_makes_no_sense_ends_with_2(arguments: tuple[str, ...], command: Command) -> None:
    command("up", "--only", "redis")
    assert command(*arguments).returncode == 2


def test_queries_about_a_stack_that_is_down_exit_with_3(command: Command) -> None:
    for verb in ("env", "status", "logs"):
        result = command(verb)
        assert result.returncode == 3
        assert "Bring it up with: python -m stack up" in result.stderr
    assert command("down").returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_foreground_servers_end_with_their_command(
    number: signal.Signals, tmp_path: Path, wait_until: WaitUntil
) -> None:
    folders = [tmp_path / "redis", tmp_path / "s3"]
    with foreground(tmp_path) as running:
        wait_until_up(running)
        assert all(process.marked(folder) for folder in folders)
        running.send_signal(number)
        running.wait()
    wait_until(lambda: not any(process.marked(folder) for folder in folders))
    assert running.returncode == (-signal.SIGKILL if number == signal.SIGKILL else 0)


def test_foreground_servers_end_with_their_parent(tmp_path: Path, wait_until: WaitUntil) -> None:
    folders = [tmp_path / "redis", tmp_path / "s3"]
    shell = ["/bin/sh", "-c", f"{shlex.join(foreground_arguments(tmp_path))}; true"]
    with subprocess.Popen(shell, cwd=ROOT, stderr=subprocess.PIPE, text=True) as parent:
        wait_until_up(parent)
        assert all(process.marked(folder) for folder in folders)
        parent.kill()
        parent.wait()
        wait_until(lambda: not any(process.marked(folder) for folder in folders))


def foreground_arguments(data: Path) -> list[str]:
    options = ["--own", "--free-ports", "--data", str(data), "--name", "test"]
    return [sys.executable, "-m", "stack", *SOME, "--foreground", *options]


def foreground(data: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(foreground_arguments(data), cwd=ROOT, stderr=subprocess.PIPE, text=True)


def wait_until_up(running: subprocess.Popen[str]) -> None:
    assert running.stderr is not None
    lines = []
    for line in running.stderr:
        if "until this command ends" in line:
            return
        lines.append(line)
    pytest.fail("".join(lines))


def redis(command: Command, words: str) -> str:
    """The answers of Redis."""
    url = json.loads(command("env", "--json").stdout)["ONCELOG_REDIS_URL"]
    port = int(url.rsplit(":", 1)[1].split("/")[0])
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"{words}\r\n".encode())
        return connection.recv(100).decode().strip()
