"""The repair of a check: aggregates that a read model shows wrongly are projected again, and read once more."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from oncelog.checks.known_facts import KnownFacts
from oncelog.checks.second_look import SecondLook
from oncelog.checks.servers import Servers
from oncelog.domain.identifiers import AggregateId
from oncelog.errors import LogDamaged
from oncelog.verification.audit import Audit
from oncelog.verification.findings import Code, Finding, Severity
from oncelog.verification.reading import DeadLetterLookup
from oncelog.verification.shown import SHAPES, class_of

#: Findings with a safe repair, since the log alone has the right state; by code, the read model that shows it.
REPAIRABLE: dict[Code, str] = {shape.wrong: shape.read_model for shape in SHAPES.values()}

#: Findings about documents and nodes; any other violation leaves open whether an aggregate's log is right.
_SHOWN = {
    code for shape in SHAPES.values() for code in (shape.missing, shape.stale, shape.parked, shape.wrong, shape.foreign)
}


class Repairs:
    """Makes the safe repairs, and reports the findings that they put right."""

    def __init__(self, servers: Servers, second: SecondLook) -> None:
        self._servers = servers
        self._second = second
        self._dead_letters = DeadLetterLookup(servers.sources.bucket)

    async def run(
        self, suspects: Sequence[str], known: KnownFacts, settled: Sequence[Finding], audit: Audit
    ) -> tuple[list[Finding], Audit]:
        """Return the findings to report of suspects after the repair, and the last audit of them.

        ``settled``: the findings of a second look at them, by ``audit``. Raises StoreUnavailable.
        """
        doubtful = {name for each in settled if _is_of_log(each) for name in each.aggregate_ids}
        wrong = [each for each in settled if await self._is_safe(each, doubtful, audit)]
        if not await self._projected_again(wrong):
            return list(settled), audit
        again, audit = await self._second.look(suspects, known, settled)
        left = {each.where for each in again if each.severity is Severity.VIOLATION}
        repaired = {(each.code, each.where): each for each in wrong if each.where not in left}
        return [*again, *map(_repaired, repaired.values())], audit

    async def _is_safe(self, finding: Finding, doubtful: set[str], audit: Audit) -> bool:
        """Return whether the log has the right state beyond doubt, and no dead letter keeps it from being projected."""
        if finding.code not in REPAIRABLE or finding.severity is not Severity.VIOLATION:
            return False
        (name,) = finding.aggregate_ids
        class_log = audit.classes.logs.get(class_of(name))
        if name in doubtful or (class_log and class_log.findings):
            return False
        head = audit.logs[name].head if name in audit.logs else 0
        try:
            return await self._dead_letters.excusing(REPAIRABLE[finding.code], name, head) is None
        except LogDamaged:
            return False

    async def _projected_again(self, wrong: Sequence[Finding]) -> bool:
        by_model: defaultdict[str, set[str]] = defaultdict(set)
        for finding in wrong:
            if (read_model := REPAIRABLE[finding.code]) in self._servers.repairs:
                by_model[read_model].update(finding.aggregate_ids)
        for read_model, names in by_model.items():
            await self._servers.repairs[read_model]([AggregateId.parse(name) for name in sorted(names)])
        return bool(by_model)


def _is_of_log(finding: Finding) -> bool:
    return finding.severity is Severity.VIOLATION and finding.code not in _SHOWN


def _repaired(finding: Finding) -> Finding:
    found = f"{finding.found.partition(';')[0]}; it was projected again, and is right now"
    return replace(finding, found=found, severity=Severity.REPAIRED)
