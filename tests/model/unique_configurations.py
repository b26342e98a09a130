"""The configurations in which the model of unique constraints is searched."""

from tests.model.unique import Unique
from tests.model.unique_decision import UniqueRule
from tests.model.unique_state import Item, Kind, Order

A, B, C, D = range(4)
V, W = range(2)


def create(aggregate: int, *values: int) -> Item:
    return Item(Kind.CREATE, aggregate, values)


def update(aggregate: int, *values: int) -> Item:
    return Item(Kind.UPDATE, aggregate, values)


def delete(aggregate: int) -> Item:
    return Item(Kind.DELETE, aggregate)


def cover(aggregate: int) -> Item:
    return Item(Kind.COVER, aggregate)


def before(*items: Item) -> Order:
    """A command that came to its end before the search begins."""
    return Order(items, attempts=0)


def once(*items: Item) -> Order:
    return Order(items, attempts=1)


def twice(*items: Item) -> Order:
    return Order(items, attempts=2)


SMALL = {
    "two create": (Unique((twice(create(A, V)), twice(create(B, V))), lies=1, deaths=1), 53_538),
    "two swap their values": (
        Unique((before(create(A, V)), before(create(B, W)), twice(update(A, W)), twice(update(B, V))), 1, 1),
        12_879,
    ),
    "a bulk wants one value twice": (
        Unique((twice(create(A, V), create(B, V)), twice(create(C, V))), lies=1, deaths=1),
        151_623,
    ),
    "a bulk in consecutive slots": (
        Unique((before(create(A)), twice(update(A, V), update(A, W)), once(update(A)), once(create(B, W)))),
        104_165,
    ),
    "two bulks on one aggregate": (
        Unique((before(create(A)), twice(update(A, V), update(A, W)), once(update(A, W), update(A, V)))),
        74_621,
    ),
    "a bulk lets a value go and takes it back": (
        Unique((before(create(A, V)), twice(update(A, W), update(A, V)), twice(create(B, V))), lies=1),
        169_449,
    ),
    "duplicates are covered": (
        Unique(
            (before(create(A, V)), before(create(B, V)), twice(cover(A)), twice(cover(B)), once(update(A))),
            definition=0,
        ),
        155_112,
    ),
}
"""Configurations, and how many states each has."""

LARGE = {
    "two constraints": (Unique((twice(create(A, V, W)), twice(create(B, V, W))), lies=1, deaths=1), 181_946),
    "a value let go by an update, taken, and taken back": (
        Unique((before(create(A, V)), twice(update(A)), twice(create(B, V)), twice(update(A, V))), lies=1),
        1_518_830,
    ),
    "a holder deleted and created again": (
        Unique((before(create(A, V)), twice(delete(A)), twice(create(B, V)), twice(create(A, V))), lies=1),
        2_493_712,
    ),
    "two commands on one aggregate": (
        Unique((before(create(A)), twice(update(A, V)), twice(update(A, V)), twice(create(B, V)))),
        2_002_684,
    ),
    "to another slot": (
        Unique((before(create(A)), twice(update(A, V)), twice(update(A)), twice(create(B, V)))),
        1_716_662,
    ),
    "two swap their values, and one yields": (
        Unique(
            (before(create(A, V)), before(create(B, W)), twice(update(A, W)), twice(update(B, V)), twice(update(A))),
            lies=1,
        ),
        750_615,
    ),
    "two constraints, three commands": (
        Unique((twice(create(A, V, W)), twice(create(B, W)), twice(create(C, V)))),
        4_488_764,
    ),
    "two constraints, to another slot": (
        Unique((before(create(A)), twice(update(A, V, W)), twice(create(B, V, W)), once(update(A, V)))),
        831_001,
    ),
    "a bulk of three items on one aggregate": (
        Unique(
            (before(create(A)), twice(update(A, V, W), update(A), update(A, V)), once(update(A)), once(create(B, V)))
        ),
        1_944_745,
    ),
    "bulks that want each other's values": (
        Unique((twice(create(A, V, W), create(B, W)), twice(create(C, W), create(D, V, W)))),
        317_948,
    ),
    "an instance is covered while others write": (
        Unique((before(create(A, V)), twice(cover(A)), twice(update(A, V)), once(create(B, V))), definition=0),
        1_088_004,
    ),
}

