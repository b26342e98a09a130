"""Reports of checks as they are kept in S3: each as JSON and as a page, the newest of each scope, and its trend."""

from datetime import timedelta

from pydantic import TypeAdapter

from oncelog.checks.page import page_of
from oncelog.checks.report import TREND_MAX, CheckVerdict, InvariantsReport, TrendEntry
from oncelog.checks.run import check_files
from oncelog.checks.scope import CheckMode, ProofScope
from oncelog.ports import LargeObjects
from oncelog.replay_runs.files import ReplayFiles

REPORT = "report.json"
PAGE = "report.html"
NEWEST = "newest.json"
NEWEST_FULL = "newest-full.json"
TREND = "trend.json"

#: An incremental check begins so much before the last one, since work that was under way then has ended by now.
OVERLAP = timedelta(minutes=10)

_TREND = TypeAdapter(list[TrendEntry])


class CheckReports:
    """Keeps reports, and finds the newest. ``web_ui``: the address of Temporal's Web UI, for links. Methods raise
    StoreUnavailable.
    """

    def __init__(self, objects: LargeObjects, *, web_ui: str | None = None) -> None:
        self._objects = objects
        self._web_ui = web_ui

    async def keep(self, report: InvariantsReport, scope: ProofScope) -> InvariantsReport:
        """Keep a report, and return it with the trend before it."""
        trend = [entry for entry in await self._trend(scope.name) if entry.check_id != report.check_id][-TREND_MAX:]
        report = report.model_copy(update={"trend": tuple(trend)})
        files = check_files(self._objects, report.check_id)
        body = report.model_dump_json(indent=1).encode()
        await files.write(REPORT, body)
        await files.write(PAGE, page_of(report, web_ui=self._web_ui).encode())
        of_scope = self._of_scope(scope.name)
        await of_scope.write(TREND, _TREND.dump_json([*trend, report.entry]))
        await of_scope.write(NEWEST, body)
        if scope.mode is CheckMode.FULL:
            await of_scope.write(NEWEST_FULL, body)
        return report

    async def newest(self, scope_name: str) -> InvariantsReport | None:
        """Return the newest report of a scope, None where there is none."""
        return await self._read(scope_name, NEWEST)

    async def page(self, check_id: str) -> bytes | None:
        """Return the page of a check, None where there is none."""
        return await check_files(self._objects, check_id).read(PAGE)

    async def newest_full(self, scope: ProofScope) -> str | None:
        """Return the newest full check of a scope, for the comparison of a later one with its digests."""
        report = await self._read(scope.name, NEWEST_FULL)
        return report.check_id if report else None

    async def since_last(self, scope: ProofScope) -> ProofScope:
        """Let an incremental check begin where the last sound one of its scope began; without one, it is a full one."""
        if scope.mode is not CheckMode.INCREMENTAL or scope.since is not None:
            return scope
        last = await self.newest(scope.name)
        if (
            last is None
            or last.speaks_of is None
            or last.verdict is CheckVerdict.VIOLATED
            or last.mode is CheckMode.SAMPLED
        ):
            return scope.model_copy(update={"mode": CheckMode.FULL})
        return scope.model_copy(update={"since": last.speaks_of - OVERLAP})

    async def _read(self, scope_name: str, name: str) -> InvariantsReport | None:
        data = await self._of_scope(scope_name).read(name)
        return None if data is None else InvariantsReport.model_validate_json(data)

    async def _trend(self, scope_name: str) -> list[TrendEntry]:
        data = await self._of_scope(scope_name).read(TREND)
        return [] if data is None else _TREND.validate_json(data)

    def _of_scope(self, scope_name: str) -> ReplayFiles:
        return check_files(self._objects, f"of-{scope_name.replace('/', '-')}")
