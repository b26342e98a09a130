"""The findings of data that does not fit its schema: each with its place, within a budget that is counted.

The validator's own list of errors holds, for each alternative that does not fit, everything that is wrong under it,
and so grows exponentially with nested alternatives. Here the data is followed into members and items only, the
validator's quick yes or no decides at each step, and a set of alternatives that none of fits is one finding.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from oncelog.domain.canonical import shortened
from oncelog.domain.json_pointer import parse_fragment, pointer_of, value_at
from oncelog.domain.limits import (
    FINDING_JUDGEMENTS_MAX,
    FINDING_STEPS_MAX,
    FINDINGS_MAX,
    POINTER_CHARACTERS_MAX,
)
from oncelog.domain.ontology.budget import JudgingCost
from oncelog.domain.ontology.part_validators import Compile, PartValidators
from oncelog.domain.ontology.patterns import MatchingCost
from oncelog.domain.ontology.wording import problems, short

Finding = dict[str, str]
Part = bool | dict[str, Any]

#: Compiling costs so many judgements for each weight: 8,000,000 stand for some 40 MB of compiled parts.
_COMPILING_JUDGEMENTS = 8
#: Keywords that say nothing by themselves.
_SILENT = frozenset({"$defs", "then", "else", "minContains", "maxContains"})
_UNEVALUATED = ("unevaluatedProperties", "unevaluatedItems")
_ALTERNATIVES = {
    "anyOf": "fits none of the alternatives in 'anyOf'",
    "oneOf": "does not fit exactly one of the alternatives in 'oneOf'",
    "not": "fits what 'not' excludes",
    "contains": "has not as many items that fit 'contains' as expected",
    "unevaluatedProperties": "has a member that no part of the schema admits ('unevaluatedProperties')",
    "unevaluatedItems": "has an item that no part of the schema admits ('unevaluatedItems')",
}


class Findings(list[Finding]):
    """Findings to be listed, at most ``FINDINGS_MAX``.

    ``total``: all there are; ``complete``: whether the budget lasted to the end.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0
        self.complete = True

    def add(self, at: Sequence[str | int], problem: str) -> None:
        """Count one finding, and list it while there is room."""
        self.total += 1
        if len(self) < FINDINGS_MAX:
            self.append({"at": shortened(pointer_of(at), POINTER_CHARACTERS_MAX), "problem": shortened(problem)})


class _BudgetSpentError(Exception):
    pass


