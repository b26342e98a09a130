"""The order of search results: by values at JSON Pointers, the same in every index."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oncelog.domain.limits import SORT_KEYS_MAX, SORTED_PATHS_MAX, SORTED_TEXT_CHARACTERS_MAX
from oncelog.domain.term_parts import ordered_digits, term_path, term_step
from oncelog.errors import InputInvalid

#: The places of data without a value at the pointer: behind all values, in either direction.
_LAST_ASCENDING, _LAST_DESCENDING = "z", ""


@dataclass(frozen=True)
class SortKey:
    """A JSON Pointer into the data, and the direction. ``path``: the pointer as ``sort_texts`` names it."""

    pointer: str
    path: str
    descending: bool

    def text_of(self, data: Mapping[str, Any]) -> str:
        """Return the text by which data is ordered, by code points."""
        texts = sort_texts(data).get(self.path)
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


def sort_texts(data: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return for each path with values the least and the greatest text by which they are ordered, by code points.

    The one meaning of an order, see the table in ``docs/reading.md``. ``b0`` and ``b1`` are false and true, ``n``
    begins numbers and ``t`` the first characters of texts. Objects and null have no text. Of data with more than
    ``SORTED_PATHS_MAX`` paths, those of fewer names have theirs, and of as many names the first by code points.
    Costs time in proportion to the bytes of the data.
    """
    found: dict[str, list[str]] = {}
    level: list[tuple[str, Any]] = [("", data)]
    while level and len(found) < SORTED_PATHS_MAX:
        here: dict[str, list[str]] = {}
        deeper: list[tuple[str, Any]] = []
        for path, value in _items(level):
            if isinstance(value, Mapping):
                deeper.extend((term_step(path, name), member) for name, member in value.items())
            elif value is not None:
                _widen(here, path, _text(value))
        for path in sorted(here)[: SORTED_PATHS_MAX - len(found)]:
            found[path] = here[path]
        level = deeper
    return found


def _items(level: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Yield each path and value, of arrays what they hold."""
    pending = list(level)
    while pending:
        path, value = pending.pop()
        if isinstance(value, list):
            pending.extend((path, item) for item in value)
        else:
            yield path, value


def _widen(bounds: dict[str, list[str]], path: str, text: str) -> None:
    """Let the least and the greatest text at a path hold one more."""
    known = bounds.get(path)
    if known is None:
        bounds[path] = [text]
    elif text < known[0]:
        bounds[path] = [text, known[-1]]
    elif text > known[-1]:
        bounds[path] = [known[0], text]


def _text(value: str | float | bool) -> str:
    if isinstance(value, bool):
        return "b1" if value else "b0"
    return f"t{value[:SORTED_TEXT_CHARACTERS_MAX]}" if isinstance(value, str) else f"n{ordered_digits(value)}"
