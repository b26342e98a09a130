"""Clocks that can be moved: Python's, by libfaketime (Debian's package ``faketime``)."""

from collections.abc import Mapping
from pathlib import Path

PLACES = ("/usr/lib", "/usr/local/lib")
LIBRARY = "faketime/libfaketimeMT.so.1"


def library() -> Path | None:
    """Return libfaketime for programs with threads, or None where it is not installed."""
    for place in map(Path, PLACES):
        for found in (place / LIBRARY, *sorted(place.glob(f"*/{LIBRARY}"))):
            if found.exists():
                return found
    return None


def variables(clock: Path) -> Mapping[str, str]:
    """Return what lets a process follow the clock that the file tells: seconds off, such as ``+3600``."""
    return {
        "LD_PRELOAD": str(library()),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_CACHE_DURATION": "1",  # seconds after which the file is read again
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
