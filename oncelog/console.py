"""Results of Oncelog on a terminal, as the command line shows them: for programs of operators.

Texts of others stay text: no markup, no control characters. Part of the public API, as ``oncelog`` itself.
"""

from oncelog.cli.bulk_runs import exit_of, followed
from oncelog.cli.exits import Exit, explained
from oncelog.cli.query import remarks
from oncelog.cli.show import answers_view, document_view, findings_view, pairs, result_fields, status_view
from oncelog.cli.submit import progress_shown
from oncelog.cli.terminal import errors, output, print_json, text_line

__all__ = [
    "Exit",
    "answers_view",
    "document_view",
    "errors",
    "exit_of",
    "explained",
    "findings_view",
    "followed",
    "output",
    "pairs",
    "print_json",
    "progress_shown",
    "remarks",
    "result_fields",
    "status_view",
    "text_line",
]
