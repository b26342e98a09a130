"""The cache folder: built and downloaded programs, outside the tree, shared by all stacks of this account."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from stack.account import make_reachable


def cache_folder(environ: Mapping[str, str]) -> Path:
    """`$ONCELOG_CACHE_DIR`, or the usual place for this account.

    For root that is not below its home: servers that refuse root must be able to read it.
    """
    if chosen := environ.get("ONCELOG_CACHE_DIR"):
        return Path(chosen).expanduser().absolute()
    if os.geteuid() == 0:
        return Path("/var/cache/oncelog")
    return Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "oncelog"


@contextmanager
def locked(path: Path, *, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold an exclusive lock on the file `path`; `on_wait` is called once if another process holds it."""
    make_reachable(path.parent)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def install(folder: Path, build: Callable[[Path], None], *, on_wait: Callable[[], None] = lambda: None) -> None:
    """Make `folder` by calling `build` on a temporary one and renaming it: it appears complete, or not at all.

    A second builder waits and finds it done. Remains of a killed build are removed first.
    """
    with locked(folder.parent / "locks" / folder.name, on_wait=on_wait):
        if folder.exists():
            return
        scratch = folder.with_name(f".{folder.name}.unfinished")
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        build(scratch)
        open_to_all(scratch)
        scratch.rename(folder)


def open_to_all(folder: Path) -> None:
    """Let every account read what is in `folder`, whatever the umask was: servers may run under another one."""
    for path in [folder, *folder.rglob("*")]:
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | (0o555 if path.is_dir() or mode & 0o100 else 0o444))
