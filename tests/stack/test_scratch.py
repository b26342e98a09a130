"""Stacks that are not up yet, and servers with a proxy before them."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from stack import Stack, ports
from stack.servers import Location, kafka
from stack.servers.kafka import Kafka

PORTS = {"kafka": 9092, "kafka_controller": 9093}


def test_kafka_tells_its_own_address_or_that_of_a_proxy(tmp_path: Path) -> None:
    own = Location(folder=tmp_path, ports=PORTS, program=tmp_path)
    behind = Location(folder=tmp_path, ports=PORTS, program=tmp_path, advertised="127.0.0.1:19092")
    assert Kafka().settings(own)["advertised.listeners"] == "PLAINTEXT://127.0.0.1:9092"
    assert Kafka().settings(behind)["advertised.listeners"] == "PLAINTEXT://127.0.0.1:19092"
    assert Kafka().settings(behind)["listeners"] == Kafka().settings(own)["listeners"]


def test_a_scratch_stack_is_not_up_until_it_is_told_to_be() -> None:
    with Stack.scratch() as stack:
        assert [path.name for path in stack.data.iterdir()] == []
        (stack.data / "redis").mkdir()
    assert not stack.data.exists()


def put_before(stack: Stack, proxy: str) -> None:
    """Let Toxiproxy listen there and pass everything on to Kafka."""
    wanted = {"name": "kafka", "listen": proxy, "upstream": stack.server("kafka").address, "enabled": True}
    url = f"{stack.server('toxiproxy').address}/proxies"
    with urlopen(Request(url, json.dumps(wanted).encode(), {"User-Agent": "test"}, method="POST")) as answer:
        assert answer.status == 201


@pytest.mark.integration
def test_kafka_starts_whatever_its_cluster_id_begins_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka, "new_cluster_id", lambda: "-uyvIXQkSsWGCi2LHQQhNw")
    with Stack.temporary(["kafka"]) as stack:
        assert "cluster.id=-uyvIXQkSsWGCi2LHQQhNw" in (stack.data / "kafka" / "data" / "meta.properties").read_text()


@pytest.mark.integration
async def test_clients_of_kafka_stay_with_the_proxy() -> None:
    with ports.reserve_free() as held:
        proxy = f"{ports.HOST}:{held.getsockname()[1]}"
        with Stack.scratch(advertised={"kafka": proxy}) as stack:
            stack.up(["kafka", "toxiproxy"])
            put_before(stack, proxy)
            admin = AIOKafkaAdminClient(bootstrap_servers=stack.server("kafka").address)
            await admin.start()
            (broker,) = (await admin.describe_cluster())["brokers"]
            await admin.close()
            assert f"{broker['host']}:{broker['port']}" == proxy
