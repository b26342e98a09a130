"""Progress of long work where nothing can be drawn over: a line now and then on standard error."""

import time
from collections.abc import Callable

from oncelog.cli.terminal import errors

LINE_EVERY_S = 10.0


class ProgressLines:
    """Prints how far the work is every ``LINE_EVERY_S``, unless standard error is a terminal, which has a bar.

    ``at_once``: the first line, too, and not only after ``LINE_EVERY_S``.
    """

    def __init__(self, clock_s: Callable[[], float] = time.monotonic, *, at_once: bool = False) -> None:
        self._clock_s = clock_s
        self._printed_s = float("-inf") if at_once else clock_s()

    def print(self, line: str) -> None:
        """Print the line if one is due."""
        if not errors.is_terminal and self.is_due():
            errors.print(line)

    def is_due(self) -> bool:
        """Return whether a line is to be printed now, and count it as printed."""
        if self._clock_s() - self._printed_s < LINE_EVERY_S:
            return False
        self._printed_s = self._clock_s()
        return True
