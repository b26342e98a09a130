"""One run: bring everything up, work and break, mend, wait until all is answered, and judge what lies there."""

import asyncio
import contextlib
import json
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from temporalio.client import Client as Temporal

from oncelog.checks.verify import Report
from oncelog.client import connection
from oncelog.domain.aggregates import registered
from oncelog.stores.opening import Stores
from oncelog.verification.findings import Finding
from oncelog.verification.history import HistoryWriter, read_history
from tests.chaos import shop
from tests.chaos.installation import Installation, opened, say
from tests.chaos.judging import judge_dropped, judge_users, judged
from tests.chaos.load import Client, ReconcileSummary
from tests.chaos.nemesis import Nemesis
from tests.chaos.plan import CALLS, PlannedFault, plan_faults, projection
from tests.chaos.report import finding_text, report_of
from tests.chaos.sweeping import retry_parked, sweep, sweep_beside
from tests.chaos.unique_log import read_objects

TIME_MAX_S = 7200.0
"""Of load and faults. A report is not well if faults were left out for it."""

STALLED_AFTER_S = 300.0
"""So long without an answer or an end, after the last fault. A step waits two minutes at most before it tries again."""

DRAIN_POLL_S = 1.0

SHOWN_MAX = 20
"""Of findings, on the screen; the report has more."""

RUNNING = "ExecutionStatus = 'Running'"


@dataclass(frozen=True)
class Size:
    """How much of everything. ``commands``: at least so many, the load goes on while there are faults to come.
    ``shop``: whether orders of examples/shop are among it, with their programs.
    """

    seed: int
    commands: int
    clients: int
    aggregates: int
    faults: int
    kinds: Sequence[str] | None = None
    shop: bool = True
    time_max_s: float = TIME_MAX_S


async def run(size: Size, folder: Path) -> dict[str, Any]:
    """Run once and return the report, which is also written into the folder, beside history and logs."""
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    plan = plan_faults(size.seed, size.faults, size.kinds)
    began_s = time.monotonic()
    say(f"seed {size.seed}: starting servers and workers; logs and history in {folder}")
    own = (shop.PROGRAMS, shop.variables(folder)) if size.shop else ({}, {})
    async with opened(folder, projection=projection(size.seed), own=own[0], own_variables=own[1]) as installation:
        say(f"up after {time.monotonic() - began_s:.0f} s")
        with registered(*(shop.AGGREGATES if size.shop else ())):
            report = await _worked(installation, size, plan, folder)
    report["took_s"] = round(time.monotonic() - began_s, 1)
    (folder / "report.json").write_text(json.dumps(report, indent=2, default=str) + "\n")
    return report


async def _worked(installation: Installation, size: Size, plan: Sequence[PlannedFault], folder: Path) -> dict[str, Any]:
    path, tally = folder / "history.ndjson", ReconcileSummary()
    async with AsyncExitStack() as open_things:
        stores = await open_things.enter_async_context(await Stores.connect(installation.settings))
        writer = open_things.enter_context(HistoryWriter(path))
        writer.run(seed=size.seed, commands=size.commands, clients=size.clients, aggregates=size.aggregates)
        clients = [
            Client(
                number,
                clients=size.clients,
                stores=stores,
                settings=installation.settings,
                history=writer,
                tally=tally,
                seed=size.seed,
            )
            for number in range(size.clients)
        ]
        installation.senders.extend(clients)
        nemesis = Nemesis(installation, writer, tally)
        loaded_s = time.monotonic()
        await _load_and_break(clients, nemesis, plan, size)
        load_took_s = time.monotonic() - loaded_s
        say(f"{len(tally.commands)} commands and {len(nemesis.done)} faults in {load_took_s:.0f} s; mending")
        await installation.heal()
        await installation.supervisor.all_ready()
        drained_s = time.monotonic()
        stuck = await _drained(clients, tally)
        say(f"drained in {time.monotonic() - drained_s:.0f} s; {len(stuck)} workflows stuck")
        parked = await retry_parked(stores)
        swept = await sweep(installation.settings)
        if size.shop:
            parked += await shop.retry_parked(installation.supervisor.variables)
            stuck += await shop.caught_up(installation.settings)
            for command in await asyncio.to_thread(shop.reaction_commands, installation.settings):
                await clients[0].submit(command)  # once more: the history then has it, and its answer
            stuck += await _drained(clients, tally)
            swept = await sweep(installation.settings)
        say(f"{len(parked)} aggregates were parked; the last consistency check: {swept.outcome}")
    verdict, of_dropped = await _judged(installation, path)
    history = read_history([path])
    objects = await asyncio.to_thread(read_objects, installation.settings)
    of_users = await asyncio.to_thread(judge_users, objects, history)
    of_shop = shop.ShopVerdict(objects, shop.database(folder)) if size.shop else None
    say(f"unique values: {of_users.findings[:SHOWN_MAX]}, {dict(of_users.figures)}")
    beside = [*map(finding_text, of_dropped), *(f"unique value: {found}" for found in of_users.findings)]
    if of_shop:
        say(f"orders: {of_shop.findings[:SHOWN_MAX]}, {of_shop.figures}")
        beside += [f"shop: {found}" for found in of_shop.findings]
    report = report_of(nemesis, tally, verdict, history, beside=beside, swept=swept, stuck=stuck)
    about = {
        "unique": of_users.figures,
        "shop": of_shop.figures if of_shop else None,
        "seed": size.seed,
        "projection": projection(size.seed),
        "parked": parked,
        "stack": str(installation.stack.data),
        "load_took_s": round(load_took_s, 1),
    }
    return about | report


