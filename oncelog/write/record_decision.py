"""The end that a command's next record is to name: an event and its places, or a rejection, each well founded."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from oncelog.domain.commands import Command
from oncelog.domain.events import Event
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.instance import evolve
from oncelog.domain.ontology.class_schema import ClassSchema
from oncelog.domain.results import Rejection
from oncelog.domain.unique.entry import Place
from oncelog.errors import AggregateDefect
from oncelog.write.stream_head import StreamHead
from oncelog.write.write_path import WritePath


@dataclass(frozen=True)
class RecordDecision:
    """The decision on a command, and the head that it rests on. ``places``: of the event, in the chains of values."""

    head: StreamHead
    class_schema: ClassSchema | None
    end: Event | Rejection
    places: Sequence[Place] = ()


class RecordDecisions:
    """Decides commands; writes nothing."""

    def __init__(self, path: WritePath) -> None:
        self._stream_heads = path.stream_heads
        self._class_schemas = path.class_schemas
        self._strictness = path.strictness
        self._judge = path.judge
        self._claims = path.claims
        self._references = path.references

    async def of(self, command: Command, head: StreamHead, *, occurred_at: str, hopeful: bool) -> RecordDecision:
        """Return the decision on a command at a head, or at the one that S3 shows where it rejects.

        A rejection rests on a head that S3 has shown (R6). For a value, S3 shows the head after the value's holder
        (V5); for a reference, after the search for its target.
        ``hopeful``: see ``UniqueClaims.of``.
        """
        while True:
            head, class_schema, decision = await self._decide_or_verify(command, head, occurred_at=occurred_at)
            if isinstance(decision, Rejection) or not _rests_on_others(decision, class_schema):
                return RecordDecision(head, class_schema, decision)
            after = evolve(head.state, decision)
            claims = await self._claims.of(head.state, after, class_schema, hopeful=hopeful)
            if claims.is_outdated:
                head = await self._stream_heads.reloaded(command.aggregate_id)
                continue
            refusal = claims.refusal or await self._references.refusal(head.state, after, class_schema)
            if refusal is None:
                return RecordDecision(head, class_schema, decision, claims.places)
            version = head.state.sequence_number
            head = await self._stream_heads.verified(command.aggregate_id, replace(head, is_verified=False))
            if head.state.sequence_number == version:
                return RecordDecision(head, class_schema, refusal)

    async def _decide_or_verify(
        self, command: Command, head: StreamHead, *, occurred_at: str
    ) -> tuple[StreamHead, ClassSchema | None, Event | Rejection]:
        """Decide at a head, and again at the verified one where the command is rejected or its own code fails.

        The head may be one that Redis or a hope made up, so neither says anything about the state in S3.
        """
        try:
            class_schema, decision = await self._decide(command, head, occurred_at=occurred_at)
        except AggregateDefect:
            if head.is_verified:
                raise
        else:
            if isinstance(decision, Event):
                return head, class_schema, decision
        head = await self._stream_heads.verified(command.aggregate_id, head)
        return head, *await self._decide(command, head, occurred_at=occurred_at)

    async def _decide(
        self, command: Command, head: StreamHead, *, occurred_at: str
    ) -> tuple[ClassSchema | None, Event | Rejection]:
        """Decide under the newest rules of the instance's class, at least those of its last event."""
        undefined = await self._strictness.refusal(command)
        if undefined:
            return None, undefined
        state = head.state
        known = state.definition.sequence_number if state.definition else 0
        class_schema = await self._class_schemas.newest(AggregateId.parse(state.aggregate_id), at_least=known)
        return class_schema, await self._judge.decide(
            state, command, occurred_at=occurred_at, class_schema=class_schema
        )


def _rests_on_others(event: Event, class_schema: ClassSchema | None) -> bool:
    """Return whether an event was decided under unique constraints, or under references that must exist."""
    own = "constraints" in (event.model_extra or {})
    return own or (class_schema is not None and class_schema.rests_on_others)
