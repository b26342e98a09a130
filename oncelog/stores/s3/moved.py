"""An object that is whole, and not the one that its key names."""

from oncelog.errors import LogDamaged


def moved_object(where: str, *, expected: str, found: str) -> LogDamaged:
    """Return what to raise for it. ``where``: what its key names; ``found``: what it says that it is."""
    text = f"{where}: expected its own {expected}, found {found}; an object was moved, run oncelog verify"
    return LogDamaged(text, where=where)
