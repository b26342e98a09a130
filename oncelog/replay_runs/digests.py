"""Digests of a replay: a file of lines per partition, joined into roots, and held against those of an earlier one."""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from itertools import groupby

from oncelog.archive.log_part import order_key
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.merkle import TreeFold, inclusion_path
from oncelog.domain.state_digest import StateDigest, TreeDigest, class_path, database_digest
from oncelog.replay_runs.files import ReplayFiles, partition_name
from oncelog.replay_runs.request import FINDINGS_KEPT_MAX, Comparison, ReplayEnd, ReplayFinding, TreeReport


async def read_digests(files: ReplayFiles, partitions: Iterable[int]) -> AsyncIterator[StateDigest]:
    """Yield the digests of a replay's partitions in the order of their keys; raises LogDamaged, StoreUnavailable."""
    for number in partitions:
        async for line in files.lines(partition_name(number, "digests", "txt")):
            yield StateDigest.parse(line)


async def join_digests(digests: AsyncIterator[StateDigest]) -> ReplayEnd:
    """Return the roots of all classes and databases; memory grows with the number of classes alone."""
    trees: dict[str, TreeFold] = {}
    async for digest in digests:
        trees.setdefault(_class_of(digest), TreeFold()).add(digest.leaf)
    classes = sorted((TreeDigest(name, tree.size, tree.root()) for name, tree in trees.items()), key=lambda t: t.name)
    by_database = groupby(classes, key=lambda tree: tree.name.partition("/")[0])
    databases = [database_digest(db_name, list(members)) for db_name, members in by_database]
    return ReplayEnd(databases=tuple(map(_report, databases)), classes=tuple(map(_report, classes)))


@dataclass
class DigestComparison:
    """Holds digests against earlier ones; both come in the order of their keys.

    An aggregate at the same sequence number must have the same digest, none may be gone, none may have gone back.
    """

    replay_id: str
    same: int = 0
    changed: int = 0
    added: int = 0
    findings_count: int = 0
    findings: list[ReplayFinding] = field(default_factory=list)

    async def compare(self, earlier: AsyncIterator[StateDigest], later: AsyncIterator[StateDigest]) -> Comparison:
        """Go through both once."""
        before = await anext(earlier, None)
        async for digest in later:
            while before is not None and _key(before) < _key(digest):
                self._find("AggregateGone", before, "found nothing of it now; restore the log's objects")
                before = await anext(earlier, None)
            if before is None or before.aggregate_id != digest.aggregate_id:
                self.added += 1
                continue
            self._compare(before, digest)
            before = await anext(earlier, None)
        while before is not None:
            self._find("AggregateGone", before, "found nothing of it now; restore the log's objects")
            before = await anext(earlier, None)
        return Comparison(
            replay_id=self.replay_id,
            same=self.same,
            changed=self.changed,
            added=self.added,
            findings_count=self.findings_count,
            findings=tuple(self.findings),
        )

    def _compare(self, before: StateDigest, digest: StateDigest) -> None:
        if digest.sequence_number < before.sequence_number:
            self._find("StreamShorter", before, f"found {digest.sequence_number} events now; restore the log's objects")
        elif digest.sequence_number > before.sequence_number:
            self.changed += 1
        elif digest.digest != before.digest:
            self._find("DigestChanged", before, f"found {digest.digest}: a fold of the same events differs")
        else:
            self.same += 1

    def _find(self, code: str, before: StateDigest, found: str) -> None:
        self.findings_count += 1
        if len(self.findings) < FINDINGS_KEPT_MAX:
            where = f"aggregate {before.aggregate_id}"
            expected = f"expected event {before.sequence_number} with digest {before.digest} as in {self.replay_id}"
            self.findings.append(ReplayFinding(code=code, where=where, found=f"{expected}, {found}"))


@dataclass(frozen=True)
class InclusionProof:
    """The proof that a line is in a class's tree: its index, the tree's size, and the path of hashes to the root.

    ``classes``: the lines of the database's tree, one of which holds that root. ``checkpoint``: the signed root of the
    database, None if the replay was not signed.
    """

    digest: StateDigest
    index: int
    tree: TreeDigest
    path: tuple[bytes, ...]
    classes: tuple[str, ...] = ()
    checkpoint: str | None = None


async def prove(files: ReplayFiles, partitions: int, aggregate_id: AggregateId) -> InclusionProof | None:
    """Return the proof for an aggregate, None if the replay did not see it; 32 bytes of memory per aggregate."""
    leaves: list[bytes] = []
    tree = TreeFold()
    found: tuple[int, StateDigest] | None = None
    async for digest in read_digests(files, range(partitions)):
        if _class_of(digest) != class_path(aggregate_id):
            continue
        if digest.aggregate_id == str(aggregate_id):
            found = len(leaves), digest
        leaves.append(digest.leaf)
        tree.add(leaves[-1])
    if found is None:
        return None
    index, digest = found
    path = inclusion_path(leaves, index, size=len(leaves))
    return InclusionProof(digest, index, TreeDigest(class_path(aggregate_id), tree.size, tree.root()), tuple(path))


def _key(digest: StateDigest) -> tuple[str, str, str]:
    """Return the order of a replay's lines: by database, class, and slots' keys."""
    db_name, class_id, instance_key = digest.aggregate_id.split("/")
    return f"{db_name}/", f"{class_id}/", order_key(instance_key)


def _class_of(digest: StateDigest) -> str:
    return digest.aggregate_id.rpartition("/")[0]


def _report(tree: TreeDigest) -> TreeReport:
    return TreeReport(name=tree.name, size=tree.size, root=tree.root.hex())
