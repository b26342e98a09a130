"""A replay as an operator sees it: its progress and its result."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from rich.console import Group
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from oncelog.cli import show
from oncelog.cli.check import check_request, run_check
from oncelog.cli.commands import parse_as_of
from oncelog.cli.exits import Exit
from oncelog.cli.progress import ProgressLines
from oncelog.cli.reporting import for_people, report
from oncelog.cli.terminal import assembled, errors, text_line
from oncelog.client import connection
from oncelog.client.runs import Replays
from oncelog.composition.replays import assemble_replays
from oncelog.domain.identifiers import AggregateId
from oncelog.errors import InputInvalid
from oncelog.replay_runs.digests import InclusionProof
from oncelog.replay_runs.request import ReplayOutcome, ReplayReport, ReplayRequest, ReplayScope
from oncelog.settings import Settings
from oncelog.stores.opening import Stores
from oncelog.workflows.details import work_counts

Model = TypeVar("Model", bound=BaseModel)


async def new_replay(mode: str, scope: ReplayScope, **fields: Any) -> Exit:
    """Start a replay of part of the log, and show it to its end. ``fields``: of its request; None is not given."""
    return await run_replay(replay_request(mode=mode, scope=scope, **fields))


async def run_replay(request: ReplayRequest | None, *, attach: str | None = None) -> Exit:
    """Start a replay or attach to one, show how it comes along and its result; returns the exit code."""
    ended = await ended_replay(request, attach=attach)
    report(ended.model_dump(mode="json"), lambda: replay_view(ended))
    return exit_of(ended)


async def run_restore(request: ReplayRequest) -> Exit:
    """Restore, and then let a check finish the commands under way: it needs the restored data."""
    code = await run_replay(request)
    if request.dry_run:
        return Exit.FINE
    checking = check_request(db_name=None, class_id=None, repair=True, grace_s=0)
    return max(code, await run_check(checking, attach=None, as_json=not for_people()))


async def steered(action: Callable[[Replays], Awaitable[None]]) -> None:
    """Do something to a replay that runs."""
    await action(Replays(await connection.connect(), Settings.from_environment()))


async def proof_of(aggregate_id: AggregateId, replay_id: str) -> InclusionProof | None:
    """Return the proof that an instance's state is under a replay's root, None if it is not."""
    async with await Stores.connect(Settings.from_environment()) as stores:
        return await assemble_replays(stores.ports).prove(replay_id, aggregate_id)


def exit_of(ended: ReplayReport) -> Exit:
    """Return the exit code that a report stands for."""
    return Exit.FINDINGS if ended.outcome is ReplayOutcome.VIOLATED or ended.counts.parked else Exit.FINE


async def ended_replay(request: ReplayRequest | None, *, attach: str | None = None) -> ReplayReport:
    """Wait for the end of a replay, with progress on standard error; a caller that stops waiting changes nothing."""
    settings = Settings.from_environment()
    replays = Replays(await connection.connect(), settings)
    replay_id = attach or (await replays.start(request) if request else "")
    errors.print(f"replay {replay_id}")
    errors.print(f"Ctrl-C leaves it running; attach again with: oncelog replay attach {replay_id}")
    ended: ReplayReport | None = None
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    lines = ProgressLines()
    with Progress(*columns, console=errors, disable=not errors.is_terminal) as bars:
        task = bars.add_task("waiting for a worker", total=None)
        async for ended in replays.follow(replay_id):
            total = ended.totals.events if ended.totals else None
            bars.update(task, description=_line(ended), completed=ended.counts.events, total=total)
            lines.print(_line(ended))
    if ended is None:
        raise AssertionError("the last report is the result")
    return ended


def _line(report: ReplayReport) -> str:
    if report.totals is None:
        return "planning"
    speed = f", {report.events_per_s:,.0f}/s" if report.events_per_s else ""
    paused = ", paused" if report.paused else ""
    return f"{report.counts.events:,} of {report.totals.events:,} events{speed}{paused}"


def replay_view(report: ReplayReport) -> Group:
    counts, totals, end = report.counts, report.totals, report.end
    rows: list[tuple[str, Any]] = [("outcome", f"{report.outcome}, {report.mode} of {report.scope}")]
    if totals is not None:
        rows.append(
            ("log", f"{totals.events} events of {totals.aggregates} aggregates, {totals.partitions} partitions")
        )
    if counts.partitions:
        rows.append(("folded", f"{counts.events} events of {counts.aggregates} aggregates"))
    rows += [(name, str(count)) for name, count in work_counts(counts).items()]
    if end is not None:
        rows += [(f"root of {tree.name}", f"{tree.root}, {tree.size} classes") for tree in end.databases]
        rows += [(tree.name, f"{tree.root}, {tree.size} aggregates") for tree in end.classes]
        if end.comparison is not None:
            found = end.comparison
            rows.append(("compared with", found.replay_id))
            rows.append(("", f"{found.same} the same, {found.changed} changed, {found.added} new"))
        rows += [(each.class_name, f"readers see {each.index}; {each.kept} is kept") for each in end.switched]
        if end.manifest is not None:
            rows.append(("exported", f"{end.rows} instances; the files are listed in {end.manifest}"))
    rows.append(("files", report.files))
    findings = [*counts.findings, *(end.comparison.findings if end and end.comparison else ())]
    lines = [
        line
        for finding in findings
        for line in (assembled((finding.code, "bold"), f"  {finding.where}"), text_line(f"  {finding.found}", "dim"))
    ]
    return Group(show.pairs(rows), *lines)


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
