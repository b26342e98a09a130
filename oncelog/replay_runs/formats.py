"""The formats of exported files."""

from enum import StrEnum


class ExportFormat(StrEnum):
    """The format of exported files."""

    NDJSON = "ndjson"
    CSV = "csv"
    PARQUET = "parquet"
