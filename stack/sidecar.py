"""Programs that run beside the servers until the stack is taken down, such as a worker to look around with."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from stack import process, tools
from stack.errors import LaunchError, ServerDiedError, UnreachableError
from stack.process import LaunchSpec
from stack.stack import SIDECAR_STOP_TIMEOUT_S, SIDECARS, Stack

POLL_S = 0.05
START_TIMEOUT_S = 60.0


def run_beside(stack: Stack, name: str, argv: Sequence[str], *, until: str | None = None) -> Path:
    """Start a program with the stack's variables in its environment, and return the path of its log.

    One of that name that runs already is ended first. `until`: a text in its log to wait for. Raises `LaunchError`,
    `ServerDiedError`, `UnreachableError`.
    """
    folder = stack.data / SIDECARS / name
    log = folder / "log"
    program = tools.find_program(argv[0]) or Path(argv[0]).resolve()
    if not program.is_file():
        raise LaunchError(f"could not start {name}: there is no program {argv[0]}")
    process.stop(folder, timeout_s=SIDECAR_STOP_TIMEOUT_S)
    folder.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    process.launch(
        LaunchSpec(
            folder=folder,
            log=log,
            argv=[str(program), *argv[1:]],
            environment={**os.environ, **stack.environment()},
            working_directory=Path.cwd(),
            stop_timeout_s=SIDECAR_STOP_TIMEOUT_S,
        )
    )
    if until is not None:
        await_text(name, folder, until)
    return log


def await_text(name: str, folder: Path, text: str) -> None:
    """Wait until a program has written the text."""
    log = folder / "log"
    deadline = time.monotonic() + START_TIMEOUT_S
    while text not in log.read_text(errors="replace"):
        record = process.read_record(folder)
        if record is None or not record.server.is_alive():
            raise ServerDiedError(f"{name} ended at once; its log is {log}\n{process.log_tail(log)}")
        if time.monotonic() > deadline:
            process.stop(folder, timeout_s=SIDECAR_STOP_TIMEOUT_S)
            raise UnreachableError(
                f"{name} did not say {text!r} within {START_TIMEOUT_S:.0f} s; its log is {log}\n{process.log_tail(log)}"
            )
        time.sleep(POLL_S)
