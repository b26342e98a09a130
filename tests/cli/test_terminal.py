"""Text of others on a terminal and in JSON."""

import json

import pytest
from rich.table import Table

from oncelog.cli.exits import explained
from oncelog.cli.show import pairs
from oncelog.cli.terminal import Terminal, json_text, print_json, text_line
from oncelog.errors import InputInvalid
from oncelog.printable import printable

HOSTILE = "a\x1b[2J\x1b]0;owned\x07\nforged\r[bold]x[/] :new: \u202eevil\x9b1m\u2028\U000e0041"


def test_json_keeps_emoji_codes_and_addresses(capsys: pytest.CaptureFixture[str]):
    value = {"id": "import:new:42", "address": "2001:db8:a:b:c::1", "text": "[bold]é✓[/]"}
    print_json(value)
    assert capsys.readouterr().out == json.dumps(value, ensure_ascii=False) + "\n"


def test_json_escapes_what_acts_on_a_terminal():
    text = json_text({"actor": HOSTILE})
    assert text == printable(text)
    assert json.loads(text) == {"actor": HOSTILE}


@pytest.mark.parametrize("as_text", [str, text_line])
def test_hostile_text_is_one_escaped_line(capsys: pytest.CaptureFixture[str], as_text: type[str]):
    Terminal(force_terminal=True, color_system=None, width=500).print(as_text(HOSTILE))
    assert capsys.readouterr().out == printable(HOSTILE) + "\n"
    assert "[bold]x[/] :new: " in printable(HOSTILE)


def test_a_raw_cell_of_a_table_is_escaped(capsys: pytest.CaptureFixture[str]):
    table = Table()
    table.add_row(HOSTILE.replace("\n", ""))
    Terminal(width=500).print(table)
    shown = capsys.readouterr().out
    assert not set(shown) & {"\x1b", "\x07", "\u202e", "\x9b", "\u2028"}
    assert ":new:" in shown


def test_an_error_with_hostile_text_stays_one_line(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit), explained():
        raise InputInvalid(HOSTILE)
    assert capsys.readouterr().err == f"error InputInvalid: {printable(HOSTILE)}\n"


def test_one_word_is_never_broken(capsys: pytest.CaptureFixture[str]):
    token = "t" * 200
    rows = [("token", token), ("reason", "a text of several words " * 8), ("hostile", "a\x1b[2J\nforged")]
    Terminal(width=60).print(pairs(rows))
    shown = capsys.readouterr().out
    assert f"token    {token}\n" in shown
    assert max(len(line) for line in shown.splitlines() if token not in line) <= 60
    assert printable("a\x1b[2J\nforged") in shown
