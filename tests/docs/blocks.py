"""Fenced blocks of the pages, with the markers above them.

``<!-- not run: REASON -->`` above a block: it is parsed and not executed.
``<!-- setup`` … ``-->``: console lines that readers do not see, executed in their place.
``<!-- file NAME`` … ``-->``: a file that readers do not see, written in its place.
"""

import re
import shlex
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
#: Pages of examples: their lines are parsed with the others, and executed by tests/examples.
READMES = sorted((ROOT / "examples").glob("*/README.md"))
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])

_BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<reason>[^\n]+?) -->\n)?"
    r"^(?P<indent> *)```(?P<language>\w*)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<text>.*?)^(?P=indent)```$"
    r"|^<!-- (?P<hidden>setup|file)(?: (?P<name>\S+))?\n(?P<hidden_text>.*?)^-->$",
    re.DOTALL | re.MULTILINE,
)


class Block(NamedTuple):
    """One block. ``title``: the name of the file that it is; ``not_run``: the reason, if it is not executed."""

    page: str
    line: int
    language: str
    text: str
    title: str | None = None
    not_run: str | None = None

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """Return the page's blocks in their order, hidden ones among them."""
    content, name = page.read_text(), str(page.relative_to(ROOT))
    found = []
    for match in _BLOCK.finditer(content):
        line = content.count("\n", 0, match.start()) + 1
        if match["hidden"] == "setup":
            found.append(Block(name, line, "console", match["hidden_text"]))
        elif match["hidden"]:
            found.append(Block(name, line, "file", match["hidden_text"], match["name"]))
        else:
            text = dedent(match["text"])  # a block within a list
            found.append(Block(name, line, match["language"], text, match["title"], match["reason"]))
    return found


ALL = [block for page in (*PAGES, *READMES) for block in blocks(page)]


class Line(NamedTuple):
    """One console line and the output that the page shows for it."""

    text: str
    output: list[str]


def console_lines(block: Block) -> list[Line]:
    """Return the lines to type: those after ``$``, or all of a block that has no ``$``."""
    prompted = any(line.startswith("$ ") for line in block.text.splitlines())
    lines: list[Line] = []
    for raw in block.text.splitlines():
        if lines and not _is_whole(lines[-1].text):
            lines[-1] = Line(f"{lines[-1].text}\n{raw}", [])
        elif raw.startswith("$ ") or (not prompted and raw.strip() and not raw.startswith("#")):
            lines.append(Line(raw.removeprefix("$ "), []))
        elif prompted and lines:
            lines[-1].output.append(raw)
    return lines


def readme_line(example: str, program: str) -> list[str]:
    """Return the words of the one line with this program in an example's page."""
    page = ROOT / "examples" / example / "README.md"
    lines = [shlex.split(line.text) for block in blocks(page) for line in console_lines(block)]
    (words,) = [words for words in lines if Path(words[0]).name == program]
    return words


def _is_whole(text: str) -> bool:
    """Return whether every quotation mark of the line is closed."""
    try:
        shlex.split(text, comments=True)
    except ValueError:
        return False
    return True