FURTHER_SMALL = {
    "a bulk moves a value, and the holder takes it back": (
        Unique(
            (before(create(A, V)), twice(update(A), create(B, V)), twice(create(C, V)), once(update(A, V))),
            parallel=True,
        ),
        71_731,
    ),
    "a bulk swaps two values, and both holders yield": (
        Unique(
            (
                before(create(A, V)),
                before(create(B, W)),
                twice(update(A, W), update(B, V)),
                once(update(A)),
                once(update(B)),
            ),
            parallel=True,
        ),
        17_314,
    ),
    "the constraint is dropped, and an instance is covered": (
        Unique((before(create(A, V)), twice(update(A)), once(cover(A)), once(create(B, V))), redefinitions=1),
        23_172,
    ),
    "the constraint is dropped and declared again": (
        Unique((before(create(A, V)), once(update(A)), once(cover(A)), once(create(B, V))), redefinitions=2),
        17_234,
    ),
}
"""Configurations in which a bulk command writes to its aggregates in any order, or the class is defined anew."""

FURTHER_LARGE = {
    "a bulk wants one value twice": (
        Unique((twice(create(A, V), create(B, V)), twice(create(C, V))), lies=1, deaths=1, parallel=True),
        352_082,
    ),
    "bulks that want each other's values": (
        Unique((twice(create(A, V, W), create(B, W)), twice(create(C, W), create(D, V, W))), parallel=True),
        1_214_714,
    ),
    "a bulk lets a value go that another item of it wants": (
        Unique(
            (before(create(A)), twice(update(A, V), create(B, V), update(A)), once(create(C, V)), once(update(A))),
            parallel=True,
        ),
        562_253,
    ),
    "a bulk covers duplicates": (
        Unique(
            (
                before(create(A, V)),
                before(create(B, V)),
                twice(cover(A), cover(B)),
                once(update(A)),
                once(update(B, V)),
            ),
            definition=0,
            parallel=True,
        ),
        292_838,
    ),
    "the constraint is dropped while others write": (
        Unique((before(create(A, V)), once(update(A, V)), twice(cover(A)), twice(create(B, V))), redefinitions=1),
        1_057_386,
    ),
}


BOTH_CREATE = Unique((once(create(A, V)), once(create(B, V))))

TWO_HOLDERS = "A and B hold v at the same time"

NEEDED = {
    UniqueRule.RECORD: (BOTH_CREATE, "is stuck when left alone"),
    UniqueRule.NAMED: (
        Unique((once(create(A, V)), twice(create(B, V)), once(delete(A)))),
        "C1 has another outcome than before",
    ),
    UniqueRule.LAST_READ: (BOTH_CREATE, TWO_HOLDERS),
    UniqueRule.PENDING: (BOTH_CREATE, TWO_HOLDERS),
    UniqueRule.LOST: (
        Unique((once(create(A, V, W)), once(create(B, W)), once(create(C, V)))),
        "C0 goes round in circles when left alone",
    ),
    UniqueRule.ENTRIES_FIRST: (BOTH_CREATE, TWO_HOLDERS),
    UniqueRule.CONDITIONAL: (BOTH_CREATE, TWO_HOLDERS),
    UniqueRule.OWN: (
        Unique((before(create(A)), twice(update(A, V)), once(update(A)), once(create(B, V)))),
        TWO_HOLDERS,
    ),
    UniqueRule.ORDER: (
        Unique((once(create(A, V, W)), once(create(B, V, W)))),
        "is pushed aside again and again",
    ),
    UniqueRule.PLACES_AND_SLOT: (
        Unique((before(create(A)), twice(update(A, V), update(A, W)), once(update(A)))),
        "C1 has another outcome than before",
    ),
    UniqueRule.SLOT_BEFORE: (
        Unique((before(create(A)), once(update(A, V), update(A, W)), once(update(A)), once(create(B, W)))),
        "there is a gap before it",
    ),
    UniqueRule.HELP: (BOTH_CREATE, "C1 is stuck when left alone"),
    UniqueRule.SEEN: (
        Unique((before(create(A)), before(create(B, V)), once(create(A, V))), lies=1),
        "C2 is rejected on a state that was not the head",
    ),
    UniqueRule.HOLDER_FIRST: (
        Unique((before(create(A)), once(update(A, V)), once(delete(A)), once(create(B, V)))),
        "C1 is rejected on a state that was not the head",
    ),
    UniqueRule.DEFINITION: (
        Unique((before(create(A, V)), once(cover(A)), once(update(A, V))), definition=0),
        "A/3 goes back to definition 0",
    ),
}
"""Commands that show why a rule is needed, and the violation without it."""
