"""``oncelog class define --if-changed``, without servers: nothing is sent where a class is defined just so."""

import json
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from oncelog.cli import classes
from oncelog.cli.app import app
from oncelog.cli.classes import _view
from oncelog.domain.events import DefinitionReference
from oncelog.domain.ontology.class_schema import ClassSchema
from oncelog.domain.ontology.definition import ClassDefinition
from tests.classes import FIRST, WIDER
from tests.required_references import PRODUCTS


class SentError(Exception):
    pass


@pytest.mark.parametrize(
    ("payload", "retired", "sent"), [(FIRST, False, False), (FIRST, True, True), (WIDER, False, True)]
)
def test_definition_is_sent_only_if_changed(
    monkeypatch: pytest.MonkeyPatch, payload: dict[str, Any], retired: bool, sent: bool
):
    reference = DefinitionReference(sequence_number=1, version="1.0.0")
    class_schema = ClassSchema(reference, ClassDefinition.model_validate(FIRST), ((1, ()),), retired=retired)

    async def known(_: str) -> Any:
        return class_schema

    async def submit(_: object) -> Any:
        raise SentError

    monkeypatch.setattr(classes, "_class_schema", known)
    monkeypatch.setattr(classes, "_submit", submit)
    arguments = ["class", "define", "shop/Product", "-p", json.dumps(payload), "--if-changed", "--json"]
    found = CliRunner().invoke(app, arguments)
    assert isinstance(found.exception, SentError) == sent
    if not sent:
        assert (found.exit_code, json.loads(found.output)["outcome"]) == (0, "UNCHANGED")


def test_class_show_says_which_targets_must_exist():
    reference = DefinitionReference(sequence_number=1, version="1.0.0")
    class_schema = ClassSchema(reference, ClassDefinition.model_validate(PRODUCTS), ((1, ()),))
    console = Console(width=120)
    with console.capture() as shown:
        console.print(_view(class_schema, [], []))
    lines = [line.strip() for line in shown.get().splitlines()]
    assert [line for line in lines if line.endswith("/maker -> Maker, one, must exist")]
    assert [line for line in lines if line.endswith("/alike -> Product, many")]
