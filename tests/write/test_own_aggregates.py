"""Commands of aggregates of one's own, through the real command path on servers in memory."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from oncelog.domain.aggregates import DecisionContext, DomainCommand, own_event, own_state, registered
from oncelog.domain.commands import Command, parse_command
from oncelog.domain.events import read_event
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.records import read_record
from oncelog.domain.results import Outcome, RejectionCode
from oncelog.errors import AggregateDefect, EventFromFuture, InputInvalid
from oncelog.write import event_writer
from tests.bulks import bulk_create, item
from tests.commands import create, update
from tests.own_domain import ACCOUNT, LATER_ACCOUNT, Account, Deposited, Withdrawn, account_command
from tests.write.bulks import check_results, run_bulk
from tests.write.world import Process, World

A1 = AggregateId.of("shop", "Account", "a1")


@pytest.fixture
def world() -> Iterator[World]:
    with registered(ACCOUNT):
        yield World()


async def die_after_record(step: str) -> None:
    if step == "record":
        raise RuntimeError("the worker died")


async def test_own_command_makes_its_event_and_document(world: World):
    process = world.process()
    results = [
        await process.run(account_command("DEPOSIT", 10)),
        await process.run(account_command("WITHDRAW", 3, expected_version=1)),
    ]
    assert [result.sequence_number for result in results] == [1, 2]
    (events,) = world.check().values()
    assert [(event.event_type, event.schema_version) for event in events] == [
        ("DEPOSITED", "1.0.0"),
        ("WITHDRAWN", "1.1.0"),
    ]
    assert own_event(events[0]) == Deposited(amount=10, owner="u1")
    state = await process.pipeline.reader.at(A1, 2)
    assert own_state(state) == Account(balance=7, owner="u1", withdrawals=("EUR",))
    (document,) = await process.ports.documents.read_documents([A1])
    assert document is not None
    assert document.body["data"] == {"balance": 7, "owner": {"name": "u1"}}
    assert world.graph.nodes[A1].edges == {"owned_by": (AggregateId.of("shop", "User", "u1"),)}
    world.check_shown()


async def test_own_refusal_is_the_commands_only_answer(world: World):
    await world.process().run(account_command("DEPOSIT", 10))
    command = account_command("WITHDRAW", 11)
    for _ in range(2):
        refused = (await world.process().run(command)).rejection
        assert refused is not None
        assert (refused.code, refused.details["balance"]) == ("BalanceExceeded", 10)
        await world.process().run(account_command("DEPOSIT", 10))  # it would be accepted by now
        world.redis.flush()
    world.check()


async def test_long_stream_is_read_from_its_snapshot(world: World):
    process = world.process()
    for _ in range(25):
        await process.run(account_command("DEPOSIT", 1))
    world.redis.flush()
    result = await world.process().run(account_command("WITHDRAW", 25))
    assert result.outcome is Outcome.APPLIED
    world.check()
    world.check_shown()


async def test_state_of_another_version_is_folded_anew(world: World):
    process = world.process()
    for _ in range(10):
        await process.run(account_command("DEPOSIT", 1))
    counted = replace(
        ACCOUNT,
        evolve=lambda state, event: Account(balance=state.balance + 2 * event.amount, owner="u1"),
        state_version="2.0.0",
    )
    with registered(counted):
        state = await world.process().pipeline.reader.at(A1, 10)
    assert own_state(state) == Account(balance=20, owner="u1")


async def bound_under(world: World) -> tuple[Process, Command]:
    """Bind a withdrawal by its record, and let its worker die; the next process has newer code."""
    await world.process().run(account_command("DEPOSIT", 10))
    command = account_command("WITHDRAW", 3)
    with pytest.raises(RuntimeError):
        await world.process().commit(command, after_step=die_after_record)
    world.redis.flush()
    return world.process(), command


async def test_retry_under_newer_code_writes_the_decided_event():
    world = World()
    with registered(ACCOUNT):
        process, command = await bound_under(world)
    with registered(LATER_ACCOUNT):
        assert (await process.run(command)).sequence_number == 2
        (events,) = world.check().values()
    assert events[1].data == {"amount": 3, "currency": "EUR"}


async def test_without_the_decided_event_the_bytes_differ(monkeypatch: pytest.MonkeyPatch):
    """The rule taken away: two releases' events in one slot differ, and the verifier says so."""
    monkeypatch.setattr(event_writer, "_recorded_event", lambda *_: None)
    world = World()
    with registered(ACCOUNT):
        process, command = await bound_under(world)
    with registered(LATER_ACCOUNT):
        await process.run(command)
        assert "forged" in str([finding.code for finding in world.audit().commands.judge()]).lower()


async def test_only_own_commands_record_their_event(world: World):
    own, built_in = account_command("DEPOSIT", 10), create("p1", {"a": 1})
    for command in (own, built_in):
        await world.process().run(command)
    records = [
        read_record(world.bucket.objects[f"commands/{command.command_id}/000001.json"].body, where="")
        for command in (own, built_in)
    ]
    assert [record.record_version for record in records] == ["1.2.0", "1.1.0"]
    assert b'"event"' not in records[1].canonical


