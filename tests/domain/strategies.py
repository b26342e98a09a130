"""Hypothesis strategies for what the domain accepts."""

from hypothesis import strategies as st

from oncelog.domain.limits import INTEGER_MAX

names = st.from_regex(r"\A[A-Za-z][A-Za-z0-9_-]{0,62}\Z")
command_ids = st.from_regex(r"\A[A-Za-z0-9._:-]{1,128}\Z")
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
keys = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-INTEGER_MAX, INTEGER_MAX)
    | st.floats(allow_nan=False, allow_infinity=False).filter(lambda x: abs(x) <= INTEGER_MAX or abs(x) >= 1e21)
    | text
)
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4), max_leaves=20
)
json_objects = st.dictionaries(keys, json_values, max_size=5)
