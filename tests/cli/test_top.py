"""``oncelog top``: an installation at a glance, whatever its servers answer."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest
from botocore.exceptions import ClientError
from temporalio.api.enums.v1 import PendingWorkflowTaskState
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionResponse

from oncelog.checks.report import CheckVerdict, InvariantsReport, sections_of
from oncelog.checks.scope import CheckMode
from oncelog.checks.step_report import ReadTotals, StepReport
from oncelog.cli.exits import Exit
from oncelog.cli.terminal import Terminal
from oncelog.cli.top_view import exit_of, glance_fields, glance_view
from oncelog.client.backlog import Backlog, StuckCommand, stuck_reason
from oncelog.client.glance import Glance, GlanceSources, ServerState, Silent, read_glance
from oncelog.domain.dead_letters import DeadLetter, DeadLetterKind
from oncelog.errors import StoreUnavailable
from oncelog.stores.kafka.lag import ProjectorLag
from oncelog.stores.s3.refusals import refused

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
SECONDS_MAX = 60

T = TypeVar("T")


def answering(value: T) -> Callable[[], Awaitable[T]]:
    async def answer() -> T:
        return value

    return answer


async def never() -> Any:
    await asyncio.Event().wait()


async def refusing() -> Any:
    raise StoreUnavailable("Kafka at kafka:9092", "asking", "connection refused")


def report(verdict: CheckVerdict) -> InvariantsReport:
    return InvariantsReport(
        check_id="c1",
        verdict=verdict,
        scope="everything",
        mode=CheckMode.FULL,
        coverage="all",
        speaks_of=None,
        ended_at=NOW - timedelta(hours=3, minutes=5),
        seconds=1.0,
        read=ReadTotals(),
        sections=sections_of(StepReport(), probes=0),
    )


STUCK = StuckCommand(
    "make-p1", "InstanceCommand", "shop/Product/p1", NOW - timedelta(minutes=7), "deliver_event: refused", 41
)
LETTER = DeadLetter(
    read_model="graph",
    aggregate_id="shop/Product/p2",
    number=1,
    kind=DeadLetterKind.PARKED,
    sequence_number=2,
    at="2026-11-28T11:00:00Z",
    by="projector",
    code="DataUnfit",
    reason="\x1b[2Jcannot be read",
)
WELL = GlanceSources(
    workers=answering(True),
    backlog=answering(Backlog({("InstanceCommand", 0): 3, ("InstanceCommand", 60): 1, ("BulkCommand", 0): 1})),
    stuck=answering([]),
    lags=answering(
        [
            ProjectorLag("documents", {0: 0, 1: 0}, committed=True),
            ProjectorLag("graph", {0: 2, 1: 5}, committed=True, oldest_age_s=200),
        ]
    ),
    dead_letters=answering([]),
    check=answering(report(CheckVerdict.SOUND)),
    servers={"Redis": answering(ServerState("answers"))},
)


async def picture(sources: GlanceSources, *, timeout_s: float = SECONDS_MAX) -> Glance:
    return replace(await read_glance(sources, timeout_s=timeout_s), at=NOW)


def shown(glance: Glance) -> str:
    terminal = Terminal(width=80)
    with terminal.capture() as capture:
        terminal.print(glance_view(glance))
    return capture.get()


async def test_healthy_installation_is_fine():
    glance = await picture(WELL)
    assert exit_of(glance) is Exit.FINE
    assert [line.rstrip() for line in shown(glance).splitlines()] == [
        "Is it healthy?   2026-11-28T12:00:00Z",
        "workers  one or more ask for commands",
        "Redis    answers",
        "Does it keep up?",
        "commands   4 under way; 1 for 1 min and more",
        "archive    not scheduled, and no run of everything is known",
        "documents  has all messages",
        "graph      7 messages behind, the oldest sent 3 min ago; 5 in partition 1",
        "Is it correct?",
        "last check  SOUND 3 h ago, full",
        "Is anything stuck?",
        "commands  none",
        "dead letters  none",
    ]


async def test_silent_sources_hold_up_no_other():
    sources = replace(WELL, backlog=never, lags=refusing, servers={"Redis": never, "Elasticsearch": refusing})
    glance = await picture(sources, timeout_s=0.01)
    assert glance.silent == {
        "backlog": "none within 0.01 s",
        "lags": "connection refused",
        "Redis": "none within 0.01 s",
        "Elasticsearch": "connection refused",
    }
    assert exit_of(glance) is Exit.UNREACHABLE
    text = shown(glance)
    assert "projectors  no answer: connection refused" in text
    assert "last check  SOUND 3 h ago" in text


async def test_projectors_that_never_ran_are_named():
    lags = [
        ProjectorLag("documents", {0: 3}, committed=False, awaited=False),
        ProjectorLag("orders", {0: 3}, committed=False, oldest_age_s=7_300),
    ]
    text = shown(await picture(replace(WELL, lags=answering(lags))))
    assert "documents  no projector has run; workers project by themselves" in text
    assert "3 messages behind, the oldest sent 2 h ago; 3 in partition 0; no" in text


async def test_missing_bucket_is_named_with_its_remedy():
    async def no_bucket() -> Any:
        error = ClientError({"Error": {"Code": "NoSuchBucket", "Message": "none"}}, "ListObjectsV2")
        raise refused(error, "S3 at s3:7070", "facts", "listing checks")

    glance = await picture(replace(WELL, check=no_bucket))
    assert glance.silent["check"].startswith("bucket facts (missing): start oncelog-worker, which makes it")


async def test_stuck_command_is_named_with_its_reason():
    glance = await picture(replace(WELL, stuck=answering([STUCK])))
    assert exit_of(glance) is Exit.FINDINGS
    lines = [line.strip() for line in shown(glance).splitlines()]
    at = lines.index("make-p1")
    assert lines[at + 1 : at + 3] == [
        "InstanceCommand, shop/Product/p1, started 7 min ago; tried 41 times",
        "deliver_event: refused",
    ]


def test_reason_is_the_step_that_fails_most_often():
    described = DescribeWorkflowExecutionResponse()
    described.pending_activities.add(attempt=1).activity_type.name = "publish_event"
    for name, attempt in (("project_graph", 2), ("deliver_event", 41)):
        activity = described.pending_activities.add(attempt=attempt)
        activity.activity_type.name, activity.last_failure.message = name, "refused"
    assert stuck_reason(described) == ("deliver_event: refused", 41)


@pytest.mark.parametrize(
    ("state", "attempt", "expected"),
    [
        (PendingWorkflowTaskState.PENDING_WORKFLOW_TASK_STATE_SCHEDULED, 1, ("it waits for a worker", 0)),
        (PendingWorkflowTaskState.PENDING_WORKFLOW_TASK_STATE_STARTED, 1, ("", 0)),
        (
            PendingWorkflowTaskState.PENDING_WORKFLOW_TASK_STATE_STARTED,
            3,
            ("its workflow task fails; see its workflow", 3),
        ),
    ],
)
def test_reason_without_a_failing_step(state: Any, attempt: int, expected: tuple[str, int]):
    described = DescribeWorkflowExecutionResponse()
    described.pending_workflow_task.state = state
    described.pending_workflow_task.attempt = attempt
    assert stuck_reason(described) == expected


async def test_texts_of_others_cannot_act_on_the_terminal():
    text = shown(await picture(replace(WELL, dead_letters=answering([LETTER]))))
    assert "\x1b" not in text
    assert "DataUnfit: \\u001b[2Jcannot be read" in text


@pytest.mark.parametrize(
    "change",
    [
        {"workers": answering(False)},
        {"dead_letters": answering([LETTER])},
        {"check": answering(report(CheckVerdict.VIOLATED))},
        {"servers": {"Elasticsearch": answering(ServerState("answers, red", well=False))}},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_finding_has_the_exit_code_of_findings(change: dict[str, Any]):
    assert exit_of(await picture(replace(WELL, **change))) is Exit.FINDINGS


async def test_a_check_that_is_lacking_is_said():
    glance = await picture(replace(WELL, check=answering(None)))
    assert "none of everything has ended; run oncelog check" in shown(glance)
    assert exit_of(glance) is Exit.FINE


async def test_json_tells_silence_from_nothing():
    fields = glance_fields(await picture(replace(WELL, check=answering(None), stuck=refusing)))
    assert json.loads(json.dumps(fields)) == {
        "at": "2026-11-28T12:00:00+00:00",
        "workers": True,
        "servers": {"Redis": {"text": "answers", "well": True}},
        "backlog": {
            "pending": [
                {"workflow_type": "InstanceCommand", "older_than_s": 0, "count": 3},
                {"workflow_type": "InstanceCommand", "older_than_s": 60, "count": 1},
                {"workflow_type": "BulkCommand", "older_than_s": 0, "count": 1},
            ],
            "archived_through": None,
            "archive_scheduled": None,
        },
        "lags": [
            {
                "read_model": "documents",
                "committed": True,
                "awaited": True,
                "oldest_age_s": 0.0,
                "messages": {"0": 0, "1": 0},
            },
            {
                "read_model": "graph",
                "committed": True,
                "awaited": True,
                "oldest_age_s": 200,
                "messages": {"0": 2, "1": 5},
            },
        ],
        "check": None,
        "stuck": None,
        "dead_letters": [],
        "silent": {"stuck": "connection refused"},
    }


async def test_no_line_is_wider_than_the_terminal():
    silent = replace(WELL, workers=refusing, backlog=refusing, lags=refusing, check=refusing)
    for sources in (silent, replace(WELL, stuck=answering([STUCK] * 9), dead_letters=answering([LETTER] * 9))):
        glance = await picture(sources)
        assert all(len(line) <= 80 for line in shown(glance).splitlines())
        assert isinstance(glance.workers, Silent) or "… and 4 more" in shown(glance)
