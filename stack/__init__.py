"""Real servers on a machine without containers: Temporal, Redis, Kafka, Elasticsearch and S3.

    python -m stack up          start them, and wait until they are well
    python -m stack down        end them
    eval "$(python -m stack env)"

    from stack import Stack
    with Stack.temporary() as stack:
        stack.environment()

This package imports the standard library, rich where it is installed, and the clients of the servers whose health it
checks; nothing of the rest of the project.
"""

from __future__ import annotations

from stack.errors import StackError
from stack.server import Server
from stack.stack import Stack

__all__ = ["Server", "Stack", "StackError"]
