"""JSON as Oncelog accepts it, and the one byte form of it that is hashed.

Canonical form is RFC 8785 (JCS). A value that JCS cannot represent exactly is refused at the door rather than rounded.
"""

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import rfc8785

from oncelog.domain.json_pointer import pointer_of
from oncelog.domain.json_size import JsonSize, indexing_problem, measured
from oncelog.domain.limits import (
    DEPTH_MAX,
    INTEGER_MAX,
    KEY_BYTES_MAX,
    POINTER_CHARACTERS_MAX,
    PROBLEM_CHARACTERS_MAX,
    STORED_BYTES_MAX,
    STORED_DEPTH_MAX,
    TEXT_BYTES_MAX,
)
from oncelog.errors import InputInvalid

#: Values that the standard library writes differently from RFC 8785, or accepts where RFC 8785 refuses: whole floats,
#: exponents, long integers; and keys that UTF-16 sorts otherwise. Either may match within a text, which costs time and
#: nothing else.
_OTHER_NUMBER = r"-?(?:\d{16}|\d+\.0[,}\]]|[\d.]+e)"
_OTHER_MEMBER = re.compile(":" + _OTHER_NUMBER)  # a pattern that begins with one character is searched much faster
_OTHER_ITEM, _OTHER_FIRST_ITEM = re.compile("," + _OTHER_NUMBER), re.compile(r"\[" + _OTHER_NUMBER)
_OTHER_ORDER = re.compile(r"[\ue000-\U0010ffff]")
_standard = json.JSONEncoder(
    sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False, check_circular=False
)

type_names = {dict: "object", list: "array", str: "string", int: "integer", float: "number", bool: "boolean"}


def canonical_bytes(value: Any) -> bytes:
    """Return the RFC 8785 form of a JSON value; its keys are strings.

    Raises InputInvalid for values that it cannot hold: integers beyond ±(2^53-1), NaN, infinities, lone surrogates.
    """
    try:
        return _written_by_standard(value) or rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, RecursionError, UnicodeEncodeError) as error:
        check_json(value)
        raise InputInvalid(f"the value has no canonical JSON form (RFC 8785): {error}") from error


def _written_by_standard(value: Any) -> bytes | None:
    """Return the same bytes in a fourth of the time, where the standard library is known to write them; else None."""
    if not isinstance(value, dict | list):
        return None
    try:
        text = _standard.encode(value)
    except (ValueError, TypeError):
        return None
    if _OTHER_MEMBER.search(text) or (not text.isascii() and _OTHER_ORDER.search(text)):
        return None
    if "[" in text and (_OTHER_ITEM.search(text) or _OTHER_FIRST_ITEM.search(text)):
        return None
    return text.encode()


