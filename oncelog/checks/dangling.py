"""References that must exist, held against the logs of their targets: dangling references are named.

No promise is broken by one: its target was deleted after it was brought in, or it is older than ``must_exist``.
"""

from cachetools import LRUCache

from oncelog.bounded_gather import bounded_gather
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.references import Reference
from oncelog.domain.type_names import EventType
from oncelog.errors import LogDamaged, SchemaUnsupported
from oncelog.stores.s3 import S3EventLog
from oncelog.verification.audit import Audit
from oncelog.verification.findings import Code, Finding, Severity
from oncelog.verification.log import LogFacts
from oncelog.verification.reading import PatientBucket, TimedBucket

TARGETS_AT_ONCE_MAX = 16
#: Targets that are remembered to have existed during this check: many instances refer to one.
EXISTING_MAX = 100_000


class DanglingReferences:
    """Looks for the targets of references. Every method raises StoreUnavailable."""

    def __init__(self, bucket: TimedBucket) -> None:
        self._log = S3EventLog(PatientBucket(bucket))
        self._existing: LRUCache[AggregateId, bool] = LRUCache(EXISTING_MAX)

    async def findings(self, audit: Audit) -> list[Finding]:
        """Return the live instances that refer to others that do not exist; nothing is read where none has to.

        A referrer that was written since it was read may have dropped the reference before its target was deleted: it
        is left to the next check.
        """
        logs = [log for log in audit.logs.values() if log.references and audit.covers(log.aggregate_id)]
        targets = {each.target for log in logs for each in log.references if each.target not in self._existing}
        in_order = sorted(targets, key=str)
        versions = await bounded_gather(self._absence, in_order, at_once=TARGETS_AT_ONCE_MAX)
        absences = {target: version for target, version in zip(in_order, versions, strict=True) if version is not None}
        self._existing.update(dict.fromkeys(targets - set(absences), True))
        found = [(log, finding) for log in logs if (finding := _finding(log, absences)) is not None]
        unchanged = await bounded_gather(self._is_unchanged, [log for log, _ in found], at_once=TARGETS_AT_ONCE_MAX)
        return [finding for (_, finding), same in zip(found, unchanged, strict=True) if same]

    async def _is_unchanged(self, log: LogFacts) -> bool:
        last = max(log.taken)
        return await self._log.last_sequence_number(AggregateId.parse(log.aggregate_id), after=last) <= last

    async def _absence(self, target: AggregateId) -> int | None:
        """Return the version of a target's deletion, 0 if it never was; None if it exists, or is damaged."""
        head = await self._log.last_sequence_number(target, after=0)
        if head == 0:
            return 0
        try:
            stored = await self._log.read_event(target, head)
        except (LogDamaged, SchemaUnsupported):  # which is found as that
            return None
        return head if stored is not None and stored.event.event_type is EventType.INSTANCE_DELETED else None


def _finding(log: LogFacts, absences: dict[AggregateId, int]) -> Finding | None:
    missing: list[Reference] = [each for each in log.references if each.target in absences]
    if not missing:
        return None
    version, others = absences[missing[0].target], len(missing) - 1
    found = f"was deleted at version {version}" if version else "never was"
    return Finding(
        Code.REFERENCE_DANGLING,
        f"aggregate {log.aggregate_id}",
        f"expected {missing[0].relationship} to refer to an instance that exists, found {missing[0].target}, which "
        f"{found}" + (f", and {others} more" if others else "") + "; create the target, or drop the reference",
        severity=Severity.PENDING,
        aggregate_ids=(log.aggregate_id,),
    )
