"""JSON Pointers, RFC 6901: where something stands in a JSON document."""

from collections.abc import Iterable
from typing import Any

from oncelog.errors import InputInvalid


def parse_pointer(text: str) -> tuple[str, ...]:
    """Return the names that a pointer leads through; raises InputInvalid."""
    if text and not text.startswith("/"):
        raise InputInvalid(f"JSON Pointer: expected one that begins with '/', found {text[:80]!r}")
    for escape in text.split("~")[1:]:
        if escape[:1] not in ("0", "1"):
            raise InputInvalid(f"JSON Pointer: expected ~0 or ~1 after '~', found {text[:80]!r}")
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:])


def pointer_of(parts: Iterable[str | int]) -> str:
    """Return the pointer that leads through these names and positions."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def value_at(document: Any, parts: Iterable[str]) -> Any:
    """Return what stands there, through objects only, or None."""
    for part in parts:
        document = document.get(part) if isinstance(document, dict) else None
    return document
