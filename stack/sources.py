"""Where programs come from when a machine does not have them: each kind of package registry, through its own client.

Which registry answers, and how it is reached, is the business of Go's and Maven's ordinary configuration.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from stack import versions
from stack.tools import GO, JAVA, MAVEN, POSTGRESQL, PROMETHEUS, REDIS, Tool

DEPENDENCY_PLUGIN = f"org.apache.maven.plugins:maven-dependency-plugin:{versions.MAVEN_DEPENDENCY_PLUGIN}"


class Source(Protocol):
    """A way to get a program."""

    @property
    def tools(self) -> tuple[Tool, ...]:
        """The machine's requirements for it."""

    @property
    def takes(self) -> str:
        """How long it takes, in words."""

    def command(self, folder: Path) -> tuple[list[str], dict[str, str]]:
        """The arguments and the environment of the build that fills `folder`."""

    def finish(self, folder: Path) -> None:
        """The steps after the build."""


@dataclass(frozen=True)
class GoModule:
    """A Go program, compiled here."""

    package: str
    version: str
    takes: str
    tools: tuple[Tool, ...] = (GO,)

    def command(self, folder: Path) -> tuple[list[str], dict[str, str]]:
        """Install into `folder` instead of the user's own bin folder."""
        go = shutil.which("go") or "go"
        return [go, "install", "-v", f"{self.package}@v{self.version}"], os.environ | {"GOBIN": str(folder)}

    def finish(self, folder: Path) -> None:
        """Nothing: the compiler left a complete program."""


@dataclass(frozen=True)
class MavenJars:
    """A Java program with everything it depends on, in `lib/`; optionally an executable that runs it."""

    coordinates: tuple[tuple[str, str, str], ...]
    """Group, artifact and version of each."""
    takes: str
    executable: str | None = None
    main_class: str | None = None
    tools: tuple[Tool, ...] = (JAVA, MAVEN)

    def command(self, folder: Path) -> tuple[list[str], dict[str, str]]:
        """Copy what a project with these dependencies would have at run time."""
        (folder / "pom.xml").write_text(self.project())
        goal = [f"{DEPENDENCY_PLUGIN}:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={folder}/lib"]
        return [shutil.which("mvn") or "mvn", "-B", "-Dstyle.color=never", "-f", f"{folder}/pom.xml", *goal], dict(
            os.environ
        )

    def project(self) -> str:
        """The smallest Maven project that has these dependencies."""
        dependencies = "\n".join(
            f"<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>"
            f"<version>{version}</version></dependency>"
            for group, artifact, version in self.coordinates
        )
        return (
            '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>\n'
            "<groupId>oncelog</groupId><artifactId>stack</artifactId><version>1</version><packaging>pom</packaging>\n"
            f"<dependencies>\n{dependencies}\n</dependencies></project>\n"
        )

    def finish(self, folder: Path) -> None:
        """Write the executable, which finds its jars beside itself."""
        if self.executable is None:
            return
        script = folder / self.executable
        script.write_text(
            "#!/bin/sh\n"
            '[ -n "$JAVA_HOME" ] && java="$JAVA_HOME/bin/java" || java=java\n'
            'exec "$java" -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 '
            f'-cp "$(dirname "$(readlink -f "$0")")/lib/*" {self.main_class} "$@"\n'
        )
        script.chmod(0o755)


@dataclass(frozen=True)
class MavenZip:
    """A distribution that is published as one zip file with one folder in it, which becomes the program's folder."""

    group: str
    artifact: str
    version: str
    takes: str
    tools: tuple[Tool, ...] = (JAVA, MAVEN)

    def command(self, folder: Path) -> tuple[list[str], dict[str, str]]:
        """Download the zip into `folder`."""
        coordinate = f"{self.group}:{self.artifact}:{self.version}:zip"
        goal = [f"{DEPENDENCY_PLUGIN}:copy", f"-Dartifact={coordinate}", f"-DoutputDirectory={folder}"]
        return [shutil.which("mvn") or "mvn", "-B", "-Dstyle.color=never", *goal], dict(os.environ)

    def finish(self, folder: Path) -> None:
        """Unpack it, make its scripts executable, and take its one folder away."""
        [archive] = folder.glob("*.zip")
        with zipfile.ZipFile(archive) as file:
            file.extractall(folder)
        archive.unlink()
        [top] = [entry for entry in folder.iterdir() if entry.is_dir()]
        for entry in list(top.iterdir()):
            entry.rename(folder / entry.name)
        top.rmdir()
        for script in (folder / "bin").iterdir():
            script.chmod(script.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)


SDK_DOWNLOAD = """\
import asyncio, sys
from temporalio.testing import WorkflowEnvironment
async def main() -> None:
    version, folder = sys.argv[1:]
    async with await WorkflowEnvironment.start_local(dev_server_download_version=version, download_dest_dir=folder):
        pass
asyncio.run(main())
"""


@dataclass(frozen=True)
class SdkDownload:
    """The Temporal CLI as the Python SDK fetches it for its own tests; not every network lets it."""

    version: str
    executable: str
    takes: str = "under a minute"
    tools: tuple[Tool, ...] = ()

    def command(self, folder: Path) -> tuple[list[str], dict[str, str]]:
        """Let the SDK download the program, try it, and leave it in `folder`."""
        return [sys.executable, "-c", SDK_DOWNLOAD, f"v{self.version}", str(folder)], dict(os.environ)

    def finish(self, folder: Path) -> None:
        """The SDK puts the version into the file's name; ours is in the folder's."""
        [downloaded] = folder.iterdir()
        downloaded.rename(folder / self.executable)


@dataclass(frozen=True)
class DebianPackage:
    """A program that is there once its package is; nothing is built."""

    tool: Tool
    takes: str = "under a minute"

    @property
    def tools(self) -> tuple[Tool, ...]:
        """The package itself."""
        return (self.tool,)

    def command(self, folder: Path) -> tuple[list[str], dict[str, str]]:
        """Never asked for: installing the tool has put the program on the PATH."""
        raise NotImplementedError(f"{self.tool.name} is installed, not built into {folder}")

    def finish(self, folder: Path) -> None:
        """Nothing is left to do."""


REDIS_PACKAGE = DebianPackage(REDIS)
POSTGRESQL_PACKAGE = DebianPackage(POSTGRESQL)
PROMETHEUS_PACKAGE = DebianPackage(PROMETHEUS)
