"""Searches among the instances of a class."""

import hashlib
import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from json.encoder import encode_basestring
from typing import Any

import rfc8785

from oncelog.domain.identifiers import check_name
from oncelog.domain.json_pointer import parse_pointer
from oncelog.domain.limits import INTEGER_MAX, RESULTS_MAX, WORDS_CHARACTERS_MAX
from oncelog.errors import InputInvalid

#: Longer parts of a term are replaced by their SHA-256, so that terms cost the same however long paths and texts are.
TERM_PART_CHARACTERS_MAX = 64

Scalar = str | int | float | bool | None


@dataclass(frozen=True)
class Range:
    """Numbers between bounds, each of which may be left open. A value that is not a number is in no range."""

    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None

    def __post_init__(self) -> None:
        for bound in (self.at_least, self.above, self.at_most, self.below):
            if bound is None:
                continue
            if isinstance(bound, bool) or not isinstance(bound, int | float) or not _is_held_by_data(bound):
                raise InputInvalid(
                    f"range: expected numbers that data can hold as bounds, found {_shown(bound)}; leave one out"
                )

    def holds(self, value: object) -> bool:
        """Return whether the value is a number within the bounds."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return (
            (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
        )


@dataclass(frozen=True)
class Search:
    """A question about one class.

    ``words``: each must be found in the data; of an undefined class as a whole value, of a defined one within its
    texts; ``lam*`` finds what begins so. ``where``: JSON Pointer into the data to the value that stands there, or that
    an array there holds, or to a ``Range`` of numbers; null for what is absent (``matches``). ``cursor``: where a page
    before ended; it goes with the same words and filters only. ``results_max``: of one page; 0 only counts.
    """

    db_name: str
    class_id: str
    words: str = ""
    where: Mapping[str, Scalar | Range] = field(default_factory=dict)
    cursor: str = ""
    results_max: int = 50

    @property
    def digest(self) -> str:
        """16 hexadecimal digits of SHA-256, the same for all pages of a search."""
        where = {at: [*astuple(value)] if isinstance(value, Range) else value for at, value in self.where.items()}
        asked: Any = [self.db_name, self.class_id, self.words, where]
        return hashlib.sha256(rfc8785.dumps(asked)).hexdigest()[:16]

    def __post_init__(self) -> None:
        check_name(self.db_name, "db_name")
        check_name(self.class_id, "class_id")
        if not 0 <= self.results_max <= RESULTS_MAX:
            raise InputInvalid(f"search: expected 0 to {RESULTS_MAX} results at a time, found {self.results_max}")
        if self.cursor and not self.results_max:
            raise InputInvalid("search: expected no cursor where nothing is listed; leave it out, the count is of all")
        if len(self.words) > WORDS_CHARACTERS_MAX:
            raise InputInvalid(
                f"search: expected at most {WORDS_CHARACTERS_MAX} characters of words, found {len(self.words)}"
            )
        for pointer, value in self.where.items():
            check_filter(pointer, value)


def check_filter(pointer: str, value: Any) -> None:
    """Raise InputInvalid, with the reason, for a filter that cannot be answered exactly."""
    if not parse_pointer(pointer):
        raise InputInvalid(f"filter {pointer!r}: expected a JSON Pointer to a member of the data, found the root")
    if value is None or isinstance(value, bool | Range):
        return
    if isinstance(value, int | float):
        if not _is_held_by_data(value):
            raise InputInvalid(
                f"filter {pointer!r}: expected a number that data can hold, found {_shown(value)}; beyond "
                "±(2^53-1) data holds texts"
            )
        return
    if not isinstance(value, str):
        raise InputInvalid(
            f"filter {pointer!r}: expected a text, a number, true, false or null, found {type(value).__name__}; "
            "compare its members one by one"
        )
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise InputInvalid(f"filter {pointer!r}: expected valid Unicode, found a lone surrogate")


def matches(data: Mapping[str, Any], where: Mapping[str, Scalar | Range]) -> bool:
    """Return whether data passes every filter: the one meaning of filters, see the table in ``docs/reading.md``."""
    return all(_holds(list(_values_at(data, parse_pointer(pointer))), value) for pointer, value in where.items())


def exact_terms(data: Mapping[str, Any]) -> list[str]:
    """Return terms for an index, so that a filter matches data exactly if one of them is a term of the filter.

    A term for each value and each path, both once: ``/tags="red"`` and ``/tags``; for a number one more, in the order
    of numbers (``range_of_terms``). Costs time in proportion to the bytes of the data; no term has more than 131
    characters.
    """
    terms: dict[str, None] = {}
    pending: list[tuple[str, Any]] = [("", data)]
    while pending:
        path, value = pending.pop()
        if isinstance(value, str):  # the most frequent one is asked for first
            terms[path] = None
            terms[f"{path}={_part(encode_basestring(value))}"] = None
        elif isinstance(value, list):
            pending.extend((path, item) for item in value)
        elif isinstance(value, Mapping):
            terms[path] = None
            pending.extend((_step(path, name), member) for name, member in value.items())
        elif value is not None:
            terms[path] = None
            terms[f"{path}={_part(_canonical(value))}"] = None
            if not isinstance(value, bool):
                terms[f"{path}<{_ordered(value)}"] = None
    terms.pop("", None)
    return list(terms)


def exact_term(pointer: str, value: Scalar) -> str:
    """Return the term that says: this value stands at the pointer; of null: there is a value at the pointer."""
    path = _path(pointer)
    return path if value is None else f"{path}={_part(_canonical(value))}"


def range_of_terms(pointer: str, numbers: Range) -> tuple[str, str]:
    """Return the first and the last of the terms that say: a number within these bounds stands at the pointer.

    All such terms, and no others, lie between the two in the order of their characters. Where no number is within the
    bounds, the first lies behind the last.
    """
    path = _path(pointer)
    least = [_ordered(numbers.at_least)] if numbers.at_least is not None else []
    least += [_ordered(math.nextafter(numbers.above, math.inf))] if numbers.above is not None else []
    most = [_ordered(numbers.at_most)] if numbers.at_most is not None else []
    most += [_ordered(math.nextafter(numbers.below, -math.inf))] if numbers.below is not None else []
    return f"{path}<{max(least, default='0')}", f"{path}<{min(most, default='g')}"


def _shown(number: object) -> str:
    """Return the beginning of a number's digits, or of an integer that Python writes none of, its size."""
    if isinstance(number, int) and number.bit_length() > 1024:
        return f"an integer of {number.bit_length()} bits"
    return str(number)[:40]


