"""The stream against the log: first deliveries are 1..n with the bytes of S3, nothing is missing, nothing foreign."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from oncelog.domain.canonical import parse_stored
from oncelog.domain.events import read_event
from oncelog.domain.identifiers import CLASSES, AggregateId
from oncelog.errors import InputInvalid, LogDamaged, SchemaUnsupported
from oncelog.ports import TopicFacts, TopicRecord
from oncelog.ports.stream import FIRST_GENERATION
from oncelog.stores.kafka.messages import Message, headers_of
from oncelog.verification.findings import Code, Finding
from oncelog.verification.log import LogFacts, digest

#: How many commands that would send what is missing are named.
WAITS_FOR_MAX = 50


@dataclass
class _Delivered:
    """How far one aggregate's first deliveries have come. ``offset``: that of the last of them."""

    partition: int
    through: int = 0
    offset: int = -1


@dataclass(frozen=True)
class _Ahead:
    """A message of a slot that the log did not have when it was read."""

    where: str
    aggregate_id: str
    sequence_number: int
    digest: bytes


@dataclass
class StreamAudit:
    """Goes through the messages of each partition in their order, after the logs were read.

    ``generation``: of topics without a record. In one that was made anew an event may come before those before it, from
    a worker that had not noticed yet: consumers drop it, and it comes again (docs/stream.md).
    """

    logs: Mapping[str, LogFacts]
    generation: int = FIRST_GENERATION
    db_name: str | None = None
    messages: int = 0
    duplicates: int = 0
    findings: list[Finding] = field(default_factory=list)
    _generations: dict[bool, int] = field(default_factory=dict)  # of the topic of classes, and of that of instances
    _delivered: dict[str, _Delivered] = field(default_factory=dict)
    _ahead: list[_Ahead] = field(default_factory=list)

    def add_topic(self, topic: TopicFacts, records: Sequence[TopicRecord]) -> None:
        """Look at a topic as it is, and at the records of its generations, the first one first."""
        if not records:
            return  # no program has opened it yet
        newest = records[-1]
        self._generations[topic.of_classes] = newest.generation
        if topic.topic_id and newest.topic_id and topic.topic_id != newest.topic_id:
            found = (
                f"expected the topic of generation {newest.generation} ({newest.topic_id}), found {topic.topic_id}: it "
                "was made anew; let a worker run, which opens it, then oncelog check --repair"
            )
            self._find(Code.TOPIC_REPLACED, f"topic {topic.topic}", found)

    def add(self, message: Message) -> None:
        """Look at one message."""
        where = f"partition {message.partition} offset {message.offset}"
        named = _named(message)
        if named is None:
            if self.db_name is None:
                self._find(Code.MESSAGE_FOREIGN, where, f"expected an event, found {message.value[:60]!r}")
            return
        aggregate_id, number = named
        if self.db_name is not None and not aggregate_id.startswith(f"{self.db_name}/"):
            return
        self.messages += 1
        where = f"message {aggregate_id} {number} ({where})"
        self._check_order(message, aggregate_id, number, where)
        log, found = self.logs.get(aggregate_id), digest(message.value)
        event = log.events.get(number) if log else None
        if event and event.value_digest != found:
            self._find(Code.MESSAGE_ALTERED, where, "expected the bytes of S3, found others")
            return
        if log is None or number not in log.taken:
            self._ahead.append(_Ahead(where, aggregate_id, number, found))
        self._check_headers(message, where)

    @property
    def aggregates_ahead(self) -> set[str]:
        """Those of whose messages the log must be asked again."""
        return {ahead.aggregate_id for ahead in self._ahead}

    def is_ahead_of(self, reached: Mapping[int, int], aggregate_id: str) -> bool:
        """Return whether a reader is yet to come to the head of the aggregate's log.

        ``reached``: by partition that it reads, the offset that it goes on from.
        """
        delivered, log = self._delivered.get(aggregate_id), self.logs.get(aggregate_id)
        if delivered is None or log is None or delivered.through < log.head:
            return False  # there is nothing for it to come to
        return delivered.partition in reached and reached[delivered.partition] <= delivered.offset

    def judge(self) -> Iterator[Finding]:
        """Yield everything found, and what is still missing; ask after all messages were added."""
        yield from self.findings
        for ahead in self._ahead:
            log = self.logs.get(ahead.aggregate_id)
            event = log.events.get(ahead.sequence_number) if log else None
            if event is None:
                yield Finding(Code.MESSAGE_FOREIGN, ahead.where, "expected its event in S3, found none: it never was")
            elif event.value_digest != ahead.digest:
                yield Finding(Code.MESSAGE_ALTERED, ahead.where, "expected the bytes of S3, found others")
        for aggregate_id, log in self.logs.items():
            yield from self._missing(aggregate_id, log)

    def _missing(self, aggregate_id: str, log: LogFacts) -> Iterator[Finding]:
        delivered = self._delivered.get(aggregate_id)
        through = delivered.through if delivered else 0
        claimed = min(log.watermark.through_in(self._generation_of(AggregateId.parse(aggregate_id))), log.head)
        if through < claimed:
            found = (
                f"expected events through {claimed}, as the log says that they were published, found them through "
                f"{through}: nothing publishes them; delete the topic, and run oncelog check --repair"
            )
            yield Finding(Code.WATERMARK_AHEAD, f"stream of {aggregate_id}", found)
        if any(through < number <= log.head for number in log.events):
            numbers = range(through + 1, log.head + 1)
            which = f"event {log.head}" if len(numbers) == 1 else f"events {numbers[0]} to {log.head}"
            yield Finding(
                Code.MESSAGE_MISSING,
                f"stream of {aggregate_id}",
                f"expected {which}, found none; a consistency check publishes what is missing",
                waits_for=waiting_for(log, numbers),
                aggregate_ids=(aggregate_id,),
            )

    def _check_order(self, message: Message, aggregate_id: str, number: int, where: str) -> None:
        delivered = self._delivered.get(aggregate_id)
        through = delivered.through if delivered else 0
        if number > through + 1 and self._is_made_anew(aggregate_id):
            return  # whatever partition it was sent to
        if delivered is None:
            delivered = self._delivered[aggregate_id] = _Delivered(message.partition)
        if message.partition != delivered.partition:
            found = f"expected partition {delivered.partition} as before; two partitions have no order between them"
            self._find(Code.STREAM_SPLIT, where, found)
        if number <= delivered.through:
            self.duplicates += 1
            return
        if number > delivered.through + 1:
            found = f"expected event {delivered.through + 1} first, found {number}"
            self._find(Code.MESSAGE_OUT_OF_ORDER, where, found)
        delivered.through, delivered.offset = number, message.offset

    def _is_made_anew(self, aggregate_id: str) -> bool:
        return self._generation_of(AggregateId.parse(aggregate_id)) > FIRST_GENERATION

    def _generation_of(self, aggregate_id: AggregateId) -> int:
        return self._generations.get(aggregate_id.class_id == CLASSES, self.generation)

    def _check_headers(self, message: Message, where: str) -> None:
        try:
            event = read_event(message.value, where=where)
        except SchemaUnsupported:
            return  # said of its slot
        except LogDamaged:
            self._find(Code.MESSAGE_ALTERED, where, "expected an event whose checksum is right, found none")
            return
        missing = [name for name, value in headers_of(event) if (name, value) not in message.headers]
        if missing or message.key != event.aggregate_id.encode():
            found = f"expected key and headers that agree with the event, found others: {', '.join(missing) or 'key'}"
            self._find(Code.MESSAGE_ALTERED, where, found)

    def _find(self, code: Code, where: str, found: str) -> None:
        self.findings.append(Finding(code, where, found))


def waiting_for(log: LogFacts, numbers: range) -> tuple[str, ...]:
    """Return the commands whose end brings those events to where they are missing: the last ones of them."""
    commands = {log.events[number].command_id: None for number in numbers[-WAITS_FOR_MAX:] if number in log.events}
    return tuple(commands)


def _named(message: Message) -> tuple[str, int] | None:
    """Return the slot that the message says it is about, or None if it says nothing."""
    try:
        fields = parse_stored(message.value, where="message")
        aggregate_id, number = fields["aggregate_id"], fields["sequence_number"]
        if not isinstance(aggregate_id, str) or not isinstance(number, int) or number < 1:
            return None
        AggregateId.parse(aggregate_id)
    except (InputInvalid, KeyError, TypeError, UnicodeDecodeError):
        return None
    return aggregate_id, number
