"""The image's recipe: packages by hash from our own locks, no root, and the programs that the package has."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from oncelog.settings import Settings, variables
from tests.packaging.dockerfile import FILE, ROOT, instructions

LOCKS = [ROOT / "deploy" / "image" / name for name in ("requirements.lock", "build.lock")]
PROGRAMS = {"oncelog", "oncelog-worker", "oncelog-projector"}


def pins(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==(\S+)", lock.read_text(), re.MULTILINE))


def values(name: str, stage: int) -> list[str]:
    return [each.text for each in instructions(FILE.read_text()) if (each.stage, each.name) == (stage, name)]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_image_has_the_packages_that_tests_run_with(lock: Path):
    tested = pins(ROOT / "requirements.lock")
    assert {name: version for name, version in pins(lock).items() if tested.get(name, version) != version} == {}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_package_of_the_image_has_hashes(lock: Path):
    entries = re.split(r"^(?=\S)", lock.read_text(), flags=re.MULTILINE)[1:]
    assert len(entries) == len(pins(lock)) > 0
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []


def test_lock_of_the_image_has_each_dependency():
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {re.split(r"[\[<>=;! ]", each)[0].lower() for each in wanted}
    assert names - set(pins(LOCKS[0])) == set(), "run make lock"


def test_image_runs_without_root():
    assert values("USER", 1) == ["10001:10001"]
    assert values("RUN", 1) == []


def test_image_starts_a_worker_that_gets_signals():
    (command,) = values("CMD", 1)
    assert json.loads(command) == ["oncelog-worker"]  # a list: no shell between Docker and the program
    assert values("ENTRYPOINT", 1) == []


def test_image_names_no_registry():
    assert values("FROM", 0) == ["python:${PYTHON} AS build"]
    assert values("FROM", 1) == ["python:${PYTHON}"]
    assert "://" not in FILE.read_text()


def test_dockerfile_names_settings_that_exist():
    named = set(re.findall(r"ONCELOG_[A-Z_]+", FILE.read_text()))
    assert named == {"ONCELOG_METRICS_ADDRESS", "ONCELOG_PROJECTOR_METRICS_ADDRESS"}
    assert named <= {name for name, _ in variables(Settings)}


def test_dockerfile_passes_its_linter():
    linter = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if linter is None:
        pytest.skip("hadolint has no program for this machine")
    done = subprocess.run([linter, "--no-color", FILE], capture_output=True, text=True, check=False)
    assert done.stdout == ""
    assert done.returncode == 0
