"""The seed determines the plan of a run."""

import json
import math
from collections import Counter
from itertools import islice

import pytest

from oncelog.verification.history import read_history
from tests.chaos import plan
from tests.chaos.forgeries import FORGERIES, Order
from tests.chaos.kinds import KINDS
from tests.chaos.plan import kind_names, plan_calls, plan_faults
from tests.chaos.report import recoveries_s

#: The parts of one campaign, see the Makefile.
SEEDS, FAULTS = (1, 2, 3, 4, 5), 70


def test_a_seed_determines_its_plan():
    assert plan_faults(7, 40) == plan_faults(7, 40)
    assert plan_faults(7, 40) != plan_faults(8, 40)
    first, again, other = (list(islice(plan_calls(seed, 3, aggregates=50), 100)) for seed in (7, 7, 8))
    assert first == again
    assert first != other


@pytest.mark.parametrize("count", [1, 17, 60])
def test_a_plan_has_as_many_faults_as_were_asked_for(count: int):
    assert len(plan_faults(1, count)) == count


def test_campaign_covers_every_kind_ten_times():
    planned = Counter(fault.kind for seed in SEEDS for fault in plan_faults(seed, FAULTS))
    assert planned.total() >= 200
    assert sum(times >= 10 for times in planned.values()) >= 15
    assert set(planned) == set(KINDS)


def test_kinds_that_are_named_come_equally_often():
    named = kind_names("worker_killed, redis_flushed")
    assert Counter(fault.kind for fault in plan_faults(1, 8, named)) == {"worker_killed": 4, "redis_flushed": 4}


def test_unknown_kind_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown kind redis_eaten; there are: .*redis_flushed"):
        kind_names("redis_flushed,redis_eaten")


def test_everything_that_clients_may_do_is_drawn():
    drawn = {call.what for call in islice(plan_calls(1, 0, aggregates=50), 500)}
    assert drawn == set(plan.CALLS)


def test_an_order_of_forgeries_is_read_as_it_was_written(tmp_path):
    order = Order(tuple(FORGERIES), 0.5)
    path = tmp_path / "forgery.json"
    path.write_text(order.to_json())
    assert Order.read(path) == order


def test_command_counts_for_the_first_fault_it_outlives(tmp_path):
    path = tmp_path / "history.ndjson"
    command = {"command_id": "c1"}
    answer = {"kind": "ok", "result": {}}
    lines = [
        {"at_ns": 1_000_000_000, "kind": "invoke", "op_id": "1", "client": 1, "op": "command", "command": command},
        {"at_ns": 1_000_000_001, "kind": "fault_start", "op_id": "2", "fault": {"kind": "killed", "target": "s3"}},
        {"at_ns": 2_000_000_000, "kind": "fault_end", "op_id": "2"},
        {"at_ns": 2_500_000_000, "kind": "info", "op_id": "1", "error": "TimeoutError"},
        {"at_ns": 3_000_000_000, "kind": "fault_start", "op_id": "3", "fault": {"kind": "killed", "target": "s3"}},
        {"at_ns": 4_000_000_000, "kind": "fault_end", "op_id": "3"},
        {"at_ns": 4_000_000_001, "kind": "invoke", "op_id": "4", "client": 1, "op": "command", "command": command},
        {"at_ns": 5_500_000_000, "op_id": "4", **answer},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert recoveries_s(read_history([path])) == [3.5, 0.0]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines[:-1]))
    assert recoveries_s(read_history([path])) == [math.inf, 0.0]
