"""Decides without holding up the event loop: short judgements in this process, long ones in another.

The validator and its comparison of schemas hold Python's lock for a whole call, which no thread can interrupt, and a
defect of theirs ends the process. So long ones run in a process of their own, one at a time. Its deadline is a clock
and therefore never refuses a command: it ends the process, and the command is tried again. Counts refuse input for
its size, since they are the same on every machine (``oncelog.domain.limits``).
"""

import asyncio
import atexit
import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from threading import Timer
from typing import Any

import structlog

from oncelog.domain.bulk.binding import decide_each
from oncelog.domain.bulk.items import ItemChange
from oncelog.domain.canonical import weighs_more
from oncelog.domain.decide import decide
from oncelog.domain.events import Event
from oncelog.domain.instance import Change, Instance
from oncelog.domain.ontology.class_schema import LONG_BYTES, ClassSchema, TakesLongError
from oncelog.domain.results import Rejection
from oncelog.errors import StoreUnavailable
from oncelog.write.judge_process import question, receive, send

#: Far above what the largest permitted input takes, and below the time-out of a commit.
DEADLINE_S = 15.0

log = structlog.get_logger(__name__)


class Judge:
    """Decides commands. All judges of an interpreter share one process for what takes long, started when needed."""

    async def decide(
        self,
        state: Instance,
        change: Change,
        *,
        occurred_at: str,
        class_schema: ClassSchema | None,
        accepted: bool = False,
    ) -> Event | Rejection:
        """Return what ``oncelog.domain.decide.decide`` returns; raises StoreUnavailable to be tried again."""
        options = {"occurred_at": occurred_at, "accepted": accepted}
        try:
            return decide(state, change, class_schema=class_schema, hurried=True, **options)  # type: ignore[arg-type]
        except TakesLongError:
            decision: Event | Rejection = await _elsewhere("decide", (state, change), class_schema, **options)
            return decision

    async def decide_each(
        self, state: Instance, changes: Sequence[ItemChange], *, occurred_at: str, class_schema: ClassSchema | None
    ) -> list[Event | Rejection]:
        """Return what ``oncelog.domain.bulk.binding.decide_each`` returns; raises StoreUnavailable."""
        try:
            return decide_each(state, changes, occurred_at=occurred_at, class_schema=class_schema, hurried=True)
        except TakesLongError:
            decisions: list[Event | Rejection] = await _elsewhere(
                "decide_each", (state, changes), class_schema, occurred_at=occurred_at
            )
            return decisions


async def computed(owner: object, name: str, *, of: Any) -> None:
    """Have a cached property computed off the event loop, if the JSON that it is computed ``of`` is long."""
    if weighs_more(of, than_bytes=LONG_BYTES):
        await asyncio.to_thread(getattr, owner, name)


class JudgeProcess:
    """The process, and the one thread that talks to it."""

    def __init__(self, *, deadline_s: float = DEADLINE_S) -> None:
        self._deadline_s = deadline_s
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="judge")
        atexit.register(self.close)

    async def ask(self, name: str, args: Sequence[Any], class_schema: ClassSchema | None, **options: Any) -> Any:
        """Return the answer to a question, or raise the error that it raises; StoreUnavailable if none came."""
        loop = asyncio.get_running_loop()
        asked = partial(self._asked, name, args, class_schema, options)
        value, error = await loop.run_in_executor(self._thread, asked)
        if error is not None:
            raise error
        return value

    @property
    def pid(self) -> int:
        """The ID of the process, which is started if it does not run."""
        return self._running().pid

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def _asked(self, name: str, args: Sequence[Any], class_schema: ClassSchema | None, options: dict[str, Any]) -> Any:
        message = question(name, args, class_schema, **options)
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        deadline = Timer(self._deadline_s, process.kill)
        deadline.start()
        try:
            send(process.stdin, message)
            return pickle.loads(receive(process.stdout))  # noqa: S301 - from our own child
        except (EOFError, OSError) as error:
            self.close()
            log.warning("judge_process_ended", exit_code=process.returncode, deadline_s=self._deadline_s)
            reason = f"its process ended ({process.returncode}) or took longer than {self._deadline_s:g} s"
            raise StoreUnavailable("the judge", "deciding a long command", reason) from error
        finally:
            deadline.cancel()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "oncelog.write.judge_process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        return self._process


@cache
def shared_process() -> JudgeProcess:
    """Return the process of this interpreter."""
    return JudgeProcess()


async def _elsewhere(name: str, args: Sequence[Any], class_schema: ClassSchema | None, **options: Any) -> Any:
    return await shared_process().ask(name, args, class_schema, **options)
