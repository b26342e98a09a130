"""Suggestions for the next commands, at the end of a demo."""

import os
import sys
from collections.abc import Iterable

from rich.rule import Rule

from oncelog import console
from oncelog.console import text_line


def print_farewell(rows: Iterable[tuple[str, str]]) -> None:
    """Print what each is for, and what to type; a line that is longer than the terminal is not broken by us."""
    console.output.print(Rule("look further"))
    in_your_shell = ("in your shell", f'eval "$({shell_prefix()}python -m stack env)"')
    for name, text in (in_your_shell, *rows):
        console.output.print(text_line(f"{name:<17} ", style="dim").append(text, "default"), soft_wrap=True)


def shell_prefix() -> str:
    """Return how this installation's scripts are called from here: ``.venv/bin/`` or nothing."""
    here = os.path.relpath(sys.prefix)
    return f"{here}/bin/" if sys.prefix != sys.base_prefix and not here.startswith("..") else ""
