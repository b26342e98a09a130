"""``LogCatalogue``: all that is there, once, in pages of any size."""

from datetime import UTC, datetime, timedelta

import pytest

from oncelog.domain.records import record_of
from oncelog.ports import UNPUBLISHED, KnownCommand, ListedStream, LogCatalogue
from tests.commands import create
from tests.contract.chains import chain
from tests.contract.conftest import Opened
from tests.write.world import NOON

PAGES = [1, 2, 3, 1000]


async def _commands(catalogue: LogCatalogue) -> list[KnownCommand]:
    page = await catalogue.commands()
    found = [*page.items]
    while page.position is not None:
        page = await catalogue.commands(after=page.position)
        found += page.items
    return found


async def _extents(catalogue: LogCatalogue, **scope: str) -> list[ListedStream]:
    page = await catalogue.listed_streams(**scope)
    found = [*page.items]
    while page.position is not None:
        page = await catalogue.listed_streams(after=page.position, **scope)
        found += page.items
    return found


async def _classes(catalogue: LogCatalogue, **scope: str) -> list[ListedStream]:
    page = await catalogue.classes(**scope)
    found = [*page.items]
    while page.position is not None:
        page = await catalogue.classes(after=page.position, **scope)
        found += page.items
    return found


async def _append(opened: Opened, length: int, instance_id: str = "p1", *, without: int = 0) -> None:
    for event in chain(length, instance_id):
        if event.sequence_number != without:
            await opened.ports.event_log.append_event(event, published_through=UNPUBLISHED)


@pytest.mark.parametrize("keys_per_page", PAGES)
async def test_every_command_with_a_record_is_listed_once(opened: Opened, keys_per_page: int):
    command_ids = [".", "..", "A", "a", "a-b", "a.b", "a:b", "c", "x" * 128]
    for command_id in command_ids:
        for number in (1, 2, 3) if command_id == "c" else (1,):
            record = record_of(create(command_id=command_id), number=number, occurred_at=NOON, end=number)
            await opened.ports.records.write_record(record)
    await opened.put_object("commands/c/chunks/000000/000001.json", b"{}")
    for key in ("commands/stray.json", "commands/un known/000001.json", "commander/d/000001.json"):
        await opened.put_object(key, b"{}")
    found = await _commands(opened.catalogue(keys_per_page))
    assert sorted(command.command_id for command in found) == sorted(command_ids)
    now = datetime.now(UTC)
    assert all(abs(now - one.written_at) < timedelta(minutes=1) for one in found if one.command_id != "c")
    last_records = {command.command_id: command.last_record for command in found}
    assert last_records.pop("c") == min(keys_per_page, 3), "of those on the page"
    assert set(last_records.values()) == {1}


@pytest.mark.parametrize("keys_per_page", PAGES)
async def test_every_log_is_listed_once_with_its_head(opened: Opened, keys_per_page: int):
    lengths = {"p1": 3, "p1-": 1, "p1~": 2, "p10": 5, "\u65e5\u672c": 1, ".": 2}
    for instance_id, length in lengths.items():
        await _append(opened, length, instance_id)
    for key in ("events/stray.json", "events/shop/Product/stray.json", "events/shop/Product/p9/note.txt"):
        await opened.put_object(key, b"{}")
    found = await _extents(opened.catalogue(keys_per_page))
    assert {listed_stream.aggregate_id.instance_id: listed_stream.head for listed_stream in found} == lengths
    assert len(found) == len(lengths)
    assert {listed_stream.missing for listed_stream in found} == {None}
    now = datetime.now(UTC)
    assert all(abs(now - listed_stream.written_at) < timedelta(minutes=1) for listed_stream in found)


async def test_a_missing_slot_is_told(opened: Opened):
    await _append(opened, 4, without=2)
    await _append(opened, 2, "p2", without=1)
    found = await _extents(opened.catalogue(1000))
    assert [(listed_stream.head, listed_stream.missing) for listed_stream in found] == [(4, 2), (2, 1)]


@pytest.mark.parametrize("keys_per_page", PAGES)
async def test_a_scope_leaves_out_all_else(opened: Opened, keys_per_page: int):
    await _append(opened, 2)
    for key in ("shop/Product2/a", "shop2/Product/a", "shop/Order/a"):
        await opened.put_object(f"events/{key}/{1:020d}.json", b"{}")
    catalogue = opened.catalogue(keys_per_page)
    assert len(await _extents(catalogue)) == 4
    in_shop = await _extents(catalogue, db_name="shop")
    assert [str(listed_stream.aggregate_id) for listed_stream in in_shop] == [
        "shop/Order/a",
        "shop/Product/p1",
        "shop/Product2/a",
    ]
    of_class = await _extents(catalogue, db_name="shop", class_id="Product")
    assert [(str(listed_stream.aggregate_id), listed_stream.head) for listed_stream in of_class] == [
        ("shop/Product/p1", 2)
    ]


@pytest.mark.parametrize("keys_per_page", PAGES)
async def test_classes_are_listed_without_their_instances(opened: Opened, keys_per_page: int):
    await _append(opened, 3)
    places = ("shop/_class/A", "shop/_class/B", "shop/Product/a", "shop-1/_class/A", "shop2/Product/a", "zoo/_class/A")
    for place in places:
        await opened.put_object(f"events/{place}/{1:020d}.json", b"{}")
    await opened.put_object(f"events/shop/_class/B/{2:020d}.json", b"{}")
    for key in ("events/shop0", "events/shop/~", "events/shop/~x/y/1", "events/a/b"):
        await opened.put_object(key, b"{}")
    catalogue = opened.catalogue(keys_per_page)
    found = {str(listed_stream.aggregate_id): listed_stream.head for listed_stream in await _classes(catalogue)}
    assert found == {"shop/_class/A": 1, "shop/_class/B": 2, "shop-1/_class/A": 1, "zoo/_class/A": 1}
    in_shop = await _classes(catalogue, db_name="shop")
    assert [str(listed_stream.aggregate_id) for listed_stream in in_shop] == ["shop/_class/A", "shop/_class/B"]
    assert await _classes(catalogue, db_name="shop2") == []


async def test_every_class_with_events_is_named_once(opened: Opened):
    await _append(opened, 3)
    await _append(opened, 1, "p2")
    for place in ("shop/_class/Product", "shop/Product2/a", "shop-1/Order/a", "zoo/A/b"):
        await opened.put_object(f"events/{place}/{1:020d}.json", b"{}")
    for key in ("events/shop0", "events/shop/~", "events/a/b", "events/shop/Product/stray.json"):
        await opened.put_object(key, b"{}")
    catalogue = opened.catalogue(1000)
    in_shop = [("shop", "Product"), ("shop", "Product2"), ("shop", "_class")]
    assert await catalogue.class_names(db_name="shop") == in_shop
    assert await catalogue.class_names() == [("shop-1", "Order"), *in_shop, ("zoo", "A")]
    assert await catalogue.class_names(db_name="sho") == []


async def test_an_empty_bucket_has_nothing(opened: Opened):
    catalogue = opened.catalogue(1000)
    assert (await _commands(catalogue), await _extents(catalogue), await _classes(catalogue)) == ([], [], [])
