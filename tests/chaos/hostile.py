"""Hostile input: commands to be refused with a clear error and without any effect, as raw JSON.

Each is a change to an innocent command; ``docs/errors.md`` says what is expected instead.
"""

from collections.abc import Mapping
from typing import Any

_DEEP = 20_000


def _nested(levels: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(levels):
        found = [found]
    return found


#: Name to the fields that are changed; the command is otherwise a CREATE_INSTANCE of an instance of its own.
HOSTILE: Mapping[str, Mapping[str, Any]] = {
    "path_upwards": {"db_name": "../../x"},
    "path_in_class": {"class_id": "a/x/../b"},
    "double_slash": {"class_id": "a//b"},
    "nul": {"instance_id": "a\0b"},
    "line_break": {"instance_id": "a\r\nb"},
    "hash_tag": {"db_name": "{tag}"},
    "lone_brace": {"db_name": "a}"},
    "colon_and_star": {"class_id": "a:*"},
    "long_key": {"instance_id": "k" * 1025},
    "decomposed": {"instance_id": "e\u0301"},
    "right_to_left": {"instance_id": "a\u202eb"},
    "zero_width": {"instance_id": "a\u200bb"},
    "all": {"db_name": "_all"},
    "option": {"class_id": "-x"},
    "empty": {"instance_id": ""},
    "blank": {"instance_id": "   "},
    "beyond_double": {"payload": {"n": 2**53 + 1}},
    "no_object": {"payload": [1]},
    "unknown_type": {"command_type": "DROP_EVERYTHING"},
    "forged_sequence": {"sequence_number": 7},
    "forged_schema": {"schema_version": "9.9.9"},
    "negative_version": {"expected_version": -1},
    "other_id": {"command_id": "somebody-elses"},
}
