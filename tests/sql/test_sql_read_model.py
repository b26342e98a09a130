"""Read models in SQL, on every database there is: rows equal the fold, whatever comes how often and in which order."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, create_engine, select

from oncelog import Event, InputInvalid
from oncelog.composition.read_models import ReadModelServices, event_services_of, services_of
from oncelog.domain.dead_letters import DeadLetterKind
from oncelog.ports import Changes
from oncelog.sql import Add, Put, Remove, SqlReadModel
from oncelog.sql.changes import ChangeBuffer, check_change
from oncelog.sql.models import SqlEventModel, SqlStateModel
from oncelog.testing.memory.kafka import MemoryGroup
from stack import Stack
from tests.commands import delete
from tests.contract.chains import PLACE, chain, event_of, state_at
from tests.projector.world import Stream
from tests.sql.views import counters, events_per_month, metadata, product_table, products


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    """The URL of a server of this module's own."""
    with Stack.temporary(["postgresql"]) as stack:
        yield stack.server("postgresql").address.replace("postgresql://", "postgresql+psycopg://")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.integration)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'views.sqlite'}"
    found: str = request.getfixturevalue("postgresql")
    engine = create_engine(found)
    with engine.begin() as connection:
        metadata.drop_all(connection)
        connection.exec_driver_sql("DROP TABLE IF EXISTS oncelog_positions")
    engine.dispose()
    return found


@pytest.fixture
def world() -> Stream:
    return Stream()


@pytest.fixture
async def counting(world: Stream, url: str) -> AsyncIterator[ReadModelServices]:
    model = SqlEventModel(counters(url), world.ports())
    await model.prepare()
    yield event_services_of(model, world.ports(), by="projector")
    await model.close()


@pytest.fixture
async def tabulating(world: Stream, url: str) -> AsyncIterator[ReadModelServices]:
    model = SqlStateModel(product_table(url))
    await model.prepare()
    yield services_of(model, world.ports(), by="projector")
    await model.close()


def rows_of(url: str, table: Table) -> list[tuple[Any, ...]]:
    engine = create_engine(url)
    with engine.connect() as connection:
        found = [tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key))]
    engine.dispose()
    return found


def fold(events: Sequence[Event]) -> list[tuple[Any, ...]]:
    """Return the counters of these events, each once."""
    numbers, totals = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for event in {event.event_id: event for event in events}.values():
        key = (str(event.event_type), event.occurred_at[:7])
        numbers[key] += 1
        totals[key] += event.data.get("n", 0)
    return [(*key, numbers[key], totals[key]) for key in sorted(numbers)]


async def test_counters_equal_the_fold(world: Stream, counting: ReadModelServices, url: str):
    chains = [chain(number + 1, f"p{number}") for number in range(20)]
    events = [event for one in chains for event in one]
    await world.told(events)
    async with world.projector(services=counting, batch_messages_max=7):
        await world.caught_up()
    assert rows_of(url, events_per_month) == fold(events)


async def test_lost_offsets_and_duplicates_change_no_counter(world: Stream, counting: ReadModelServices, url: str):
    events = [*chain(5), *chain(2, "p2")]
    await world.told(events)
    for _ in range(2):
        world.group = MemoryGroup(world.publisher)
        await world.send(events[2:4])
        async with world.projector(services=counting):
            await world.caught_up()
    assert rows_of(url, events_per_month) == fold(events)


async def test_a_gap_is_read_from_the_log(world: Stream, counting: ReadModelServices, url: str):
    events = chain(5)
    await world.write(events)
    await world.send([events[4], events[1]])
    async with world.projector(services=counting):
        await world.caught_up()
    assert rows_of(url, events_per_month) == fold(events)


async def test_two_projectors_of_one_aggregate_count_once(world: Stream, url: str):
    events = chain(6)
    await world.write(events)
    models = [SqlEventModel(counters(url), world.ports()) for _ in range(4)]
    for model in models:
        await model.prepare()
    changes = [Changes(str(PLACE), 1, number, dict(enumerate(events, 1))) for number in range(1, 7)]
    outcomes = await asyncio.gather(*(model.project_events([each]) for each in changes for model in models))
    assert [each for outcome in outcomes for each in outcome] == [None] * 24
    assert rows_of(url, events_per_month) == fold(events)
    for model in models:
        await model.close()


async def test_lost_position_counts_all_events_again(world: Stream, url: str):
    events = chain(4)
    await world.write(events)
    model = SqlEventModel(counters(url), world.ports())
    await model.prepare()
    assert await model.project_events([Changes(str(PLACE), 1, 3, dict(enumerate(events[:3], 1)))]) == [None]
    engine = create_engine(url)
    with engine.begin() as connection:  # an operator begins anew, while the process remembers where it was
        connection.exec_driver_sql("DELETE FROM oncelog_positions")
        connection.exec_driver_sql("DELETE FROM events_per_month")
    engine.dispose()
    assert await model.project_events([Changes(str(PLACE), 4, 4, {4: events[3]})]) == [None]
    assert rows_of(url, events_per_month) == fold(events)
    await model.close()


