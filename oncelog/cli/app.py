"""The commands of ``oncelog``."""

import asyncio
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from oncelog.activities.check_models import GRACE_S
from oncelog.cli import archive, dead_letters, query, replay, schedules, show
from oncelog.cli.bulk import bulk_app, bulk_fields, submit_bulk, wait_for
from oncelog.cli.bulk import exit_of as exit_of_bulk
from oncelog.cli.check import check_request, run_check
from oncelog.cli.classes import class_app
from oncelog.cli.commands import parse_aggregate, parse_payload, parse_target, read_commands
from oncelog.cli.exits import Exit, exit_for, explained, fail
from oncelog.cli.rebuild import run_rebuild
from oncelog.cli.submit import Answer, submit_with_progress
from oncelog.cli.terminal import errors
from oncelog.cli.verify import exit_of, report_view, run_verify
from oncelog.client.client import Command, CommandType, Event, Oncelog, new_command_id
from oncelog.composition.read_models import ReadModelName
from oncelog.domain.bulk.command import is_bulk
from oncelog.domain.bulk.results import BulkResult
from oncelog.domain.commands import parse_command
from oncelog.errors import CommandFailed, InputInvalid, OncelogError
from oncelog.ports import CommandStatus, Document, Stage
from oncelog.process import keep_standard_output, leave, log_to_standard_error

CONCURRENCY = 32

