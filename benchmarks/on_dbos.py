"""The contender beside it: DBOS on PostgreSQL, with the same two steps on the same stores."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from dbos import DBOS, DBOSConfig, SetWorkflowID

from benchmarks.commands import creation
from benchmarks.contenders import Contender, asked
from oncelog.activities.command import CommandActivities
from oncelog.activities.models import CommitRequest, DeliverRequest
from oncelog.composition.pipeline import assemble
from oncelog.replay.trace import utc_now
from oncelog.settings import Settings
from oncelog.stores.opening import Stores


@dataclass
class OnDbos:
    """The same two steps, on DBOS. ``url``: its PostgreSQL."""

    url: str

    @asynccontextmanager
    async def opened(self, settings: Settings) -> AsyncIterator[Contender]:
        """Call the workflow where it runs, which is the quickest way: nothing is queued and no result is polled for."""
        steps: CommandActivities
        config = DBOSConfig(name="bench", system_database_url=self.url, log_level="ERROR")
        DBOS(config=config)

        @DBOS.step(name="commit")
        async def commit(request: dict[str, object]) -> dict[str, object]:
            return (await steps.commit_command(CommitRequest.model_validate(request))).model_dump(mode="json")

        @DBOS.step(name="deliver")
        async def deliver(request: dict[str, object]) -> dict[str, object]:
            return (await steps.deliver_event(DeliverRequest.model_validate(request))).model_dump(mode="json")

        @DBOS.workflow(name="command")
        async def command_workflow(command: dict[str, object], occurred_at: str) -> dict[str, object]:
            report: dict[str, object] = await commit(
                CommitRequest(command=command, occurred_at=occurred_at).model_dump(mode="json")
            )
            delivered = await deliver({"command_type": command["command_type"], **report})
            assert not delivered["failures"], delivered
            return report

        try:
            async with await Stores.connect(settings) as stores:
                pipeline = assemble(stores.ports, settings)
                steps = CommandActivities(pipeline, stores.ports.statuses)

                async def ask() -> None:
                    command = creation()
                    with SetWorkflowID(command.command_id):
                        await command_workflow(command.model_dump(mode="json", exclude_none=True), utc_now())

                DBOS.launch()
                yield Contender(ask, lambda: asked(stores))
                await pipeline.close()
        finally:
            DBOS.destroy(destroy_registry=True)  # takes the loop's own threads with it, so it comes last
