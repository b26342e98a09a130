"""The partitions of a replay: parts of the log, each of which one activity folds."""

from pydantic import BaseModel, ConfigDict

from oncelog.archive.log_part import LogPart


class Partition(BaseModel):
    """A part of the log that one activity replays, and its size when it was listed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    part: LogPart
    aggregates: int
    events: int


class ReplayPlan(BaseModel):
    """The partitions in the order of their keys; kept in S3, since it grows with the log."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    partitions: tuple[Partition, ...]

    @property
    def totals(self) -> "PlanTotals":
        return PlanTotals(
            partitions=len(self.partitions),
            aggregates=sum(each.aggregates for each in self.partitions),
            events=sum(each.events for each in self.partitions),
        )


class PlanTotals(BaseModel):
    """The size of a plan."""

    model_config = ConfigDict(frozen=True)

    partitions: int
    aggregates: int
    events: int
