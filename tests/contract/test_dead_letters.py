"""``DeadLetters`` and ``FailureStream``: aggregates that wait, why, and reports of it."""

import asyncio
from typing import Any

import pytest

from oncelog.domain.dead_letters import DeadLetter, DeadLetterKind
from oncelog.domain.identifiers import AggregateId
from oncelog.errors import LogDamaged
from oncelog.ports import last_numbers
from tests.contract.chains import PLACE
from tests.contract.conftest import Opened
from tests.write.world import NOON

HOSTILE = AggregateId.of("shop", "Product", "../..")


def dead_letter(number: int = 1, aggregate_id: AggregateId = PLACE, **more: Any) -> DeadLetter:
    fields = {
        "read_model": "documents",
        "aggregate_id": str(aggregate_id),
        "number": number,
        "kind": DeadLetterKind.PARKED,
        "sequence_number": 7,
        "at": NOON,
        "by": "test",
        "code": "InputInvalid",
        "reason": "never",
    }
    return DeadLetter.model_validate(fields | more)


async def test_dead_letter_is_written_once_and_the_last_one_counts(opened: Opened):
    dead_letters = opened.ports.dead_letters
    assert await dead_letters.latest_dead_letter("documents", PLACE) is None
    assert await dead_letters.dead_letter_history("documents", PLACE) == []
    written = [
        dead_letter(1),
        dead_letter(2, kind=DeadLetterKind.RETRYING, by="ann"),
        dead_letter(3, kind=DeadLetterKind.RESOLVED),
    ]
    for each in written:
        assert await dead_letters.append_dead_letter(each) == each
        assert await dead_letters.latest_dead_letter("documents", PLACE) == each
    assert await dead_letters.append_dead_letter(dead_letter(2, by="too late")) == written[1]
    assert await dead_letters.dead_letter_history("documents", PLACE) == written


async def test_of_many_writers_of_one_number_one_wins_and_all_see_it(opened: Opened):
    found = await asyncio.gather(
        *(opened.ports.dead_letters.append_dead_letter(dead_letter(by=f"w{one}")) for one in range(8))
    )
    assert len({each.by for each in found}) == 1


async def test_read_models_and_aggregates_are_told_apart(opened: Opened):
    dead_letters = opened.ports.dead_letters
    for each in (dead_letter(), dead_letter(2), dead_letter(1, HOSTILE), dead_letter(1, read_model="graph")):
        await dead_letters.append_dead_letter(each)
    assert await last_numbers(dead_letters, "documents") == {PLACE: 2, HOSTILE: 1}
    assert await last_numbers(dead_letters, "graph") == {PLACE: 1}
    last = {each.aggregate_id: each async for each in dead_letters.list_dead_letters("documents")}
    assert {name: each.number for name, each in last.items()} == {PLACE: 2, HOSTILE: 1}
    assert await dead_letters.read_dead_letter("documents", last[PLACE]) == dead_letter(2)
    assert last[PLACE].written_at.tzinfo is not None
    assert await dead_letters.latest_dead_letter("documents", AggregateId.parse("shop/Product/p")) is None


async def test_a_damaged_dead_letter_is_no_answer(opened: Opened):
    await opened.put_object(f"dead-letters/documents/{PLACE}/000001.json", b"{")
    with pytest.raises(LogDamaged):
        await opened.ports.dead_letters.latest_dead_letter("documents", PLACE)


async def test_a_moved_dead_letter_is_found_out(opened: Opened):
    await opened.put_object(f"dead-letters/documents/{PLACE}/000001.json", dead_letter(1, HOSTILE).canonical)
    with pytest.raises(LogDamaged):
        await opened.ports.dead_letters.latest_dead_letter("documents", PLACE)


async def test_a_failure_is_heard_by_whoever_listens(opened: Opened):
    body = dead_letter().model_dump(mode="json")
    await opened.ports.failures.announce(str(PLACE), body)
    await opened.ports.failures.announce("", {"reason": "ä"})
    assert sorted(await opened.failures(), key=lambda told: told[0]) == [("", {"reason": "ä"}), (str(PLACE), body)]


async def test_read_models_that_parked_are_listed(opened: Opened):
    assert await opened.ports.catalogue.parking_read_models() == []
    await opened.put_object("dead-letters/foreign", b"{}")
    for name in ("graph", "orders", "orders-2"):
        for number in (1, 2):
            await opened.ports.dead_letters.append_dead_letter(dead_letter(number, read_model=name))
    assert sorted(await opened.ports.catalogue.parking_read_models()) == ["graph", "orders", "orders-2"]
