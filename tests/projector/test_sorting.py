"""A batch comes to the same work, however the stream repeated, reordered and spoiled it."""

from hypothesis import given
from hypothesis import strategies as st

from oncelog.domain.identifiers import AggregateId
from oncelog.ports import UNPUBLISHED, Delivery
from oncelog.read_models.projector.fold import Folder
from oncelog.read_models.projector.group import group_by_aggregate
from oncelog.stores.kafka.messages import headers_of
from oncelog.testing.memory.s3 import MemoryBucket, MemoryEventLog, MemorySnapshots
from tests.contract.chains import chain, state_at

CHAINS = {f"p{number}": chain(6, f"p{number}") for number in range(3)}
EVENTS = [event for events in CHAINS.values() for event in events]

spoiled = st.sampled_from([None, b"", b"{", b"\xff", EVENTS[0].canonical.replace(b"shop", b"ship")])
deliveries = st.lists(
    st.tuples(st.sampled_from(EVENTS), st.one_of(st.just("whole"), spoiled), st.booleans()), min_size=1, max_size=30
)


def _delivery(offset: int, event, value, named) -> Delivery:
    headers = headers_of(event) if named else []
    body = event.canonical if value == "whole" else value
    return Delivery(0, offset, event.aggregate_id.encode(), headers, body, 0)


@given(deliveries, st.integers(0, 6))
def test_every_message_is_accounted_for_and_nothing_new_is_lost(drawn, projected: int):
    batch = [_delivery(offset, *each) for offset, each in enumerate(drawn)]
    found = group_by_aggregate(batch, projected=lambda _: projected)
    assert found.skipped + sum(work.messages for work in found.work.values()) == len(batch)
    for work in found.work.values():
        assert all(number > projected for number in work.events)
        assert all(event.sequence_number == number for number, event in work.events.items())
    for (event, value, named), _ in zip(drawn, batch, strict=True):
        if event.sequence_number > projected and (value == "whole" or named):
            work = found.work[event.aggregate]
            assert work.target >= event.sequence_number
        elif value != "whole" and not named:
            assert found.work[event.aggregate].target_unknown


@given(drawn=deliveries)
async def test_folding_a_batch_gives_the_state_of_the_log(drawn):
    log = MemoryEventLog(MemoryBucket())
    for event in EVENTS:
        await log.append_event(event, published_through=UNPUBLISHED)
    folder = Folder(log=log, snapshots=MemorySnapshots(MemoryBucket()), aggregates_max=2)
    half = len(drawn) // 2
    for part in (drawn[:half], drawn[half:]):
        batch = [_delivery(offset, *each) for offset, each in enumerate(part)]
        for work in group_by_aggregate(batch, projected=lambda _: 0).work.values():
            at_hand = folder.at_hand(work)
            state = at_hand or (await folder.from_log(work)).state
            assert state is not None
            events = CHAINS[work.aggregate_id.instance_key]
            assert state.sequence_number >= (6 if work.target_unknown else work.target)
            assert state == state_at(events[: state.sequence_number])


def test_a_key_that_names_no_aggregate_is_a_stray():
    for key in (None, b"", b"x", b"\xff/a/b", b"a/b/c/d", b"shop/Product/%2e"):
        found = group_by_aggregate([Delivery(0, 0, key, [], b"", 0)], projected=lambda _: 0)
        assert (found.work, len(found.unroutable)) == ({}, 1)


def test_an_event_under_anothers_key_is_not_believed():
    event = CHAINS["p1"][0]
    found = group_by_aggregate(
        [Delivery(0, 0, b"shop/Product/p2", headers_of(event), event.canonical, 0)], projected=lambda _: 0
    )
    assert found.work[AggregateId.parse("shop/Product/p2")].events == {}
