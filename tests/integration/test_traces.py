"""One command's trace on real servers: client, worker and projector as processes, and a receiver of OTLP."""

import asyncio

import pytest
from temporalio.worker import Replayer

from oncelog.client import connection
from oncelog.domain.identifiers import AggregateId
from oncelog.stores.kafka.topic_reader import read_topic
from oncelog.workflows.plugin import oncelog_plugin
from tests.integration.installation import Installation, run_oncelog
from tests.tracing.receiver import ReceivedSpan, Receiver, otlp_receiver

pytestmark = pytest.mark.integration

UNTIL_S = 120.0  # nothing takes as long, unless it never comes
MARKER = "marker-5b2a"
COMMAND_ID = "traced-1"
ACTIVITIES = {"RunActivity:commit_command", "RunActivity:deliver_event"}
#: Names of the spans of one command.
EXPECTED = {
    "submit_command",
    "StartWorkflow:InstanceCommand",
    "RunWorkflow:InstanceCommand",
    *ACTIVITIES,
    "claim",
    "allocate",
    "record",
    "persist",
    "publish",
    "publish_event",
    "project_event",
}


async def test_one_trace_leads_from_client_to_read_model(installation: Installation):
    with otlp_receiver() as receiver:
        await (await installation.worker_process(**receiver.variables)).ready()
        await (await installation.projector_process("documents", **receiver.variables)).ready()
        given = {**installation.variables, **receiver.variables, "TEMPORAL_NAMESPACE": installation.temporal.namespace}
        submitted = ("submit", "create", "shop/Product/p1", "--id", COMMAND_ID, "-p", f'{{"name": "{MARKER}"}}')
        code, (result,) = await run_oncelog(given, *submitted)
        assert (code, result["outcome"]) == (0, "APPLIED")
        spans = await whole_trace(receiver)
        code, (again,) = await run_oncelog(given, *submitted)
        assert (code, again["sequence_number"]) == (0, 1)
    assert_connected(spans)
    assert_named(spans)
    assert MARKER.encode() not in b"".join(receiver.bodies)
    await assert_message_is_the_event(installation, spans)
    await assert_replayed_without_traces(installation)
    await installation.check()


async def whole_trace(receiver: Receiver) -> list[ReceivedSpan]:
    """Wait until the last program has exported its part, and return the spans of the command's trace."""
    async with asyncio.timeout(UNTIL_S):
        while True:
            roots = receiver.named("submit_command")
            spans = [span for span in list(receiver.spans) if roots and span.trace_id == roots[0].trace_id]
            if {span.name for span in spans} >= EXPECTED:
                return spans
            await asyncio.sleep(0.05)


def assert_connected(spans: list[ReceivedSpan]) -> None:
    by_id = {span.span_id: span for span in spans}
    (root,) = [span for span in spans if not span.parent_id]
    assert root.name == "submit_command"
    assert not [span for span in spans if span.parent_id and span.parent_id not in by_id]
    (event,) = [span for span in spans if span.name == "project_event"]
    services = []
    while event is not root:
        services.append(event.service)
        event = by_id[event.parent_id]
    assert services[0] == "oncelog-projector"
    assert "oncelog-worker" in services
    assert root.service == "oncelog"


def assert_named(spans: list[ReceivedSpan]) -> None:
    activities = [span for span in spans if span.name in ACTIVITIES]
    assert {span.name for span in activities} == ACTIVITIES
    for span in activities:
        assert span.attributes["oncelog.command_id"] == COMMAND_ID
        assert span.attributes["oncelog.aggregate_id"] == "shop/Product/p1"
        assert span.attributes["oncelog.sequence_number"] == 1
    (projected,) = [span for span in spans if span.name == "project_event"]
    assert projected.attributes["oncelog.read_model"] == "documents"
    assert projected.attributes["oncelog.sequence_number"] == 1
    assert not [span for span in spans if span.failed]


async def assert_message_is_the_event(installation: Installation, spans: list[ReceivedSpan]) -> None:
    (message,) = await read_topic(installation.settings, installation.settings.instance_topic)
    stored = await installation.stores.ports.event_log.read_event(AggregateId.parse("shop/Product/p1"), 1)
    assert stored is not None
    assert message.value == stored.event.canonical
    (published,) = [span for span in spans if span.name == "publish_event"]
    traceparent = dict(message.headers)["traceparent"].decode()
    assert traceparent.split("-")[1:3] == [published.trace_id, published.span_id]


async def assert_replayed_without_traces(installation: Installation) -> None:
    """A history that was written with traces is replayed by a worker without them."""
    assert connection.trace_interceptors() == []
    history = await installation.temporal.get_workflow_handle(COMMAND_ID).fetch_history()
    assert "_tracer-data" in history.to_json()
    replayed = await Replayer(workflows=[], plugins=[oncelog_plugin]).replay_workflow(history)
    assert replayed.replay_failure is None
