"""The bounds of JSON input: work in proportion to its size, exact numbers, and IDs that can be seen."""

import json
import math
import tracemalloc
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from oncelog.domain.canonical import (
    _unique_keys,
    canonical_bytes,
    check_json,
    normalised,
    parse_json,
    parse_stored,
    parse_unchecked,
)
from oncelog.domain.commands import parse_command
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.limits import (
    DEPTH_MAX,
    FINDINGS_MAX,
    INDEXED_BYTES_MAX,
    LEAF_BYTES,
    METADATA_BYTES_MAX,
    STORED_DEPTH_MAX,
    TEXT_BYTES_MAX,
)
from oncelog.errors import InputInvalid

MEMORY_BYTES_MAX = 64 * 1024**2


def under_long_keys(values: int) -> dict[str, Any]:
    """Return 28 nested objects of one long key each, around an array of small integers."""
    data: Any = [number % 10 for number in range(values)]
    for _ in range(28):
        data = {"k" * 512: data}
    found: dict[str, Any] = data
    return found


def nested(levels: int) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for _ in range(levels):
        data = {"n": data}
    return data


def test_long_keys_above_many_values_are_refused():
    with pytest.raises(InputInvalid, match=f"at most {INDEXED_BYTES_MAX} bytes to index"):
        normalised(under_long_keys(50_000))
    assert normalised(under_long_keys(250)) == under_long_keys(250)


def test_number_of_tiny_values_is_bounded():
    most = INDEXED_BYTES_MAX // (LEAF_BYTES + 2)
    assert normalised({"a": [1] * most}) == {"a": [1] * most}
    with pytest.raises(InputInvalid, match=f"for each value {LEAF_BYTES}"):
        normalised({"a": [1] * (most + 1)})


def test_checking_costs_memory_in_proportion_to_the_input():
    value = under_long_keys(100_000)
    tracemalloc.start()
    check_json(value)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < MEMORY_BYTES_MAX


def test_largest_flat_data_is_accepted():
    flat = {f"k{number}": "x" * 90 for number in range(10_000)}
    assert TEXT_BYTES_MAX * 0.9 < len(canonical_bytes(flat)) < TEXT_BYTES_MAX
    assert normalised(flat) == flat


class Name(str):
    """A key that counts how often keys were compared."""

    compared = 0
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        Name.compared += 1
        return str.__eq__(self, other)


def test_repeated_key_is_found_in_linear_time():
    names = [Name(f"k{number}") for number in range(5_000)]
    with pytest.raises(InputInvalid, match="'k4999' stands twice"):
        parse_json("{" + ",".join(f'"{name}":1' for name in [*names, "k4999"]) + "}")
    Name.compared = 0
    with pytest.raises(InputInvalid, match="'k4999' stands twice"):
        _unique_keys([(name, 1) for name in [*names, Name("k4999")]])
    assert Name.compared < 2 * len(names)


@pytest.mark.parametrize(
    "text",
    [
        "0.1234567890123456789",
        "1e-400",
        "-1e-400",
        "123456789012345678.5",
        "0.30000000000000001",
        "0.100000000000000010",
    ],
)
def test_inexact_number_is_refused(text: str):
    with pytest.raises(InputInvalid, match="send it as a string"):
        parse_json(f'{{"n":{text}}}')


@pytest.mark.parametrize(
    "text",
    [
        "0.1",
        "1e2",
        "1.50",
        "12345678.5",
        "1e300",
        "0.30000000000000004",
        "5e-324",
        "-0.0",
        "0.10000000000000001",
        "12345678.50000000000000000",
    ],
)
def test_exact_number_is_accepted(text: str):
    assert parse_json(f'{{"n":{text}}}') == {"n": float(text)}


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 16))
def test_a_double_in_any_print_of_c_is_accepted(number: float, fraction_digits: int):
    text = f"{number:.{fraction_digits}e}"
    assume(math.isfinite(float(text)))  # the largest ones are rounded beyond all doubles
    assert parse_unchecked(text, where="number") == float(text)


def test_stored_json_may_be_deeper_than_input():
    data = nested(STORED_DEPTH_MAX - 1)
    assert parse_stored(canonical_bytes(data), where="object") == data
    with pytest.raises(InputInvalid, match=f"deeper than {DEPTH_MAX}"):
        parse_json(canonical_bytes(data))


def test_oversized_metadata_is_refused():
    fields = {"command_id": "c1", "command_type": "DELETE_INSTANCE", "db_name": "shop", "class_id": "Product"}
    with pytest.raises(InputInvalid, match=f"at most {METADATA_BYTES_MAX} bytes"):
        parse_command({**fields, "instance_id": "p1", "metadata": {"text": "x" * METADATA_BYTES_MAX}})


def test_findings_of_a_command_are_cut_and_counted():
    fields = {"command_id": "c1", "command_type": "CREATE_INSTANCE", "db_name": "shop", "class_id": "Product"}
    surplus = {"k" * 500 + str(number): 1 for number in range(5_000)}
    with pytest.raises(InputInvalid) as caught:
        parse_command({**fields, **surplus})
    assert len(caught.value.details["errors"]) == FINDINGS_MAX
    assert caught.value.details["errors_count"] == 5_000
    assert len(json.dumps([caught.value.message, caught.value.details])) < 64 * 1024


@pytest.mark.parametrize("character", ["\u3164", "\u034f", "\ufe0f", "\u2800", "\u115f", "\uffa0", "\U000e0100"])
def test_invisible_instance_id_is_refused(character: str):
    fields = {"command_id": "c1", "command_type": "CREATE_INSTANCE", "db_name": "shop", "class_id": "Product"}
    with pytest.raises(InputInvalid, match="invisible character"):
        parse_command({**fields, "instance_id": f"a{character}b"})


def test_earlier_invisible_instance_id_stays_readable():
    assert AggregateId.parse("shop/Product/a%E3%85%A4b").instance_id == "a\u3164b"
