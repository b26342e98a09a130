"""Whole chains of unique values, audited for a check that covers a part of the log only.

A full check holds each entry against its instance's log in the part of that instance. Here the logs of all instances
that a chain has entries of are read instead, whether the check covers them or not; nothing else about them is judged.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from oncelog.bounded_gather import bounded_gather
from oncelog.checks.chain_keys import ListedChain, is_chosen, listed_chains
from oncelog.checks.holders import is_doubled
from oncelog.checks.looks import Looks
from oncelog.checks.scope import CheckPlan
from oncelog.checks.servers import Servers
from oncelog.checks.step_report import ReadTotals
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.stored_names import stream_folder, unique_chain_folder
from oncelog.verification import reading
from oncelog.verification.audit import Audit
from oncelog.verification.chains import ENTRY_KEY, ChainWalk, EntryFacts
from oncelog.verification.findings import Code, Finding, Findings
from oncelog.verification.log import LogFacts
from oncelog.verification.unique import doubled, doubled_finding

#: So many chains are audited together; their entries and the logs of their instances are held in memory.
CHAINS_AT_ONCE = 16


@dataclass
class _Entries:
    """Takes a walk's facts, without gaps and foreign keys: the keys of all chains are gone through elsewhere."""

    entries: list[EntryFacts] = field(default_factory=list)
    forged: list[Finding] = field(default_factory=list)

    def add_entry(self, facts: EntryFacts) -> None:
        self.entries.append(facts)

    def add_chain_finding(self, finding: Finding) -> None:
        if finding.code is Code.ENTRY_FORGED:
            self.forged.append(finding)


class ChainAudit:
    """Audits chains; ``findings`` and ``read`` have the results. Every method raises StoreUnavailable."""

    def __init__(self, servers: Servers, plan: CheckPlan, looks: Looks) -> None:
        self._servers = servers
        self._bucket = servers.sources.bucket
        self._scope = plan.scope
        self._looks = looks
        self._audited: set[str] = set()
        self.findings = Findings()
        self.read = ReadTotals()

    async def audit_values(self, audit: Audit, *, all_of_them: bool) -> None:
        """Audit the chains of the values that some instances hold, held, or were to bring in.

        Chains that were audited already, or are audited for their own sake, are left out unless ``all_of_them``: an
        instance of which something is wrong may hold a value without an entry.
        """
        holders = _holders(audit)
        in_order = sorted(holders)
        for start in range(0, len(in_order), CHAINS_AT_ONCE):
            folders = in_order[start : start + CHAINS_AT_ONCE]
            left = [folder for folder in folders if all_of_them or folder not in self._audited]
            self._audited.update(left)
            listed = await bounded_gather(self._listed, left, at_once=CHAINS_AT_ONCE)
            chains = [each for each in listed if each.length and (all_of_them or not is_chosen(self._scope, each))]
            about = {name for chain in chains for name in holders[chain.folder]}
            await self.audit(chains, named=audit.commands.places, holders=about, logs=audit.logs)

    async def audit(
        self,
        chains: Sequence[ListedChain],
        *,
        named: Collection[str] = (),
        holders: Collection[str] = (),
        logs: Mapping[str, LogFacts] | None = None,
    ) -> None:
        """Audit chains of one class, and look again if there are findings.

        ``named``: keys of entries that are read in any case. ``holders``: instances that may hold the values beside
        those of the entries. ``logs``: as they were read before the entries, for the first look.
        """
        if not chains:
            return
        keys = [chain.keys(named) for chain in chains]
        self.read = self.read + ReadTotals(chains=len(chains), entries=sum(map(len, keys)))
        if await self._look(keys, holders, logs or {}):
            self.findings.extend(await self._look(keys, holders, {}))

    async def _listed(self, folder: str) -> ListedChain:
        found = [chain async for chain in listed_chains(self._bucket, folder, self._scope)]
        return found[0] if found else ListedChain(folder)

    async def _look(
        self, chains: Sequence[Sequence[str]], holders: Collection[str], logs: Mapping[str, LogFacts]
    ) -> list[Finding]:
        """Return the findings of chains, of which the keys to be read are given."""
        entries = _Entries()
        for keys in chains:
            walk = ChainWalk(entries)

            async def read(key: str) -> reading.ReadObject:
                return await reading.read_object(self._bucket, key)

            for found in await bounded_gather(read, keys, at_once=reading.READS_IN_FLIGHT_MAX):
                if found.is_there:
                    walk.add(found.key, found.body, damage=found.damage)
            walk.end()
        names = {facts.entry.aggregate_id for facts in entries.entries} | set(holders)
        if not names:
            return entries.forged
        audit = await self._audit_of(names, logs)
        audit.unique.extend(entries.entries, ())
        await self._looks.resolve_entries(audit, names)
        return [*entries.forged, *audit.unique.judge_entries(), *await self._doubled(audit, chains)]

    async def _audit_of(self, names: Collection[str], logs: Mapping[str, LogFacts]) -> Audit:
        """Return an audit of instances of one class that has their logs."""
        place = AggregateId.parse(min(names))
        classes = await self._looks.class_logs(place.db_name, place.class_id)
        audit = self._looks.new_audit(classes, covers=names, shown={})
        for name in sorted(names):
            if name in logs:
                audit.logs[name] = logs[name]
                continue
            async for found in reading.objects(self._bucket, stream_folder(AggregateId.parse(name))):
                due = self._scope.is_due(found.written_at)
                audit.add_object(found.key, found.body, damage=found.damage, watermark=found.watermark, is_due=due)
        audit.end_log()
        return audit

    async def _doubled(self, audit: Audit, chains: Iterable[Sequence[str]]) -> list[Finding]:
        folders = {match[1] for keys in chains if (match := ENTRY_KEY.fullmatch(keys[0]))}
        findings = []
        for value, first, second in doubled(audit.logs[name] for name in sorted(audit.logs)):
            class_name, constraint, sha256 = value
            db_name, class_id = class_name.split("/")
            is_of_chain = unique_chain_folder(db_name, class_id, constraint, sha256) in folders
            if is_of_chain and await is_doubled(self._servers, self._looks, value, (first, second)):
                findings.append(doubled_finding(value, first, second))
        return findings


def _holders(audit: Audit) -> dict[str, set[str]]:
    """Return by chain the instances that hold or held its value; none for places that were named in vain."""
    holders: dict[str, set[str]] = {key.rpartition("/")[0] + "/": set() for key in audit.commands.places}
    for name, log in audit.logs.items():
        place = AggregateId.parse(name)
        for constraint, sha256 in log.holdings.ever():
            folder = unique_chain_folder(place.db_name, place.class_id, constraint, sha256)
            holders.setdefault(folder, set()).add(name)
    return holders
