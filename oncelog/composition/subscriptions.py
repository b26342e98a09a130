"""A subscription put together from ports."""

from datetime import UTC, datetime, timedelta

from oncelog.archive.log_reader import LogReader
from oncelog.domain.events import rfc3339
from oncelog.domain.identifiers import check_name
from oncelog.ports import EventFeed, Ports
from oncelog.read_models.scope import EventScope
from oncelog.replay.stream_reader import StateCache, StreamReader
from oncelog.subscriptions.checkpoint import Checkpoint, HistoryProgress, read_checkpoint
from oncelog.subscriptions.positions import Positions, ReadPositions
from oncelog.subscriptions.subscription import Subscription

BEGINNING, NOW = "beginning", "now"
AGGREGATES_MAX = 100_000
#: How far the clocks of this process and of Temporal's server may be apart.
CLOCK_SKEW_MAX = timedelta(seconds=60)


def assemble_subscription(
    ports: Ports,
    feed: EventFeed,
    name: str,
    *,
    scope: EventScope,
    start: str = BEGINNING,
    positions: ReadPositions | None = None,
    aggregates_max: int = AGGREGATES_MAX,
) -> Subscription:
    """Build a subscription; see ``oncelog.subscribe``. Raises InputInvalid."""
    check_name(name, "subscription: name")
    checkpoint = _checkpoint_of(start, name=name, installation=ports.installation)
    reader = StreamReader(log=ports.event_log, snapshots=ports.snapshots, cache=StateCache(aggregates_max=1))
    return Subscription(
        checkpoint,
        scope=scope,
        positions=Positions(name, checkpoint.positions, read=positions, aggregates_max=aggregates_max),
        feed=feed,
        event_log=ports.event_log,
        log_reader=LogReader(ports),
        stream_reader=reader,
    )


def _checkpoint_of(start: str, *, name: str, installation: str) -> Checkpoint:
    if start == BEGINNING:
        return Checkpoint(name=name, installation=installation, history=HistoryProgress())
    if start == NOW:
        return Checkpoint(name=name, installation=installation, since=rfc3339(datetime.now(UTC) - CLOCK_SKEW_MAX))
    return read_checkpoint(start, name=name, installation=installation)