async def _judged(installation: Installation, history: Path) -> tuple[Report, list[Finding]]:
    """Read everything back over the links that the clients used, which are whole again."""
    began_s = time.monotonic()
    async with await Stores.connect(installation.settings) as stores:
        verdict = await judged(stores, installation.settings, history)
        of_dropped = await judge_dropped(stores, installation.dropped)
    say(f"read back and judged in {time.monotonic() - began_s:.0f} s: {verdict.verdict}, {verdict.summary}")
    for finding in [*verdict.findings, *of_dropped][:SHOWN_MAX]:
        say(f"  {finding.severity} {finding.code} {finding.where}: {finding.found}")
    return verdict, of_dropped


async def _load_and_break(
    clients: Sequence[Client], nemesis: Nemesis, plan: Sequence[PlannedFault], size: Size
) -> None:
    """Let the clients work while things break, until both are done, or the time is over."""
    await clients[0].define_users()
    if size.shop:
        await clients[0].open_accounts()
    calls = {**CALLS, **shop.CALLS} if size.shop else CALLS
    enough = asyncio.Event()
    until_s = time.monotonic() + size.time_max_s
    async with asyncio.TaskGroup() as tasks:
        for client in clients:
            tasks.create_task(client.work(aggregates=size.aggregates, calls=calls, until=enough))
        tasks.create_task(sweep_beside(nemesis.installation.settings, nemesis.tally, until=enough))
        while nemesis.tally.warm < len(clients):
            await asyncio.sleep(0.1)
        await nemesis.run(plan, until_s=until_s)
        while len(nemesis.tally.commands) < size.commands and time.monotonic() < until_s:
            await asyncio.sleep(0.1)
        enough.set()


async def _drained(clients: Sequence[Client], tally: ReconcileSummary) -> list[str]:
    """Wait until every command is answered and every workflow closed, for as long as any is.

    Returns the IDs of those that are left when nothing has moved for ``STALLED_AFTER_S``.
    """
    temporal = await connection.connect()
    settling = asyncio.gather(*(client.settle() for client in clients))
    left, moved_s = await _left(temporal, tally), time.monotonic()
    try:
        while left or not settling.done():
            await asyncio.sleep(DRAIN_POLL_S)
            before, left = left, await _left(temporal, tally)
            if before - left:
                moved_s = time.monotonic()
            elif time.monotonic() - moved_s > STALLED_AFTER_S:
                break
    finally:
        settling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await settling
    return sorted(left)


async def _left(temporal: Temporal, tally: ReconcileSummary) -> set[str]:
    unanswered = {pending.command.command_id for pending in tally.unknown.values()}
    return unanswered | set(await _running(temporal))


async def _running(temporal: Temporal) -> list[str]:
    return [found.id async for found in temporal.list_workflows(RUNNING)]
