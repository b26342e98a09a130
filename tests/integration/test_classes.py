"""Classes on real servers: defined, evolved while data flows, their documents found under each definition in turn."""

import asyncio
from typing import Any

import pytest

from oncelog.client import cover
from oncelog.client.client import Command
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.ontology.class_schema import ClassSchema
from oncelog.domain.queries import Search
from oncelog.domain.results import Outcome, RejectionCode
from oncelog.stores.kafka.topic_reader import read_messages
from oncelog.workflows.attributes import AGGREGATE_ID, CLASS_ID, COMMAND_OUTCOME
from tests.classes import FIRST, SECOND, WIDER, define, retire
from tests.commands import create, delete, update
from tests.integration.installation import Installation
from tests.unique_values import USERS

pytestmark = pytest.mark.integration

NAME = AggregateId.of_class("shop", "Product")


async def index_behind(installation: Installation) -> str:
    current = await installation.stores.ports.indices.current_index(NAME)
    assert current is not None
    return current.name.rpartition(".")[2]


async def found(installation: Installation, query: dict[str, Any]) -> set[str]:
    """Return what a search of Elasticsearch itself finds."""
    alias = installation.stores.documents.alias_of(AggregateId("shop", "Product", "-"))
    client = installation.stores.elasticsearch.client
    await client.indices.refresh(index=alias)
    return {hit["_id"] for hit in (await client.search(index=alias, query=query, size=100))["hits"]["hits"]}


async def test_a_class_lives_on_every_server(installation: Installation):
    command = define(FIRST)
    async with installation.worker():
        result = await installation.client.submit(command)
        again = await installation.client.submission(command)
        refused = await installation.client.submit(create(payload={"price": 1}))
        await installation.client.submit(create(payload={"name": "Lamp", "price": "12.50"}))
        unchanged = await installation.client.ensure_class("shop", "Product", FIRST)
        ensured = await installation.client.ensure_class("shop", "Order", FIRST)
        await installation.client.retire_class("shop", "Product")
    assert unchanged is None
    assert ensured is not None
    assert (ensured.outcome, ensured.sequence_number) == (Outcome.APPLIED, 1)
    assert (result.outcome, result.aggregate_id, result.sequence_number) == (Outcome.APPLIED, "shop/_class/Product", 1)
    assert (again.duplicate, again.result) == (True, result)
    assert refused.rejection is not None
    assert refused.rejection.code is RejectionCode.PAYLOAD_INVALID
    logs = await installation.check()
    assert [event.event_type for event in logs["shop/_class/Product"]] == ["CLASS_DEFINED", "CLASS_RETIRED"]
    messages = await read_messages(installation.settings, NAME)
    assert [message.value for message in messages] == [event.canonical for event in logs["shop/_class/Product"]]
    document = await installation.client.get(NAME)
    assert document is not None
    assert (document.body["deleted"], document.body["data"]) == (True, FIRST)
    class_schema = await installation.client.class_schema("shop", "Product")
    assert isinstance(class_schema, ClassSchema)
    assert (class_schema.retired, class_schema.definition.version) == (True, "1.0.0")
    described = await installation.temporal.get_workflow_handle(command.command_id).describe()
    attributes = described.typed_search_attributes
    assert described.workflow_type == "ClassCommand"
    assert (attributes[AGGREGATE_ID], attributes[CLASS_ID]) == ("shop/_class/Product", "Product")
    assert attributes[COMMAND_OUTCOME] == "APPLIED"


async def test_a_command_is_refused_by_the_workflow_of_others(installation: Installation):
    async with installation.worker():
        for workflow, command in (("InstanceCommand", define(FIRST)), ("ClassCommand", create())):
            answer = await installation.temporal.execute_workflow(
                workflow, command, id=command.command_id, task_queue=installation.settings.task_queue, result_type=dict
            )
            assert answer["rejection"]["code"] == "InvalidCommand"
    assert await installation.logs() == {}


async def test_documents_are_found_under_each_definition_in_turn(installation: Installation):
    async with installation.worker():
        client = installation.client
        await client.submit(create("free", {"name": "Chair", "price": {"odd": True}}))
        await client.submit(define(FIRST))
        assert await index_behind(installation) == "d000001"
        await client.submit(create("lamp", {"name": "Desk Lamp", "price": "12.50", "maker": "m1"}))
        assert await found(installation, {"match": {"data.name.text": "lamp"}}) == {"lamp"}
        assert await found(installation, {"term": {"data.maker": "m1"}}) == {"lamp"}
        assert await found(installation, {"exists": {"field": "unfit"}}) == {"free"}
        kept = await client.get(AggregateId("shop", "Product", "free"))
        assert kept is not None
        assert kept.body["data"] == {"name": "Chair", "price": {"odd": True}}
        await client.submit(define(WIDER))
        await client.submit(define(SECOND))
        assert await index_behind(installation) == "d000003"
        assert await found(installation, {"range": {"data.cost": {"gt": 12, "lt": 13}}}) == {"lamp"}
        assert await found(installation, {"exists": {"field": "unfit"}}) == set()
        await client.submit(delete("free"))
        await client.submit(retire())
    await installation.check()


