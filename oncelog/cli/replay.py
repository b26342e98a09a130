"""``oncelog replay`` and ``oncelog export``: digests, files, events to a topic; pause, resume, cancel."""

from typing import Annotated

import typer

from oncelog.cli.exits import Exit
from oncelog.cli.options import Instance
from oncelog.cli.reporting import report, reported
from oncelog.cli.terminal import errors
from oncelog.replay_runs.formats import ExportFormat

app = typer.Typer(
    name="replay",
    help="Fold the log anew: digests, compared with read models and the last replay; pause, resume, cancel.",
    no_args_is_help=True,
)

Target = Annotated[str | None, typer.Argument(metavar="[DB[/CLASS[/INSTANCE]]]", help="All of the log if not given.")]
RunId = Annotated[str, typer.Argument(metavar="REPLAY_ID")]
Parallel = Annotated[int, typer.Option(min=1, max=64, help="Partitions at a time, over all workers.")]
Rate = Annotated[float | None, typer.Option("--events-per-s", min=0.1, help="At most so many events per second.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only list, and say how much it would be.")]


@app.command()
@reported
async def start(
    target: Target = None,
    *,
    since: Annotated[str | None, typer.Option(help="Only aggregates changed since a time (RFC 3339).")] = None,
    parallel: Parallel = 4,
    events_per_s: Rate = None,
    dry_run: DryRun = False,
    compare_with: Annotated[str | None, typer.Option(metavar="REPLAY_ID", help="Instead of the last one.")] = None,
) -> Exit:
    """Fold the log, keep the digests, and hold them against the last replay; exit code 1 if they differ."""
    from oncelog.cli.replay_view import new_replay, replay_scope

    scope = replay_scope(target, since=since)
    return await new_replay(
        "verify", scope, parallel=parallel, events_per_s=events_per_s, dry_run=dry_run, compare_with=compare_with
    )


@app.command()
@reported
async def republish(
    target: Target = None,
    *,
    topic: Annotated[str, typer.Option(help="The topic of the new consumer; it must exist.")],
    parallel: Parallel = 4,
    events_per_s: Rate = None,
    dry_run: DryRun = False,
) -> Exit:
    """Send every event to a topic, each aggregate's in order; after a crash some may come twice, none is left out."""
    from oncelog.cli.replay_view import new_replay, replay_scope

    scope = replay_scope(target)
    return await new_replay(
        "republish", scope, parallel=parallel, events_per_s=events_per_s, dry_run=dry_run, topic=topic
    )


@app.command()
@reported
async def attach(replay_id: RunId) -> Exit:
    """Show how far a replay has come, and its result."""
    from oncelog.cli.replay_view import run_replay

    return await run_replay(None, attach=replay_id)


@app.command()
@reported
async def pause(replay_id: RunId) -> None:
    """Begin no more partitions until it is resumed."""
    from oncelog.cli.replay_view import steered

    await steered(lambda replays: replays.pause(replay_id))
    errors.print(f"{replay_id}: paused; partitions under way come to their end")


@app.command()
@reported
async def resume(replay_id: RunId) -> None:
    """End a pause."""
    from oncelog.cli.replay_view import steered

    await steered(lambda replays: replays.resume(replay_id))
    errors.print(f"{replay_id}: resumed")


@app.command()
@reported
async def cancel(replay_id: RunId) -> None:
    """End a replay where it is."""
    from oncelog.cli.replay_view import steered

    await steered(lambda replays: replays.cancel(replay_id))
    errors.print(f"{replay_id}: cancelled")


@reported
async def export(
    target: Annotated[str, typer.Argument(metavar="DB[/CLASS]", help="Such as shop/Product.")],
    *,
    export_format: Annotated[ExportFormat, typer.Option("--format", help="Of the files.")] = ExportFormat.NDJSON,
    as_of: Annotated[str | None, typer.Option(help="As it stood at this version, or at this time (RFC 3339).")] = None,
    parallel: Parallel = 4,
    events_per_s: Rate = None,
    dry_run: DryRun = False,
) -> Exit:
    """Write a class or a database as files to S3, folded from the log; deleted instances are left out."""
    from oncelog.cli.replay_view import new_replay, replay_scope

    scope = replay_scope(target, as_of=as_of)
    return await new_replay(
        "as_of", scope, parallel=parallel, events_per_s=events_per_s, dry_run=dry_run, format=export_format
    )


@app.command()
@reported
async def prove(
    target: Instance,
    *,
    replay_id: Annotated[str, typer.Option("--replay", metavar="REPLAY_ID", help="The replay with the digests.")],
) -> Exit:
    """Show the proof that an instance's state is under a replay's root, for an auditor; exit code 1 if it is not."""
    from oncelog.cli import show
    from oncelog.cli.commands import parse_aggregate
    from oncelog.cli.replay_view import proof_of

    proof = await proof_of(parse_aggregate(target), replay_id)
    if proof is None:
        errors.print(f"{target} is not among the digests of {replay_id}")
        return Exit.FINDINGS
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
    report(fields, lambda: show.pairs([(name, _text(value)) for name, value in fields.items()]))
    return Exit.FINE


def _text(value: object) -> str:
    return "\n".join(value) if isinstance(value, list) else "" if value is None else str(value)
