"""``oncelog schedules``: the declared schedules at Temporal, and what an operator does with them."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import typer
from rich.table import Table

from oncelog.cli import show
from oncelog.cli.exits import Exit, explained
from oncelog.cli.terminal import errors, text_line
from oncelog.client import connection
from oncelog.client.schedules import Schedules, ScheduleState
from oncelog.settings import Settings

app = typer.Typer(
    name="schedules",
    help="Workflows that Temporal starts by itself: apply, list, trigger, pause.",
    no_args_is_help=True,
)

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object per line, for programs.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Such as consistency-check; `list` shows all.")]
Note = Annotated[str, typer.Option(help="The reason; recorded at Temporal.")]

Answer = TypeVar("Answer")


@app.command()
def apply(*, as_json: AsJson = False) -> None:
    """Create, update or delete every schedule as the settings declare it; a paused one stays paused."""
    with explained(as_json=as_json):
        changes = asyncio.run(_with_schedules(lambda schedules: schedules.apply()))
        for name, change in changes.items():
            if as_json:
                show.print_json({"name": name, "change": change})
            else:
                show.output.print(text_line(f"{name}  {change}"))


@app.command("list")
def list_(*, as_json: AsJson = False) -> None:
    """Show every declared schedule: its interval, its last and next run; exit code 1 if one is missing."""
    with explained(as_json=as_json):
        states = asyncio.run(_with_schedules(lambda schedules: schedules.states()))
        if as_json:
            for state in states:
                show.print_json(_fields(state))
        else:
            show.output.print(_table(states))
        raise typer.Exit(Exit.FINDINGS if any(state.interval_s and not state.exists for state in states) else Exit.FINE)


@app.command()
def trigger(name: Name, *, as_json: AsJson = False) -> None:
    """Start a run now, unless one is open."""
    _do(lambda schedules: schedules.trigger(name), f"{name}: triggered", as_json=as_json)


@app.command()
def pause(name: Name, *, note: Note = "paused by oncelog schedules pause", as_json: AsJson = False) -> None:
    """Start no more runs until it is resumed; an open run goes on."""
    _do(lambda schedules: schedules.pause(name, note=note), f"{name}: paused", as_json=as_json)


@app.command()
def resume(name: Name, *, note: Note = "resumed by oncelog schedules resume", as_json: AsJson = False) -> None:
    """End a pause."""
    _do(lambda schedules: schedules.resume(name, note=note), f"{name}: resumed", as_json=as_json)


def _do(action: Callable[[Schedules], Awaitable[None]], message: str, *, as_json: bool) -> None:
    with explained(as_json=as_json):
        asyncio.run(_with_schedules(action))
        errors.print(message)


async def _with_schedules(action: Callable[[Schedules], Awaitable[Answer]]) -> Answer:
    settings = Settings.from_environment()
    return await action(Schedules(await connection.connect(), settings))


def _fields(state: ScheduleState) -> dict[str, Any]:
    times = {"last_run": state.last_run, "next_run": state.next_run}
    return asdict(state) | {name: _time(time) for name, time in times.items()}


def _time(time: datetime | None) -> str | None:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if time else None


def _table(states: Sequence[ScheduleState]) -> Table:
    table = Table("schedule", "every", "state", "last run", "next run", box=None, pad_edge=False)
    for state in states:
        cells = [state.name, _interval(state.interval_s), _state(state), _time(state.last_run), _time(state.next_run)]
        table.add_row(*(text_line(cell or "-") for cell in cells))
    return table


def _state(state: ScheduleState) -> str:
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
