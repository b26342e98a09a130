"""The texts by which an index finds and sorts the data of an instance, all from one walk through it."""

from json.encoder import encode_basestring
from typing import Any, NamedTuple

from oncelog.domain.limits import SORTED_PATHS_MAX, SORTED_TEXT_CHARACTERS_MAX
from oncelog.domain.term_parts import canonical_scalar, ordered_digits, term_part, term_step


class IndexTerms(NamedTuple):
    """The texts of one instance's data.

    ``exact``: terms by which a filter matches exactly if one of them is a term of the filter. There is one for each
    value and each path, both once: ``/tags="red"`` and ``/tags``; for a number one more, in the order of numbers
    (``range_of_terms``). No term has more than 131 characters.

    ``sortable``: for each path with values the least and the greatest text by which they are ordered, by code points:
    the one meaning of an order, see the table in ``docs/reading.md``. ``b0`` and ``b1`` are false and true, ``n``
    begins numbers and ``t`` the first characters of texts. Objects and null have no text. Of data with more than
    ``SORTED_PATHS_MAX`` paths, those of fewer names have theirs, and of as many names the first by code points.
    """

    exact: list[str]
    sortable: dict[str, list[str]]


def index_terms(data: dict[str, Any]) -> IndexTerms:
    """Return the texts of data; costs time in proportion to its bytes."""
    exact: dict[str, None] = {}
    sortable: dict[str, list[str]] = {}
    level: list[tuple[str, Any]] = [("", data)]
    while level:
        bounds: dict[str, list[str]] = {}
        level = _walk(level, exact, bounds)
        paths_left = SORTED_PATHS_MAX - len(sortable)
        for path in sorted(bounds)[:paths_left] if paths_left else ():
            sortable[path] = bounds[path]
    exact.pop("", None)
    return IndexTerms(list(exact), sortable)


def _walk(level: list[tuple[str, Any]], exact: dict[str, None], bounds: dict[str, list[str]]) -> list[tuple[str, Any]]:
    """Add the texts of values that lie equally deep; returns the members of the objects among them."""
    deeper: list[tuple[str, Any]] = []
    for path, value in level:  # which grows by the items of arrays
        if isinstance(value, str):  # the most frequent one is asked for first
            exact[path] = None
            exact[f"{path}={term_part(encode_basestring(value))}"] = None
            _widen(bounds, path, f"t{value[:SORTED_TEXT_CHARACTERS_MAX]}")
        elif isinstance(value, list):
            level.extend([(path, item) for item in value])
        elif isinstance(value, dict):
            exact[path] = None
            deeper.extend([(term_step(path, name), member) for name, member in value.items()])
        elif value is not None:
            exact[path] = None
            exact[f"{path}={term_part(canonical_scalar(value))}"] = None
            if isinstance(value, bool):
                _widen(bounds, path, "b1" if value else "b0")
            else:
                digits = ordered_digits(value)
                exact[f"{path}<{digits}"] = None
                _widen(bounds, path, f"n{digits}")
    return deeper


def _widen(bounds: dict[str, list[str]], path: str, text: str) -> None:
    """Let the least and the greatest text at a path hold one more."""
    known = bounds.get(path)
    if known is None:
        bounds[path] = [text]
    elif text < known[0]:
        bounds[path] = [text, known[-1]]
    elif text > known[-1]:
        bounds[path] = [known[0], text]
