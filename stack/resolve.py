"""Finding each program: on the PATH if new enough, in the cache, else built or downloaded into the cache.

(An address in the environment comes before all this: such a server is not started at all, see `stack.stack`.)
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from stack import process, tools
from stack.cache import install
from stack.errors import BuildError
from stack.programs import Program
from stack.report import Reporter, Tick
from stack.sources import DebianPackage, Source
from stack.tools import version_key

BUILD_POLL_S = 0.2


@dataclass(frozen=True)
class Found:
    """A program that is there."""

    path: Path
    """The meaning of `Program.entry`: an executable, or the folder with its parts."""
    version: str
    origin: str
    """`PATH` or `cache`."""


def resolve(programs: Sequence[Program], cache: Path, reporter: Reporter) -> dict[str, Found]:
    """Find or build all `programs`, by name.

    Everything that is missing on the machine is looked for first, so that one message names it all. Raises
    `MissingToolsError` or `BuildError`.
    """
    found = {
        program.name: on_path(program, reporter)
        or in_cache(program, cache)
        or by_alternative(program, cache=cache, reporter=reporter)
        for program in programs
    }
    absent = [program for program in programs if found[program.name] is None]
    wanted = [tool for program in programs for tool in program.needs]
    wanted += [tool for program in absent for tool in program.source.tools]
    tools.demand(wanted, reporter)
    return {
        program.name: found[program.name] or obtain(program, program.source, cache=cache, reporter=reporter)
        for program in programs
    }


def on_path(program: Program, reporter: Reporter) -> Found | None:
    """A program on the PATH, if it says that it is of a version that fits."""
    for name in program.executables:
        executable = tools.find_program(name, also_in=program.also_in)
        if executable is None:
            continue
        version = tools.version_of(str(executable), list(program.version_arguments), program.version_pattern)
        if version is not None and fits(program, version):
            return Found(program.entry_of(executable), version, "PATH")
        below = f" and below {program.below}" if program.below else ""
        reporter.note(
            f"{executable} is not used: it reports version {version or 'unknown'}, "
            f"wanted is {program.minimum} or newer{below}"
        )
    return None


def fits(program: Program, version: str) -> bool:
    """Whether a version lies within what the program allows."""
    if version_key(version) < version_key(program.minimum):
        return False
    return program.below is None or version_key(version) < version_key(program.below)


def cached_folder(program: Program, cache: Path) -> Path:
    """Where a built program lies."""
    return cache / f"{program.name}-{program.version}"


def in_cache(program: Program, cache: Path) -> Found | None:
    """A program built or downloaded before."""
    folder = cached_folder(program, cache)
    return Found(folder / program.entry, program.version, "cache") if folder.exists() else None


def by_alternative(program: Program, *, cache: Path, reporter: Reporter) -> Found | None:
    """A program from its other source, where the first one's tools are missing; None if that does not work."""
    if program.alternative is None or all(tool.is_present() for tool in program.source.tools):
        return None
    try:
        return obtain(program, program.alternative, cache=cache, reporter=reporter)
    except BuildError as error:
        reason = str(error).splitlines()[-1]
        reporter.note(f"{program.name} cannot be had in this way here ({reason}); it will be built instead")
        return None


def obtain(program: Program, source: Source, *, cache: Path, reporter: Reporter) -> Found:
    """Build or download a program from a source whose tools are present."""
    if isinstance(source, DebianPackage):
        installed = on_path(program, reporter)  # the package has just brought it
        assert installed is not None, "its tool was found present"
        return installed
    title = f"getting {program.name} {program.version} ({source.takes})"
    with reporter.task(title) as tick:
        build_it = partial(build, program, source, cache=cache, tick=tick)
        install(cached_folder(program, cache), build_it, on_wait=partial(tick, "another process is building it"))
    built = in_cache(program, cache)
    assert built is not None, "installed just now"
    return built


def build(program: Program, source: Source, folder: Path, *, cache: Path, tick: Tick) -> None:
    """Run the build under a supervisor, so that it dies with this process; raises `BuildError` with its last words."""
    argv, environment = source.command(folder)
    records = cache / "builds" / program.name
    shutil.rmtree(records, ignore_errors=True)
    log = records / "log"
    spec = process.LaunchSpec(
        folder=records, log=log, argv=argv, environment=environment, working_directory=folder, owner=process.myself()
    )
    record = process.launch(spec)
    try:
        while not record.supervisor.wait_end(BUILD_POLL_S):
            text = log.read_text(errors="replace").splitlines()
            tick(f"{len(text)} steps, {text[-1].strip() if text else 'starting'}")
    except BaseException:
        process.kill(records)
        raise
    ended = process.read_record(records)
    if ended is None or ended.exit_code != 0:
        code = None if ended is None else ended.exit_code
        how = "its supervisor killed" if code is None else process.describe_exit(code)
        raise BuildError(
            f"could not get {program.name} {program.version}: {' '.join(argv)} ended with {how}; its log is {log}\n"
            f"{process.log_tail(log)}"
        )
    source.finish(folder)
