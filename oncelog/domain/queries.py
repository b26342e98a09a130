"""Searches among the instances of a class."""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from typing import Any

import rfc8785

from oncelog.domain.identifiers import check_name
from oncelog.domain.json_pointer import parse_pointer
from oncelog.domain.limits import INTEGER_MAX, RESULTS_MAX, WORDS_CHARACTERS_MAX
from oncelog.domain.sorting import SortKey, parse_sort
from oncelog.domain.term_parts import canonical_scalar, ordered_digits, term_part, term_path
from oncelog.errors import InputInvalid

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
    texts; ``lam*`` finds by a prefix. ``where``: JSON Pointer into the data to the value that stands there, or that
    an array there holds, or to a ``Range`` of numbers; null for an absent value (``matches``). ``cursor``: where a page
    before ended; it goes with the same words, filters and order only. ``results_max``: of one page; 0 only counts.
    ``sort``: JSON Pointers, each with ``-`` before it for descending order (``sorting``); without, the best match
    comes first, and then the order is that of the IDs.
    """

    db_name: str
    class_id: str
    words: str = ""
    where: Mapping[str, Scalar | Range] = field(default_factory=dict)
    cursor: str = ""
    results_max: int = 50
    sort: Sequence[str] = ()

    @property
    def sort_keys(self) -> list[SortKey]:
        """The keys to sort by, the first before the others."""
        return parse_sort(self.sort)

    @property
    def digest(self) -> str:
        """16 hexadecimal digits of SHA-256, the same for all pages of a search."""
        where = {at: [*astuple(value)] if isinstance(value, Range) else value for at, value in self.where.items()}
        asked: Any = [self.db_name, self.class_id, self.words, where, *([list(self.sort)] if self.sort else [])]
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
        parse_sort(self.sort)


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


def exact_term(pointer: str, value: Scalar) -> str:
    """Return the term that says: this value stands at the pointer; of null: there is a value at the pointer."""
    path = term_path(pointer)
    return path if value is None else f"{path}={term_part(canonical_scalar(value))}"


def range_of_terms(pointer: str, numbers: Range) -> tuple[str, str]:
    """Return the first and the last of the terms that say: a number within these bounds stands at the pointer.

    All such terms, and no others, lie between the two in the order of their characters. Where no number is within the
    bounds, the first lies behind the last.
    """
    path = term_path(pointer)
    least = [ordered_digits(numbers.at_least)] if numbers.at_least is not None else []
    least += [ordered_digits(math.nextafter(numbers.above, math.inf))] if numbers.above is not None else []
    most = [ordered_digits(numbers.at_most)] if numbers.at_most is not None else []
    most += [ordered_digits(math.nextafter(numbers.below, -math.inf))] if numbers.below is not None else []
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
