"""Log entries of reconcilers and of bulk commands name what they are about."""

from datetime import UTC, datetime
from typing import Any

import pytest
from structlog.contextvars import get_contextvars, merge_contextvars
from structlog.testing import capture_logs

from oncelog.domain.identifiers import AggregateId
from oncelog.errors import StoreUnavailable
from oncelog.ports import KnownCommand, ListedStream
from oncelog.reconcile.scope import Steps
from oncelog.stores.s3.event_log import S3EventLog
from oncelog.write.delivery import Deliverer
from tests.bulks import bulk_create, item
from tests.write.bulks import run_bulk
from tests.write.world import World

AT = datetime(2026, 1, 1, tzinfo=UTC)
STREAM = ListedStream(AggregateId.parse("shop/Product/p1"), 3, AT)
COMMAND = KnownCommand("c1", AT)


async def test_steps_of_reconcilers_name_their_item():
    async def step(_: Any) -> dict[str, Any]:
        return dict(get_contextvars())

    items: list[Any] = [STREAM, COMMAND]
    came_through = await Steps(place=str).take(items, step)
    assert [fields for _, fields in came_through] == [
        {"aggregate_id": "shop/Product/p1", "sequence_number": 3},
        {"command_id": "c1"},
    ]
    assert get_contextvars() == {}


async def test_item_left_names_aggregate_and_number():
    async def step(_: Any) -> None:
        raise StoreUnavailable("S3", "reading", "none")

    with capture_logs([merge_contextvars]) as entries:
        await Steps(place=str).take([STREAM], step)
    assert [(each["event"], each["aggregate_id"], each["sequence_number"]) for each in entries] == [
        ("item_left", "shop/Product/p1", 3)
    ]


@pytest.mark.parametrize(
    ("owner", "method", "fields"),
    [
        (S3EventLog, "append_event", {"aggregate_id": "shop/Product/p1"}),
        (Deliverer, "project_or_park", {"aggregate_id": "shop/Product/p1", "sequence_number": 1}),
    ],
    ids=["persist", "project"],
)
async def test_steps_of_a_chunk_name_their_aggregate(
    owner: Any, method: str, fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    original, seen = getattr(owner, method), []

    async def watched(*arguments: Any, **options: Any) -> Any:
        seen.append(dict(get_contextvars()))
        return await original(*arguments, **options)

    monkeypatch.setattr(owner, method, watched)
    await run_bulk(World(), bulk_create(item("p1", {"n": 1})))
    assert fields in seen
