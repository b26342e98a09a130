"""Refusing a class whose name differs from an existing one only in case: the read side could not tell them apart."""

from factline.domain.results import Rejection, RejectionCode
from factline.ports import ClassNames


async def misspelling(names: ClassNames, db_name: str, class_id: str) -> Rejection | None:
    """Return why a command on the class is refused, or None if this is its spelling, from now on or since before."""
    asked = (db_name, class_id)
    standing = await names.claim(*asked)
    if standing == asked:
        return None
    message = (
        f"class {'/'.join(asked)}: expected the spelling {'/'.join(standing)}, which exists; "
        "names must differ in more than case"
    )
    return Rejection(code=RejectionCode.INVALID_COMMAND, message=message, details={"existing": "/".join(standing)})
