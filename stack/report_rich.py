"""The reporter for terminals, drawn with rich."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from stack.report import Tick

DOING_WIDTH = 60


class RichReporter:
    """News as lines, a running task as one moving line with a spinner and the time it has taken."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)

    def note(self, text: str) -> None:
        """Say one thing."""
        self.console.print(escape(text))

    @contextmanager
    def task(self, title: str) -> Iterator[Tick]:
        """Show a spinner while the task runs, and a line when it is done."""
        started_s = time.monotonic()
        with self.console.status(escape(title)) as status:

            def tick(doing: str) -> None:
                elapsed_s = time.monotonic() - started_s
                status.update(f"{escape(title)} [dim]{elapsed_s:.0f} s  {escape(doing[-DOING_WIDTH:])}[/dim]")

            yield tick
        self.console.print(f"[green]✓[/green] {escape(title)} [dim]{time.monotonic() - started_s:.0f} s[/dim]")


def print_table(headings: list[str], lines: list[list[str]], good: list[bool]) -> None:
    """A table on standard output."""
    table = Table(box=box.SIMPLE)
    for heading in headings:
        table.add_column(heading, no_wrap=heading != "health", overflow="fold", min_width=len("healthy"))
    for line, is_good in zip(lines, good, strict=True):
        texts = [escape(cell) for cell in line]
        texts[1] = f"[{'green' if is_good else 'red'}]{texts[1]}[/]"
        table.add_row(*texts)
    Console(highlight=False).print(table)
