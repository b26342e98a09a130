"""Consistency tokens merge, and a forged, damaged or foreign one is refused with what to do."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncelog.domain import tokens
from oncelog.domain.canonical import sha256_hex
from oncelog.domain.tokens import installation_mark, make_token, merge_tokens, read_token
from oncelog.errors import InputInvalid, TokenInvalid

OURS, THEIRS = installation_mark("oncelog/a"), installation_mark("oncelog/b")

sequences = st.dictionaries(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20), st.integers(1, 2**53 - 1), max_size=4
)


def of_ours(numbers: dict[str, int]) -> str:
    return make_token(numbers, installation=OURS)


@given(st.lists(sequences, min_size=1, max_size=4))
def test_merged_token_asks_for_the_highest_of_each(parts):
    merged = read_token(merge_tokens(of_ours(part) for part in parts), installation=OURS)
    assert merged == {name: max(p[name] for p in parts if name in p) for part in parts for name in part}


@given(sequences, st.data())
def test_a_changed_token_is_refused(part, data):
    token = of_ours(part)
    position = data.draw(st.integers(0, len(token) - 1))
    changed = token[:position] + ("A" if token[position] != "A" else "B") + token[position + 1 :]
    with pytest.raises(TokenInvalid):
        read_token(changed)


@given(sequences, st.data())
def test_a_token_that_was_cut_short_is_refused(part, data):
    token = of_ours(part)
    with pytest.raises(TokenInvalid):
        read_token(token[: data.draw(st.integers(0, len(token) - 1))])


def test_token_of_another_installation_is_refused():
    token = make_token({"shop/Product/p1": 1}, installation=THEIRS)
    assert read_token(token) == {"shop/Product/p1": 1}
    with pytest.raises(TokenInvalid, match="another namespace or bucket; read where its command was submitted"):
        read_token(token, installation=OURS)
    with pytest.raises(TokenInvalid, match="another namespace"):
        merge_tokens([of_ours({"shop/Product/p1": 1}), token])


def test_nothing_is_merged_to_nothing():
    with pytest.raises(InputInvalid, match="at least one"):
        merge_tokens([])


def test_a_token_names_no_more_than_can_be_read_back():
    names = [f"shop/Product/{number:0100d}" for number in range(1_000)]
    with pytest.raises(InputInvalid, match="for 1000 aggregates; read in several parts"):
        of_ours(dict.fromkeys(names, 1))
    halves = [of_ours(dict.fromkeys(names[start::4], 1)) for start in range(4)]
    assert len(read_token(halves[0])) == 250
    with pytest.raises(InputInvalid, match="in several parts"):
        merge_tokens(halves)


def _sealed(body: bytes) -> str:
    """Return what has our form and digest, whatever its body is."""
    said = f"{tokens.VERSION}.{OURS}.{base64.urlsafe_b64encode(body).rstrip(b'=').decode()}"
    return f"{said}.{sha256_hex(said.encode())[:16]}"


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "2",
        "2.",
        "2.e30.0",
        "0.e30.0",
        "1..",
        "1.####.0",
        "1.bnVsbA.74234e98afe7498f",
        "²." + OURS,
        of_ours({}) + "\n",
        "A" * 70_000,
        *map(_sealed, (b"", b"null", b"[]", b"{", b"\xff", b'{"a":0}', b'{"a":true}', b'{"a":1.5}', b'{"a":1,"a":1}')),
    ],
)
def test_what_is_no_token_is_refused(token):
    with pytest.raises(TokenInvalid):
        read_token(token)
