"""Suggestions for the next commands, at the end of a demo."""

import os
import sys
from collections.abc import Iterable

from rich.rule import Rule

from oncelog import console
from oncelog.client.many_commands import Answer
from oncelog.console import text_line
from oncelog.domain.results import RejectionCode


def print_farewell(rows: Iterable[tuple[str, str]]) -> None:
    """Print what each is for, and what to type; a line that is longer than the terminal is not broken by us."""
    console.output.print(Rule("look further"))
    in_your_shell = ("in your shell", f'eval "$({shell_prefix()}python -m stack env)"')
    for name, text in (in_your_shell, *rows):
        console.output.print(text_line(f"{name:<17} ", style="dim").append(text, "default"), soft_wrap=True)


def print_other_release(answers: Iterable[Answer]) -> None:
    """Say what to do where another release of the demo has used the same command IDs for other definitions."""
    reused = [answer.command.command_id for answer in answers if answer.outcome == RejectionCode.COMMAND_ID_REUSED]
    if reused:
        console.errors.print(
            text_line(
                f"{reused[0]} was used for other content: these servers have the demo of another release. To begin "
                f"anew, delete the data of the local servers, and run it again: {shell_prefix()}python -m stack down "
                "--wipe"
            ),
            soft_wrap=True,
        )


def shell_prefix() -> str:
    """Return how this installation's scripts are called from here: ``.venv/bin/`` or nothing."""
    here = os.path.relpath(sys.prefix)
    return f"{here}/bin/" if sys.prefix != sys.base_prefix and not here.startswith("..") else ""
