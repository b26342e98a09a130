"""Health checks understand what servers really say, well or not."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from stack.errors import UnreachableError
from stack.servers import BY_NAME
from stack.servers.elasticsearch import jvm_options
from stack.servers.kafka import require_controller
from stack.servers.temporal import check_through_ui

Answering = Callable[[bytes], AbstractContextManager[int]]


@contextmanager
def answering(answer: bytes, *, each: bytes | None = None) -> Iterator[int]:
    """Serve one client with these bytes, once or for each `each` that it sends; yield the port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                request = connection.recv(65536)
                while each is not None and answer and request:
                    connection.sendall(answer * request.count(each))
                    request = connection.recv(65536)
                if each is None:
                    connection.sendall(answer)
                    connection.shutdown(socket.SHUT_WR)
                    connection.recv(65536)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""], ids=["not HTTP/2", "silent"])
def test_temporal_that_is_none_is_unreachable(answer: bytes) -> None:
    with answering(answer) as port, pytest.raises(UnreachableError, match=f"Temporal at 127.0.0.1:{port} does not"):
        BY_NAME["temporal"].check({"TEMPORAL_ADDRESS": f"127.0.0.1:{port}"})


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (b"+PONG\r\n", None),
        (b"-LOADING Redis is loading the dataset in memory\r\n", "is loading the dataset"),
        (b"-NOAUTH Authentication required.\r\n", "Authentication required"),
        (b"", "does not answer PING"),
    ],
    ids=["well", "loading", "locked", "closed"],
)
def test_redis_health(answer: bytes, complaint: str | None) -> None:
    with answering(answer, each=b"*") as port:
        environment = {"ONCELOG_REDIS_URL": f"redis://127.0.0.1:{port}/0"}
        if complaint is None:
            BY_NAME["redis"].check(environment)
        else:
            with pytest.raises(UnreachableError, match=complaint):
                BY_NAME["redis"].check(environment)


@pytest.mark.parametrize(
    ("status", "colour", "complaint"),
    [
        ("200 OK", "green", None),
        ("200 OK", "yellow", None),
        ("200 OK", "red", r"is red, .* \(2 without a primary shard, such as lamps\)"),
        ("503 No", "red", "503"),
    ],
)
def test_elasticsearch_health(status: str, colour: str, complaint: str | None) -> None:
    indices = {"desks": "green", "lamps": colour, "shelves": colour}
    body = json.dumps({"status": colour, "indices": {name: {"status": each} for name, each in indices.items()}})
    answer = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    with answering(answer.encode()) as port:
        environment = {"ONCELOG_ELASTICSEARCH_URL": f"http://127.0.0.1:{port}"}
        if complaint is None:
            BY_NAME["elasticsearch"].check(environment)
        else:
            with pytest.raises(UnreachableError, match=complaint):
                BY_NAME["elasticsearch"].check(environment)


@pytest.mark.parametrize(
    ("statuses", "complaint"),
    [((200, 200), None), ((200, 404), None), ((502, 200), "Web UI"), ((200, 503), r"interrupted \(9\)")],
    ids=["well", "no such namespace", "no Web UI", "its storage is stuck"],
)
def test_temporal_is_asked_for_its_storage(statuses: tuple[int, int], complaint: str | None) -> None:
    page, namespace = statuses

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b'{"code": 14, "message": "GetNamespace operation failed. Error interrupted (9)"}'
            self.send_response(namespace if self.path == "/api/v1/namespaces/shop" else page)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with nullcontext() if complaint is None else pytest.raises(UnreachableError, match=complaint):
                check_through_ui(f"http://127.0.0.1:{server.server_address[1]}", "shop")
        finally:
            server.shutdown()
            thread.join()


def test_s3_is_well_when_it_refuses_a_request_without_signature() -> None:
    with answering(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n") as port:
        BY_NAME["s3"].check({"ONCELOG_S3_ENDPOINT_URL": f"http://127.0.0.1:{port}"})
    with (
        answering(b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n\r\n") as port,
        pytest.raises(UnreachableError, match="503"),
    ):
        BY_NAME["s3"].check({"ONCELOG_S3_ENDPOINT_URL": f"http://127.0.0.1:{port}"})


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""], ids=["not Kafka", "silent"])
def test_kafka_that_is_none_is_unreachable(answer: bytes) -> None:
    with answering(answer) as port, pytest.raises(UnreachableError, match=f"Kafka at 127.0.0.1:{port} does not"):
        BY_NAME["kafka"].check({"ONCELOG_KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{port}"})


@pytest.mark.parametrize(("brokers", "controller"), [(0, 1), (1, -1)], ids=["fenced", "headless"])
def test_kafka_without_a_leader_is_not_well(brokers: int, controller: int) -> None:
    nodes = [{"node_id": node, "host": "127.0.0.1", "port": 9092, "rack": None} for node in range(brokers)]
    with pytest.raises(UnreachableError, match=f"knows {brokers} brokers and controller {controller}"):
        require_controller("127.0.0.1:9092", {"brokers": nodes, "controller_id": controller})


def test_postgresql_that_is_none_is_unreachable() -> None:
    with answering(b"no") as port, pytest.raises(UnreachableError, match="PostgreSQL is not ready"):
        BY_NAME["postgresql"].check({"ONCELOG_POSTGRESQL_URL": f"postgresql://oncelog@127.0.0.1:{port}/postgres"})


def test_elasticsearch_gets_our_heap_and_no_log_of_collections() -> None:
    shipped = "-Xms4g\n-Xmx4g\n-XX:+UseG1GC\n-Xlog:gc*:file=gc.log\n-Djava.io.tmpdir=${ES_TMPDIR}\n"
    kept = ["-XX:+UseG1GC", "-Djava.io.tmpdir=${ES_TMPDIR}", "-Xms512m", "-Xmx512m"]
    assert jvm_options(shipped).split() == kept
    assert jvm_options(shipped, ["-Xint"]).split() == [*kept, "-Xint"]
