"""Folders of numbered objects: the highest number is found at any length, also at the end of its digits."""

from bisect import bisect_right

import pytest

from oncelog.stores.s3.bucket import KEYS_PER_LIST_MAX, Bucket, ListedObject
from oncelog.stores.s3.numbered import highest_number, numbered_key
from oncelog.testing.memory.s3 import LONG_AGO

DIGITS = 6
LISTS_MAX = 40


class LongFolder:
    """A bucket of one folder that holds each number up to ``last``, and none of it in memory."""

    def __init__(self, last: int) -> None:
        self.last = last
        self.lists = 0

    async def list_after(
        self, prefix: str, after: str, *, count_max: int = KEYS_PER_LIST_MAX
    ) -> tuple[list[ListedObject], bool]:
        self.lists += 1
        assert self.lists <= LISTS_MAX, "goes on and on"
        first = bisect_right(
            range(1, self.last + 1), after, key=lambda number: numbered_key(prefix, number, digits=DIGITS)
        )
        numbers = range(first + 1, min(first + count_max, self.last) + 1)
        page = [ListedObject(numbered_key(prefix, number, digits=DIGITS), LONG_AGO) for number in numbers]
        return page, first + count_max < self.last


@pytest.mark.parametrize("last", [0, 1, 999, 1_000, 1_001, 511_000, 520_000, 524_288, 999_998, 999_999])
async def test_highest_number_is_found_at_any_length(last: int):
    folder: Bucket = LongFolder(last)  # type: ignore[assignment]  # asked for nothing else
    assert await highest_number(folder, "unique/", digits=DIGITS) == last
