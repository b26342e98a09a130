"""How data of one version of a class gets into the form of the next: declared steps, and their effect on a schema.

Steps are total: where they do not apply, they leave data as it is. ``migrated`` migrates data, ``migrated_schema`` the
schema of the data: all data that was valid under a schema is, migrated, valid under the migrated schema. So whether a
migration suffices is decided without looking at any data.
"""

import json
import math
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from oncelog.domain.canonical import canonical_bytes
from oncelog.domain.frozen_model import Value
from oncelog.domain.json_pointer import parse_pointer
from oncelog.domain.limits import INTEGER_MAX
from oncelog.errors import InputInvalid


def _pointer(text: str) -> str:
    try:
        parse_pointer(text)
    except InputInvalid as error:
        raise ValueError(error.message) from error
    return text


def _below_the_root(text: str) -> str:
    if not text:
        raise ValueError("expected a JSON Pointer to a member, found the root")
    return _pointer(text)


#: A JSON Pointer to a member of an object, through objects only.
Member = Annotated[str, AfterValidator(_below_the_root)]


class Kind(StrEnum):
    """The target types of ``convert``."""

    STRING = "string"
    NUMBER = "number"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    ARRAY = "array"  # of the one value that stood there


class Rename(Value):
    """Give the member at ``at`` another name within its object; a member with that name is replaced."""

    at: Member
    to: Annotated[str, Field(min_length=1)]

    @model_validator(mode="after")
    def _is_another(self) -> Self:
        if parse_pointer(self.at)[-1] == self.to:
            raise ValueError(f"to: expected another name than {self.to!r}, which it has")
        return self


class Default(Value):
    """Give the member this value where it is missing from an object that is there."""

    at: Member
    value: Any


class Drop(Value):
    """Leave the member out."""

    at: Member


class Convert(Value):
    """Make the member's value one of another type; a value that cannot be converted becomes ``otherwise``, or stays."""

    at: Member
    to: Kind
    otherwise: Any = None

    @property
    def has_otherwise(self) -> bool:
        return "otherwise" in self.model_fields_set


class Keep(Value):
    """Leave out every member of the object at ``at`` but these; ``at`` may be the root."""

    at: Annotated[str, AfterValidator(_pointer)]
    members: tuple[Annotated[str, Field(min_length=1)], ...]


Step = Rename | Default | Drop | Convert | Keep


class MigrationStep(Value):
    """One step, named by the only field that is set."""

    rename: Rename | None = None
    default: Default | None = None
    drop: Drop | None = None
    convert: Convert | None = None
    keep: Keep | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if len(self.model_fields_set) != 1 or len(self._given) != 1:
            raise ValueError("expected exactly one of rename, default, drop, convert, keep")
        return self

    @property
    def step(self) -> Step:
        """The field that is set."""
        (step,) = self._given
        return step

    @property
    def _given(self) -> list[Step]:
        fields = (self.rename, self.default, self.drop, self.convert, self.keep)
        return [step for step in fields if step is not None]


def migrated(data: dict[str, Any], steps: Iterable[MigrationStep]) -> dict[str, Any]:
    """Return the data after the steps; ``data`` itself is not changed. Takes time for each step, and one copy."""
    copy = _Copy(data)
    for each in steps:
        step, parents, name = located_step(each)
        members = copy.members(parents)
        if members is not None:
            _change(members, name, step)
    return copy.root


def located_step(each: MigrationStep) -> tuple[Step, list[str], str]:
    """Return the step, the path of the object that it changes, and the member that it changes ("" for ``keep``)."""
    step = each.step
    path = list(parse_pointer(step.at))
    return (step, path, "") if isinstance(step, Keep) else (step, path[:-1], path[-1])


class _Copy:
    """Data of which each object is copied once, when it is first changed."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.root = dict(data)
        self._own = {id(self.root): self.root}

    def members(self, path: list[str]) -> dict[str, Any] | None:
        """Return the object at a path to be changed, or None where there is none."""
        members = self.root
        for name in path:
            inner = members.get(name)
            if not isinstance(inner, dict):
                return None
            if id(inner) not in self._own:
                inner = members[name] = dict(inner)
                self._own[id(inner)] = inner
            members = inner
        return members


def _change(members: dict[str, Any], name: str, step: Step) -> None:
    match step:
        case Keep():
            for other in members.keys() - set(step.members):
                del members[other]
        case Default():
            members.setdefault(name, step.value)
        case _ if name not in members:
            pass
        case Drop():
            del members[name]
        case Rename():
            value = members.pop(name)
            members.pop(step.to, None)
            members[step.to] = value
        case Convert():
            members[name] = _converted(members[name], step)


def _converted(value: Any, step: Convert) -> Any:
    found = _CONVERSIONS[step.to](value)
    if found is not None:
        return found
    return step.otherwise if step.has_otherwise else value


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    return canonical_bytes(value).decode() if isinstance(value, bool | int | float) else None


def _number(value: Any) -> int | float | None:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    if float(value).is_integer() and abs(value) < 1e21:  # the form in which it reads back from the log
        return int(value) if abs(value) <= INTEGER_MAX else None
    return value


def _integer(value: Any) -> int | None:
    found = _number(value)
    if isinstance(found, float) and found.is_integer():
        return None  # too large to be held as one
    return found if isinstance(found, int) else None


def _truth(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    return {"true": True, "false": False}.get(value) if isinstance(value, str) else None


def _array(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


_CONVERSIONS: dict[Kind, Callable[[Any], Any]] = {
    Kind.STRING: _text,
    Kind.NUMBER: _number,
    Kind.INTEGER: _integer,
    Kind.BOOLEAN: _truth,
    Kind.ARRAY: _array,
}
