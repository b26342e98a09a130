"""JSON Merge Patches made of two states, and the differences that people read."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncelog.domain.canonical import canonical_bytes
from oncelog.domain.merge_patch import ABSENT, differences, merge_patch, patch_between
from oncelog.errors import InputInvalid

_SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 1.0]) | st.sampled_from(["", "a"])
_NAMES = st.sampled_from(["a", "b", "a/b", ""])
VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_NAMES, inner, max_size=3), max_leaves=6
)
OBJECTS = st.dictionaries(_NAMES, VALUES, max_size=3)


@given(OBJECTS, OBJECTS)
def test_patch_makes_one_state_of_the_other(before: dict[str, Any], after: dict[str, Any]):
    if _new_nulls(before, after):
        with pytest.raises(InputInvalid, match="holds null"):
            patch_between(before, after)
        return
    patch = patch_between(before, after)
    assert canonical_bytes(merge_patch(before, patch)) == canonical_bytes(after)


@given(OBJECTS)
def test_same_state_has_no_differences(data: dict[str, Any]):
    assert list(differences(data, data)) == []
    assert patch_between(data, data) == {}


def test_each_difference_has_its_path_and_both_values():
    before = {"kept": 1, "gone": None, "in": {"a": [1, 2], "b": True}}
    after = {"kept": 1.0, "new": None, "in": {"a": [1], "b": 1}}
    assert list(differences(before, after)) == [
        (("gone",), None, ABSENT),
        (("in", "a"), [1, 2], [1]),
        (("in", "b"), True, 1),
        (("new",), ABSENT, None),
    ]


@pytest.mark.parametrize("after", [{"a": None}, {"in": {"a": None}}, {"in": [1], "b": {"c": None}}])
def test_null_that_no_patch_can_write_is_refused(after: dict[str, Any]):
    with pytest.raises(InputInvalid, match="no JSON Merge Patch can write"):
        patch_between({"in": {"a": 1}}, after)


def _new_nulls(before: Any, after: Any) -> bool:
    """Return whether a member of ``after`` is null within objects, and was not null in ``before``."""
    if not isinstance(after, dict):
        return False
    old = before if isinstance(before, dict) else {}
    return any(
        (value is None and not (name in old and old[name] is None)) or _new_nulls(old.get(name), value)
        for name, value in after.items()
    )
