"""A command from inside an application's own workflow: a child workflow with the command's ID."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.workflow import ParentClosePolicy

with workflow.unsafe.imports_passed_through():
    from oncelog.domain.commands import CLASS_COMMANDS, Command
    from oncelog.domain.results import CommandResult
    from oncelog.settings import Settings
    from oncelog.workflows.command import ClassCommand, InstanceCommand
    from oncelog.workflows.presentation import fairness, search_attributes, summary

#: A function that a test environment gives to workers: the task queue of its installation.
TASK_QUEUE_FUNCTION = "oncelog_task_queue"
#: Between two looks at a command that another workflow or client has under way.
UNDER_WAY_S = timedelta(seconds=1)


def _task_queue() -> str:
    given = workflow.extern_functions().get(TASK_QUEUE_FUNCTION)
    return str(given()) if given else Settings.from_environment().task_queue


async def submit(command: Command, *, task_queue: str | None = None) -> CommandResult:
    """Run the command as a child workflow and return its result; for code of workflows only.

    The command's ID has to follow from the workflow's input, as ``f"{order_id}-reserve"`` does: then the command exists
    once, however often the workflow is reset or started again. A command that ran before gives its first result; a
    running command is awaited. It goes on to its end if the parent is terminated. ``task_queue``: the queue of the
    installation's workers; by default the queue that ``ONCELOG_NAMESPACE`` of this process gives, and in an
    ``OncelogEnvironment`` its own. Raises Temporal's ChildWorkflowError where the child was terminated.
    """
    queue = task_queue or _task_queue()
    kind = ClassCommand if command.command_type in CLASS_COMMANDS else InstanceCommand
    while True:
        try:
            result = await workflow.execute_child_workflow(
                kind.__name__,
                command.as_json,
                id=command.command_id,
                task_queue=queue,
                result_type=dict,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,  # the record in S3 gives the first result
                parent_close_policy=ParentClosePolicy.ABANDON,
                search_attributes=search_attributes(command),
                static_summary=summary(command),
                priority=fairness(command),
            )
        except WorkflowAlreadyStartedError:
            await workflow.sleep(UNDER_WAY_S)
        else:
            return CommandResult.model_validate(result)