async def test_definition_evolves_under_load_without_a_gap(installation: Installation):
    """Two workers; writers update every instance again and again, readers look at every instance all the time."""
    names = [f"n{number}" for number in range(40)]
    places = [AggregateId("shop", "Product", name) for name in names]
    client, evolved = installation.client, asyncio.Event()
    seen = dict.fromkeys(names, 0)
    reads = searches = 0

    async def write(name: str) -> int:
        written = 0
        while not evolved.is_set():
            await applied(update(name, {"maker": f"m{written}"}))
            written += 1
        return written

    async def applied(command: Command) -> None:
        result = await client.submit(command)
        assert result.outcome is Outcome.APPLIED, result
        document = await client.get(command.aggregate_id, token=result.consistency_token)
        assert document is not None

    async def read() -> None:
        nonlocal reads
        while not evolved.is_set():
            for name, document in zip(names, await installation.stores.documents.read_documents(places), strict=True):
                assert document is not None, f"a gap: {name} is not there"
                assert document.sequence_number >= seen[name], f"a step back: {name}"
                seen[name] = document.sequence_number
            reads += 1

    async def search() -> None:
        nonlocal searches
        while not evolved.is_set():
            found = await client.reader.search(Search("shop", "Product", results_max=1))
            assert found.total == len(names), "a gap in what is found"
            searches += 1

    async with installation.worker(), installation.worker():
        await client.submit(define(FIRST))
        await asyncio.gather(*(applied(create(name, {"name": name, "price": "0"})) for name in names))
        await client.reader.until_visible(dict.fromkeys(places, 1), deadline_s=60)
        work = [asyncio.create_task(write(name)) for name in names[:8]]
        reading = [asyncio.create_task(look()) for look in (read, search)]
        for definition in (WIDER, SECOND):
            assert (await client.submit(define(definition))).outcome is Outcome.APPLIED
        evolved.set()
        assert sum(await asyncio.gather(*work)) > 8
        await asyncio.gather(*reading)
    assert min(reads, searches) > 5
    assert await index_behind(installation) == "d000003"
    assert await found(installation, {"term": {"data.cost": 0}}) == set(names)
    await installation.check()


async def test_worker_death_during_reindex_leaves_nothing_incomplete(installation: Installation):
    async with installation.worker():
        await installation.client.submit(define(FIRST))
        await asyncio.gather(*(installation.client.submit(create(f"n{one}", {"name": "x"})) for one in range(10)))
    command = define(SECOND)
    dying = await (await installation.worker_process(ONCELOG_CRASH_AFTER="complete")).ready()
    submitted = asyncio.create_task(installation.client.submit(command))
    await dying.ended()
    async with installation.worker():
        assert (await submitted).outcome is Outcome.APPLIED
    assert await index_behind(installation) == "d000002"
    assert len(await found(installation, {"term": {"data.cost": 0}})) == 10
    await installation.check()


async def test_an_index_that_is_lost_comes_back_typed(installation: Installation):
    async with installation.worker():
        await installation.client.submit(define(FIRST))
        await installation.client.submit(create("a", {"name": "x"}))
        current = await installation.stores.ports.indices.current_index(NAME)
        assert current is not None
        await installation.stores.elasticsearch.client.indices.delete(index=current.name)
        await installation.client.submit(update("a", {"price": "1"}))
    assert await index_behind(installation) == "d000001"
    assert await found(installation, {"term": {"data.price": "1"}}) == {"a"}


async def test_new_constraint_covers_what_was_there(installation: Installation, monkeypatch: pytest.MonkeyPatch):
    """Normal writes go on beside the run; the duplicate is named with its holder, mended, and covered by the next."""
    monkeypatch.setattr(cover, "RECHECK_S", 0.0)  # one process, which is told by Redis
    client, free = installation.client, {name: value for name, value in USERS.items() if name != "unique"}
    async with installation.worker():
        await client.submit(define(free))
        await asyncio.gather(*(client.submit(create(f"u{n}", {"email": f"{n % 9}@x"})) for n in range(10)))
        await client.submit(define({**USERS, "version": "1.1.0"}))
        first, _ = await asyncio.gather(client.cover_class("shop", "Product"), client.submit(update("u5", {"n": 7})))
        (refusal,) = first.refusals
        await client.submit(update(refusal.aggregate_id.rpartition("/")[2], {"email": "own@x"}))
        second = await client.cover_class("shop", "Product")
    assert (first.instances, first.uncovered, refusal.is_duplicate) == (10, {"email": 1, "plate": 1}, True)
    assert {refusal.aggregate_id, refusal.detail("holder")} == {"shop/Product/u0", "shop/Product/u9"}
    assert (second.is_complete, second.covered, second.refused) == (True, 0, 0)
    await installation.check()
