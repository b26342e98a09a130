"""What a Temporal client, worker and replayer must agree on, in one plugin."""

from collections.abc import Sequence
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue
from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.converter import DataConverter
from temporalio.plugin import SimplePlugin

from workflows.command import InstanceCommand

WORKFLOWS = (InstanceCommand,)


class AnsweringPayloadConverter(PydanticPayloadConverter):
    """Leaves undecoded what nobody gave a type for, such as the surplus arguments of a workflow.

    Decoding them would fail the workflow task for ever where one is unreadable; undecoded, they are refused with an
    answer.
    """

    def from_payloads(self, payloads: Sequence[Payload], type_hints: list[type] | None = None) -> list[Any]:
        return super().from_payloads(payloads, type_hints or [RawValue] * len(payloads))


data_converter = DataConverter(payload_converter_class=AnsweringPayloadConverter)
factline_plugin = SimplePlugin("factline", data_converter=data_converter, workflows=WORKFLOWS)
