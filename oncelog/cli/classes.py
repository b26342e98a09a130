"""``oncelog class``: define classes, retire them, show what they are."""

import asyncio
import json
import sys
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.json import JSON

from oncelog.cli import show
from oncelog.cli.commands import parse_payload, parse_target
from oncelog.cli.exits import Exit, explained
from oncelog.cli.terminal import errors, text_line
from oncelog.client.client import Command, CommandType, Oncelog, class_command
from oncelog.domain.ontology.class_schema import ClassSchema
from oncelog.domain.ontology.relationship_names import DirectedRelationship
from oncelog.domain.results import CommandResult, Outcome
from oncelog.errors import InputInvalid

class_app = typer.Typer(
    name="class", help="Define what a class's instances look like, and what they refer to.", no_args_is_help=True
)

Target = Annotated[str, typer.Argument(metavar="DB/CLASS", help="Such as shop/Product.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")]
CommandId = Annotated[str | None, typer.Option("--id", help="The command ID; a new UUIDv7 if not given.")]
Expected = Annotated[int | None, typer.Option(help="Refuse unless the class is at this sequence number (0: new).")]
Actor = Annotated[str | None, typer.Option(help="Who asks for it.")]


@class_app.command()
def define(
    target: Target,
    definition: Annotated[
        str, typer.Option("--payload", "-p", help="version, schema, relationships, migration: JSON, or @FILE.")
    ],
    command_id: CommandId = None,
    expected_version: Expected = None,
    actor: Actor = None,
    if_changed: Annotated[bool, typer.Option("--if-changed", help="Do nothing if it is defined just so.")] = False,
    as_json: AsJson = False,
) -> None:
    """Define a class, or a next version of it; returns once its documents are found under the new definition."""
    with explained(as_json=as_json):
        fields: dict[str, Any] = {"expected_version": expected_version, "actor": actor}
        payload = parse_payload(definition)
        class_schema = asyncio.run(_class_schema(target))[0] if if_changed else None
        if class_schema and not class_schema.retired and class_schema.definition.says(payload):
            _show_unchanged(target, class_schema, as_json=as_json)
            return
        command = class_command(CommandType.DEFINE_CLASS, *_class(target), command_id, payload=payload, **fields)
        _show_result(asyncio.run(_submit(command)), as_json=as_json)


@class_app.command()
def retire(
    target: Target,
    command_id: CommandId = None,
    expected_version: Expected = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Retire a class: its instances stay, and can be deleted, but not changed, and no new one is created."""
    with explained(as_json=as_json):
        fields: dict[str, Any] = {"expected_version": expected_version, "actor": actor}
        command = class_command(CommandType.RETIRE_CLASS, *_class(target), command_id, **fields)
        _show_result(asyncio.run(_submit(command)), as_json=as_json)


@class_app.command("show")
def show_class(target: Target, as_json: AsJson = False) -> None:
    """Show a class as it is defined now, from the log; one that never was ends with exit code 1."""
    with explained(as_json=as_json):
        class_schema, relationships = asyncio.run(_class_schema(target))
        if class_schema is None:
            if as_json:
                show.print_json(None)
            errors.print(f"{target} is not defined: its instances may hold any JSON object")
            sys.exit(Exit.FINDINGS)
        if as_json:
            show.print_json(_fields(class_schema))
        else:
            show.output.print(_view(class_schema, relationships))


@class_app.command()
def reindex(target: Target) -> None:
    """Migrate a class's documents to its definition, if its command was terminated before it did."""
    with explained():
        show.output.print(asyncio.run(_reindex(target)))


def _class(target: str) -> tuple[str, str]:
    db_name, class_id, instance_id = parse_target(target)
    if instance_id is not None:
        raise InputInvalid(f"{target!r}: expected DB/CLASS, found an instance as well")
    return db_name, class_id


async def _submit(command: Command) -> CommandResult:
    async with Oncelog.connect() as oncelog:
        return await oncelog.submit(command)


async def _reindex(target: str) -> str:
    async with Oncelog.connect() as oncelog:
        return await oncelog.reindex_class(*_class(target))


async def _class_schema(target: str) -> tuple[ClassSchema | None, list[DirectedRelationship]]:
    """Return the class as it is defined, and what can be walked back to from its instances."""
    db_name, class_id = _class(target)
    async with Oncelog.connect() as oncelog:
        class_schema = await oncelog.class_schema(db_name, class_id)
        relationships = await oncelog.reader.relationship_names(db_name) if class_schema else None
        return class_schema, [
            relationship for relationship in relationships.begun_at([class_id]) if relationship.inward
        ] if relationships else []


def _show_unchanged(target: str, class_schema: ClassSchema, *, as_json: bool) -> None:
    if as_json:
        show.print_json({"outcome": "UNCHANGED", **_fields(class_schema)})
    else:
        version = class_schema.definition.version
        show.output.print(f"{target} is defined just so already, as {version}: nothing was sent")


def _show_result(result: CommandResult, *, as_json: bool) -> None:
    if as_json:
        show.print_json(result.model_dump(mode="json"))
    else:
        show.output.print(show.pairs(show.result_rows(result)))
        for finding in _findings(result):
            show.output.print(text_line(f"  {finding['at'] or '(all of it)'}: {finding['problem']}"))
    sys.exit(Exit.FINE if result.outcome is Outcome.APPLIED else Exit.FINDINGS)


def _findings(result: CommandResult) -> list[dict[str, str]]:
    details = result.rejection.details if result.rejection else {}
    return [*details.get("errors", ()), *details.get("breaks", ())]


def _fields(class_schema: ClassSchema) -> dict[str, Any]:
    definition = class_schema.definition.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return {
        "sequence_number": class_schema.reference.sequence_number,
        "retired": class_schema.retired,
        "definition": definition,
    }


def _view(class_schema: ClassSchema, incoming: list[DirectedRelationship]) -> Group:
    definition = class_schema.definition
    rows = [
        ("version", definition.version + (" (retired)" if class_schema.retired else "")),
        ("defined by event", str(class_schema.reference.sequence_number)),
        *(
            (
                name,
                f"{one.path} -> {one.target_class}, {one.cardinality}"
                + (f", inverse {one.inverse}" * bool(one.inverse)),
            )
            for name, one in definition.relationships.items()
        ),
        *(
            (relationship.name, f"back from here to {relationship.leads_to}: {relationship.notation}")
            for relationship in incoming
        ),
    ]
    schema = JSON(json.dumps(definition.json_schema, ensure_ascii=False))
    return Group(show.pairs(rows), text_line("schema", "dim"), schema)
