"""Progress of long work where nothing can be drawn over: a line now and then on standard error."""

import time
from collections.abc import Callable

from oncelog.cli.terminal import errors

LINE_EVERY_S = 10.0


class ProgressLines:
    """Prints how far the work is every ``LINE_EVERY_S``, unless standard error is a terminal, which has a bar."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._printed_s = clock_s()

    def print(self, line: str) -> None:
        """Print the line if one is due."""
        if not errors.is_terminal and self._clock_s() - self._printed_s >= LINE_EVERY_S:
            self._printed_s = self._clock_s()
            errors.print(line)
