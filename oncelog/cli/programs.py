"""``oncelog worker`` and ``oncelog projector``: the programs, started as commands."""

import os
import sys


def worker() -> None:
    """Run a worker until it is told to stop (Ctrl-C, SIGTERM); it then ends the steps under way."""
    _become("oncelog.worker")


def projector() -> None:
    """Run a projector until it is told to stop (Ctrl-C, SIGTERM): it keeps a read model up to date from the stream."""
    _become("oncelog.projector")


def _become(module: str) -> None:
    os.execv(sys.executable, [sys.executable, "-m", module])  # noqa: S606 - this very interpreter, no shell
