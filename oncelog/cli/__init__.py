"""The command line of an operator: ``oncelog submit|bulk|class|status|get|history|search|graph|path|verify`` and
others.

May import everything but ``worker``.

Tables for people on standard output, ``--json`` for programs, progress and errors on standard error.

Exit codes: 0 fine; 1 findings (a command was rejected, nothing was found); 2 usage; 3 a server cannot be reached;
4 partly done; 130 interrupted.
"""

from oncelog.cli.app import main

__all__ = ["main"]
