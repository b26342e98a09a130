"""A process for the decisions that take long, and its parent's side of it.

The child (``python -m oncelog.write.judge_process CPU_S``) reads requests from standard input and writes answers to
standard output. It ends with its parent, as the pipes close, and by itself when a request has used its CPU time up. Its
validators are kept by the definition that they are made from.
"""

import asyncio
import atexit
import contextlib
import gc
import os
import pickle
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from threading import Lock, Timer
from typing import IO, Any

import structlog

from oncelog.domain.decide import decide
from oncelog.domain.ontology.class_schema import ClassSchema
from oncelog.errors import StoreUnavailable

CLASSES_MAX = 16
#: A child that stands still, and so uses no CPU time up, is ended after this and as many times its deadline.
STANDSTILL_S = 60.0
STANDSTILL_FACTOR = 10
#: Answers that are kept for a later attempt, because theirs was given up.
KEPT_MAX = 16
_LENGTH = struct.Struct(">Q")

#: The functions of the process, by name.
QUESTIONS: dict[str, Callable[..., Any]] = {"decide": decide}


#: Tells questions apart.
Key = tuple[Any, ...]

log = structlog.get_logger(__name__)


class OverdueError(Exception):
    """A question has used its CPU time up."""


class JudgeProcess:
    """One child, and the one thread that talks to it. ``cpu_s``: CPU time for one question."""

    def __init__(self, *, cpu_s: float) -> None:
        self.cpu_s = cpu_s
        self._process: subprocess.Popen[bytes] | None = None
        self._starting = Lock()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="judge")
        self._answers: dict[Key, Future[tuple[Any, Exception | None]]] = {}
        atexit.register(self.close)

    async def answer(self, key: Key, message: bytes) -> Any:
        """Return the answer to a question, or raise the error that it raises.

        ``key``: the same for the same question; askers share its answer, which is kept for the next one where an asker
        is cancelled. Raises OverdueError, StoreUnavailable if the child ended.
        """
        future = self._answers.get(key)
        if future is None:
            future = self._answers[key] = self._thread.submit(self._asked, message)
        try:
            value, error = await asyncio.shield(asyncio.wrap_future(future))
        except asyncio.CancelledError:
            done = [kept for kept, answer in self._answers.items() if answer.done()]
            for kept in done[:-KEPT_MAX]:
                del self._answers[kept]
            raise
        except Exception:
            self._answers.pop(key, None)
            raise
        self._answers.pop(key, None)
        if error is not None:
            raise error
        return value

    @property
    def pid(self) -> int:
        """The ID of the child, which is started if it does not run."""
        return self._running().pid

    def close(self) -> None:
        """End the child."""
        with self._starting:
            self._end()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with contextlib.suppress(OSError):  # of bytes that the child took no more
                        stream.close()

    def _asked(self, message: bytes) -> tuple[Any, Exception | None]:
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        standstill = Timer(STANDSTILL_S + STANDSTILL_FACTOR * self.cpu_s, process.kill)
        standstill.daemon = True
        standstill.start()
        try:
            send(process.stdin, message)
            answered: tuple[Any, Exception | None] = pickle.loads(receive(process.stdout))  # noqa: S301 - our own child
            return answered
        except (EOFError, OSError) as error:
            exit_code = process.wait()
            self.close()
            log.warning("judge_process_ended", exit_code=exit_code, cpu_s=self.cpu_s)
            if exit_code == -signal.SIGPROF:
                raise OverdueError from error
            reason = f"its process ended ({exit_code})"
            raise StoreUnavailable("the judge", "deciding a long command", reason) from error
        finally:
            standstill.cancel()

    def _running(self) -> subprocess.Popen[bytes]:
        with self._starting:
            if self._process is None or self._process.poll() is not None:
                self._end()
                self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                    [sys.executable, "-m", __name__, str(self.cpu_s)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                )
            return self._process


def send(stream: IO[bytes], message: bytes) -> None:
    """Write one message, its length first."""
    stream.write(_LENGTH.pack(len(message)))
    stream.write(message)
    stream.flush()


def receive(stream: IO[bytes]) -> bytes:
    """Return the next message; raises EOFError where the other side has ended."""
    (length,) = _LENGTH.unpack(_read(stream, _LENGTH.size))
    return _read(stream, length)


def _read(stream: IO[bytes], size_bytes: int) -> bytes:
    data = stream.read(size_bytes)
    if len(data) < size_bytes:
        raise EOFError("the other process has ended")
    return data


def question(name: str, args: Sequence[Any], class_schema: ClassSchema | None, **options: Any) -> bytes:
    """Return the message that asks for ``QUESTIONS[name](*args, class_schema=class_schema, **options)``."""
    return pickle.dumps((name, args, class_schema and pickle.dumps(class_schema), options))


def answer(message: bytes) -> bytes:
    """Return the message that answers a question: its result, or the error that it raised."""
    name, args, class_schema, options = pickle.loads(message)  # noqa: S301 - from our own parent
    try:
        return pickle.dumps((QUESTIONS[name](*args, class_schema=_class_schema(class_schema), **options), None))
    except Exception as error:  # noqa: BLE001 - the parent raises it
        return pickle.dumps((None, error))


@lru_cache(maxsize=CLASSES_MAX)
def _class_schema(pickled: bytes | None) -> ClassSchema | None:
    return pickle.loads(pickled) if pickled else None  # noqa: S301


def main(cpu_s: float) -> None:
    """Answer until the parent has ended; a question that takes longer ends the process, by the signal's own action."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the parent as well, which ends this one
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # nothing that a library prints gets among the answers
    gc.freeze()
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            message = receive(sys.stdin.buffer)
            signal.setitimer(signal.ITIMER_PROF, cpu_s)
            answered = answer(message)
            signal.setitimer(signal.ITIMER_PROF, 0)
            send(answers, answered)


if __name__ == "__main__":
    main(float(sys.argv[1]))
