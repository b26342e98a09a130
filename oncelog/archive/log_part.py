"""A part of the log that one task reads: some streams of one class, and how far a reader has come in it."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Self

from oncelog.domain.frozen_model import Value
from oncelog.domain.identifiers import AggregateId

#: The character after "/": a name that ends in it sorts above all keys of the folder before it.
PAST_FOLDER = "0"


class LogPosition(Value):
    """The last event that was read: a reader continues after it. ``checksum``: its own, which the next one cites."""

    aggregate_id: str
    sequence_number: int
    checksum: str


class LogPart(Value):
    """Some streams of one class, in the order of their slots' keys.

    ``first`` and ``end`` are names below ``events/{db_name}/{class_id}/``: the part holds the keys above ``first`` and
    below ``end``. Without them it holds the whole class. Parts that are cut at the same names share no stream. Small
    and JSON, so that it travels in an activity's input.
    """

    db_name: str
    class_id: str
    first: str = ""
    end: str | None = None

    @classmethod
    def of_stream(cls, aggregate_id: AggregateId) -> Self:
        """Return the part that holds this one stream."""
        key = aggregate_id.instance_key
        return cls(
            db_name=aggregate_id.db_name, class_id=aggregate_id.class_id, first=f"{key}/", end=f"{key}{PAST_FOLDER}"
        )

    def cut_at(self, instance_keys: list[str]) -> list[Self]:
        """Return the parts between these encoded instance IDs, which are in the order of slots' keys."""
        bounds = [self.first, *(f"{key}/" for key in instance_keys), self.end]
        return [self.model_copy(update={"first": first, "end": end}) for first, end in pairwise(bounds)]

    def holds(self, instance_key: str) -> bool:
        """Return whether the stream of this encoded instance ID lies in the part."""
        key = order_key(instance_key)
        return self.first <= key and (self.end is None or key < self.end)


def order_key(instance_key: str) -> str:
    """Return the name by which streams of a class are ordered, as S3 orders their slots: ``p1-`` before ``p1``."""
    return f"{instance_key}/"


def pairs(samples: list[tuple[str, int]]) -> Iterator[tuple[tuple[str, int], tuple[str, int]]]:
    """Pair each sample with the one after it; the last of an odd number stands alone."""
    yield from zip(samples[::2], [*samples[1::2], ("", 0)], strict=False)


def cuts(samples: list[tuple[str, int]], count: int) -> list[str]:
    """Return the streams before which to cut, so that each part has about as many events."""
    total, reached, cuts = sum(events for _, events in samples), 0, list[str]()
    for key, events in samples:
        if reached and reached * count >= total * (len(cuts) + 1) and len(cuts) < count - 1:
            cuts.append(key)
        reached += events
    return cuts
