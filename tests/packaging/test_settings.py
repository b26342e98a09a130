"""Settings are read from known variables only, and a program ends with its own exit code."""

import subprocess
import sys

import pytest

from oncelog.errors import SettingsInvalid
from oncelog.settings import Settings


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("ONCELOG_ELASTICSEARCH", "did you mean ONCELOG_ELASTICSEARCH_URL?"),
        ("ONCELOG_REDIS_ULR", "did you mean ONCELOG_REDIS_URL?"),
        ("ONCELOG_QQQQ", "docs/settings.md lists those that are"),
    ],
)
def test_unknown_variable_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, remedy: str):
    monkeypatch.setenv(name, "http://127.0.0.1:9200")
    with pytest.raises(SettingsInvalid) as caught:
        Settings.from_environment()
    assert caught.value.message == f"{name}: is no setting; {remedy}"


def test_strict_databases_are_names(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ONCELOG_STRICT_DATABASES", "shop, geo")
    with pytest.raises(SettingsInvalid, match=r"ONCELOG_STRICT_DATABASES.*expected names of databases with commas"):
        Settings.from_environment()


@pytest.mark.parametrize("name", ["ONCELOG_STACK_REDIS_PORT", "ONCELOG_CACHE_DIR", "ONCELOG_TEST_STACK"])
def test_variables_of_the_stack_are_passed_over(monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.setenv(name, "7")
    assert Settings.from_environment()


@pytest.mark.parametrize(
    ("program", "arguments", "code"),
    [
        ("oncelog.cli", ["--help"], 0),
        ("oncelog.cli", ["no-such-command"], 2),
        ("oncelog.worker", ["--help"], 0),
        ("oncelog.worker", ["surplus"], 2),
        ("oncelog.projector", ["--help"], 0),
    ],
)
def test_program_ends_without_tearing_the_interpreter_down(program: str, arguments: list[str], code: int):
    script = f"import atexit, os, sys; atexit.register(os.abort); from {program} import main; sys.exit(main())"
    ended = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)
    assert ended.returncode == code
    assert ended.stdout + ended.stderr


def test_deployment_and_build_go_together(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TEMPORAL_DEPLOYMENT_NAME", "oncelog")
    with pytest.raises(SettingsInvalid, match="TEMPORAL_WORKER_BUILD_ID: expected together"):
        Settings.from_environment()
    monkeypatch.setenv("TEMPORAL_WORKER_BUILD_ID", "1.2.0")
    settings = Settings.from_environment()
    assert (settings.deployment_name, settings.build_id) == ("oncelog", "1.2.0")
