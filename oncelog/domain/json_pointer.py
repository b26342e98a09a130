"""JSON Pointers, RFC 6901: the place of a value in a JSON document. The one module that writes and reads them."""

from collections.abc import Iterable
from typing import Annotated, Any
from urllib.parse import quote, unquote

from pydantic import AfterValidator

from oncelog.errors import InputInvalid


def parse_pointer(text: str) -> tuple[str, ...]:
    """Return the names that a pointer leads through; raises InputInvalid."""
    if text and not text.startswith("/"):
        raise InputInvalid(f"JSON Pointer: expected one that begins with '/', found {text[:80]!r}")
    for escape in text.split("~")[1:]:
        if escape[:1] not in ("0", "1"):
            raise InputInvalid(f"JSON Pointer: expected ~0 or ~1 after '~', found {text[:80]!r}")
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:])


def _data_path(text: str) -> str:
    """Return the pointer if it leads to a member; raises ValueError, as pydantic wants it."""
    try:
        parse_pointer(text)
    except InputInvalid as error:
        raise ValueError(error.message) from error
    if not text:
        raise ValueError("expected a JSON Pointer to a member of data, found the root")
    return text


#: A JSON Pointer to a member of an instance's data, in a definition.
DataPath = Annotated[str, AfterValidator(_data_path)]


def pointer_of(parts: Iterable[str | int]) -> str:
    """Return the pointer that leads through these names and positions."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def parse_fragment(text: str) -> tuple[str, ...]:
    """Return the names that a URI fragment such as ``#/$defs/a%20b`` leads through (section 6); raises InputInvalid."""
    if not text.startswith("#"):
        raise InputInvalid(f"JSON Pointer: expected a fragment that begins with '#', found {text[:80]!r}")
    try:
        return parse_pointer(unquote(text[1:], errors="strict"))
    except UnicodeDecodeError as error:
        raise InputInvalid(f"JSON Pointer: expected percent-encoded UTF-8, found {text[:80]!r}") from error


def fragment_of(parts: Iterable[str | int]) -> str:
    """Return the URI fragment of a pointer: all but letters, digits and ``-._~`` is percent-encoded."""
    return "#" + quote(pointer_of(parts), safe="/~")


def value_at(document: Any, parts: Iterable[str]) -> Any:
    """Return the value at a place, through objects only; None where there is none."""
    for part in parts:
        document = document.get(part) if isinstance(document, dict) else None
    return document
