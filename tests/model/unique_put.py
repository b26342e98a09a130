"""Conditional PUTs in the model of unique constraints."""

from typing import Any

from tests.model.search import Violation
from tests.model.unique_decision import UniqueRule, judged
from tests.model.unique_state import AGGREGATES, NOTHING, OVER, VALUES, Bucket, Entry, Item, event_after

Answer = tuple[str, bool, Bucket]
"""The PUT in words, whether the object is the target's own, and S3 afterwards."""


def put_entry(bucket: Bucket, target: Entry, named: tuple[int, int], without: frozenset[UniqueRule]) -> Answer:
    """PUT an entry into the named place of a value's chain."""
    value, place = named
    chain = bucket.chains[value]
    if UniqueRule.NAMED in without:  # where the chain ends now, if its last entry is over
        over = not chain or judged(bucket, value, chain[-1], without) == OVER
        place = chain.index(target) + 1 if target in chain else len(chain) + over
    words, existing = f"{VALUES[value]}/{place}", chain[place - 1 : place]
    if place > len(chain) + 1:
        raise Violation(f"{words} is written, and there is a gap before it")
    same_aggregate = existing != () and existing[0].aggregate == target.aggregate
    if existing == (target,) or (same_aggregate and UniqueRule.OWN in without):
        return f"finds {words} to be its own", True, bucket
    if existing and UniqueRule.CONDITIONAL not in without:
        return f"finds {words} taken", False, bucket
    chain = (*chain[: place - 1], target, *chain[place:])
    changed = bucket._replace(chains=with_changed(bucket.chains, value, chain))
    return f"{'overwrites' if existing else 'writes'} {words}", True, changed


def put_event(bucket: Bucket, target: Entry, item: Item, *, definition: int) -> Answer:
    """PUT the event of an item into the slot that the target names."""
    log, words = bucket.logs[target.aggregate], f"{AGGREGATES[target.aggregate]}/{target.slot}"
    if target.slot > len(log) + 1:
        raise Violation(f"{words} is written, and there is a gap before it")
    if target.slot <= len(log):
        event = log[target.slot - 1]
        own = (event.command, event.item) == (target.command, target.item)
        return f"finds {words} {'to be its own' if own else 'taken'}", own, bucket
    event = event_after(log[-1] if log else NOTHING, item, (target.command, target.item), definition=definition)
    return f"writes {words}", True, bucket._replace(logs=with_changed(bucket.logs, target.aggregate, (*log, event)))


def with_changed(values: tuple[Any, ...], index: int, value: Any) -> tuple[Any, ...]:
    return (*values[:index], value, *values[index + 1 :])
