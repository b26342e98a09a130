"""``python -m examples.atlas``: the demo as a program; ``make demo`` and ``make demo-full`` start it."""

import asyncio
import sys
from typing import Annotated

import typer

from examples.atlas.full import run_full_demo
from examples.atlas.quick import run_demo
from oncelog.console import explained
from oncelog.logs import log_to_standard_error
from oncelog.process import keep_standard_output, leave

CONCURRENCY = 32


def atlas(
    concurrency: Annotated[int, typer.Option(min=1, max=1000, help="Commands at a time.")] = CONCURRENCY,
    own_worker: Annotated[bool, typer.Option("--worker/--no-worker", help="Run a worker meanwhile.")] = True,
    full: Annotated[bool, typer.Option("--full", help="All of the world, as bulk commands.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line, for programs.")] = False,
) -> None:
    """Send real input, evolve a definition meanwhile, show what came out, and ask the graph; safe to repeat."""
    with explained(as_json=as_json):
        log_to_standard_error()
        if full:
            sys.exit(asyncio.run(run_full_demo(own_worker=own_worker, as_json=as_json)))
        sys.exit(asyncio.run(run_demo(concurrency=concurrency, own_worker=own_worker, as_json=as_json)))


if __name__ == "__main__":
    keep_standard_output()
    try:
        typer.run(atlas)
    except SystemExit as end:
        leave(int(end.code or 0))
