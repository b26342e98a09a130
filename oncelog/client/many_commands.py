"""Many commands at once, in order where they concern the same aggregate."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from oncelog.client.client import Command, CommandResult, Oncelog
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.results import Outcome
from oncelog.errors import CommandNotSent, OncelogError


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
