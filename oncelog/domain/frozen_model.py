"""The base of commands, events and records: they are values. And the sums of counts in reports."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationInfo

#: The validation context of an object that is read back: the rules for input counted when it was accepted.
STORED = {"stored": True}


def summed_counts(kind: type[BaseModel], parts: Iterable[BaseModel]) -> dict[str, Any]:
    """Return the sum of each field of models of one kind that is declared as a number, by its name."""
    names = [name for name, field in kind.model_fields.items() if field.annotation in (int, float)]
    counted = tuple(parts)
    return {name: sum(getattr(part, name) for part in counted) for name in names}


def is_stored(info: ValidationInfo) -> bool:
    """Return whether the validated object is read back, so that only its form counts."""
    return info.context == STORED


class Value(BaseModel):
    """A frozen model that knows all its fields; a copy computes its cached properties anew."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Copy as pydantic does, without cached properties: a hash of other content would be believed."""
        copied = super().model_copy(update=update, deep=deep)
        for name in [name for name in copied.__dict__ if isinstance(getattr(type(self), name, None), cached_property)]:
            del copied.__dict__[name]
        return copied
