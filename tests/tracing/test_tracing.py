"""Traces: spans and headers while an endpoint is configured, nothing at all while none is."""

import os
import subprocess
import sys
from collections.abc import Mapping
from typing import NamedTuple

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from structlog.testing import capture_logs

from oncelog import tracing
from oncelog.client import connection
from oncelog.errors import SettingsInvalid, StoreUnavailable
from oncelog.replay.trace import Trace
from oncelog.tracing import otlp
from tests.tracing.receiver import Receiver

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
SECRET = "canary-of-a-payload"


class Sent(NamedTuple):
    """A message as producers and subscribers have it."""

    key: bytes | None
    headers: tuple[tuple[str, bytes], ...]


def message(name: str, number: int, *headers: tuple[str, bytes]) -> Sent:
    return Sent(f"shop/Product/{name}".encode(), (("sequence_number", str(number).encode()), *headers))


#: All programs and the client, then what the application asks for; prints which modules came with it.
PROGRAMS = """
import sys
import oncelog.cli.app, oncelog.client.client, oncelog.projector, oncelog.reactor, oncelog.worker
from oncelog import tracing
from oncelog.client import connection
tracing.start("oncelog-test")
with tracing.span("step"), tracing.projecting("documents", []):
    tracing.annotate(sequence_number=1)
print(len(connection.trace_interceptors()))
print(*sorted(sys.modules))
"""
#: Other packages of OpenTelemetry are imported by the clients of Elasticsearch and Redis where they are installed.
OF_TRACES = (
    "opentelemetry.sdk.trace",
    "opentelemetry.exporter",
    "opentelemetry.proto",
    "temporalio.contrib.opentelemetry",
)


def loaded(environment: Mapping[str, str]) -> tuple[str, set[str]]:
    """Return what the programs print of themselves, and which modules of traces they load."""
    given = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    found = subprocess.run(
        [sys.executable, "-c", PROGRAMS], env={**given, **environment}, capture_output=True, text=True, check=True
    )
    interceptors, modules = found.stdout.splitlines()
    return interceptors, {name for name in modules.split() if name.startswith((*OF_TRACES, "oncelog.tracing."))}


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {ENDPOINT: ""},
        {ENDPOINT: "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"},
        {ENDPOINT: "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"},
    ],
    ids=["nothing set", "empty", "disabled", "no exporter"],
)
def test_without_an_endpoint_nothing_is_imported(environment: Mapping[str, str]):
    assert loaded(environment) == ("0", set())


def test_with_an_endpoint_the_sdk_is_imported():
    interceptors, modules = loaded({ENDPOINT: "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"})
    assert interceptors == "1"
    assert {"oncelog.tracing.otlp", "opentelemetry.sdk.trace", "temporalio.contrib.opentelemetry"} <= modules


def test_untraced_blocks_share_one_object():
    assert tracing.span("a") is tracing.span("b", sequence_number=1) is tracing.projecting("documents", [])
    with tracing.sending("topic", message("p1", 1)) as headers:
        assert list(headers) == []
    assert connection.trace_interceptors() == []


async def test_steps_are_children_of_what_is_under_way(traced: Receiver):
    steps = Trace()
    with tracing.span("submit_command", command_id="c1", aggregate_id="shop/Product/p1", actor=None):
        async with steps.step("persist"):
            tracing.annotate(sequence_number=3)
    tracing.stop()
    (command,), (step,) = traced.named("submit_command"), traced.named("persist")
    assert command.service == "oncelog-test"
    assert command.attributes == {"oncelog.command_id": "c1", "oncelog.aggregate_id": "shop/Product/p1"}
    assert (step.trace_id, step.parent_id) == (command.trace_id, command.span_id)
    assert step.attributes == {"oncelog.sequence_number": 3}


def test_failed_block_tells_its_type_and_no_text(traced: Receiver):
    with pytest.raises(StoreUnavailable), tracing.span("persist"):
        raise StoreUnavailable("S3", "writing", SECRET)
    tracing.stop()
    (step,) = traced.named("persist")
    assert (step.failed, step.status, step.events) == (True, "StoreUnavailable", 0)
    assert SECRET.encode() not in b"".join(traced.bodies)


