"""Consistency tokens on real servers while the read side is behind: real projectors stopped, ended, started late."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from oncelog.client.bulk import VISIBLE_AT_ONCE, Bulks
from oncelog.client.client import new_command_id
from oncelog.domain.bulk.command import BulkType
from oncelog.domain.commands import Command
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.queries import Search
from oncelog.domain.tokens import make_token, merge_tokens
from oncelog.errors import InputInvalid, NotYetVisible, ProjectionParked, TokenInvalid
from oncelog.query.hops import Hop
from tests.bulks import item
from tests.classes import TEXT, define, schema
from tests.integration.installation import Installation

pytestmark = pytest.mark.integration

IN_VAIN_S = 0.3
UNTIL_S = 60.0  # of a projector that goes on: much longer than it takes

CITY: dict[str, Any] = {
    "version": "1.0.0",
    "schema": schema(name=TEXT, country=TEXT),
    "relationships": {"part_of": {"target_class": "Country", "cardinality": "one", "path": "/country"}},
}
AUSTRIA, GRAZ, LINZ = (AggregateId.of("geo", *name) for name in (("Country", "AT"), ("City", "Graz"), ("City", "Linz")))

Questions = Mapping[str, Callable[[], Awaitable[list[Any]]]]


@pytest.fixture
async def installation(installation: Installation) -> Installation:
    """An installation whose commands leave instances to projectors."""
    installation.settings = installation.settings.model_copy(update={"projection": "stream"})
    return installation


async def _write(installation: Installation, kind: str, place: AggregateId, payload: dict[str, Any]) -> str:
    """Write, and return the token."""
    about = {"db_name": place.db_name, "class_id": place.class_id, "instance_id": place.instance_id}
    command = Command.model_validate(
        {"command_id": new_command_id(), "command_type": f"{kind}_INSTANCE", "payload": payload, **about}
    )
    result = await installation.client.submit(command)
    assert result.consistency_token is not None
    return result.consistency_token


def _questions(installation: Installation, token: str | None, deadline_s: float) -> Questions:
    """Ask for the cities of Austria in every way there is; each answers with what there is to see of them."""
    more: Any = {"token": token, "deadline_s": deadline_s}
    reader, client = installation.client.reader, installation.client

    async def get() -> list[Any]:
        found = [await client.get(place, **more) for place in (GRAZ, LINZ)]
        return [document.body["data"]["name"] for document in found if document]

    async def search() -> list[Any]:
        page = await reader.search(Search("geo", "City", where={"/country": "AT"}), **more)
        return sorted(document.body["data"]["name"] for document in page.documents)

    async def walk() -> list[Any]:
        answer = await reader.walk([AUSTRIA], [Hop("part_of", inward=True)], **more)
        assert not token or (not answer.uneven and not answer.undocumented)
        return [answer.documents[path[-1]].body["data"]["name"] for path in answer.paths]

    async def path() -> list[Any]:
        answer = await reader.shortest_path(GRAZ, LINZ, names=["part_of"], both_ways=True, **more)
        return [answer.documents[place].body["data"]["name"] for steps in answer.paths for place in steps]

    return {"get": get, "search": search, "walk": walk, "path": path}


async def _all(questions: Questions) -> dict[str, list[Any] | BaseException]:
    async with asyncio.timeout(2 * UNTIL_S):
        found = await asyncio.gather(*(ask() for ask in questions.values()), return_exceptions=True)
    return dict(zip(questions, found, strict=True))


BEFORE = {"get": ["Graz"], "search": ["Graz"], "walk": ["Graz"], "path": []}
AFTER = {
    "get": ["Graz an der Mur", "Linz"],
    "search": ["Graz an der Mur", "Linz"],
    "walk": ["Graz an der Mur", "Linz"],
    "path": ["Graz an der Mur", "Austria", "Linz"],
}


async def _begin(installation: Installation) -> str:
    """Define the class and write Austria with one city, without waiting for either; returns a token of all."""
    assert (await installation.client.submit(define(CITY, db_name="geo", class_id="City"))).sequence_number == 1
    tokens = [
        await _write(installation, "CREATE", AUSTRIA, {"name": "Austria"}),
        await _write(installation, "CREATE", GRAZ, {"name": "Graz", "country": "AT"}),
    ]
    return merge_tokens(tokens)


async def _go_on(installation: Installation) -> str:
    """Rename the city and write another one; returns a token of both."""
    return merge_tokens(
        [
            await _write(installation, "UPDATE", GRAZ, {"name": "Graz an der Mur"}),
            await _write(installation, "CREATE", LINZ, {"name": "Linz", "country": "AT"}),
        ]
    )


def _holds_of_what_is_behind(found: Mapping[str, list[Any] | BaseException], *, where: Mapping[str, list[str]]) -> None:
    """Every question says that it does not see what the token names yet, and where what it reads stands."""
    for name, error in found.items():
        assert isinstance(error, NotYetVisible), (name, error)
        said = [f"{each}: expected within {IN_VAIN_S:g} s " for each in where[name]]
        assert error.message.startswith(tuple(said)), (name, error.message)
        wanted, seen = {str(GRAZ): 2, str(LINZ): 1}, {str(GRAZ): 1, str(LINZ): 0}
        asked = {str(GRAZ)} if name == "get" else wanted.keys()
        assert error.details["expected"] == {each: wanted[each] for each in asked}
        assert error.details["found"] == {each: seen[each] for each in asked}


async def test_token_names_a_stopped_projector_and_holds_later(
    installation: Installation,
):
    projectors = [await installation.projector_process(name) for name in ("documents", "graph")]
    async with installation.worker():
        token = await _begin(installation)
        assert await _all(_questions(installation, token, UNTIL_S)) == BEFORE
        for projector in projectors:
            projector.process.send_signal(signal.SIGSTOP)
        token = merge_tokens([token, await _go_on(installation)])
        found = await _all(_questions(installation, token, IN_VAIN_S))
        either = ["the graph", "the documents"]  # an answer of the graph joins the two
        where = {"get": ["the documents"], "search": ["search of geo/City"], "walk": either, "path": either}
        _holds_of_what_is_behind(found, where=where)
        assert await _all(_questions(installation, None, 0)) == BEFORE, "without a token: what there is"
        waiting = asyncio.create_task(_all(_questions(installation, token, UNTIL_S)))
        await asyncio.sleep(0)
        for projector in projectors:
            projector.process.send_signal(signal.SIGCONT)
        assert await waiting == AFTER
    await installation.check()


async def test_a_token_waits_for_the_one_read_model_that_is_behind(installation: Installation):
    """The projector of the documents ends, that of the graph goes on; a late start finds all that was missed."""
    documents = await installation.projector_process("documents")
    await installation.projector_process("graph")
    async with installation.worker():
        token = await _begin(installation)
        assert await _all(_questions(installation, token, UNTIL_S)) == BEFORE
        assert await documents.stop() == 0
        token = merge_tokens([token, await _go_on(installation)])
        await _graph_shows(installation, {GRAZ: 2, LINZ: 1})
        found = await _all(_questions(installation, token, IN_VAIN_S))
        documents_only = ["the documents"]
        where = {
            "get": documents_only,
            "search": ["search of geo/City"],
            "walk": documents_only,
            "path": documents_only,
        }
        _holds_of_what_is_behind(found, where=where)
        for number in range(50):  # it has some catching up to do
            last = await _write(installation, "UPDATE", GRAZ, {"name": f"Graz {number}"})
        token = merge_tokens([token, last, await _write(installation, "UPDATE", GRAZ, {"name": "Graz an der Mur"})])
        await installation.projector_process("documents")
        assert await _all(_questions(installation, token, UNTIL_S)) == AFTER
    await installation.check()


async def _graph_shows(installation: Installation, wanted: Mapping[AggregateId, int]) -> None:
    async with asyncio.timeout(UNTIL_S):
        while list(await installation.stores.graph.searchable(list(wanted))) != list(wanted.values()):
            await asyncio.sleep(0.05)


async def test_token_of_another_installation_or_release_is_refused(
    installation: Installation, environment: Mapping[str, str], tmp_path: Path
):
    other = installation.settings.model_copy(update={"namespace": f"{installation.settings.namespace}-b"})
    folder = tmp_path / "other"
    folder.mkdir()
    async with Installation.opened(other, environment, folder) as there, there.worker():
        foreign = await _write(there, "CREATE", GRAZ, {"name": "Graz"})
    async with installation.worker():
        ours = await _write(installation, "CREATE", GRAZ, {"name": "Graz"})
    refused = {
        foreign: "another namespace or bucket",
        ours[:-3]: "altered or cut short",
        ours.replace("2.", "1.", 1): "version 2, found 1, of an older release; read without it",
        ours.replace("2.", "3.", 1): "version 2, found 3, of a newer release; upgrade",
        make_token({"geo": 1}, installation=installation.settings.installation): "pass it unchanged",
        "a token": "expected one of ours",
    }
    for token, reason in refused.items():
        for name, error in (await _all(_questions(installation, token, UNTIL_S))).items():
            assert isinstance(error, TokenInvalid), (name, token)
            assert reason in error.message
    with pytest.raises(TokenInvalid, match="another namespace"):
        merge_tokens([ours, foreign])
    tokens = [part for token in (ours, ours) for part in ("--token", token)]
    code, _ = await installation.oncelog("get", str(GRAZ), *tokens, "--deadline-s", "0")
    assert code == 1, "not visible: no projector runs"
    typed = [
        ["get", str(GRAZ)],
        ["search", "geo/City"],
        ["graph", str(AUSTRIA), "^part_of"],
        ["path", str(GRAZ), str(LINZ)],
    ]
    found = await asyncio.gather(*(installation.oncelog(*arguments, "--token", foreign) for arguments in typed))
    assert [(code, lines[0]["error"]["code"]) for code, lines in found] == [(2, "TokenInvalid")] * 4


async def test_bulk_command_is_waited_for_by_results_or_token(installation: Installation):
    bulks, reader = Bulks(installation.client), installation.client.reader
    projectors = [await installation.projector_process(name) for name in ("documents", "graph")]
    count = VISIBLE_AT_ONCE + 200
    items = [item(f"p{number}", {"n": number}) for number in range(count)]
    again = [item("p0", {"n": -1}), item("absent", {"n": 0})]
    question = Search("shop", "Product", results_max=1)
    async with installation.worker():
        for projector in projectors:
            projector.process.send_signal(signal.SIGSTOP)
        created = await bulks.submit(BulkType.BULK_CREATE_INSTANCES, "shop", "Product", items)
        changed = await bulks.submit(BulkType.BULK_UPDATE_INSTANCES, "shop", "Product", again)
        with pytest.raises(NotYetVisible, match=f"0 of {count} items applied are shown; (search|the graph): expected"):
            await bulks.until_visible(created, deadline_s=IN_VAIN_S)
        code, (told,) = await installation.oncelog("bulk", "wait", str(changed.command_id), "--deadline-s", "0.3")
        assert (code, told["error"]["code"], told["error"]["details"]["shown"]) == (1, "NotYetVisible", 0)
        lines = [line async for line in bulks.results(changed)]
        token = bulks.token(lines)
        with pytest.raises(NotYetVisible, match="shop/Product/p0 at version 2, found 0"):
            await reader.search(question, token=token, deadline_s=IN_VAIN_S)
        with pytest.raises(InputInvalid, match="expected at least one item that was applied"):
            bulks.token(lines[1:])
        for projector in projectors:
            projector.process.send_signal(signal.SIGCONT)
        seen: list[int] = []
        assert await bulks.until_visible(created, deadline_s=UNTIL_S, shown=seen.append) == count
        assert seen == [VISIBLE_AT_ONCE, count]
        assert (await reader.search(question)).total == count, "no search sees less from then on"
        found = await reader.search(Search("shop", "Product", where={"/n": -1}), token=token, deadline_s=UNTIL_S)
        assert [document.aggregate_id.instance_id for document in found.documents] == ["p0"]
        code, (told,) = await installation.oncelog("bulk", "wait", str(changed.command_id))
        assert (code, told["shown"]) == (0, 1)
    await installation.check()


async def test_bulk_command_with_a_parked_item_says_so_at_once(installation: Installation):
    bulks = Bulks(installation.client)
    await installation.projector_process("graph")
    projector = await installation.projector_process("documents")
    async with installation.worker():
        first = await bulks.submit(BulkType.BULK_CREATE_INSTANCES, "shop", "Product", [item("p1"), item("p2")])
        assert await bulks.until_visible(first, deadline_s=UNTIL_S) == 2
        code, _ = await installation.oncelog("dead-letters", "pause", "shop/Product/p2", "--reason", "an audit")
        assert code == 0
        assert (
            await projector.stop() == 0
        )  # a running one hears of it in a moment, the next one knows it from the start
        await installation.projector_process("documents")
        changed = [item("p1", {"n": 1}), item("p2", {"n": 1})]
        second = await bulks.submit(BulkType.BULK_UPDATE_INSTANCES, "shop", "Product", changed)
        said = r"of 2 items applied are shown; aggregate shop/Product/p2: .* paused"
        with pytest.raises(ProjectionParked, match=said):
            async with asyncio.timeout(UNTIL_S):
                await bulks.until_visible(second, deadline_s=3_600)
        assert (await installation.oncelog("dead-letters", "resume", "shop/Product/p2"))[0] == 0
        assert await bulks.until_visible(second, deadline_s=UNTIL_S) == 2
