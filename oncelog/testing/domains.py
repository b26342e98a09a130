"""One's own aggregates in tests: given events, when a command, then an event or a refusal."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from oncelog.domain.aggregates import Aggregate, DecisionContext, DomainCommand, DomainEvent, DomainState, Refused
from oncelog.domain.canonical import normalised

#: The time of every decision, unless a test gives another.
NOON = "2026-01-01T12:00:00.000000Z"


@dataclass(frozen=True)
class Given:
    """A stream, and the state that it folds to."""

    aggregate: Aggregate[Any]
    events: Sequence[DomainEvent]

    @property
    def state(self) -> DomainState:
        """The state after the events, each read back from its JSON as from the log."""
        data: dict[str, Any] | None = None
        for event in self.events:
            data = self.aggregate.after(data, event.type_name, normalised(event.model_dump(mode="json")))
        found: DomainState = self.aggregate.read_state(data)
        return found

    def when(self, command: DomainCommand, *, occurred_at: str = NOON, actor: str | None = None) -> "Decided":
        """Decide on a command; ``occurred_at``: RFC 3339 UTC."""
        name = f"test/{self.aggregate.name}/t1"
        context = DecisionContext(name, "t1", "c1", len(self.events), occurred_at, actor)
        return Decided(self, self.aggregate.decided(self.state, command, context))


@dataclass(frozen=True)
class Decided:
    """The decision on one command."""

    given: Given
    decision: DomainEvent | Refused

    def then(self, expected: DomainEvent) -> Given:
        """Hold the decision to be this event, and return the stream with it."""
        assert self.decision == expected, f"expected {expected!r}, found {self.decision!r}"
        return Given(self.given.aggregate, [*self.given.events, expected])

    def then_refused(self, code: str, **details: Any) -> Given:
        """Hold the decision to be a refusal with this code, and with these details among others."""
        decision = self.decision
        assert isinstance(decision, Refused), f"expected a refusal {code}, found {decision!r}"
        found = {name: decision.details.get(name) for name in details}
        assert (decision.code, found) == (code, details), f"expected {code} {details}, found {decision!r}"
        return self.given


def given(aggregate: Aggregate[Any], *events: DomainEvent) -> Given:
    """Begin a test: ``given(customer, opened).when(PlaceOrder(…)).then(OrderPlaced(…))``."""
    return Given(aggregate, events)
