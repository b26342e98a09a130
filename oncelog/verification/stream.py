"""The stream against the log: first deliveries are 1..n with the bytes of S3, nothing is missing, nothing foreign."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from oncelog.domain.canonical import parse_stored
from oncelog.domain.events import read_event
from oncelog.domain.identifiers import CLASSES, AggregateId
from oncelog.errors import InputInvalid, LogDamaged, SchemaUnsupported
from oncelog.ports import TopicFacts, TopicRecord
from oncelog.ports.stream import FIRST_GENERATION
from oncelog.stores.kafka.messages import Message, headers_of
from oncelog.verification.findings import Code, Finding
from oncelog.verification.log import LogFacts, digest

#: How many commands that would send the missing events are named.
WAITS_FOR_MAX = 50


@dataclass
class _Delivered:
    """How far one aggregate's first deliveries have come. ``offset``: of the last of them."""

    partition: int
    through: int = 0
    offset: int = -1


@dataclass(frozen=True)
class MessageFacts:
    """The facts about one message that the checks need. ``digest``: of its bytes, in hexadecimal.

    ``wrong``: its own defect, in words.
    """

    aggregate_id: str
    sequence_number: int
    partition: int
    offset: int
    digest: str
    wrong: str = ""

    @property
    def where(self) -> str:
        """The place of the message in words."""
        return f"message {self.aggregate_id} {self.sequence_number} ({place_of(self)})"


def place_of(message: Message | MessageFacts) -> str:
    """Return the place of a message in its topic."""
    return f"partition {message.partition} offset {message.offset}"


def message_facts(message: Message) -> MessageFacts | Finding:
    """Return the facts about a message, or that it is no event at all."""
    named = _named(message)
    if named is None:
        found = f"expected an event, found {message.value[:60]!r}"
        return Finding(Code.MESSAGE_FOREIGN, place_of(message), found)
    facts = MessageFacts(*named, message.partition, message.offset, digest(message.value).hex())
    return replace(facts, wrong=_wrong_with(message, facts.where))


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
    generations: dict[bool, int] = field(default_factory=dict)  # of the topic of classes, and of that of instances
    _delivered: dict[str, _Delivered] = field(default_factory=dict)
    _ahead: list[MessageFacts] = field(default_factory=list)  # of slots that the log does not have

    def add_topic(self, topic: TopicFacts, records: Sequence[TopicRecord]) -> None:
        """Look at a topic as it is, and at the records of its generations, the first one first."""
        if not records:
            return  # no program has opened it yet
        newest = records[-1]
        self.generations[topic.of_classes] = newest.generation
        if topic.topic_id and newest.topic_id and topic.topic_id != newest.topic_id:
            found = (
                f"expected the topic of generation {newest.generation} ({newest.topic_id}), found {topic.topic_id}: it "
                "was made anew; let a worker run, which opens it, then oncelog check --repair"
            )
            self.findings.append(Finding(Code.TOPIC_REPLACED, f"topic {topic.topic}", found))

    def add(self, message: Message) -> None:
        """Look at one message."""
        facts = message_facts(message)
        if isinstance(facts, MessageFacts):
            self.add_facts(facts)
        elif self.db_name is None:
            self.findings.append(facts)

    def add_facts(self, message: MessageFacts) -> None:
        """Look at one message that names an event."""
        aggregate_id, number = message.aggregate_id, message.sequence_number
        if self.db_name is not None and not aggregate_id.startswith(f"{self.db_name}/"):
            return
        self.messages += 1
        self._check_order(message)
        log = self.logs.get(aggregate_id)
        event = log.events.get(number) if log else None
        if event and event.value_digest.hex() != message.digest:
            self._find(Code.MESSAGE_ALTERED, message, "expected the bytes of S3, found others")
            return
        if log is None or number not in log.taken:
            self._ahead.append(message)
        if message.wrong:
            self._find(Code.MESSAGE_ALTERED, message, message.wrong)

    def is_ahead_of(self, reached: Mapping[int, int], aggregate_id: str) -> bool:
        """Return whether a reader is yet to come to the head of the aggregate's log.

        ``reached``: by partition that it reads, the offset that it goes on from.
        """
        delivered, log = self._delivered.get(aggregate_id), self.logs.get(aggregate_id)
        if delivered is None or log is None or delivered.through < log.head:
            return False  # there is nothing for it to come to
        return delivered.partition in reached and reached[delivered.partition] <= delivered.offset

    def judge(self) -> Iterator[Finding]:
        """Yield all findings, and the events still missing; call after all messages were added."""
        yield from self.findings
        for ahead in self._ahead:
            about = (ahead.aggregate_id,)
            found = "expected its event in S3, found none: it never was"
            yield Finding(Code.MESSAGE_FOREIGN, ahead.where, found, aggregate_ids=about)
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
            yield Finding(Code.WATERMARK_AHEAD, f"stream of {aggregate_id}", found, aggregate_ids=(aggregate_id,))
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

    def _check_order(self, message: MessageFacts) -> None:
        aggregate_id, number = message.aggregate_id, message.sequence_number
        delivered = self._delivered.get(aggregate_id)
        through = delivered.through if delivered else 0
        if number > through + 1 and self._is_made_anew(aggregate_id):
            return  # in any partition
        if delivered is None:
            delivered = self._delivered[aggregate_id] = _Delivered(message.partition)
        if message.partition != delivered.partition:
            found = f"expected partition {delivered.partition} as before; two partitions have no order between them"
            self._find(Code.STREAM_SPLIT, message, found)
        if number <= delivered.through:
            self.duplicates += 1
            return
        if number > delivered.through + 1:
            found = f"expected event {delivered.through + 1} first, found {number}"
            self._find(Code.MESSAGE_OUT_OF_ORDER, message, found)
        delivered.through, delivered.offset = number, message.offset

    def _is_made_anew(self, aggregate_id: str) -> bool:
        return self._generation_of(AggregateId.parse(aggregate_id)) > FIRST_GENERATION

    def _generation_of(self, aggregate_id: AggregateId) -> int:
        return self.generations.get(aggregate_id.class_id == CLASSES, self.generation)

    def _find(self, code: Code, message: MessageFacts, found: str) -> None:
        self.findings.append(Finding(code, message.where, found, aggregate_ids=(message.aggregate_id,)))


def _wrong_with(message: Message, where: str) -> str:
    """Return the defect of a message's own bytes, key or headers; empty if there is none."""
    try:
        event = read_event(message.value, where=where)
    except SchemaUnsupported:
        return ""  # said of its slot
    except LogDamaged:
        return "expected an event whose checksum is right, found none"
    missing = [name for name, value in headers_of(event) if (name, value) not in message.headers]
    if missing or message.key != event.aggregate_id.encode():
        return f"expected key and headers that agree with the event, found others: {', '.join(missing) or 'key'}"
    return ""


def waiting_for(log: LogFacts, numbers: range) -> tuple[str, ...]:
    """Return the last commands of those events: their end delivers the events where they are missing."""
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
