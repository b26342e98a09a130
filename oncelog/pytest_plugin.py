"""A pytest plugin: a test that takes ``oncelog_aggregate`` runs once for each registered aggregate of one's own.

``def test_contract(oncelog_aggregate): assert check_contract(oncelog_aggregate).problems == []``
"""

from typing import Any


def pytest_generate_tests(metafunc: Any) -> None:
    """Parametrize by the aggregates that entry points and ``ONCELOG_AGGREGATES`` name."""
    if "oncelog_aggregate" in metafunc.fixturenames:
        from oncelog.domain.aggregates import load_aggregates

        aggregates = load_aggregates().aggregates
        metafunc.parametrize("oncelog_aggregate", aggregates.values(), ids=aggregates.keys())
