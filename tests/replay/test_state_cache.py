"""The states that a process keeps in memory are bounded by number and by size."""

from oncelog.domain.identifiers import AggregateId
from oncelog.domain.instance import Instance
from oncelog.replay.stream_reader import LARGEST_STATE_BYTES, MEMORY_BYTES_MAX, StateCache


def filled(cache: StateCache, data: dict[str, object], count: int) -> StateCache:
    for number in range(count):
        aggregate_id = AggregateId.of("shop", "Product", f"p{number}")
        cache.put(aggregate_id, Instance(aggregate_id=str(aggregate_id), data=data))
    return cache


def test_ordinary_states_are_kept_up_to_their_number():
    data: dict[str, object] = {f"member {number}": "an ordinary text" for number in range(20)}
    assert len(filled(StateCache(aggregates_max=1_000), data, 2_000)) == 1_000


def test_large_states_are_kept_up_to_their_memory():
    large: dict[str, object] = {"all": ["x" * 90] * 10_000}
    cache = filled(StateCache(aggregates_max=1_000), large, 100)
    assert 0 < len(cache) * LARGEST_STATE_BYTES <= MEMORY_BYTES_MAX
    assert cache.get(AggregateId.of("shop", "Product", "p99")) is not None


def test_one_large_state_is_kept_in_the_smallest_cache():
    assert len(filled(StateCache(aggregates_max=1), {"all": ["x" * 90] * 10_000}, 3)) == 1
