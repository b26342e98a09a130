"""Exit codes, and which error means which."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import NoReturn

from oncelog.cli.terminal import assembled, errors, print_json
from oncelog.errors import CommandUnknown, InputInvalid, NotYetVisible, OncelogError, StoreUnavailable, StoreUnsafe


class Exit(IntEnum):
    FINE = 0
    FINDINGS = 1
    USAGE = 2
    UNREACHABLE = 3
    PARTLY = 4
    INTERRUPTED = 130  # 128 and SIGINT's number, as a shell has it


def exit_for(error: OncelogError) -> Exit:
    """Return the exit code that an error means to a script."""
    if isinstance(error, InputInvalid):
        return Exit.USAGE
    if isinstance(error, StoreUnavailable | StoreUnsafe):
        return Exit.UNREACHABLE
    if isinstance(error, CommandUnknown | NotYetVisible):
        return Exit.FINDINGS
    return Exit.PARTLY


@contextmanager
def explained(*, as_json: bool = False) -> Iterator[None]:
    """End the program with a clear line for every error of ours; ``as_json``: and with one for programs.

    And with one for Ctrl-C, which no caller explains.
    """
    try:
        yield
    except KeyboardInterrupt:
        errors.print("interrupted; what was submitted goes on, submit it again to see its result")
        sys.exit(Exit.INTERRUPTED)
    except OncelogError as error:
        fail(error, as_json=as_json)


def fail(error: OncelogError, *, as_json: bool = False) -> NoReturn:
    """Print the error, and exit with its code."""
    if as_json:
        found = {"code": error.code, "message": error.message, "details": error.details}
        print_json({"error": found})
    errors.print(assembled(("error", "bold red"), f" {error.code}: {error.message}"))
    sys.exit(exit_for(error))
