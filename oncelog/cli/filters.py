"""Filters and hops as an operator types them."""

import re
from collections.abc import Sequence
from dataclasses import replace

from oncelog.domain.canonical import parse_json
from oncelog.domain.queries import Range, Scalar
from oncelog.errors import InputInvalid
from oncelog.query.hops import Hop

_COMPARED = re.compile(r"(?P<pointer>/.*?)(?P<operator>>=|<=|[<>=])(?P<value>.*)", re.DOTALL)
_BOUNDS = {">=": "at_least", ">": "above", "<=": "at_most", "<": "below"}
#: Filters of a hop are parted by a comma before a pointer; in a value that holds one, JSON's quotes keep it together.
_FILTER = re.compile(r'(?:"(?:\\.|[^"\\])*"|[^,]|,(?!/))+')
_HOP = re.compile(r"(?P<inward>\^?)(?P<name>[A-Za-z][\w-]*)(:(?P<class_id>[A-Za-z][\w-]*))?(\[(?P<where>.*)\])?")


def parse_where(texts: Sequence[str]) -> dict[str, Scalar | Range]:
    """Return filters of ``/path=VALUE`` and ``/path>=NUMBER``. Bounds of one path together are a range.

    Raises InputInvalid, for a second value or a second bound of the same kind, too.
    """
    found: dict[str, Scalar | Range] = {}
    for text in texts:
        match = _COMPARED.fullmatch(text)
        if match is None:
            raise InputInvalid(f"{text!r}: expected /path=VALUE or /path>=NUMBER, such as /name=Lamp or /price>=10")
        pointer, value = match["pointer"], _scalar(match["value"], text)
        before = found.get(pointer)
        if match["operator"] == "=":
            if pointer in found:
                raise InputInvalid(f"{text!r}: expected one filter of {pointer}, found another before; keep one")
            found[pointer] = value
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputInvalid(f"{text!r}: expected a number after {match['operator']}, found {match['value']!r}")
        bound, known = _BOUNDS[match["operator"]], before if isinstance(before, Range) else Range()
        if (pointer in found and not isinstance(before, Range)) or getattr(known, bound) is not None:
            raise InputInvalid(f"{text!r}: expected one such filter of {pointer}, found another before; keep one")
        found[pointer] = replace(known, **{bound: value})
    return found


def parse_hop(text: str) -> Hop:
    """Return the hop of ``[^]NAME[:CLASS][[/path=VALUE,...]]``; raises InputInvalid."""
    match = _HOP.fullmatch(text)
    if match is None:
        raise InputInvalid(
            f"hop {text!r}: expected NAME, ^PREDICATE, or with class and filters NAME:CLASS[/path=VALUE,/path>=NUMBER]"
        )
    where = parse_where(_FILTER.findall(match["where"])) if match["where"] else {}
    return Hop(match["name"], inward=bool(match["inward"]), class_id=match["class_id"], where=where)


def _scalar(text: str, where: str) -> Scalar:
    try:
        value = parse_json(text)
    except InputInvalid:
        return text
    if isinstance(value, dict | list):
        raise InputInvalid(f"{where!r}: expected a text, a number, true, false or null, found {text}")
    found: Scalar = value
    return found
