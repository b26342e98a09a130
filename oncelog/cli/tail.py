"""``oncelog tail``: events as they come."""

import asyncio
import signal
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from oncelog.cli.exits import Exit
from oncelog.cli.reporting import report, reported
from oncelog.cli.terminal import assembled, json_text
from oncelog.errors import InputInvalid

if TYPE_CHECKING:
    from oncelog import Event

DATA_CHARACTERS_MAX = 100


@reported
async def tail(
    target: Annotated[
        str | None, typer.Argument(metavar="[DB[/CLASS[/INSTANCE]]]", help="Only events of these; all if not given.")
    ] = None,
    *,
    event_types: Annotated[
        list[str] | None,
        typer.Option("--type", help="Only this type, such as INSTANCE_DELETED; may be repeated."),
    ] = None,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Begin with the oldest event on the stream.")
    ] = False,
    since: Annotated[str | None, typer.Option(help="Begin with what was sent at this time (RFC 3339).")] = None,
    count: Annotated[int | None, typer.Option("--count", "-n", min=1, help="End after so many.")] = None,
) -> Exit:
    """Follow events as they are published, each aggregate's in order, until Ctrl-C."""
    from oncelog import Settings
    from oncelog.cli.commands import parse_time
    from oncelog.stores.kafka.tail import KafkaTail

    if from_beginning and since is not None:
        raise InputInvalid("tail: expected either --from-beginning or --since, found both")
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stopping.set)
    start = parse_time(since, name="--since") if since is not None else None
    following = KafkaTail(Settings.from_environment()).events(since=start, from_beginning=from_beginning)
    printing = asyncio.create_task(_print(following, target, event_types, count))
    waiting = asyncio.create_task(stopping.wait())
    await asyncio.wait({printing, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if printing.done():
        printing.result()
        return Exit.FINE
    printing.cancel()
    await asyncio.wait({printing})
    return Exit.INTERRUPTED


async def _print(
    following: "AsyncGenerator[Event, None]", target: str | None, event_types: list[str] | None, count: int | None
) -> None:
    """Print the events that were asked for, ``count`` of them at most."""
    prefix = f"{target.rstrip('/')}/" if target else ""
    left = count
    async with aclosing(following) as events:
        async for event in events:
            if not f"{_place(event)}/".startswith(prefix) or (event_types and event.event_type not in event_types):
                continue
            report(event.model_dump(mode="json"), lambda: _line(event))  # noqa: B023 - called before the next event
            left = left and left - 1
            if left == 0:
                return


def _place(event: "Event") -> str:
    return f"{event.db_name}/{event.class_id}/{event.instance_id}"


def _line(event: "Event") -> Text:
    data = json_text(event.data)
    shortened = data if len(data) <= DATA_CHARACTERS_MAX else data[: DATA_CHARACTERS_MAX - 1] + "…"
    return assembled(
        f"{event.occurred_at[:19]}Z  ",
        (event.event_type, "bold"),
        f"  {event.aggregate_id} {event.sequence_number}  ",
        (shortened, "dim"),
    )
