"""Merkle trees of RFC 6962 (section 2.1) over SHA-256: one root for any number of leaves, and proofs of inclusion.

The root depends on the leaves and their order only, never on how many workers hashed them. Trees are folded from a
stream of leaf hashes in memory that grows with the logarithm of their number.
"""

import hashlib
from collections.abc import Iterable, Sequence

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()

_LEAF = b"\x00"
_NODE = b"\x01"


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf's bytes, 32 bytes."""
    return hashlib.sha256(_LEAF + data).digest()


def _node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(_NODE + left + right).digest()


class TreeFold:
    """Folds leaf hashes, in their order, into the root of their tree."""

    def __init__(self) -> None:
        self.size = 0
        self._complete: list[bytes] = []  # one complete subtree per bit of `size`, the largest first

    def add(self, leaf: bytes) -> None:
        """Add the next leaf, by its ``leaf_hash``."""
        number, node = self.size, leaf
        while number & 1:
            node = _node_hash(self._complete.pop(), node)
            number >>= 1
        self._complete.append(node)
        self.size += 1

    def root(self) -> bytes:
        """Return the root over all leaves so far, 32 bytes; ``EMPTY_ROOT`` without a leaf."""
        if not self._complete:
            return EMPTY_ROOT
        *left, root = self._complete
        for node in reversed(left):
            root = _node_hash(node, root)
        return root


def root_of(leaves: Iterable[bytes]) -> bytes:
    """Return the root over leaf hashes."""
    fold = TreeFold()
    for leaf in leaves:
        fold.add(leaf)
    return fold.root()


def inclusion_path(leaves: Iterable[bytes], index: int, *, size: int) -> list[bytes]:
    """Return the hashes that prove leaf ``index`` of ``size`` leaves, the leaf's sibling first; one pass.

    Raises ValueError for an index outside the tree, or leaves that are not ``size`` many.
    """
    if not 0 <= index < size:
        raise ValueError(f"inclusion proof: expected an index from 0 to {size - 1}, found {index}")
    spans = _sibling_spans(index, size)
    folds = [TreeFold() for _ in spans]
    ends = sorted(range(len(spans)), key=lambda place: spans[place].start)
    current, count = 0, 0
    for number, leaf in enumerate(leaves):
        count += 1
        while current < len(ends) and number >= spans[ends[current]].stop:
            current += 1
        if current < len(ends) and number >= spans[ends[current]].start:
            folds[ends[current]].add(leaf)
    if count != size:
        raise ValueError(f"inclusion proof: expected {size} leaves, found {count}")
    return [fold.root() for fold in folds]


def _sibling_spans(index: int, size: int) -> list[range]:
    """Return the ranges of leaves under each sibling on the way from the leaf to the root."""
    spans: list[range] = []
    start, stop = 0, size
    while stop - start > 1:
        middle = start + (1 << ((stop - start - 1).bit_length() - 1))
        if index < middle:
            spans.append(range(middle, stop))
            stop = middle
        else:
            spans.append(range(start, middle))
            start = middle
    return spans[::-1]


def is_included(leaf: bytes, index: int, path: Sequence[bytes], *, size: int, root: bytes) -> bool:
    """Return whether the path proves that ``leaf`` is number ``index`` of ``size`` leaves under the root."""
    if not 0 <= index < size:
        return False
    spans = _sibling_spans(index, size)
    if len(path) != len(spans):
        return False
    node = leaf
    for span, sibling in zip(spans, path, strict=True):
        node = _node_hash(sibling, node) if span.start < index else _node_hash(node, sibling)
    return node == root
