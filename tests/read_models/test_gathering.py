"""Many small writes become few large ones, and each caller hears of its own."""

import asyncio
from collections.abc import Sequence

import pytest

from oncelog.domain.identifiers import AggregateId
from oncelog.domain.instance import Instance
from oncelog.errors import InputInvalid, StoreUnavailable
from oncelog.ports.read_models import ProjectionStatus
from oncelog.read_models.batching import BatchedReadModel
from oncelog.read_models.document import document_of
from tests.contract.chains import chain, state_at


class Recording:
    """A ``ReadModel`` that keeps its batches, and may hold them up or refuse."""

    name = "recording"

    def __init__(self) -> None:
        self.batches: list[list[Instance]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.refused: dict[tuple[str, int], Exception] = {}
        self.failure: Exception | None = None

    async def project_states(self, states: Sequence[Instance]) -> Sequence[Exception | None]:
        self.batches.append(list(states))
        await self.gate.wait()
        if self.failure:
            raise self.failure
        return [self.refused.get((state.aggregate_id, state.sequence_number)) for state in states]

    async def projected_versions(self, _: Sequence[AggregateId]) -> Sequence[int]:
        raise AssertionError("a write reads no positions")

    async def projection_statuses(self, _: Sequence[AggregateId]) -> Sequence[ProjectionStatus]:
        raise AssertionError("a write reads no statuses")


def state(instance_id: str = "p1", version: int = 1) -> Instance:
    return Instance(aggregate_id=f"shop/Product/{instance_id}", sequence_number=version, data={"n": version})


async def _settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_one_state_leaves_at_once():
    store = Recording()
    await BatchedReadModel(store).project(state())
    assert store.batches == [[state()]]


async def test_what_comes_the_moment_a_flight_ends_finds_another():
    store = Recording()
    batched = BatchedReadModel(store, in_flight_max=1)
    async with asyncio.timeout(60):
        for version in (1, 2, 3):
            await batched.project(state(version=version))
    assert store.batches == [[state(version=1)], [state(version=2)], [state(version=3)]]


async def test_what_comes_meanwhile_goes_together():
    store = Recording()
    store.gate.clear()
    batched = BatchedReadModel(store, in_flight_max=1)
    first = asyncio.create_task(batched.project(state("p0")))
    await _settled()
    others = [asyncio.create_task(batched.project(state(f"p{number}"))) for number in range(1, 9)]
    await _settled()
    assert not any(task.done() for task in (first, *others))
    store.gate.set()
    await asyncio.gather(first, *others)
    assert [len(batch) for batch in store.batches] == [1, 8]


async def test_newest_state_of_an_aggregate_is_sent_for_all_callers():
    store = Recording()
    batched = BatchedReadModel(store)
    await asyncio.gather(*(batched.project(state("p1", version)) for version in (2, 3, 1)))
    assert store.batches == [[state("p1", 3)]]


async def test_batches_are_bounded_in_number():
    store = Recording()
    batched = BatchedReadModel(store, states_max=3, in_flight_max=1)
    await asyncio.gather(*(batched.project(state(f"p{number}")) for number in range(7)))
    assert [len(batch) for batch in store.batches] == [3, 3, 1]


async def test_one_that_is_refused_holds_up_no_other():
    store = Recording()
    refusal = InputInvalid("never")
    store.refused = {(state("p1").aggregate_id, 1): refusal}
    batched = BatchedReadModel(store)
    bad, good = await asyncio.gather(batched.project(state("p1")), batched.project(state("p2")), return_exceptions=True)
    assert (bad, good) == (refusal, None)


async def test_unwritable_newest_state_leaves_the_one_before():
    store = Recording()
    refusal = InputInvalid("never")
    store.refused = {(state().aggregate_id, 2): refusal}
    batched = BatchedReadModel(store)
    older, newer = await asyncio.gather(
        batched.project(state(version=1)), batched.project(state(version=2)), return_exceptions=True
    )
    assert (older, newer) == (None, refusal)
    assert store.batches == [[state(version=2)], [state(version=1)]]


@pytest.mark.parametrize("failure", [StoreUnavailable("E", "writing", "down"), ValueError("a defect")])
async def test_failed_batch_fails_its_callers_and_the_next_proceeds(failure: Exception):
    store = Recording()
    store.failure = failure
    batched = BatchedReadModel(store)
    told = await asyncio.gather(*(batched.project(state(name)) for name in ("p1", "p2")), return_exceptions=True)
    assert told == [failure, failure]
    store.failure = None
    await batched.project(state())


async def test_a_caller_that_gives_up_changes_nothing_for_the_others():
    store = Recording()
    store.gate.clear()
    batched = BatchedReadModel(store)
    leaving, staying = (asyncio.create_task(batched.project(state("p1", version))) for version in (1, 2))
    await _settled()
    leaving.cancel()
    store.gate.set()
    await staying
    assert leaving.cancelled()


async def test_closing_waits_for_what_is_under_way_and_takes_no_more():
    store = Recording()
    store.gate.clear()
    batched = BatchedReadModel(store)
    writing = asyncio.create_task(batched.project(state()))
    await _settled()
    closing = asyncio.create_task(batched.close())
    await _settled()
    assert not closing.done()
    with pytest.raises(RuntimeError, match="closed"):
        await batched.project(state("p2"))
    store.gate.set()
    await asyncio.gather(writing, closing)


def test_a_document_is_the_whole_state():
    events = chain(2, name="Lamp")
    found = document_of(state_at(events))
    assert (found.sequence_number, str(found.aggregate_id)) == (2, "shop/Product/p1")
    assert found.body == {
        "aggregate_id": "shop/Product/p1",
        "db_name": "shop",
        "class_id": "Product",
        "instance_id": "p1",
        "sequence_number": 2,
        "schema_version": events[-1].schema_version,
        "event_id": events[-1].event_id,
        "deleted": False,
        "created_at": events[0].occurred_at,
        "updated_at": events[-1].occurred_at,
        "data": {"name": "Lamp", "n": 1},
    }


def test_nothing_has_no_document():
    with pytest.raises(ValueError, match="found none"):
        document_of(Instance(aggregate_id="shop/Product/p1"))
