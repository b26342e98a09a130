"""The registry of aggregates of one's own: names that clash, and objects that cannot be loaded."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from oncelog.domain.aggregates import Aggregate, Registry, load_aggregates
from oncelog.domain.aggregates import aggregate_registry as module
from oncelog.domain.aggregates.definition import DomainCommand
from oncelog.errors import InputInvalid, SchemaGap, SettingsInvalid
from tests.own_domain import ACCOUNT, Account, Deposit, Deposited, Withdrawn


class CreateInstance(DomainCommand):
    pass


class BulkCreate(DomainCommand):
    pass


@pytest.mark.parametrize(
    ("others", "problem"),
    [
        ([replace(ACCOUNT)], "is taken by aggregate Account of package tests"),
        ([replace(ACCOUNT, name="account")], "the class account is taken"),
        ([replace(ACCOUNT, name="Other")], "command DEPOSIT is taken"),
        ([replace(ACCOUNT, name="Other", commands=(CreateInstance,))], "CREATE_INSTANCE is built in"),
        ([replace(ACCOUNT, name="Other", commands=(BulkCreate,))], "BULK_CREATE is built in"),
    ],
)
def test_clash_of_names_is_refused(others: list[Aggregate[Account]], problem: str):
    with pytest.raises(SettingsInvalid, match=problem):
        Registry([ACCOUNT, *others])


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        (lambda: replace(ACCOUNT, name="a/b"), "expected the name of a class"),
        (lambda: replace(ACCOUNT, commands=(Deposit, Deposit)), "each with its own name"),
        (lambda: replace(ACCOUNT, events=()), "expected commands and events"),
        (
            lambda: replace(ACCOUNT, initial=Deposit(amount=1)),  # type: ignore[arg-type]
            "expected 'initial' to be a Account",
        ),
    ],
)
def test_unusable_definition_is_refused(broken: Callable[[], Aggregate[Account]], problem: str):
    with pytest.raises(InputInvalid, match=problem):
        broken()


def test_versions_out_of_order_are_a_gap():
    class Backwards(Withdrawn):
        migrations = (("0.9.0", lambda data: data),)

    with pytest.raises(SchemaGap, match="rising order"):
        replace(ACCOUNT, events=(Deposited, Backwards))


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("tests.own_domain", "expected module:object"),
        ("tests.no_domain:ACCOUNT", "cannot be loaded: ModuleNotFoundError"),
        ("tests.own_domain:NONE", "cannot be loaded: AttributeError"),
        ("tests.own_domain:decide", "to be an Aggregate, found function"),
        ("tests.own_domain:ACCOUNT, tests.own_domain:LATER_ACCOUNT", "is taken by"),
    ],
)
def test_setting_that_cannot_be_loaded_is_refused(monkeypatch: pytest.MonkeyPatch, value: str, problem: str):
    monkeypatch.setattr(module, "_current", [])
    monkeypatch.setenv("ONCELOG_AGGREGATES", value)
    with pytest.raises(SettingsInvalid, match=problem):
        load_aggregates()


def test_setting_is_loaded_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_current", [])
    monkeypatch.setenv("ONCELOG_AGGREGATES", "tests.own_domain:ACCOUNT,tests.own_domain:ACCOUNT")
    assert load_aggregates().commands["DEPOSIT"] is ACCOUNT
    monkeypatch.setenv("ONCELOG_AGGREGATES", "")
    assert module.registry().commands["DEPOSIT"] is ACCOUNT
