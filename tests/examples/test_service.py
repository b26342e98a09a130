"""The example of a web service, on real servers."""

from argparse import ArgumentParser
from collections.abc import AsyncIterator

import httpx
import pytest

from examples.service.app import TOKEN_HEADER, app
from tests.docs.blocks import readme_line
from tests.integration.installation import Installation

pytestmark = pytest.mark.integration


@pytest.fixture
async def service(installation: Installation) -> AsyncIterator[httpx.AsyncClient]:
    app.state.oncelog = installation.client  # in place of one of the environment's, which the lifespan opens
    transport = httpx.ASGITransport(app)
    async with installation.worker(), httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        yield client


def _request_of_readme(service: httpx.AsyncClient) -> httpx.Request:
    """Return the request that the curl line of the example's page sends."""
    _, *words = readme_line("service", "curl")
    options = ArgumentParser()
    for flag, name in (("-X", "method"), ("-d", "data")):
        options.add_argument(flag, dest=name, required=True)
    options.add_argument("-i", action="store_true")
    options.add_argument("-H", dest="headers", action="append", required=True)
    options.add_argument("url")
    line = options.parse_args(words)
    headers = dict(header.split(": ", 1) for header in line.headers)
    return service.build_request(line.method, httpx.URL(line.url).path, headers=headers, content=line.data)


async def test_write_is_read_back_with_its_token(service: httpx.AsyncClient):
    made = await service.send(_request_of_readme(service))
    assert (made.status_code, made.json()) == (201, {"aggregate_id": "shop/Product/p1", "version": 1})
    changed = await service.patch("/products/p1", json={"price": 9.5}, headers={"Idempotency-Key": "price-p1"})
    token = {TOKEN_HEADER: changed.headers[TOKEN_HEADER]}
    read = await service.get("/products/p1", headers=token)
    assert (read.status_code, read.json()) == (200, {"id": "p1", "version": 2, "name": "Lamp", "price": 9.5})


async def test_repeated_request_takes_effect_once(service: httpx.AsyncClient):
    headers = {"Idempotency-Key": "make-p1"}
    first, second = [await service.put("/products/p1", json={"name": "Lamp"}, headers=headers) for _ in range(2)]
    assert (first.status_code, first.json()) == (second.status_code, second.json())
    other = await service.put("/products/p1", json={"name": "Chair"}, headers=headers)
    assert (other.status_code, other.json()["detail"]["code"]) == (409, "CommandIdReused")


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/products/p9", {}, 404),
        ("PATCH", "/products/p9", {"Idempotency-Key": "price-p9"}, 404),
        ("PATCH", "/products/p9", {"Idempotency-Key": "not an ID"}, 422),
        ("PATCH", "/products/p9", {}, 422),
        ("GET", "/products/p9", {TOKEN_HEADER: "forged"}, 422),
    ],
)
async def test_mistake_has_an_http_status(
    service: httpx.AsyncClient, method: str, path: str, headers: dict[str, str], status: int
):
    answer = await service.request(method, path, headers=headers, json={"price": 1} if method == "PATCH" else None)
    assert answer.status_code == status, answer.text
