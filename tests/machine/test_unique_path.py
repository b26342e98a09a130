"""No story of unique values breaks a promise, and where the code forgets a rule of theirs one that does is found."""

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.machine.test_command_path import EXAMPLES, STORIES
from tests.machine.unique_contest import CoveredLaterContest, UniqueContest
from tests.machine.unique_mutations import MUTATIONS
from tests.machine.unique_path import CoveredLaterPath, UniquePath

pytestmark = pytest.mark.no_cover

#: Where an attempt may be held up: more requests than any of a contest makes.
REQUESTS_MAX = 60
#: Found by one attempt that is held up, or goes ahead, for so many requests; of random orders too few show them.
TOLD = ("both", "order")


@pytest.mark.parametrize("path", [UniquePath, CoveredLaterPath])
def test_no_story_of_unique_values_breaks_a_promise(path: type[UniquePath]):
    run_state_machine_as_test(path, settings=settings(STORIES, derandomize=True, max_examples=25))


@pytest.mark.deep
@pytest.mark.parametrize("path", [UniquePath, CoveredLaterPath])
def test_no_story_of_many_with_unique_values_breaks_a_promise(path: type[UniquePath]):
    run_state_machine_as_test(path, settings=settings(STORIES, max_examples=EXAMPLES))


@pytest.mark.parametrize("rule", [rule for rule in MUTATIONS if rule not in TOLD])
def test_contest_shows_that_a_rule_is_forgotten(rule: str):
    mutate, orders = MUTATIONS[rule]
    contest = type("Contest", (CoveredLaterContest if rule == "back" else UniqueContest,), {"orders": orders})
    until_shown = settings(STORIES, derandomize=True, database=None, max_examples=60, phases=[Phase.generate])
    run_state_machine_as_test(contest, settings=settings(until_shown, max_examples=5))
    with pytest.MonkeyPatch.context() as patch:
        mutate(patch)
        with pytest.raises((Exception, ExceptionGroup)):
            run_state_machine_as_test(contest, settings=until_shown)


@pytest.mark.parametrize("rule", [pytest.param("both", marks=pytest.mark.deep), "order"])
def test_story_shows_that_a_rule_is_forgotten(rule: str):
    mutate, orders = MUTATIONS[rule]
    assert _requests_that_show(orders, rule) == []
    with pytest.MonkeyPatch.context() as patch:
        mutate(patch)
        assert _requests_that_show(orders, rule) != []


def _requests_that_show(orders: tuple[str, ...], rule: str) -> list[int]:
    """Return after how many requests of its own the second attempt has to be held up, or joined, to break a promise."""
    found = []
    for count in range(REQUESTS_MAX if rule == "both" else 8):
        contest = type("Contest", (UniqueContest,), {"orders": orders})()
        try:
            contest.begin()
            contest.go_ahead(1, count, in_turn=rule == "order")
        except Exception:  # noqa: BLE001 - a check of ours, or the code's own of what it reads
            contest.failed = True
        contest.teardown()
        if contest.failed:
            found.append(count)
    return found
