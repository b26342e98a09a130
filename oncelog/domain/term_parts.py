"""Parts of the texts by which an index finds and sorts documents: paths, bounded parts, numbers in their order."""

import hashlib
import struct

from oncelog.domain.json_pointer import parse_pointer

#: Longer parts of a term are replaced by their SHA-256, so that terms cost the same however long paths and texts are.
TERM_PART_CHARACTERS_MAX = 64


def term_path(pointer: str) -> str:
    """Return the path by which terms name the place of a JSON Pointer; raises InputInvalid."""
    path = ""
    for name in parse_pointer(pointer):
        path = term_step(path, name)
    return path


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
    (bits,) = struct.unpack(">Q", struct.pack(">d", number + 0.0))  # makes 0.0 of -0.0
    return f"{bits ^ (0xFFFF_FFFF_FFFF_FFFF if bits >> 63 else 1 << 63):016x}"
