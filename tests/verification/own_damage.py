"""A healthy installation with accounts, which are aggregates of one's own, and damage to what their code decided."""

import json
from dataclasses import replace

from oncelog.domain.identifiers import AggregateId
from oncelog.domain.results import RejectionCode
from oncelog.verification.findings import Code
from tests.own_domain import account_command
from tests.verification.damage import Damage, change_message, drop, key_of, resealed, rewrite, rewrite_record
from tests.verification.damage import event_of as stored_event
from tests.write.world import World

FIRST, SECOND = (f"shop/Account/{name}" for name in ("a1", "a2"))
EVENTS = 3
#: Of the deposit that went for slot 1, where an event was already.
IN_VAIN = "a2-forgotten"


async def healthy() -> World:
    """Deposits and withdrawals on two accounts, one refused; and a deposit for which Redis had forgotten the stream.

    The aggregate is known to the caller's registry.
    """
    world = World()
    for name in ("a1", "a2"):
        for number, (command_type, amount) in enumerate((("DEPOSIT", 10), ("WITHDRAW", 3)), start=1):
            command = account_command(command_type, amount, instance_id=name, command_id=f"{name}-{number}")
            await world.process().complete(command)
        world.redis.flush()
        command = account_command("DEPOSIT", 5, instance_id=name, command_id=f"{name}-forgotten")
        await world.process().complete(command)
    refused = await world.process().complete(account_command("WITHDRAW", 99, command_id="a1-refused"))
    assert refused.rejection is not None
    assert refused.rejection.code not in set(RejectionCode)
    assert f"commands/{IN_VAIN}/000002.json" in world.bucket.objects
    return world


def alter_decided(world: World) -> None:
    """Let the record say another decision than the event that it led to."""
    record = json.loads(world.bucket.objects["commands/a1-2/000001.json"].body)
    event = {**record["event"], "data": {"amount": 1, "currency": "EUR"}}
    rewrite_record(world, "a1-2", event=event)


def alter_document(world: World) -> None:
    """Give an account another balance in its document."""
    index = world.documents.indices["shop.account"]
    document = index["a1"]
    index["a1"] = replace(document, body={**document.body, "data": {**document.body["data"], "balance": 1_000}})


def alter_edge(world: World) -> None:
    """Give an account another owner in the graph."""
    node = world.graph.nodes[AggregateId.parse(FIRST)]
    edges = {"owned_by": (AggregateId.of("shop", "User", "eve"),)}
    world.graph.nodes[AggregateId.parse(FIRST)] = replace(node, edges=edges)


def alter_message(world: World) -> None:
    event = resealed(stored_event(world, SECOND, 1), data={"amount": 99, "owner": "eve"})
    change_message(world, SECOND, 1, value=event.canonical)


PLANTED = [
    Damage("an own event is dropped", lambda w: drop(w, key_of(FIRST, 2)), Code.SEQUENCE_GAP),
    Damage(
        "an own decision is rewritten",
        lambda w: rewrite(w, FIRST, EVENTS, data={"amount": 50, "owner": "u1"}),
        Code.EVENT_FORGED,
    ),
    Damage("an own decision is altered in its record", alter_decided, Code.EVENT_FORGED),
    Damage("an own event's message is altered", alter_message, Code.MESSAGE_ALTERED),
    Damage("an own document is altered", alter_document, Code.DOCUMENT_WRONG),
    Damage("an own node has another edge", alter_edge, Code.NODE_WRONG),
    Damage("a first record in vain is lost", lambda w: drop(w, f"commands/{IN_VAIN}/000001.json"), Code.RECORD_MISSING),
]
