"""A class's definition as it is asked for, and everything that may be wrong with one."""

from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field, ValidationError

from oncelog.domain.canonical import canonical_bytes
from oncelog.domain.frozen_model import Value
from oncelog.domain.identifiers import check_name
from oncelog.domain.json_pointer import DataPath, pointer_of
from oncelog.domain.limits import DEFINITION_BYTES_MAX, FINDINGS_MAX, MIGRATION_STEPS_MAX, UNIQUE_CONSTRAINTS_MAX
from oncelog.domain.ontology.explanation import Finding
from oncelog.domain.ontology.migration import MigrationStep
from oncelog.domain.ontology.schemas import schema_findings
from oncelog.domain.semantic_version import SemanticVersion
from oncelog.domain.unique.constraint import DeclaredConstraint, UniqueConstraint
from oncelog.errors import InputInvalid


class Cardinality(StrEnum):
    ONE = "one"  # one instance ID, or none
    MANY = "many"  # an array of them


def _name(value: str) -> str:
    try:
        return check_name(value, "name")
    except InputInvalid as error:
        raise ValueError(error.message) from error


def _version(value: str) -> str:
    try:
        return str(SemanticVersion.parse(value))
    except InputInvalid as error:
        raise ValueError(error.message) from error


Name = Annotated[str, AfterValidator(_name)]


class Relationship(Value):
    """A predicate's far end. ``path``: JSON Pointer to where in ``data`` the instance IDs of ``target_class`` stand.

    They are IDs as their owners wrote them, not encoded, of instances in the same database. ``inverse``: the
    relationship's name from its far end. ``must_exist``: whether a command may bring in references to existing
    instances only (docs/ontology.md).
    """

    target_class: Name
    cardinality: Cardinality
    path: DataPath
    inverse: Name | None = None
    must_exist: bool = False


class ClassDefinition(Value):
    """One version of a class: the JSON Schema (2020-12) of its instances' data, relationships, how data got here.

    ``migration``: the steps that bring data of the version before into the form of this one. ``unique``: by name, the
    values that no two instances hold at a time (docs/unique.md).
    """

    model_config = ConfigDict(populate_by_name=True)

    version: Annotated[str, AfterValidator(_version)]
    json_schema: dict[str, Any] = Field(alias="schema")
    relationships: dict[Name, Relationship] = Field(default_factory=dict)
    migration: tuple[MigrationStep, ...] = ()
    unique: dict[Name, DeclaredConstraint] = Field(default_factory=dict)

    @cached_property
    def constraints(self) -> dict[str, UniqueConstraint]:
        """The unique constraints by name, with their options."""
        return {
            name: declared if isinstance(declared, UniqueConstraint) else UniqueConstraint(paths=declared)
            for name, declared in self.unique.items()
        }

    @cached_property
    def semantic_version(self) -> SemanticVersion:
        return SemanticVersion.parse(self.version)

    def says(self, payload: dict[str, Any]) -> bool:
        """Return whether a payload of DEFINE_CLASS is this very definition, in canonical form."""
        own = self.model_dump(mode="json", by_alias=True, exclude_unset=True)
        return canonical_bytes(own) == canonical_bytes(payload)


def parse_definition(payload: dict[str, Any], *, class_id: str) -> ClassDefinition:
    """Validate a payload of DEFINE_CLASS about this class.

    Raises InputInvalid; its ``details["errors"]`` lists every finding as ``{"at": JSON Pointer, "problem": text}``.
    """
    findings: list[Finding] = []
    definition = None
    size_bytes = len(canonical_bytes(payload))
    if size_bytes > DEFINITION_BYTES_MAX:  # before any look into it
        problem = f"expected at most {DEFINITION_BYTES_MAX} bytes, found {size_bytes}; divide the class"
        raise InputInvalid(f"definition is not valid: {problem}", errors=[{"at": "", "problem": problem}])
    try:
        definition = ClassDefinition.model_validate(payload)
    except ValidationError as error:
        findings += [
            {"at": pointer_of(item["loc"]), "problem": item["msg"].removeprefix("Value error, ")}
            for item in error.errors(include_url=False, include_context=False, include_input=False)
        ]
    if isinstance(schema := payload.get("schema"), dict):
        findings += [{**finding, "at": "/schema" + finding["at"]} for finding in schema_findings(schema)]
    if definition is not None and len(definition.migration) > MIGRATION_STEPS_MAX:
        problem = f"expected at most {MIGRATION_STEPS_MAX} steps, found {len(definition.migration)}; use keep"
        findings.append({"at": "/migration", "problem": problem})
    if definition is not None and len(definition.unique) > UNIQUE_CONSTRAINTS_MAX:
        problem = f"expected at most {UNIQUE_CONSTRAINTS_MAX} constraints, found {len(definition.unique)}"
        findings.append({"at": "/unique", "problem": problem})
    if definition is not None:
        findings += [*_shared_paths(definition), *_shared_inverses(definition), *_own_inverses(definition, class_id)]
    if findings or definition is None:
        listed = "; ".join(f"{finding['at'] or 'definition'}: {finding['problem']}" for finding in findings[:3])
        more = f" and {len(findings) - 3} more" if len(findings) > 3 else ""
        raise InputInvalid(
            f"definition is not valid: {listed}{more}", errors=findings[:FINDINGS_MAX], errors_count=len(findings)
        )
    return definition


def _shared_paths(definition: ClassDefinition) -> list[Finding]:
    by_path: dict[str, str] = {}
    findings: list[Finding] = []
    for predicate, relationship in definition.relationships.items():
        other = by_path.setdefault(relationship.path, predicate)
        if other != predicate:
            problem = f"expected a path of its own, found that of {other!r}; a reference has one meaning"
            findings.append({"at": pointer_of(["relationships", predicate, "path"]), "problem": problem})
    return findings


def _shared_inverses(definition: ClassDefinition) -> list[Finding]:
    by_name: dict[tuple[str, str], str] = {}
    findings: list[Finding] = []
    for predicate, relationship in definition.relationships.items():
        if relationship.inverse is None:
            continue
        other = by_name.setdefault((relationship.target_class, relationship.inverse), predicate)
        if other != predicate:
            problem = (
                f"expected another name than the inverse of {other!r}, which leads back from "
                f"{relationship.target_class}, too; one name means one relationship"
            )
            findings.append({"at": pointer_of(["relationships", predicate, "inverse"]), "problem": problem})
    return findings


def _own_inverses(definition: ClassDefinition, class_id: str) -> list[Finding]:
    """Return where a relationship of the class with itself has an inverse that is called like one of its predicates."""
    return [
        {
            "at": pointer_of(["relationships", predicate, "inverse"]),
            "problem": f"expected another name than the predicate {relationship.inverse!r} of {class_id} itself; "
            "from there, the name would mean two relationships",
        }
        for predicate, relationship in definition.relationships.items()
        if relationship.target_class == class_id and relationship.inverse in definition.relationships
    ]
