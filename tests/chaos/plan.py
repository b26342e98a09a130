"""The plan of a run, drawn from its seed before it begins: the same seed, the same faults and the same commands."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.chaos import faults, floods, refusals
from tests.chaos.kinds import KINDS, Draws

#: The files of kinds: importing them fills the table.
FILES = (faults, floods, refusals)

#: Between the healing of a fault and the next one, in seconds.
PAUSE_S = (0.3, 1.5)


@dataclass(frozen=True)
class PlannedFault:
    """One fault. ``pause_s``: the wait before it; ``hold_s``: how long it lasts; ``draws``: its parameters."""

    kind: str
    pause_s: float
    hold_s: float
    draws: Draws

    def __str__(self) -> str:
        details = " ".join(f"{name}={value}" for name, value in self.draws.items())
        return f"{self.kind:28} after {self.pause_s:.1f} s for {self.hold_s:4.1f} s  {details}"


def plan_faults(seed: int, count: int, kinds: Sequence[str] | None = None) -> list[PlannedFault]:
    """Draw the faults of a run; each kind as often as its weight says, all alike if they were named."""
    rng = random.Random(f"faults {seed}")
    weights = dict.fromkeys(kinds, 1) if kinds else {name: kind.weight for name, kind in KINDS.items()}
    chosen = _shares(weights, count, rng)
    rng.shuffle(chosen)
    return [_drawn(name, rng) for name in chosen]


def _shares(weights: Mapping[str, int], count: int, rng: random.Random) -> list[str]:
    """Give each name its share of the count; the rest goes to names drawn by their remainders."""
    total = sum(weights.values())
    whole = {name: count * weight // total for name, weight in weights.items()}
    chosen = [name for name, times in whole.items() for _ in range(times)]
    remainders = {name: count * weight % total for name, weight in weights.items()}
    ranked = sorted(weights, key=lambda name: rng.random() ** (total / max(1, remainders[name])), reverse=True)
    return chosen + ranked[: count - len(chosen)]


def _drawn(name: str, rng: random.Random) -> PlannedFault:
    kind = KINDS[name]
    pause_s, hold_s = (round(rng.uniform(*span), 2) for span in (PAUSE_S, kind.hold_s))
    return PlannedFault(name, pause_s, hold_s, kind.draw(rng))


def projection(seed: int) -> str:
    """Return who writes documents in the run of a seed: each command for itself, or the projectors from the stream."""
    return ("stream", "inline")[seed % 2]


@dataclass(frozen=True)
class PlannedCall:
    """One call of a client, as drawn. ``aggregate``: the number of a hot one; ``value``: its data.

    ``early``: the answer is wanted once the event is persisted; ``expects``: it says the version that its client saw
    last; ``read``: it then reads with its token.
    """

    what: str
    aggregate: int
    value: int
    early: bool
    expects: bool
    read: bool


#: The clients' calls, and how often each occurs. An aggregate is created again and again in vain, and now and then
#: brought back after a deletion. The last four are about users, who have unique values (users.py).
CALLS: Mapping[str, int] = {
    "create": 12,
    "update": 50,
    "delete": 4,
    "repeat": 10,
    "twice": 4,
    "reuse": 4,
    "hostile": 3,
    "new": 15,
    "bulk": 2,
    "take": 24,
    "give_up": 8,
    "leave": 6,
    "take_many": 4,
}


def plan_calls(seed: int, client: int, *, aggregates: int, calls: Mapping[str, int] = CALLS) -> Iterator[PlannedCall]:
    """Draw a client's calls, without end. ``calls``: how often each occurs."""
    rng = random.Random(f"calls {seed} {client}")
    names, weights = list(calls), list(calls.values())
    hot = [1 / (rank + 1) ** 0.5 for rank in range(aggregates)]
    while True:
        (what,) = rng.choices(names, weights)
        (aggregate,) = rng.choices(range(aggregates), hot)
        yield PlannedCall(
            what=what,
            aggregate=aggregate,
            value=rng.randrange(1_000_000),
            early=rng.random() < 0.3,
            expects=rng.random() < 0.3,
            read=rng.random() < 0.4,
        )


def kind_names(text: str) -> list[str]:
    """Read kinds separated by commas; raises ValueError naming those there are."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in KINDS]
    if unknown or not names:
        raise ValueError(f"unknown kind {', '.join(unknown) or '(none named)'}; there are: {', '.join(KINDS)}")
    return names


def as_json(fault: PlannedFault) -> dict[str, Any]:
    return {"kind": fault.kind, "pause_s": fault.pause_s, "hold_s": fault.hold_s, **fault.draws}
