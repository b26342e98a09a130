"""The Dockerfile: its instructions, and its build stage executed without Docker in another folder."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
FILE = ROOT / "Dockerfile"
#: Where the build stage puts the environment that the image consists of.
ENVIRONMENT = "/opt/oncelog"


class Instruction(NamedTuple):
    """One instruction, ``RUN`` for instance; ``stage``: 0 for the build, 1 for the image."""

    stage: int
    name: str
    text: str


def instructions(text: str) -> list[Instruction]:
    """Return all instructions of a Dockerfile, those before the first ``FROM`` in stage -1."""
    parsed: list[Instruction] = []
    stage = -1
    without_comments = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE)
    for line in re.sub(r"\\\n\s*", "", without_comments).splitlines():
        name, _, rest = line.strip().partition(" ")
        stage += name == "FROM"
        if name:
            parsed.append(Instruction(stage, name, rest.strip()))
    return parsed


def build_environment(root: Path) -> Path:
    """Execute the build stage with ``root`` for ``/``; returns the environment that the image copies.

    The build's own variables are left out, so that packages come from pip's cache where it has them.
    """
    folder = root
    for _, name, text in (each for each in instructions(FILE.read_text()) if each.stage == 0):
        match name:
            case "WORKDIR":
                folder = root / text.removeprefix("/")
                folder.mkdir(parents=True, exist_ok=True)
            case "COPY":
                *sources, target = text.split()
                for source in sources:
                    _copy(ROOT / source, folder / target)
            case "RUN":
                _run(text.replace(ENVIRONMENT, str(root) + ENVIRONMENT), folder)
            case "FROM" | "ENV":
                pass
            case _:
                raise AssertionError(f"{name} {text}: no instruction that this test can execute")
    return root / ENVIRONMENT.removeprefix("/")


def _copy(source: Path, target: Path) -> None:
    """Copy as ``COPY`` does: a folder's content, links as links, what .dockerignore leaves out excepted."""
    allowed = (ROOT / ".dockerignore").read_text().splitlines()
    path = source.relative_to(ROOT)
    assert any(f"!{each}" in allowed for each in (path, *path.parents)), f".dockerignore leaves out {path}"
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target if target.is_dir() else target.parent)


def _run(command: str, folder: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        ["/bin/sh", "-ec", command], cwd=folder, env=kept, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
