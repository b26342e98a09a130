"""Signed notes and checkpoints: another implementation's are read, and forged ones are not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncelog.domain.signed_note import Checkpoint, Signer, Verifier
from oncelog.errors import InputInvalid

#: A key and a note of Go's sumdb/note, whose documentation shows both.
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
SIGNER = Signer("oncelog.example/shop", bytes(range(32)))
ROOT = bytes(range(32))


def test_note_of_another_implementation_is_opened():
    assert Verifier.parse(GO_KEY).opened(GO_NOTE) == GO_NOTE.partition("\n\n")[0] + "\n"


def test_key_is_read_back_from_its_text():
    assert Verifier.parse(SIGNER.verifier.text).text == SIGNER.verifier.text


@given(st.lists(st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=20), max_size=4))
def test_signed_text_is_opened(lines: list[str]):
    text = "".join(f"{line}\n" for line in ["first", *lines])
    assert SIGNER.verifier.opened(SIGNER.signed(text)) == text


@given(st.data())
def test_altered_note_is_refused(data: st.DataObject):
    note = SIGNER.signed(Checkpoint("oncelog.example/shop", 3, ROOT).text)
    at = data.draw(st.integers(0, len(note) - 1))
    other = data.draw(st.sampled_from("aZ09+/=\n ").filter(lambda character: character != note[at]))
    with pytest.raises(InputInvalid):
        SIGNER.verifier.opened(note[:at] + other + note[at + 1 :])


def test_note_of_another_key_is_refused():
    note = Signer("oncelog.example/shop", bytes(32)).signed("text\n")
    with pytest.raises(InputInvalid, match=r"expected a valid signature of oncelog\.example/shop, found none"):
        SIGNER.verifier.opened(note)


def test_secret_is_in_no_representation():
    assert bytes(range(32)).hex() not in repr(SIGNER) + str(vars(SIGNER))


@pytest.mark.parametrize("key", ["", "name", "name+00000000+AAAA", GO_KEY.replace("c7", "c8"), GO_KEY[:-4]])
def test_malformed_key_is_refused(key: str):
    with pytest.raises(InputInvalid, match=r"^(verifier key|key name): expected"):
        Verifier.parse(key)


@pytest.mark.parametrize("extensions", [(), ("format 1",), ("a", "b")])
def test_checkpoint_is_read_back_from_its_text(extensions: tuple[str, ...]):
    checkpoint = Checkpoint("oncelog.example/shop", 28298, ROOT, extensions)
    assert Checkpoint.parse(checkpoint.text) == checkpoint


@pytest.mark.parametrize("text", ["", "a\n", "a\n1\n", "a\n01\nAAAA\n", "a\n1\nAAAA\n", "\n1\n" + "A" * 43 + "=\n"])
def test_malformed_checkpoint_is_refused(text: str):
    with pytest.raises(InputInvalid, match=r"^checkpoint: expected"):
        Checkpoint.parse(text)
