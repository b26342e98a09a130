"""``oncelog schedules``: the declared schedules at Temporal, and an operator's actions on them."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.console import Group
from rich.table import Table

from oncelog.cli.exits import Exit
from oncelog.cli.reporting import report_each, reported
from oncelog.cli.terminal import errors, text_line

if TYPE_CHECKING:
    from oncelog.client.schedules import Schedules, ScheduleState

app = typer.Typer(
    name="schedules",
    help="Workflows that Temporal starts by itself: apply, list, trigger, pause.",
    no_args_is_help=True,
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Such as consistency-check; `list` shows all.")]
Note = Annotated[str, typer.Option(help="The reason; recorded at Temporal.")]

Answer = TypeVar("Answer")


@app.command()
@reported
async def apply() -> None:
    """Create, update or delete every schedule as the settings declare it; a paused one stays paused."""
    changes = await _with_schedules(lambda schedules: schedules.apply())
    report_each(
        ({"name": name, "change": change} for name, change in changes.items()),
        lambda: Group(*(text_line(f"{name}  {change}") for name, change in changes.items())),
    )


@app.command("list")
@reported
async def list_() -> Exit:
    """Show every declared schedule: its interval, its last and next run; exit code 1 if one is missing."""
    states = await _with_schedules(lambda schedules: schedules.states())
    report_each(map(_fields, states), lambda: _table(states))
    return Exit.FINDINGS if any(state.interval_s and not state.exists for state in states) else Exit.FINE


@app.command()
@reported
async def trigger(name: Name) -> None:
    """Start a run now, unless one is open."""
    await _with_schedules(lambda schedules: schedules.trigger(name))
    errors.print(f"{name}: triggered")


@app.command()
@reported
async def pause(name: Name, *, note: Note = "paused by oncelog schedules pause") -> None:
    """Start no more runs until it is resumed; an open run goes on."""
    await _with_schedules(lambda schedules: schedules.pause(name, note=note))
    errors.print(f"{name}: paused")


@app.command()
@reported
async def resume(name: Name, *, note: Note = "resumed by oncelog schedules resume") -> None:
    """End a pause."""
    await _with_schedules(lambda schedules: schedules.resume(name, note=note))
    errors.print(f"{name}: resumed")


async def _with_schedules(action: "Callable[[Schedules], Awaitable[Answer]]") -> Answer:
    from oncelog import Settings
    from oncelog.client import connection
    from oncelog.client.schedules import Schedules

    return await action(Schedules(await connection.connect(), Settings.from_environment()))


def _fields(state: "ScheduleState") -> dict[str, Any]:
    times = {"last_run": state.last_run, "next_run": state.next_run}
    return asdict(state) | {name: _time(time) for name, time in times.items()}


def _time(time: datetime | None) -> str | None:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if time else None


def _table(states: "Sequence[ScheduleState]") -> Table:
    table = Table("schedule", "every", "state", "last run", "next run", box=None, pad_edge=False)
    for state in states:
        cells = [state.name, _interval(state.interval_s), _state(state), _time(state.last_run), _time(state.next_run)]
        table.add_row(*(text_line(cell or "-") for cell in cells))
    return table


def _state(state: "ScheduleState") -> str:
    if not state.exists:
        return "not applied" if state.interval_s else "off"
    if state.paused:
        return f"paused: {state.note}" if state.note else "paused"
    return "running" if state.running else "waiting"


def _interval(seconds: int) -> str:
    for unit, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds and seconds % unit == 0:
            return f"{seconds // unit} {name}"
    return f"{seconds} s" if seconds else "never"
