"""The floors: workflows with as many steps as a command has, which do nothing but carry messages of the same size.

``Floor`` has the two local activities in which a command's steps are done, ``FloorOfSteps`` one for each of the seven.
"""

from datetime import timedelta

from temporalio import activity, workflow

with workflow.unsafe.imports_passed_through():
    from oncelog.activities.models import CommitReport, CommitRequest, DeliverReport, DeliverRequest
    from oncelog.domain.commands import Command
    from oncelog.domain.results import CommandResult, Outcome
    from oncelog.replay.trace import StepReport
    from oncelog.workflows import policies

AT = "2026-01-01T12:00:00.000000Z"
STEPS = [StepReport(name, AT, 1.0, "did nothing") for name in ("claim", "allocate", "record", "persist", "publish")]
DELIVERY = [StepReport(name, AT, 1.0, "did nothing") for name in ("project", "complete")]


class FloorActivities:
    """Steps that do nothing."""

    @activity.defn
    async def first(self, request: CommitRequest) -> CommitReport:
        """Answer as ``commit_command`` does."""
        command = request.command
        result = CommandResult(
            command_id=command["command_id"],
            command_hash="0" * 64,
            outcome=Outcome.APPLIED,
            aggregate_id=f"{command['db_name']}/{command['class_id']}/{command['instance_id']}",
            sequence_number=1,
            event_id=command["command_id"],
            consistency_token="0" * 80,
        )
        return CommitReport(result=result, published=True, steps=STEPS)

    @activity.defn
    async def step(self, _request: CommitRequest) -> StepReport:
        """Answer as one step does."""
        return STEPS[0]

    @activity.defn
    async def second(self, _request: DeliverRequest) -> DeliverReport:
        """Answer as ``deliver_event`` does."""
        return DeliverReport(steps=DELIVERY)


@workflow.defn
class Floor:
    """Two local activities, one after the other."""

    @workflow.run
    async def run(self, command: Command) -> CommandResult:
        """Return the first one's result."""
        request = CommitRequest(command=command.model_dump(mode="json", exclude_none=True), occurred_at=AT)
        report = await workflow.execute_local_activity_method(
            FloorActivities.first,
            request,
            start_to_close_timeout=timedelta(seconds=5),
            retry_policy=policies.ONCE,
            summary="the first of two",
        )
        await workflow.execute_local_activity_method(
            FloorActivities.second,
            DeliverRequest(command_type=command.command_type, result=report.result, published=True, steps=report.steps),
            start_to_close_timeout=timedelta(seconds=5),
            retry_policy=policies.ONCE,
            summary="the second of two",
        )
        return report.result


@workflow.defn
class FloorOfSteps:
    """Seven local activities, one after the other."""

    @workflow.run
    async def run(self, command: Command) -> list[StepReport]:
        """Return what each said."""
        request = CommitRequest(command=command.model_dump(mode="json", exclude_none=True), occurred_at=AT)
        return [
            await workflow.execute_local_activity_method(
                FloorActivities.step,
                request,
                start_to_close_timeout=timedelta(seconds=5),
                retry_policy=policies.ONCE,
                summary=step.name,
            )
            for step in (*STEPS, *DELIVERY)
        ]
