"""The repair of a check: what a read model shows wrongly is projected again, and looked at once more."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from oncelog.checks.known_facts import KnownFacts
from oncelog.checks.second_look import SecondLook
from oncelog.checks.servers import Servers
from oncelog.domain.identifiers import AggregateId
from oncelog.verification.audit import Audit
from oncelog.verification.findings import Code, Finding, Severity
from oncelog.verification.shown import SHAPES

#: Findings with a safe repair, since the log alone says what is right; by code, the read model that shows it.
REPAIRABLE: dict[Code, str] = {shape.wrong: shape.read_model for shape in SHAPES.values()}


class Repairs:
    """Puts right what has a safe repair, and says so of what is right then."""

    def __init__(self, servers: Servers, second: SecondLook) -> None:
        self._servers = servers
        self._second = second

    async def run(
        self, suspects: Sequence[str], known: KnownFacts, settled: Sequence[Finding], audit: Audit
    ) -> tuple[list[Finding], Audit]:
        """Return what is to be reported of suspects after the repair, and what was read last.

        ``settled``: what a second look has found of them, by ``audit``. Raises StoreUnavailable.
        """
        wrong = [each for each in settled if each.code in REPAIRABLE and each.severity is Severity.VIOLATION]
        if not await self._projected_again(wrong):
            return list(settled), audit
        again, audit = await self._second.look(suspects, known, settled)
        left = {(finding.code, finding.where) for finding in again}
        repaired = {(each.code, each.where): each for each in wrong if (each.code, each.where) not in left}
        return [*again, *map(_repaired, repaired.values())], audit

    async def _projected_again(self, wrong: Sequence[Finding]) -> bool:
        by_model: defaultdict[str, set[str]] = defaultdict(set)
        for finding in wrong:
            if (read_model := REPAIRABLE[finding.code]) in self._servers.repairs:
                by_model[read_model].update(finding.aggregate_ids)
        for read_model, names in by_model.items():
            await self._servers.repairs[read_model]([AggregateId.parse(name) for name in sorted(names)])
        return bool(by_model)


def _repaired(finding: Finding) -> Finding:
    found = f"{finding.found.partition(';')[0]}; it was projected again, and is right now"
    return replace(finding, found=found, severity=Severity.REPAIRED)