app = typer.Typer(
    name="oncelog",
    help="Submit commands, see what became of them, read what they made.",
    epilog="Exit codes: 0 fine; 1 findings (rejected, not found); 2 usage; 3 a server is out of reach; 4 partly done.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(dead_letters.app)
app.add_typer(schedules.app)
app.add_typer(replay.app)
app.command()(replay.export)
app.command()(archive.archive)
app.add_typer(class_app)
app.add_typer(bulk_app)
app.add_typer(query.app)

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object per line, for programs.")]
Target = Annotated[str, typer.Argument(metavar="DB/CLASS/INSTANCE", help="Such as shop/Product/p1.")]


#: Hints by database and class.
Hints = dict[tuple[str, str], str]


class Action(StrEnum):
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


@app.command()
def submit(
    action: Annotated[Action | None, typer.Argument(help="What to do with one instance.")] = None,
    target: Annotated[str | None, typer.Argument(metavar="DB/CLASS[/INSTANCE]", help="Which instance.")] = None,
    payload: Annotated[
        str | None, typer.Option("--payload", "-p", help="A JSON object, or @FILE: all data, or a JSON Merge Patch.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="Commands as JSON or NDJSON; - for standard input.")
    ] = None,
    bulk: Annotated[
        Path | None, typer.Option("--bulk", help="Items as NDJSON, all one command on DB/CLASS; - for standard input.")
    ] = None,
    command_id: Annotated[str | None, typer.Option("--id", help="The command ID; a new UUIDv7 if not given.")] = None,
    expected_version: Annotated[
        int | None, typer.Option(help="Refuse unless the instance is at this version (0: unknown yet).")
    ] = None,
    actor: Annotated[str | None, typer.Option(help="Who asks for it.")] = None,
    early: Annotated[bool, typer.Option("--early", help="Return once persisted, before it is projected.")] = False,
    concurrency: Annotated[int, typer.Option(min=1, max=1000, help="Commands at a time.")] = CONCURRENCY,
    as_json: AsJson = False,
) -> None:
    """Submit one command, many from a file, or one on many items (--bulk); safe to repeat with the same IDs."""
    with explained(as_json=as_json):
        if file is not None and (action or target or payload or command_id or expected_version is not None or actor):
            raise InputInvalid("submit: expected either --file or one command from arguments, found both")
        if bulk is not None:
            if file or payload or expected_version is not None or early:
                raise InputInvalid("submit --bulk: each item has its own payload and expected_version, found one here")
            fields = bulk_fields(action, target, command_id=command_id or new_command_id(), actor=actor)
            sys.exit(submit_bulk(bulk, fields, as_json=as_json))
        if file is not None:
            commands, given_ids = read_commands(file)
            if given_ids:
                errors.print(f"{given_ids} without command_id got new ones: submitted again, they would act again.")
        elif action is None or target is None:
            raise InputInvalid("submit: expected create|update|delete DB/CLASS/INSTANCE, or --file FILE")
        else:
            db_name, class_id, instance_id = parse_target(target)
            fields = {
                "command_id": command_id or new_command_id(),
                "command_type": f"{action.upper()}_INSTANCE",
                "db_name": db_name,
                "class_id": class_id,
                "instance_id": instance_id,
                "payload": parse_payload(payload),
                "expected_version": expected_version,
                "actor": actor,
            }
            commands = [parse_command({name: value for name, value in fields.items() if value is not None})]
        answers, hints = asyncio.run(_submit(commands, concurrency=concurrency, early=early))
        _show_answers(answers, hints, as_json=as_json)
        sys.exit(_exit_of(answers))


@app.command()
def status(
    command_id: Annotated[str, typer.Argument(metavar="COMMAND_ID")],
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the command has come to its end.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show how far a command has come, whether its workflow is open, and its result."""
    with explained(as_json=as_json):
        found = asyncio.run(_status(command_id, wait=wait))
        if as_json:
            show.print_json(show.status_fields(found))
        else:
            show.output.print(show.status_view(found))
        if isinstance(found.result, BulkResult):
            sys.exit(exit_of_bulk(found.result))
        sys.exit(Exit.FINDINGS if found.stage is Stage.REJECTED or found.remark else Exit.FINE)


@app.command()
def get(
    target: Target,
    tokens: query.Tokens = None,
    deadline_s: query.Deadline = 10.0,
    as_of: Annotated[
        str | None, typer.Option(help="As it was at this version, or at this time (RFC 3339), from the log.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show an instance as the read side has it; deleted and unknown ones end with exit code 1."""
    with explained(as_json=as_json):
        if as_of is not None and tokens:
            raise InputInvalid("get: expected either --as-of, which reads the log, or --token, found both")
        document = asyncio.run(
            _get(target, token=query.merged(tokens), deadline_s=deadline_s)
            if as_of is None
            else _get_as_of(target, as_of)
        )
        if document is None or document.body["deleted"]:
            was = "does not exist" if document is None else f"was deleted at version {document.sequence_number}"
            if as_json:
                show.print_json(dict(document.body) if document else None)
            errors.print(f"{target} {was}")
            sys.exit(Exit.FINDINGS)
        if as_json:
            show.print_json(dict(document.body))
        else:
            show.output.print(show.document_view(document))


@app.command()
def history(
    target: Target,
    after: Annotated[int, typer.Option(min=0, help="Only events above this version.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Show an aggregate's events as the log has them, verified."""
    with explained(as_json=as_json):
        events = asyncio.run(_history(target, after=after))
        if as_json:
            for event in events:
                show.print_json(event.model_dump(mode="json"))
        elif events:
            show.output.print(show.history_view(events))
        if not events:
            errors.print(f"{target} has no events above version {after}")
            sys.exit(Exit.FINDINGS)


@app.command()
def verify(
    histories: Annotated[
        list[Path] | None, typer.Option("--history", help="What clients wrote down while they ran; may be repeated.")
    ] = None,
    db: Annotated[str | None, typer.Option("--db", help="Only this database.")] = None,
    drained: Annotated[
        bool, typer.Option("--drained", help="Nothing is under way: count what is not finished as a violation.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Hold every promise against all that lies in S3, the stream and the read models; exit code 1 on a violation."""
    with explained(as_json=as_json):
        verifying_all = run_verify(histories=histories or [], db_name=db, drained=drained)
        report = asyncio.run(verifying_all)
        if as_json:
            show.print_json(report.model_dump(mode="json"))
        else:
            show.output.print(report_view(report))
        sys.exit(exit_of(report))


@app.command()
def check(
    repair: Annotated[bool, typer.Option("--repair", help="Finish what is found; else it is only shown.")] = False,
    db_name: Annotated[str | None, typer.Option("--db", help="Only this database.")] = None,
    class_id: Annotated[str | None, typer.Option("--class", help="Only this class of it.")] = None,
    grace_s: Annotated[float, typer.Option(min=0, help="Leave alone what is younger.")] = GRACE_S,
    attach: Annotated[str | None, typer.Option(metavar="CHECK_ID", help="Show a check that was started.")] = None,
    as_json: AsJson = False,
) -> None:
    """Find what ended workflows left incomplete (records, stream, documents); `oncelog verify` proves all promises."""
    with explained(as_json=as_json):
        if attach is not None and (repair or db_name or class_id):
            raise InputInvalid("check: expected either --attach or what to check, found both")
        request = check_request(db_name=db_name, class_id=class_id, repair=repair, grace_s=grace_s)
        sys.exit(asyncio.run(run_check(request, attach=attach, as_json=as_json)))


@app.command()
def worker() -> None:
    """Run a worker until it is told to stop (Ctrl-C, SIGTERM); it then ends what it has begun."""
    os.execv(sys.executable, [sys.executable, "-m", "oncelog.worker"])  # noqa: S606 - this very interpreter, no shell


@app.command()
def rebuild(
    target: Annotated[str, typer.Argument(metavar="DB/CLASS", help="Such as shop/Product.")],
    read_model: Annotated[ReadModelName, typer.Option(help="In which read model.")] = ReadModelName.DOCUMENTS,
    as_json: AsJson = False,
) -> None:
    """Show a class's instances anew from the log, such as after its index was lost; exit code 1 if some cannot be."""
    with explained(as_json=as_json):
        sys.exit(run_rebuild(target, read_model=read_model, as_json=as_json))


@app.command()
def projector() -> None:
    """Run a projector until it is told to stop (Ctrl-C, SIGTERM): it keeps a read model up to date from the stream."""
    os.execv(sys.executable, [sys.executable, "-m", "oncelog.projector"])  # noqa: S606 - as for the worker


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line; ends the process with one of the exit codes."""
    log_to_standard_error()
    if arguments is None:  # as a program, not within one
        keep_standard_output()
    try:
        app(args=None if arguments is None else list(arguments))
    except SystemExit as end:
        if arguments is None:
            leave(int(end.code or 0))
        raise
    raise AssertionError("typer always exits")


async def _submit(commands: Sequence[Command], *, concurrency: int, early: bool) -> tuple[list[Answer], Hints]:
    async with Oncelog.connect() as oncelog:
        answers = await submit_with_progress(oncelog, commands, concurrency=concurrency, early=early)
        return answers, await _hints(oncelog, answers)


async def _hints(oncelog: Oncelog, answers: Sequence[Answer]) -> Hints:
    """Return a hint for each class that is not defined, in which an instance was created or refused for that."""
    classes = {
        (answer.command.db_name, answer.command.class_id)
        for answer in answers
        if answer.result and answer.command.command_type is CommandType.CREATE_INSTANCE
    }
    with suppress(OncelogError):  # a hint is no reason to fail an answer
        found = {place: await oncelog.class_hint(*place) for place in sorted(classes)}
        return {place: hint for place, hint in found.items() if hint}
    return {}


async def _status(command_id: str, *, wait: bool) -> CommandStatus:
    async with Oncelog.connect() as oncelog:
        if wait:
            with suppress(CommandFailed):  # its status says so, and what to do
                await _wait_for(oncelog, command_id)
        return await oncelog.status(command_id)


async def _wait_for(oncelog: Oncelog, command_id: str) -> None:
    if is_bulk({"command_type": (await oncelog.status(command_id)).command_type}):
        await wait_for(oncelog, command_id)
    else:
        await oncelog.result(command_id)


async def _get(target: str, *, token: str | None, deadline_s: float) -> Document | None:
    async with Oncelog.connect() as oncelog:
        return await oncelog.get(parse_aggregate(target), token=token, deadline_s=deadline_s)


async def _get_as_of(target: str, as_of: str) -> Document | None:
    moment = query.parse_as_of(as_of)
    async with Oncelog.connect() as oncelog:
        if isinstance(moment, int):
            return await oncelog.reader.as_of(parse_aggregate(target), version=moment)
        return await oncelog.reader.as_of(parse_aggregate(target), time=moment)


async def _history(target: str, *, after: int) -> list[Event]:
    async with Oncelog.connect() as oncelog:
        return [event async for event in oncelog.history(parse_aggregate(target), after=after)]


def _show_answers(answers: Sequence[Answer], hints: Hints, *, as_json: bool) -> None:
    for hint in hints.values():
        errors.print(f"hint: {hint}")
    if as_json:
        for answer in answers:
            found = hints.get((answer.command.db_name, answer.command.class_id))
            show.print_json(show.result_fields(answer) | ({"hint": found} if found else {}))
    elif len(answers) > 1:
        show.output.print(show.answers_view(answers))
        if not all(answer.applied for answer in answers):
            show.output.print()
            show.output.print(show.findings_view(answers))
    elif answers[0].result:
        show.output.print(show.pairs(show.result_rows(answers[0].result, duplicate=answers[0].duplicate)))
    elif answers[0].error:
        fail(answers[0].error)


def _exit_of(answers: Sequence[Answer]) -> Exit:
    failed = [answer.error for answer in answers if answer.error]
    if failed:
        return exit_for(failed[0]) if len(failed) == len(answers) else Exit.PARTLY
    return Exit.FINE if all(answer.applied for answer in answers) else Exit.FINDINGS
