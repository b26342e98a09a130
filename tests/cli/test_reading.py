"""An operator's input becomes commands, all of them valid or none accepted."""

import io
import json
from pathlib import Path

import pytest

from oncelog.cli.commands import parse_aggregate, parse_payload, parse_target, read_commands
from oncelog.errors import InputInvalid


def line(**more: object) -> str:
    fields = {"command_type": "CREATE_INSTANCE", "db_name": "shop", "class_id": "Product", "payload": {"a": 1}}
    return json.dumps(fields | more)


def written(folder: Path, text: str) -> Path:
    path = folder / "commands"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("shop/Product/p1", "shop/Product/p1"),
        ("shop/Product/a b", "shop/Product/a%20b"),
        ("shop/Product/a%20b", "shop/Product/a%20b"),
        ("shop/Product/a/b", "shop/Product/a%2Fb"),
        ("shop/Product/..", "shop/Product/%2E%2E"),
    ],
)
def test_an_aggregate_is_named_plain_or_as_results_show_it(text: str, expected: str):
    assert str(parse_aggregate(text)) == expected


@pytest.mark.parametrize(
    "text", ["shop", "shop/Product", "shop//p1", "/Product/p1", "shop/Product/%ff", "shop/Pro:d/p1"]
)
def test_what_names_no_aggregate_is_refused(text: str):
    with pytest.raises(InputInvalid):
        parse_aggregate(text)


def test_a_class_alone_is_a_target_for_a_creation():
    assert parse_target("shop/Product") == ("shop", "Product", None)


def test_payloads_are_given_as_text_or_in_a_file(tmp_path: Path):
    path = tmp_path / "payload.json"
    path.write_text('{"name": "Lamp"}')
    assert parse_payload('{"name": "Lamp"}') == parse_payload(f"@{path}") == {"name": "Lamp"}
    assert parse_payload(None) == {}


@pytest.mark.parametrize(
    "text", ["[1]", "{", '{"a": NaN}', '{"a": 1, "a": 2}', '{"a": 9007199254740993}', "@/nowhere/x"]
)
def test_what_is_no_payload_is_refused(text: str):
    with pytest.raises(InputInvalid):
        parse_payload(text)


@pytest.mark.parametrize(
    "text",
    [
        line(command_id="c1") + "\n\n" + line(command_id="c2") + "\n",
        "[" + line(command_id="c1") + ",\n" + line(command_id="c2") + "]",
    ],
)
def test_commands_come_as_ndjson_or_as_an_array(tmp_path: Path, text: str):
    commands, given_ids = read_commands(written(tmp_path, text))
    assert [command.command_id for command in commands] == ["c1", "c2"]
    assert given_ids == 0


def test_one_command_may_span_lines(tmp_path: Path):
    commands, _ = read_commands(written(tmp_path, json.dumps(json.loads(line(command_id="c1")), indent=2)))
    assert [command.command_id for command in commands] == ["c1"]


def test_commands_come_from_standard_input(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(line(command_id="c1").encode())))
    commands, _ = read_commands(Path("-"))
    assert commands[0].command_id == "c1"


def test_commands_without_an_id_are_given_one_and_counted(tmp_path: Path):
    commands, given_ids = read_commands(written(tmp_path, line() + "\n" + line(command_id="c2") + "\n" + line()))
    assert given_ids == 2
    assert len({command.command_id for command in commands}) == 3


@pytest.mark.parametrize(
    ("bad", "word"),
    [("{", "not JSON"), (line(class_id="Pro:duct"), "class_id"), ("[1]", "array"), ("7", "int"), ('{"x": 1}', "Field")],
)
def test_one_bad_line_refuses_the_whole_file_and_is_named(tmp_path: Path, bad: str, word: str):
    with pytest.raises(InputInvalid, match="line 2") as caught:
        read_commands(written(tmp_path, line(command_id="c1") + "\n" + bad + "\n"))
    assert word in caught.value.message or "list" in caught.value.message


def test_an_empty_file_is_refused(tmp_path: Path):
    with pytest.raises(InputInvalid, match="at least one"):
        read_commands(written(tmp_path, "\n"))
