"""The architecture page names modules and definitions that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/architecture.md").read_text()
_PATH = re.compile(r"`((?:[\w]+/)+(?:[\w]+\.py)?)`")
_DEFINITIONS = re.compile(r"`((?:[\w]+/)+[\w]+\.py)`(?: \([^)]*\))?: ((?:(?:, | and )?`[\w.]+`)+)")


def _place(path: str) -> Path:
    """Return where a path of the page leads: from the top of the repository, or from `oncelog/`."""
    return ROOT / path if (ROOT / path).exists() else ROOT / "oncelog" / path


def test_every_path_exists():
    paths = set(_PATH.findall(PAGE))
    assert len(paths) > 40
    assert [path for path in sorted(paths) if not _place(path).exists()] == []


def test_every_definition_is_in_its_module():
    named = [(path, name) for path, names in _DEFINITIONS.findall(PAGE) for name in re.findall(r"`([\w.]+)`", names)]
    assert len(named) > 5
    for path, name in named:
        defined = rf"^\s*(?:(?:async )?def |class ){name}\b|^{name}\b.* = "
        assert re.search(defined, _place(path).read_text(), re.MULTILINE), f"{path}: {name}"
