"""``oncelog top``: an installation at a glance, live."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from oncelog.cli.exits import Exit
from oncelog.cli.reporting import for_people, report, reported
from oncelog.cli.terminal import output
from oncelog.errors import InputInvalid

if TYPE_CHECKING:
    from oncelog.client.glance import Glance

    Look = Callable[[], Awaitable[Glance]]

EVERY_S = 5.0
CLOSE_TIMEOUT_S = 10.0


@reported
async def top(
    *,
    every_s: Annotated[
        float | None, typer.Option("--every", metavar="SECONDS", min=1, help="Look anew so often; 5 if not given.")
    ] = None,
    once: Annotated[
        bool, typer.Option("--once", help="Look once and end, as without a terminal or for programs.")
    ] = False,
    timeout_s: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=0, help="How long a source may take to answer.")
    ] = 5.0,
) -> Exit:
    """Show whether all is healthy, keeps up and is correct, and everything stuck; live, until Ctrl-C."""
    from oncelog import Settings
    from oncelog.client.glance import glance_sources, read_glance
    from oncelog.stores.opening import Stores

    if once and every_s is not None:
        raise InputInvalid("top: expected either --once or --every, found both")
    live = every_s is not None or (not once and for_people() and output.is_terminal)
    settings = Settings.from_environment()
    stores = await Stores.connect(settings)
    try:
        look = partial(read_glance, glance_sources(stores, settings), timeout_s=timeout_s)
        return await _live(look, every_s or EVERY_S) if live else await _once(look)
    finally:
        with suppress(TimeoutError):
            await asyncio.wait_for(stores.close(), CLOSE_TIMEOUT_S)


async def _once(look: "Look") -> Exit:
    from oncelog.cli.top_view import exit_of, glance_fields, glance_view

    glance = await look()
    report(glance_fields(glance), lambda: glance_view(glance))
    return exit_of(glance)


async def _live(look: "Look", every_s: float) -> Exit:
    """Look anew until Ctrl-C: drawn over on a terminal, else one picture or object after the other."""
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stopping.set)
    drawing = asyncio.create_task(
        _drawn(look, every_s) if for_people() and output.is_terminal else _printed(look, every_s)
    )
    waiting = asyncio.create_task(stopping.wait())
    await asyncio.wait({drawing, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if drawing.done():
        drawing.result()
    drawing.cancel()
    await asyncio.wait({drawing})
    return Exit.INTERRUPTED


async def _drawn(look: "Look", every_s: float) -> None:
    from rich.live import Live

    from oncelog.cli.top_view import glance_view

    with Live(console=output, auto_refresh=False) as live:
        while True:
            live.update(glance_view(await look()), refresh=True)
            await asyncio.sleep(every_s)


async def _printed(look: "Look", every_s: float) -> None:
    while True:
        await _once(look)
        await asyncio.sleep(every_s)
