"""The mutations of the Lua scripts fit the scripts; ``make mutate`` runs them."""

import pytest

from tests.mutation.lua import MUTATIONS, Mutation


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: f"{mutation.script}: {mutation.effect}")
def test_mutation_changes_its_script(mutation: Mutation):
    assert mutation.applied()
