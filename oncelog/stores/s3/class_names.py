"""Which spelling of a database's and a class' name is claimed, since aliases of indices are in lower case."""

from pydantic import BaseModel, ConfigDict, ValidationError

from oncelog.domain.stored_names import class_name_keys
from oncelog.errors import LogDamaged
from oncelog.stores.s3.bucket import Bucket, StoredObject

REMEMBERED_MAX = 10_000


class _Spelling(BaseModel):
    model_config = ConfigDict(extra="forbid")

    db_name: str
    class_id: str | None = None


class S3ClassNames:
    """``ClassNames`` on a bucket: ``names/{db_name}.json`` and ``names/{db_name}/{class_id}.json`` in lower case.

    A claim never changes, so it is remembered and a known class costs no request.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._remembered: dict[tuple[str, str], tuple[str, str]] = {}

    async def read_class_name(self, db_name: str, class_id: str) -> tuple[str, str] | None:
        folded = (db_name.lower(), class_id.lower())
        if folded in self._remembered:
            return self._remembered[folded]
        key, db_key = class_name_keys(*folded)
        stored = await self._bucket.get(key)
        if stored is not None:
            return self._remember(folded, _read(stored, key))
        stored_db = await self._bucket.get(db_key)
        claimed_db = _read(stored_db, db_key)[0] if stored_db else db_name
        return None if claimed_db == db_name else (claimed_db, class_id)

    async def claim_class_name(self, db_name: str, class_id: str) -> tuple[str, str]:
        claimed = await self.read_class_name(
            db_name, class_id
        )  # a process meets many classes for its first time, the world few
        if claimed is not None:
            return claimed
        folded = (db_name.lower(), class_id.lower())
        key, db_key = class_name_keys(*folded)
        stored_db = await self._bucket.put_if_absent(db_key, _body(_Spelling(db_name=db_name)))
        if stored_db is not None and (claimed_db := _read(stored_db, db_key)[0]) != db_name:
            return claimed_db, class_id
        stored = await self._bucket.put_if_absent(key, _body(_Spelling(db_name=db_name, class_id=class_id)))
        return self._remember(folded, (db_name, class_id) if stored is None else _read(stored, key))

    def _remember(self, folded: tuple[str, str], claimed: tuple[str, str]) -> tuple[str, str]:
        if len(self._remembered) >= REMEMBERED_MAX:
            self._remembered.clear()
        self._remembered[folded] = claimed
        return claimed


def _body(spelling: _Spelling) -> bytes:
    return spelling.model_dump_json(exclude_none=True).encode()


def _read(found: StoredObject, key: str) -> tuple[str, str]:
    try:
        spelling = _Spelling.model_validate_json(found.body)
    except ValidationError as error:
        raise LogDamaged(f"{key}: not a name: {error}; run oncelog verify", where=key) from error
    class_key, db_key = class_name_keys(spelling.db_name, spelling.class_id or "")
    if key != (class_key if spelling.class_id else db_key):
        names = f"{spelling.db_name}/{spelling.class_id}" if spelling.class_id else spelling.db_name
        raise LogDamaged(f"{key}: expected its own name, found {names}; run oncelog verify", where=key)
    return spelling.db_name, spelling.class_id or ""
