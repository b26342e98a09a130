"""Clients' histories against the stored data: nothing acknowledged is lost, no answer changes, order is kept."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from typing import Any

from oncelog.domain.canonical import canonical_bytes, sha256_hex
from oncelog.domain.results import Outcome, RejectionCode
from oncelog.domain.tokens import read_token
from oncelog.errors import TokenInvalid
from oncelog.verification.findings import Code, Finding
from oncelog.verification.history import History, Operation
from oncelog.verification.log import EventFacts, LogFacts
from oncelog.verification.records import CommandFacts


@dataclass(frozen=True)
class Answer:
    """One definite answer to a command: the hash of the command sent, and the result as JSON."""

    sent_hash: str
    result: Mapping[str, Any]
    started_ns: int
    ended_ns: int

    @property
    def rejection(self) -> Mapping[str, Any] | None:
        return self.result.get("rejection")

    @property
    def applied(self) -> bool:
        return self.result.get("outcome") == Outcome.APPLIED

    @property
    def refuses_reuse(self) -> bool:
        return (self.rejection or {}).get("code") == RejectionCode.COMMAND_ID_REUSED


@dataclass
class Sent:
    """A command as clients know it, over all the times that it was sent."""

    command_id: str
    operations: list[Operation] = field(default_factory=list)

    @property
    def started_ns(self) -> int:
        return min(operation.started_ns for operation in self.operations)

    @cached_property
    def answers(self) -> list[Answer]:
        """The definite answers, in the order of their invocations."""
        return [
            Answer(
                sent_hash=sha256_hex(canonical_bytes(operation.invoked.command)),
                result=operation.answer.result,
                started_ns=operation.started_ns,
                ended_ns=operation.ended_ns,
            )
            for operation in self.operations
            if operation.answer and operation.ended_ns is not None and operation.answer.result is not None
        ]

    @property
    def answered_ns(self) -> float:
        """When the first definite answer came; infinite if there was none."""
        ends = (operation.ended_ns for operation in self.operations)
        return min((end for end in ends if end is not None), default=math.inf)


@dataclass(frozen=True)
class Made:
    """An event that a command made, and where it stands."""

    aggregate_id: str
    sequence_number: int
    event: EventFacts

    def __str__(self) -> str:
        return f"{self.aggregate_id} {self.sequence_number}"


class ClientAudit:
    """Compares a history with the logs and the commands' records that were read after it had ended."""

    def __init__(self, history: History, logs: Mapping[str, LogFacts], commands: Mapping[str, CommandFacts]) -> None:
        self.history = history
        self._logs = logs
        self.records = commands
        self.sent: dict[str, Sent] = {}
        for operation in history.commands:
            command_id = str((operation.invoked.command or {}).get("command_id"))
            self.sent.setdefault(command_id, Sent(command_id)).operations.append(operation)
        self.made: defaultdict[str, list[Made]] = defaultdict(list)
        for aggregate_id, log in logs.items():
            for number, event in sorted(log.events.items()):
                self.made[event.command_id].append(Made(aggregate_id, number, event))

    def judge(self) -> Iterator[Finding]:
        """Yield every contradiction to the history of the clients."""
        yield from self._never_sent()
        for sent in self.sent.values():
            yield from self._judge_answers(sent)
        yield from self._judge_order()
        for operation in self.history.reads:
            yield from self._judge_read(operation)

    def _never_sent(self) -> Iterator[Finding]:
        for command_id in sorted((self.made.keys() | self.records.keys()) - self.sent.keys()):
            where = ", ".join(map(str, self.made.get(command_id, [])[:3])) or "its record"
            yield Finding(Code.NEVER_SENT, f"command {command_id}", f"expected none, for no client sent it: {where}")

    def _judge_answers(self, sent: Sent) -> Iterator[Finding]:
        where, record = f"command {sent.command_id}", self.records.get(sent.command_id)
        by_content = groupby(sorted(sent.answers, key=lambda answer: answer.sent_hash), lambda answer: answer.sent_hash)
        for _, same in by_content:
            first, *others = same
            for other in others:
                if other.result != first.result:
                    yield Finding(Code.ANSWER_CHANGED, where, f"answered {first.result}, then {other.result}")
        bound = record.command_hash if record and record.is_known else None
        for answer in sent.answers:
            if bound not in (None, answer.sent_hash) and not answer.refuses_reuse:
                found = f"expected CommandIdReused for another content than hash {bound}, found {answer.result}"
                yield Finding(Code.REUSE_ACCEPTED, where, found)
            elif answer.refuses_reuse:
                if bound == answer.sent_hash:
                    found = "refused as used before with other content, yet the content it is bound to is this one"
                    yield Finding(Code.ANSWER_WRONG, where, found)
            elif answer.applied:
                yield from self._judge_applied(sent, answer, where)
            else:
                yield from self._judge_refused(sent, answer, record, where)

    def _judge_counts(self, sent: Sent, answer: Answer, where: str) -> Iterator[Finding]:
        """Compare the counts in a bulk command's answer with its events."""
        told, made = answer.result["counts"]["applied"], len(self.made.get(sent.command_id, []))
        if made < told:
            found = f"acknowledged {told} items as applied, yet it has {made} events"
            yield Finding(Code.ACKNOWLEDGED_LOST, where, found)
        elif made > told:
            yield Finding(Code.ANSWER_WRONG, where, f"answered {told} items as applied, yet it has {made} events")

    def _judge_applied(self, sent: Sent, answer: Answer, where: str) -> Iterator[Finding]:
        if "counts" in answer.result:
            yield from self._judge_counts(sent, answer, where)
            return
        claimed = (answer.result.get("aggregate_id"), answer.result.get("sequence_number"))
        log = self._logs.get(str(claimed[0]))
        made = self.made.get(sent.command_id, [])
        if log and claimed[1] in log.taken and claimed[1] not in log.events:
            return  # the object there is damaged, which is said already
        if not made:
            found = f"acknowledged as event {claimed[1]} of {claimed[0]}, yet it has no event"
            yield Finding(Code.ACKNOWLEDGED_LOST, where, found)
            return
        event_id = answer.result.get("event_id")
        if not any((m.aggregate_id, m.sequence_number, m.event.event_id) == (*claimed, event_id) for m in made):
            found = f"answered {event_id} at {claimed[0]} {claimed[1]}, yet its event is at {made[0]}"
            yield Finding(Code.ANSWER_WRONG, where, found)

    def _judge_refused(self, sent: Sent, answer: Answer, record: CommandFacts | None, where: str) -> Iterator[Finding]:
        rejection = answer.rejection or {}
        for made in self.made.get(sent.command_id, []):
            found = f"refused as {rejection.get('code')}, yet its event is at {made}"
            yield Finding(Code.REFUSED_PRESENT, where, found)
        recorded = record.rejection if record else None
        if recorded is not None and recorded.model_dump(mode="json") != rejection:
            found = f"answered {rejection}, yet its record says {recorded.model_dump(mode='json')}"
            yield Finding(Code.ANSWER_WRONG, where, found)
        version = (rejection.get("details") or {}).get("found_version")
        known = self._acknowledged_before(str(answer.result.get("aggregate_id")), sent.started_ns)
        if isinstance(version, int) and version < known:
            found = f"refused on version {version}, yet version {known} was acknowledged before it was sent"
            yield Finding(Code.REJECTION_STALE, where, found)

    def _acknowledged_before(self, aggregate_id: str, moment_ns: int) -> int:
        """Return the highest sequence number of the aggregate that was acknowledged before a moment."""
        log = self._logs.get(aggregate_id)
        if log is None:
            return 0
        return max((number for number, ends in self._acknowledged(log) if ends < moment_ns), default=0)

    def _acknowledged(self, log: LogFacts) -> Sequence[tuple[int, float]]:
        """Return the aggregate's events and when each was acknowledged, in their order."""
        known = self._acknowledgements.get(log.aggregate_id)
        if known is None:
            known = [
                (number, self.sent[event.command_id].answered_ns)
                for number, event in sorted(log.events.items())
                if event.command_id in self.sent
            ]
            self._acknowledgements[log.aggregate_id] = known
        return known

    @cached_property
    def _acknowledgements(self) -> dict[str, list[tuple[int, float]]]:
        return {}

    def _judge_order(self) -> Iterator[Finding]:
        """Find events that were asked for after a later one of the same aggregate had been acknowledged."""
        for aggregate_id, log in self._logs.items():
            earliest_ns, by = math.inf, 0
            for number, event in sorted(log.events.items(), reverse=True):
                sent = self.sent.get(event.command_id)
                if sent is None:
                    continue
                if earliest_ns < sent.started_ns:
                    found = f"expected above event {by}, which was acknowledged before this one was asked for"
                    yield Finding(Code.ORDER_REVERSED, f"slot {aggregate_id} {number}", found)
                if sent.answered_ns < earliest_ns:
                    earliest_ns, by = sent.answered_ns, number

    def _judge_read(self, operation: Operation) -> Iterator[Finding]:
        asked, answer = operation.invoked.asked, operation.answer
        if asked is None or answer is None or answer.found is None:
            return
        found, where = answer.found, f"read of {asked.aggregate_id} by client {operation.invoked.client}"
        wanted = _wanted(asked.token, asked.aggregate_id)
        if found.sequence_number < wanted:
            yield Finding(Code.READ_STALE, where, f"expected version {wanted}, found {found.sequence_number}")
        log = self._logs.get(asked.aggregate_id)
        event = log.events.get(found.sequence_number) if log else None
        if event is not None:
            if found.digest and event.document_digests is not None and found.digest not in event.document_digests:
                said = f"expected the fold of events 1 to {found.sequence_number}, found other"
                yield Finding(Code.READ_WRONG, where, said)
        elif found.sequence_number and (log is None or found.sequence_number not in log.taken):
            yield Finding(Code.READ_WRONG, where, f"found version {found.sequence_number}, which never was")


def _wanted(token: str | None, aggregate_id: str) -> int:
    """Return the sequence number that a read must have reached."""
    try:
        return read_token(token).get(aggregate_id, 0) if token else 0
    except TokenInvalid:
        return 0  # refused at the door
