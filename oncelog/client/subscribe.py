"""``oncelog.subscribe``: events for a program of the user's."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from oncelog.composition.subscriptions import AGGREGATES_MAX, BEGINNING, assemble_subscription
from oncelog.read_models.scope import EventScope
from oncelog.settings import Settings
from oncelog.stores.kafka.feed import KafkaFeed
from oncelog.stores.opening import Stores
from oncelog.subscriptions.positions import ReadPositions
from oncelog.subscriptions.subscription import Subscription


@asynccontextmanager
async def subscribe(
    name: str,
    *,
    classes: Iterable[str] = (),
    event_types: Iterable[str] = (),
    start: str = BEGINNING,
    positions: ReadPositions | None = None,
    aggregates_max: int = AGGREGATES_MAX,
    settings: Settings | None = None,
) -> AsyncIterator[Subscription]:
    """Open a subscription for the length of a block: an async iterator over events.

    Each aggregate's events come in order, each once, none left out. ``classes``: such as ``"shop/Order"``, or
    ``"shop/_class"`` for the classes of a database; all instances if none is given. ``event_types``: such as
    ``"INSTANCE_CREATED"``; all if none is given.

    ``start``: ``"beginning"``, ``"now"``, or a ``checkpoint`` of the subscription with this name.

    ``positions``: reads the last sequence numbers from the caller's store; without it, they travel in the checkpoint,
    and ``aggregates_max`` bounds how many there may be. With it, ``aggregates_max`` bounds how many are in memory:
    commit at least once in so many aggregates.

    Needs S3 and Kafka. Raises InputInvalid, SettingsInvalid; afterwards it waits for servers that are away.
    """
    settings = settings or Settings.from_environment()
    async with await Stores.connect(settings) as stores:
        subscription = assemble_subscription(
            stores.ports,
            KafkaFeed(settings),
            name,
            scope=EventScope(classes, event_types),
            start=start,
            positions=positions,
            aggregates_max=aggregates_max,
        )
        try:
            yield subscription
        finally:
            await subscription.aclose()
