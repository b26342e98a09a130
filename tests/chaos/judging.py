"""What a run left behind, read back from every server and held against what its clients wrote down."""

from pathlib import Path

from factline.cli.verifying import sources_of
from factline.settings import Settings
from factline.stores.opening import Stores
from factline.verification.history import read_history
from factline.verification.verifying import Report, nothing_in_flight, verify


async def judged(stores: Stores, settings: Settings, history: Path) -> Report:
    """Verify an installation in which everything has come to its end."""
    return await verify(sources_of(stores, settings), in_flight=nothing_in_flight, history=read_history([history]))