async def test_repeated_first_event_is_not_counted_again(world: Stream, url: str):
    first, later = SqlEventModel(counters(url), world.ports()), SqlEventModel(counters(url), world.ports())
    events = [event for number in range(6) for event in chain(1, f"p{number}")]
    await world.write(events)
    await first.prepare()
    changes = [Changes(event.aggregate_id, 1, 1, {1: event}) for event in events]
    assert await first.project_events(changes[2:]) == [None] * 4
    for some in (changes[:2], changes[1:4], changes):  # new ones first, so that it expects more of them
        assert await later.project_events(some) == [None] * len(some)
    assert rows_of(url, events_per_month) == fold(events)
    await first.close()
    await later.close()


async def test_failing_event_parks_and_skip_goes_on(world: Stream, counting: ReadModelServices, url: str):
    bad = [*chain(2, "p1"), *chain(1, "p2")]
    third = event_of(state_at(bad[:2]), _update({"n": "bad"}))
    fourth = event_of(state_at([*bad[:2], third]), _update({"n": 7}))
    await world.told([*bad, third, fourth])
    async with world.projector(services=counting):
        await world.caught_up()
    assert rows_of(url, events_per_month) == fold(bad)
    (letter,) = await counting.last_dead_letters()
    assert (letter.code, letter.sequence_number) == ("HandlerFailed", 3)
    assert await counting.read_model.projected_versions([PLACE]) == [2]
    assert (await counting.dead_letter_service.skip(PLACE, by="op", reason="bad")).kind is DeadLetterKind.RESOLVED
    assert await counting.read_model.projected_versions([PLACE]) == [4]
    assert rows_of(url, events_per_month) == fold([*bad, fourth])


def _update(data: dict[str, Any]) -> Any:
    from tests.commands import update

    return update("p1", data)


async def test_rows_are_those_of_the_newest_document(world: Stream, tabulating: ReadModelServices, url: str):
    events = chain(3)
    gone = event_of(state_at(events), delete())
    await world.told([*events, gone, *chain(2, "p2"), *chain(1, "p3")])
    async with world.projector(services=tabulating):
        await world.caught_up()
    assert rows_of(url, products) == [
        ("shop/Product/p1", None, True),
        ("shop/Product/p2", 1, False),
        ("shop/Product/p3", 0, False),
    ]
    model = tabulating.read_model
    assert isinstance(model, SqlStateModel)
    assert await model.project_states([state_at(events)]) == [None]  # late
    assert rows_of(url, products)[0] == ("shop/Product/p1", None, True)
    assert await model.projected_versions([PLACE]) == [4]


things = Table(
    "things", MetaData(), Column("id", String(9), primary_key=True), Column("a", Integer), Column("b", Integer)
)


def test_changes_keep_their_order(tmp_path: Path):
    engine = create_engine(f"sqlite:///{tmp_path / 'things.sqlite'}")
    things.metadata.create_all(engine)
    buffer = ChangeBuffer()
    for change in (
        Put(things, {"id": "x"}, {"a": 1}),
        Add(things, {"id": "x"}, {"a": 2}),
        Add(things, {"id": "x"}, {"a": 3}),
        Put(things, {"id": "y"}, {"a": 1, "b": 1}),
        Remove(things, {"id": "y"}),
        Put(things, {"id": "y"}, {"b": 5}),
        Put(things, {"id": "z"}, {"a": 1, "b": 1}),
        Remove(things, {"id": "z"}),
    ):
        buffer.add(change)
    with engine.begin() as connection:
        buffer.execute(connection)
        assert sorted(tuple(row) for row in connection.execute(select(things))) == [("x", 6, None), ("y", None, 5)]
    engine.dispose()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (Add(things, {}, {"a": 1}), r"expected a key of the primary key's columns \['id'\], found \[\]"),
        (Put(things, {"id": "x"}, {"c": 1}), r"expected values of other columns of it, found \['c'\]"),
        (Put(things, {"id": "x"}, {"id": "y"}), r"expected values of other columns of it, found \['id'\]"),
    ],
)
def test_change_that_does_not_fit_is_refused(change: Add | Put, problem: str):
    with pytest.raises(InputInvalid, match=problem):
        check_change(change)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"name": "documents", "changes": list}, "expected a name"),
        ({"name": "x"}, "expected either changes or rows"),
        ({"name": "x", "rows": list}, "expected one table, with a column aggregate_id"),
    ],
)
def test_definition_that_does_not_fit_is_refused(options: dict[str, Any], problem: str):
    with pytest.raises(InputInvalid, match=problem):
        SqlReadModel(url="sqlite://", tables=[things], **options)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("nothing", "Could not parse"),
        ("mysql+nothing://x", "Can't load plugin"),
        ("oracle://u:secret@h", "cx_Oracle|oracledb"),
    ],
)
async def test_unknown_database_is_refused(world: Stream, url: str, problem: str):
    with pytest.raises(InputInvalid, match=problem) as refused:
        SqlEventModel(counters(url), world.ports())
    assert "secret" not in refused.value.message
