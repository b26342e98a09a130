"""Bulk requests: the command model, and its hash."""

import re
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, NamedTuple, Self

from pydantic import AfterValidator, Field, ValidationError, ValidationInfo, model_validator

from oncelog.domain.canonical import canonical_bytes, normalised, sha256_hex
from oncelog.domain.commands import (
    ClassId,
    CommandIdText,
    CommandType,
    DbName,
    Metadata,
    ShortText,
    check_texts,
    invalid,
)
from oncelog.domain.frozen_model import STORED, Value, is_stored
from oncelog.domain.limits import ITEMS_MAX
from oncelog.domain.stored_names import PAYLOADS
from oncelog.errors import InputInvalid

ITEMS_KEY = re.compile(PAYLOADS + r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}/){0,4}[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")


class BulkType(StrEnum):
    BULK_CREATE_INSTANCES = "BULK_CREATE_INSTANCES"
    BULK_UPDATE_INSTANCES = "BULK_UPDATE_INSTANCES"
    BULK_DELETE_INSTANCES = "BULK_DELETE_INSTANCES"

    @property
    def of_each(self) -> CommandType:
        """The change to each item's instance."""
        return CommandType(self.removeprefix("BULK_").removesuffix("S"))

    @property
    def creates(self) -> bool:
        return self is BulkType.BULK_CREATE_INSTANCES


class ItemsReference(NamedTuple):
    """NDJSON that lies in S3 under ``payloads/``: its key, the SHA-256 of its bytes, and how many items it holds."""

    key: str
    sha256: str
    items_count: int


def _items_key(value: str, info: ValidationInfo) -> str:
    if not is_stored(info) and not ITEMS_KEY.fullmatch(value):
        raise ValueError(f"expected payloads/NAME, up to five names of A-Z a-z 0-9 . _ -, found {value[:140]!r}")
    return value


def _countable(value: int, info: ValidationInfo) -> int:
    if not is_stored(info) and value > ITEMS_MAX:
        raise ValueError(f"expected at most {ITEMS_MAX} items, found {value}; divide them")
    return value


def _normalised_items(value: list[Any], info: ValidationInfo) -> list[Any]:
    if is_stored(info):
        return value
    _countable(len(value), info)
    try:
        found: list[Any] = normalised(value, where="", indexed=False)  # each item's payload is, by itself
    except InputInvalid as error:
        raise ValueError(f"{error.message}; or upload the items and refer to them") from error
    return found


class BulkPayload(Value):
    """The items themselves, or where they lie: ``items_key`` (NDJSON, one item a line), its digest and its count."""

    items: Annotated[list[Any], Field(min_length=1), AfterValidator(_normalised_items)] | None = None
    items_key: Annotated[str, AfterValidator(_items_key)] | None = None
    items_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    items_count: Annotated[int, Field(strict=True, ge=1), AfterValidator(_countable)] | None = None

    @model_validator(mode="after")
    def _is_one_or_the_other(self) -> Self:
        reference = (self.items_key, self.items_sha256, self.items_count)
        given = sum(part is not None for part in reference)
        if (self.items is None and given != 3) or (self.items is not None and given):
            raise ValueError("expected either items, or all of items_key, items_sha256 and items_count")
        return self

    @property
    def reference(self) -> ItemsReference | None:
        if self.items_key is None or self.items_sha256 is None or self.items_count is None:
            return None
        return ItemsReference(self.items_key, self.items_sha256, self.items_count)

    @property
    def source(self) -> "ItemsReference | list[Any]":
        """The items themselves, or where they lie."""
        return self.reference or self.items or []


class Bulk(Value):
    """One request to change many instances of one class: the argument of the workflow ``BulkCommand``."""

    command_id: CommandIdText
    command_type: BulkType
    db_name: DbName
    class_id: ClassId
    payload: BulkPayload
    actor: ShortText | None = None
    correlation_id: ShortText | None = None
    causation_id: ShortText | None = None
    metadata: Metadata | None = None

    @model_validator(mode="after")
    def _has_sound_texts(self, info: ValidationInfo) -> Self:
        if is_stored(info):
            return self
        check_texts(actor=self.actor, correlation_id=self.correlation_id, causation_id=self.causation_id)
        return self

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the canonical form of the command as sent; absent and null are the same, but within items."""
        return sha256_hex(canonical_bytes(self.as_json))

    @property
    def as_json(self) -> dict[str, Any]:
        """The command as it was sent, without absent fields; items stay as they are."""
        fields = self.model_dump(mode="json", exclude_none=True, exclude={"payload": {"items"}})
        if self.payload.items is not None:
            fields["payload"] = {"items": self.payload.items}
        return fields


def is_bulk(fields: Any) -> bool:
    """Return whether JSON that claims to be a command claims to be a bulk command."""
    return isinstance(fields, dict) and fields.get("command_type") in list(BulkType)


def parse_bulk(value: Any, *, stored: bool = False) -> Bulk:
    """Validate any value as a bulk command; ``stored``: it was accepted before, by the rules of its day.

    Raises InputInvalid; its ``details["errors"]`` lists every finding as ``{"at": JSON Pointer, "problem": text}``.
    """
    if isinstance(value, Bulk):
        return value
    if not isinstance(value, dict):
        raise InputInvalid(f"command: expected a JSON object, found {type(value).__name__}", errors=[])
    try:
        return Bulk.model_validate(value, context=STORED if stored else None)
    except ValidationError as error:
        raise invalid("command", error) from error
