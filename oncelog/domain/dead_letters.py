"""Dead letters: why an aggregate's projection waits, each action on it and its author, and how it ended.

The dead letters of one aggregate in one read model are numbered 1, 2, 3 …, each written once, as events are; the last
one is the current status. Pure, as all of the domain.
"""

from collections.abc import Sequence
from enum import StrEnum
from functools import cached_property
from typing import Any

from pydantic import Field, ValidationError

from oncelog.domain.canonical import canonical_bytes, parse_stored
from oncelog.domain.frozen_model import Value
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.limits import REASON_CHARACTERS_MAX
from oncelog.errors import InputInvalid, LogDamaged, OncelogError

LETTER_VERSION = "1.0.0"


class DeadLetterKind(StrEnum):
    """The action of a dead letter. After the first two the aggregate waits; after the next two a catch-up is under
    way.
    """

    PARKED = "PARKED"  # its projection failed for good
    PAUSED = "PAUSED"  # an operator wants its projection to wait
    RETRYING = "RETRYING"  # an operator retries from the log
    SKIPPED = "SKIPPED"  # an operator skipped the parked version: versions up to that one need not be shown
    RESOLVED = "RESOLVED"  # it is shown as far as the log went


class DeadLetter(Value):
    """One dead letter. ``sequence_number``: which event or version it is about, 0 where none is known.

    ``given_up_through``: versions up to this one are never tried again, because an operator skipped them.
    ``by``: the person or the program; ``code`` and ``reason``: the error's, or the person's words; ``at``: RFC 3339,
    UTC, the writer's clock.
    """

    dead_letter_version: str = LETTER_VERSION
    read_model: str
    aggregate_id: str
    number: int
    kind: DeadLetterKind
    sequence_number: int
    given_up_through: int = 0
    at: str
    by: str
    code: str | None = None
    reason: str
    details: dict[str, Any] = Field(default_factory=dict)

    @property
    def waits(self) -> bool:
        """Whether the aggregate's events are to be left alone."""
        return self.kind in (DeadLetterKind.PARKED, DeadLetterKind.PAUSED)

    @property
    def unfinished(self) -> bool:
        """Whether a catch-up from the log was begun and is not reported as done."""
        return self.kind in (DeadLetterKind.RETRYING, DeadLetterKind.SKIPPED)

    @property
    def aggregate(self) -> AggregateId:
        return AggregateId.parse(self.aggregate_id)

    @cached_property
    def canonical(self) -> bytes:
        """The canonical form as it lies in S3."""
        return canonical_bytes(self.model_dump(mode="json", exclude_none=True))


def read_dead_letter(data: bytes, *, where: str) -> DeadLetter:
    """Parse a stored dead letter; raises LogDamaged."""
    try:
        return DeadLetter.model_validate(parse_stored(data, where=where))
    except (InputInvalid, ValidationError) as error:
        raise LogDamaged(f"{where}: not a dead letter: {error}; run oncelog verify", where=where) from error


def reason_of(error: Exception) -> tuple[str, str]:
    """Return the stable code and the words for an error; an error that is none of ours is a ``Defect``."""
    if isinstance(error, OncelogError):
        return error.code, error.message[:REASON_CHARACTERS_MAX]
    return "Defect", f"{type(error).__name__}: {error}"[:REASON_CHARACTERS_MAX]


#: The actions that are allowed after each last dead letter; ``None``: none is there.
_ALLOWED: dict[DeadLetterKind, tuple[DeadLetterKind | None, ...]] = {
    DeadLetterKind.PARKED: (None, DeadLetterKind.RETRYING, DeadLetterKind.SKIPPED, DeadLetterKind.RESOLVED),
    DeadLetterKind.PAUSED: (
        None,
        DeadLetterKind.PARKED,
        DeadLetterKind.RETRYING,
        DeadLetterKind.SKIPPED,
        DeadLetterKind.RESOLVED,
    ),
    DeadLetterKind.RETRYING: (
        DeadLetterKind.PARKED,
        DeadLetterKind.PAUSED,
        DeadLetterKind.RETRYING,
        DeadLetterKind.SKIPPED,
    ),
    DeadLetterKind.SKIPPED: (DeadLetterKind.PARKED,),
    DeadLetterKind.RESOLVED: (DeadLetterKind.RETRYING, DeadLetterKind.SKIPPED),
}


def follows(kind: DeadLetterKind, last: DeadLetter | None) -> bool:
    """Return whether a dead letter of this kind may follow the last one."""
    return (last.kind if last else None) in _ALLOWED[kind]


def skipped_through(dead_letters: Sequence[DeadLetter], sequence_number: int) -> DeadLetter | None:
    """Return the dead letter that skipped this version, or None."""
    skips = (dead_letter for dead_letter in dead_letters if dead_letter.kind is DeadLetterKind.SKIPPED)
    return next((dead_letter for dead_letter in skips if dead_letter.sequence_number >= sequence_number), None)
