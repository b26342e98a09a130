"""What a run came to, in numbers, for people and as JSON."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from tests.chaos.load import Tally
from tests.chaos.nemesis import Done


def summarised(done: Sequence[Done], tally: Tally) -> dict[str, Any]:
    """Return the numbers of load and faults."""
    return {
        "commands": len(tally.commands),
        "calls": dict(sorted(tally.calls.items())),
        "answers": dict(sorted(tally.answers.items())),
        "unknown_still": sorted(pending.command.command_id for pending in tally.unknown.values()),
        "faults": len(done),
        "faults_by_kind": dict(sorted(Counter(fault.planned.kind for fault in done).items())),
        "faults_that_met_no_work": [fault.planned.kind for fault in done if not fault.struck],
        "faults_with_trouble": {fault.planned.kind: fault.trouble for fault in done if fault.trouble},
        "complaints": tally.complaints,
    }
