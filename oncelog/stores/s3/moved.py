"""An object that is whole, and not the one that its key names."""

from oncelog.errors import LogDamaged


def moved_object(where: str, *, expected: str, found: str) -> LogDamaged:
    """Return the error for it. ``where``: named by its key; ``found``: named by its content."""
    text = f"{where}: expected its own {expected}, found {found}; an object was moved, run oncelog verify"
    return LogDamaged(text, where=where)