def test_message_carries_the_trace_of_its_sending(traced: Receiver):
    with tracing.span("submit_command"), tracing.sending("instance_events", message("p1", 7)) as headers:
        ((name, value),) = headers
    tracing.stop()
    (command,), (sent,) = traced.named("submit_command"), traced.named("publish_event")
    assert name == "traceparent"
    assert value.startswith(f"00-{sent.trace_id}-{sent.span_id}-".encode())
    assert sent.parent_id == command.span_id
    assert sent.attributes == {
        "oncelog.aggregate_id": "shop/Product/p1",
        "oncelog.sequence_number": 7,
        "messaging.system": "kafka",
        "messaging.destination.name": "instance_events",
    }


def test_batch_continues_the_trace_of_each_message(traced: Receiver):
    sent: list[Sent] = []
    for number in (1, 2):
        with tracing.sending("instance_events", message("p1", number)) as headers:
            sent.append(message("p1", number, *headers))
    unreadable = [message("p2", 1, ("traceparent", value)) for value in (b"", b"rubbish", b"\xff", b"00-0-0-01")]
    with tracing.projecting("documents", [*sent, message("p3", 1), *unreadable]):
        pass
    tracing.stop()
    (batch,), events = traced.named("project_batch"), traced.named("project_event")
    published = {each.attributes["oncelog.sequence_number"]: each for each in traced.named("publish_event")}
    assert batch.attributes["messaging.batch.message_count"] == 7
    assert [each.attributes["oncelog.sequence_number"] for each in events] == [1, 2]
    for event in events:
        before = published[event.attributes["oncelog.sequence_number"]]
        assert (event.trace_id, event.parent_id) == (before.trace_id, before.span_id)
        assert event.linked == [batch.span_id]
    assert batch.trace_id not in {event.trace_id for event in events}


def test_failed_batch_fails_in_each_trace(traced: Receiver):
    with tracing.sending("instance_events", message("p1", 1)) as headers:
        sent = message("p1", 1, *headers)
    with pytest.raises(KeyError), tracing.projecting("documents", [sent]):
        raise KeyError(SECRET)
    tracing.stop()
    assert [(each.failed, each.status) for each in traced.named("project_event")] == [(True, "KeyError")]
    assert SECRET.encode() not in b"".join(traced.bodies)


@pytest.mark.usefixtures("traced")
def test_only_the_first_start_counts():
    first = tracing.tracer()
    tracing.start("another")
    assert tracing.tracer() is first
    tracing.stop()
    assert tracing.tracer() is None


def test_standard_variables_name_the_service(traced: Receiver, monkeypatch: pytest.MonkeyPatch):
    tracing.stop()
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=shop-worker")
    tracing.start("oncelog-worker")
    with tracing.span("persist"):
        pass
    tracing.stop()
    assert [span.service for span in traced.named("persist")] == ["shop-worker"]


def test_provider_of_the_application_is_used(monkeypatch: pytest.MonkeyPatch):
    kept, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    spans = otlp.exporting("oncelog-client", {ENDPOINT: "http://127.0.0.1:1"})
    with spans.span("submit_command", {}):
        pass
    spans.close()
    assert [span.name for span in kept.get_finished_spans()] == ["submit_command"]
    provider.shutdown()


def test_end_does_not_wait_for_a_silent_collector(traced: Receiver, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(otlp, "CLOSE_TIMEOUT_S", 0.05)
    traced.answering.clear()
    with tracing.span("persist"):
        pass
    tracing.stop()
    assert not traced.answering.is_set()
    assert traced.spans == []


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({ENDPOINT: "collector:4318"}, ENDPOINT),
        (
            {ENDPOINT: "http://collector:4318", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"},
            "OTEL_EXPORTER_OTLP_PROTOCOL",
        ),
    ],
    ids=["no scheme", "another protocol"],
)
def test_unusable_variables_are_refused(environment: Mapping[str, str], named: str, monkeypatch: pytest.MonkeyPatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsInvalid, match=f"^{named}: expected "):
        tracing.start("oncelog-test")
    assert tracing.tracer() is None


@pytest.mark.parametrize("missing", ["the SDK", "the exporter"])
def test_missing_packages_are_told_and_no_failure(missing: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:1")
    if missing == "the SDK":
        monkeypatch.setitem(sys.modules, "oncelog.tracing.otlp", None)
    else:
        monkeypatch.setattr(otlp, "entry_points", lambda **_: ())
    with capture_logs() as entries:
        tracing.start("oncelog-test")
    assert [entry["event"] for entry in entries] == ["traces_not_exported"]
    assert tracing.tracer() is None
