"""The prose of the tree: docstrings, comments and pages, sentence by sentence."""

import io
import re
import tokenize
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
CODE = ("oncelog", "monitoring", "workflows", "activities", "stack", "benchmarks", "examples", "tests", "docs")

_FENCE = re.compile(r"^\s*```")
_CELL = re.compile(r"(?<!\\)\|")
_SENTENCE_END = re.compile(r"(?<=[.:;!?])[*_)\"]*\s+")  # a bold lead ends after its punctuation: **Decision.**
_BACKTICKS = re.compile(r"``[^`]*``|`[^`]*`")


class Sentence(NamedTuple):
    """A sentence or clause, and the place of the block it stands in."""

    place: str
    text: str


def python_files() -> list[Path]:
    """Return all Python files of the project, links left out."""
    found = [path for folder in CODE for path in (ROOT / folder).rglob("*.py")]
    return sorted(path for path in [*found, ROOT / "worker.py"] if path.resolve() == path)


def pages() -> list[Path]:
    """Return all Markdown pages but the changelog, which tells history."""
    folders = [ROOT / name for name in ("docs", "examples", "benchmarks")]
    found = [page for folder in folders for page in folder.rglob("*.md") if "node_modules" not in page.parts]
    return sorted([*ROOT.glob("*.md"), *found])


@cache
def sentences() -> Sequence[Sentence]:
    """Return each sentence of each docstring, comment and page, with quoted code replaced by a dash."""
    return list(_sentences())


def _sentences() -> Iterator[Sentence]:
    for path in python_files():
        yield from _split(path, _python_blocks(path.read_text()))
    for path in pages():
        if path.name != "CHANGELOG.md":
            yield from _split(path, _page_blocks(path.read_text()))


def _split(path: Path, blocks: Iterator[tuple[int, str]]) -> Iterator[Sentence]:
    for line, block in blocks:
        text = " ".join(_BACKTICKS.sub("-", block).split())
        for sentence in _SENTENCE_END.split(text):
            if sentence.strip():
                yield Sentence(f"{path.relative_to(ROOT)}:{line}", sentence.strip(' *_#>-(["'))


def _python_blocks(source: str) -> Iterator[tuple[int, str]]:
    comment: list[str] = []
    comment_line = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            comment_line = comment_line or token.start[0]
            comment.append(token.string.lstrip("#: "))
        elif token.type not in (tokenize.NL, tokenize.NEWLINE):
            if comment:
                yield comment_line, " ".join(comment)
                comment, comment_line = [], 0
            if token.type == tokenize.STRING and token.string.startswith('"""'):
                for paragraph in token.string.strip('"').split("\n\n"):
                    yield token.start[0], paragraph


def _page_blocks(text: str) -> Iterator[tuple[int, str]]:
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        if _FENCE.match(line):
            fenced = not fenced
        elif not fenced:
            yield from ((number, cell) for cell in (_CELL.split(line) if line.startswith("|") else [line]))
