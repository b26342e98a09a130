"""Fixtures of the stack's own tests: waiting for conditions, programs that pretend, and one full stack."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stack import Stack

ROOT = Path(__file__).parents[2]
POLL_S = 0.02


def wait_until(condition: Callable[[], object], *, timeout_s: float = 30) -> None:
    """Return once `condition` holds, or fail the test."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not true within {timeout_s} s"
        time.sleep(POLL_S)


@pytest.fixture(name="wait_until")
def _wait_until() -> Callable[..., None]:
    return wait_until


@pytest.fixture
def fake_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Put a program on the PATH that prints something."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def put(name: str, output: str) -> Path:
        program = folder / name
        program.write_text(f"#!/bin/sh\ncat <<'END'\n{output}\nEND\n")
        program.chmod(0o755)
        return program

    return put


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """Run `python -m stack` on a stack of this test's own, which is ended afterwards."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("ONCELOG_STACK", "TEMPORAL_"))}
    for name in ("REDIS_URL", "S3_ENDPOINT_URL", "ELASTICSEARCH_URL", "KAFKA_BOOTSTRAP_SERVERS"):
        environ.pop(f"ONCELOG_{name}", None)
    environ |= {"ONCELOG_STACK_DATA_DIR": str(tmp_path / "data"), "ONCELOG_STACK_NAME": "test"}

    def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "stack", *arguments]
        return subprocess.run(argv, cwd=ROOT, env=environ | more, capture_output=True, text=True, check=False)

    yield run
    run("down", "--wipe")


@pytest.fixture(scope="session")
def full_stack() -> Iterator[Stack]:
    """All servers, on free ports, with throw-away data."""
    with Stack.temporary() as stack:
        yield stack
