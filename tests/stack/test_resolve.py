"""Programs are found on the PATH, in the cache, or built, in this order."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from stack import tools
from stack.cache import locked
from stack.errors import BuildError, MissingToolsError
from stack.programs import ELASTICSEARCH, KAFKA, POSTGRESQL, S3, TEMPORAL, Program
from stack.report import QuietReporter
from stack.resolve import fits, on_path, resolve
from stack.tools import Tool

REPORTER = QuietReporter()


@dataclass(frozen=True)
class Script:
    """A source that runs a shell script in the folder to fill."""

    script: str
    tools: tuple[Tool, ...] = ()
    takes: str = "no time"

    def command(self, _folder: Path) -> tuple[list[str], dict[str, str]]:
        return ["/bin/sh", "-c", self.script], dict(os.environ)

    def finish(self, folder: Path) -> None:
        (folder / "finished").touch()


@pytest.fixture
def program() -> Program:
    return Program(
        "tool", "2.0", Script("echo built > tool"), entry="tool", minimum="1.5", executables=("oncelog-tool",)
    )


def test_a_program_on_the_path_that_is_new_enough_is_used(
    program: Program, tmp_path: Path, fake_program: Callable[[str, str], Path]
) -> None:
    path = fake_program("oncelog-tool", "tool version 1.5.2")
    found = resolve([program], tmp_path, REPORTER)["tool"]
    assert (found.path, found.version, found.origin) == (path, "1.5.2", "PATH")


@pytest.mark.parametrize("output", ["tool version 1.4.9", "tool version git"], ids=["too old", "unknown"])
def test_program_of_unknown_version_is_passed_over(
    output: str, program: Program, tmp_path: Path, fake_program: Callable[[str, str], Path]
) -> None:
    fake_program("oncelog-tool", output)
    found = resolve([program], tmp_path, REPORTER)["tool"]
    assert (found.path.read_text(), found.version, found.origin) == ("built\n", "2.0", "cache")


def test_what_is_in_the_cache_is_not_built_again(program: Program, tmp_path: Path) -> None:
    resolve([program], tmp_path, REPORTER)
    unbuildable = replace(program, source=Script("exit 1"))
    assert resolve([unbuildable], tmp_path, REPORTER)["tool"].path.read_text() == "built\n"


def test_failed_build_names_its_log_and_leaves_nothing(program: Program, tmp_path: Path) -> None:
    broken = replace(program, source=Script("echo half > tool; echo no such module; exit 7"))
    with pytest.raises(BuildError, match=r"(?s)tool 2\.0.*exit code 7.*its log is .*no such module"):
        resolve([broken], tmp_path, REPORTER)
    assert not (tmp_path / "tool-2.0").exists()
    assert resolve([program], tmp_path, REPORTER)["tool"].path.read_text() == "built\n"


def test_who_comes_second_waits_and_builds_nothing(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from stack.cache import install\n"
        "def waiting(): print('waiting', flush=True)\n"
        "def build(folder): print('building', flush=True)\n"
        "install(Path(sys.argv[1]), build, on_wait=waiting)\n"
    )
    target = tmp_path / "tool-1"
    argv = [sys.executable, "-c", script, str(target)]
    with locked(tmp_path / "locks" / "tool-1"):
        second = subprocess.Popen(argv, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True)
        assert second.stdout is not None
        assert second.stdout.readline() == "waiting\n"
        target.mkdir()  # the first has finished
    assert second.communicate()[0] == ""
    assert second.returncode == 0


def test_one_message_names_everything_that_is_missing(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tools, "rights_to_install", lambda: None)
    go = Tool("Go", "99.0", "golang-go", lambda: "1.19.8")
    maven = Tool("Maven", "3.6", "maven", lambda: None)
    java = Tool("Java", "17", "default-jdk-headless", lambda: None)
    first = replace(program, source=Script("", tools=(go,)))
    second = replace(program, name="other", source=Script("", tools=(maven,)), needs=(java,))
    with pytest.raises(MissingToolsError) as caught:
        resolve([first, second], tmp_path, REPORTER)
    message = str(caught.value)
    assert "Go 99.0 or newer (found: 1.19.8" in message
    assert "Maven 3.6 or newer (found: none" in message
    assert "Java 17 or newer (found: none" in message
    assert "apt-get install default-jdk-headless golang-go maven" in message


def test_missing_packages_are_installed_where_that_is_allowed(
    monkeypatch: pytest.MonkeyPatch, fake_program: Callable[[str, str], Path], tmp_path: Path
) -> None:
    log, brought = tmp_path / "calls", tmp_path / "brought"
    apt_get = f'echo "$RUNLEVEL $@" >> {log}\ncase "$*" in *install*) touch {brought};; esac\n'
    fake_program("apt-get", "").write_text(f"#!/bin/sh\n{apt_get}")
    monkeypatch.setattr(tools, "rights_to_install", list)
    absent = Tool("Thing", "1.0", "thing-package", lambda: "1.2" if brought.exists() else None)
    tools.demand([absent, absent], REPORTER)
    update, install = log.read_text().splitlines()
    assert update.endswith("update")
    assert install.endswith("install --no-install-recommends thing-package")
    assert install.startswith("1 "), "a server must not be started as a system service on our port"


def test_a_package_that_is_too_old_is_not_installed_but_reported(
    monkeypatch: pytest.MonkeyPatch, fake_program: Callable[[str, str], Path], tmp_path: Path
) -> None:
    installed = tmp_path / "installed"
    fake_program("apt-get", "").write_text(f'#!/bin/sh\ncase "$*" in *install*) touch {installed};; esac\n')
    fake_program("apt-cache", "golang-go:\n  Installed: (none)\n  Candidate: 2:1.19~1\n")
    monkeypatch.setattr(tools, "rights_to_install", list)
    go = Tool("Go", "1.25", "golang-go", lambda: None, package_pattern=r"(\d+\.\d+)")
    with pytest.raises(MissingToolsError, match=r"Go 1\.25 or newer .*older than that, so take it from its makers"):
        tools.demand([go], REPORTER)
    assert not installed.exists()


def test_second_source_serves_where_tools_are_missing(program: Program, tmp_path: Path) -> None:
    absent = Tool("Go", "99.0", "golang-go", lambda: None)
    either = replace(program, source=Script("exit 1", tools=(absent,)), alternative=Script("echo downloaded > tool"))
    assert resolve([either], tmp_path, REPORTER)["tool"].path.read_text() == "downloaded\n"


def test_tools_of_the_first_source_are_demanded_at_last(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tools, "rights_to_install", lambda: None)
    absent = Tool("Go", "99.0", "golang-go", lambda: None)
    either = replace(program, source=Script("", tools=(absent,)), alternative=Script("exit 1"))
    with pytest.raises(MissingToolsError, match=r"Go 99\.0"):
        resolve([either], tmp_path, REPORTER)


@pytest.mark.parametrize(
    ("program", "executable", "output", "version"),
    [
        (TEMPORAL, "temporal", "temporal version 0.0.0-DEV (Server 1.29.1, UI 2.42.1)", "1.29.1"),
        (TEMPORAL, "temporal", "temporal version 1.6.0 (Server 1.30.0, UI 2.45.0)", "1.30.0"),
        (S3, "versitygw", "Version  : v1.8.1\nBuild    : abc\nBuildTime: now", "1.8.1"),
        (ELASTICSEARCH, "elasticsearch", "Version: 8.19.3, Build: deb/abc/2026, JVM: 21", "8.19.3"),
        (POSTGRESQL, "postgres", "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", "15.18"),
        (KAFKA, "kafka-server-start.sh", "4.1.1 (Commit:0123456789abcdef)", "4.1.1"),
    ],
    ids=lambda value: value.name if isinstance(value, Program) else None,
)
def test_versions_are_read_from_what_the_real_programs_print(
    program: Program, executable: str, output: str, version: str, fake_program: Callable[[str, str], Path]
) -> None:
    fake_program(executable, output)
    found = on_path(program, REPORTER)
    assert found is not None
    assert found.version == version


@pytest.mark.parametrize(
    ("version", "expected"), [("8.18.9", False), ("8.19.0", True), ("8.20.1", True), ("9.0.0", False), ("10.1", False)]
)
def test_versions_outside_the_range_do_not_fit(version: str, expected: bool) -> None:
    assert fits(ELASTICSEARCH, version) is expected
