"""One item of a bulk command, and the change that it makes to its instance."""

from dataclasses import dataclass
from typing import Any

from pydantic import Field, ValidationError

from oncelog.domain.bulk.command import Bulk
from oncelog.domain.canonical import canonical_bytes, parse_accepted, parse_unchecked
from oncelog.domain.commands import CommandType, InstanceIdText, JsonObject, Version, check_fits, invalid
from oncelog.domain.frozen_model import STORED, Value
from oncelog.domain.identifiers import AggregateId, derive_event_id, derive_instance_id
from oncelog.domain.limits import ITEM_DETAILS_BYTES_MAX, ITEM_MESSAGE_CHARACTERS_MAX
from oncelog.domain.results import Rejection, RejectionCode
from oncelog.errors import InputInvalid


class Item(Value):
    """One line of the items; its fields mean the same as in a command on one instance."""

    instance_id: InstanceIdText | None = None
    payload: JsonObject = Field(default_factory=dict)
    expected_version: Version | None = None


@dataclass(frozen=True)
class ItemChange:
    """The change that item ``index`` of a bulk command makes to its instance: a ``Change`` as any command is one."""

    index: int
    command_id: str
    hash: str
    event_id: str
    command_type: CommandType
    aggregate_id: AggregateId
    payload: dict[str, Any]
    expected_version: int | None
    actor: str | None
    correlation_id: str | None
    causation_id: str | None


def parse_item(value: Any, *, index: int, command_type: CommandType, stored: bool = False) -> Item:
    """Validate anything at all as item ``index``, a line of NDJSON (bytes) or its value; raises InputInvalid.

    ``stored``: the item was accepted before, by the rules of its day.
    """
    where = f"item {index}"
    if isinstance(value, bytes):
        # The item checks the parts that it keeps of its line.
        value = parse_accepted(value, where=where) if stored else parse_unchecked(value, where=where)
    if not isinstance(value, dict):
        raise InputInvalid(f"{where}: expected a JSON object, found {type(value).__name__}", errors=[])
    try:
        item = Item.model_validate(value, context=STORED if stored else None)
        check_fits(command_type, instance_id=item.instance_id, payload=item.payload)
    except ValidationError as error:
        raise invalid(where, error) from error
    except ValueError as error:
        raise InputInvalid(f"{where} is not valid: {error}", errors=[{"at": "", "problem": str(error)}]) from error
    return item


def change_of(bulk: Bulk, index: int, value: Any, *, stored: bool = False) -> ItemChange | Rejection:
    """Return the change that the item asks for, or the rejection of one that is not valid.

    ``stored``: a record says that the item was accepted, by the rules of its day.
    """
    command_type = bulk.command_type.of_each
    try:
        item = parse_item(value, index=index, command_type=command_type, stored=stored)
    except InputInvalid as error:
        return shortened(
            Rejection(code=RejectionCode.INVALID_COMMAND, message=error.message, details=dict(error.details))
        )
    instance_id = item.instance_id
    if instance_id is None:
        instance_id = derive_instance_id(f"{bulk.command_id}/{index}")
    return ItemChange(
        index=index,
        command_id=bulk.command_id,
        hash=bulk.hash,
        event_id=derive_event_id(bulk.command_id, index),
        command_type=command_type,
        aggregate_id=AggregateId.of(bulk.db_name, bulk.class_id, instance_id),
        payload=item.payload,
        expected_version=item.expected_version,
        actor=bulk.actor,
        correlation_id=bulk.correlation_id,
        causation_id=bulk.causation_id,
    )


def shortened(rejection: Rejection) -> Rejection:
    """Return the rejection as it fits into a record beside hundreds of others.

    Of lists in its details the first findings are kept; how many were left out is said under ``left_out``, by name.
    """
    message = rejection.message
    if len(message) > ITEM_MESSAGE_CHARACTERS_MAX:
        message = message[: ITEM_MESSAGE_CHARACTERS_MAX - 1] + "…"
    details: dict[str, Any] = {}
    left_out: dict[str, int] = {}
    for name, value in rejection.details.items():
        kept, whole = value, len(value) if isinstance(value, list) else 1
        while kept is not None and len(canonical_bytes({**details, name: kept})) > ITEM_DETAILS_BYTES_MAX:
            kept = kept[: len(kept) // 2] if isinstance(kept, list) and len(kept) > 1 else None
        if kept is not None:
            details[name] = kept
        if kept is None or (isinstance(kept, list) and len(kept) < whole):
            left_out[name] = whole - (len(kept) if kept is not None else 0)
    if left_out:
        details["left_out"] = left_out
    return Rejection(code=rejection.code, message=message, details=details)