async def test_program_without_the_code_names_the_aggregate():
    world = World()
    with registered(ACCOUNT):
        await world.process().run(account_command("DEPOSIT", 10))
        command = account_command("DEPOSIT", 5)
    world.redis.flush()
    with pytest.raises(EventFromFuture, match=r"DEPOSITED of class Account.*install the package"):
        await world.process().pipeline.reader.at(A1, 1)
    with pytest.raises(EventFromFuture, match="install the package"):
        await world.process().commit(command)
    with registered(ACCOUNT):
        assert (await world.process().run(command)).sequence_number == 2
        world.check()


async def test_generic_and_own_commands_do_not_mix(world: World):
    process = world.process()
    generic = [
        create("a1", class_id="Account"),
        update("a1", class_id="Account"),
    ]
    await process.run(account_command("DEPOSIT", 10))
    for command in generic:
        rejection = (await process.run(command)).rejection
        assert rejection is not None
        assert rejection.code is RejectionCode.INVALID_COMMAND
        assert "DEPOSIT, WITHDRAW" in rejection.message
    world.check()


async def test_bulk_items_of_an_own_class_are_refused(world: World):
    result = await run_bulk(world, bulk_create(item("a1", {"a": 1}), class_id="Account"))
    (line,) = check_results(world, result)
    assert "its class is that of aggregate Account" in str(line)


async def test_instances_before_their_aggregate_go_on():
    world = World()
    await world.process().run(create("a1", {"a": 1}, class_id="Account"))
    with registered(ACCOUNT):
        own = await world.process().run(account_command("DEPOSIT", 10))
        assert own.rejection is not None
        assert "made by CREATE_INSTANCE" in own.rejection.message
        assert (await world.process().run(update("a1", {"b": 1}, class_id="Account"))).outcome is Outcome.APPLIED
        world.check()


async def test_earlier_version_of_an_own_event_is_migrated(world: World):
    await world.process().run(account_command("DEPOSIT", 10))
    result = await world.process().run(account_command("WITHDRAW", 1))
    key = f"events/{A1}/{result.sequence_number:020d}.json"
    event = read_event(world.bucket.objects[key].body, where=key)
    first = event.model_copy(update={"schema_version": "1.0.0", "data": {"amount": 1}})
    assert own_event(first).model_dump() == {"amount": 1, "currency": "EUR"}


async def test_defect_on_a_state_that_never_was_does_not_count(world: World):
    """Redis forgot the stream, and the code fails on the empty state, which this command never met."""

    def decide(state: Account, _command: DomainCommand, _context: DecisionContext) -> Withdrawn:
        return Withdrawn(amount=10 // state.balance, currency="EUR")

    await world.process().run(account_command("DEPOSIT", 10))
    world.redis.flush()
    with registered(replace(ACCOUNT, decide=decide)):
        result = await world.process().run(account_command("WITHDRAW", 1))
        assert result.sequence_number == 2
        with pytest.raises(AggregateDefect, match="ZeroDivisionError"):
            await world.process().commit(account_command("WITHDRAW", 1, instance_id="a2"))
    world.check()


async def test_hope_to_be_first_ends_where_redis_knows_a_head(world: World):
    """Its topic was lost and made anew, so that only the watermark is not known."""
    await world.process().run(account_command("DEPOSIT", 10))
    world.publisher.make_anew()
    process = world.process()
    command = account_command("DEPOSIT", 1)
    assert (await process.run(command)).sequence_number == 2
    assert f"commands/{command.command_id}/000002.json" not in world.bucket.objects
    world.check()


async def test_defect_of_own_code_leaves_the_command_pending(world: World):
    broken = replace(ACCOUNT, evolve=lambda _state, event: event.no_such_field)
    command = account_command("DEPOSIT", 10)
    with registered(broken), pytest.raises(AggregateDefect, match="evolve by DEPOSITED: AttributeError"):
        await world.process().commit(command)
    assert (await world.process().run(command)).outcome is Outcome.APPLIED
    world.check()


@pytest.mark.parametrize(
    ("fields", "at", "problem"),
    [
        ({"command_type": "PLACE_ORDER"}, "/command_type", "is the package installed"),
        ({"command_type": "BULK_DEPOSIT"}, "/command_type", "takes no command types of one's own"),
        ({"class_id": "Product"}, "", "expected Account"),
        ({"payload": {"amount": "many"}}, "/payload/amount", "integer"),
        ({"payload": {"amount": 1, "sum": 2}}, "/payload/sum", "Extra"),
        ({"instance_id": None}, "", "expected one for DEPOSIT"),
    ],
)
@pytest.mark.usefixtures("world")
def test_malformed_own_command_is_refused(fields: dict[str, object], at: str, problem: str):
    given = account_command("DEPOSIT", 1).as_json
    with pytest.raises(InputInvalid) as refused:
        parse_command({**given, **fields})
    (finding,) = refused.value.details["errors"]
    assert finding["at"] == at
    assert problem in finding["problem"]
