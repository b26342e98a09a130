"""The chains of unique values as S3 lists them. Numbers, gaps and foreign keys follow from the keys alone."""

from collections import deque
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field

from oncelog.checks.scope import CheckMode, ProofScope
from oncelog.stores.s3 import Bucket, ListedObject
from oncelog.verification import reading
from oncelog.verification.chains import ENTRY_KEY, ChainWalk

#: Of a longer chain, the last entries only are read beside those that records under audit name.
ENTRIES_READ_MAX = 500


@dataclass
class ListedChain:
    """A chain. ``last``: its last entries, in their order; ``has_new``: whether any came since the last check."""

    folder: str
    length: int = 0
    has_new: bool = False
    last: deque[ListedObject] = field(default_factory=lambda: deque(maxlen=ENTRIES_READ_MAX))

    def add(self, listed: ListedObject, *, is_new: bool) -> None:
        """Take the next entry."""
        self.length += 1
        self.has_new = self.has_new or is_new
        self.last.append(listed)

    def keys(self, named: Iterable[str] = ()) -> list[str]:
        """Return the keys to be read, in their order. ``named``: keys that are read wherever they lie in the chain."""
        return sorted({*(listed.key for listed in self.last), *(key for key in named if key.startswith(self.folder))})


def is_chosen(scope: ProofScope, chain: ListedChain) -> bool:
    """Return whether a check of a part of the log audits a chain for its own sake: it is drawn, or has new entries."""
    return scope.draws(chain.folder) if scope.mode is CheckMode.SAMPLED else chain.has_new


async def listed_chains(
    bucket: Bucket, within: str, scope: ProofScope, walk: ChainWalk | None = None
) -> AsyncIterator[ListedChain]:
    """Yield the chains under a prefix by listing alone. ``walk``: is shown each key. Raises StoreUnavailable."""
    chain: ListedChain | None = None
    async for listed in reading.listed_objects(bucket, within):
        match = ENTRY_KEY.fullmatch(listed.key)
        if walk is not None:
            walk.pass_by(listed.key)
        if match is None:
            continue
        if chain is None or chain.folder != match[1]:
            if chain is not None:
                yield chain
            chain = ListedChain(match[1])
        chain.add(listed, is_new=not scope.is_old(listed.written_at))
    if chain is not None:
        yield chain
