"""An event loop without time, and attempts that take one request at a time: the driver chooses the next request."""

import asyncio
import contextvars
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")


class Dead(BaseException):
    """The process is gone: nothing of it runs on, not even its clean-up."""


class Stuck(AssertionError):
    """Nothing is left to wait for, and still it has not ended."""


class StepLoop(asyncio.SelectorEventLoop):
    """Runs only when asked to, until everybody waits; its clock stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now_s = 1_000.0
        super().__init__()

    def time(self) -> float:
        return self.now_s

    def settle(self) -> None:
        """Run whatever is ready, and what becomes ready by it."""
        while True:
            self.call_soon(self.stop)
            self.run_forever()
            if not self._ready:  # type: ignore[attr-defined]
                return

    def pass_time(self, seconds: float) -> None:
        self.now_s += seconds
        self.settle()

    def finish(self, doing: Coroutine[Any, Any, T], *, within_s: float = 3_600.0) -> T:
        """Run to the end, letting time pass whenever nothing else is left to do; raises Stuck."""
        task = self.create_task(doing)
        until_s = self.now_s + within_s
        self.settle()
        while not task.done():
            timers = [timer.when() for timer in self._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]
            if not timers or self.now_s > until_s:
                task.cancel()
                self.settle()
                raise Stuck("waits for what never comes")
            self.pass_time(max(0.0, min(timers) - self.now_s))
        return task.result()


@dataclass(eq=False)
class Host:
    """A worker process; a restart makes another host, and this one's requests are gone."""

    name: str
    process: Any
    dead: bool = False


@dataclass(eq=False)
class Attempt:
    """One activity run after the other for one command, in one process."""

    name: str
    host: Host
    task: asyncio.Task[None] | None = None


@dataclass(eq=False)
class _Request:
    attempt: Attempt
    turn: asyncio.Future[None]


_current: contextvars.ContextVar[Attempt | None] = contextvars.ContextVar("attempt", default=None)


@dataclass
class Crew:
    """All attempts that are alive, and the requests they are about to make."""

    loop: StepLoop
    requests: list[_Request] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    unexpected: list[BaseException] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.loop.set_exception_handler(self._noted)

    async def pause(self) -> None:
        """Wait until this request is let through; a request of no attempt waits for none."""
        attempt = _current.get()
        if attempt is None:
            return
        if attempt.host.dead:
            raise Dead
        request = _Request(attempt, self.loop.create_future())
        self.requests.append(request)
        await request.turn

    def begin(self, name: str, host: Host, doing: Coroutine[Any, Any, None]) -> Attempt:
        """Start an attempt and let it come to its first request."""
        attempt = Attempt(name, host)
        context = contextvars.copy_context()
        context.run(_current.set, attempt)
        attempt.task = self.loop.create_task(doing, context=context)
        self.attempts.append(attempt)
        self._settle()
        return attempt

    def waiting(self) -> list[Attempt]:
        """Return who is about to make a request, in the order of asking."""
        self.requests = [request for request in self.requests if not request.turn.done()]
        return list(dict.fromkeys(request.attempt for request in self.requests))

    def step(self, attempt: Attempt, which: int) -> None:
        """Let one request of the attempt through; it and all that depends on it come to their next ones."""
        mine = [request for request in self.requests if request.attempt is attempt and not request.turn.done()]
        mine[which % len(mine)].turn.set_result(None)
        self._settle()

    def time_out(self, attempt: Attempt) -> None:
        """Temporal gives the activity up: its task is cancelled, wherever it stands."""
        if attempt.task and not attempt.task.done():
            attempt.task.cancel()
            self._settle()

    def crash(self, host: Host) -> None:
        """End the process: its waiting requests are never sent."""
        host.dead = True
        for request in self.requests:
            if request.attempt.host is host and not request.turn.done():
                request.turn.set_exception(Dead())
        for attempt in self.attempts:
            if attempt.host is host and attempt.task and not attempt.task.done():
                attempt.task.cancel()  # it may also sleep, or wait for another attempt of its process
        self._settle()

    def run_out(self, rounds_max: int = 20_000) -> None:
        """Let everyone go on to the end, one request each in turn."""
        for _ in range(rounds_max):
            waiting = self.waiting()
            if not waiting and not self.attempts:
                return
            for attempt in waiting:
                if attempt in self.waiting():
                    self.step(attempt, 0)
            if not waiting:
                self.loop.pass_time(0.1)
                self._settle()
        raise Stuck(f"attempts that never end: {[attempt.name for attempt in self.attempts]}")

    def check(self) -> None:
        """Raise what no attempt should ever have ended with."""
        if self.unexpected:
            raise self.unexpected[0]

    def _settle(self) -> None:
        self.loop.settle()
        for attempt in [attempt for attempt in self.attempts if attempt.task and attempt.task.done()]:
            self.attempts.remove(attempt)
            assert attempt.task
            error = None if attempt.task.cancelled() else attempt.task.exception()
            if error is not None and not isinstance(error, Dead):
                self.unexpected.append(error)

    def _noted(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, Dead | asyncio.CancelledError):
            self.unexpected.append(error or AssertionError(context["message"]))
