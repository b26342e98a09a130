"""Unique constraints on a terminal: a run that covers a class's instances, and the state of each constraint."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from oncelog.cli import show
from oncelog.cli.exits import Exit
from oncelog.cli.progress import ProgressLines
from oncelog.cli.reporting import report
from oncelog.cli.submit import report_missing_worker
from oncelog.cli.terminal import errors, json_text, text_line
from oncelog.client.client import Oncelog
from oncelog.client.cover import CoverProgress
from oncelog.domain.unique.constraint import UniqueConstraint
from oncelog.query.cover_report import CoverRefusal, CoverReport
from oncelog.query.coverage import ConstraintCoverage, Evidence

ROWS_MAX = 20


async def run_cover(db_name: str, class_id: str, *, actor: str | None) -> Exit:
    """Cover a class with progress on standard error, show how it ended, and return its exit code."""
    lines, seen = ProgressLines(at_once=True), CoverProgress()
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    async with Oncelog.connect() as oncelog:
        with Progress(*columns, console=errors, disable=not errors.is_terminal) as bar:
            task = bar.add_task("reading the class")

            def progressed(progress: CoverProgress) -> None:
                nonlocal seen
                seen = progress
                bar.update(task, description=_line(progress))
                lines.print(_line(progress))

            waiting = asyncio.create_task(report_missing_worker(oncelog, lambda: seen.covered > 0))
            try:
                ended = await oncelog.cover_class(db_name, class_id, actor=actor, progressed=progressed)
            finally:
                waiting.cancel()
    report(ended.model_dump(mode="json"), lambda: cover_view(ended))
    return exit_of(ended)


def exit_of(ended: CoverReport) -> Exit:
    """Return the exit code that a run's end means to a script."""
    if ended.not_attempted:
        return Exit.PARTLY
    return Exit.FINE if ended.is_complete else Exit.FINDINGS


def _line(progress: CoverProgress) -> str:
    if progress.wait_s:
        return f"waiting {progress.wait_s:.0f} s, until no process knows a definition without the constraints"
    found = f"{progress.instances:,} instances read, {progress.covered:,} of {progress.uncovered:,} covered"
    return found + (f", {progress.refused:,} refused" if progress.refused else "")


def cover_view(ended: CoverReport) -> RenderableType:
    """Return the end of a run for people: the constraints, the duplicates, and how they are mended."""
    target = f"{ended.db_name}/{ended.class_id}"
    if ended.retired:
        return text_line(f"{target} is retired: its instances cannot be changed, so nothing was done")
    rows = [
        ("class", f"{target}, version {ended.definition.version}"),
        ("instances", f"{ended.instances:,}"),
        ("covered now", f"{ended.covered:,}"),
        ("refused", f"{ended.refused:,}" if ended.refused else None),
        ("not attempted", f"{ended.not_attempted:,}: a command was cancelled" if ended.not_attempted else None),
        ("unreadable", f"{ended.unreadable:,}: run oncelog verify" if ended.unreadable else None),
        *((f"unique {name}", _words(left, ended.instances)) for name, left in ended.uncovered.items()),
    ]
    duplicates = [each for each in ended.refusals if each.is_duplicate]
    others = [each for each in ended.refusals if not each.is_duplicate]
    parts: list[RenderableType] = [show.pairs(rows)]
    if duplicates:
        parts += [_duplicates_table(duplicates[:ROWS_MAX])]
    parts += [text_line(f"{each.rejection.code}  {each.rejection.message}") for each in others[:ROWS_MAX]]
    if ended.refused:
        parts += [Text(), *_remedy(ended, hidden=len(duplicates) > ROWS_MAX or len(others) > ROWS_MAX)]
    return Group(*parts)


def _duplicates_table(duplicates: Sequence[CoverRefusal]) -> Table:
    table = Table("duplicate", "instance", "holder", box=None, pad_edge=False)
    for each in duplicates:
        value = json_text(each.detail("value")) if each.detail("value") is not None else each.detail("sha256")
        holder = f"{each.detail('holder')}, version {each.detail('holder_version')}"
        table.add_row(text_line(f"{each.detail('constraint')} {value}"), text_line(each.aggregate_id), holder)
    return table


def _remedy(ended: CoverReport, *, hidden: bool) -> list[Text]:
    again = f"oncelog class cover {ended.db_name}/{ended.class_id}"
    lines = [f"Update or delete one of each two, or mend what is refused; then run again: {again}"]
    if hidden:
        lines += [f"All that were refused: oncelog bulk results {each} --only rejected" for each in ended.commands]
    return [text_line(line) for line in lines]


def constraint_rows(
    target: str, constraints: Mapping[str, UniqueConstraint], states: Mapping[str, ConstraintCoverage]
) -> list[tuple[str, str]]:
    """Return a row for each constraint of a class, with its members and its state."""
    return [
        (f"unique {name}", f"{_members(constraints[name])}: {_state_words(target, state)}")
        for name, state in states.items()
    ]


def _members(constraint: UniqueConstraint) -> str:
    options = [*([str(constraint.fold)] if constraint.fold else []), *(["hidden"] if constraint.hidden else [])]
    return ", ".join([" and ".join(constraint.paths), *options])


def constraint_fields(states: Mapping[str, ConstraintCoverage]) -> dict[str, Any]:
    """Return the state of each constraint as JSON."""
    return {name: asdict(state) for name, state in states.items()}


def _state_words(target: str, state: ConstraintCoverage) -> str:
    if state.uncovered is None or state.instances is None:
        return f"not counted, since the class is large; oncelog class cover {target} counts, and covers what is left"
    words = _words(state.uncovered, state.instances)
    if state.known_from is not Evidence.RUN:
        return words
    return f"{words}, as of {state.as_of}, the end of the last oncelog class cover"


def _words(uncovered: int, instances: int) -> str:
    return f"covering: {uncovered:,} of {instances:,} instances are not covered yet" if uncovered else "complete"
