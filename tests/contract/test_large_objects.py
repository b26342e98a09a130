"""``LargeObjects``: read by ranges, written by parts, whole or not at all."""

from collections.abc import AsyncIterator

import pytest

from oncelog.errors import LogDamaged
from tests.contract.conftest import Opened

KEY = "payloads/large.ndjson"
PART_BYTES = 5 * 1024 * 1024  # the least that S3 takes for a part that others follow


async def _parts(*parts: bytes, fails: bool = False) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
    if fails:
        raise RuntimeError("the file is gone")


@pytest.mark.parametrize("parts", [[b""], [b"{}\n"], [b"a" * PART_BYTES, b"b" * PART_BYTES, b"c"]])
async def test_what_was_written_in_parts_is_read_by_ranges(opened: Opened, parts: list[bytes]):
    objects, whole = opened.ports.large_objects, b"".join(parts)
    assert await objects.object_size(KEY) is None
    await objects.write_object(KEY, _parts(*parts))
    assert await objects.object_size(KEY) == len(whole)
    assert await objects.read_object(KEY, range(len(whole))) == whole
    for place in (range(0), range(1, 3), range(PART_BYTES - 2, PART_BYTES + 2)):
        if place.stop <= len(whole):
            assert await objects.read_object(KEY, place) == whole[place.start : place.stop]


async def test_a_later_one_replaces_what_stands(opened: Opened):
    objects = opened.ports.large_objects
    for body in (b"first", b"second, and longer"):
        await objects.write_object(KEY, _parts(body))
        assert await objects.read_object(KEY, range(len(body))) == body


async def test_what_is_missing_is_named(opened: Opened):
    objects = opened.ports.large_objects
    with pytest.raises(LogDamaged, match="no such object"):
        await objects.read_object(KEY, range(3))
    await objects.write_object(KEY, _parts(b"abc"))
    for place in (range(4), range(3, 5)):
        with pytest.raises(LogDamaged, match=r"large\.ndjson"):
            await objects.read_object(KEY, place)


@pytest.mark.parametrize("parts", [[b"a"], [b"a" * PART_BYTES, b"b" * PART_BYTES]])
async def test_what_is_not_finished_is_not_there(opened: Opened, parts: list[bytes]):
    objects = opened.ports.large_objects
    with pytest.raises(RuntimeError, match="gone"):
        await objects.write_object(KEY, _parts(*parts, fails=True))
    assert await objects.object_size(KEY) is None
