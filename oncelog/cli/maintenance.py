"""``oncelog doctor``, ``verify``, ``check``, ``archive``, ``rebuild``: prove that all is well, repair the rest."""

from pathlib import Path
from typing import Annotated

import typer

from oncelog.cli.exits import Exit
from oncelog.cli.reporting import for_people, report, reported
from oncelog.errors import InputInvalid
from oncelog.read_models.names import ReadModelName

GRACE_S = 600.0


@reported
async def doctor() -> Exit:
    """Ask every server whether it is reachable, new enough, and meets Oncelog's requirements; names remedies."""
    from oncelog.cli import doctor as diagnoses

    return await diagnoses.doctor()


@reported
async def verify(
    *,
    histories: Annotated[
        list[Path] | None, typer.Option("--history", help="What clients wrote down while they ran; may be repeated.")
    ] = None,
    db: Annotated[str | None, typer.Option("--db", help="Only this database.")] = None,
    drained: Annotated[
        bool, typer.Option("--drained", help="Nothing is under way: count what is not finished as a violation.")
    ] = False,
) -> Exit:
    """Hold every promise against all that lies in S3, the stream and the read models; exit code 1 on a violation."""
    from oncelog.cli.verify import exit_of, report_view, run_verify

    found = await run_verify(histories=histories or [], db_name=db, drained=drained)
    report(found.model_dump(mode="json"), lambda: report_view(found))
    return exit_of(found)


@reported
async def check(
    *,
    repair: Annotated[bool, typer.Option("--repair", help="Finish what is found; else it is only shown.")] = False,
    db_name: Annotated[str | None, typer.Option("--db", help="Only this database.")] = None,
    class_id: Annotated[str | None, typer.Option("--class", help="Only this class of it.")] = None,
    grace_s: Annotated[float, typer.Option(min=0, help="Leave alone what is younger.")] = GRACE_S,
    attach: Annotated[str | None, typer.Option(metavar="CHECK_ID", help="Show a check that was started.")] = None,
    invariants: Annotated[bool, typer.Option(help="Prove the six invariants afterwards.")] = True,
    incremental: Annotated[bool, typer.Option("--incremental", help="Only what is new since the last check.")] = False,
    sample: Annotated[float | None, typer.Option(metavar="SHARE", help="Only a share of the aggregates.")] = None,
    seed: Annotated[int, typer.Option(help="Draws the sample.")] = 0,
    slots_only: Annotated[bool, typer.Option("--slots-only", help="Read every slot, archived or not.")] = False,
    parallel: Annotated[int, typer.Option(min=1, max=64, help="Parts at a time, over all workers.")] = 4,
    probe: Annotated[bool, typer.Option(help="Send a command of our own the whole way.")] = True,
    last: Annotated[bool, typer.Option("--last", help="Show the newest report of the invariants instead.")] = False,
    page: Annotated[Path | None, typer.Option(help="With --last: write its HTML page here.")] = None,
) -> Exit:
    """Find steps that ended workflows left incomplete (records, stream, documents), then prove the six invariants."""
    from oncelog.cli.check import check_request, run_check, show_last

    if attach is not None and (repair or db_name or class_id):
        raise InputInvalid("check: expected either --attach or what to check, found both")
    if incremental and sample is not None:
        raise InputInvalid("check: expected either --incremental or --sample, found both")
    if last:
        return await show_last(db_name, class_id, as_json=not for_people(), page=page)
    request = check_request(
        db_name=db_name,
        class_id=class_id,
        repair=repair,
        grace_s=grace_s,
        invariants=invariants,
        mode="sampled" if sample is not None else "incremental" if incremental else "full",
        share=1.0 if sample is None else sample,
        seed=seed,
        slots_only=slots_only,
        parallel=parallel,
        probe=probe and invariants,
    )
    return await run_check(request, attach=attach, as_json=not for_people())


@reported
async def archive(
    target: Annotated[
        str | None, typer.Argument(metavar="[DB[/CLASS]]", help="Such as shop/Product; everything if not given.")
    ] = None,
    *,
    attach: Annotated[str | None, typer.Option(metavar="RUN_ID", help="Follow a run that is under way.")] = None,
) -> Exit:
    """Pack new events into Parquet files; exit code 1 if some of the log is damaged and cannot be archived."""
    from oncelog.cli.archive_view import archive_request, run_archive

    return await run_archive(archive_request(target), attach=attach)


@reported
async def rebuild(
    target: Annotated[str, typer.Argument(metavar="DB[/CLASS]", help="Such as shop/Product.")],
    *,
    read_model: Annotated[ReadModelName, typer.Option(help="In which read model.")] = ReadModelName.DOCUMENTS,
    roll_back: Annotated[
        bool, typer.Option("--roll-back", help="Go back to the index that readers saw before the last switch.")
    ] = False,
    parallel: Annotated[int, typer.Option(min=1, max=64, help="Partitions at a time, over all workers.")] = 4,
) -> Exit:
    """Make a read model again from the log, beside the one that readers see; exit code 1 if some cannot be shown."""
    from oncelog.cli import rebuild as rebuilds
    from oncelog.cli.replay_view import new_replay, replay_scope

    if roll_back:
        return await rebuilds.roll_back(target, read_model)
    return await new_replay("rebuild", replay_scope(target), read_model=read_model, parallel=parallel)
