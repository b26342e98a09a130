"""JSON as Factline accepts it, and the one byte form of it that is hashed.

Canonical form is RFC 8785 (JCS). What JCS cannot represent exactly is refused at the door rather than rounded.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterator
from typing import Any

import rfc8785

from factline.domain.limits import DEPTH_MAX, INTEGER_MAX, KEY_BYTES_MAX, TEXT_BYTES_MAX
from factline.errors import InputInvalid

#: What the standard library writes as RFC 8785 does not, or does not refuse as it does: whole floats, exponents, long
#: integers; and keys that UTF-16 sorts otherwise. Either may match within a text, which costs time and nothing else.
_OTHER_NUMBERS = re.compile(r"[:,\[]-?(?:\d{16}|\d+\.0[,}\]]|[\d.]+e)")
_OTHER_ORDER = re.compile(r"[\ue000-\U0010ffff]")
_standard = json.JSONEncoder(
    sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False, check_circular=False
)

type_names = {dict: "object", list: "array", str: "string", int: "integer", float: "number", bool: "boolean"}


def canonical_bytes(value: Any) -> bytes:
    """Return the RFC 8785 form of a JSON value, whose keys are strings.

    Raises InputInvalid for what it cannot hold: integers beyond ±(2^53-1), NaN, infinities, lone surrogates.
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
    if _OTHER_NUMBERS.search(text) or (not text.isascii() and _OTHER_ORDER.search(text)):
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


def parse_unchecked(text: str | bytes, *, where: str) -> Any:
    """Parse JSON as ``parse_json`` does, for whoever checks the values that are kept of it; raises InputInvalid."""
    if len(text) > 2 * TEXT_BYTES_MAX:
        raise InputInvalid(f"{where}: expected at most {2 * TEXT_BYTES_MAX} bytes of JSON, found {len(text)}")
    try:
        return json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_no_constant)
    except InputInvalid as error:
        raise InputInvalid(f"{where}: {error.message}") from error
    except RecursionError as error:
        raise InputInvalid(f"{where}: nested deeper than {DEPTH_MAX} levels; flatten it") from error
    except UnicodeDecodeError as error:
        raise InputInvalid(f"{where}: not UTF-8 at byte {error.start}; encode it as UTF-8") from error
    except ValueError as error:
        raise InputInvalid(f"{where}: not JSON: {error}") from error


def normalised(value: Any, *, where: str = "value") -> Any:
    """Return the value as it reads back from its canonical form (``1.0`` becomes ``1``), checked first.

    So a fold over an event in memory and over the same event read from S3 cannot differ.
    """
    check_json(value, where=where)
    data = canonical_bytes(value)
    if len(data) > TEXT_BYTES_MAX:
        raise InputInvalid(
            f"{where}: expected at most {TEXT_BYTES_MAX} bytes of canonical JSON, found {len(data)}; "
            "store the bulk elsewhere and refer to it"
        )
    return json.loads(data)


def check_json(value: Any, *, where: str = "value") -> None:
    """Raise InputInvalid, naming the place as a JSON Pointer, at the first thing canonical JSON cannot hold.

    Walks without recursion, so that hostile nesting costs nothing.
    """
    pending: list[tuple[str, Any, int]] = [("", value, 0)]
    while pending:
        pointer, item, depth = pending.pop()
        if depth > DEPTH_MAX:
            raise InputInvalid(f"{where}{pointer[:80]}: nested deeper than {DEPTH_MAX} levels; flatten it")
        _check_scalar(item, where + pointer)
        pending.extend((f"{pointer}/{name}", child, depth + 1) for name, child in _children(item, where + pointer))


def _children(item: Any, where: str) -> Iterator[tuple[str, Any]]:
    if isinstance(item, dict):
        for key, child in item.items():
            if not isinstance(key, str):
                raise InputInvalid(f"{where}: object keys are strings, found {key!r}")
            _check_text(key, where)
            if "\0" in key or len(key.encode()) > KEY_BYTES_MAX:
                raise InputInvalid(f"{where}: a key has a NUL or exceeds {KEY_BYTES_MAX} bytes: {key[:40]!r}")
            yield key.replace("~", "~0").replace("/", "~1"), child
    elif isinstance(item, list | tuple):
        for index, child in enumerate(item):
            yield str(index), child


def _check_scalar(item: Any, where: str) -> None:
    if item is None or isinstance(item, bool | dict | list | tuple):
        return
    # JCS writes a whole float below 1e21 with digits only, so it reads back as an integer and is held to its range.
    if isinstance(item, int) or (isinstance(item, float) and item.is_integer() and abs(item) < 1e21):
        if abs(item) > INTEGER_MAX:
            raise InputInvalid(f"{where}: integer {str(item)[:40]} is beyond ±(2^53-1); send it as a string")
    elif isinstance(item, float):
        if not math.isfinite(item):
            raise InputInvalid(f"{where}: {item} is not JSON; send null or a string")
    elif isinstance(item, str):
        _check_text(item, where)
    else:
        raise InputInvalid(f"{where}: {type(item).__name__} is not JSON; expected one of {list(type_names.values())}")


def _check_text(text: str, where: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputInvalid(f"{where}: a lone surrogate at character {error.start}; send valid Unicode") from error


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InputInvalid(f"the key {twice[:40]!r} stands twice in one object; keep one")
    return found


def _no_constant(name: str) -> Any:
    raise InputInvalid(f"{name} is not JSON; send null or a string")
