"""TerminusDB alone: that it cannot be reached, refuses us, or is named wrongly."""

import json
import os
from collections.abc import Callable

import httpx
import pytest
from stamina import AsyncRetryingCaller

from oncelog.domain.graph import GraphNode
from oncelog.domain.identifiers import AggregateId
from oncelog.errors import ContainerUnusable, ObjectRefused, SettingsInvalid, StoreUnavailable, UnusableReason
from oncelog.settings import Settings, TerminusdbSettings
from oncelog.stores.terminusdb import TerminusGraph, TerminusServer, server
from oncelog.stores.terminusdb.server import CONFLICTS_MAX
from tests.contract.test_graph import TERMINUSDB_VARIABLE

PLACE = AggregateId.of("geo", "City", "Vienna")


async def test_a_server_out_of_reach_is_no_empty_answer():
    server = TerminusServer(TerminusdbSettings(url="http://admin:root@127.0.0.1:1"))
    graph = TerminusGraph(server, Settings(namespace="t-nowhere"))
    (outcome,) = await graph.write_nodes([GraphNode(PLACE, 1)])
    assert isinstance(outcome, StoreUnavailable)
    assert "writing 1 nodes of geo, the first geo/City/Vienna" in outcome.message
    for asking in (
        graph.read_nodes([PLACE]),
        graph.referring_nodes("geo", [PLACE], "near", nodes_max=1),
        graph.prepare(),
    ):
        with pytest.raises(StoreUnavailable, match=r"TerminusDB at http://127\.0\.0\.1:1"):
            await asking
    await server.close()


@pytest.mark.parametrize("url", ["", "127.0.0.1:6363", "ftp://127.0.0.1", "http://"])
def test_an_address_that_is_none_is_refused(url: str):
    with pytest.raises(SettingsInvalid, match="ONCELOG_TERMINUSDB_URL: expected something like http://user:password@"):
        TerminusServer(TerminusdbSettings(url=url))


@pytest.mark.integration
async def test_a_wrong_password_is_told_apart_from_an_outage():
    if TERMINUSDB_VARIABLE not in os.environ:
        pytest.skip(f"no TerminusDB: set {TERMINUSDB_VARIABLE} to run on yours")
    where = os.environ[TERMINUSDB_VARIABLE].partition("@")[2]
    server = TerminusServer(TerminusdbSettings(url=f"http://admin:wrong@{where}"))
    with pytest.raises(ContainerUnusable, match="mend the user and password of ONCELOG_TERMINUSDB_URL"):
        await server.ping()
    await server.close()


def _answering(answer: Callable[[httpx.Request], httpx.Response]) -> TerminusGraph:
    """Return a graph whose server is played by a function."""
    server = TerminusServer(TerminusdbSettings(url="http://admin:root@127.0.0.1:1"))
    server._client = httpx.AsyncClient(base_url="http://terminusdb/api", transport=httpx.MockTransport(answer))
    return TerminusGraph(server, Settings(namespace="t-nowhere"))


@pytest.mark.parametrize(
    ("status", "text", "reason"),
    [
        (401, "Incorrect authentication information", UnusableReason.CREDENTIALS),
        (403, "InsufficientPermissions", UnusableReason.FORBIDDEN),
        (400, "TransactionRetry", None),
        (400, "WOQLSyntaxError", None),
        (429, "", None),
        (500, "", None),
    ],
)
async def test_terminusdb_answers_are_told_apart(status: int, text: str, reason: UnusableReason | None):
    graph = _answering(lambda _: httpx.Response(status, text=text))
    (outcome,) = await graph.write_nodes([GraphNode(PLACE, 1)])
    assert isinstance(outcome, StoreUnavailable)
    assert (outcome.reason if isinstance(outcome, ContainerUnusable) else None) == reason
    if status == 403:
        assert outcome.message.splitlines()[0].startswith("TerminusDB at http://127.0.0.1:1: database t-nowhere-geo ")


async def test_a_database_that_cannot_be_created_is_named():
    def answer(request: httpx.Request) -> httpx.Response:
        if "/woql/" in request.url.path:
            return httpx.Response(404, text="UnresolvableAbsoluteDescriptor")
        return httpx.Response(400, json={"api:message": "that name is not allowed"})

    (outcome,) = await _answering(answer).write_nodes([GraphNode(PLACE, 1)])
    assert isinstance(outcome, ContainerUnusable)
    assert outcome.reason is UnusableReason.CREATION_REFUSED
    assert "that name is not allowed" in outcome.message


async def test_one_refused_node_harms_no_other():
    def answer(request: httpx.Request) -> httpx.Response:
        if "bad" in json.dumps(json.loads(request.content)["query"]):
            return httpx.Response(400, json={"api:message": "SchemaCheckFailure"})
        return httpx.Response(200, json={"bindings": []})

    places = [AggregateId.of("geo", "City", name) for name in ("a", "b", "bad", "c", "d")]
    outcomes = await _answering(answer).write_nodes([GraphNode(place, 1) for place in places])
    assert [type(outcome) for outcome in outcomes] == [type(None)] * 2 + [ObjectRefused] + [type(None)] * 2
    assert "node geo/City/bad at" in str(outcomes[2])


@pytest.mark.parametrize("conflicts", [0, 3, CONFLICTS_MAX - 1, CONFLICTS_MAX])
async def test_a_conflict_is_tried_again_so_many_times(conflicts: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(server, "_after_conflicts", AsyncRetryingCaller(attempts=CONFLICTS_MAX, wait_max=0))
    sent = 0

    def answer(_: httpx.Request) -> httpx.Response:
        nonlocal sent
        sent += 1
        if sent <= conflicts:
            return httpx.Response(400, text="TransactionRetry")
        return httpx.Response(200, json={"bindings": []})

    (outcome,) = await _answering(answer).write_nodes([GraphNode(PLACE, 1)])
    assert sent == min(conflicts + 1, CONFLICTS_MAX)
    assert (outcome is None) is (conflicts < CONFLICTS_MAX)
