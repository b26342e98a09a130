"""Consistency checks: some beside the load, in the middle of everything, and one at the end, for what wiping left."""

import asyncio

from activities.check_models import CheckOutcome, CheckReport, CheckRequest
from factline import connection
from factline.checks import Checks
from factline.errors import FactlineError
from factline.settings import Settings
from tests.chaos.load import Tally

#: Nothing is left alone for its youth: what may be at work on it must bear it.
REPAIR = CheckRequest(repair=True, grace_s=0)
PAUSE_S = 15.0
CHECK_TIMEOUT_S = 60.0
ATTEMPTS_MAX = 5


async def sweep_beside(settings: Settings, tally: Tally, *, until: asyncio.Event) -> None:
    """Start a repairing check every so often, beside commands that live, die and come back."""
    checks = Checks(await connection.connect(), settings)
    while not until.is_set():
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                report = await checks.result(await checks.start(REPAIR))
                tally.answers[f"check: {report.outcome}"] += 1
        except (FactlineError, TimeoutError):
            tally.answers["check: unknown"] += 1
        try:
            async with asyncio.timeout(PAUSE_S):
                await until.wait()
        except TimeoutError:
            continue


async def sweep(settings: Settings) -> CheckReport:
    """Finish what is left half done, and return what the last check says; raises FactlineError."""
    checks = Checks(await connection.connect(), settings)
    for _ in range(ATTEMPTS_MAX):
        report = await checks.result(await checks.start(REPAIR))
        if report.outcome is CheckOutcome.CLEAN:
            break
    return report
