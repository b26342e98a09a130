"""Options and arguments that several commands take."""

from enum import StrEnum
from typing import Annotated

import typer

Tokens = Annotated[
    list[str] | None, typer.Option("--token", help="A consistency token: show me at least this; may be repeated.")
]
Deadline = Annotated[float, typer.Option(min=0, help="How long to wait for the token, in seconds.")]
Instance = Annotated[str, typer.Argument(metavar="DB/CLASS/INSTANCE", help="Such as shop/Product/p1.")]
Class = Annotated[str, typer.Argument(metavar="DB/CLASS", help="Such as shop/Product.")]
CommandId = Annotated[str, typer.Argument(metavar="COMMAND_ID")]


class ItemsFormat(StrEnum):
    """The format of a file of items."""

    NDJSON = "ndjson"
    CSV = "csv"