class Explanation:
    """Finds the problems with data under one schema, within its budget for judging.

    ``compile_schema``: makes a validator, given a registry.
    """

    def __init__(
        self, root: dict[str, Any], compile_schema: Compile, *, cost: JudgingCost, matching: MatchingCost
    ) -> None:
        self._root = root
        self._cost = cost
        self._matching = matching
        self._validators = PartValidators(
            root, compile_schema, pattern_weight=matching.size_kib, spend=self._spend_compiling
        )
        self._steps = self._judgements = self._matching_max = 0
        self._open: set[tuple[str, tuple[str | int, ...]]] = set()

    def of(self, data: Any) -> Findings:
        """Return the findings; at least one if the data does not fit."""
        findings = Findings()
        self._steps = self._judgements = 0
        self._matching_max = self._matching.spent(data)
        self._open.clear()
        self._validators.forget()
        try:
            self._look(self._root, "", data, (), findings)
        except _BudgetSpentError:
            findings.complete = False
        if not findings:
            findings.add((), "does not fit the schema; its place cannot be told")
        return findings

    def _look(self, part: Part, where: str, value: Any, at: tuple[str | int, ...], findings: Findings) -> None:
        if part is True or self._fits(part, where, value, level=len(at)):
            return
        if part is False:
            findings.add(at, "is not admitted by the schema")
            return
        if (where, at) in self._open:  # a circle of bare references has led back here, and says no more
            return
        self._open.add((where, at))
        total_before = findings.total
        for keyword in (keyword for keyword in part if keyword not in _SILENT and keyword not in _UNEVALUATED):
            follow = getattr(self, f"_of_{keyword.removeprefix('$')}", None)
            if follow:
                follow(part, where, value, at, findings)
            elif keyword in _ALTERNATIVES:
                if not self._fits_alternatives(part, keyword, where, value, level=len(at)):
                    findings.add(at, f"{_ALTERNATIVES[keyword]}: {short(value)}")
            else:
                self._leaf(f"{where}#{keyword}", {keyword: part[keyword]}, value, at, findings)
        if findings.total == total_before:  # all its neighbours fit, so the rest does not
            for keyword in (keyword for keyword in _UNEVALUATED if keyword in part):
                findings.add(at, f"{_ALTERNATIVES[keyword]}: {short(value)}")
        self._open.discard((where, at))

    def _fits(self, part: Part, where: str, value: Any, *, level: int) -> bool:
        """Return whether a part admits the value, which costs no more than the whole schema would for it."""
        self._step()
        self._spend(self._cost.spent(value, level=level, judgements_max=FINDING_JUDGEMENTS_MAX))
        if self._matching_max:
            self._spend(min(self._matching_max, self._matching.at_most(value)))
        return self._validators.of_part(where, part).is_valid(value)

    def _step(self) -> None:
        self._steps += 1
        if self._steps > FINDING_STEPS_MAX:
            raise _BudgetSpentError

    def _spend(self, judgements: int) -> None:
        self._judgements += judgements
        if self._judgements > FINDING_JUDGEMENTS_MAX:
            raise _BudgetSpentError

    def _spend_compiling(self, weight: int) -> None:
        self._spend(weight * _COMPILING_JUDGEMENTS)

    def _fits_alternatives(self, part: dict[str, Any], keyword: str, where: str, value: Any, *, level: int) -> bool:
        """Return whether the value fits ``anyOf``, ``oneOf``, ``not`` or ``contains``, each by itself."""
        if keyword in ("anyOf", "oneOf"):
            fitting = 0
            for index, each in enumerate(part[keyword]):
                fitting += self._fits(each, f"{where}/{keyword}/{index}", value, level=level)
                if fitting > (keyword == "oneOf"):
                    break
            return fitting == 1 if keyword == "oneOf" else fitting > 0
        if keyword == "not":
            return not self._fits(part["not"], f"{where}/not", value, level=level)
        if not isinstance(value, list):
            return True
        count = sum(self._fits(part["contains"], f"{where}/contains", item, level=level + 1) for item in value)
        return bool(part.get("minContains", 1) <= count <= part.get("maxContains", count))

    def _leaf(
        self, name: str, keywords: dict[str, Any], value: Any, at: tuple[str | int, ...], findings: Findings
    ) -> None:
        """Find the problems by a keyword, the first of these, which are compiled once under a name."""
        self._step()
        keyword, said = next(iter(keywords.items()))
        validator = self._validators.of_keywords(name, keywords)
        for place, problem in problems(validator, keyword, said, value):
            findings.add((*at, *place), problem)

    def _of_ref(self, part: dict[str, Any], _where: str, value: Any, at: Any, findings: Findings) -> None:
        names = parse_fragment(part["$ref"])
        self._look(value_at(self._root, names), pointer_of(names), value, at, findings)

    def _of_allOf(self, part: dict[str, Any], where: str, value: Any, at: Any, findings: Findings) -> None:
        for index, each in enumerate(part["allOf"]):
            self._look(each, f"{where}/allOf/{index}", value, at, findings)

    def _of_if(self, part: dict[str, Any], where: str, value: Any, at: Any, findings: Findings) -> None:
        branch = "then" if self._fits(part["if"], f"{where}/if", value, level=len(at)) else "else"
        if branch in part:
            self._look(part[branch], f"{where}/{branch}", value, at, findings)

    def _of_dependentSchemas(self, part: dict[str, Any], where: str, value: Any, at: Any, findings: Findings) -> None:
        for name, each in part["dependentSchemas"].items():
            if isinstance(value, dict) and name in value:
                self._look(each, where + pointer_of(["dependentSchemas", name]), value, at, findings)

    def _of_properties(self, part: dict[str, Any], where: str, value: Any, at: Any, findings: Findings) -> None:
        for name, each in part["properties"].items():
            if isinstance(value, dict) and name in value:
                self._look(each, where + pointer_of(["properties", name]), value[name], (*at, name), findings)

    def _of_patternProperties(self, part: dict[str, Any], where: str, value: Any, at: Any, findings: Findings) -> None:
        for pattern, each in part["patternProperties"].items():
            for name in self._named_by([pattern], value):
                self._look(each, where + pointer_of(["patternProperties", pattern]), value[name], (*at, name), findings)

    def _of_additionalProperties(
        self, part: dict[str, Any], where: str, value: Any, at: Any, findings: Findings
    ) -> None:
        each = part["additionalProperties"]
        if each is False:
            known = {"properties": dict.fromkeys(part.get("properties", ()), True)}
            patterns = {"patternProperties": dict.fromkeys(part.get("patternProperties", ()), True)}
            closed = {"additionalProperties": False, **known, **patterns}
            self._leaf(f"{where}#additionalProperties", closed, value, at, findings)
        elif isinstance(value, dict):
            named = {*part.get("properties", ()), *self._named_by(part.get("patternProperties", ()), value)}
            for name in (name for name in value if name not in named):
                self._look(each, f"{where}/additionalProperties", value[name], (*at, name), findings)

    def _of_propertyNames(self, part: dict[str, Any], where: str, value: Any, at: Any, findings: Findings) -> None:
        for name in value if isinstance(value, dict) else ():
            self._look(part["propertyNames"], f"{where}/propertyNames", name, at, findings)

    def _of_prefixItems(self, part: dict[str, Any], where: str, value: Any, at: Any, findings: Findings) -> None:
        for index, (each, item) in enumerate(
            zip(part["prefixItems"], value if isinstance(value, list) else (), strict=False)
        ):
            self._look(each, f"{where}/prefixItems/{index}", item, (*at, index), findings)

    def _of_items(self, part: dict[str, Any], where: str, value: Any, at: Any, findings: Findings) -> None:
        start = len(part.get("prefixItems", ()))
        for index, item in enumerate(value if isinstance(value, list) else ()):
            if index >= start:
                self._look(part["items"], f"{where}/items", item, (*at, index), findings)

    def _named_by(self, patterns: Iterable[str], value: Any) -> Iterator[str]:
        """Yield the members' names that any of the patterns matches, by the validator's own regular expressions."""
        if not patterns or not isinstance(value, dict):
            return
        names = ("patterns", *patterns)
        unmatched = self._validators.of_keywords(names, {"patternProperties": dict.fromkeys(patterns, False)})
        for name in value:
            self._step()
            if not unmatched.is_valid({name: None}):
                yield name
