"""The words for a value that does not fit, at a price that is bounded: the library's own for a small value only.

The library makes all its errors at once, each with copies of the value and of the schema: 125,000 wrong items of one
list took 404 MB, 512 members missing in a large object took 849 MB. So it is never asked about anything large.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import jsonschema_rs

from oncelog.domain.json_size import weighs_more

#: A value and a keyword up to this size together are put into words by the library.
WORDED_BYTES_MAX = 2 * 1024

Place = tuple[str | int, ...]


def problems(
    validator: jsonschema_rs.Draft202012Validator, keyword: str, said: Any, value: Any
) -> Iterator[tuple[Place, str]]:
    """Yield the problems with a value by one keyword, for which ``validator`` is, each with its place in the value.

    ``said``: the keyword's own value; of ``additionalProperties``, the members that are admitted beside patterns.
    """
    if validator.is_valid(value):
        return
    if not weighs_more([said, value], than_bytes=WORDED_BYTES_MAX):
        for error in validator.iter_errors(value):
            yield tuple(error.instance_path), error.message
    elif keyword == "required" and isinstance(value, dict):
        yield from _missing(said, value)
    elif keyword == "dependentRequired" and isinstance(value, dict):
        for name in said:
            yield from _missing(said[name] if name in value else (), value)
    else:
        yield (), f"does not fit {keyword!r}: {short(value)}"


def short(value: Any) -> str:
    """Return a value in a few words."""
    if isinstance(value, dict | list):
        return f"an {'object' if isinstance(value, dict) else 'array'} of {len(value)}"
    if isinstance(value, str) and len(value) > 80:
        return f"a text of {len(value)} characters"
    return repr(value)[:80]


def _missing(names: Sequence[str], value: dict[str, Any]) -> Iterator[tuple[Place, str]]:
    return (
        ((), f"{json.dumps(name, ensure_ascii=False)} is a required property") for name in names if name not in value
    )
