"""The stored data after a run, read back from every server and held against what its clients wrote down."""

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from oncelog.checks.verify import Report, nothing_in_flight, verify
from oncelog.composition.checks import sources_of
from oncelog.domain.stored_names import EVENTS
from oncelog.settings import Settings
from oncelog.stores.kafka.messages import Message
from oncelog.stores.opening import Stores
from oncelog.verification.audit import Audit
from oncelog.verification.findings import Code, Finding
from oncelog.verification.history import History, read_history
from oncelog.verification.reading import objects
from oncelog.verification.stream import StreamAudit
from tests.chaos import users
from tests.chaos.load import DB_NAME
from tests.chaos.unique_judge import UniqueVerdict, judge_unique
from tests.chaos.unique_log import Stored, UniqueLog


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


def judge_users(objects: Mapping[str, Stored], history: History) -> UniqueVerdict:
    """Judge who held which unique value, from S3's objects alone. On the machine on which the history was written."""
    epoch_ns = time.time_ns() - time.monotonic_ns()
    began_ns: dict[str, int] = {}
    for operation in history.commands:
        command_id = (operation.invoked.command or {})["command_id"]
        began_ns[command_id] = min(began_ns.get(command_id, operation.started_ns), operation.started_ns)
    began_at = {
        command_id: datetime.fromtimestamp((at_ns + epoch_ns) / 1e9, UTC) for command_id, at_ns in began_ns.items()
    }
    log = UniqueLog(f"{DB_NAME}/{users.CLASS_ID}", users.CONSTRAINTS, objects)
    return judge_unique(log, began_at=began_at)


def _judge_stream(stream: StreamAudit, messages: Sequence[Message]) -> Iterator[Finding]:
    """Yield what is wrong with what was sent; events not sent yet were sent to the next topic."""
    for message in messages:
        stream.add(message)
    return (finding for finding in stream.judge() if finding.code is not Code.MESSAGE_MISSING)
