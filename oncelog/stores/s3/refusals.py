"""S3's refusals, told apart: try again, or not this bucket now. docs/refusals.md."""

from botocore.exceptions import (
    ClientError,
    CredentialRetrievalError,
    NoAuthTokenError,
    NoCredentialsError,
    PartialCredentialsError,
    SSOError,
    TokenRetrievalError,
)

from oncelog.errors import ContainerUnusable, StoreUnavailable, UnusableReason
from oncelog.stores.tls import TlsNames, tls_refusal

_RENEW = "renew the credentials (set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or mend what they come from)"
_KMS = "mend ONCELOG_S3_SSE_KMS_KEY_ID, and grant kms:GenerateDataKey and kms:Decrypt on the key"
_TLS = TlsNames(
    ca="AWS_CA_BUNDLE",
    certificate="a client certificate",
    plain="set ONCELOG_S3_ENDPOINT_URL to http://",
    encrypted="set ONCELOG_S3_ENDPOINT_URL to https://",
)
_CREDENTIALS = (
    NoCredentialsError,
    PartialCredentialsError,
    CredentialRetrievalError,
    TokenRetrievalError,
    NoAuthTokenError,
    SSOError,
    RuntimeError,
)

_CODES: dict[str, tuple[UnusableReason, str]] = {
    **dict.fromkeys(
        ("ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired"),
        (UnusableReason.CREDENTIALS, _RENEW),
    ),
    **dict.fromkeys(
        ("InvalidAccessKeyId", "SignatureDoesNotMatch", "RequestExpired"), (UnusableReason.CREDENTIALS, _RENEW)
    ),
    **dict.fromkeys(
        ("AccessDenied", "AllAccessDisabled", "AccountProblem", "InvalidObjectState", "403"),
        (UnusableReason.FORBIDDEN, "grant this user the rights to read, write and list it"),
    ),
    "NoSuchBucket": (
        UnusableReason.MISSING,
        "start oncelog-worker, which makes it, or, if it was there before, mend ONCELOG_S3_BUCKET",
    ),
    "RequestTimeTooSkewed": (UnusableReason.CLOCK_SKEWED, "set this machine's clock: it is over 15 minutes off"),
    "QuotaExceeded": (UnusableReason.DISK_FULL, "raise the bucket's quota, or delete what is not needed"),
    "XMinioStorageFull": (UnusableReason.DISK_FULL, "free disk space on the server"),
}


def refused(error: Exception, store: str, bucket: str, doing: str) -> StoreUnavailable:
    """Return our error for a driver's exception; every aggregate needs the bucket, so all wait until it is mended."""
    cause = str(error) or type(error).__name__
    if tls := tls_refusal(error, _TLS, store, doing):
        return tls
    found = None
    if isinstance(error, _CREDENTIALS):
        found = (UnusableReason.CREDENTIALS, _RENEW)
    elif isinstance(error, ClientError):
        code = error_code(error)
        found = (UnusableReason.FORBIDDEN, _KMS) if code.startswith("KMS.") else _CODES.get(code)
    if found is None:
        return StoreUnavailable(store, doing, cause)
    reason, remedy = found
    return ContainerUnusable(store, f"bucket {bucket}", reason, cause=cause, remedy=remedy, doing=doing, shared=True)


def error_code(error: ClientError) -> str:
    """Return S3's own word for the error, or the HTTP status where the answer had no body."""
    return str(error.response.get("Error", {}).get("Code", ""))
