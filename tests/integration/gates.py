"""A gate before an HTTP server: open, it passes everything on; shut, it answers every request in the server's place."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Gate:
    """``refusal``: the answer while it is shut. ``refused``: how many requests were answered so."""

    address: str
    refusal: bytes
    refused: int = 0
    is_shut: bool = False
    connections: set[asyncio.StreamWriter] = field(default_factory=set)

    def shut(self) -> None:
        """Refuse from now on; open connections are cut."""
        self.is_shut = True
        for connection in list(self.connections):
            connection.close()

    def open(self) -> None:
        """Pass everything on again."""
        self.is_shut = False


def refusal(status: str, content_type: str, body: bytes) -> bytes:
    """Return an HTTP answer after which the connection ends."""
    headers = f"content-type: {content_type}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    return f"HTTP/1.1 {status}\r\n{headers}".encode() + body


@asynccontextmanager
async def gate(upstream: str, refusal: bytes) -> AsyncIterator[Gate]:
    """Listen before ``upstream`` (host:port) for the length of a block."""
    host, _, port = upstream.rpartition(":")
    opened: Gate

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if opened.is_shut:
            await _refuse(opened, reader, writer)
            return
        from_server, to_server = await asyncio.open_connection(host, int(port))
        ends = {writer, to_server}
        opened.connections |= ends
        try:
            await asyncio.gather(_pass(reader, to_server), _pass(from_server, writer))
        finally:
            opened.connections -= ends

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    opened = Gate(f"127.0.0.1:{server.sockets[0].getsockname()[1]}", refusal)
    try:
        yield opened
    finally:
        server.close()
        opened.shut()


async def _refuse(opened: Gate, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(asyncio.IncompleteReadError, OSError):
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if b"expect: 100-continue" not in head and b"content-length: " in head:
            await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
        opened.refused += 1
        writer.write(opened.refusal)
        await writer.drain()
    writer.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
