"""The demo's real input, as it is installed."""

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import airportsdata
import pycountry
import pytest

from factline.cli.demo_data import Load, airports, subdivisions
from factline.domain.commands import parse_command


@pytest.mark.parametrize(
    ("load", "package", "source"),
    [(subdivisions, "pycountry", pycountry.subdivisions), (airports, "airportsdata", airportsdata.load())],
)
def test_every_record_is_an_item_and_they_are_accepted(load: Callable[[], Load], package: str, source: Any):
    loaded = load()
    assert loaded.source == f"{package} {version(package)}"
    assert len({item["instance_id"] for item in loaded.items}) == len(loaded.items) == len(source)
    for item in loaded.items[::20]:
        command = {"command_id": "c", "command_type": "CREATE_INSTANCE", "db_name": "d", "class_id": loaded.class_id}
        assert parse_command({**command, **item}).payload == item["payload"]


def test_what_refers_to_others_is_kept_and_what_is_empty_is_not():
    payloads = {item["instance_id"]: item["payload"] for item in subdivisions().items}
    assert payloads["BY-HM"].keys() == {"code", "name", "type", "country_code"}
    assert {payload["country_code"] for payload in payloads.values()} >= {"AT", "BY"}
    parts = [payload for payload in payloads.values() if "parent_code" in payload]
    assert len(parts) == sum(subdivision.parent_code is not None for subdivision in pycountry.subdivisions)
    (vienna,) = [item["payload"] for item in airports().items if item["instance_id"] == "LOWW"]
    assert (vienna["iata"], vienna["country"], "lid" in vienna) == ("VIE", "AT", False)
