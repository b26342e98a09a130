"""A reaction in memory: which commands it starts, whatever the stream does, and how it fails."""

from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import NAMESPACE_URL, uuid5

import pytest

from oncelog import Command, Event, InputInvalid, NewCommand, Reaction, StoreUnavailable
from oncelog.client.reactions import dry_run
from oncelog.composition.own_code import load_object
from oncelog.composition.read_models import ReadModelServices, event_services_of
from oncelog.domain.dead_letters import DeadLetterKind
from oncelog.domain.identifiers import AggregateId
from oncelog.reactions.model import ReactionModel
from oncelog.testing.memory.kafka import MemoryGroup
from tests.contract.chains import PLACE, chain
from tests.projector.world import Stream
from tests.reactions.shipments import shipments


class Started:
    """Temporal as a reaction sees it: commands by their IDs, each as it was started first."""

    def __init__(self) -> None:
        self.commands: dict[str, Command] = {}
        self.calls = 0
        self.outages = 0

    async def start(self, command: Command) -> None:
        self.calls += 1
        if self.outages:
            self.outages -= 1
            raise StoreUnavailable("Temporal in memory", "starting", "made unavailable")
        assert self.commands.setdefault(command.command_id, command) == command


@pytest.fixture
def world() -> Stream:
    return Stream()


@pytest.fixture
def started() -> Started:
    return Started()


def services_of_reaction(world: Stream, started: Started, reaction: Reaction = shipments) -> ReadModelServices:
    ports = world.ports()
    return event_services_of(ReactionModel(reaction, ports, start=started.start), ports, by="reactor")


async def react(world: Stream, started: Started, reaction: Reaction = shipments) -> None:
    """Run a reactor until every message is committed."""
    async with world.projector(services=services_of_reaction(world, started, reaction)):
        await world.caught_up()


async def test_each_event_starts_its_commands_once(world: Stream, started: Started):
    await world.told([*chain(3, parcels=2), *chain(1, "p2")])
    await react(world, started)
    assert len(started.commands) == 3
    world.group = MemoryGroup(world.publisher)  # its offsets are lost
    await world.send(chain(2, parcels=2))  # late duplicates
    await react(world, started)
    assert len(started.commands) == 3
    assert started.calls > 3


def test_command_ids_follow_from_event_name_and_index():
    (event,) = chain(1, parcels=2)
    first, second = shipments.commands_of(event)
    namespace = uuid5(NAMESPACE_URL, "urn:oncelog")
    assert first.command_id == str(uuid5(namespace, f"reaction/shipments/{event.event_id}/0"))
    assert second.command_id == str(uuid5(namespace, f"reaction/shipments/{event.event_id}/1"))
    assert first.causation_id == event.event_id
    assert first.correlation_id == event.command_id
    assert first.actor == "reaction shipments"


async def test_outage_of_temporal_is_waited_for(world: Stream, started: Started):
    started.outages = 3
    await world.told(chain(1))
    await react(world, started)
    assert len(started.commands) == 1


async def test_failing_event_parks_its_aggregate_only(world: Stream, started: Started):
    broken = True

    def ship(event: Event) -> Iterator[NewCommand]:
        if broken and event.aggregate_id == str(PLACE) and event.sequence_number == 2:
            raise ValueError("no address")
        yield NewCommand(command_type="CREATE_INSTANCE", db_name="shop", class_id="Shipment")

    reaction = Reaction("ship", ship, classes=["shop/Product"])
    await world.told([*chain(3), *chain(2, "p2")])
    await react(world, started, reaction)
    assert len(started.commands) == 1 + 2
    services = services_of_reaction(world, started, reaction)
    (letter,) = await services.last_dead_letters()
    assert (letter.kind, letter.code, letter.sequence_number) == (DeadLetterKind.PARKED, "HandlerFailed", 2)
    assert "ValueError: no address" in letter.reason
    broken = False
    assert (await services.dead_letter_service.retry(PLACE, by="op")).kind is DeadLetterKind.RESOLVED
    assert len(started.commands) == 3 + 2


async def test_skipped_event_is_left_out_alone(world: Stream, started: Started):
    def ship(event: Event) -> Iterator[NewCommand]:
        if event.sequence_number == 2:
            raise ValueError("no address")
        yield NewCommand(command_type="CREATE_INSTANCE", db_name="shop", class_id="Shipment")

    reaction = Reaction("ship", ship)
    await world.told(chain(4))
    await react(world, started, reaction)
    assert len(started.commands) == 1
    services = services_of_reaction(world, started, reaction)
    letter = await services.dead_letter_service.skip(PLACE, by="op", reason="obsolete")
    assert letter.kind is DeadLetterKind.RESOLVED
    assert len(started.commands) == 3


async def test_paused_aggregate_is_caught_up_by_resume(world: Stream, started: Started):
    services = services_of_reaction(world, started)
    await services.dead_letter_service.pause(PLACE, by="op", reason="stock-taking")
    await world.told([*chain(2), *chain(1, "p2")])
    await react(world, started)
    assert len(started.commands) == 1
    await services.dead_letter_service.resume(PLACE, by="op")
    assert len(started.commands) == 2


async def test_events_before_since_are_left_alone(world: Stream, started: Started):
    await world.told(chain(2))
    reaction = Reaction("ship", lambda _: [_none()], since=datetime(2026, 6, 1, tzinfo=UTC))
    await react(world, started, reaction)
    assert not started.commands


def _none() -> NewCommand:
    return NewCommand(command_type="CREATE_INSTANCE", db_name="shop", class_id="Shipment")


async def test_dry_run_lists_commands_and_failures(world: Stream, started: Started):
    def ship(event: Event) -> Iterator[NewCommand]:
        if event.aggregate_id.endswith("p2"):
            raise ValueError("no address")
        yield _none()

    await world.told([*chain(2), *chain(1, "p2")])
    outcomes = [outcome async for outcome in dry_run(Reaction("ship", ship), world.ports())]
    assert [(str(each.event.aggregate), len(each.commands), bool(each.failure)) for each in outcomes] == [
        ("shop/Product/p1", 1, False),
        ("shop/Product/p1", 1, False),
        ("shop/Product/p2", 0, True),
    ]
    assert not started.commands


def test_invalid_command_names_its_problem():
    reaction = Reaction("ship", lambda _: [NewCommand(command_type="CREATE_INSTANCE", db_name="shop", class_id="1")])
    with pytest.raises(InputInvalid, match="class_id"):
        list(reaction.commands_of(chain(1)[0]))


@pytest.mark.parametrize("name", ["", "a/b", "1st", "x" * 64])
def test_reaction_needs_a_name(name: str):
    with pytest.raises(InputInvalid, match="reaction: name: expected a letter"):
        Reaction(name, lambda _: [])


def test_reaction_is_loaded_by_its_path():
    assert load_object("tests.reactions.shipments:shipments", Reaction) is shipments


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("shipments", "expected module:object"),
        ("tests.reactions.nothing:x", "No module named"),
        ("tests.reactions.shipments:nothing", "no attribute"),
        ("tests.reactions.shipments:ship", "expected a Reaction, found function"),
    ],
)
def test_path_that_names_no_reaction_is_refused(path: str, problem: str):
    with pytest.raises(InputInvalid, match=problem):
        load_object(path, Reaction)


def test_aggregates_are_those_of_the_scope():
    assert shipments.scope.covers(AggregateId.parse("shop/Product/p1"))
    assert not shipments.scope.covers(AggregateId.parse("shop/Shipment/p1"))
