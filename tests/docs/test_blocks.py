"""Every block of the pages is parsed: console lines by their programs, samples by the models that read them."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from oncelog.cli.profiles import read_profiles
from oncelog.domain.ontology.definition import parse_definition
from oncelog.domain.unique.entry import UniqueEntry
from oncelog.stores.s3.topic_records import _Stored as TopicRecord
from oncelog.verification.history import read_history
from tests.docs.blocks import ALL, Block, console_lines
from tests.docs.programs import check_line

#: SQL is run by tests/archive/test_queries.py.
LANGUAGES = {"console", "python", "json", "text", "mermaid", "file", "sql", "toml"}
#: Blocks that are parsed and not executed. The number may fall and never rise.
NOT_RUN_MAX = 5


def of(*languages: str) -> list[Block]:
    return [block for block in ALL if block.language in languages]


def test_pages_have_blocks_of_known_languages():
    assert len(ALL) > 40
    assert [block.place for block in ALL if block.language not in LANGUAGES] == []


def test_blocks_that_are_not_run_are_few():
    skipped = [f"{block.place}: {block.not_run}" for block in ALL if block.not_run]
    assert len(skipped) <= NOT_RUN_MAX, "\n".join(skipped)


@pytest.mark.parametrize("block", of("console", "text"), ids=lambda block: block.place)
def test_console_lines_are_parsed_by_their_programs(block: Block):
    lines = console_lines(block) if block.language == "console" or "\n$ " in f"\n{block.text}" else []
    for line in lines:
        check_line(line)


def _definition(text: str, _: Path) -> Any:
    return parse_definition(json.loads(text), class_id="Sample")


def _history(text: str, folder: Path) -> Any:
    path = folder / "run.ndjson"
    path.write_text(text)
    return read_history([path])


def _items(text: str, _: Path) -> Any:
    return [json.loads(line) for line in text.splitlines()]


#: Models that read samples, by a member that tells them apart.
MODELS: dict[str, Callable[[str, Path], Any]] = {
    '"schema"': _definition,
    '"partitions"': lambda text, _: TopicRecord.model_validate_json(text),
    '"at_ns"': _history,
    '"entry_version"': lambda text, _: UniqueEntry.model_validate_json(text),
    '"instance_id"': _items,
}


@pytest.mark.parametrize("block", of("json"), ids=lambda block: block.place)
def test_json_sample_is_read_by_its_model(block: Block, tmp_path: Path):
    models = [model for member, model in MODELS.items() if member in block.text]
    assert len(models) == 1, f"expected one model for the sample, found {len(models)}: name it in MODELS"
    assert models[0](block.text, tmp_path)


@pytest.mark.parametrize("block", of("toml"), ids=lambda block: block.place)
def test_toml_sample_is_the_file_of_its_title(block: Block, tmp_path: Path):
    path = tmp_path / str(block.title)
    path.write_text(block.text)
    readers: dict[str, Callable[[Path], Any]] = {
        "profiles.toml": read_profiles,
        "pyproject.toml": lambda path: tomllib.loads(path.read_text()),
    }
    assert readers[path.name](path)
