"""Each stored name is in one module: no other module has its literal."""

import ast
from collections.abc import Iterator
from pathlib import Path

from oncelog.domain import stored_names
from tests.house.prose import ROOT

#: The beginnings of keys, aliases and topics.
BEGINNINGS = (
    stored_names.EVENTS,
    stored_names.COMMANDS,
    stored_names.CLASS_NAMES,
    stored_names.SNAPSHOTS,
    stored_names.TOPICS,
    stored_names.DEAD_LETTERS,
    stored_names.PAYLOADS,
    stored_names.BULK_REPORTS,
    stored_names.CHECK_REPORTS,
    stored_names.PROOFS,
    stored_names.COVER_REPORTS,
    stored_names.PUBLISHED_THROUGH,
    stored_names.PUBLISHED_TOPIC,
    f"{stored_names.INSTANCES_ALIAS}.",
    f"{stored_names.GRAPH_ALIAS}.",
    f"{stored_names.PINNED_ALIAS}.",
    stored_names.INSTANCE_TOPIC,
    stored_names.CLASS_TOPIC,
    stored_names.FAILURE_TOPIC,
)
#: Functions that make a search attribute of its stored name.
ATTRIBUTE_MAKERS = ("for_keyword", "for_int")
#: A verification is to hold the layout by its own means, not by the writer's.
LEFT_OUT = "oncelog/verification/"


def test_stored_name_is_written_in_one_module():
    places = [place for path in _modules() for place in _stored_names_in(path)]
    assert not places, "\n".join(places)


def _modules() -> list[Path]:
    folders = ("oncelog", "workflows", "activities")
    found = [path for folder in folders for path in (ROOT / folder).rglob("*.py") if path.resolve() == path]
    owner = ROOT / "oncelog" / "domain" / "stored_names.py"
    return [path for path in found if path != owner and LEFT_OUT not in path.as_posix()]


def _stored_names_in(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text())
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            if node.value.startswith(BEGINNINGS):
                yield f"{path.relative_to(ROOT)}:{node.lineno}: {node.value!r}"
        elif isinstance(node, ast.Call) and _names_an_attribute(node):
            yield f"{path.relative_to(ROOT)}:{node.lineno}: a search attribute"


def _names_an_attribute(call: ast.Call) -> bool:
    makes_one = isinstance(call.func, ast.Attribute) and call.func.attr in ATTRIBUTE_MAKERS
    return makes_one and any(isinstance(argument, ast.Constant) for argument in call.args)
