"""``oncelog rebuild``: a read model from the log, beside the one that readers see, and the way back."""

import uuid

from oncelog.cli import show
from oncelog.cli.exits import Exit
from oncelog.cli.reporting import for_people, report
from oncelog.cli.terminal import errors
from oncelog.composition.replays import assemble_index_rebuild
from oncelog.domain.identifiers import CLASSES, AggregateId, check_name
from oncelog.errors import InputInvalid
from oncelog.read_models.names import ReadModelName
from oncelog.settings import Settings
from oncelog.stores.opening import Stores


async def roll_back(target: str, read_model: ReadModelName) -> Exit:
    """Let readers of a class's documents see the index before the last switch; raises InputInvalid."""
    db_name, _, class_id = target.partition("/")
    if read_model is not ReadModelName.DOCUMENTS:
        raise InputInvalid("rebuild: the graph has no earlier index to go back to; rebuild it without --roll-back")
    check_name(db_name, "db_name")
    if class_id != CLASSES:
        check_name(class_id, "class_id")
    async with await Stores.connect(Settings.from_environment()) as stores:
        rebuild = assemble_index_rebuild(stores.ports)
        class_name = AggregateId(db_name, CLASSES, class_id)
        switched = await rebuild.roll_back(class_name, name=f"back-{uuid.uuid4().hex[:12]}")
    report(switched.model_dump(mode="json"), lambda: show.pairs([(name, str(value)) for name, value in switched]))
    if for_people():
        errors.print(f"readers of {target} see {switched.index}; {switched.kept} is kept")
    return Exit.FINE
