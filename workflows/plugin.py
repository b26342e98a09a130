"""The settings that a Temporal client, worker and replayer must share, in one plugin."""

from collections.abc import Sequence
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue
from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.converter import DataConverter
from temporalio.plugin import SimplePlugin
from temporalio.worker import (
    ExecuteWorkflowInput,
    Interceptor,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)

from oncelog.workflows.archive import Archive
from oncelog.workflows.arguments import SURPLUS
from oncelog.workflows.bulk import BulkCommand
from oncelog.workflows.check import ConsistencyCheck
from oncelog.workflows.child_command import TASK_QUEUE_FUNCTION
from oncelog.workflows.command import ClassCommand, InstanceCommand
from oncelog.workflows.replay import Replay

WORKFLOWS = (InstanceCommand, ClassCommand, BulkCommand, ConsistencyCheck, Replay, Archive)
_NAMES = frozenset(workflow.__name__ for workflow in WORKFLOWS)


class AnsweringPayloadConverter(PydanticPayloadConverter):
    """Leaves several values without types undecoded, such as the surplus arguments of a workflow.

    Decoding them would fail the workflow task for ever where one is unreadable; undecoded, they are refused with an
    answer. A single value, such as a result, is decoded as ever.
    """

    def from_payloads(self, payloads: Sequence[Payload], type_hints: list[type] | None = None) -> list[Any]:
        if type_hints is None and len(payloads) > 1:
            type_hints = [RawValue] * len(payloads)
        return super().from_payloads(payloads, type_hints)


class _OneArgument(WorkflowInboundInterceptor):
    """Starts a workflow that was given several arguments as one that was given none of use, which is then refused."""

    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:  # noqa: A002 - the SDK's name
        if input.type.__name__ in _NAMES and len(input.args) > 1:  # the sandbox has classes of its own
            input.args = [SURPLUS]
        return await super().execute_workflow(input)


class AnsweringInterceptor(Interceptor):
    """Sees to it that a command with too many arguments is answered, too.

    ``task_queue``: the one on which ``submit`` runs commands from inside workflows; without it, settings say so.
    """

    def __init__(self, task_queue: str | None = None) -> None:
        self._task_queue = task_queue

    def workflow_interceptor_class(
        self,
        input: WorkflowInterceptorClassInput,  # noqa: A002 - the SDK's name
    ) -> type[WorkflowInboundInterceptor]:
        if task_queue := self._task_queue:
            input.unsafe_extern_functions[TASK_QUEUE_FUNCTION] = lambda: task_queue  # a constant: safe in replays
        return _OneArgument


data_converter = DataConverter(payload_converter_class=AnsweringPayloadConverter)


def new_plugin(task_queue: str | None = None) -> SimplePlugin:
    """Return the plugin; ``task_queue``: the one for ``submit``, where the settings of the process are not to say."""
    interceptors = [AnsweringInterceptor(task_queue)]
    return SimplePlugin("oncelog", data_converter=data_converter, interceptors=interceptors, workflows=WORKFLOWS)


oncelog_plugin = new_plugin()
