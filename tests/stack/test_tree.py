"""Rules for every file of the package."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

from stack import versions

PACKAGE = Path(__file__).parents[2] / "stack"
FILES = sorted(PACKAGE.rglob("*.py"))
LINES_MAX = 300
FUNCTION_LINES_MAX = 40


#: Libraries that are imported within functions: clients that ask a server for its health, and for certificates.
LIBRARIES = {
    "report_rich.py": {"rich"},
    "security.py": {"cryptography", "trustme"},
    "servers/http.py": {"httpx"},
    "servers/kafka.py": {"aiokafka"},
    "servers/redis.py": {"redis"},
    "servers/temporal.py": {"temporalio"},
}


def names(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("path", FILES, ids=names)
def test_only_named_libraries_are_imported(path: Path) -> None:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").split(".")[0])
    assert found <= {*sys.stdlib_module_names, "stack", *LIBRARIES.get(names(path), ())}


@pytest.mark.parametrize("path", FILES, ids=names)
def test_files_and_functions_are_short(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= LINES_MAX
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno < FUNCTION_LINES_MAX, node.name


@pytest.mark.parametrize("path", [path for path in FILES if path.name != "versions.py"], ids=names)
def test_versions_are_named_in_one_file_only(path: Path) -> None:
    pinned = {
        value for value in vars(versions).values() if isinstance(value, str) and re.fullmatch(r"\d+(\.\d+){2}", value)
    }
    assert pinned
    assert [version for version in sorted(pinned) if version in path.read_text()] == []
