"""The probe: a command of our own on a reserved instance, held to the promises made to a client.

It updates one instance of a database of its own, so that it is in no class, count or search of a user.
"""

import asyncio
import time
from collections.abc import Sequence

from oncelog.checks.step_report import FindingsReport
from oncelog.domain.commands import Command, CommandType
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.queries import Search
from oncelog.errors import OncelogError, StoreUnavailable
from oncelog.ports import CommandStatuses, Graph, Stage
from oncelog.query.reader import Reader
from oncelog.verification.findings import Code, Finding, Findings
from oncelog.write.command_outcomes import CommandOutcomes

PROBE_DATABASE = "oncelog-probe"
PROBE_CLASS = "Probe"
PROBE_INSTANCE = "probe"
PROBE = AggregateId(PROBE_DATABASE, PROBE_CLASS, PROBE_INSTANCE)

#: The status of a probe is watched for so long; whether the probe has ended then, its workflow knows.
PROBE_S = 60.0
POLL_S = 0.05
DEADLINE_S = 10.0


def probe_command(command_id: str, *, checked_at: str, first: bool) -> Command:
    """Return a probe; ``first``: it makes the instance."""
    return Command(
        command_id=command_id,
        command_type=CommandType.CREATE_INSTANCE if first else CommandType.UPDATE_INSTANCE,
        db_name=PROBE_DATABASE,
        class_id=PROBE_CLASS,
        instance_id=PROBE_INSTANCE,
        payload={"checked_at": checked_at},
        actor="consistency-check",
    )


class Probe:
    """Looks at a probe command as a client would. Methods raise StoreUnavailable."""

    def __init__(
        self, reader: Reader, graph: Graph, statuses: CommandStatuses, command_outcomes: CommandOutcomes
    ) -> None:
        self._reader = reader
        self._graph = graph
        self._statuses = statuses
        self._command_outcomes = command_outcomes

    async def watch(self, command_id: str) -> FindingsReport:
        """Follow the status of a probe from when it is first readable to its end: it never vanishes or goes back.

        Redis may forget it, since clients then read it from the records in S3.
        """
        reached: Stage | None = None
        until_s = time.monotonic() + PROBE_S
        while time.monotonic() < until_s:
            status = await self._statuses.read_status(command_id)
            if status is None and reached and await self._command_outcomes.last_record(command_id) is None:
                return _found(Code.PROBE_UNREADABLE, command_id, f"expected its status after {reached}, found none")
            if status is not None:
                if reached is not None and _rank(status.stage) < _rank(reached):
                    found = f"expected stage {reached} or a later one, found {status.stage}"
                    return _found(Code.PROBE_UNREADABLE, command_id, found)
                reached = status.stage
                if status.result is not None:
                    break
            await asyncio.sleep(POLL_S)
        return FindingsReport()

    async def read_back(
        self, command_id: str, aggregate_id: str, *, token: str | None, version: int | None, problem: str
    ) -> FindingsReport:
        """Read with the token of a probe that has ended; ``problem``: it did not end as it should."""
        if problem or token is None or version is None:
            return _found(Code.PROBE_FAILED, command_id, f"expected it to be applied, found {problem or 'no token'}")
        findings = Findings()
        findings.extend(await self._documents(command_id, aggregate_id, token, version))
        findings.extend(await self._nodes(command_id, aggregate_id, version))
        if not await self._has_result(command_id):
            found = "expected its status with a result, found none"
            findings.extend([Finding(Code.PROBE_UNREADABLE, f"command {command_id}", found)])
        return FindingsReport.of(findings)

    async def _has_result(self, command_id: str) -> bool:
        """Return whether Redis or else S3 knows the command's end."""
        status = await self._statuses.read_status(command_id)
        if status is not None and status.result is not None:
            return True
        record = await self._command_outcomes.last_record(command_id)
        return record is not None and await self._command_outcomes.result(record) is not None

    async def _documents(self, command_id: str, aggregate_id: str, token: str, version: int) -> Sequence[Finding]:
        try:
            document = await self._reader.get(aggregate_id, token=token, deadline_s=DEADLINE_S)
        except StoreUnavailable:
            raise
        except OncelogError as error:
            return [Finding(Code.PROBE_STALE, f"document {aggregate_id}", error.message)]
        if document is None or document.sequence_number < version:
            shown = document.sequence_number if document else "none"
            found = f"expected version {version} for the token of command {command_id}, found {shown}"
            return [Finding(Code.PROBE_STALE, f"document {aggregate_id}", found)]
        search = Search(db_name=PROBE_DATABASE, class_id=PROBE_CLASS)
        try:
            page = await self._reader.search(search, token=token, deadline_s=DEADLINE_S)
        except StoreUnavailable:
            raise
        except OncelogError as error:
            return [Finding(Code.PROBE_STALE, f"search of {PROBE_DATABASE}/{PROBE_CLASS}", error.message)]
        versions = [each.sequence_number for each in page.documents if str(each.aggregate_id) == aggregate_id]
        if not versions or versions[0] < version:
            found = f"expected version {version} for the token of command {command_id}, found {versions or 'none'}"
            return [Finding(Code.PROBE_STALE, f"search of {PROBE_DATABASE}/{PROBE_CLASS}", found)]
        return []

    async def _nodes(self, command_id: str, aggregate_id: str, version: int) -> Sequence[Finding]:
        until_s = time.monotonic() + DEADLINE_S
        while True:
            (node,) = await self._graph.read_nodes([AggregateId.parse(aggregate_id)])
            if node is not None and node.sequence_number >= version:
                return []
            if time.monotonic() > until_s:
                shown = node.sequence_number if node else "none"
                found = f"expected version {version} within {DEADLINE_S:g} s of command {command_id}, found {shown}"
                return [Finding(Code.PROBE_STALE, f"node {aggregate_id}", found)]
            await asyncio.sleep(POLL_S)


def _rank(stage: Stage) -> int:
    return list(Stage).index(stage)


def _found(code: Code, command_id: str, found: str) -> FindingsReport:
    findings = Findings()
    findings.add(Finding(code, f"command {command_id}", found))
    return FindingsReport.of(findings)
