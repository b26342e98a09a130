"""How the stack talks while it works: on standard error, with a moving line on a terminal and plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

PLAIN_INTERVAL_S = 15.0
"""How often a long task speaks where there is no terminal to draw on."""

Tick = Callable[[str], None]
"""Called with what a task is doing now, as often as one likes."""


class Reporter(Protocol):
    """Where news goes."""

    def note(self, text: str) -> None:
        """Say one thing."""

    def task(self, title: str) -> AbstractContextManager[Tick]:
        """Show that something takes a while; yields a `Tick`."""


class PlainReporter:
    """Lines of text, for logs and for machines without rich."""

    def note(self, text: str) -> None:
        """Say one thing."""
        print(text, file=sys.stderr, flush=True)

    @contextmanager
    def task(self, title: str) -> Iterator[Tick]:
        """Announce a task, then speak every `PLAIN_INTERVAL_S`, then say how long it took."""
        started_s = spoken_s = time.monotonic()
        self.note(f"{title} ...")

        def tick(doing: str) -> None:
            nonlocal spoken_s
            if time.monotonic() - spoken_s >= PLAIN_INTERVAL_S:
                spoken_s = time.monotonic()
                self.note(f"  {title}: {spoken_s - started_s:.0f} s, {doing}")

        yield tick
        self.note(f"  {title}: done in {time.monotonic() - started_s:.0f} s")


class QuietReporter(PlainReporter):
    """Says nothing unless something takes long, as a build does; for tests."""

    def note(self, text: str) -> None:
        """Keep quiet."""

    @contextmanager
    def task(self, title: str) -> Iterator[Tick]:
        """Speak as the plain reporter does: a user who waits minutes wants to know for what."""
        with PlainReporter().task(title) as tick:
            yield tick
