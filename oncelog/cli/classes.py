"""``oncelog class``: define classes, retire them, show their definitions."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group
from rich.json import JSON

from oncelog.cli.exits import Exit
from oncelog.cli.options import Class
from oncelog.cli.reporting import report, reported
from oncelog.cli.terminal import errors, output, text_line

if TYPE_CHECKING:
    from oncelog import Command, CommandResult
    from oncelog.domain.ontology.class_schema import ClassSchema
    from oncelog.domain.ontology.relationship_names import DirectedRelationship

class_app = typer.Typer(
    name="class", help="Define what a class's instances look like, and what they refer to.", no_args_is_help=True
)

CommandId = Annotated[str | None, typer.Option("--id", help="The command ID; a new UUIDv7 if not given.")]
Expected = Annotated[int | None, typer.Option(help="Refuse unless the class is at this sequence number (0: new).")]
Actor = Annotated[str | None, typer.Option(help="Who asks for it.")]


@class_app.command()
@reported
async def define(
    target: Class,
    *,
    definition: Annotated[
        str, typer.Option("--payload", "-p", help="version, schema, relationships, migration: JSON, or @FILE.")
    ],
    command_id: CommandId = None,
    expected_version: Expected = None,
    actor: Actor = None,
    if_changed: Annotated[bool, typer.Option("--if-changed", help="Do nothing if it is defined just so.")] = False,
) -> Exit:
    """Define a class, or a next version of it; returns once its documents are found under the new definition."""
    from oncelog.cli.commands import parse_class, parse_payload
    from oncelog.client.start_options import class_command
    from oncelog.domain.commands import CommandType

    fields: dict[str, Any] = {"expected_version": expected_version, "actor": actor}
    payload = parse_payload(definition)
    class_schema = await _class_schema(target) if if_changed else None
    if class_schema and not class_schema.retired and class_schema.definition.says(payload):
        version = class_schema.definition.version
        report(
            {"outcome": "UNCHANGED", **_fields(class_schema)},
            lambda: f"{target} is defined just so already, as {version}: nothing was sent",
        )
        return Exit.FINE
    command = class_command(CommandType.DEFINE_CLASS, *parse_class(target), command_id, payload=payload, **fields)
    return _show_result(await _submit(command))


@class_app.command()
@reported
async def retire(
    target: Class, *, command_id: CommandId = None, expected_version: Expected = None, actor: Actor = None
) -> Exit:
    """Retire a class: its instances stay, and can be deleted, but not changed, and no new one is created."""
    from oncelog.cli.commands import parse_class
    from oncelog.client.start_options import class_command
    from oncelog.domain.commands import CommandType

    fields: dict[str, Any] = {"expected_version": expected_version, "actor": actor}
    command = class_command(CommandType.RETIRE_CLASS, *parse_class(target), command_id, **fields)
    return _show_result(await _submit(command))


@class_app.command("show")
@reported
async def show_class(target: Class) -> Exit:
    """Show a class as it is defined now, from the log; exit code 1 if it was never defined."""
    from oncelog import Oncelog
    from oncelog.cli.commands import parse_class
    from oncelog.cli.cover import constraint_fields, constraint_rows
    from oncelog.domain.identifiers import AggregateId

    db_name, class_id = parse_class(target)
    async with Oncelog.connect() as oncelog:
        coverage = oncelog.reader.coverage
        spans = await coverage.spans(AggregateId.of_class(db_name, class_id))
        if spans is None:
            report(None, lambda: None)
            errors.print(f"{target} is not defined: its instances may hold any JSON object")
            return Exit.FINDINGS
        names = await oncelog.reader.relationship_names(db_name)
        states = await coverage.states(db_name, class_id, spans)
    class_schema = spans.class_schema
    incoming = [each for each in names.begun_at([class_id]) if each.inward]
    constraints = {"constraints": constraint_fields(states)} if states else {}
    report(
        _fields(class_schema) | constraints,
        lambda: _view(class_schema, incoming, constraint_rows(target, class_schema.constraints, states)),
    )
    return Exit.FINE


@class_app.command()
@reported
async def cover(target: Class, *, actor: Actor = None) -> Exit:
    """Bring instances under unique constraints that they were written before; exit code 1 while some are not."""
    from oncelog.cli.commands import parse_class
    from oncelog.cli.cover import run_cover

    return await run_cover(*parse_class(target), actor=actor)


@class_app.command()
@reported
async def reindex(target: Class) -> None:
    """Migrate a class's documents to its definition, if its command was terminated before it did."""
    from oncelog import Oncelog
    from oncelog.cli.commands import parse_class

    async with Oncelog.connect() as oncelog:
        output.print(await oncelog.reindex_class(*parse_class(target)))


async def _submit(command: "Command") -> "CommandResult":
    from oncelog import Oncelog

    async with Oncelog.connect() as oncelog:
        return await oncelog.submit(command)


async def _class_schema(target: str) -> "ClassSchema | None":
    """Return the class as it is defined."""
    from oncelog import Oncelog
    from oncelog.cli.commands import parse_class

    async with Oncelog.connect() as oncelog:
        return await oncelog.class_schema(*parse_class(target))


def _show_result(result: "CommandResult") -> Exit:
    from oncelog import Outcome
    from oncelog.cli import show

    findings = (text_line(f"  {each['at'] or '(all of it)'}: {each['problem']}") for each in _findings(result))
    report(result.model_dump(mode="json"), lambda: Group(show.pairs(show.result_rows(result)), *findings))
    return Exit.FINE if result.outcome is Outcome.APPLIED else Exit.FINDINGS


def _findings(result: "CommandResult") -> list[dict[str, str]]:
    details = result.rejection.details if result.rejection else {}
    return [*details.get("errors", ()), *details.get("breaks", ())]


def _fields(class_schema: "ClassSchema") -> dict[str, Any]:
    definition = class_schema.definition.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return {
        "sequence_number": class_schema.reference.sequence_number,
        "retired": class_schema.retired,
        "definition": definition,
    }


def _view(
    class_schema: "ClassSchema", incoming: "list[DirectedRelationship]", constraints: list[tuple[str, str]]
) -> Group:
    from oncelog.cli import show

    definition = class_schema.definition
    rows = [
        ("version", definition.version + (" (retired)" if class_schema.retired else "")),
        ("defined by event", str(class_schema.reference.sequence_number)),
        *(
            (
                name,
                f"{one.path} -> {one.target_class}, {one.cardinality}"
                + (f", inverse {one.inverse}" * bool(one.inverse))
                + ", must exist" * one.must_exist,
            )
            for name, one in definition.relationships.items()
        ),
        *constraints,
        *((each.name, f"back from here to {each.leads_to}: {each.notation}") for each in incoming),
    ]
    schema = JSON(json.dumps(definition.json_schema, ensure_ascii=False))
    return Group(show.pairs(rows), text_line("schema", "dim"), schema)
