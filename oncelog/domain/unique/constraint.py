"""A unique constraint as a class's definition declares it, and the values that data has under it."""

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, Field

from oncelog.domain.canonical import canonical_bytes, sha256_hex, type_names
from oncelog.domain.frozen_model import Value
from oncelog.domain.json_pointer import DataPath, parse_pointer, value_at
from oncelog.domain.limits import UNIQUE_PATHS_MAX, UNIQUE_VALUE_BYTES_MAX


class Fold(StrEnum):
    """The form in which texts are compared."""

    NFC = "nfc"  # Unicode's composed form: one letter has one spelling
    CASEFOLD = "casefold"  # that, and without regard to case


def _paths(value: tuple[str, ...]) -> tuple[str, ...]:
    if not 1 <= len(value) <= UNIQUE_PATHS_MAX:
        raise ValueError(f"expected 1 to {UNIQUE_PATHS_MAX} JSON Pointers, found {len(value)}")
    if len(set(value)) != len(value):
        raise ValueError("expected each JSON Pointer once")
    return value


Paths = Annotated[tuple[DataPath, ...], AfterValidator(_paths)]


class UniqueConstraint(Value):
    """A constraint with options. ``paths``: JSON Pointers to scalars within data, which are unique taken together.

    ``fold``: the form in which texts are compared; None compares them as they are. ``hidden``: whether a
    rejection names a value by its hash only.
    """

    paths: Paths
    fold: Fold | None = None
    hidden: bool = False

    def has_meaning_of(self, other: "UniqueConstraint") -> bool:
        """Return whether both hold the same values of any data."""
        return (self.paths, self.fold) == (other.paths, other.fold)


#: A constraint as it may be declared: its paths alone, or with options.
DeclaredConstraint = Annotated[Paths | UniqueConstraint, Field(union_mode="left_to_right")]


class ValueKey(NamedTuple):
    """A value of a constraint: the constraint's name, and the SHA-256 of the value's canonical JSON."""

    constraint: str
    sha256: str


class UniqueValue(NamedTuple):
    """A value as it is compared, after folding: a scalar, or a list of them where the constraint has several paths."""

    key: ValueKey
    value: Any

    @property
    def text(self) -> str:
        """The canonical JSON that its key has the digest of."""
        return _canonical(self.value).decode()


def unique_values(constraints: Mapping[str, UniqueConstraint], data: dict[str, Any]) -> Iterator[UniqueValue]:
    """Yield the value that the data has under each constraint, by the constraints' names.

    A value of which a part is absent, null, or no scalar is not held.
    """
    for name, constraint in sorted(constraints.items()):
        if value := value_of(name, _parts(constraint, data)):
            yield value


def value_of(constraint: str, parts: Sequence[Any]) -> UniqueValue | None:
    """Return the value that these parts are, or None if one of them is no scalar."""
    if not all(map(_is_scalar, parts)):
        return None
    value = parts[0] if len(parts) == 1 else list(parts)
    return UniqueValue(ValueKey(constraint, sha256_hex(_canonical(value))), value)


def unique_findings(
    constraints: Mapping[str, UniqueConstraint], data: dict[str, Any]
) -> Iterator[tuple[Sequence[str | int], str]]:
    """Yield the place of each value in data that can be no part of a unique value, and its problem."""
    for name, constraint in sorted(constraints.items()):
        parts = _parts(constraint, data)
        for path, part in zip(constraint.paths, parts, strict=True):
            if part is not None and not _is_scalar(part):
                yield parse_pointer(path), f"unique {name}: expected a text, number or boolean, found {_kind(part)}"
        size_bytes = len(_canonical(parts)) if all(map(_is_scalar, parts)) else 0
        if size_bytes > UNIQUE_VALUE_BYTES_MAX:
            problem = f"expected at most {UNIQUE_VALUE_BYTES_MAX} bytes of canonical JSON, found {size_bytes}"
            yield parse_pointer(constraint.paths[0]), f"unique {name}: {problem}"


def _parts(constraint: UniqueConstraint, data: dict[str, Any]) -> list[Any]:
    return [_folded(value_at(data, parse_pointer(path)), constraint.fold) for path in constraint.paths]


def _folded(value: Any, fold: Fold | None) -> Any:
    if fold is None or not isinstance(value, str):
        return value
    composed = unicodedata.normalize("NFC", value)
    return composed if fold is Fold.NFC else unicodedata.normalize("NFC", composed.casefold())


def _is_scalar(value: Any) -> bool:
    return isinstance(value, str | int | float)  # bool is an int


def _kind(value: Any) -> str:
    return f"an {type_names.get(type(value), 'other value')}"


def _canonical(value: Any) -> bytes:
    """Return the canonical JSON of a scalar or a list of them."""
    return canonical_bytes([value])[1:-1] if not isinstance(value, list) else canonical_bytes(value)
