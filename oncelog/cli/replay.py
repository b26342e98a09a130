"""``oncelog replay`` and ``oncelog export``: digests, files, events to a topic; pause, resume, cancel."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import typer
from pydantic import BaseModel, ValidationError

from oncelog.cli import show
from oncelog.cli.check import check_request, run_check
from oncelog.cli.commands import parse_aggregate, parse_as_of
from oncelog.cli.exits import Exit, explained
from oncelog.cli.replay_view import ended_replay, exit_of, replay_view, run_replay
from oncelog.cli.terminal import errors
from oncelog.client import connection
from oncelog.client.runs import Replays
from oncelog.composition.replays import assemble_replays
from oncelog.domain.identifiers import AggregateId
from oncelog.errors import InputInvalid
from oncelog.replay_runs.digests import InclusionProof
from oncelog.replay_runs.request import ExportFormat, ReplayMode, ReplayRequest, ReplayScope
from oncelog.settings import Settings
from oncelog.stores.opening import Stores

Model = TypeVar("Model", bound=BaseModel)

app = typer.Typer(
    name="replay",
    help="Fold the log anew: digests, compared with read models and the last replay; pause, resume, cancel.",
    no_args_is_help=True,
)

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")]
Target = Annotated[str | None, typer.Argument(metavar="[DB[/CLASS[/INSTANCE]]]", help="All of the log if not given.")]
RunId = Annotated[str, typer.Argument(metavar="REPLAY_ID")]
Parallel = Annotated[int, typer.Option(min=1, max=64, help="Partitions at a time, over all workers.")]
Rate = Annotated[float | None, typer.Option("--events-per-s", min=0.1, help="At most so many events per second.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only list, and say how much it would be.")]


@app.command()
def start(
    target: Target = None,
    *,
    since: Annotated[str | None, typer.Option(help="Only aggregates changed since a time (RFC 3339).")] = None,
    parallel: Parallel = 4,
    events_per_s: Rate = None,
    dry_run: DryRun = False,
    compare_with: Annotated[str | None, typer.Option(metavar="REPLAY_ID", help="Instead of the last one.")] = None,
    as_json: AsJson = False,
) -> None:
    """Fold the log, keep the digests, and hold them against the last replay; exit code 1 if they differ."""
    with explained(as_json=as_json):
        scope = replay_scope(target, since=since)
        request = replay_request(
            mode=ReplayMode.VERIFY,
            scope=scope,
            parallel=parallel,
            events_per_s=events_per_s,
            dry_run=dry_run,
            compare_with=compare_with,
        )
        raise typer.Exit(asyncio.run(run_replay(request, as_json=as_json)))


@app.command()
def republish(
    target: Target = None,
    *,
    topic: Annotated[str, typer.Option(help="The topic of the new consumer; it must exist.")],
    parallel: Parallel = 4,
    events_per_s: Rate = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Send every event to a topic, each aggregate's in order; after a crash some may come twice, none is left out."""
    with explained(as_json=as_json):
        request = replay_request(
            mode=ReplayMode.REPUBLISH,
            scope=replay_scope(target),
            topic=topic,
            parallel=parallel,
            events_per_s=events_per_s,
            dry_run=dry_run,
        )
        raise typer.Exit(asyncio.run(run_replay(request, as_json=as_json)))


@app.command()
def restore(
    *, parallel: Parallel = 4, events_per_s: Rate = None, dry_run: DryRun = False, as_json: AsJson = False
) -> None:
    """Bring back documents, graph, topics and Redis from S3 alone, then finish commands that were under way."""
    with explained(as_json=as_json):
        request = replay_request(mode=ReplayMode.RESTORE, parallel=parallel, events_per_s=events_per_s, dry_run=dry_run)
        raise typer.Exit(asyncio.run(_restore(request, as_json=as_json)))


async def _restore(request: ReplayRequest, *, as_json: bool) -> Exit:
    """Restore, and then let a check end what was under way: it needs what the restore has brought back."""
    report = await ended_replay(request)
    if as_json:
        show.print_json(report.model_dump(mode="json"))
    else:
        show.output.print(replay_view(report))
    if request.dry_run:
        return Exit.FINE
    checking = check_request(db_name=None, class_id=None, repair=True, grace_s=0)
    return max(exit_of(report), await run_check(checking, attach=None, as_json=as_json))


@app.command()
def attach(replay_id: RunId, *, as_json: AsJson = False) -> None:
    """Show how far a replay has come, and its result."""
    with explained(as_json=as_json):
        raise typer.Exit(asyncio.run(run_replay(None, attach=replay_id, as_json=as_json)))


