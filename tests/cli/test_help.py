"""Every command says what it is for, on a terminal of 80 columns."""

from collections.abc import Iterator

import pytest
import typer
from typer.core import TyperGroup
from typer.testing import CliRunner

from oncelog.cli.app import app


def _commands(group: TyperGroup, *path: str) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from _commands(command, *path, name)
        yield (*path, name)


ALL = list(_commands(typer.main.get_command(app)))  # type: ignore[arg-type]


@pytest.mark.parametrize("command", [(), *ALL], ids=" ".join)
def test_help_is_printed_whole(command: tuple[str, ...]):
    found = CliRunner(env={"COLUMNS": "80", "TERM": "dumb"}).invoke(app, [*command, "--help"])
    assert found.exit_code == 0, found.exception
    assert " ".join(["Usage:", *command]).split()[-1] in found.output
    assert max(map(len, found.output.splitlines())) <= 80


def test_there_are_commands_to_look_at():
    assert {("graph",), ("class", "define"), ("bulk", "status"), ("dead-letters", "list")} <= set(ALL)


def test_brackets_in_a_hops_help_are_printed_as_typed():
    output = CliRunner(env={"COLUMNS": "200", "TERM": "dumb"}).invoke(app, ["graph", "--help"]).output
    assert "'airports[/feet>=2000]'" in output
