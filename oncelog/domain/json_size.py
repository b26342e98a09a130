"""The size of a JSON value, by counts that are the same on every machine.

Two walks: ``measured`` goes level by level, so that C code looks at most values, and vouches for ordinary values only;
for all others a slower walk names the place (``oncelog.domain.canonical``).
"""

import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Any

from oncelog.domain.limits import INDEXED_BYTES_MAX, INTEGER_MAX, LEAF_BYTES, VALUES_MAX

#: So many values are measured: a value that contains itself has no end.
MEASURED_VALUES_MAX = 1 << 20

_CONTAINERS = frozenset({dict, list})
_PLAIN = _CONTAINERS | {str, int, float, bool, type(None)}


@dataclass(frozen=True, slots=True)
class JsonSize:
    """The size of a value. ``values``: it and all within; ``leaves``: values that hold no other; ``path_bytes``: the
    keys above a leaf come to so many bytes at most, a separator for each included.
    """

    values: int
    leaves: int
    path_bytes: int


def measured(value: Any, *, depth_max: int, key_bytes_max: int) -> JsonSize | None:
    """Return the size of an object or array that canonical JSON holds as it is; None for one that may be refused.

    None also where a number, a text, a key, the depth or the number of values is out of the ordinary, or the value is
    neither a ``dict`` nor a ``list``.
    """
    if type(value) not in _CONTAINERS:
        return None
    level: list[Any] = [value] if value else []
    values, leaves, path_bytes, depth = 1, 0 if value else 1, 0, 0
    while level:
        objects = [item for item in level if type(item) is dict]
        members = [*chain.from_iterable(item if type(item) is list else item.values() for item in level)]
        longest = _longest_key(set().union(*objects))
        values += len(members)
        if depth == depth_max or values > MEASURED_VALUES_MAX or longest > key_bytes_max or not _are_plain(members):
            return None
        level = [item for item in members if type(item) in _CONTAINERS and item]
        leaves += len(members) - len(level)
        path_bytes += longest + 1 if objects else 0
        depth += 1
    return JsonSize(values, leaves, path_bytes)


def _longest_key(keys: set[Any]) -> int:
    """Return how many bytes the longest key takes; more than any key may where one is no ordinary text."""
    if not keys:
        return 0
    if set(map(type, keys)) != {str}:
        return sys.maxsize
    joined = "".join(keys)
    if not joined.isascii() or "\0" in joined:
        return sys.maxsize
    return max(map(len, keys))


def _are_plain(members: list[Any]) -> bool:
    """Return whether each is an object, an array, or a scalar that canonical JSON holds exactly."""
    kinds = set(map(type, members))
    if not kinds <= _PLAIN:
        return False
    if str in kinds and not _are_unicode(item for item in members if type(item) is str):
        return False
    if int in kinds and not _are_exact(item for item in members if type(item) is int):
        return False
    return float not in kinds or _are_exact(item for item in members if type(item) is float)


def _are_unicode(texts: Iterable[str]) -> bool:
    """Return whether no text has a lone surrogate."""
    joined = "".join(texts)
    if joined.isascii():
        return True
    try:
        joined.encode()
    except UnicodeEncodeError:
        return False
    return True


def _are_exact(numbers: Iterable[float]) -> bool:
    found = list(numbers)
    return min(found) >= -INTEGER_MAX and max(found) <= INTEGER_MAX and not any(map(math.isnan, found))


def indexing_problem(value: Any, *, size_bytes: int, size: JsonSize | None = None) -> str | None:
    """Return why a value is too much to be held or indexed, or None; ``size_bytes``: of its canonical form.

    ``size``: if it was measured before. An index of undefined data holds, for each leaf, the path of all keys that
    lead to it: few long keys above many leaves come to gigabytes. A leaf itself costs ``LEAF_BYTES``, so that their
    number is bounded as well. The number of all values is bounded, since each object and array takes far more memory
    and time than its bytes tell. Time and memory: in proportion to the value's size.
    """
    if size_bytes * (size_bytes // 2 + LEAF_BYTES) <= INDEXED_BYTES_MAX:  # half of its bytes are leaves, at most
        return None
    if size and size.values <= VALUES_MAX and size.leaves * (LEAF_BYTES + size.path_bytes) <= INDEXED_BYTES_MAX:
        return None
    total_bytes, count = indexed_size(value)
    if count > VALUES_MAX:
        return (
            f"expected at most {VALUES_MAX} values (each object and array is one as well), found {count}; "
            "store the values elsewhere and refer to them"
        )
    if total_bytes <= INDEXED_BYTES_MAX:
        return None
    return (
        f"expected at most {INDEXED_BYTES_MAX} bytes to index (for each value {LEAF_BYTES} and the keys above it), "
        f"found {total_bytes}; shorten the keys above large arrays, or store the values elsewhere and refer to them"
    )


def indexed_size(value: Any) -> tuple[int, int]:
    """Return two sizes of a value: for each leaf ``LEAF_BYTES`` and the bytes of all keys above it; how many values.

    An empty object or array is a leaf.
    """
    if not isinstance(value, dict | list | tuple) or not value:
        return LEAF_BYTES, 1
    total_bytes, count = 0, 1
    pending: list[tuple[Any, int]] = [(value, 0)]
    while pending:
        item, path_bytes = pending.pop()
        count += len(item)
        if isinstance(item, dict):
            for key, child in item.items():
                child_path_bytes = path_bytes + len(key.encode()) + 1
                if child and isinstance(child, dict | list | tuple):
                    pending.append((child, child_path_bytes))
                else:
                    total_bytes += child_path_bytes + LEAF_BYTES
        else:
            nested = [child for child in item if child and isinstance(child, dict | list | tuple)]
            total_bytes += (len(item) - len(nested)) * (path_bytes + LEAF_BYTES)
            pending.extend((child, path_bytes) for child in nested)
    return total_bytes, count


def values_and_characters(value: Any) -> tuple[int, int]:
    """Return how many values a JSON value holds, itself among them, and how many characters their texts and keys."""
    characters, pending = 0, [value]
    for item in pending:
        if isinstance(item, str):
            characters += len(item)
        elif isinstance(item, dict):
            characters += len("".join(item))
            pending += item.values()
        elif isinstance(item, list):
            pending += item
    return len(pending), characters


def weighs_more(value: Any, *, than_bytes: int) -> bool:
    """Return whether a JSON value, or its text, takes more than about so many bytes; looks at no more than that."""
    return weight(value, up_to_bytes=than_bytes) > than_bytes


def weight(value: Any, *, up_to_bytes: int) -> int:
    """Return about how many bytes a JSON value, or its text, takes; more than ``up_to_bytes`` where it is more.

    Looks at no more than that.
    """
    left = up_to_bytes
    pending = [value]
    for item in pending:
        left -= 4
        if isinstance(item, str):  # the most frequent one is asked for first: small commands pass here several times
            left -= len(item)
        elif isinstance(item, dict):
            left -= 8 * len(item)
            pending += item.values() if left >= 0 else ()
        elif isinstance(item, list | tuple):
            left -= 2 * len(item)
            pending += item if left >= 0 else ()
        elif isinstance(item, bytes):
            left -= len(item)
        if left < 0:
            break
    return up_to_bytes - left
