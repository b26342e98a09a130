"""The saga of one order: credit, stock, payment; where a step is refused, those before it are undone in reverse."""

from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from collections.abc import Callable, Iterator
    from typing import Any, NamedTuple

    from pydantic import BaseModel, ConfigDict

    from examples.shop.aggregates.customer import CancelOrder, PlaceOrder, SettleOrder, customer
    from examples.shop.aggregates.payment import RefundPayment, TakePayment, payment
    from examples.shop.aggregates.stock import ReleaseStock, ReserveStock, stock
    from examples.shop.names import DB_NAME
    from oncelog import CommandResult, command_to
    from oncelog.domain.aggregates import Aggregate, DomainCommand
    from oncelog.workflows import submit

SETTLED, NOT_PAID = "settled", "NotPaid"


class Order(BaseModel):
    """An order as the customer gives it. ``payment_within``: after this time without ``pay``, it is cancelled."""

    model_config = ConfigDict(frozen=True)

    order_id: str
    customer_id: str
    product_id: str
    quantity: int
    total_cents: int
    payment_within: timedelta = timedelta(days=3)


class OrderEnd(BaseModel):
    """``status``: ``settled``, or the reason why not. ``token``: of the customer, for reads; None if never placed."""

    model_config = ConfigDict(frozen=True)

    status: str
    token: str | None


class Step(NamedTuple):
    """A request of one instance, and the request that undoes it, for a reason."""

    aggregate: Aggregate[Any]
    instance_id: str
    request: DomainCommand
    undoing: Callable[[str], DomainCommand] | None = None


def steps_of(order: Order) -> Iterator[Step]:
    """Yield the steps of an order, in their order."""
    about = {"order_id": order.order_id}
    lines = {"quantity": order.quantity}
    place = PlaceOrder(**about, **lines, product_id=order.product_id, total_cents=order.total_cents)
    yield Step(customer, order.customer_id, place, lambda reason: CancelOrder(**about, reason=reason))
    yield Step(stock, order.product_id, ReserveStock(**about, **lines), lambda _: ReleaseStock(**about))
    take = TakePayment(customer_id=order.customer_id, amount_cents=order.total_cents)
    yield Step(payment, order.order_id, take, lambda reason: RefundPayment(reason=reason))
    yield Step(customer, order.customer_id, SettleOrder(**about))


@workflow.defn
class OrderProcess:
    """Brings an order to its end. Command IDs follow from order and step, so each step takes effect once."""

    def __init__(self) -> None:
        self._paid = False
        self._token: str | None = None

    @workflow.signal
    def pay(self) -> None:
        """Let the payment be taken."""
        self._paid = True

    @workflow.run
    async def run(self, order: Order) -> OrderEnd:
        done: list[Step] = []
        for step in steps_of(order):
            if step.aggregate is payment and not await self._is_paid(order):
                return await self._undo(done, order, NOT_PAID)
            result = await self._send(step, step.request, order)
            if result.rejection:
                return await self._undo(done, order, result.rejection.code)
            done.append(step)
        return OrderEnd(status=SETTLED, token=self._token)

    async def _is_paid(self, order: Order) -> bool:
        try:
            await workflow.wait_condition(lambda: self._paid, timeout=order.payment_within)
        except TimeoutError:
            return False
        return True

    async def _undo(self, done: list[Step], order: Order, reason: str) -> OrderEnd:
        for step in reversed(done):
            if step.undoing:
                await self._send(step, step.undoing(reason), order)
        return OrderEnd(status=reason, token=self._token)

    async def _send(self, step: Step, request: DomainCommand, order: Order) -> CommandResult:
        command_id = f"{order.order_id}-{request.type_name}"
        result = await submit(command_to(step.aggregate, DB_NAME, step.instance_id, request, command_id=command_id))
        if step.aggregate is customer and result.consistency_token:
            self._token = result.consistency_token
        return result
