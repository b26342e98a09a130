"""The names of the read models, in dead letters, consumer groups, metrics and on the command line."""

from enum import StrEnum


class ReadModelName(StrEnum):
    """The read models there are."""

    DOCUMENTS = "documents"
    GRAPH = "graph"
