"""Names of databases and classes that differ only in case: the read side cannot distinguish them, so one is refused.

A command looks for a collision before it is bound. Its record in S3 then comes first, and the claim second: only a
command that is bound to a slot claims a name. A claim never changes, so a command with a refused claim can never
have been granted it by another attempt, and a further record may bind it to its rejection. A command that dies
between claim and event leaves its record, from which it is finished. See decision 6.
"""

from oncelog.domain.results import Rejection, RejectionCode
from oncelog.ports import ClassNames


async def find_collision(names: ClassNames, db_name: str, class_id: str) -> Rejection | None:
    """Return the rejection of a name that collides with a claimed one, or None; claims nothing."""
    return _rejection((db_name, class_id), await names.read_class_name(db_name, class_id))


async def claim_name(names: ClassNames, db_name: str, class_id: str) -> Rejection | None:
    """Claim the name for a command that is bound to a slot; return its rejection if a colliding name was first."""
    return _rejection((db_name, class_id), await names.claim_class_name(db_name, class_id))


def _rejection(asked: tuple[str, str], claimed: tuple[str, str] | None) -> Rejection | None:
    if claimed in (None, asked):
        return None
    existing = "/".join(claimed or ())
    message = (
        f"class {'/'.join(asked)}: expected the spelling {existing}, which exists; names must differ in more than case"
    )
    return Rejection(code=RejectionCode.INVALID_COMMAND, message=message, details={"existing": existing})
