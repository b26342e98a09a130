"""``ReadModel``: a function of each aggregate's events, whatever is shown to it in which order and how often."""

from itertools import permutations

import pytest

from oncelog.domain.identifiers import AggregateId
from oncelog.ports import ReadModel
from oncelog.read_models.documents_model import DocumentsModel
from tests.commands import delete
from tests.contract.chains import PLACE, chain, event_of, state_at
from tests.contract.conftest import Opened


@pytest.fixture
def read_model(opened: Opened) -> ReadModel:
    return DocumentsModel(opened.ports.documents)


async def test_what_is_shown_last_by_number_is_what_counts(read_model: ReadModel):
    for number, order in enumerate(permutations(range(3))):
        events = chain(3, f"p{number}")
        for index in order:
            assert await read_model.project_states([state_at(events[: index + 1])]) == [None]
        assert await read_model.projected_versions([AggregateId.parse(f"shop/Product/p{number}")]) == [3]


async def test_a_batch_may_be_of_any_size_and_answers_one_by_one(read_model: ReadModel):
    states = [state_at(chain(2, f"p{number}")) for number in range(10)]
    assert await read_model.project_states([]) == []
    assert await read_model.project_states([*states, *states]) == [None] * 20
    places = [AggregateId.parse(state.aggregate_id) for state in states]
    assert await read_model.projected_versions([*places, AggregateId.parse("shop/Product/none")]) == [*[2] * 10, 0]


async def test_a_deletion_has_a_position_too(read_model: ReadModel):
    assert await read_model.projected_versions([PLACE]) == [0]
    events = chain(1)
    gone = state_at([*events, event_of(state_at(events), delete())])
    assert await read_model.project_states([gone, state_at(events)]) == [None, None]
    assert await read_model.projected_versions([PLACE]) == [2]
