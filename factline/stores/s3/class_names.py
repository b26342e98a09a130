"""Which spelling of a database's and a class' name is taken, since aliases of indices are in lower case."""

from pydantic import BaseModel, ConfigDict, ValidationError

from factline.errors import LogDamaged
from factline.stores.s3.bucket import Bucket, StoredObject

REMEMBERED_MAX = 10_000


class _Spelling(BaseModel):
    model_config = ConfigDict(extra="forbid")

    db_name: str
    class_id: str | None = None


class S3ClassNames:
    """``ClassNames`` on a bucket: ``names/{db_name}.json`` and ``names/{db_name}/{class_id}.json`` in lower case.

    A spelling that stands never changes, so it is remembered and a known class costs no request.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._remembered: dict[tuple[str, str], tuple[str, str]] = {}

    async def claim(self, db_name: str, class_id: str) -> tuple[str, str]:
        folded = (db_name.lower(), class_id.lower())
        if folded not in self._remembered:
            spelling = await self._claim(db_name, class_id)
            if spelling[0] != db_name:
                return spelling  # of the class nothing stands yet
            if len(self._remembered) >= REMEMBERED_MAX:
                self._remembered.clear()
            self._remembered[folded] = spelling
        return self._remembered[folded]

    async def _claim(self, db_name: str, class_id: str) -> tuple[str, str]:
        """Look first: a process meets many classes for its first time, the world only few."""
        key = f"names/{db_name.lower()}/{class_id.lower()}.json"
        found = await self._bucket.get(key)
        if found is not None:
            return _read(found, key)
        db_key = f"names/{db_name.lower()}.json"
        standing = await self._bucket.put_if_absent(db_key, _body(_Spelling(db_name=db_name)))
        if standing is not None and (standing_name := _read(standing, db_key)[0]) != db_name:
            return standing_name, class_id
        standing = await self._bucket.put_if_absent(key, _body(_Spelling(db_name=db_name, class_id=class_id)))
        return (db_name, class_id) if standing is None else _read(standing, key)


def _body(spelling: _Spelling) -> bytes:
    return spelling.model_dump_json(exclude_none=True).encode()


def _read(found: StoredObject, key: str) -> tuple[str, str]:
    try:
        spelling = _Spelling.model_validate_json(found.body)
    except ValidationError as error:
        raise LogDamaged(f"{key}: not a name: {error}; run factline verify", where=key) from error
    names = f"{spelling.db_name}/{spelling.class_id}" if spelling.class_id else spelling.db_name
    if f"names/{names.lower()}.json" != key:
        raise LogDamaged(f"{key}: expected its own name, found {names}; run factline verify", where=key)
    return spelling.db_name, spelling.class_id or ""
