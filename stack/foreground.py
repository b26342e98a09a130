"""A stack that lives only as long as the command that started it.

The servers' supervisors watch this process and end their servers if it dies, even by SIGKILL. This process in turn ends
when its own parent is gone, or when it is told to (Ctrl-C, SIGTERM).
"""

from __future__ import annotations

import os
import select
from collections.abc import Sequence
from dataclasses import replace

from stack import process
from stack.errors import UsageError
from stack.report import Reporter
from stack.settings import Settings
from stack.stack import Stack
from stack.state import State


def keep_until_told(settings: Settings, only: Sequence[str] | None, reporter: Reporter) -> int:
    """Bring a stack up, stay, and take it down; returns 0, or 3 when all its servers have died meanwhile."""
    parent = process.Identity.of(os.getppid())
    stack = Stack(replace(settings, owner=process.myself()), reporter)
    refuse_running(stack)
    stack.up(only)
    reporter.note("The stack is up until this command ends (Ctrl-C).")
    try:
        return watch(stack, parent, reporter)
    except KeyboardInterrupt:
        reporter.note("Ending the stack ...")
        return 0
    finally:
        stack.down()


def refuse_running(stack: Stack) -> None:
    """Servers that outlive this command cannot be made to end with it."""
    if State.read(stack.data) is None:
        return
    if running := [server.name for server in stack.servers if not server.is_external and server.is_running()]:
        raise UsageError(
            f"{', '.join(running)} of stack {stack.settings.name!r} already run in the background; "
            f"end them first with: {stack.settings.command('down')}"
        )


def watch(stack: Stack, parent: process.Identity | None, reporter: Reporter) -> int:
    """Return 0 when the parent is gone, 3 when no server is left; say which server died."""
    poll = select.poll()
    watched = {}
    for server in stack.servers:
        record = None if server.is_external else server.record
        if record is not None and (descriptor := record.supervisor.open()) is not None:
            watched[descriptor] = server
            poll.register(descriptor, select.POLLIN)
    parent_descriptor = parent.open() if parent is not None else None
    if parent_descriptor is not None:
        poll.register(parent_descriptor, select.POLLIN)
    while watched:
        for descriptor, _ in poll.poll():
            if descriptor == parent_descriptor:
                return 0
            poll.unregister(descriptor)
            os.close(descriptor)
            server = watched.pop(descriptor)
            reporter.note(f"{server.name} {server.how_it_ended()}; its log is {server.log_path}")
            reporter.note(process.log_tail(server.log_path))
    return 3
