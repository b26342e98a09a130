"""Console lines of the pages: parsed by the programs' own parsers, and executed where they need our servers only."""

import asyncio
import importlib
import os
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console, ConsoleDimensions
from typer.core import TyperGroup
from typer.testing import CliRunner

from oncelog.cli import terminal
from oncelog.cli.app import app
from oncelog.settings import Settings, variables
from stack.cli import parser as stack_parser
from tests.chaos.__main__ import _arguments as chaos_arguments
from tests.docs.blocks import ROOT, Block, Line, console_lines
from tests.integration.installation import Installation

RUN_TIMEOUT_S = 180
PAGE_WIDTH = 120
STACK_VARIABLES = 'eval "$(python -m stack env)"'
#: Programs of others that a page names and no test starts: installers, tools of a release, and clients' own builds.
OTHERS = {"git", "pip", "go", "npm", "sqlite3", "pytest", "temporal", "docker", "kubectl"}
_INDEX = re.compile(r"\b(instances|pinned|graph)\.")
_ASSIGNMENT = re.compile(r"^[A-Z_]+=\S*$")


def words_of(line: Line) -> tuple[dict[str, str], list[str]]:
    """Return the variables before the command, and the command; comments are left out."""
    words = shlex.split(line.text.replace(".venv/bin/", ""), comments=True)
    variables = {}
    while words and _ASSIGNMENT.match(words[0]):
        name, _, value = words.pop(0).partition("=")
        variables[name] = value
    return variables, words


def check_line(line: Line) -> None:
    """Let the program that the line names parse its arguments; raises where it refuses them."""
    if line.text.replace(".venv/bin/", "").startswith(STACK_VARIABLES):
        return
    _, words = words_of(line)
    match words:
        case ["oncelog", *arguments]:
            _check_oncelog(arguments)
        case ["python", "-m", "stack", *arguments]:
            stack_parser().parse_args(arguments)
        case ["python", "-m", "tests.chaos", *arguments]:
            chaos_arguments(arguments)
        case ["make", target, *assignments]:
            assert f"\n{target}:" in (ROOT / "Makefile").read_text(), f"make {target}: no such target"
            assert all("=" in each for each in assignments), line.text
        case ["export", assignment]:
            _check_variable(assignment.partition("=")[0])
        case ["python", "-m", module, *_]:
            path = ROOT / module.replace(".", "/")
            assert path.is_dir() or path.with_suffix(".py").is_file(), f"python -m {module}: no such module"
        case ["oncelog-worker" | "oncelog-projector" | "oncelog-reactor", *_] | ["curl", *_]:
            pass
        case [program, *arguments]:
            _check_other(program, arguments)
        case _:
            raise AssertionError("expected a command, found none")


def _check_other(program: str, arguments: Sequence[str]) -> None:
    if program == "uvicorn":
        module, _, name = arguments[0].partition(":")
        assert hasattr(importlib.import_module(module), name), f"uvicorn {arguments[0]}: no such application"
    else:
        assert program in OTHERS, f"{program}: no program that the pages' test knows"


def _check_variable(name: str) -> None:
    known = {variable for variable, _ in variables(Settings)}
    assert name in known or name == "PATH" or name.startswith(("AWS_", "TEMPORAL_")), f"{name}: no such setting"


def _check_oncelog(arguments: Sequence[str]) -> None:
    command: Any = typer.main.get_command(app)
    name, rest = "oncelog", list(arguments)
    while isinstance(command, TyperGroup):
        name, *rest = rest
        assert name in command.commands, f"oncelog {name}: no such command"
        command = command.commands[name]
    command.make_context(name, rest)


async def run_console(block: Block, installation: Installation) -> None:
    """Execute every line of ours, and hold what it prints against the page."""
    for line in console_lines(block):
        check_line(line)
        output = await _run_line(line, installation)
        if output is not None and line.output:
            hold_against(line, output)


async def _run_line(line: Line, installation: Installation) -> str | None:
    """Return what the line printed, None for lines that only prepare or start a machine."""
    if line.text.replace(".venv/bin/", "").startswith(STACK_VARIABLES):
        return None
    variables, words = words_of(line)
    match words:
        case ["oncelog", "worker" | "projector"]:
            return None
        case ["oncelog", *arguments]:
            return await asyncio.to_thread(_oncelog, arguments)
        case ["oncelog-projector"]:
            own = {"ONCELOG_PROJECTOR_READ_MODEL": "documents", **variables}["ONCELOG_PROJECTOR_READ_MODEL"]
            projector = await installation.projector_process(own)
            await projector.ready()
            assert await projector.stop() == 0
        case ["oncelog-projector", "--read-model", path]:
            projector = await installation.own_projector_process(path)
            await projector.ready()
            await installation.until_idle(path)
            assert await projector.stop() == 0
        case ["oncelog-reactor", *_, "--dry-run"]:
            return await _shell(f"{sys.executable} -m oncelog.reactor {shlex.join(words[1:])}")
        case ["oncelog-reactor", "--reaction", path]:
            reactor = await installation.reactor_process(path)
            await reactor.ready()
            await installation.until_idle(path)
            assert await reactor.stop() == 0
        case ["curl", *_]:
            return await _shell(_INDEX.sub(rf"{installation.settings.namespace}.\g<0>", line.text))
    return None


@contextmanager
def _wide(console: Console) -> Iterator[None]:
    """Give the console the width of the pages, whatever terminal or test process it was made in."""
    size = console.size
    console.size = ConsoleDimensions(PAGE_WIDTH, size.height)
    try:
        yield
    finally:
        console.size = size


def _oncelog(arguments: Sequence[str]) -> str:
    """Run the command line in this process: a fresh interpreter for each line would take minutes in all."""
    with _wide(terminal.output), _wide(terminal.errors):
        done = CliRunner().invoke(app, list(arguments))
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code in (0, 1), f"oncelog {shlex.join(arguments)}: exit code {done.exit_code}: {done.output}"
    return done.output


async def _shell(text: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", text), env=dict(os.environ), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(RUN_TIMEOUT_S):
        output, errors = await process.communicate()
    assert process.returncode == 0, f"{text}: {errors.decode()}{output.decode()}"
    return output.decode()


def hold_against(line: Line, output: str) -> None:
    """Find the shown lines in the output, in their order; ``…`` stands for anything, alone for any lines."""
    printed = [" ".join(each.split()) for each in output.splitlines()]
    at = 0
    for shown in (" ".join(each.split()) for each in line.output):
        if shown in ("", "…"):
            continue
        pattern = re.compile(".*".join(re.escape(part) for part in shown.split("…")))
        found = next((place for place in range(at, len(printed)) if pattern.fullmatch(printed[place])), None)
        assert found is not None, f"$ {line.text}\nexpected a line {shown!r}, found:\n{output}"
        at = found + 1


async def run_script(text: str, variables: dict[str, str]) -> None:
    """Run a whole program in an interpreter of its own; anything on standard error is a failure."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", text), env=variables, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(RUN_TIMEOUT_S):
        output, errors = await process.communicate()
    assert (process.returncode, errors.decode()) == (0, ""), output.decode()
