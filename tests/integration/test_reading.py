"""Search and graph on real servers: what a definition says of instances that are there, and of those that come."""

from typing import Any

import pytest

from factline.domain.commands import Command
from factline.domain.identifiers import AggregateId
from factline.domain.queries import Search
from factline.domain.tokens import merge_tokens
from factline.reading.graph import Hop
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
    "relationships": {"part_of": {"target_class": "Country", "cardinality": "one", "path": "/country"}},
}
TWINNED = {
    **CITY,
    "version": "2.0.0",  # what stands in ``twins`` was only a text before
    "relationships": {
        **CITY["relationships"],
        "twinned_with": {"target_class": "City", "cardinality": "many", "path": "/twins"},
    },
}


def _place(class_id: str, instance_id: str) -> AggregateId:
    return AggregateId.of("geo", class_id, instance_id)


class Geography:
    """Writes through one installation, and keeps a token for all that it wrote."""

    def __init__(self, installation: Installation) -> None:
        self.client = installation.client
        self.reader = installation.client.reader
        self.tokens: list[str] = []

    async def write(self, kind: str, class_id: str, instance_id: str | None, payload: dict[str, Any]) -> None:
        command = Command(
            command_id=f"{kind}-{class_id}-{instance_id}-{len(self.tokens)}",
            command_type=kind,  # type: ignore[arg-type]
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


async def test_a_definition_makes_edges_and_types_of_what_is_there_and_what_comes(installation: Installation):
    async with installation.worker():
        geography = Geography(installation)
        write, ends, found = geography.write, geography.ends, geography.found
        await write("CREATE_INSTANCE", "Country", "AT", {"name": "Austria"})
        await write("CREATE_INSTANCE", "City", "Graz", {"name": "Graz an der Mur", "country": "AT", "twins": ["Pula"]})
        await write("CREATE_INSTANCE", "City", "Odd", {"name": {"is": "no text"}})
        assert await ends(_place("Country", "AT"), Hop("part_of", inward=True)) == []
        assert await found("Mur") == []  # of an undefined class, words are whole values
        assert await found(country="AT") == ["Graz"]

        await write("DEFINE_CLASS", "City", None, CITY)
        assert await ends(_place("Country", "AT"), Hop("part_of", inward=True)) == ["Graz"]
        assert await found("mur") == ["Graz"]
        assert await found('"no text"') == ["Odd"]  # what does not fit is kept, and found
        await write("CREATE_INSTANCE", "City", "Linz", {"name": "Linz", "country": "AT", "people": 210_000})
        assert await ends(_place("Country", "AT"), Hop("part_of", inward=True)) == ["Graz", "Linz"]
        big = Hop("part_of", inward=True, where={"/people": 210_000})
        assert await ends(_place("Country", "AT"), big) == ["Linz"]
        assert await found(people=210_000) == ["Linz"]

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
    await installation.check()
