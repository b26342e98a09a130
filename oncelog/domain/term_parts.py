"""Parts of the texts by which an index finds and sorts documents: paths, bounded parts, numbers in their order."""

import hashlib
import struct
from functools import lru_cache
from json.encoder import encode_basestring

import rfc8785

from oncelog.domain.json_pointer import parse_pointer

#: Longer parts of a term are replaced by their SHA-256, so that terms cost the same however long paths and texts are.
TERM_PART_CHARACTERS_MAX = 64
#: Paths that are remembered: instances of a class have mostly the same.
REMEMBERED_PATHS_MAX = 2_048

_BINARY64 = struct.Struct(">d")


def term_path(pointer: str) -> str:
    """Return the path by which terms name the place of a JSON Pointer; raises InputInvalid."""
    path = ""
    for name in parse_pointer(pointer):
        path = term_step(path, name)
    return path


@lru_cache(maxsize=REMEMBERED_PATHS_MAX)
def term_step(path: str, name: str) -> str:
    """Return the path one member further, of at most 65 characters."""
    escaped = name.replace("~", "~0").replace("/", "~1").replace("=", "~2").replace("<", "~3")
    return term_part(f"{path}/{escaped}")


def term_part(text: str) -> str:
    """Return the text, or the digest of a long one: ``#`` begins neither a path nor a JSON value."""
    if len(text) <= TERM_PART_CHARACTERS_MAX:
        return text
    return "#" + hashlib.sha256(text.encode()).hexdigest()


def ordered_digits(number: float) -> str:
    """Return 16 hexadecimal digits in the order of numbers: the bits of a binary64, all inverted of a negative one.

    Every number that data holds is one of binary64 exactly.
    """
    bits = int.from_bytes(_BINARY64.pack(number + 0.0), "big")  # makes 0.0 of -0.0
    return f"{bits ^ (0xFFFF_FFFF_FFFF_FFFF if bits >> 63 else 1 << 63):016x}"


def canonical_scalar(value: str | float | bool) -> str:
    """Return the scalar as RFC 8785 writes it: equal values in equal characters, even of different Python types."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return encode_basestring(value)
    return str(value) if isinstance(value, int) else rfc8785.dumps(value).decode()
