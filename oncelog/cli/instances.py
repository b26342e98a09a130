"""``oncelog submit``, ``get`` and ``history``: change one instance, and show it."""

from collections.abc import Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group, RenderableType

from oncelog.cli.exits import Exit, exit_for, fail
from oncelog.cli.options import Deadline, Instance, ItemsFormat, Tokens
from oncelog.cli.reporting import for_people, report, report_each, reported
from oncelog.cli.terminal import errors
from oncelog.errors import InputInvalid, OncelogError

if TYPE_CHECKING:
    from oncelog import Command, Oncelog
    from oncelog.client.many_commands import Answer

CONCURRENCY = 32

#: Hints by database and class.
Hints = dict[tuple[str, str], str]


class Action(StrEnum):
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


@reported
async def submit(
    action: Annotated[Action | None, typer.Argument(help="What to do with one instance.")] = None,
    target: Annotated[str | None, typer.Argument(metavar="DB/CLASS[/INSTANCE]", help="Which instance.")] = None,
    *,
    payload: Annotated[
        str | None, typer.Option("--payload", "-p", help="A JSON object, or @FILE: all data, or a JSON Merge Patch.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="Commands as JSON or NDJSON; - for standard input.")
    ] = None,
    bulk: Annotated[
        Path | None,
        typer.Option("--bulk", help="Items (NDJSON, CSV), one command on DB/CLASS; - for standard input."),
    ] = None,
    items_format: Annotated[
        ItemsFormat | None, typer.Option("--format", help="Of the items; by the file's name if not given.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Hold the items against the class's definition; send nothing.")
    ] = False,
    command_id: Annotated[str | None, typer.Option("--id", help="The command ID; a new UUIDv7 if not given.")] = None,
    expected_version: Annotated[
        int | None, typer.Option(help="Refuse unless the instance is at this version (0: unknown yet).")
    ] = None,
    actor: Annotated[str | None, typer.Option(help="Who asks for it.")] = None,
    early: Annotated[bool, typer.Option("--early", help="Return once persisted, before it is projected.")] = False,
    concurrency: Annotated[int, typer.Option(min=1, max=1000, help="Commands at a time.")] = CONCURRENCY,
) -> Exit:
    """Submit one command, many from a file, or one on many items (--bulk); safe to repeat with the same IDs."""
    from oncelog import Oncelog, new_command_id
    from oncelog.cli.submit import submit_with_progress

    if file is not None and (action or target or payload or command_id or expected_version is not None or actor):
        raise InputInvalid("submit: expected either --file or one command from arguments, found both")
    if bulk is not None:
        from oncelog.cli.bulk_runs import bulk_fields, submit_bulk

        if file or payload or expected_version is not None or early:
            raise InputInvalid("submit --bulk: each item has its own payload and expected_version, found one here")
        fields = bulk_fields(action, target, command_id=command_id or new_command_id(), actor=actor)
        return await submit_bulk(bulk, fields, items_format=items_format, dry_run=dry_run)
    if dry_run or items_format is not None:
        raise InputInvalid("submit: expected --dry-run and --format with --bulk only")
    commands = (
        _from_file(file)
        if file is not None
        else [
            _from_arguments(
                action,
                target,
                command_id=command_id or new_command_id(),
                payload=payload,
                expected_version=expected_version,
                actor=actor,
            )
        ]
    )
    async with Oncelog.connect() as oncelog:
        answers = await submit_with_progress(oncelog, commands, concurrency=concurrency, early=early)
        hints = await _hints(oncelog, answers)
    _show_answers(answers, hints)
    return _exit_of(answers)


@reported
async def get(
    target: Instance,
    *,
    tokens: Tokens = None,
    deadline_s: Deadline = 10.0,
    as_of: Annotated[
        str | None, typer.Option(help="As it was at this version, or at this time (RFC 3339), from the log.")
    ] = None,
) -> Exit:
    """Show an instance as the read side has it; deleted and unknown ones end with exit code 1."""
    from oncelog import Oncelog
    from oncelog.cli import show
    from oncelog.cli.commands import merged, parse_aggregate, parse_as_of

    if as_of is not None and tokens:
        raise InputInvalid("get: expected either --as-of, which reads the log, or --token, found both")
    moment = None if as_of is None else parse_as_of(as_of)
    async with Oncelog.connect() as oncelog:
        if isinstance(moment, int):
            document = await oncelog.reader.as_of(parse_aggregate(target), version=moment)
        elif moment is not None:
            document = await oncelog.reader.as_of(parse_aggregate(target), time=moment)
        else:
            document = await oncelog.get(parse_aggregate(target), token=merged(tokens), deadline_s=deadline_s)
    if document is None or document.body["deleted"]:
        was = "does not exist" if document is None else f"was deleted at version {document.sequence_number}"
        report(dict(document.body) if document else None, lambda: None)
        errors.print(f"{target} {was}")
        return Exit.FINDINGS
    report(dict(document.body), lambda: show.document_view(document))
    return Exit.FINE


@reported
async def history(
    target: Instance, *, after: Annotated[int, typer.Option(min=0, help="Only events above this version.")] = 0
) -> Exit:
    """Show an aggregate's events as the log has them, verified."""
    from oncelog import Oncelog
    from oncelog.cli import show
    from oncelog.cli.commands import parse_aggregate

    async with Oncelog.connect() as oncelog:
        events = [event async for event in oncelog.history(parse_aggregate(target), after=after)]
    report_each((event.model_dump(mode="json") for event in events), lambda: show.history_view(events))
    if not events:
        errors.print(f"{target} has no events above version {after}")
    return Exit.FINE if events else Exit.FINDINGS


def _from_file(file: Path) -> "list[Command]":
    from oncelog.cli.commands import read_commands

    commands, given_ids = read_commands(file)
    if given_ids:
        errors.print(f"{given_ids} without command_id got new ones: submitted again, they would act again.")
    return commands


def _from_arguments(action: Action | None, target: str | None, *, payload: str | None, **more: Any) -> "Command":
    from oncelog.cli.commands import parse_payload, parse_target
    from oncelog.domain.commands import parse_command

    if action is None or target is None:
        raise InputInvalid("submit: expected create|update|delete DB/CLASS/INSTANCE, or --file FILE")
    db_name, class_id, instance_id = parse_target(target)
    fields = {
        "command_type": f"{action.upper()}_INSTANCE",
        "db_name": db_name,
        "class_id": class_id,
        "instance_id": instance_id,
        "payload": parse_payload(payload),
        **more,
    }
    return parse_command({name: value for name, value in fields.items() if value is not None})


async def _hints(oncelog: "Oncelog", answers: "Sequence[Answer]") -> Hints:
    """Return a hint for each class that is not defined, in which an instance was created or refused for that."""
    from oncelog import CommandType

    classes = {
        (answer.command.db_name, answer.command.class_id)
        for answer in answers
        if answer.result and answer.command.command_type is CommandType.CREATE_INSTANCE
    }
    with suppress(OncelogError):  # a hint is no reason to fail an answer
        found = {place: await oncelog.class_hint(*place) for place in sorted(classes)}
        return {place: hint for place, hint in found.items() if hint}
    return {}


def _show_answers(answers: "Sequence[Answer]", hints: Hints) -> None:
    from oncelog.cli import show

    for hint in hints.values():
        errors.print(f"hint: {hint}")
    if for_people() and len(answers) == 1 and answers[0].error:
        fail(answers[0].error)
    found = ((answer, hints.get((answer.command.db_name, answer.command.class_id))) for answer in answers)
    rows = (show.result_fields(answer) | ({"hint": hint} if hint else {}) for answer, hint in found)
    report_each(rows, lambda: _answers_view(answers))


def _answers_view(answers: "Sequence[Answer]") -> RenderableType:
    from oncelog.cli import show

    if len(answers) == 1 and answers[0].result:
        return show.pairs(show.result_rows(answers[0].result, duplicate=answers[0].duplicate))
    findings = () if all(answer.applied for answer in answers) else ("", show.findings_view(answers))
    return Group(show.answers_view(answers), *findings)


def _exit_of(answers: "Sequence[Answer]") -> Exit:
    failed = [answer.error for answer in answers if answer.error]
    if failed:
        return exit_for(failed[0]) if len(failed) == len(answers) else Exit.PARTLY
    return Exit.FINE if all(answer.applied for answer in answers) else Exit.FINDINGS
