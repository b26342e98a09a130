"""``oncelog aggregates``, and the pytest plugin."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from oncelog.cli.app import app
from oncelog.domain.aggregates import DomainEvent, registered
from oncelog.pytest_plugin import pytest_generate_tests
from tests.own_domain import ACCOUNT


def run(*arguments: str) -> tuple[int, list[dict[str, Any]]]:
    result = CliRunner().invoke(app, ["aggregates", *arguments, "--json"])
    return result.exit_code, [json.loads(line) for line in result.stdout.splitlines()]


def test_registered_aggregates_are_listed():
    with registered(ACCOUNT):
        code, (found,) = run("list")
    assert code == 0
    assert found["events"] == {"DEPOSITED": "1.0.0", "WITHDRAWN": "1.1.0"}
    assert found["commands"] == ["DEPOSIT", "WITHDRAW"]


def test_contract_is_checked_and_samples_are_recorded(tmp_path: Path):
    with registered(ACCOUNT):
        assert run("check")[0] == 0
        assert run("check", "--samples", str(tmp_path), "--record")[0] == 0
        assert (tmp_path / "Account" / "DEPOSITED" / "1.0.0.json").exists()
        code, (found,) = run("check", "--samples", str(tmp_path))
    assert code == 1
    assert "WITHDRAWN 1.0.0" in found["problems"][0]


def test_sample_that_no_command_made_is_named(tmp_path: Path):
    class Reversed(DomainEvent):
        amount: int

    with registered(replace(ACCOUNT, events=(*ACCOUNT.events, Reversed))):
        result = CliRunner().invoke(app, ["aggregates", "check", "--samples", str(tmp_path), "--record"])
    assert "REVERSED/1.0.0.json: not recorded" in "".join(result.stderr.split("\n"))


def test_broken_contract_is_a_finding():
    with registered(replace(ACCOUNT, document=lambda _: {"at": {1, 2}})):
        code, (found,) = run("check")
    assert code == 1
    assert "the document" in found["problems"][0]


def test_no_aggregate_is_a_finding():
    assert run("check") == (1, [])


def test_plugin_runs_a_test_for_each_aggregate():
    class Metafunc:
        fixturenames = ("oncelog_aggregate",)
        taken: Any = None

        def parametrize(self, name: str, values: Any, *, ids: Any) -> None:
            self.taken = name, list(values), list(ids)

    metafunc = Metafunc()
    with registered(ACCOUNT):
        pytest_generate_tests(metafunc)
    assert metafunc.taken == ("oncelog_aggregate", [ACCOUNT], ["Account"])


@pytest.mark.parametrize("other", ["commit", ""])
def test_plugin_leaves_other_tests_alone(other: str):
    class Metafunc:
        fixturenames = (other,)

    pytest_generate_tests(Metafunc())
