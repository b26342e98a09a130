"""``command_to``: from a request of one's own to the command that makes it."""

import pytest

from oncelog.domain.aggregates import registered
from oncelog.domain.commands import command_to, parse_command
from oncelog.errors import InputInvalid
from tests.domain.test_aggregate_registry import CreateInstance
from tests.own_domain import ACCOUNT, Deposit


def test_request_becomes_the_command_that_its_json_is():
    request = Deposit(amount=5)
    with registered(ACCOUNT):
        command = command_to(ACCOUNT, "shop", "a/1", request, command_id="c1", expected_version=2, actor="ann")
        assert parse_command(command.as_json) == command
    assert command.as_json == {
        "command_id": "c1",
        "command_type": "DEPOSIT",
        "db_name": "shop",
        "class_id": "Account",
        "instance_id": "a/1",
        "payload": {"amount": 5, "owner": "u1"},
        "expected_version": 2,
        "actor": "ann",
    }


def test_request_of_another_aggregate_is_refused():
    with pytest.raises(InputInvalid, match=r"one of its commands \(DEPOSIT, WITHDRAW\), found CREATE_INSTANCE"):
        command_to(ACCOUNT, "shop", "a1", CreateInstance(), command_id="c1")


def test_field_that_no_command_has_is_refused():
    with registered(ACCOUNT), pytest.raises(InputInvalid, match="/priority"):
        command_to(ACCOUNT, "shop", "a1", Deposit(amount=5), command_id="c1", priority=3)