@app.command()
def pause(replay_id: RunId) -> None:
    """Begin no more partitions until it is resumed."""
    with explained():
        asyncio.run(_do(lambda replays: replays.pause(replay_id)))
        errors.print(f"{replay_id}: paused; partitions under way come to their end")


@app.command()
def resume(replay_id: RunId) -> None:
    """End a pause."""
    with explained():
        asyncio.run(_do(lambda replays: replays.resume(replay_id)))
        errors.print(f"{replay_id}: resumed")


@app.command()
def cancel(replay_id: RunId) -> None:
    """End a replay where it is."""
    with explained():
        asyncio.run(_do(lambda replays: replays.cancel(replay_id)))
        errors.print(f"{replay_id}: cancelled")


def export(
    target: Annotated[str, typer.Argument(metavar="DB[/CLASS]", help="Such as shop/Product.")],
    *,
    export_format: Annotated[ExportFormat, typer.Option("--format", help="Of the files.")] = ExportFormat.NDJSON,
    as_of: Annotated[str | None, typer.Option(help="As it stood at this version, or at this time (RFC 3339).")] = None,
    parallel: Parallel = 4,
    events_per_s: Rate = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Write a class or a database as files to S3, folded from the log; deleted instances are left out."""
    with explained(as_json=as_json):
        request = replay_request(
            mode=ReplayMode.AS_OF,
            scope=replay_scope(target, as_of=as_of),
            format=export_format,
            parallel=parallel,
            events_per_s=events_per_s,
            dry_run=dry_run,
        )
        raise typer.Exit(asyncio.run(run_replay(request, as_json=as_json)))


def replay_scope(target: str | None, *, since: str | None = None, as_of: str | None = None) -> ReplayScope:
    parts = target.split("/") if target else []
    moment = parse_as_of(as_of) if as_of is not None else None
    fields: dict[str, Any] = {"since": since}
    if isinstance(moment, int):
        fields["as_of_version"] = moment
    elif moment is not None:
        fields["as_of_time"] = moment
    if len(parts) == 3:
        fields["aggregate_id"] = target
    elif len(parts) <= 2:
        fields |= dict(zip(("db_name", "class_id"), parts, strict=False))
    else:
        raise InputInvalid(f"{target!r}: expected DB, DB/CLASS or DB/CLASS/INSTANCE")
    return _validated(ReplayScope, fields)


def replay_request(**fields: Any) -> ReplayRequest:
    return _validated(ReplayRequest, fields)


def _validated(model: type[Model], fields: dict[str, Any]) -> Model:
    try:
        return model(**{name: value for name, value in fields.items() if value is not None})
    except ValidationError as error:
        found = "; ".join(
            f"{'.'.join(map(str, item['loc']))} {item['msg'].removeprefix('Value error, ')}".strip()
            for item in error.errors(include_url=False)
        )
        raise InputInvalid(f"replay: {found}") from error


async def _do(action: Callable[[Replays], Any]) -> None:
    settings = Settings.from_environment()
    await action(Replays(await connection.connect(), settings))


@app.command()
def prove(
    target: Annotated[str, typer.Argument(metavar="DB/CLASS/INSTANCE", help="Such as shop/Product/p1.")],
    replay_id: Annotated[str, typer.Option("--replay", metavar="REPLAY_ID", help="The replay with the digests.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Show the proof that an instance's state is under a replay's root, for an auditor; exit code 1 if it is not."""
    with explained(as_json=as_json):
        aggregate_id = parse_aggregate(target)
        proof = asyncio.run(_proof(aggregate_id, replay_id))
        if proof is None:
            errors.print(f"{target} is not among the digests of {replay_id}")
            raise typer.Exit(Exit.FINDINGS)
        fields = {
            "line": proof.digest.line,
            "index": proof.index,
            "size": proof.tree.size,
            "path": [each.hex() for each in proof.path],
            "class": proof.tree.name,
            "root": proof.tree.root.hex(),
            "classes": list(proof.classes),
            "checkpoint": proof.checkpoint,
        }
        if as_json:
            show.print_json(fields)
        else:
            show.output.print(show.pairs([(name, _text(value)) for name, value in fields.items()]))


def _text(value: object) -> str:
    return "\n".join(value) if isinstance(value, list) else "" if value is None else str(value)


async def _proof(aggregate_id: AggregateId, replay_id: str) -> InclusionProof | None:
    async with await Stores.connect(Settings.from_environment()) as stores:
        return await assemble_replays(stores.ports).prove(replay_id, aggregate_id)
