"""Every command's ``--output``: the same answer as a table, as JSON and as YAML."""

import json
from collections.abc import Sequence

import pytest
import typer
import yaml
from typer.testing import CliRunner, Result

from oncelog.cli.exits import Exit
from oncelog.cli.reporting import report, report_line, reported
from oncelog.errors import StoreUnavailable

HOSTILE = "a\x1b[2J\nforged\r[bold]x[/] \u202eevil\x9b1m\x7f\u2028\U000e0041é✓ - : #"
app = typer.Typer()


@app.command()
@reported
async def show(name: str = "p1") -> Exit:
    report({"name": name, "count": 2, "none": None}, lambda: f"{name} twice")
    return Exit.FINDINGS


@app.command()
@reported
def fail() -> None:
    raise StoreUnavailable("S3", "reading", "gone")


@app.command()
@reported
def lines() -> None:
    report_line('{"a": 1}')
    report_line('{"a": 2}')


def invoke(arguments: Sequence[str]) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_table_is_the_default():
    found = invoke(["show"])
    assert (found.stdout, found.exit_code) == ("p1 twice\n", Exit.FINDINGS)


@pytest.mark.parametrize("flags", [["--json"], ["--output", "json"], ["-o", "json"]])
def test_json_is_one_line(flags: list[str]):
    found = invoke(["show", "--name", HOSTILE, *flags])
    assert json.loads(found.stdout) == {"name": HOSTILE, "count": 2, "none": None}
    assert len(found.stdout.splitlines()) == 1


@pytest.mark.parametrize("name", ["p1", "2026-01-01", "no", "é✓", HOSTILE])
def test_yaml_gives_back_the_same_text(name: str):
    found = invoke(["show", "--name", name, "--output", "yaml"])
    assert yaml.safe_load(found.stdout) == {"name": name, "count": 2, "none": None}
    assert not set(found.stdout) & {"\x1b", "\x9b", "\x7f", "\u202e", "\u2028", "\r", "\U000e0041"}


def test_several_objects_are_documents_of_yaml():
    assert list(yaml.safe_load_all(invoke(["lines", "-o", "yaml"]).stdout)) == [{"a": 1}, {"a": 2}]


def test_both_flags_at_once_are_refused():
    found = invoke(["show", "--json", "-o", "yaml"])
    assert found.exit_code == Exit.USAGE
    assert "found both" in found.stderr


@pytest.mark.parametrize("flags", [["--json"], ["-o", "yaml"]])
def test_error_is_an_object_for_programs(flags: list[str]):
    found = invoke(["fail", *flags])
    assert found.exit_code == Exit.UNREACHABLE
    error = yaml.safe_load(found.stdout)["error"]
    assert error["code"] == "StoreUnavailable"
    assert error["message"] in found.stderr
