"""Settings are read from known variables only, and a program ends with its own exit code."""

import subprocess
import sys

import pytest

from factline.errors import SettingsInvalid
from factline.settings import Settings


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("FACTLINE_ELASTICSEARCH", "did you mean FACTLINE_ELASTICSEARCH_URL?"),
        ("FACTLINE_REDIS_ULR", "did you mean FACTLINE_REDIS_URL?"),
        ("FACTLINE_QQQQ", "docs/settings.md lists those that are"),
    ],
)
def test_unknown_variable_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, remedy: str):
    monkeypatch.setenv(name, "http://127.0.0.1:9200")
    with pytest.raises(SettingsInvalid) as caught:
        Settings.from_environment()
    assert caught.value.message == f"{name}: is no setting; {remedy}"


def test_strict_databases_are_names(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FACTLINE_STRICT_DATABASES", "shop, geo")
    with pytest.raises(SettingsInvalid, match=r"FACTLINE_STRICT_DATABASES.*expected names of databases with commas"):
        Settings.from_environment()


@pytest.mark.parametrize("name", ["FACTLINE_STACK_REDIS_PORT", "FACTLINE_CACHE_DIR", "FACTLINE_TEST_STACK"])
def test_variables_of_the_stack_are_passed_over(monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.setenv(name, "7")
    assert Settings.from_environment()


@pytest.mark.parametrize(
    ("program", "arguments", "code"),
    [
        ("factline.cli", ["--help"], 0),
        ("factline.cli", ["no-such-command"], 2),
        ("worker", ["--help"], 0),
        ("worker", ["surplus"], 2),
        ("factline.projector.main", ["--help"], 0),
    ],
)
def test_program_ends_without_tearing_the_interpreter_down(program: str, arguments: list[str], code: int):
    script = f"import atexit, os, sys; atexit.register(os.abort); from {program} import main; sys.exit(main())"
    ended = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)
    assert ended.returncode == code
    assert ended.stdout + ended.stderr
