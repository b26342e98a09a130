"""``oncelog class`` as an operator uses it, on real servers."""

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


@pytest.mark.usefixtures("worker")
def test_create_in_undefined_class_gives_a_hint(variables: dict[str, str]):
    assert run(variables, ["class", "define", "geo/City", "-p", json.dumps(FIRST)]).returncode == 0
    created = run(variables, ["submit", "create", "geo/Citty/x1", "--json"])
    assert (created.returncode, "did you mean City?" in str(answer(created)["hint"])) == (0, True), created.stderr
    assert "hint: class geo/Citty is not defined" in created.stderr
    assert "hint" not in answer(run(variables, ["submit", "create", "geo/City/x1", "--json"]))


@pytest.mark.usefixtures("worker")
def test_a_path_that_is_not_there_is_null_in_json(variables: dict[str, str]):
    for name in ("a", "b"):
        assert run(variables, ["submit", "create", f"road/Town/{name}"]).returncode == 0
    found = run(variables, ["path", "road/Town/a", "road/Town/b", "--json"])
    assert (found.returncode, answer(found)["path"], answer(found)["cut"]) == (1, None, False), found.stderr
    assert "no way from road/Town/a to road/Town/b" in run(variables, ["path", "road/Town/a", "road/Town/b"]).stderr


@pytest.mark.usefixtures("worker")
def test_a_large_payload_leaves_json_alone_on_output(variables: dict[str, str], tmp_path: Path):
    file = tmp_path / "large.json"
    file.write_text(json.dumps({"texts": ["x" * 1000] * 600}))
    created = run(variables, ["submit", "create", "large/Thing/a", "-p", f"@{file}", "--json"])
    assert (created.returncode, answer(created)["outcome"]) == (0, "APPLIED"), created.stderr


def test_what_names_no_class_is_refused_before_anything_is_asked(variables: dict[str, str]):
    for target in ("shop", "shop/Product/p1", "shop/_class"):
        found = run(variables, ["class", "retire", target])
        assert found.returncode == 2, found.stdout
