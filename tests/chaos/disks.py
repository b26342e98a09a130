"""Small disks of our own, to be filled up: a tmpfs for each server's data.

They are mounted in a mount namespace of this run (``unshare --mount``), which vanishes with its last process: so
nothing stays mounted, however the run ends, and no other process sees them.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

#: Set by ``in_own_namespace`` for the program that it turns into.
VARIABLE = "ONCELOG_CHAOS_MOUNTS"
FILLER = "chaos-filler"


def offered() -> bool:
    """Whether this process may mount something that only it and its children see."""
    return os.environ.get(VARIABLE) == str(os.getpid())


def in_own_namespace(module: str, arguments: Sequence[str]) -> None:
    """Start this very program again in a mount namespace of its own, where the machine allows it; else return."""
    unshare = shutil.which("unshare")
    if offered() or os.geteuid() != 0 or unshare is None:
        return
    if subprocess.run([unshare, "--mount", "true"], check=False, capture_output=True).returncode != 0:
        return
    os.environ[VARIABLE] = str(os.getpid())  # unshare and python both take over this process
    os.execv(unshare, [unshare, "--mount", sys.executable, "-m", module, *arguments])


def mount(folder: Path, *, size_mib: int) -> None:
    """Put a disk of that size under a folder, which is made."""
    folder.mkdir(parents=True)
    argv = ["mount", "-t", "tmpfs", "-o", f"size={size_mib}m,mode=0755", "oncelog-chaos", str(folder)]
    subprocess.run(argv, check=True, capture_output=True)


def unmount(folder: Path) -> None:
    """Take the disk away, even from under a process that still ends."""
    subprocess.run(["umount", "--lazy", str(folder)], check=True, capture_output=True)


def fill(folder: Path) -> int:
    """Fill the disk to its last byte; returns how many bytes that took."""
    written = 0
    with (folder / FILLER).open("wb", buffering=0) as filler:
        for size in (1024 * 1024, 4096, 1):
            block = b"\0" * size
            try:
                while True:
                    written += filler.write(block)
            except OSError:
                continue  # full, for blocks of this size
    return written


def free(folder: Path) -> None:
    """Give back what ``fill`` took."""
    (folder / FILLER).unlink(missing_ok=True)
