"""No story that Hypothesis thinks of breaks a promise, and where the code forgets a rule one that does is found."""

import os

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.machine.command_path import CommandPath
from tests.machine.mutations import LATE, SOON, Mutation, the_record_carries_no_event
from tests.machine.own_commands import OwnCommandPath

pytestmark = pytest.mark.no_cover

#: How many stories `make search` tries.
EXAMPLES = int(os.environ.get("ONCELOG_SEARCH_EXAMPLES", "5000"))

STORIES = settings(
    deadline=None, suppress_health_check=list(HealthCheck), stateful_step_count=50, report_multiple_bugs=False
)


def test_no_story_breaks_a_promise():
    run_state_machine_as_test(CommandPath, settings=settings(STORIES, derandomize=True, max_examples=250))


@pytest.mark.deep
def test_no_story_of_many_breaks_a_promise():
    run_state_machine_as_test(CommandPath, settings=settings(STORIES, max_examples=EXAMPLES))


def test_no_story_of_own_commands_breaks_a_promise():
    run_state_machine_as_test(OwnCommandPath, settings=settings(STORIES, derandomize=True, max_examples=60))


def test_a_story_shows_that_the_decided_event_is_forgotten():
    assert _shown_by_a_story(the_record_carries_no_event, 60, OwnCommandPath)


def _shown_by_a_story(mutate: Mutation, examples_max: int, path: type[CommandPath] = CommandPath) -> bool:
    until_shown = settings(STORIES, derandomize=True, database=None, max_examples=examples_max, phases=[Phase.generate])
    with pytest.MonkeyPatch.context() as patch:
        mutate(patch)
        try:
            run_state_machine_as_test(path, settings=until_shown)
        except (Exception, ExceptionGroup):  # noqa: BLE001 - a check of ours, or the code's own of what it reads
            return True
    return False


@pytest.mark.parametrize("mutate", SOON.values(), ids=SOON)
def test_a_story_shows_soon_that_a_rule_is_forgotten(mutate: Mutation):
    assert _shown_by_a_story(mutate, 300)


@pytest.mark.deep
@pytest.mark.parametrize("mutate", LATE.values(), ids=LATE)
def test_a_story_shows_that_a_rule_is_forgotten(mutate: Mutation):
    assert _shown_by_a_story(mutate, 3_000)
