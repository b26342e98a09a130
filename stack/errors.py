"""Errors of a stack, and the exit code of each kind.

StackError (3)
├── UsageError (2)          the question makes no sense: unknown server, bad port, stack not brought up
├── MissingToolsError       the machine lacks compilers or packages, and they cannot be installed
├── BuildError              a program could not be built or downloaded
├── PortTakenError          a wanted port belongs to another process
├── LaunchError             a program could not be executed at all
├── ServerDiedError         a server ended while its health was awaited
└── UnreachableError        a server does not answer, or answers that it is not well
"""

from __future__ import annotations


class StackError(Exception):
    """Something about the stack failed; the message says what, and what to do."""

    exit_code = 3


class UsageError(StackError):
    """The request itself cannot be served; nothing was done."""

    exit_code = 2


class MissingToolsError(StackError):
    """Tools are missing on this machine and may not be installed by us."""


class BuildError(StackError):
    """A program could not be built or downloaded."""


class PortTakenError(StackError):
    """A port the stack needs is in use by another process."""


class LaunchError(StackError):
    """The operating system refused to execute a program."""


class ServerDiedError(StackError):
    """A server ended before it was healthy."""


class UnreachableError(StackError):
    """A server does not answer as a healthy one does."""
