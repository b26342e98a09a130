"""Submitting many commands at once, in order where they are about the same aggregate."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from oncelog.cli.progress import ProgressLines
from oncelog.cli.terminal import errors
from oncelog.client.client import Command, Oncelog
from oncelog.client.many_commands import Answer, submit_all
from oncelog.errors import OncelogError

HINT_AFTER_S = 5.0


async def submit_with_progress(
    oncelog: Oncelog, commands: Sequence[Command], *, concurrency: int, early: bool = False, title: str = "commands"
) -> list[Answer]:
    """Submit all, with a progress bar on standard error where there is more than one."""
    async with progress_shown(oncelog, len(commands), title=title) as answered:
        return await submit_all(oncelog, commands, concurrency=concurrency, early=early, answered=answered)


@asynccontextmanager
async def progress_shown(oncelog: Oncelog, total: int, *, title: str) -> AsyncIterator[Callable[[Answer], None]]:
    """Show a progress bar on standard error, where there is more than one command; yields the callback for answers.

    It says so when no worker runs. ``total``: how many answers are expected; there may be more.
    """
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[counts]}"),
    )
    lines = ProgressLines()
    counts = {"applied": 0, "duplicates": 0, "rejected": 0, "failed": 0}
    with Progress(*columns, console=errors, disable=total == 1 or not errors.is_terminal) as progress:
        task = progress.add_task(title, total=total, counts="")

        def answered(answer: Answer) -> None:
            counts["failed"] += answer.error is not None
            counts["duplicates"] += answer.duplicate
            counts["applied"] += answer.applied and not answer.duplicate
            counts["rejected"] += answer.error is None and not answer.applied and not answer.duplicate
            shown = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
            done = sum(counts.values())
            progress.update(task, advance=1, total=max(total, done), counts=shown)
            lines.print(f"{done:,} of {max(total, done):,} {title}: {shown}")

        waiting = asyncio.create_task(report_missing_worker(oncelog, lambda: any(counts.values())))
        try:
            yield answered
        finally:
            waiting.cancel()


async def report_missing_worker(oncelog: Oncelog, answered: Callable[[], bool]) -> None:
    """Report a missing worker when no answer comes: commands wait for a worker for as long as it takes."""
    await asyncio.sleep(HINT_AFTER_S)
    try:
        if not answered() and not await oncelog.worker_seen():
            errors.print("no worker has asked for commands yet: they wait; start one with oncelog worker")
    except OncelogError as error:
        errors.print(error.message)