def _is_held_by_data(number: float) -> bool:
    """Return whether our data may hold the number: an integer only as far as every reader keeps it exactly."""
    if isinstance(number, float) and (not number.is_integer() or abs(number) >= 1e21):
        return math.isfinite(number)
    return abs(number) <= INTEGER_MAX


def _ordered(number: float) -> str:
    """Return 16 hexadecimal digits in the order of numbers: the bits of a binary64, all inverted of a negative one.

    Every number that data holds is one of binary64 exactly.
    """
    (bits,) = struct.unpack(">Q", struct.pack(">d", number + 0.0))  # makes 0.0 of -0.0
    return f"{bits ^ (0xFFFF_FFFF_FFFF_FFFF if bits >> 63 else 1 << 63):016x}"


def _path(pointer: str) -> str:
    path = ""
    for name in parse_pointer(pointer):
        path = _step(path, name)
    return path


def _holds(values: Sequence[Any], wanted: Scalar | Range) -> bool:
    if wanted is None:
        return not values
    if isinstance(wanted, Range):
        return any(wanted.holds(value) for value in values)
    return any(_equal(value, wanted) for value in values)


def _equal(value: Any, wanted: Any) -> bool:
    if isinstance(value, bool) or isinstance(wanted, bool) or isinstance(value, str) or isinstance(wanted, str):
        return type(value) is type(wanted) and bool(value == wanted)
    return isinstance(value, int | float) and bool(value == wanted)


def _values_at(value: Any, names: Sequence[str]) -> Iterator[Any]:
    """Yield the values at a path, through arrays at each step; null is no value."""
    if isinstance(value, list):
        for item in value:
            yield from _values_at(item, names)
    elif not names:
        if value is not None:
            yield value
    elif isinstance(value, Mapping) and names[0] in value:
        yield from _values_at(value[names[0]], names[1:])


def _step(path: str, name: str) -> str:
    escaped = name.replace("~", "~0").replace("/", "~1").replace("=", "~2").replace("<", "~3")
    return _part(f"{path}/{escaped}")


def _part(text: str) -> str:
    """Return the text, or the digest of a long one: ``#`` begins neither a path nor a JSON value."""
    if len(text) <= TERM_PART_CHARACTERS_MAX:
        return text
    return "#" + hashlib.sha256(text.encode()).hexdigest()


def _canonical(value: str | float | bool) -> str:
    """Return the scalar as RFC 8785 writes it: equal values in equal characters, whatever their type in Python."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return encode_basestring(value)
    return str(value) if isinstance(value, int) else rfc8785.dumps(value).decode()
