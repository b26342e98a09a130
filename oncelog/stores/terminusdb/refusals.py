"""TerminusDB's refusals, told apart: try again, never this node, or not this database now. docs/refusals.md."""

from oncelog.errors import ContainerUnusable, StoreUnavailable, UnusableReason

#: Answers to documents that do not fit our schema, now or later.
_NEVER = ("SchemaCheckFailure",)

_RENEW = "mend the user and password of ONCELOG_TERMINUSDB_URL: http://user:password@host:port"
_GRANT = "grant this user the rights to read, write and create databases"


def refused(
    status: int, reason: str, *, store: str, database: str, doing: str, creating: bool = False
) -> StoreUnavailable:
    """Return the error for an HTTP status that is no success; ``creating``: the database was to be made."""
    if status == 401:
        unusable, remedy = UnusableReason.CREDENTIALS, _RENEW
    elif status == 403:
        unusable, remedy = UnusableReason.FORBIDDEN, _GRANT
    elif creating and 400 <= status < 500 and status not in (408, 409, 429):
        unusable, remedy = UnusableReason.CREATION_REFUSED, "create it as the message says; it is filled by itself"
    else:
        return StoreUnavailable(store, doing, reason)
    container = f"database {database}" if database and status != 401 else "server"
    return ContainerUnusable(
        store, container, unusable, cause=reason, remedy=remedy, doing=doing, shared=container == "server"
    )


def is_never(status: int, text: str) -> bool:
    """Return whether a request can never be taken; one of several documents in it is enough for that."""
    return status == 413 or (status == 400 and any(word in text for word in _NEVER))
