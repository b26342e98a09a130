"""The example of a Kafka consumer: the contract's rules, and a topic on real servers that is lost once."""

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient
from hypothesis import given
from hypothesis import strategies as st

from examples.consumer.checkpoint import Checkpoint, folded
from examples.consumer.follow import follow
from oncelog import Command, CommandType, Oncelog, new_command_id
from oncelog.domain.merge_patch import merge_patch
from tests.docs.blocks import readme_line
from tests.integration.installation import Installation

FOLLOW_TIMEOUT_S = 120


def event(sequence_number: int, data: Any = None, *, effect: str = "REPLACE") -> dict[str, Any]:
    fields = {"aggregate_id": "shop/Product/p1", "effect": effect, "data": data or {}}
    return {**fields, "sequence_number": sequence_number}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Iterator[Checkpoint]:
    with Checkpoint(tmp_path / "products.sqlite") as checkpoint:
        checkpoint.begin("topic-1")
        yield checkpoint


@pytest.mark.parametrize(
    ("delivered", "taken"),
    [
        ([1, 2, 3], [1, 2, 3]),
        ([1, 1, 2, 1, 2, 3], [1, 2, 3]),  # late duplicates
        ([3, 1, 2, 3], [1, 2, 3]),  # beyond a gap; it comes again after those between
        ([2, 1], [1]),
    ],
)
def test_only_the_next_event_is_taken(checkpoint: Checkpoint, delivered: list[int], taken: list[int]):
    applied = [n for offset, n in enumerate(delivered) if checkpoint.apply(event(n), partition=0, offset=offset)]
    assert applied == taken
    assert checkpoint.begin("topic-1") == {0: len(delivered)}


def test_readme_asks_the_table(checkpoint: Checkpoint, tmp_path: Path):
    checkpoint.apply(event(1, {"name": "Lamp"}), partition=0, offset=0)
    _, database, question = readme_line("consumer", "sqlite3")
    with closing(sqlite3.connect(tmp_path / database)) as connection:
        assert connection.execute(question).fetchall() == [("shop/Product/p1", 1, '{"name": "Lamp"}')]


def test_another_topic_id_starts_anew(checkpoint: Checkpoint):
    checkpoint.apply(event(1, {"name": "Lamp"}), partition=2, offset=7)
    assert checkpoint.begin("topic-2") == {}
    assert checkpoint.instances() == {}
    assert checkpoint.apply(event(1), partition=2, offset=0)


json_values = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from("abc"), json_values), st.dictionaries(st.sampled_from("abc"), json_values))
def test_merge_is_the_merge_patch_of_the_contract(data: Any, patch: Any):
    assert folded(data, event(2, patch, effect="MERGE")) == merge_patch(data, patch)


async def _submit(client: Oncelog, command_type: CommandType, instance_id: str, payload: dict[str, Any]) -> None:
    command = Command(
        command_id=new_command_id(),
        command_type=command_type,
        db_name="shop",
        class_id="Product",
        instance_id=instance_id,
        payload=payload,
    )
    assert (await client.submit(command)).rejection is None


async def _followed(installation: Installation, path: Path) -> dict[str, tuple[int, Any]]:
    settings = installation.settings

    def run() -> dict[str, tuple[int, Any]]:
        with Checkpoint(path) as checkpoint:
            follow(settings.kafka.bootstrap_servers, settings.instance_topic, checkpoint, until_caught_up=True)
            return checkpoint.instances()

    return await asyncio.wait_for(asyncio.to_thread(run), FOLLOW_TIMEOUT_S)


async def _lose_topic(installation: Installation) -> None:
    """Delete the topic; a worker makes it anew with the next command."""
    settings = installation.settings
    admin = AdminClient({"bootstrap.servers": settings.kafka.bootstrap_servers})
    await asyncio.to_thread(admin.delete_topics([settings.instance_topic])[settings.instance_topic].result)


@pytest.mark.integration
async def test_consumer_holds_what_the_documents_hold(installation: Installation, tmp_path: Path):
    path, client = tmp_path / "products.sqlite", installation.client
    async with installation.worker():
        await _submit(client, CommandType.CREATE_INSTANCE, "p1", {"name": "Lamp", "price": 9})
        await _submit(client, CommandType.CREATE_INSTANCE, "p2", {"name": "Chair"})
        assert (await _followed(installation, path)).keys() == {"shop/Product/p1", "shop/Product/p2"}
        await _submit(client, CommandType.UPDATE_INSTANCE, "p1", {"price": None})
        await _submit(client, CommandType.DELETE_INSTANCE, "p2", {})
        expected = {"shop/Product/p1": (2, {"name": "Lamp"})}
        assert await _followed(installation, path) == expected  # goes on from its checkpoint

        await _lose_topic(installation)
        await _submit(client, CommandType.UPDATE_INSTANCE, "p1", {"price": 10})
        found = await _followed(installation, path)
    document = await client.get("shop/Product/p1")
    assert document is not None
    assert found == {"shop/Product/p1": (3, json.loads(json.dumps(document.body["data"])))}
