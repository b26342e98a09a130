"""An event is read by hashing its own bytes, and by the long way where that says nothing; both say the same."""

import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from oncelog.domain import events
from oncelog.domain.canonical import canonical_bytes
from oncelog.domain.events import checksum_of, read_event, sealed_event
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.limits import INTEGER_MAX
from oncelog.errors import EventFromFuture, InputInvalid, LogDamaged
from tests.contract.chains import chain
from tests.domain.strategies import json_objects

EVENT = chain(2, text='a,"checksum":"b', nested={"checksum": "0" * 64})[1]


def resealed(**more: object):
    return sealed_event(**{**EVENT.model_dump(exclude={"checksum"}), **more})


@given(json_objects, st.one_of(st.none(), st.text(max_size=20)))
def test_an_event_reads_back_as_it_was_sealed(data, actor):
    event = resealed(data=data, actor=actor)
    found = events._as_sealed(event.canonical)
    assert found == read_event(event.canonical, where="here") == event, "the short way is taken"
    assert repr(found.data) == repr(json.loads(event.canonical)["data"]), (
        "every number as the standard library reads it"
    )


@given(st.integers(0, len(EVENT.canonical) - 1), st.integers(1, 255))
def test_no_altered_byte_is_ever_believed(position: int, change: int):
    altered = bytearray(EVENT.canonical)
    altered[position] ^= change
    with pytest.raises(LogDamaged):
        read_event(bytes(altered), where="here")


def test_another_form_of_the_same_event_is_read_the_long_way():
    spread = json.dumps(json.loads(EVENT.canonical), indent=2).encode()
    assert events._as_sealed(spread) is None
    assert read_event(spread, where="here") == EVENT


def test_nested_member_called_checksum_does_not_mislead():
    event = resealed(aaa={"z": 1, "checksum": "f" * 64})
    assert read_event(event.canonical, where="here") == event


@given(st.text(alphabet=st.sampled_from("ab1.~_-%2eE/ ä"), min_size=1, max_size=12))
def test_a_plain_name_is_read_as_any_other(key: str):
    """The short way for names that need no encoding must accept what the long way does, and nothing else."""
    text = f"shop/Product/{key}"
    try:
        found = AggregateId.parse(text)
    except InputInvalid:
        return
    assert AggregateId.of("shop", "Product", found.instance_id) == found
    assert str(found) == text


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(-INTEGER_MAX, INTEGER_MAX), st.text())
def test_values_are_read_as_the_standard_library_reads_them(number: float, whole: int, text: str):
    assume(not number.is_integer() or abs(number) <= INTEGER_MAX or abs(number) >= 1e21)
    written = resealed(data={"n": number, "i": whole, "t": text}).canonical
    assert repr(read_event(written, where="here").data) == repr(json.loads(written)["data"])


def test_event_of_a_future_release_is_told_from_damage():
    for changes in ({"event_type": "INSTANCE_CLONED"}, {"schema_version": "9.0.0"}):
        fields = {**json.loads(EVENT.canonical), **changes}
        fields["checksum"] = checksum_of(fields)
        assert events._as_sealed(canonical_bytes(fields)) is None
        with pytest.raises(EventFromFuture):
            read_event(canonical_bytes(fields), where="here")
