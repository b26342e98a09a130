"""Compilers and packages a machine must have: finding them, and installing them where that is allowed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from stack import versions
from stack.errors import BuildError, MissingToolsError
from stack.report import Reporter


def version_key(version: str) -> tuple[int, ...]:
    """`"1.20.3"` as `(1, 20, 3)`, for comparing."""
    return tuple(int(part) for part in re.findall(r"\d+", version))


def output_of(argv: list[str], *, timeout_s: float = 30) -> str:
    """A program's output on both streams; empty when it cannot be run."""
    try:
        result = subprocess.run(argv, capture_output=True, text=True, timeout=timeout_s, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return result.stdout + result.stderr


def find_program(name: str, *, also_in: Path | None = None) -> Path | None:
    """An executable on the PATH, else in `also_in`, a folder with one of each version, the newest; or None."""
    versions_there = sorted(also_in.glob("*/bin"), key=lambda path: version_key(str(path))) if also_in else []
    elsewhere = os.pathsep.join(map(str, reversed(versions_there)))
    found = shutil.which(name) or (shutil.which(name, path=elsewhere) if elsewhere else None)
    return None if found is None else Path(found)


def version_of(program: str, arguments: list[str], pattern: str, *, also_in: Path | None = None) -> str | None:
    """The version a program that is found reports, or None when it is not there or does not say."""
    found = find_program(program, also_in=also_in)
    match = re.search(pattern, output_of([str(found), *arguments])) if found else None
    return match[1] if match else None


@dataclass(frozen=True)
class Tool:
    """Something the machine must have, and the Debian package that brings it."""

    name: str
    minimum: str
    package: str
    version: Callable[[], str | None]
    """The version found, or None."""
    package_pattern: str | None = None
    """Finds the version in the package's own; None where that tells nothing, or is new enough everywhere."""

    def is_present(self) -> bool:
        """Whether a version that is new enough is there."""
        found = self.version()
        return found is not None and version_key(found) >= version_key(self.minimum)

    def package_will_do(self) -> bool:
        """Whether the Debian package on offer is new enough."""
        if self.package_pattern is None:
            return True
        policy = output_of(["apt-cache", "policy", self.package])
        match = re.search(r"Candidate: (?:\d+:)?" + self.package_pattern, policy)
        return match is None or version_key(match[1]) >= version_key(self.minimum)

    def shortfall(self) -> str:
        """The requirement, the version found, and the source to have it from, for a message."""
        where = f"Debian package {self.package}"
        if not self.package_will_do():
            where = f"the {where} is older than that, so take it from its makers"
        return f"{self.name} {self.minimum} or newer (found: {self.version() or 'none'}; {where})"


def java_homes() -> Iterable[Path]:
    """Where a Java may live, the user's choice first."""
    if chosen := os.environ.get("JAVA_HOME"):
        yield Path(chosen)
    if found := shutil.which("java"):
        yield Path(found).resolve().parent.parent
    if (debian := Path("/usr/lib/jvm")).is_dir():
        yield from sorted(debian.iterdir(), reverse=True)


def java_version(home: Path) -> str | None:
    """The version of the Java in `home`, or None when there is none."""
    java = home / "bin" / "java"
    if not java.exists():
        return None
    release = home / "release"
    text = release.read_text() if release.exists() else output_of([str(java), "-version"])
    match = re.search(r'(?:JAVA_VERSION=|version )"(\d[\d.]*)', text)
    return match[1] if match else None


def java_home() -> Path | None:
    """The first Java that is new enough, or None."""
    for home in java_homes():
        version = java_version(home)
        if version and version_key(version) >= version_key(versions.JAVA_MINIMUM):
            return home
    return None


def found_java_version() -> str | None:
    """The version of the Java that would be used, else of any Java there is."""
    homes = [home] if (home := java_home()) else list(java_homes())
    return next(filter(None, map(java_version, homes)), None)


GO = Tool(
    "Go",
    versions.GO_MINIMUM,
    "golang-go",
    lambda: version_of("go", ["version"], r"go(\d+\.\d+(?:\.\d+)?)"),
    package_pattern=r"(\d+\.\d+)",
)
JAVA = Tool("Java", versions.JAVA_MINIMUM, "default-jdk-headless", found_java_version)
MAVEN = Tool("Maven", versions.MAVEN_MINIMUM, "maven", lambda: version_of("mvn", ["-v"], r"Maven (\d[\d.]+)"))
REDIS = Tool(
    "Redis",
    versions.REDIS_MINIMUM,
    "redis-server",
    lambda: version_of("redis-server", ["--version"], r"v=(\d[\d.]+)"),
)

PROMETHEUS = Tool(
    "Prometheus",
    versions.PROMETHEUS_MINIMUM,
    "prometheus",
    lambda: version_of("promtool", ["--version"], r"version (\d[\d.]+)"),
)


POSTGRESQL_FOLDER = Path("/usr/lib/postgresql")
"""Where Debian has PostgreSQL's server, one folder per version, none of them on the PATH."""

POSTGRESQL = Tool(
    "PostgreSQL",
    versions.POSTGRESQL_MINIMUM,
    "postgresql",
    lambda: version_of("postgres", ["--version"], r"\) (\d[\d.]*)", also_in=POSTGRESQL_FOLDER),
)


def demand(tools: Iterable[Tool], reporter: Reporter) -> None:
    """Make sure all tools are there; install what is missing, or raise `MissingToolsError` naming all of it."""
    missing = [tool for tool in dict.fromkeys(tools) if not tool.is_present()]
    if not missing:
        return
    prefix = rights_to_install()
    if prefix is not None:
        update_packages(prefix, reporter)
        if packages := [tool.package for tool in missing if tool.package_will_do()]:
            install_packages(prefix, packages, reporter)
        missing = [tool for tool in missing if not tool.is_present()]
    if missing:
        packages = [tool.package for tool in missing if tool.package_will_do()]
        raise MissingToolsError(
            "this machine lacks what the servers are built with or run on:\n"
            + "\n".join(f"  - {tool.shortfall()}" for tool in missing)
            + (f"\nInstall it, for instance with: apt-get install {' '.join(packages)}" if packages else "")
            + "\nA server that already runs may serve instead: put its address into the environment (docs/stack.md)"
        )


def rights_to_install() -> list[str] | None:
    """The prefix of apt-get: nothing as root, sudo where it asks no password; None where neither works."""
    if shutil.which("apt-get") is None:
        return None
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    if sudo and subprocess.run([sudo, "-n", "true"], capture_output=True, check=False).returncode == 0:
        return [sudo, "-n"]
    return None


def apt_get(prefix: list[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run apt-get without questions; it waits while another one runs."""
    # RUNLEVEL=1 keeps a freshly installed server from being started as a system service on the port we want.
    quiet = ["env", "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1", "apt-get", "-o", "DPkg::Lock::Timeout=300", "-y"]
    return subprocess.run([*prefix, *quiet, *arguments], capture_output=True, text=True, check=False)


def update_packages(prefix: list[str], reporter: Reporter) -> None:
    """Refresh the lists of packages; a failure is only told, since the old lists may do."""
    with reporter.task("updating the lists of Debian packages"):
        result = apt_get(prefix, "update")
    if result.returncode != 0:
        reporter.note(f"apt-get update failed, the old lists are used:\n{last_lines(result)}")


def install_packages(prefix: list[str], packages: list[str], reporter: Reporter) -> None:
    """Install Debian packages; raises `BuildError` with apt-get's last words when that fails."""
    with reporter.task(f"installing {', '.join(packages)} with apt-get (about a minute)"):
        result = apt_get(prefix, "install", "--no-install-recommends", *packages)
    if result.returncode != 0:
        raise BuildError(f"apt-get could not install {' '.join(packages)}:\n{last_lines(result)}")


def last_lines(result: subprocess.CompletedProcess[str], lines_max: int = 15) -> str:
    """The end of what a program printed."""
    return "\n".join((result.stdout + result.stderr).splitlines()[-lines_max:])
