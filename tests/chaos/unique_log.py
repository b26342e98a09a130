"""The objects of S3 that say who held which unique value, read by code that shares nothing with Oncelog's.

Events, records and entries are taken as JSON, as docs/log-format.md has them.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple

import boto3
from botocore.config import Config

from oncelog.settings import Settings

READS_AT_ONCE = 16
FOLDERS = ("events/", "commands/", "unique/")

Value = tuple[str, str]
"""A constraint's name, and the SHA-256 of the value's canonical JSON."""
Constraints = Mapping[str, tuple[str, ...]]
"""The names of the members that are unique, taken together, by the constraint's name."""


class Stored(NamedTuple):
    """An object: its bytes, and when it was written by S3's clock, which some servers tell in whole seconds."""

    body: bytes
    written_at: datetime


class Bound(NamedTuple):
    """The last that a command's records say of it, or of one item: a slot and places, or a rejection.

    ``item``: (chunk, index) in a bulk command. ``written_at``: the record's time.
    """

    command_id: str
    item: tuple[int, int] | None
    record: int
    says: Mapping[str, Any]
    written_at: datetime

    @property
    def places(self) -> list[dict[str, Any]]:
        return list(self.says.get("places") or [])

    def named(self, entry: Mapping[str, Any]) -> bool:
        """Return whether an entry is this record's own."""
        item = (entry["chunk"], entry["item"]) if "chunk" in entry else None
        own = (self.command_id, self.record, item, self.says.get("aggregate_id"), self.says.get("slot"))
        return own == (entry["command_id"], entry["record"], item, entry["aggregate_id"], entry["slot"])


@dataclass(frozen=True)
class Version:
    """An instance after one of its events. ``held``: the values that it holds then."""

    event: Mapping[str, Any]
    written_at: datetime
    held: frozenset[Value]


@dataclass(frozen=True)
class UniqueLog:
    """The logs of one class, the records of commands, and the chains of values."""

    class_name: str
    constraints: Constraints
    objects: Mapping[str, Stored] = field(repr=False)

    @cached_property
    def instances(self) -> dict[str, list[Version]]:
        """Each instance's versions; raises ValueError where a log has a gap."""
        found: defaultdict[str, list[Version]] = defaultdict(list)
        states: dict[str, Any] = {}
        for _, event, written_at in self._parsed(f"events/{self.class_name}/"):
            name = event["aggregate_id"]
            if event["sequence_number"] != len(found[name]) + 1:
                raise ValueError(f"{name}: expected event {len(found[name]) + 1}, found {event['sequence_number']}")
            states[name] = _after(states.get(name), event)
            found[name].append(Version(event, written_at, self._held(states[name])))
        return dict(found)

    @cached_property
    def bounds(self) -> dict[tuple[str, tuple[int, int] | None, int], Bound]:
        """The end that each record names, by command, item and the record's number."""
        found = {}
        for _, record, written_at in self._parsed("commands/"):
            command_id, number = record["command_id"], record["number"]
            for item, says in _sayings(record):
                found[command_id, item, number] = Bound(command_id, item, number, says, written_at)
        return found

    @cached_property
    def last_bounds(self) -> list[Bound]:
        """The last record of each command and item, which counts."""
        last = {(command_id, item): bound for (command_id, item, _), bound in sorted(self.bounds.items(), key=_number)}
        return list(last.values())

    @cached_property
    def chains(self) -> dict[Value, dict[int, tuple[dict[str, Any], Stored]]]:
        """Each value's entries by their place."""
        found: defaultdict[Value, dict[int, tuple[dict[str, Any], Stored]]] = defaultdict(dict)
        for key, entry, _ in self._parsed(f"unique/{self.class_name}/"):
            constraint, sha256, name = key.removeprefix(f"unique/{self.class_name}/").split("/")
            found[constraint, sha256][int(name.removesuffix(".json"))] = (entry, self.objects[key])
        return dict(found)

    def entry_key(self, value: Value, place: int) -> str:
        return f"unique/{self.class_name}/{'/'.join(value)}/{place:06d}.json"

    def version(self, event_key: str) -> Version | None:
        """Return the version that an event's key leads to."""
        name, _, number = event_key.removeprefix("events/").removesuffix(".json").rpartition("/")
        versions = self.instances.get(name, [])
        return versions[int(number) - 1] if 0 < int(number) <= len(versions) else None

    def _held(self, data: Mapping[str, Any] | None) -> frozenset[Value]:
        return frozenset(
            value_of(name, [data[member] for member in members])
            for name, members in self.constraints.items()
            if data is not None and all(data.get(member) is not None for member in members)
        )

    def _parsed(self, folder: str) -> Iterator[tuple[str, dict[str, Any], datetime]]:
        for key in sorted(key for key in self.objects if key.startswith(folder)):
            yield key, json.loads(self.objects[key].body), self.objects[key].written_at


def value_of(constraint: str, parts: list[Any]) -> Value:
    """Return the name under which a value of ASCII texts and whole numbers has its chain."""
    text = json.dumps(parts[0] if len(parts) == 1 else parts, separators=(",", ":"))
    return constraint, hashlib.sha256(text.encode()).hexdigest()


def _number(pair: tuple[tuple[str, Any, int], Bound]) -> int:
    return pair[0][2]


def _sayings(record: Mapping[str, Any]) -> Iterator[tuple[tuple[int, int] | None, Mapping[str, Any]]]:
    for binding in record.get("bindings", []):
        yield (record["chunk"], binding["index"]), binding
    if "slot" in record or ("rejection" in record and "aggregate_id" in record):
        yield None, record


def _after(before: Any, event: Mapping[str, Any]) -> Any:
    """Return an instance's data after an event, None where it is deleted."""
    match event["effect"]:
        case "REPLACE":
            return event["data"]
        case "MERGE":
            return _merged(before, event["data"])
        case _:
            return None


def _merged(target: Any, patch: Any) -> Any:
    """Merge as RFC 7396 says."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merged(merged.get(name), value)
    return merged


def read_objects(settings: Settings) -> dict[str, Stored]:
    """Read everything that counts from a bucket in which nothing changes any more, through boto3 as it comes."""
    config = Config(max_pool_connections=READS_AT_ONCE, retries={"max_attempts": 10, "mode": "standard"})
    client = boto3.session.Session().client("s3", endpoint_url=settings.s3.endpoint_url, config=config)
    bucket, prefix = settings.s3.bucket, settings.s3_prefix
    pages = [
        page
        for folder in FOLDERS
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}{folder}")
    ]
    listed = [item for page in pages for item in page.get("Contents", [])]

    def read(item: Mapping[str, Any]) -> tuple[str, Stored]:
        body = client.get_object(Bucket=bucket, Key=item["Key"])["Body"].read()
        return item["Key"].removeprefix(prefix), Stored(body, item["LastModified"])

    with ThreadPoolExecutor(READS_AT_ONCE) as threads:
        return dict(threads.map(read, listed))
