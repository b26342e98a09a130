"""The order of search results: by values at JSON Pointers, the same in every index."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from oncelog.domain.index_terms import index_terms
from oncelog.domain.limits import SORT_KEYS_MAX
from oncelog.domain.term_parts import term_path
from oncelog.errors import InputInvalid

#: The places of data without a value at the pointer: behind all values, in either direction.
_LAST_ASCENDING, _LAST_DESCENDING = "z", ""


@dataclass(frozen=True)
class SortKey:
    """A JSON Pointer into the data, and the direction. ``path``: the pointer as ``index_terms`` names it."""

    pointer: str
    path: str
    descending: bool

    def text_of(self, data: dict[str, Any]) -> str:
        """Return the text by which data is ordered, by code points."""
        texts = index_terms(data).sortable.get(self.path)
        if not texts:
            return _LAST_DESCENDING if self.descending else _LAST_ASCENDING
        return max(texts) if self.descending else min(texts)


def parse_sort(sort: Sequence[str]) -> list[SortKey]:
    """Return the keys of ``/path`` and, for descending order, ``-/path``; raises InputInvalid."""
    if isinstance(sort, str):
        raise InputInvalid(f"sort: expected a list of pointers, found the text {sort[:80]!r}; put it in a list")
    if len(sort) > SORT_KEYS_MAX:
        raise InputInvalid(f"sort: expected at most {SORT_KEYS_MAX} pointers, found {len(sort)}; leave some out")
    keys = [_parse_key(text) for text in sort]
    if len({key.pointer for key in keys}) < len(keys):
        raise InputInvalid("sort: expected each pointer once, found one twice; keep the first")
    return keys


def _parse_key(text: Any) -> SortKey:
    if not isinstance(text, str):
        raise InputInvalid(f"sort: expected JSON Pointers as texts, found {type(text).__name__}; write /name")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise InputInvalid(f"sort {text[:80]!r}: expected valid Unicode, found a lone surrogate")
    pointer = text.removeprefix("-")
    try:
        path = term_path(pointer)
    except InputInvalid as error:
        raise InputInvalid(
            f"sort {text[:80]!r}: {error.message}; write /name, or -/name for descending order"
        ) from error
    if not path:
        raise InputInvalid(f"sort {text!r}: expected a JSON Pointer to a member of the data, found the root")
    return SortKey(pointer, path, text.startswith("-"))
