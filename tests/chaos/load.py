"""The clients: each does what was drawn for it, one call after the other, and writes down what it asked and heard."""

import asyncio
import contextlib
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from temporalio.service import RPCError

from oncelog.client.client import Oncelog
from oncelog.domain.bulk.command import Bulk, BulkPayload, BulkType
from oncelog.domain.commands import Command, CommandType
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.results import CommandResult, RejectionCode
from oncelog.errors import NotYetVisible, OncelogError
from oncelog.settings import Settings
from oncelog.stores.opening import Stores
from oncelog.verification.history import HistoryWriter
from tests.chaos import shop, users
from tests.chaos.hostile import HOSTILE
from tests.chaos.plan import PlannedCall, plan_calls

DB_NAME, CLASS_IDS = "chaos", ("Product", "Order")
CALL_TIMEOUT_S = 20.0
READ_TIMEOUT_S = 10.0
ATTACH_AGAIN_AFTER_S = 5.0
SETTLE_POLL_S = 0.2
ITEMS = 40
"""Of a bulk command: several chunks, as the workers are set."""
REMEMBERED_MAX = 50
"""Of a client's own commands, for those that it sends once more."""


@dataclass
class Pending:
    """A command of which nothing is known. ``asked_s``: when that was found out, on the monotonic clock."""

    client: int
    command: Command | Bulk
    asked_s: float


@dataclass
class ReconcileSummary:
    """The calls and answers of all clients together; code that waits for calls under way looks here.

    Calls under way or unknown are kept under their command's hash, since one command ID may be used for two contents.
    """

    calls: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    commands: set[str] = field(default_factory=set)
    in_flight: set[str] = field(default_factory=set)
    unknown: dict[str, Pending] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    warm: int = 0
    """How many clients have created their share of the hot aggregates."""

    @property
    def unanswered(self) -> set[str]:
        return self.in_flight | set(self.unknown)


