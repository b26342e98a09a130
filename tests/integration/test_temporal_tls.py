"""Temporal by mTLS: the development server behind a proxy that ends TLS and demands a client certificate."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from oncelog import Oncelog
from oncelog.cli.doctor import State, diagnose
from oncelog.client import connection
from oncelog.domain.results import Outcome
from oncelog.errors import OncelogError
from tests.commands import create
from tests.integration.installation import Installation

pytestmark = pytest.mark.integration

CERTIFICATE, KEY = "TEMPORAL_TLS_CLIENT_CERT_PATH", "TEMPORAL_TLS_CLIENT_KEY_PATH"
CA = "TEMPORAL_TLS_SERVER_CA_CERT_PATH"
RIGHT = {CA: "ca.pem", CERTIFICATE: "client.pem", KEY: "client.key"}


@dataclass
class Frontend:
    """The proxy's address, the folder of certificates, and how many connections it has taken."""

    address: str
    folder: Path
    connections: int = 0


async def _passed_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):  # a client that is refused, or has ended
        while data := await reader.read(2**16):
            writer.write(data)
            await writer.drain()
    writer.close()


def _with_certificates(folder: Path) -> ssl.SSLContext:
    """Write certificates of two CAs, and return the context of a server that trusts the first one's clients."""
    authority, other = trustme.CA(), trustme.CA()
    for name, issuer in (("", authority), ("other-", other)):
        issuer.cert_pem.write_to_path(str(folder / f"{name}ca.pem"))
        issued = issuer.issue_cert("oncelog@example.org")
        issued.cert_chain_pems[0].write_to_path(str(folder / f"{name}client.pem"))
        issued.private_key_pem.write_to_path(str(folder / f"{name}client.key"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2"])
    return context


@pytest.fixture
async def frontend(
    environment: Mapping[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Frontend]:
    context = _with_certificates(tmp_path)
    host, _, port = environment["TEMPORAL_ADDRESS"].rpartition(":")
    opened, serving = Frontend("", tmp_path), set[asyncio.Task[None]]()

    async def pass_all_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, requests = await asyncio.open_connection(host, int(port))
        try:
            await asyncio.gather(_passed_on(reader, requests), _passed_on(answers, writer))
        finally:
            for each in (writer, requests):
                each.transport.abort()
                with contextlib.suppress(OSError):
                    await each.wait_closed()

    def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.connections += 1
        serving.add(asyncio.create_task(pass_all_on(reader, writer)))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    opened.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    monkeypatch.setenv("TEMPORAL_ADDRESS", opened.address)
    try:
        yield opened
    finally:
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


def show(frontend: Frontend, variables: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, file in variables.items():
        monkeypatch.setenv(name, str(frontend.folder / file))


async def test_worker_and_client_run_by_mtls(
    installation: Installation, frontend: Frontend, monkeypatch: pytest.MonkeyPatch
):
    show(frontend, RIGHT, monkeypatch)
    monkeypatch.setenv("TEMPORAL_NAMESPACE", installation.temporal.namespace)
    client = Oncelog(installation.stores.ports, installation.settings, temporal=await connection.connect())
    async with installation.worker():
        result = await client.submit(create("p1", {"price": 1}))
    assert result.outcome is Outcome.APPLIED
    assert frontend.connections == 2


async def test_profile_leads_to_mtls(frontend: Frontend, monkeypatch: pytest.MonkeyPatch):
    folder = frontend.folder
    profile = folder / "temporal.toml"
    profile.write_text(
        f'[profile.secured]\naddress = "{frontend.address}"\nnamespace = "default"\n[profile.secured.tls]\n'
        f'server_ca_cert_path = "{folder}/ca.pem"\nclient_cert_path = "{folder}/client.pem"\n'
        f'client_key_path = "{folder}/client.key"\n'
    )
    monkeypatch.delenv("TEMPORAL_ADDRESS")
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(profile))
    monkeypatch.setenv("TEMPORAL_PROFILE", "secured")
    temporal = await connection.connect()
    assert await temporal.service_client.check_health()
    assert frontend.connections == 1


@pytest.mark.parametrize(
    ("shown", "remedy"),
    [
        ({}, "set TEMPORAL_TLS to true"),
        ({CA: "ca.pem"}, f"set {CERTIFICATE} and {KEY} to the client certificate that the server asks for"),
        (
            RIGHT | {CERTIFICATE: "other-client.pem", KEY: "other-client.key"},
            f"set {CERTIFICATE} and {KEY} to a client certificate of the CA that the server trusts",
        ),
        (RIGHT | {CA: "other-ca.pem"}, f"set {CA} to the PEM file of the CA that signed the server's certificate"),
        (RIGHT | {KEY: "other-client.key"}, f"set {CERTIFICATE} and {KEY} to a certificate and its own key"),
        ({CA: "ca.pem", CERTIFICATE: "client.pem"}, f"set both {CERTIFICATE} and {KEY}"),
    ],
    ids=["no TLS", "no certificate", "of another CA", "another CA", "another key", "no key"],
)
async def test_refused_certificate_is_told_with_its_remedy(
    frontend: Frontend, shown: dict[str, str], remedy: str, monkeypatch: pytest.MonkeyPatch
):
    show(frontend, shown, monkeypatch)
    with pytest.raises(OncelogError) as refusal:
        await connection.connect()
    assert remedy in refusal.value.message


async def test_doctor_tells_the_certificate_that_is_asked_for(
    installation: Installation, frontend: Frontend, monkeypatch: pytest.MonkeyPatch
):
    show(frontend, {CA: "ca.pem"}, monkeypatch)
    found = await diagnose(installation.stores, installation.settings)
    (temporal,) = [each for each in found if each.server == "Temporal"]
    assert (temporal.subject, temporal.state) == ("usable", State.FAILED)
    assert temporal.remedy == f"set {CERTIFICATE} and {KEY} to the client certificate that the server asks for"
