"""The HTTP endpoint of worker and projector: ``/metrics`` for Prometheus, ``/healthz`` and ``/readyz`` for probes."""

import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from stamina.instrumentation import get_prometheus_counter

from oncelog.errors import SettingsInvalid

SDK_TIMEOUT = aiohttp.ClientTimeout(total=5)


@asynccontextmanager
async def metrics_served(
    address: str | None,
    registries: Sequence[CollectorRegistry],
    *,
    setting: str,
    ready: Callable[[], bool],
    sdk_address: str | None = None,
) -> AsyncIterator[None]:
    """Serve the endpoint for the length of a block.

    ``address``: host:port, None for none. ``registries``: their names are disjoint.
    It is served by the program's own event loop, so that ``/healthz`` answers only while that runs. ``ready``: whether
    work is taken. ``sdk_address``: where Temporal's SDK serves its own metrics, which are passed on. Raises
    SettingsInvalid that names ``setting``.
    """
    if address is None:
        yield
        return
    served = [*registries, _retries()]

    async def metrics(_: web.Request) -> web.Response:
        body = b"".join(map(generate_latest, served)) + await _of_sdk(sdk_address)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n") if ready() else web.Response(text="not ready\n", status=503)

    app = web.Application()
    app.add_routes([web.get("/metrics", metrics), web.get("/healthz", healthz), web.get("/readyz", readyz)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await _listen(runner, address, setting)
        yield
    finally:
        await runner.cleanup()


def free_loopback_address() -> str:
    """Return a free address of this machine, for the SDK's metrics, which only this program asks for."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


async def _listen(runner: web.AppRunner, address: str, setting: str) -> None:
    host, _, port = address.rpartition(":")
    try:
        await web.TCPSite(runner, host.strip("[]") or "0.0.0.0", int(port)).start()  # noqa: S104 - as asked
    except (OSError, ValueError, OverflowError) as error:
        raise SettingsInvalid(f"{setting}: expected host:port that is free, found {address}: {error}") from error


async def _of_sdk(address: str | None) -> bytes:
    """Return the SDK's metrics; where it does not answer, a comment says so and ours are served all the same."""
    if address is None:
        return b""
    try:
        async with (
            aiohttp.ClientSession(timeout=SDK_TIMEOUT) as session,
            session.get(f"http://{address}/metrics") as answer,
        ):
            answer.raise_for_status()
            return await answer.read()
    except (aiohttp.ClientError, TimeoutError) as error:
        return f"# no metrics of the Temporal SDK: {type(error).__name__}\n".encode()


def _retries() -> CollectorRegistry:
    """Return a registry of the retries that stamina counts."""
    registry = CollectorRegistry()
    if counter := get_prometheus_counter():
        registry.register(counter)
    return registry
