"""The stored data after a run, read back from every server and held against what its clients wrote down."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from oncelog.checks.verify import Report, nothing_in_flight, verify
from oncelog.composition.checks import sources_of
from oncelog.domain.stored_names import EVENTS
from oncelog.settings import Settings
from oncelog.stores.kafka.messages import Message
from oncelog.stores.opening import Stores
from oncelog.verification.audit import Audit
from oncelog.verification.findings import Code, Finding
from oncelog.verification.history import read_history
from oncelog.verification.reading import objects
from oncelog.verification.stream import StreamAudit


async def judged(stores: Stores, settings: Settings, history: Path) -> Report:
    """Verify an installation in which everything has come to its end."""
    return await verify(sources_of(stores, settings), in_flight=nothing_in_flight, history=read_history([history]))


async def judge_dropped(stores: Stores, dropped: Sequence[Sequence[Message]]) -> list[Finding]:
    """Return what is wrong in topics as they were read before they were dropped, in the order of their dropping."""
    if not dropped:
        return []
    audit = Audit()
    async for found in objects(stores.bucket, EVENTS):
        audit.add_object(found.key, found.body, damage=found.damage, watermark=found.watermark)
    return [
        finding
        for number, messages in enumerate(dropped)
        for finding in _judge_stream(StreamAudit(audit.logs, generation=number + 1), messages)
    ]


def _judge_stream(stream: StreamAudit, messages: Sequence[Message]) -> Iterator[Finding]:
    """Yield what is wrong with what was sent; what was not sent yet was sent to the next topic."""
    for message in messages:
        stream.add(message)
    return (finding for finding in stream.judge() if finding.code is not Code.MESSAGE_MISSING)
