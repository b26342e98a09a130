"""What can be searched for among the instances of a class."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from factline.domain.identifiers import check_name
from factline.domain.json_pointer import parse_pointer
from factline.domain.limits import RESULTS_MAX, WORDS_CHARACTERS_MAX
from factline.errors import InputInvalid

Scalar = str | int | float | bool | None


@dataclass(frozen=True)
class Range:
    """Numbers between bounds, each of which may be left open. What is no number is in no range."""

    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None

    def holds(self, value: object) -> bool:
        """Return whether the value is a number within the bounds."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return (
            (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
        )


@dataclass(frozen=True)
class Search:
    """A question about one class.

    ``words``: each must be found in the data; of an undefined class as a whole value, of a defined one within its
    texts; ``lam*`` finds what begins so. ``where``: JSON Pointer into the data to the value that stands there, or that
    an array there holds; null for what is absent. ``cursor``: where a page before ended. ``results_max``: of one page.
    """

    db_name: str
    class_id: str
    words: str = ""
    where: Mapping[str, Scalar] = field(default_factory=dict)
    cursor: str = ""
    results_max: int = 50

    def __post_init__(self) -> None:
        check_name(self.db_name, "db_name")
        check_name(self.class_id, "class_id")
        if not 1 <= self.results_max <= RESULTS_MAX:
            raise InputInvalid(f"search: expected 1 to {RESULTS_MAX} results at a time, found {self.results_max}")
        if len(self.words) > WORDS_CHARACTERS_MAX:
            raise InputInvalid(
                f"search: expected at most {WORDS_CHARACTERS_MAX} characters of words, found {len(self.words)}"
            )
        for pointer in self.where:
            if not parse_pointer(pointer):
                raise InputInvalid("search: expected a JSON Pointer to a member of the data, found the root")
