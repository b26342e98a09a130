"""Takes facts of records and chains for the parts that judge them, and findings for a second look."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from oncelog.checks.spill import FactKind
from oncelog.verification.chains import EntryFacts, RefusalFacts
from oncelog.verification.chunks import ChunkFacts
from oncelog.verification.findings import Finding
from oncelog.verification.records import CommandFacts

Facts = Callable[[str, FactKind, object], None]


def _nowhere(_aggregate_id: str, _kind: FactKind, _facts: object) -> None:
    """Drop facts."""


@dataclass
class RecordSink:
    """Takes the facts of records, which go to their aggregates' parts, and findings, which wait for a second look.

    ``suspects``: findings by command ID; under the empty ID, findings about no command.
    """

    spill: Facts = _nowhere
    covers: Callable[[str], bool] = lambda _aggregate_id: True
    suspects: dict[str, list[Finding]] = field(default_factory=dict)
    commands: dict[str, CommandFacts] = field(default_factory=dict)
    keeps_commands: bool = False

    def add_command(self, facts: CommandFacts) -> None:
        if self.keeps_commands:
            self.commands[facts.command_id] = facts
        about = facts.aggregate_id
        if about is not None and self.covers(about):
            self.spill(about, FactKind.COMMAND, facts)
        self._add_refusals(facts.refusals())

    def add_chunk(self, facts: ChunkFacts) -> None:
        for aggregate_id, part in facts.by_aggregate():
            if self.covers(aggregate_id):
                self.spill(aggregate_id, FactKind.CHUNK, part)
        self._add_refusals(facts.refusals())

    def add_entry(self, facts: EntryFacts) -> None:
        if self.covers(facts.entry.aggregate_id):
            self.spill(facts.entry.aggregate_id, FactKind.ENTRY, facts)

    def add_chain_finding(self, finding: Finding) -> None:
        self.suspects.setdefault("", []).append(finding)

    def add_finding(self, finding: Finding, command_id: str) -> None:
        self.suspects.setdefault(command_id, []).append(finding)

    def _add_refusals(self, refusals: Iterable[RefusalFacts]) -> None:
        """Spill the claims of rejections about instances; they are judged where the instances are."""
        for refusal in refusals:
            if self.covers(refusal.holder):
                self.spill(refusal.holder, FactKind.REFUSAL, refusal)

    def take_suspects(self) -> dict[str, list[Finding]]:
        """Return the commands with findings, and forget them."""
        suspects, self.suspects = self.suspects, {}
        return suspects
