"""The table of limits in the docs is the one in the code."""

import re
from pathlib import Path

from oncelog.domain import limits

PAGE = Path(__file__).parents[2] / "docs" / "limits.md"


def test_docs_list_every_limit_with_its_number():
    rows = re.findall(r"^\| `([A-Z0-9_]+)` \| (-?\d+) \|", PAGE.read_text(), flags=re.MULTILINE)
    in_code = {name: value for name, value in vars(limits).items() if name.isupper()}
    assert {name: int(number) for name, number in rows} == in_code
    assert len(rows) == len(in_code)


def test_stored_objects_are_bounded_more_widely_than_input():
    # A record wraps a payload and metadata, or the items of a command that carries them.
    assert 2 * limits.TEXT_BYTES_MAX + limits.METADATA_BYTES_MAX < limits.STORED_BYTES_MAX
    assert limits.DEPTH_MAX < limits.STORED_DEPTH_MAX
    # A chunk's record holds a rejection for each of the most items that a setting allows.
    rejection_bytes_max = 4 * limits.ITEM_MESSAGE_CHARACTERS_MAX + limits.ITEM_DETAILS_BYTES_MAX
    assert 5_000 * rejection_bytes_max < limits.STORED_BYTES_MAX
    # A plan names the start of each chunk, by its items and by its bytes: below 120 bytes each.
    chunks_max = limits.CHUNKS_MAX + 2 * limits.ITEMS_BYTES_MAX // limits.CHUNK_BYTES_MAX
    assert 120 * chunks_max < limits.STORED_BYTES_MAX
