"""Decides without holding up the event loop: short judgements in this process, long ones in another.

The validator and its comparison of schemas hold Python's lock for a whole call, which no thread can interrupt, and a
defect of theirs ends the process. So long ones run in two processes of their own: a question without an answer after
some seconds goes on in the second one, so that others need not wait for it. Deadlines are CPU time of the child, which
other work on the machine does not use up, and never refuse a command: it is tried again. Counts refuse input for its
size, since they are the same on every machine (``oncelog.domain.limits``).
"""

import asyncio
from collections.abc import Sequence
from functools import cache
from typing import Any

import structlog
from cachetools import LRUCache

from oncelog.domain.bulk.items import ItemChange
from oncelog.domain.decide import decide
from oncelog.domain.events import Event
from oncelog.domain.instance import Change, Instance, evolve
from oncelog.domain.ontology.class_schema import ClassSchema, TakesLongError
from oncelog.domain.results import Rejection
from oncelog.errors import DecisionOverdue
from oncelog.write.judge_process import JudgeProcess, Key, OverdueError, question

#: CPU seconds for which others may wait; far above the usual time of a long command.
QUICK_CPU_S = 5.0
#: CPU seconds after which a question is given up, to be asked again: ten times the cost of the worst input found.
DEADLINE_CPU_S = 60.0
#: Questions that are remembered to take long.
SLOW_MAX = 1_000

log = structlog.get_logger(__name__)


class Judge:
    """Decides commands. All judges of an interpreter share the processes for long decisions, started when needed."""

    async def decide(
        self,
        state: Instance,
        change: Change,
        *,
        occurred_at: str,
        class_schema: ClassSchema | None,
        accepted: bool = False,
    ) -> Event | Rejection:
        """Return the decision of ``oncelog.domain.decide.decide``; raises StoreUnavailable to be tried again."""
        try:
            return decide(
                state, change, occurred_at=occurred_at, class_schema=class_schema, accepted=accepted, hurried=True
            )
        except TakesLongError:
            decision: Event | Rejection = await shared_processes().ask(
                "decide", (state, change), class_schema, occurred_at=occurred_at, accepted=accepted
            )
            return decision

    async def decide_each(
        self, state: Instance, changes: Sequence[ItemChange], *, occurred_at: str, class_schema: ClassSchema | None
    ) -> list[Event | Rejection]:
        """Return the decisions of ``oncelog.domain.bulk.binding.decide_each``; raises StoreUnavailable.

        Each change is a question of its own, so that none is overdue because there are many of them.
        """
        decisions: list[Event | Rejection] = []
        for change in changes:
            if decisions:
                await asyncio.sleep(0)  # many short decisions hold the event loop up together
            decision = await self.decide(state, change, occurred_at=occurred_at, class_schema=class_schema)
            decisions.append(decision)
            if isinstance(decision, Event):
                state = evolve(state, decision)
        return decisions


class JudgeProcesses:
    """The process that answers quickly, and the one for questions that are known to take longer.

    An attempt that is given up leaves its question behind, and the next attempt takes the answer: so a command comes
    to its end although deciding it takes longer than an attempt may.
    """

    def __init__(self, *, quick_cpu_s: float = QUICK_CPU_S, deadline_cpu_s: float = DEADLINE_CPU_S) -> None:
        self.quick = JudgeProcess(cpu_s=quick_cpu_s)
        self.slow = JudgeProcess(cpu_s=deadline_cpu_s)
        self._known_slow: LRUCache[Key, bool] = LRUCache(SLOW_MAX)

    async def ask(
        self, name: str, args: tuple[Instance, Change], class_schema: ClassSchema | None, **options: Any
    ) -> Any:
        """Return the answer to a question, or raise the error that it raises; StoreUnavailable if none came."""
        state, change = args
        key = _key(name, state, change, class_schema, options)
        message = await asyncio.to_thread(question, name, args, class_schema, **options)
        if key not in self._known_slow:
            try:
                return await self.quick.answer(key, message)
            except OverdueError:
                self._known_slow[key] = True
        try:
            return await self.slow.answer(key, message)
        except OverdueError as error:
            aggregate_id = str(state.aggregate_id)
            log.warning("decision_overdue", aggregate_id=aggregate_id, cpu_s=self.slow.cpu_s)
            raise DecisionOverdue(aggregate_id, cpu_s=self.slow.cpu_s) from error


def _key(name: str, state: Instance, change: Change, class_schema: ClassSchema | None, options: dict[str, Any]) -> Key:
    """Return the same key for a question that is asked again: its pickled form differs by its shared objects."""
    reference = class_schema and (class_schema.reference.sequence_number, class_schema.retired)
    return name, state.aggregate_id, state.checksum, change.event_id, change.hash, reference, *options.values()


@cache
def shared_processes() -> JudgeProcesses:
    """Return the processes of this interpreter."""
    return JudgeProcesses()
