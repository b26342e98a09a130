"""A domain of one's own while its programs die and a release changes: judged from the objects of S3 and SQLite alone.

The judge reads JSON with boto3 and rows with sqlite3; it shares no code with what it judges.
"""

import asyncio
import json
import signal
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from oncelog import submit_all
from oncelog.client.start_options import new_command_id
from oncelog.domain.aggregates import registered
from oncelog.domain.commands import Command
from tests.account_releases import LATER
from tests.integration.installation import Installation
from tests.own_domain import account_command

pytestmark = pytest.mark.integration

FIRST_RELEASE, LATER_RELEASE = ({"ONCELOG_AGGREGATES": f"tests.account_releases:{name}"} for name in ("FIRST", "LATER"))
TOTALS, RECEIPTS = "tests.account_releases:deposits_per_owner", "tests.account_releases:receipts"
DEPOSITS, OWNERS, ACCOUNTS = 60, 3, 7
#: Of the first release, then of the later one, in the order of the semantic versions that they store.
FACTOR = {"1.0.0": 1, "1.1.0": 2}
UNTIL_S = 180.0


def deposit(number: int) -> Command:
    payload = {"amount": number + 1, "owner": f"u{number % OWNERS}"}
    return account_command(
        "DEPOSIT", 0, command_id=new_command_id(), instance_id=f"a{number % ACCOUNTS}", payload=payload
    )


class Judge:
    """The objects of S3, as they lie there."""

    def __init__(self, installation: Installation) -> None:
        bucket = installation.stores.bucket
        self._client, self._bucket, self._prefix = bucket.client, bucket.name, f"{bucket.prefix}events/shop/"

    async def events(self, class_id: str) -> list[dict[str, Any]]:
        """Return every event of a class."""
        return await asyncio.to_thread(lambda: list(self._events(class_id)))

    def _events(self, class_id: str) -> Iterator[dict[str, Any]]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=f"{self._prefix}{class_id}/"
        )
        for page in pages:
            for found in page.get("Contents", ()):
                body = self._client.get_object(Bucket=self._bucket, Key=found["Key"])["Body"].read()
                yield json.loads(body)


async def test_nothing_is_lost_or_decided_twice(installation: Installation, tmp_path: Path):
    database = tmp_path / "totals.sqlite"
    views = {"SQL_TEST_URL": f"sqlite:///{database}"}
    judge = Judge(installation)
    dying = await installation.worker_process(**FIRST_RELEASE, ONCELOG_CRASH_AFTER="record:9")
    first = await installation.worker_process(**FIRST_RELEASE)
    doomed = [
        await installation.own_projector_process(TOTALS, **FIRST_RELEASE, **views, ONCELOG_CRASH_AFTER="show"),
        await installation.reactor_process(RECEIPTS, **FIRST_RELEASE, ONCELOG_CRASH_AFTER="show"),
    ]
    for process in (dying, first):
        await process.ready()
    with registered(LATER):
        commands = [deposit(number) for number in range(DEPOSITS)]
        submitting = asyncio.create_task(submit_all(installation.client, commands, concurrency=4))
        assert await dying.ended() == -signal.SIGKILL  # between a record and its event
        first.process.kill()  # with commands under way
        await first.ended()
        async with installation.worker():  # of the later release
            for process in doomed:
                assert await process.ended() == -signal.SIGKILL  # and has committed no offset
            await (await installation.own_projector_process(TOTALS, **LATER_RELEASE, **views)).ready()
            await (await installation.reactor_process(RECEIPTS, **LATER_RELEASE)).ready()
            await submitting
            async with asyncio.timeout(UNTIL_S):
                while len(await judge.events("Receipt")) < DEPOSITS:
                    await asyncio.sleep(0.2)
            await installation.until_idle(TOTALS)
            await installation.until_idle(RECEIPTS)
            await installation.until_ended()
        await installation.check()
    check_deposits(await judge.events("Account"), commands)
    check_receipts(await judge.events("Account"), await judge.events("Receipt"))
    check_totals(await judge.events("Account"), database)


def check_deposits(events: list[dict[str, Any]], commands: list[Command]) -> None:
    """Hold that each command made one event, decided by the release whose version it is stored in."""
    amounts = {command.command_id: command.payload["amount"] for command in commands}
    assert Counter(event["command_id"] for event in events) == dict.fromkeys(amounts, 1)
    for event in events:
        assert event["data"]["amount"] == FACTOR[event["schema_version"]] * amounts[event["command_id"]]
    assert {event["schema_version"] for event in events} == set(FACTOR)


def check_receipts(events: list[dict[str, Any]], receipts: list[dict[str, Any]]) -> None:
    """Hold that each deposit has one receipt, over its own amount."""
    amounts = {event["event_id"]: event["data"]["amount"] for event in events}
    assert Counter(receipt["causation_id"] for receipt in receipts) == dict.fromkeys(amounts, 1)
    assert all(receipt["data"]["amount"] == amounts[receipt["causation_id"]] for receipt in receipts)


def check_totals(events: list[dict[str, Any]], database: Path) -> None:
    """Hold the counters in SQLite to the fold of the events."""
    deposits, totals = Counter[str](), Counter[str]()
    for event in events:
        deposits[event["data"]["owner"]] += 1
        totals[event["data"]["owner"]] += event["data"]["amount"]
    with sqlite3.connect(database) as connection:
        rows = connection.execute("SELECT owner, deposits, amount FROM deposits_per_owner").fetchall()
    assert {owner: (number, amount) for owner, number, amount in rows} == {
        owner: (deposits[owner], totals[owner]) for owner in deposits
    }
