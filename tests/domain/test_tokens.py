"""Consistency tokens merge, and a forged or damaged one is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factline.domain.tokens import make_token, merge_tokens, read_token
from factline.errors import TokenInvalid

sequences = st.dictionaries(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20), st.integers(1, 2**53 - 1), max_size=4
)


@given(st.lists(sequences, min_size=1, max_size=4))
def test_merged_token_asks_for_the_highest_of_each(parts):
    merged = read_token(merge_tokens(make_token(part) for part in parts))
    assert merged == {name: max(p[name] for p in parts if name in p) for part in parts for name in part}


@given(sequences, st.data())
def test_a_changed_token_is_refused(part, data):
    token = make_token(part)
    position = data.draw(st.integers(0, len(token) - 1))
    changed = token[:position] + ("A" if token[position] != "A" else "B") + token[position + 1 :]
    try:
        assert read_token(changed) == part  # unused trailing bits of base64 may differ, the content may not
    except TokenInvalid:
        return


@pytest.mark.parametrize("token", ["", "x", "2.e30.0", "1..", "1.####.0", "1.bnVsbA.74234e98afe7498f"])
def test_what_is_no_token_is_refused(token):
    with pytest.raises(TokenInvalid):
        read_token(token)
