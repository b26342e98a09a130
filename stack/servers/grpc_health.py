"""gRPC's health check with nothing but sockets, so that asking does not take a gRPC library or a 250 MB program.

One unary call is few bytes of HTTP/2 (RFC 9113): the preface, empty settings, one HEADERS frame whose fields are
literals without indexing (RFC 7541, 6.2.2), one DATA frame. Of the answer only the DATA frame matters.
"""

from __future__ import annotations

import socket
import ssl
import struct

from stack.errors import UnreachableError

TIMEOUT_S = 5.0
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, GOAWAY = 0x0, 0x1, 0x3, 0x4, 0x7
END_STREAM, END_HEADERS = 0x1, 0x4
SERVING = b"\x08\x01"
"""`HealthCheckResponse{status: SERVING}` in protobuf."""


def check_health(address: str, service: str, encrypted: bool = False) -> None:
    """Raise `UnreachableError` unless the gRPC server at `address` (HOST:PORT) says that `service` is serving.

    Over TLS any answer to the call will do, since servers that want a key say nothing about their health without it.
    """
    host, _, port = address.rpartition(":")
    with socket.create_connection((host.strip("[]"), int(port)), TIMEOUT_S) as plain:
        connection = plain
        if encrypted:
            context = ssl.create_default_context()
            context.set_alpn_protocols(["h2"])
            connection = context.wrap_socket(plain, server_hostname=host)
        connection.sendall(PREFACE + frame(SETTINGS, 0, 0, b"") + call(address, service))
        answer = first_answer(connection)
    if not encrypted and answer[5:] != SERVING:
        raise UnreachableError(f"{address}: {service} is not serving (it answers {answer.hex() or 'nothing'})")


def call(address: str, service: str) -> bytes:
    """The frames of `grpc.health.v1.Health/Check` on stream 1."""
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": "/grpc.health.v1.Health/Check",
        ":authority": address,
        "content-type": "application/grpc",
        "te": "trailers",
    }
    block = b"".join(b"\x00" + text(name) + text(value) for name, value in fields.items())
    message = b"\x0a" + text(service)  # field 1, a string
    body = struct.pack(">BI", 0, len(message)) + message
    return frame(HEADERS, END_HEADERS, 1, block) + frame(DATA, END_STREAM, 1, body)


def text(value: str) -> bytes:
    """A string with its length before it, the same in HPACK and in protobuf below 127 bytes."""
    encoded = value.encode()
    if len(encoded) > 126:
        raise UnreachableError(f"{value!r} is too long for a health check: at most 126 bytes")
    return bytes([len(encoded)]) + encoded


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One HTTP/2 frame."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def first_answer(connection: socket.socket) -> bytes:
    """The first gRPC message on stream 1; empty when the call ends without one."""
    with connection.makefile("rb") as stream:
        while True:
            head = stream.read(9)
            if len(head) < 9:
                raise UnreachableError("the connection was closed before an answer came")
            size = int.from_bytes(head[:3], "big")
            kind, flags, number = struct.unpack(">BBI", head[3:])
            payload = stream.read(size)
            if kind == DATA and number == 1:
                return payload
            if kind == GOAWAY:
                raise UnreachableError(f"the server went away: {payload[8:].decode(errors='replace')}")
            if number == 1 and (kind == RST_STREAM or (kind == HEADERS and flags & END_STREAM)):
                return b""