class Client:
    """One client with a connection of its own. It remembers what it saw, as an application would."""

    def __init__(
        self,
        number: int,
        *,
        clients: int,
        stores: Stores,
        settings: Settings,
        history: HistoryWriter,
        tally: ReconcileSummary,
        seed: int,
    ) -> None:
        self._number = number
        self._clients = clients
        self._oncelog = Oncelog(stores.ports, settings)
        self._settings = settings
        self._history = history
        self._tally = tally
        self._seed = seed
        self._actor = f"client-{number}"
        self._sent = 0
        self._seen: dict[AggregateId, int] = {}
        self._orders: deque[tuple[str, str]] = deque(maxlen=REMEMBERED_MAX)
        self._own: deque[Command | Bulk] = deque(maxlen=REMEMBERED_MAX)

    async def work(self, *, aggregates: int, calls: Mapping[str, int], until: asyncio.Event) -> None:
        """Create this client's share of the hot aggregates, then do what is drawn for it, until told to stop."""
        for number in range(self._number, aggregates, self._clients):
            await self.submit(self._new(CommandType.CREATE_INSTANCE, _place(number), value=number))
        self._tally.warm += 1
        for call in plan_calls(self._seed, self._number, aggregates=aggregates, calls=calls):
            if until.is_set():
                return
            await self._attach_again()
            self._tally.calls[call.what] += 1
            await self._do(call)

    async def define_users(self) -> None:
        """Define the class of users, and return when it is defined."""
        await self._apply(users.definition(DB_NAME, self._new_id()))

    async def open_accounts(self) -> None:
        """Give all customers of the shop credit, and return when they have it."""
        for number in range(shop.CUSTOMERS):
            await self._apply(shop.opening(number, command_id=self._new_id()))

    async def _apply(self, command: Command) -> None:
        """Submit a command until it is answered; complain where it is rejected."""
        while (result := await self.submit(command)) is None:
            continue
        if result.rejection:
            self._complain(f"{command.command_id}: expected to be applied: {result.rejection.message}")

    async def _do(self, call: PlannedCall) -> None:
        if call.what == "hostile":
            await self._hostile(call)
            return
        command = self._command(call)
        if call.what == "twice":
            result, _ = await asyncio.gather(self.submit(command), self.submit(command, early=call.early))
        else:
            result = await self.submit(command, early=call.early)
        if call.read and result and result.consistency_token and result.aggregate_id:
            await self.read(AggregateId.parse(str(result.aggregate_id)), result.consistency_token)

    def _command(self, call: PlannedCall) -> Command | Bulk:
        """Make the command that was drawn. A repetition is of a command this client has sent, where there is one."""
        if call.what in ("repeat", "reuse") and self._own:
            earlier = self._own[call.value % len(self._own)]
            if call.what == "repeat" or earlier.hash in self._tally.unknown:
                return earlier
            return earlier.model_copy(update={"metadata": {"reused": call.value}})
        if call.what == "bulk":
            return self._bulk(call)
        if call.what in users.CALLS:
            return users.user_command(call, db_name=DB_NAME, command_id=self._new_id(), actor=self._actor)
        if call.what in shop.CALLS:
            return shop.shop_command(call, command_id=self._new_id(), actor=self._actor, placed=self._orders)
        types = {
            "create": CommandType.CREATE_INSTANCE,
            "new": CommandType.CREATE_INSTANCE,
            "delete": CommandType.DELETE_INSTANCE,
        }
        command_type = types.get(call.what, CommandType.UPDATE_INSTANCE)
        place = None if call.what == "new" else _place(call.aggregate)
        return self._new(command_type, place, value=call.value, expects=call.expects)

    def _new(
        self, command_type: CommandType, place: AggregateId | None, *, value: int, expects: bool = False
    ) -> Command:
        """Make a new command; ``place`` None: for an instance that gets its ID from the command's."""
        payload = {"value": value, f"field-{value % 7}": f"client {self._number} ü\u2028"}
        return Command(
            command_id=self._new_id(),
            command_type=command_type,
            db_name=DB_NAME,
            class_id=place.class_id if place else CLASS_IDS[0],
            instance_id=place.instance_id if place else None,
            payload={} if command_type is CommandType.DELETE_INSTANCE else payload,
            expected_version=self._seen.get(place) if place and expects else None,
            actor=self._actor,
        )

    def _bulk(self, call: PlannedCall) -> Bulk:
        """Make a bulk command on hot aggregates of one class, some of them more than once, or on new instances."""
        updating, anew = call.value % 5 < 3, call.value % 5 == 4
        places = [_place(call.aggregate + len(CLASS_IDS) * (number * number % 17)) for number in range(ITEMS)]
        items = [
            {"payload": {"value": call.value, "item": number}}
            | ({} if anew else {"instance_id": place.instance_id})
            | ({"expected_version": self._seen.get(place, 0)} if updating and call.expects and number % 7 == 0 else {})
            for number, place in enumerate(places)
        ]
        return Bulk(
            command_id=self._new_id(),
            command_type=BulkType.BULK_UPDATE_INSTANCES if updating else BulkType.BULK_CREATE_INSTANCES,
            db_name=DB_NAME,
            class_id=places[0].class_id,
            payload=BulkPayload(items=items),
            actor=self._actor,
        )

    async def submit(self, command: Command | Bulk, *, early: bool = False) -> CommandResult | None:
        """Send the command and return its answer, or None if it is unknown what became of it."""
        tally = self._tally
        if command not in self._own:
            self._own.append(command)
        tally.commands.add(command.command_id)
        operation = self._history.invoke(self._number, command)
        with self._under_way(command):
            try:
                async with asyncio.timeout(CALL_TIMEOUT_S):
                    result = await self._oncelog.submit(command, early=early)
            except (OncelogError, RPCError, TimeoutError) as error:
                self._history.unknown(operation, error)
                tally.answers[f"unknown: {type(error).__name__}"] += 1
                tally.unknown[command.hash] = Pending(self._number, command, time.monotonic())
                return None
        self._history.answered(operation, result)
        tally.unknown.pop(command.hash, None)
        tally.answers[str(result.rejection.code if result.rejection else result.outcome)] += 1
        if result.aggregate_id and result.sequence_number:
            place = AggregateId.parse(result.aggregate_id)
            self._seen[place] = max(self._seen.get(place, 0), result.sequence_number)
        return result

    async def flood(self, number: int, *, commands: int) -> int:
        """Send so many updates of one hot aggregate at once, and return how many of them were answered."""
        updates = [self._new(CommandType.UPDATE_INSTANCE, _place(number), value=value) for value in range(commands)]
        results = await asyncio.gather(*(self.submit(update) for update in updates))
        return sum(result is not None for result in results)

    async def read(self, place: AggregateId, token: str) -> None:
        """Read with a token: its versions must be seen, or said not to be."""
        operation = self._history.invoke_read(self._number, place, token=token)
        try:
            document = await self._oncelog.get(place, token=token, deadline_s=READ_TIMEOUT_S)
        except NotYetVisible as error:
            self._history.failed(operation, error)
            self._tally.answers["read: not yet visible"] += 1
        except OncelogError as error:
            self._history.unknown(operation, error)
            self._tally.answers["read: unknown"] += 1
        else:
            self._history.found(operation, document)
            self._tally.answers["read"] += 1

    async def settle(self) -> None:
        """Ask anew for every command of this client's of which nothing is known, until each is answered."""
        while unknown := self._unknown():
            for pending in unknown:
                await self.submit(pending.command)
            await asyncio.sleep(SETTLE_POLL_S)

    async def _attach_again(self) -> None:
        """Ask anew for the command of this client's that was not asked for the longest, once in a while."""
        due = [pending for pending in self._unknown() if time.monotonic() - pending.asked_s > ATTACH_AGAIN_AFTER_S]
        if due:
            await self.submit(min(due, key=lambda pending: pending.asked_s).command)

    def _unknown(self) -> list[Pending]:
        return [pending for pending in self._tally.unknown.values() if pending.client == self._number]

    async def _hostile(self, call: PlannedCall) -> None:
        """Send what must be refused, past our own client, as any program could."""
        name = sorted(HOSTILE)[call.value % len(HOSTILE)]
        command_id = f"{self._new_id()}-hostile"
        command: dict[str, Any] = {
            "command_id": command_id,
            "command_type": "CREATE_INSTANCE",
            "db_name": DB_NAME,
            "class_id": "Hostile",
            "instance_id": command_id,
            "payload": {},
        }
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                temporal = await self._oncelog.temporal()
                answer = await temporal.execute_workflow(
                    "InstanceCommand",
                    {**command, **HOSTILE[name]},
                    id=command_id,
                    task_queue=self._settings.task_queue,
                    result_type=CommandResult,
                )
        except (RPCError, OncelogError, TimeoutError):
            self._tally.answers["hostile: unknown"] += 1
            return
        refused = answer.rejection is not None and answer.rejection.code is RejectionCode.INVALID_COMMAND
        self._tally.answers["hostile: refused" if refused else "hostile: not refused"] += 1
        if not refused:
            self._complain(f"{command_id}: hostile input {name} was not refused: {answer}")

    def _new_id(self) -> str:
        self._sent += 1
        return f"chaos-{self._seed}-{self._number}-{self._sent}"

    def _complain(self, text: str) -> None:
        self._tally.complaints.append(text)

    @contextlib.contextmanager
    def _under_way(self, command: Command | Bulk) -> Iterator[None]:
        self._tally.in_flight.add(command.hash)
        try:
            yield
        finally:
            self._tally.in_flight.discard(command.hash)


def _place(number: int) -> AggregateId:
    """Return a hot aggregate by its number."""
    return AggregateId.of(DB_NAME, CLASS_IDS[number % len(CLASS_IDS)], f"hot-{number}")
