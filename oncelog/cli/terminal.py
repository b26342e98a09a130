"""The one way to standard output and standard error: JSON for programs, escaped text for people.

Actors, reasons, payloads and names come from others. On a terminal they must be text and nothing else: no markup, no
emoji codes, no escape sequences, no forged lines, no reversed direction.
"""

import json
import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

from oncelog.printable import printable


def text_line(text: str, style: str = "") -> Text:
    """Return text of others as one line for a terminal."""
    return Text(printable(text), style=style)


def assembled(*parts: str | tuple[str, str]) -> Text:
    """Return one line of several texts, each alone or with its style."""
    pairs = ((part, "") if isinstance(part, str) else part for part in parts)
    return Text.assemble(*((printable(text), style) for text, style in pairs))


def json_text(value: Any) -> str:
    """Return one line of JSON in which every unprintable character is escaped; all else stands as it is."""
    return printable(json.dumps(value, ensure_ascii=False, default=str))


def print_json(value: Any) -> None:
    """Print one line of JSON on standard output, for programs."""
    print_json_text(json_text(value))


def print_json_text(text: str) -> None:
    """Print one line that is JSON already on standard output, for programs."""
    sys.stdout.write(printable(text) + "\n")
    sys.stdout.flush()


def print_yaml(value: Any) -> None:
    """Print one document of YAML on standard output, for programs and people."""
    import yaml  # takes a while, and most commands need none

    fields = json.loads(json.dumps(value, default=str))  # of the types that JSON has, as other formats show them
    text = json.dumps(fields, ensure_ascii=False)
    plain = printable(text) == text  # characters without a glyph are escaped, as YAML does
    sys.stdout.write("---\n" + yaml.safe_dump(fields, sort_keys=False, allow_unicode=plain))
    sys.stdout.flush()


class Terminal(Console):
    """A console for people that interprets nothing: no markup, no emoji codes, no control characters.

    A ``str`` is one line; several lines are a ``Text`` of ours. All rendered text is escaped once more.
    """

    def __init__(self, *, stderr: bool = False, **options: Any) -> None:
        super().__init__(stderr=stderr, soft_wrap=stderr, emoji=False, highlight=False, **options)

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as rich does; each ``str`` is escaped and stays one line."""
        options.setdefault("crop", False)  # the terminal wraps a long line, which can be copied whole then
        super().print(*(text_line(each) if isinstance(each, str) else each for each in objects), **options)

    def render_str(self, text: str, *, style: str | Style = "", **_: Any) -> Text:
        """Return a string of a table's cell or a rule's title as it is: nothing in it is markup, for any caller."""
        return Text(_lines(text), style=style)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render as rich does, with every unprintable character escaped, except for the ends of lines."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(_lines(segment.text), segment.style, segment.control)


def _lines(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))


#: For people: tables on standard output, progress and errors on standard error.
output = Terminal()
errors = Terminal(stderr=True)
