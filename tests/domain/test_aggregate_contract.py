"""The contract of aggregates of one's own: each way to break it is found."""

import random
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from oncelog.domain.aggregates import Aggregate, DecisionContext
from oncelog.domain.aggregates.contract import check_contract, record_samples
from tests.own_domain import ACCOUNT, Account, Deposit, Deposited, Withdraw, Withdrawn, decide


def deciding(amount: Callable[[], int]) -> Aggregate[Account]:
    """Return an aggregate that takes the amount from elsewhere than its command."""

    def other(_state: Account, _command: Deposit | Withdraw, _context: DecisionContext) -> Deposited:
        return Deposited(amount=amount(), owner="u1")

    return replace(ACCOUNT, decide=other)


_calls: list[int] = []


def _count() -> int:
    _calls.append(1)
    return len(_calls)


def _raise(*_: Any) -> Account:
    raise KeyError("o1")


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        (deciding(lambda: int(time.time())), "calls time; take time and identity from the context"),
        (deciding(lambda: datetime.now().year), "calls datetime.now"),  # noqa: DTZ005
        (deciding(lambda: random.randrange(10)), "calls Random.getrandbits"),
        (deciding(lambda: uuid4().int % 7), "calls urandom"),
        (deciding(lambda: len(Path(__file__).read_bytes())), "calls"),
        (deciding(_count), "decides twice on the same"),
        (deciding(lambda: 2**60), "integer"),
        (replace(ACCOUNT, evolve=_raise), "KeyError"),
        (replace(ACCOUNT, document=lambda _: {"at": {1, 2}}), "the document"),
        (replace(ACCOUNT, relationships=lambda _: {"owned_by": ["u1"]}), "relationships"),
    ],
)
def test_broken_contract_is_found(broken: Aggregate[Account], problem: str):
    (found,) = check_contract(broken).problems
    assert problem in found
    assert "aggregate Account of package tests" in found


def test_sound_aggregate_has_no_problems():
    report = check_contract(ACCOUNT)
    assert report.problems == []
    assert report.made.keys() == {"DEPOSITED", "WITHDRAWN"}


def test_every_stored_version_needs_a_readable_sample(tmp_path: Path):
    events = {"DEPOSITED": Deposited(amount=1, owner="u1"), "WITHDRAWN": Withdrawn(amount=1, currency="EUR")}
    written = record_samples(ACCOUNT, tmp_path, dict(events))
    assert [str(path.relative_to(tmp_path)) for path in written] == ["DEPOSITED/1.0.0.json", "WITHDRAWN/1.1.0.json"]
    assert record_samples(ACCOUNT, tmp_path, dict(events)) == []
    (missing,) = check_contract(ACCOUNT, samples=tmp_path).problems
    assert "WITHDRAWN 1.0.0: expected a committed sample" in missing
    (tmp_path / "WITHDRAWN" / "1.0.0.json").write_text('{"sum": 1}')
    (unreadable,) = check_contract(ACCOUNT, samples=tmp_path).problems
    assert "not readable" in unreadable
    (tmp_path / "WITHDRAWN" / "1.0.0.json").write_text('{"amount": 1}')
    assert check_contract(ACCOUNT, samples=tmp_path).problems == []


def test_decision_of_the_wrong_kind_is_found():
    (found,) = check_contract(replace(ACCOUNT, decide=lambda *_: None)).problems  # type: ignore[arg-type]
    assert "expected one of its events or Refused, found NoneType" in found
    assert decide is ACCOUNT.decide
