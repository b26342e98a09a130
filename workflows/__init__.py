"""Durable stories: the order of steps, retries and time. No business rules, no I/O. May import ``activities``.

``submit`` runs a command from inside an application's own workflow; it is loaded when it is first used.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oncelog.workflows.child_command import submit

__all__ = ["submit"]


def __getattr__(name: str) -> Any:
    if name != "submit":
        raise AttributeError(f"module 'oncelog.workflows' has no attribute {name!r}")
    from oncelog.workflows.child_command import submit

    return submit
