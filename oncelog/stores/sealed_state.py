"""A state as it is kept outside the log: JSON with the SHA-256 of its state, so that damage is never taken for it.

The form is ``{"sha256":"…","state":{…}}`` without a blank, the digest being that of the state's bytes as they stand.
"""

from pydantic import ValidationError

from oncelog.domain.aggregates.aggregate_registry import registry
from oncelog.domain.canonical import sha256_hex
from oncelog.domain.instance import INSTANCE_JSON, Instance
from oncelog.errors import LogDamaged

_START, _MIDDLE, _END = b'{"sha256":"', b'","state":', b"}"
_STATE_AT = len(_START) + 64 + len(_MIDDLE)


#: Members that other states do not have.
_OWN_ONLY = {"state_version", "constraints"}


def seal_state(state: Instance) -> bytes:
    """Return the state with its digest."""
    body = INSTANCE_JSON.dump_json(state, exclude=None if state.state_version else _OWN_ONLY)
    return _START + sha256_hex(body).encode() + _MIDDLE + body + _END


def open_state(data: bytes, *, aggregate_id: str) -> Instance:
    """Return the state, or raise LogDamaged if it is not that aggregate's, whole and unaltered."""
    where = f"kept state of {aggregate_id}"
    body = data[_STATE_AT : -len(_END)]
    if data != _START + sha256_hex(body).encode() + _MIDDLE + body + _END:
        raise LogDamaged(f"{where}: its digest does not match; it is read from the log instead", where=where)
    try:
        state = INSTANCE_JSON.validate_json(body)
    except ValidationError as error:
        raise LogDamaged(f"{where}: of another form: {error}; it is read from the log instead", where=where) from error
    _check_of_today(state, where)
    if state.aggregate_id != aggregate_id:
        raise LogDamaged(f"{where}: found that of {state.aggregate_id}", where=where)
    return state


def _check_of_today(state: Instance, where: str) -> None:
    """Raise LogDamaged for a state that an aggregate's code of another release folded."""
    if state.state_version is None:
        return
    aggregate = registry().aggregates.get(state.state_version.partition("/")[0])
    found = aggregate.state_mark if aggregate else "none"
    if found != state.state_version:
        raise LogDamaged(
            f"{where}: expected a state of {found}, found {state.state_version}; it is read from the log instead",
            where=where,
        )
