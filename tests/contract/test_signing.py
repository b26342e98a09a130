"""The signature, held against botocore's own."""

from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch
from urllib.parse import quote

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from oncelog.stores.s3.signing import signed

_VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=40).map(str.strip)
_NAMES = st.from_regex(r"x-[a-z0-9]{1,12}(-[a-z0-9]{1,12})?", fullmatch=True)


@given(
    method=st.sampled_from(["GET", "PUT"]),
    key=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60),
    headers=st.dictionaries(_NAMES, _VALUES, max_size=6),
    token=st.none() | st.from_regex(r"[A-Za-z0-9+/=]{8,40}", fullmatch=True),
    region=st.sampled_from(["us-east-1", "eu-central-1"]),
    now=st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2099, 1, 1)),  # noqa: DTZ001
)
def test_the_signature_is_botocores(
    method: str, key: str, headers: dict[str, str], token: str | None, region: str, now: datetime
):
    credentials = Credentials("AKIAEXAMPLE", "secret/+example", token)
    path, body_sha256 = "/bucket/" + quote(key, safe="/~"), "ab" * 32
    headers = {"host": "s3.test:7070", **headers}
    ours = signed(
        method,
        path,
        headers,
        payload_sha256=body_sha256,
        region=region,
        credentials=credentials.get_frozen_credentials(),
        now=now.replace(tzinfo=UTC),
    )
    request = AWSRequest(method, f"http://s3.test:7070{path}", headers=headers)
    with patch("botocore.auth.get_current_datetime", lambda *_: now):
        _Signer(credentials, "s3", region, body_sha256).add_auth(request)
    assert ours == {name.lower(): value for name, value in request.headers.items()}


class _Signer(S3SigV4Auth):
    """botocore's, told the digest of the body instead of computing it."""

    def __init__(self, credentials: Credentials, service: str, region: str, body_sha256: str) -> None:
        super().__init__(credentials, service, region)
        self._body_sha256 = body_sha256

    def payload(self, _request: Any) -> str:
        return self._body_sha256
