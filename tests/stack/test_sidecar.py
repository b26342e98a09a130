"""A program that runs beside the servers lives until the stack is taken down."""

import sys
from pathlib import Path

import pytest

from stack.errors import LaunchError, ServerDiedError
from stack.process import read_record
from stack.sidecar import run_beside
from stack.stack import SIDECARS, Stack

pytestmark = pytest.mark.integration

SAY_AND_STAY = "import os, sys, time; print(os.environ['ONCELOG_REDIS_URL'], flush=True); time.sleep(600)"


def pid_of(stack: Stack, name: str) -> int | None:
    record = read_record(stack.data / SIDECARS / name)
    return record.server.pid if record is not None and record.server.is_alive() else None


def test_sidecar_is_replaced_and_ends_with_the_servers():
    with Stack.temporary(["redis"]) as stack:
        url = stack.environment()["ONCELOG_REDIS_URL"]
        log = run_beside(stack, "sayer", [sys.executable, "-c", SAY_AND_STAY], until=url)
        assert log.read_text().strip() == url
        first = pid_of(stack, "sayer")
        run_beside(stack, "sayer", [sys.executable, "-c", SAY_AND_STAY], until=url)
        second = pid_of(stack, "sayer")
        assert None not in (first, second)
        assert first != second
        assert set(stack.down()) == {"redis", "sayer"}
        assert pid_of(stack, "sayer") is None
        assert not Path(f"/proc/{second}").exists()


def test_one_that_ends_at_once_is_an_error_with_its_words():
    with Stack.temporary(["redis"]) as stack, pytest.raises(ServerDiedError, match="not today"):
        run_beside(stack, "sayer", [sys.executable, "-c", "import sys; sys.exit('not today')"], until="ready")


def test_a_program_that_is_not_there_is_named():
    with Stack.temporary(["redis"]) as stack, pytest.raises(LaunchError, match=r"nowhere/program"):
        run_beside(stack, "sayer", ["./nowhere/program"])