def sha256_hex(data: bytes) -> str:
    """Return the SHA-256 of the bytes as 64 lower-case hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def parse_json(text: str | bytes, *, where: str = "the document") -> Any:
    """Parse JSON strictly: no duplicate keys, no NaN, nothing that canonical JSON cannot hold.

    Raises InputInvalid that says where and why.
    """
    value = parse_unchecked(text, where=where)
    check_json(value, where=where)
    return value


def parse_stored(data: bytes, *, where: str) -> Any:
    """Parse JSON that we wrote. It wraps accepted input, so its bounds are wider than those of input.

    No rule for input that may become narrower counts here: a record stays readable. Raises InputInvalid that says
    where and why.
    """
    value = _parsed(data, where=where, bytes_max=STORED_BYTES_MAX)
    check_json(value, where=where, depth_max=STORED_DEPTH_MAX, key_bytes_max=STORED_BYTES_MAX)
    return value


def parse_accepted(data: bytes, *, where: str) -> Any:
    """Parse JSON that was accepted as input before, by the rules of its day, to the value of its canonical form.

    Raises InputInvalid that says where and why.
    """
    if len(data) > STORED_BYTES_MAX:
        raise InputInvalid(f"{where}: expected at most {STORED_BYTES_MAX} bytes of JSON, found {len(data)}")
    try:
        return json.loads(canonical_bytes(json.loads(data)))
    except (ValueError, RecursionError) as error:
        raise InputInvalid(f"{where}: not JSON: {error}") from error


def parse_unchecked(text: str | bytes, *, where: str) -> Any:
    """Parse JSON as ``parse_json`` does, for a caller that checks the values it keeps; raises InputInvalid."""
    return _parsed(text, where=where, bytes_max=2 * TEXT_BYTES_MAX)


def _parsed(text: str | bytes, *, where: str, bytes_max: int) -> Any:
    if len(text) > bytes_max:
        raise InputInvalid(f"{where}: expected at most {bytes_max} bytes of JSON, found {len(text)}")
    try:
        return json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_no_constant, parse_float=_exact_number)
    except InputInvalid as error:
        raise InputInvalid(f"{where}: {error.message}") from error
    except RecursionError as error:
        raise InputInvalid(f"{where}: nested deeper than {DEPTH_MAX} levels; flatten it") from error
    except UnicodeDecodeError as error:
        raise InputInvalid(f"{where}: not UTF-8 at byte {error.start}; encode it as UTF-8") from error
    except ValueError as error:
        raise InputInvalid(f"{where}: not JSON: {error}") from error


def normalised(value: Any, *, where: str = "value", bytes_max: int = TEXT_BYTES_MAX, indexed: bool = True) -> Any:
    """Return the value as it reads back from its canonical form (``1.0`` becomes ``1``), checked first.

    So a fold over an event in memory and over the same event read from S3 cannot differ. Raises InputInvalid, also
    for more than ``bytes_max`` bytes of canonical JSON, or, where it is ``indexed``, ``INDEXED_BYTES_MAX``.
    """
    size = check_json(value, where=where)
    data = canonical_bytes(value)
    if len(data) > bytes_max:
        raise InputInvalid(
            f"{where}: expected at most {bytes_max} bytes of canonical JSON, found {len(data)}; "
            "store the bulk elsewhere and refer to it"
        )
    if indexed and (problem := indexing_problem(value, size_bytes=len(data), size=size)):
        raise InputInvalid(f"{where}: {problem}")
    return json.loads(data)


#: Objects, arrays and their members for which a walk in Python is quicker than one by levels.
SMALL_MEMBERS = 250

#: A value's place: the place of its parent, and its key or position there; None for the root.
_Place = tuple[Any, str | int] | None


def check_json(
    value: Any, *, where: str = "value", depth_max: int = DEPTH_MAX, key_bytes_max: int = KEY_BYTES_MAX
) -> JsonSize | None:
    """Raise InputInvalid, naming the place as a JSON Pointer, at the first thing canonical JSON cannot hold.

    Walks without recursion, and makes a pointer for a finding only, so that time and memory are in proportion to the
    value's size at any nesting. Returns the size of a large value that ``measured`` vouches for.
    """
    left, is_large = SMALL_MEMBERS, False
    pending: list[tuple[Any, _Place, int]] = [(value, None, 0)]
    while pending:
        item, place, depth = pending.pop()
        members: Iterable[tuple[str | int, Any]]
        if isinstance(item, dict):
            for key in item:
                if problem := _key_problem(key, key_bytes_max):
                    raise InputInvalid(f"{where}{_pointer(place)}: {problem}")
            members = item.items()
        elif isinstance(item, list | tuple):
            members = enumerate(item)
        elif problem := _scalar_problem(item):
            raise InputInvalid(f"{where}{_pointer(place)}: {problem}")
        else:
            continue
        left -= len(item) + 1
        if left < 0 and not is_large:
            is_large = True
            if size := measured(value, depth_max=depth_max, key_bytes_max=key_bytes_max):
                return size
        if item and depth == depth_max:
            place = (place, next(iter(members))[0])
            raise InputInvalid(f"{where}{_pointer(place)[:80]}: nested deeper than {depth_max} levels; flatten it")
        pending.extend((child, (place, key), depth + 1) for key, child in members if not _is_plain(child))
    return None


def _is_plain(item: Any) -> bool:
    """Return whether a value is one of those that canonical JSON always holds, as most are."""
    kind = type(item)
    if kind is str:
        return item.isascii()  # type: ignore[no-any-return]
    if kind is int:
        return -INTEGER_MAX <= item <= INTEGER_MAX  # type: ignore[no-any-return]
    return item is None or kind is bool or ((kind is dict or kind is list) and not item)


def _pointer(place: _Place) -> str:
    parts: list[str | int] = []
    while place is not None:
        place, part = place
        parts.append(part)
    return shortened(pointer_of(reversed(parts)), POINTER_CHARACTERS_MAX)


def shortened(text: str, characters_max: int = PROBLEM_CHARACTERS_MAX) -> str:
    """Return the text, or its beginning where it is longer."""
    return text if len(text) <= characters_max else text[:characters_max] + " …"


def _key_problem(key: Any, bytes_max: int) -> str | None:
    if not isinstance(key, str):
        return f"object keys are strings, found {key!r}"
    if key.isascii() and "\0" not in key and len(key) <= bytes_max:
        return None
    if problem := _text_problem(key):
        return problem
    if "\0" in key or len(key.encode()) > bytes_max:
        return f"a key has a NUL or exceeds {bytes_max} bytes: {key[:40]!r}"
    return None


def _scalar_problem(item: Any) -> str | None:
    if item is None or isinstance(item, bool):
        return None
    if isinstance(item, str):
        return _text_problem(item)
    # JCS writes a whole float below 1e21 with digits only, so it reads back as an integer and is held to its range.
    if isinstance(item, int) or (isinstance(item, float) and item.is_integer() and abs(item) < 1e21):
        if abs(item) > INTEGER_MAX:
            return f"integer {str(item)[:40]} is beyond ±(2^53-1); send it as a string"
        return None
    if isinstance(item, float):
        return None if math.isfinite(item) else f"{item} is not JSON; send null or a string"
    return f"{type(item).__name__} is not JSON; expected one of {list(type_names.values())}"


def _text_problem(text: str) -> str | None:
    if text.isascii():
        return None
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"a lone surrogate at character {error.start}; send valid Unicode"
    return None


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise InputInvalid(f"the key {twice[:40]!r} stands twice in one object; keep one")
    return found


def _exact_number(text: str) -> float:
    """Return the double that JSON's readers make of a number; raises InputInvalid where that is another number.

    It is the same one if the double, rounded to as many significant digits as were given, reads the same. Fifteen
    digits always survive, and no double has more than seventeen; C's ``%.17g`` of 0.1 is 0.10000000000000001.
    """
    value = float(text)
    if repr(value) == text:  # as most are written
        return value
    if math.isfinite(value) and (len(text) > 16 or "e" in text or "E" in text) and not _is_same(value, Decimal(text)):
        raise InputInvalid(
            f"the number {text[:40]} is read as {value!r} by most programs (a double has 15 to 17 digits); "
            "round it, or send it as a string"
        )
    return value


def _is_same(value: float, given: Decimal) -> bool:
    digits = len(given.as_tuple().digits)
    return given == Decimal(repr(value)) or (digits <= 17 and given == Decimal(f"{value:.{digits - 1}e}"))


def _no_constant(name: str) -> Any:
    raise InputInvalid(f"{name} is not JSON; send null or a string")
