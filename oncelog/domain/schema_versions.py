"""Which versions of a stored form there have ever been, and how an older one is read as the newest.

Stored bytes are never rewritten: a stored form of an older version is migrated each time it is read. Steps are
registered one at a time, from a version to the next, and the way is found through them. The rules of compatibility:

- the same MAJOR is read, by whichever release; fields of a newer MINOR are kept and not looked at;
- of an older MAJOR, a version between two known ones is read as the nearest known one below it;
- a newer MAJOR comes from the future, and is refused as that (``EventFromFuture``), which is no damage.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from oncelog.domain.semantic_version import SemanticVersion
from oncelog.errors import EventFromFuture, SchemaGap

Fields = Mapping[str, Any]
#: From the fields of one version to those of the next; pure, and never changes its argument.
Step = Callable[[Fields], Fields]


@dataclass(frozen=True)
class SchemaVersions:
    """The versions of one stored form, the oldest first, and the steps between them."""

    name: str
    ever_stored: Sequence[SemanticVersion]
    steps: Mapping[SemanticVersion, tuple[SemanticVersion, Step]]

    @classmethod
    def starting(cls, name: str, version: str) -> "SchemaVersions":
        """Begin with the first version that was ever stored."""
        return cls(name, (SemanticVersion.parse(version),), {})

    def then(self, version: str, step: Step) -> "SchemaVersions":
        """Add a version, and the step that leads to it from the one before."""
        to = SemanticVersion.parse(version)
        return replace(
            self, ever_stored=(*self.ever_stored, to), steps={**self.steps, self.ever_stored[-1]: (to, step)}
        )

    @property
    def newest(self) -> SemanticVersion:
        return self.ever_stored[-1]

    def check(self) -> None:
        """Raise SchemaGap unless every version ever stored leads to the newest, each step upwards."""
        if list(self.ever_stored) != sorted(set(self.ever_stored)):
            found = ", ".join(map(str, self.ever_stored))
            raise SchemaGap(f"{self.name}: expected versions in rising order, found {found}; mend their registration")
        for version in self.ever_stored:
            self._steps_from(version)

    def steps_from(self, version: SemanticVersion) -> tuple[Step, ...]:
        """Return the steps that lead from a stored version to the newest.

        Raises EventFromFuture for a newer MAJOR, SchemaGap for a version that was never stored.
        """
        return self._steps_from(self._nearest(version))

    def _nearest(self, version: SemanticVersion) -> SemanticVersion:
        """Return the known version that one is read as."""
        if version.major > self.newest.major:
            raise EventFromFuture(
                f"{self.name} {version}: this release reads versions up to {self.newest.major}.x; upgrade it, until "
                "then what this event is about waits",
                event_type=self.name,
                schema_version=str(version),
                newest_version=str(self.newest),
            )
        known = [one for one in self.ever_stored if one.major == version.major and one <= version]
        if not known:
            raise SchemaGap(
                f"{self.name} {version}: no release of ours stored this version, known are "
                f"{', '.join(map(str, self.ever_stored))}; find out who wrote it",
                event_type=self.name,
                schema_version=str(version),
                newest_version=str(self.newest),
            )
        return known[-1]

    def _steps_from(self, version: SemanticVersion) -> tuple[Step, ...]:
        steps: list[Step] = []
        reached = version
        while reached != self.newest:
            if reached not in self.steps or self.steps[reached][0] <= reached:
                raise SchemaGap(
                    f"{self.name}: no step leads from {reached} on to {self.newest}; register one",
                    event_type=self.name,
                    schema_version=str(version),
                    newest_version=str(self.newest),
                )
            reached, step = self.steps[reached]
            steps.append(step)
        return tuple(steps)
