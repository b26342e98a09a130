"""The quick walk by levels vouches for nothing that the slow one refuses, and counts the same."""

import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncelog.domain import canonical
from oncelog.domain.canonical import check_json
from oncelog.domain.json_size import indexed_size, measured
from oncelog.domain.limits import DEPTH_MAX, INTEGER_MAX, KEY_BYTES_MAX, LEAF_BYTES
from oncelog.errors import InputInvalid
from tests.domain.strategies import keys, scalars

_odd = st.sampled_from(
    [INTEGER_MAX + 1, -INTEGER_MAX - 1, 2.0**53, 1e21, float("nan"), float("inf"), "\ud800", "é", (1, 2), b"", {1, 2}]
)
_odd_keys = st.sampled_from(["\0", "k" * (KEY_BYTES_MAX + 1), "\ud800", "é", 1, None])
_values = st.recursive(
    scalars | _odd,
    lambda inner: st.lists(inner, max_size=4) | st.tuples(inner) | st.dictionaries(keys | _odd_keys, inner, max_size=4),
    max_leaves=20,
)


def quickly(value: Any) -> Any:
    return measured(value, depth_max=DEPTH_MAX, key_bytes_max=KEY_BYTES_MAX)


@given(_values)
def test_measured_values_are_never_refused(value: Any):
    size = quickly(value)
    if size is None:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(canonical, "SMALL_MEMBERS", sys.maxsize)  # by the slow walk alone
        check_json(value)
    total_bytes, count = indexed_size(value)
    assert size.values == count
    assert size.leaves * LEAF_BYTES <= total_bytes <= size.leaves * (LEAF_BYTES + size.path_bytes)


@pytest.mark.parametrize("value", [{}, [], {"a": [1, 0.5, None, True, "é", {"b": []}]}, [[]] * 9])
def test_ordinary_values_are_measured(value: Any):
    assert quickly(value) is not None


def test_depth_is_bounded_alike_by_both_walks():
    value: Any = 1
    for _ in range(DEPTH_MAX):
        value = [value]
    assert quickly(value) is not None
    check_json(value)
    assert quickly([value]) is None
    with pytest.raises(InputInvalid, match="nested deeper"):
        check_json([value])


@pytest.mark.parametrize("value", [{"a": [2**53]}, {"a": {"b": float("nan")}}, {"a": "\ud800"}])
def test_fault_in_a_large_value_is_named(value: dict[str, Any]):
    with pytest.raises(InputInvalid, match="value/a"):
        check_json({"many": [{"n": 1}] * 1_000} | value)


def test_value_that_contains_itself_is_refused():
    value: list[Any] = []
    value.extend([value, value])
    assert quickly(value) is None
    with pytest.raises(InputInvalid, match="nested deeper"):
        check_json(value)
