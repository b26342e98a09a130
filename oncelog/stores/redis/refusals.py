"""Redis' refusals, told apart: try again, or not this server now. docs/refusals.md.

Every aggregate needs Redis, so all wait until it is mended, and go on by themselves.
"""

import re

from redis.exceptions import AuthenticationError

from oncelog.errors import ContainerUnusable, StoreUnavailable, UnusableReason
from oncelog.stores.tls import TlsNames, tls_refusal

TLS = TlsNames(
    ca="ONCELOG_REDIS_SSL_CA_CERTS",
    certificate="ONCELOG_REDIS_SSL_CERTFILE",
    plain="set ONCELOG_REDIS_URL to redis://",
    encrypted="set ONCELOG_REDIS_URL to rediss://",
)
_RENEW = "mend ONCELOG_REDIS_USERNAME and ONCELOG_REDIS_PASSWORD, or those of ONCELOG_REDIS_URL"
_GRANT = "grant this user all commands that lua/*.lua call, on all keys of ours"

#: By Redis' own first word.
_REFUSALS: dict[str, tuple[UnusableReason, str]] = {
    "NOAUTH": (UnusableReason.CREDENTIALS, _RENEW),
    "WRONGPASS": (UnusableReason.CREDENTIALS, _RENEW),
    "NOPERM": (UnusableReason.FORBIDDEN, _GRANT),
    "OOM": (UnusableReason.OUT_OF_MEMORY, "raise maxmemory, or free memory; FLUSHALL loses nothing that counts"),
    "READONLY": (UnusableReason.READ_ONLY, "lead ONCELOG_REDIS_URL to the primary, or promote this replica"),
    "MISCONF": (UnusableReason.READ_ONLY, "free disk space, or let it write its files; its log says which"),
}
#: Before Redis 7, a script's error quotes the command's.
_WORD = re.compile(rf"(?<![A-Z])({'|'.join(_REFUSALS)})(?= )")
_OTHERS: dict[str, tuple[UnusableReason, str]] = {
    "db index is out of range": (UnusableReason.MISCONFIGURED, "mend the database's number in ONCELOG_REDIS_URL"),
    "unknown command": (UnusableReason.FORBIDDEN, _GRANT),
    "unknown redis command": (UnusableReason.FORBIDDEN, _GRANT),
    "the user executing the script can't run": (UnusableReason.FORBIDDEN, _GRANT),
}


def refused(error: Exception, store: str, doing: str) -> StoreUnavailable:
    """Return our error for a driver's exception."""
    cause = str(error) or type(error).__name__
    if code := getattr(error, "status_code", None):  # the driver has cut it off
        cause = f"{code} {cause}"
    if tls := tls_refusal(error, TLS, store, doing):
        return tls
    found = _refusal(cause)
    if found is None and isinstance(error, AuthenticationError):
        found = (UnusableReason.CREDENTIALS, _RENEW)
    if found is None:
        return StoreUnavailable(store, doing, cause)
    reason, remedy = found
    return ContainerUnusable(store, "server", reason, cause=cause, remedy=remedy, doing=doing, shared=True)


def _refusal(cause: str) -> tuple[UnusableReason, str] | None:
    if word := _WORD.search(cause):
        return _REFUSALS[word[1]]
    return next((refusal for words, refusal in _OTHERS.items() if words in cause.lower()), None)
