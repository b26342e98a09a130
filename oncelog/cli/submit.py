"""Submitting many commands at once, in order where they are about the same aggregate."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from oncelog.cli.progress import ProgressLines
from oncelog.cli.terminal import errors
from oncelog.client.client import Command, CommandResult, Oncelog
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.results import Outcome
from oncelog.errors import CommandNotSent, OncelogError

HINT_AFTER_S = 5.0


@dataclass(frozen=True)
class Answer:
    """The result of one command: its result, or the error that kept us from it. ``latency_ms``: as seen from here."""

    command: Command
    result: CommandResult | None
    error: OncelogError | None
    duplicate: bool
    latency_ms: float

    @property
    def outcome(self) -> str:
        if self.result is None:
            return self.error.code if self.error else ""
        return self.result.rejection.code if self.result.rejection else self.result.outcome

    @property
    def applied(self) -> bool:
        return self.result is not None and self.result.outcome is Outcome.APPLIED


async def submit_all(
    oncelog: Oncelog,
    commands: Sequence[Command],
    *,
    concurrency: int,
    early: bool = False,
    answered: Callable[[Answer], None] = lambda _: None,
) -> list[Answer]:
    """Submit all commands, ``concurrency`` of them at a time, and return their answers in the same order.

    Commands about one aggregate go one after the other, as they were given. After one that got no definite answer,
    later ones about its aggregate are not sent: submitted again, all of them take effect in the order given.
    """
    free = asyncio.Semaphore(concurrency)
    answers: dict[int, Answer] = {}

    async def follow(indices: list[int]) -> None:
        unanswered: Answer | None = None
        for index in indices:
            if unanswered:
                answers[index] = _not_sent(commands[index], unanswered)
            else:
                async with free:
                    answers[index] = await _answer(oncelog, commands[index], early=early)
                unanswered = answers[index] if answers[index].result is None else None
            answered(answers[index])

    by_aggregate: dict[AggregateId, list[int]] = {}
    for index, command in enumerate(commands):
        by_aggregate.setdefault(command.aggregate_id, []).append(index)
    async with asyncio.TaskGroup() as group:
        for indices in by_aggregate.values():
            group.create_task(follow(indices))
    return [answers[index] for index in range(len(commands))]


async def submit_with_progress(
    oncelog: Oncelog, commands: Sequence[Command], *, concurrency: int, early: bool = False, title: str = "commands"
) -> list[Answer]:
    """Submit all, with a progress bar on standard error where there is more than one."""
    async with progress_shown(oncelog, len(commands), title=title) as answered:
        return await submit_all(oncelog, commands, concurrency=concurrency, early=early, answered=answered)


@asynccontextmanager
async def progress_shown(oncelog: Oncelog, total: int, *, title: str) -> AsyncIterator[Callable[[Answer], None]]:
    """Show a progress bar on standard error, where there is more than one command; yields what tells it of answers.

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

        waiting = asyncio.create_task(say_if_nobody_works(oncelog, lambda: any(counts.values())))
        try:
            yield answered
        finally:
            waiting.cancel()


async def say_if_nobody_works(oncelog: Oncelog, answered: Callable[[], bool]) -> None:
    """Say what is missing when nothing comes back: without a worker, commands wait for one for as long as it takes."""
    await asyncio.sleep(HINT_AFTER_S)
    try:
        if not answered() and not await oncelog.worker_seen():
            errors.print("no worker has asked for commands yet: they wait; start one with oncelog worker")
    except OncelogError as error:
        errors.print(error.message)


def _not_sent(command: Command, unanswered: Answer) -> Answer:
    error = CommandNotSent(
        f"command {command.command_id} was not sent: command {unanswered.command.command_id} before it, about "
        f"{command.aggregate_id}, got no definite answer; submit the same commands again, in the same order",
        command_id=command.command_id,
        unanswered_command_id=unanswered.command.command_id,
    )
    return Answer(command, None, error, duplicate=False, latency_ms=0.0)


async def _answer(oncelog: Oncelog, command: Command, *, early: bool) -> Answer:
    began = time.perf_counter()
    result, error, duplicate = None, None, False
    try:
        submission = await oncelog.submission(command, early=early)
        result, duplicate = submission.result, submission.duplicate
    except OncelogError as found:
        error = found
    return Answer(command, result, error, duplicate, latency_ms=(time.perf_counter() - began) * 1000)
