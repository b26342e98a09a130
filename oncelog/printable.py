"""Text of others, made harmless for a terminal and for a line of a log."""

import re
import unicodedata

#: Control, format (zero-width, directional), surrogate and unassigned characters; separators of lines and paragraphs.
_UNPRINTABLE_CATEGORIES = frozenset({"Cc", "Cf", "Cn", "Cs", "Zl", "Zp"})
#: Everything that may need an escape; printable ASCII, most of all text, is passed over at once.
_CANDIDATE = re.compile(r"[^\x20-\x7e]")
_NAMES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def printable(text: str) -> str:
    """Return the text in one line, with a JSON escape in place of every character that has no glyph of its own."""
    return _CANDIDATE.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    character = match[0]
    if unicodedata.category(character) not in _UNPRINTABLE_CATEGORIES:
        return character
    if character in _NAMES:
        return _NAMES[character]
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
