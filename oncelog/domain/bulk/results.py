"""The result of a bulk command: counts, and one line per item."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from oncelog.domain.bulk.command import Bulk
from oncelog.domain.bulk.records import Binding, BulkRecord, Closed
from oncelog.domain.identifiers import derive_event_id
from oncelog.domain.results import CommandResult, Outcome, Rejection, reused_id


class Counts(BaseModel):
    """How many items came to which end. All are 0 for a command that was rejected as a whole."""

    model_config = ConfigDict(frozen=True)

    items: int = 0
    applied: int = 0
    rejected: int = 0
    not_attempted: int = 0

    @property
    def done(self) -> int:
        """How many have come to their end."""
        return self.applied + self.rejected

    def plus(self, applied: int, rejected: int) -> "Counts":
        """Return the counts with more items at their end."""
        return self.model_copy(update={"applied": self.applied + applied, "rejected": self.rejected + rejected})


class BulkResult(CommandResult):
    """The first and only answer to a bulk command.

    ``outcome`` is APPLIED unless the command was rejected as a whole; each item's outcome is in the NDJSON under
    ``results_key``; ``results_sha256``: of its bytes. ``closed``: why items were not attempted.
    """

    counts: Counts
    results_key: str | None = None
    results_sha256: str | None = None
    closed: Closed | None = None


AnyResult = Annotated[BulkResult | CommandResult, Field(union_mode="left_to_right")]

_results: TypeAdapter[BulkResult | CommandResult] = TypeAdapter(AnyResult)


def read_result(text: str | bytes) -> BulkResult | CommandResult:
    """Read back a result of either kind; raises ValueError."""
    return _results.validate_json(text)


def rejected_bulk(bulk: Bulk, rejection: Rejection) -> BulkResult:
    """Return the result of a bulk command that was refused as a whole."""
    return BulkResult(
        command_id=bulk.command_id,
        command_hash=bulk.hash,
        outcome=Outcome.REJECTED,
        rejection=rejection,
        counts=Counts(),
    )


def reused_bulk(bulk: Bulk, first_hash: str | None) -> BulkResult:
    """Return the refusal of a bulk command that reuses an ID with other content."""
    return rejected_bulk(bulk, reused_id(bulk.command_id, first_hash=first_hash, found_hash=bulk.hash))


def result_line(record: BulkRecord, binding: Binding) -> dict[str, Any]:
    """Return an item's line in the results, once its binding is known to be its end."""
    line: dict[str, Any] = {"index": binding.index, "aggregate_id": binding.aggregate_id}
    if binding.rejection is not None:
        return line | {"outcome": Outcome.REJECTED, "rejection": binding.rejection.model_dump(mode="json")}
    event_id = derive_event_id(record.command_id, binding.index)
    return line | {"outcome": Outcome.APPLIED, "sequence_number": binding.slot, "event_id": event_id}


def untouched_line(index: int) -> dict[str, Any]:
    """Return the line of an item that was not attempted, because the command was closed before its chunk."""
    return {"index": index, "outcome": "NOT_ATTEMPTED"}
