"""A healthy installation with a defined class whose instances refer to others, and damage to its graph."""

from dataclasses import replace
from typing import Any

from oncelog.domain.graph import GraphNode
from oncelog.domain.identifiers import AggregateId
from oncelog.verification.findings import Code
from tests.classes import FIRST, SECOND, WIDER, define
from tests.commands import create, delete, update
from tests.verification.damage import Damage
from tests.write.world import World

LAMP, DESK, SHELF = (AggregateId.parse(f"shop/Product/{name}") for name in ("lamp", "desk", "shelf"))
CLASS = AggregateId.of_class("shop", "Product")
ACME = AggregateId.parse("shop/Maker/acme")


async def healthy() -> World:
    """Three instances under two definitions, the last one deleted; their references lead nowhere."""
    world = World()
    process = world.process()
    await process.complete(define(FIRST))
    for number, name in enumerate(("lamp", "desk", "shelf")):
        payload = {"name": name, "price": "1", "maker": "acme"}
        await process.complete(create(name, payload, command_id=f"{name}-1"))
        change = delete(name) if name == "shelf" else update(name, {"price": f"{number}"})
        await process.complete(change.model_copy(update={"command_id": f"{name}-2"}))
    await redefine(world)
    return world


async def redefine(world: World, definition: dict[str, Any] = WIDER, *, command_id: str = "wider") -> None:
    """Define the class anew, and let its nodes follow."""
    process = world.process()
    await process.complete(define(definition, command_id=command_id))
    await process.pipeline.graph_rebuilder.run(CLASS)


def change(world: World, aggregate_id: AggregateId, **changes: Any) -> None:
    world.graph.nodes[aggregate_id] = replace(world.graph.nodes[aggregate_id], **changes)


def add(world: World, node: GraphNode) -> None:
    world.graph.nodes[node.aggregate_id] = node


async def show_old_form(world: World) -> None:
    """Let the documents follow a definition that migrates data, and one of them be as it was before."""
    before = (await world.documents.read_documents([LAMP]))[0]
    assert before is not None
    await redefine(world, SECOND, command_id="second")
    await world.process().pipeline.reindexer.run(CLASS)
    generation = world.documents.generations["shop.product"]
    assert generation.documents[LAMP.instance_key].body != before.body
    generation.documents[LAMP.instance_key] = before


PLANTED = [
    Damage("a document is in the form of an earlier definition", show_old_form, Code.DOCUMENT_WRONG),
    Damage("a node is missing", lambda w: w.graph.nodes.pop(LAMP), Code.NODE_MISSING),
    Damage("a node is at an earlier event", lambda w: change(w, LAMP, sequence_number=1), Code.NODE_STALE),
    Damage("a node is under an earlier definition", lambda w: change(w, LAMP, definition_sequence=1), Code.NODE_STALE),
    Damage(
        "a node is under no definition", lambda w: change(w, LAMP, definition_sequence=0, edges={}), Code.NODE_STALE
    ),
    Damage("a node lacks an edge", lambda w: change(w, LAMP, edges={}), Code.NODE_WRONG),
    Damage("a node refers to another", lambda w: change(w, LAMP, edges={"made_by": (DESK,)}), Code.NODE_WRONG),
    Damage("an edge has another name", lambda w: change(w, LAMP, edges={"sold_by": (ACME,)}), Code.NODE_WRONG),
    Damage("a node of a deleted instance lives", lambda w: change(w, SHELF, deleted=False), Code.NODE_WRONG),
    Damage(
        "a node names a definition that never was", lambda w: change(w, LAMP, definition_sequence=9), Code.NODE_WRONG
    ),
    Damage(
        "a node lies under another's name", lambda w: w.graph.nodes.update({LAMP: w.graph.nodes[DESK]}), Code.NODE_WRONG
    ),
    Damage("a node is ahead of the log", lambda w: change(w, LAMP, sequence_number=9), Code.NODE_FOREIGN),
    Damage("a node too many", lambda w: add(w, GraphNode(ACME, 1)), Code.NODE_FOREIGN),
    Damage("a class has a node", lambda w: add(w, GraphNode(CLASS, 1)), Code.NODE_FOREIGN),
]
