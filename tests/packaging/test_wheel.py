"""The wheel holds all of it and nothing else, and works in an environment that has never seen the checkout."""

import os
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(argv: Sequence[str | Path], folder: Path) -> str:
    fresh = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    argv = [str(part) for part in argv]
    done = subprocess.run(argv, cwd=folder, env=fresh, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run([sys.executable, "-m", "build", "--wheel", "--outdir", folder, ROOT], folder)
    (built,) = folder.glob("*.whl")
    return built


def test_it_claims_three_generic_names_and_ours(wheel: Path):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/", 1)[0] for name in names if ".dist-info/" not in name}
    assert tops == {"oncelog"}


def test_it_carries_what_is_not_code(wheel: Path):
    names = set(zipfile.ZipFile(wheel).namelist())
    data = {str(path.relative_to(ROOT)) for path in (ROOT / "oncelog").rglob("*.lua")} | {"oncelog/py.typed"}
    assert len(data) > 3
    assert data <= names


@pytest.mark.slow
def test_it_works_in_a_fresh_environment(wheel: Path, tmp_path: Path):
    run([sys.executable, "-m", "venv", tmp_path / "venv"], tmp_path)
    programs = tmp_path / "venv" / "bin"
    run([programs / "pip", "install", "--quiet", "--disable-pip-version-check", wheel], tmp_path)
    assert "submit" in run([programs / "oncelog", "--help"], tmp_path)
    assert "oncelog-worker" in run([programs / "oncelog-worker", "--help"], tmp_path)
    where = run(
        [programs / "python", "-c", "import oncelog.worker, oncelog.client.client as c; print(c.__file__)"], tmp_path
    )
    assert where.startswith(str(tmp_path))
