"""The facts that were collected about aggregates: added to an audit, or told to a look that reads them anew."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from oncelog.checks.spill import Fact, FactKind
from oncelog.verification.audit import Audit
from oncelog.verification.chains import EntryFacts, RefusalFacts
from oncelog.verification.chunks import ChunkFacts
from oncelog.verification.records import CommandFacts
from oncelog.verification.stream import MessageFacts


@dataclass
class KnownFacts:
    """The facts that were collected about some aggregates, by which a direct look finds the objects to read anew.

    ``command_ids``: of commands with records about them, beside those that their events name. ``messages``, and
    ``refusals`` by other instances' records: as they were read, for they do not change.
    """

    command_ids: set[str] = field(default_factory=set)
    messages: list[MessageFacts] = field(default_factory=list)
    entries: list[EntryFacts] = field(default_factory=list)
    refusals: list[RefusalFacts] = field(default_factory=list)

    @classmethod
    def of(cls, facts: Iterable[Fact]) -> "KnownFacts":
        """Return the known facts of spilled ones."""
        known = cls()
        for fact in facts:
            match fact.kind:
                case FactKind.COMMAND | FactKind.CHUNK:
                    known.command_ids.add(fact.value.command_id)
                case FactKind.MESSAGE:
                    known.messages.append(fact.value)
                case FactKind.ENTRY:
                    known.entries.append(fact.value)
                case FactKind.REFUSAL:
                    known.refusals.append(fact.value)
        return known


def add_records(audit: Audit, facts: Iterable[tuple[FactKind, object]]) -> None:
    """Add facts from records to an audit."""
    for kind, value in facts:
        if kind is FactKind.COMMAND and isinstance(value, CommandFacts):
            audit.commands.add_command(value)
        elif kind is FactKind.CHUNK and isinstance(value, ChunkFacts):
            audit.commands.add_chunk(value)
        elif kind is FactKind.REFUSAL and isinstance(value, RefusalFacts):
            audit.unique.add_refusal(value)


def add_fact(audit: Audit, fact: Fact) -> None:
    """Add spilled facts to an audit."""
    value = fact.value
    if fact.kind in (FactKind.COMMAND, FactKind.CHUNK, FactKind.REFUSAL):
        add_records(audit, [(fact.kind, value)])
    elif fact.kind is FactKind.ENTRY:
        audit.unique.add_entry(value)
    elif fact.kind is FactKind.MESSAGE:
        audit.stream.add_facts(value)
    elif fact.kind is FactKind.DOCUMENT:
        audit.documents.add(value)
    else:
        audit.nodes.add(value)
