"""``factline class`` as an operator uses it, on real servers."""

import json
from pathlib import Path

import pytest

from tests.classes import FIRST, SECOND, WIDER
from tests.cli.test_command_line import answer, run, variables, worker

__all__ = ["variables", "worker"]

pytestmark = pytest.mark.integration


@pytest.mark.usefixtures("worker")
def test_a_class_is_defined_evolved_shown_and_retired(variables: dict[str, str], tmp_path: Path):
    file = tmp_path / "class.json"

    def define(payload: dict[str, object], *more: str):
        file.write_text(json.dumps(payload))
        return run(variables, ["class", "define", "shop/Product", "-p", f"@{file}", *more])

    unknown = run(variables, ["class", "show", "shop/Product"])
    assert (unknown.returncode, "is not defined" in unknown.stderr) == (1, True)

    defined = define(FIRST, "--json", "--actor", "alice")
    assert defined.returncode == 0, defined.stderr
    assert answer(defined)["aggregate_id"] == "shop/_class/Product"

    unchanged = define(FIRST, "--if-changed", "--json")
    assert (unchanged.returncode, answer(unchanged)["outcome"]) == (0, "UNCHANGED")
    assert answer(run(variables, ["class", "show", "shop/Product", "--json"]))["sequence_number"] == 1

    refused = run(variables, ["submit", "create", "shop/Product/p1", "-p", '{"price": 7}'])
    assert (refused.returncode, "PayloadInvalid" in refused.stdout, "/price" in refused.stdout) == (1, True, True)

    broken = define({**SECOND, "migration": []})
    assert (broken.returncode, "SchemaIncompatible" in broken.stdout) == (1, True)
    assert "/properties/price" in broken.stdout
    assert "/required" in broken.stdout

    assert define(WIDER).returncode == 0
    shown = run(variables, ["class", "show", "shop/Product"])
    assert ("1.1.0" in shown.stdout, "/maker -> Maker, one" in shown.stdout) == (True, True)
    found = answer(run(variables, ["class", "show", "shop/Product", "--json"]))
    assert (found["sequence_number"], found["retired"], found["definition"]) == (2, False, WIDER)
    assert "shop.product.d000002" in run(variables, ["class", "reindex", "shop/Product"]).stdout

    assert run(variables, ["class", "retire", "shop/Product", "--expected-version", "2"]).returncode == 0
    assert answer(run(variables, ["class", "show", "shop/Product", "--json"]))["retired"] is True


def test_what_names_no_class_is_refused_before_anything_is_asked(variables: dict[str, str]):
    for target in ("shop", "shop/Product/p1", "shop/_class"):
        found = run(variables, ["class", "retire", target])
        assert found.returncode == 2, found.stdout
