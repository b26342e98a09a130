"""Work of a length that its input tells: short work is done at once, long work in a thread. The one place that decides.

A thread lets the event loop go on between the steps of Python code, and holds it up for no longer than a single call
into C takes: some 50 ms for parsing or writing the largest document. Judging has longer ones, and a process of its own
(``oncelog.write.judge``).
"""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from oncelog.domain.json_size import weighs_more
from oncelog.domain.ontology.class_schema import LONG_BYTES

Found = TypeVar("Found")


async def offloaded(work: Callable[[], Found], *, of: Any) -> Found:
    """Return the result of the work; ``of``: the JSON values or bytes that it goes through, which tell its length."""
    if weighs_more(of, than_bytes=LONG_BYTES):
        return await asyncio.to_thread(work)
    return work()
