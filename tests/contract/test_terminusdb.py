"""What is TerminusDB's own: that it cannot be reached, refuses us, or is named wrongly."""

import os

import pytest

from factline.domain.graph import GraphNode
from factline.domain.identifiers import AggregateId
from factline.errors import SettingsInvalid, StoreUnavailable, StoreUnsafe
from factline.settings import Settings
from factline.stores.terminusdb import TerminusGraph, TerminusServer
from tests.contract.test_graph import TERMINUSDB_VARIABLE

PLACE = AggregateId.of("geo", "City", "Vienna")


async def test_a_server_out_of_reach_is_no_empty_answer():
    server = TerminusServer("http://admin:root@127.0.0.1:1")
    graph = TerminusGraph(server, Settings(namespace="t-nowhere"))
    (outcome,) = await graph.write([GraphNode(PLACE, 1)])
    assert isinstance(outcome, StoreUnavailable)
    assert "writing 1 nodes of geo, the first geo/City/Vienna" in outcome.message
    for asking in (graph.read([PLACE]), graph.referring("geo", [PLACE], "near", nodes_max=1), graph.prepare()):
        with pytest.raises(StoreUnavailable, match=r"TerminusDB at http://127\.0\.0\.1:1"):
            await asking
    await server.close()


@pytest.mark.parametrize("url", ["", "127.0.0.1:6363", "ftp://127.0.0.1", "http://"])
def test_an_address_that_is_none_is_refused(url: str):
    with pytest.raises(SettingsInvalid, match="FACTLINE_TERMINUSDB_URL: expected something like http://user:password@"):
        TerminusServer(url)


@pytest.mark.integration
async def test_a_wrong_password_is_told_apart_from_an_outage():
    if TERMINUSDB_VARIABLE not in os.environ:
        pytest.skip(f"no TerminusDB: set {TERMINUSDB_VARIABLE} to run on yours")
    where = os.environ[TERMINUSDB_VARIABLE].partition("@")[2]
    server = TerminusServer(f"http://admin:wrong@{where}")
    with pytest.raises(StoreUnsafe, match="give FACTLINE_TERMINUSDB_URL a user and password"):
        await server.ping()
    await server.close()
