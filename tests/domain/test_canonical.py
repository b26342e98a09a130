"""Canonical JSON has one hash everywhere; values it cannot hold are refused with their place."""

import json

import pytest
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from oncelog.domain.canonical import canonical_bytes, normalised, parse_json
from oncelog.errors import InputInvalid
from tests.domain.strategies import json_values


@given(json_values)
def test_normalising_twice_changes_nothing(value):
    once = normalised(value)
    assert normalised(once) == once
    assert canonical_bytes(once) == canonical_bytes(value)


@given(json_values)
def test_canonical_form_reads_back_as_itself(value):
    data = canonical_bytes(value)
    assert canonical_bytes(parse_json(data)) == data


_numbers = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(2**53) + 1, 2**53 - 1),
    st.integers(-400, 400).map(float),
    st.integers(-30, 30).map(lambda exponent: 1.5 * 10.0**exponent),
)
_texts = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('\x00\x1f\x7f"\\/\u2028\uffee😀:,[1.0e]'))
_written = st.recursive(
    _numbers | _texts | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_texts, inner, max_size=4),
)


@given(_written)
@example({"\uffee": 1, "😀": 2})
@example([-0.0, 1.0, 1e16, 1e20, 1e21, 1e-5, 1e-7, 123456789012345.6, 0.1, -9007199254740991])
def test_canonical_form_is_that_of_rfc_8785(value):
    assert canonical_bytes(value) == rfc8785.dumps(value)


@pytest.mark.parametrize("value", [{"a": [2**53]}, [-(2**53)], {"a": float("nan")}, [float("inf")], {"a": "\ud800"}])
def test_what_rfc_8785_refuses_is_refused(value):
    with pytest.raises(InputInvalid):
        canonical_bytes(value)


def test_rfc_8785_example_of_section_3_2_4():
    source = (
        '{"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],'
        '"string": "\\u20ac$\\u000F\\u000aA\'\\u0042\\u0022\\u005c\\\\\\"\\/", "literals": [null, true, false]}'
    )
    expected = (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )
    assert canonical_bytes(json.loads(source)).decode() == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": {"b": [9007199254740992]}}', r"/a/b/0: integer 9007199254740992"),
        ('{"a": 1e20}', r"/a: integer 1e\+20 is beyond"),
        ('{"a": NaN}', "NaN is not JSON"),
        ('{"a": 1e999}', "/a: inf is not JSON"),
        ('{"a": 1, "a": 2}', "'a' stands twice"),
        ('"\\ud800"', "lone surrogate"),
        ("[" * 100_000, "nested deeper"),
        ("[" * 40 + "]" * 40, "nested deeper"),
        ("{", "not JSON"),
        ('{"a\\u0000b": 1}', "NUL"),
    ],
)
def test_value_that_canonical_json_cannot_hold_is_refused(text, said):
    with pytest.raises(InputInvalid, match=said):
        parse_json(text)


def test_invalid_utf8_is_refused():
    with pytest.raises(InputInvalid, match="not UTF-8 at byte 1"):
        parse_json(b'"\xff"')
