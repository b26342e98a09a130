"""JSON Merge Patch, RFC 7396: applied, and made of two states."""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from oncelog.domain.canonical import canonical_bytes
from oncelog.domain.json_pointer import pointer_of
from oncelog.errors import InputInvalid

#: No member at all, where null is a value.
ABSENT: Final = object()


class Difference(NamedTuple):
    """A member that two states of data do not share. ``path``: its names; ``before``, ``after``: may be ABSENT."""

    path: tuple[str, ...]
    before: Any
    after: Any


def merge_patch(target: Any, patch: Any) -> Any:
    """Return the target with the patch applied (RFC 7396 section 2); neither argument is changed."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


def differences(before: Any, after: Any, *, path: tuple[str, ...] = ()) -> Iterator[Difference]:
    """Yield the differences, in the order of names: objects member by member, all else as a whole, an array too."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in sorted(before.keys() | after.keys()):
            yield from differences(before.get(name, ABSENT), after.get(name, ABSENT), path=(*path, name))
    elif before is ABSENT or after is ABSENT or canonical_bytes(before) != canonical_bytes(after):
        yield Difference(path, before, after)


def patch_between(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Return the patch that makes ``after`` of ``before``; raises InputInvalid where none can.

    No patch can write null as a member's value, since null removes the member.
    """
    patch: dict[str, Any] = {}
    for each in differences(before, after):
        *path, name = each.path
        inner = patch
        for step in path:
            inner = inner.setdefault(step, {})
        inner[name] = None if each.after is ABSENT else each.after
    merged = merge_patch(before, patch)
    for lost in differences(merged, after):
        raise InputInvalid(f"{pointer_of(lost.path)}: holds null, which no JSON Merge Patch can write")
    return patch
