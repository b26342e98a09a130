"""The second look: suspects are read anew before they are reported, after the commands under way were asked for.

Work under way is pending; so are events that a projector has yet to come to, and aggregates that wait for a person.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from oncelog.checks.claims import judge_claims
from oncelog.checks.known_facts import KnownFacts
from oncelog.checks.looks import Looks
from oncelog.checks.scope import CheckPlan
from oncelog.checks.servers import Servers
from oncelog.errors import LogDamaged
from oncelog.verification.audit import Audit, weighed
from oncelog.verification.findings import Finding, Severity
from oncelog.verification.reading import DeadLetterLookup, answered
from oncelog.verification.shown import SHAPES

#: By read model, and by partition of the stream, the offset that its projectors go on from.
Reached = Mapping[str, Mapping[int, int]]

#: Findings of aggregates that are behind, and the read model in which they may be parked.
BEHIND = {code: shape for shape in SHAPES.values() for code in (shape.missing, shape.stale)}


class SecondLook:
    """Looks again at suspects. ``unattended``: read models that lack something, of which no projector was ever seen."""

    def __init__(self, servers: Servers, plan: CheckPlan, looks: Looks) -> None:
        self._servers = servers
        self._plan = plan
        self._looks = looks
        self._dead_letters = DeadLetterLookup(servers.sources.bucket)
        self.unattended: set[str] = set()

    async def look(
        self,
        suspects: Sequence[str],
        known: KnownFacts,
        found: Sequence[Finding],
    ) -> tuple[list[Finding], Audit]:
        """Return the remaining findings on some aggregates of one class, each with its severity, and the audit.

        ``known``: facts collected about them. Raises StoreUnavailable.
        """
        waiting = {command_id for finding in found for command_id in finding.waits_for}
        running = await self._servers.in_flight(waiting) if waiting else ()
        reached = await self._reached(found)
        audit = await self._looks.direct(suspects, known)
        again = list(audit.judge_aggregates())
        again += await self._looks.doubled(audit, again)
        again += await judge_claims(self._servers.sources.statuses, audit)
        settled = []
        for finding in again:
            result = weighed(finding, running)
            if finding.code in BEHIND:
                result = await self._parked(audit, finding) or self._projected(audit, result, reached)
            settled.append(result)
        return settled, audit

    async def _reached(self, found: Sequence[Finding]) -> Reached:
        if self._servers.projectors is None:
            return {}
        read_models = sorted({BEHIND[finding.code].read_model for finding in found if finding.code in BEHIND})
        return {name: await answered(partial(self._servers.projectors.reached, name)) for name in read_models}

    async def _parked(self, audit: Audit, finding: Finding) -> Finding | None:
        """Return a read model's being behind as parked if it waits for a person, else None.

        A dead letter that cannot be read excuses nothing, and is named.
        """
        shape, about = BEHIND[finding.code], finding.aggregate_ids[0]
        try:
            dead_letter = await self._dead_letters.excusing(shape.read_model, about, audit.logs[about].head)
        except LogDamaged as error:
            return replace(finding, found=f"{finding.found.partition(';')[0]}; its dead letter: {error.message}")
        if dead_letter is None:
            return None
        why = f"{dead_letter.kind} by {dead_letter.by}: {dead_letter.reason}; see the dead letters"
        found = f"{finding.found.partition(';')[0]}: {why}"
        return replace(finding, code=shape.parked, found=found, severity=Severity.PENDING)

    def _projected(self, audit: Audit, finding: Finding, reached: Reached) -> Finding:
        """Return a read model's being behind as pending if its projectors are yet to come to it."""
        read_model = BEHIND[finding.code].read_model
        offsets = reached.get(read_model, {})
        if finding.severity is Severity.PENDING or not audit.stream.is_ahead_of(offsets, finding.aggregate_ids[0]):
            return finding
        why = f"projectors of the {read_model} have not come to it yet"
        if offsets and not any(offsets.values()):
            self.unattended.add(read_model)
            why = f"no projector of the {read_model} was ever seen"
        return replace(finding, found=f"{finding.found.partition(';')[0]}; {why}", severity=Severity.PENDING)
