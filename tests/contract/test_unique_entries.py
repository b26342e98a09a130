"""``UniqueEntries`` in S3 and ``ChainHints`` in Redis: the chains of unique values."""

import asyncio

import pytest

from oncelog.domain.unique.constraint import ValueKey
from oncelog.domain.unique.entry import EndedBy, Place, UniqueEntry, ValueChain, entries_of
from oncelog.errors import LogDamaged
from tests.contract.chains import PLACE
from tests.contract.conftest import Opened

SHA256 = "a" * 64
CHAIN = ValueChain.of(PLACE, ValueKey("email", SHA256))


def _entry(n: int = 1, *, command_id: str = "c", sha256: str = SHA256) -> UniqueEntry:
    ended_by = EndedBy(key="events/x", checksum="b" * 64) if n > 1 else None
    place = Place(constraint="email", sha256=sha256, n=n, ended_by=ended_by)
    (entry,) = entries_of(PLACE, 3, [place], command_id=command_id, record=1)
    return entry


async def test_first_entry_has_its_place(opened: Opened):
    entries = opened.ports.unique_entries
    first, second = _entry(command_id="c"), _entry(command_id="d")
    assert await entries.read_entry(CHAIN, 1) is None
    assert await entries.write_entry(first) == first
    assert await entries.write_entry(second) == first
    assert await entries.write_entry(first) == first
    assert await entries.read_entry(CHAIN, 1) == first


async def test_of_many_at_once_all_read_the_same(opened: Opened):
    contenders = [_entry(command_id=f"c{number}") for number in range(12)]
    stored = await asyncio.gather(*(opened.ports.unique_entries.write_entry(entry) for entry in contenders))
    assert len({entry.canonical for entry in stored}) == 1


async def test_last_place_is_that_of_the_chain_alone(opened: Opened):
    entries = opened.ports.unique_entries
    assert await entries.last_place(CHAIN) == 0
    for n in range(1, 13):
        await entries.write_entry(_entry(n))
    for foreign in ("9" + SHA256[1:], "b" + SHA256[1:]):
        await entries.write_entry(_entry(15, sha256=foreign))
    assert await entries.last_place(CHAIN) == 12
    assert await entries.last_place(CHAIN, after=11) == 12
    assert await entries.last_place(CHAIN, after=12) == 12


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b"\xff"])
async def test_damaged_entry_is_named(opened: Opened, body: bytes):
    await opened.put_object(_entry().key, body)
    with pytest.raises(LogDamaged, match="entry 1 of shop/Product, email"):
        await opened.ports.unique_entries.read_entry(CHAIN, 1)
    with pytest.raises(LogDamaged, match="entry 1 of shop/Product, email"):
        await opened.ports.unique_entries.write_entry(_entry())


async def test_entry_under_another_key_is_damage(opened: Opened):
    await opened.put_object(_entry(1).key, _entry(2).canonical)
    with pytest.raises(LogDamaged, match="found entry 2"):
        await opened.ports.unique_entries.read_entry(CHAIN, 1)


async def test_hints_are_of_one_chain_each(opened: Opened):
    hints = opened.ports.chain_hints
    other = ValueChain.of(PLACE, ValueKey("plate", SHA256))
    assert list(await hints.last_places([CHAIN, other])) == [None, None]
    await hints.save_last_places([(CHAIN, 3), (other, 999_999)])
    assert list(await hints.last_places([other, CHAIN])) == [999_999, 3]
    await hints.save_last_places([(CHAIN, 2)])
    assert list(await hints.last_places([CHAIN])) == [2]
    assert list(await hints.last_places([])) == []
    await hints.save_last_places([])
