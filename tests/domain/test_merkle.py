"""Merkle trees against the vectors of Certificate Transparency, and against the recursive definition of RFC 6962."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncelog.domain.merkle import EMPTY_ROOT, TreeFold, inclusion_path, is_included, leaf_hash, root_of

#: The leaves of Certificate Transparency's reference tests, and the root over all eight.
CT_LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
CT_ROOT = "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"

leaves_of_any_number = st.lists(st.binary(max_size=8).map(leaf_hash), min_size=1, max_size=70)


def root_by_definition(leaves: list[bytes]) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\x01" + root_by_definition(leaves[:split]) + root_by_definition(leaves[split:])).digest()


def test_tree_has_the_root_of_the_reference():
    assert root_of(leaf_hash(bytes.fromhex(leaf)) for leaf in CT_LEAVES).hex() == CT_ROOT


def test_empty_tree_has_the_hash_of_nothing():
    assert TreeFold().root() == EMPTY_ROOT == hashlib.sha256(b"").digest()


@given(leaves_of_any_number)
def test_folded_root_is_the_defined_one(leaves: list[bytes]):
    assert root_of(leaves) == root_by_definition(leaves)


@given(leaves_of_any_number, st.data())
def test_every_leaf_is_proven_to_be_included(leaves: list[bytes], data: st.DataObject):
    index = data.draw(st.integers(0, len(leaves) - 1))
    path = inclusion_path(iter(leaves), index, size=len(leaves))
    assert is_included(leaves[index], index, path, size=len(leaves), root=root_of(leaves))


@given(leaves_of_any_number, st.data())
def test_proof_of_another_leaf_or_place_is_refused(leaves: list[bytes], data: st.DataObject):
    index = data.draw(st.integers(0, len(leaves) - 1))
    size, root = len(leaves), root_of(leaves)
    path = inclusion_path(leaves, index, size=size)
    assert not is_included(leaf_hash(b"another leaf"), index, path, size=size, root=root)
    assert not is_included(leaves[index], index, [*path, root], size=size, root=root)
    assert not is_included(leaves[index], size, path, size=size, root=root)
    if path:
        flipped = bytes([path[0][0] ^ 1]) + path[0][1:]
        assert not is_included(leaves[index], index, [flipped, *path[1:]], size=size, root=root)


@pytest.mark.parametrize(("index", "size"), [(-1, 2), (2, 2), (0, 3)])
def test_proof_outside_the_tree_is_an_error(index: int, size: int):
    with pytest.raises(ValueError, match="inclusion proof: expected"):
        inclusion_path([leaf_hash(b"a"), leaf_hash(b"b")], index, size=size)
