"""Which reporter suits this process's standard error."""

from __future__ import annotations

import sys

from stack.report import PlainReporter, Reporter


def terminal_reporter() -> Reporter:
    """The best reporter for this process's standard error."""
    if not sys.stderr.isatty():
        return PlainReporter()
    try:
        from stack.report_rich import RichReporter
    except ImportError:
        return PlainReporter()
    return RichReporter()
