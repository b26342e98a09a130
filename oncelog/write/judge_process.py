"""The process that judges what takes long: ``python -m oncelog.write.judge_process``.

It reads requests from standard input and writes answers to standard output, and ends with its parent, whose pipes
close. Its validators are kept by the definition that they are made from.
"""

import contextlib
import pickle
import signal
import struct
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import IO, Any

from oncelog.domain.bulk.binding import decide_each
from oncelog.domain.decide import decide
from oncelog.domain.ontology.class_schema import ClassSchema

CLASSES_MAX = 16
_LENGTH = struct.Struct(">Q")

#: The functions of the process, by name.
QUESTIONS: dict[str, Callable[..., Any]] = {"decide": decide, "decide_each": decide_each}


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
    """Return the message that asks for ``QUESTIONS[name](*args, rules=rules, **options)``."""
    return pickle.dumps((name, args, class_schema and pickle.dumps(class_schema), options))


def answer(message: bytes) -> bytes:
    """Return the message that answers a question: what came of it, or the error that it raised."""
    name, args, class_schema, options = pickle.loads(message)  # noqa: S301 - from our own parent
    try:
        return pickle.dumps((QUESTIONS[name](*args, class_schema=_class_schema(class_schema), **options), None))
    except Exception as error:  # noqa: BLE001 - the parent raises it
        return pickle.dumps((None, error))


@lru_cache(maxsize=CLASSES_MAX)
def _class_schema(pickled: bytes | None) -> ClassSchema | None:
    return pickle.loads(pickled) if pickled else None  # noqa: S301


def main() -> None:
    """Answer until the parent has ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the parent as well, which ends this one
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            send(sys.stdout.buffer, answer(receive(sys.stdin.buffer)))


if __name__ == "__main__":
    main()
