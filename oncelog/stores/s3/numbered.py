"""Folders of numbered objects, ``{number:020d}.json`` or of fewer digits: which number is the highest."""

import re

from oncelog.stores.s3.bucket import KEYS_PER_LIST_MAX, Bucket, ListedObject

_NUMBERED = re.compile(r"([0-9]+)\.json")

DIGITS = 20


def numbered_key(folder: str, number: int, *, digits: int = DIGITS) -> str:
    """Return the key of a numbered object; ``folder`` ends with a slash."""
    return f"{folder}{number:0{digits}d}.json"


async def highest_number(
    bucket: Bucket,
    folder: str,
    *,
    after: int = 0,
    keys_per_list_max: int = KEYS_PER_LIST_MAX,
    digits: int = DIGITS,
) -> int:
    """Return the highest number above ``after``, or ``after`` itself, in requests that grow with its logarithm.

    That a key sorts above a given one can be asked directly, so the highest is first overtaken in growing strides and
    then closed in on; a short folder is seen whole in the first answer.
    """
    taken, free, probed, stride = after, None, after, keys_per_list_max
    while True:
        probed = min(probed, 10**digits - 1)  # a key of more digits would sort before those of fewer
        start = numbered_key(folder, probed, digits=digits)
        listed, more = await bucket.list_after(folder, start, count_max=keys_per_list_max)
        numbers = [number for item in listed if (number := number_of(folder, item, digits=digits)) is not None]
        if numbers:
            taken = numbers[-1]
            if not more:
                return taken
        else:
            free = probed
            if free == taken:
                return taken
        stride *= 2
        probed = taken + stride if free is None else (taken + free) // 2


def number_of(folder: str, item: ListedObject, *, digits: int = DIGITS) -> int | None:
    """Return the number of an object in the folder, None for a foreign one."""
    match = _NUMBERED.fullmatch(item.key.removeprefix(folder))
    return int(match[1]) if match and len(match[1]) == digits else None
