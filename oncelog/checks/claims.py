"""The results that clients are told against the records and events: the command statuses left in Redis agree."""

from collections.abc import Sequence
from functools import partial

from oncelog.bounded_gather import bounded_gather
from oncelog.domain.results import CommandResult, Outcome
from oncelog.ports import CommandStatus, CommandStatuses
from oncelog.verification.audit import Audit
from oncelog.verification.findings import Code, Finding
from oncelog.verification.reading import answered
from oncelog.verification.records import CommandFacts

STATUSES_AT_ONCE_MAX = 32


async def judge_claims(statuses: CommandStatuses | None, audit: Audit) -> list[Finding]:
    """Return the findings of commands with a kept result that their records contradict; raises StoreUnavailable.

    A status that was forgotten is no finding. Bulk commands' results lie in S3 and are held against their records.
    """
    if statuses is None:
        return []
    commands = [
        facts for facts in audit.commands.commands.values() if facts.records and audit.covers(facts.last.aggregate_id)
    ]

    async def read(facts: CommandFacts) -> CommandStatus | None:
        return await answered(partial(statuses.read_status, facts.command_id))

    found: Sequence[CommandStatus | None] = await bounded_gather(read, commands, at_once=STATUSES_AT_ONCE_MAX)
    findings = []
    for facts, status in zip(commands, found, strict=True):
        wrong = _wrong(audit, facts, status)
        if wrong:
            where, about = f"result of command {facts.command_id}", (facts.last.aggregate_id,)
            findings.append(Finding(Code.CLAIM_WRONG, where, wrong, aggregate_ids=about))
    return findings


def _wrong(audit: Audit, facts: CommandFacts, status: CommandStatus | None) -> str:
    result = status.result if status else None
    if not isinstance(result, CommandResult):
        return ""
    last = facts.last
    if result.command_hash != facts.command_hash:
        return f"expected the result of hash {facts.command_hash}, found that of {result.command_hash}"
    if result.outcome is Outcome.REJECTED:
        if last.rejection is None or (result.rejection and result.rejection.code is not last.rejection.code):
            return f"expected what its record says, found {result.rejection and result.rejection.code}"
        return ""
    if (result.aggregate_id, result.sequence_number) != (last.aggregate_id, last.slot):
        return f"expected slot {last.aggregate_id} {last.slot}, found {result.aggregate_id} {result.sequence_number}"
    log = audit.logs.get(last.aggregate_id)
    event = log.events.get(last.slot or 0) if log else None
    if event is not None and event.event_id != result.event_id:
        return f"expected event {event.event_id}, found {result.event_id}"
    return ""
