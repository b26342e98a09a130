"""Which account a server runs under, and what that account can reach.

Elasticsearch refuses to run as root, so under root it runs as `nobody`; every folder on the way to its program and its
data must then be open to that account.
"""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

from stack.errors import StackError
from stack.process import User


def unprivileged() -> User | None:
    """The account for servers that refuse root; None when this process is not root and may start them itself."""
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam("nobody")
    return User(entry.pw_name, entry.pw_uid, entry.pw_gid)


def demand_reach(user: User | None, path: Path, purpose: str) -> None:
    """Raise `StackError` naming the first folder on the way to `path` that `user` may not enter."""
    if user is None:
        return
    for folder in [*reversed(path.resolve().parents), path.resolve()]:
        mode = folder.stat()
        owned = mode.st_uid == user.uid and mode.st_mode & stat.S_IXUSR
        grouped = mode.st_gid == user.gid and mode.st_mode & stat.S_IXGRP
        if not (owned or grouped or mode.st_mode & stat.S_IXOTH):
            raise StackError(
                f"{purpose} {path} cannot be reached by the account {user.name}, which the server runs as because it "
                f"refuses root: {folder} has mode {stat.S_IMODE(mode.st_mode):04o}. Choose another folder "
                f"(--data, ONCELOG_CACHE_DIR), or open it with: chmod o+x {folder}"
            )


def make_reachable(folder: Path) -> None:
    """Make a folder and what is missing above it; under root open to other accounts, whatever the umask is."""
    missing = [path for path in [folder, *folder.parents] if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        for path in missing:
            path.chmod(0o755)


def give(user: User | None, *folders: Path) -> None:
    """Make folders and hand them, with all they hold, to `user`."""
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        if user is not None:
            for path in [folder, *folder.rglob("*")]:
                os.chown(path, user.uid, user.gid, follow_symlinks=False)
