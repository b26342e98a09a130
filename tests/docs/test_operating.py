"""The operating guide has a section for every finding code, and a page for every alert; neither has more."""

import re
from pathlib import Path

import pytest

from oncelog.verification.findings import Code
from tests.docs.blocks import ROOT

OPERATING = ROOT / "docs" / "operating"
RUNBOOKS = OPERATING / "runbooks"


def headings(page: Path, level: str) -> list[str]:
    return re.findall(rf"^{level} (.+)$", page.read_text(), re.MULTILINE)


def test_every_finding_has_a_section():
    assert sorted(headings(OPERATING / "findings.md", "###")) == sorted(Code)


def test_every_section_of_a_finding_says_more_than_its_name():
    sections = re.split(r"^### \w+\n", (OPERATING / "findings.md").read_text(), flags=re.MULTILINE)[1:]
    assert [text for text in sections if len(text.split()) < 6] == []


@pytest.mark.parametrize("page", sorted(RUNBOOKS.glob("*.md")), ids=lambda page: page.stem)
def test_runbook_says_how_urgent_it_is_and_what_to_do(page: Path):
    assert headings(page, "#") == [page.stem]
    assert re.search(r"^\*\*(Urgent|Today|This week)\b", page.read_text(), re.MULTILINE)
    assert page.read_text().count("\n1. ") == 1
