"""Search and graph on real servers: a definition's effect on instances that are there, and on later ones."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import product
from typing import Any

import pytest

from oncelog.domain.commands import Command
from oncelog.domain.decide import decide
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.queries import Range, Search
from oncelog.domain.tokens import merge_tokens
from oncelog.errors import InputInvalid, ProjectionParked
from oncelog.query.hops import Hop
from tests.integration.installation import Installation

pytestmark = pytest.mark.integration

CITY: dict[str, Any] = {
    "version": "1.0.0",
    "schema": {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "country": {"type": "string"},
            "people": {"type": "integer"},
            "twins": {"type": "array", "items": {"type": "string"}},
        },
    },
    "relationships": {
        "part_of": {"target_class": "Country", "cardinality": "one", "path": "/country", "inverse": "cities"}
    },
}
TWINNED = {
    **CITY,
    "version": "2.0.0",  # the values in ``twins`` were only texts before
    "relationships": {
        **CITY["relationships"],
        "twinned_with": {"target_class": "City", "cardinality": "many", "path": "/twins"},
    },
}


def _place(class_id: str, instance_id: str) -> AggregateId:
    return AggregateId.of("geo", class_id, instance_id)


GRAZ, AUSTRIA = _place("City", "Graz"), _place("Country", "AT")


class Geography:
    """Writes through one installation, and keeps a token for all that it wrote."""

    def __init__(self, installation: Installation) -> None:
        self.client = installation.client
        self.reader = installation.client.reader
        self.tokens: list[str] = []

    async def write(self, kind: str, class_id: str, instance_id: str | None, payload: dict[str, Any]) -> None:
        command = Command(
            command_id=f"{kind}-{class_id}-{instance_id}-{len(self.tokens)}",
            command_type=kind,
            db_name="geo",
            class_id=class_id,
            instance_id=instance_id,
            payload=payload,
        )
        result = await self.client.submit(command)
        assert result.consistency_token, result
        if instance_id is not None:
            self.tokens.append(result.consistency_token)

    @property
    def token(self) -> str:
        return merge_tokens(self.tokens)

    async def ends(self, start: AggregateId, *hops: Hop) -> list[str]:
        answer = await self.reader.walk([start], hops, token=self.token)
        assert not answer.undocumented
        assert not answer.uneven
        return [path[-1].instance_id for path in answer.paths]

    async def found(self, words: str = "", **where: Any) -> list[str]:
        search = Search("geo", "City", words, {f"/{name}": value for name, value in where.items()})
        page = await self.reader.search(search, token=self.token)
        return sorted(document.aggregate_id.instance_id for document in page.documents)


async def test_definition_gives_old_and_new_data_edges_and_types(installation: Installation):
    async with installation.worker():
        geography = Geography(installation)
        write, ends, found = geography.write, geography.ends, geography.found
        await write("CREATE_INSTANCE", "Country", "AT", {"name": "Austria"})
        await write("CREATE_INSTANCE", "City", "Graz", {"name": "Graz an der Mur", "country": "AT", "twins": ["Pula"]})
        await write("CREATE_INSTANCE", "City", "Odd", {"name": {"is": "no text"}})
        with pytest.raises(InputInvalid, match="from Country: nothing can be walked from there"):
            await ends(_place("Country", "AT"), Hop("part_of", inward=True))
        assert await found("Mur") == []  # of an undefined class, words are whole values
        assert await found(country="AT") == ["Graz"]

        await write("DEFINE_CLASS", "City", None, CITY)
        assert await ends(_place("Country", "AT"), Hop("part_of", inward=True)) == ["Graz"]
        assert await found("mur") == ["Graz"]
        assert await found('"no text"') == ["Odd"]  # a value that does not fit is kept, and found
        await write("CREATE_INSTANCE", "City", "Linz", {"name": "Linz", "country": "AT", "people": 210_000})
        assert await ends(_place("Country", "AT"), Hop("cities")) == ["Graz", "Linz"]
        code, typed = await installation.oncelog("graph", "geo/Country/AT", "cities", "--token", geography.token)
        *paths, last = typed
        assert (code, [line["path"][-1] for line in paths]) == (0, ["geo/City/Graz", "geo/City/Linz"])
        assert last == {"answer": {"cut": False, "dangling": [], "undocumented": [], "uneven": {}}}
        code, typed = await installation.oncelog("graph", "geo/Country/AT", "cites")
        assert (code, typed[0]["error"]["details"]["expected"]) == (2, ["cities"])
        big = Hop("cities", where={"/people": Range(above=200_000)})
        assert await ends(_place("Country", "AT"), big) == ["Linz"]
        assert await found(people=210_000) == ["Linz"]
        assert await found(people=Range(above=200_000)) == ["Linz"]
        code, typed = await installation.oncelog("search", "geo/City", "-w", "/people>=1", "--limit", "0")
        assert (code, typed) == (0, [{"page": {"count": 0, "total": 1, "cursor": None}}])

        await write("DEFINE_CLASS", "City", None, TWINNED)
        await write("CREATE_INSTANCE", "City", "Pula", {"name": "Pula", "twins": ["Graz"]})
        assert await ends(_place("City", "Graz"), Hop("twinned_with")) == ["Pula"]
        path = await geography.reader.shortest_path(
            _place("City", "Pula"), _place("Country", "AT"), token=geography.token
        )
        assert path.paths == [(_place("City", "Pula"), _place("City", "Graz"), _place("Country", "AT"))]

        await write("DELETE_INSTANCE", "City", "Graz", {})
        assert await ends(_place("Country", "AT"), Hop("part_of", inward=True)) == ["Linz"]
        gone = await geography.reader.walk([_place("City", "Pula")], [Hop("twinned_with")], token=geography.token)
        assert (gone.paths, gone.dangling) == ([], [_place("City", "Graz")])
        _, (last,) = await installation.oncelog("graph", "geo/City/Pula", "twinned_with", "--token", geography.token)
        assert last["answer"]["dangling"] == ["geo/City/Graz"]
        assert await _cities_by_pages(installation, geography.token) == ["Linz", "Odd", "Pula"]
    await installation.check()


async def _cities_by_pages(installation: Installation, token: str) -> list[str]:
    """Return what `oncelog search` lists of all cities, a page of one after the other, by the cursors that it says."""
    cities, cursor = [], ""
    while True:
        more = ("--cursor", cursor) if cursor else ()
        code, (*rows, last) = await installation.oncelog("search", "geo/City", "--limit", "1", "--token", token, *more)
        assert (code, last["page"]["total"]) == (0, 3)
        cities += [row["instance_id"] for row in rows]
        cursor = last["page"]["cursor"]
        if cursor is None:
            return sorted(cities)


async def test_lost_indices_are_rebuilt_equal(installation: Installation):
    cities = [_place("City", name) for name in ("Graz", "Linz", "Odd", "Pula")]
    places = [AUSTRIA, *cities]
    async with installation.worker():
        geography = Geography(installation)
        write = geography.write
        await write("CREATE_INSTANCE", "Country", "AT", {"name": "Austria"})
        await write("CREATE_INSTANCE", "City", "Odd", {"name": {"is": "no text"}, "country": "AT"})
        await write("DEFINE_CLASS", "City", None, TWINNED)
        for name, twin in (("Graz", "Pula"), ("Linz", "Graz"), ("Pula", "Graz")):
            await write("CREATE_INSTANCE", "City", name, {"name": f"{name} there", "country": "AT", "twins": [twin]})
        await write("UPDATE_INSTANCE", "City", "Graz", {"people": 300_000, "twins": ["Pula", "Linz"]})
        await write("DELETE_INSTANCE", "City", "Pula", {})

    async def seen() -> tuple[Any, ...]:
        stores = installation.stores
        documents = await stores.documents.read_documents([*places, AggregateId.of_class("geo", "City")])
        nodes = await stores.graph.read_nodes(places)
        ends = [await geography.ends(AUSTRIA, Hop("part_of", inward=True))]
        ends.append(await geography.ends(_place("City", "Linz"), Hop("twinned_with"), Hop("twinned_with")))
        return documents, nodes, ends, await geography.found("there"), await geography.found(people=300_000)

    before = await seen()
    documents, nodes, *_ = before
    assert all(documents)
    assert all(nodes)
    client = installation.stores.elasticsearch.client
    names = await client.indices.get(index=f"{installation.settings.namespace}.*")
    assert len(names) == 5, "two of the class City, its definitions, the class Country, and the graph"
    await client.indices.delete(index=list(names))
    rebuilt = [("documents", "_class"), *product(("documents", "graph"), ("City", "Country"))]
    async with installation.worker():
        for model, class_id in rebuilt:
            code, _ = await installation.oncelog("rebuild", f"geo/{class_id}", "--read-model", model)
            assert code == 0
    assert await seen() == before


PARKED_DEADLINE_S = 3_600.0  # so that what is said is said at once


async def _asked_of_graz(geography: Geography, names: Sequence[str]) -> list[object]:
    """Ask these questions of Graz with the token of all that was written; returns answers and errors."""
    more: Any = {"token": geography.token, "deadline_s": PARKED_DEADLINE_S}
    reader = geography.reader
    questions: dict[str, Callable[[], Awaitable[object]]] = {
        "get": lambda: geography.client.get(GRAZ, **more),
        "search": lambda: reader.search(Search("geo", "City"), **more),
        "graph": lambda: reader.walk([AUSTRIA], [Hop("part_of", inward=True)], **more),
        "path": lambda: reader.shortest_path(GRAZ, AUSTRIA, names=["part_of"], **more),
    }
    async with asyncio.timeout(60):
        return await asyncio.gather(*(questions[name]() for name in names), return_exceptions=True)


def _typed(names: Sequence[str], token: str) -> list[list[str]]:
    """Return the same questions as an operator types them."""
    arguments = {
        "get": [str(GRAZ)],
        "search": ["geo/City"],
        "graph": [str(AUSTRIA), "^part_of"],
        "path": [str(GRAZ), str(AUSTRIA), "--via", "part_of"],
    }
    return [[name, *arguments[name], "--token", token, "--deadline-s", str(PARKED_DEADLINE_S)] for name in names]


async def _refuse_texts_as_numbers(installation: Installation) -> str:
    """Make the documents' index with a mapping that refuses some, as an operator's own mapping might."""
    indices, alias = installation.stores.elasticsearch.client.indices, installation.stores.documents.alias_of(GRAZ)
    await indices.delete_index_template(name=installation.settings.named("instances"))
    mappings = {"properties": {"data": {"properties": {"people": {"type": "integer"}}}}}
    await indices.create(index=f"{alias}.000001", aliases={alias: {"is_write_index": True}}, mappings=mappings)
    return f"{alias}.000001"


async def _decided_here(_: object, __: str, args: Sequence[Any], class_schema: Any, **options: Any) -> Any:
    """Decide in this process, where the test has changed a limit, and not in the one for long commands."""
    return decide(*args, class_schema=class_schema, **options)


@pytest.mark.parametrize(
    ("read_model", "waiting"), [("documents", ["get", "search", "graph", "path"]), ("graph", ["graph", "path"])]
)
async def test_what_is_parked_is_said_at_once_with_what_mends_it(
    installation: Installation, read_model: str, waiting: list[str], monkeypatch: pytest.MonkeyPatch
):
    # An earlier release accepted more references than a node may have.
    monkeypatch.setattr("oncelog.domain.ontology.class_schema.EDGES_MAX", 20_000)
    monkeypatch.setattr("oncelog.write.judge.JudgeProcesses.ask", _decided_here)
    everyone = ["get", "search", "graph", "path"]
    async with installation.worker():
        geography = Geography(installation)
        await geography.write("CREATE_INSTANCE", "Country", "AT", {"name": "Austria"})
        if read_model == "documents":
            await geography.write("DEFINE_CLASS", "Village", None, CITY)  # so that there is a way to ask for
            index = await _refuse_texts_as_numbers(installation)
            await geography.write("CREATE_INSTANCE", "City", "Graz", {"country": "AT", "people": "many"})
        else:
            await geography.write("DEFINE_CLASS", "City", None, TWINNED)
            twins = [f"twin {number}" for number in range(10_001)]  # more than a node may refer to
            await geography.write("CREATE_INSTANCE", "City", "Graz", {"country": "AT", "twins": twins})
        found = dict(zip(everyone, await _asked_of_graz(geography, everyone), strict=True))
        assert [name for name in everyone if isinstance(found[name], ProjectionParked)] == waiting
        assert not [
            each for each in found.values() if isinstance(each, Exception) and not isinstance(each, ProjectionParked)
        ]
        typed = _typed(waiting, geography.token)
        for code, lines in await asyncio.gather(*(installation.oncelog(*arguments) for arguments in typed)):
            (told,) = (line["error"] for line in lines)
            assert (code, told["code"]) == (1, "ProjectionParked")
            details = told["details"]
            assert (details["aggregate_id"], details["read_model"]) == (str(GRAZ), read_model)
            code_of = {"documents": "ObjectRefused", "graph": "InputInvalid"}
            assert (details["code"], details["sequence_number"]) == (code_of[read_model], 1)
            assert details["reason"] in told["message"]
        if read_model == "documents":
            await installation.stores.elasticsearch.client.indices.delete(index=index)
        else:
            await geography.write("UPDATE_INSTANCE", "City", "Graz", {"twins": []})
        _, remedy = details["remedy"].split("then oncelog ")
        code, (dead_letter,) = await installation.oncelog(*remedy.split())
        assert (code, dead_letter["kind"], dead_letter["read_model"]) == (0, "RESOLVED", read_model)
        assert not [each for each in await _asked_of_graz(geography, everyone) if isinstance(each, Exception)]
