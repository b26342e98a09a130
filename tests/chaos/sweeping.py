"""The operator's part: consistency checks beside the load and at the end, and a retry of what was parked."""

import asyncio

from oncelog.activities.check_models import CheckOutcome, CheckReport, CheckRequest
from oncelog.client import connection
from oncelog.client.runs import Checks
from oncelog.composition.read_models import read_model_of, services_of
from oncelog.domain.dead_letters import DeadLetterKind
from oncelog.errors import OncelogError
from oncelog.ports import Ports
from oncelog.read_models.names import ReadModelName
from oncelog.settings import Settings
from oncelog.stores.opening import Stores
from tests.chaos.load import ReconcileSummary

#: Nothing is left alone for its youth: attempts at work on it must bear it.
REPAIR = CheckRequest(repair=True, grace_s=0)
PAUSE_S = 15.0
CHECK_TIMEOUT_S = 60.0
ATTEMPTS_MAX = 5


async def sweep_beside(settings: Settings, tally: ReconcileSummary, *, until: asyncio.Event) -> None:
    """Start a repairing check every so often, beside commands that live, die and come back."""
    checks = Checks(await connection.connect(), settings)
    while not until.is_set():
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                report = await checks.result(await checks.start(REPAIR))
                tally.answers[f"check: {report.outcome}"] += 1
        except (OncelogError, TimeoutError):
            tally.answers["check: unknown"] += 1
        try:
            async with asyncio.timeout(PAUSE_S):
                await until.wait()
        except TimeoutError:
            continue


async def sweep(settings: Settings) -> CheckReport:
    """Finish incomplete work, and return the last check's report; raises OncelogError."""
    checks = Checks(await connection.connect(), settings)
    for _ in range(ATTEMPTS_MAX):
        report = await checks.result(await checks.start(REPAIR))
        if report.outcome is CheckOutcome.CLEAN:
            break
    return report


async def retry_parked(stores: Stores) -> list[str]:
    """Show again what was parked for damage on the way, as ``oncelog dead-letters retry --all`` does.

    Returns the aggregates it concerned, those that were parked again with a word for it. Raises OncelogError.
    """
    return [found for name in ReadModelName for found in await _retry(name, stores.ports)]


async def _retry(name: str, ports: Ports) -> list[str]:
    services = services_of(read_model_of(name, ports), ports)
    found = []
    for last in await services.last_dead_letters():
        if last.unfinished or last.kind is DeadLetterKind.PARKED:
            retry = services.dead_letter_service.retry(last.aggregate, by="chaos", reason="everything is mended")
            again = ", AGAIN" if (await retry).kind is DeadLetterKind.PARKED else ""
            found.append(f"{last.aggregate_id} in {name}: {last.code}{again}")
    return found
