"""Making the client: boto3's chain of settings and credentials, with options that suit many small objects."""

import ssl
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError
from botocore.handlers import convert_body_to_file_like_object
from botocore.httpsession import get_cert_path
from botocore.loaders import Loader, create_loader

from oncelog.errors import SettingsInvalid
from oncelog.settings import Settings
from oncelog.stores.s3.bucket import S3Bucket
from oncelog.stores.s3.direct import DirectRequests
from oncelog.stores.s3.listing import parse_listings_fast
from oncelog.stores.s3.requests import USER_AGENT, Boto3Requests

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CONNECT_TIMEOUT_S = 2
READ_TIMEOUT_S = 5


def connect(settings: Settings, *, direct: bool = True) -> S3Bucket:
    """Make the client, without a request yet; takes about 100 ms the first time, blocking. Raises SettingsInvalid.

    The options turn off work that costs time and gives nothing here: measured, they halve the CPU time of a PUT. With
    ``direct``, objects are written and read past boto3's layers, which makes it a quarter of that.
    """
    config = Config(
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        tcp_keepalive=True,
        max_pool_connections=settings.s3.connections_max,
        retries={"mode": "standard", "total_max_attempts": 1},
        parameter_validation=False,
        request_checksum_calculation="when_required",  # we give our own
        response_checksum_validation="when_required",
        user_agent=USER_AGENT,  # the default one is composed anew for every request
        s3={"addressing_style": settings.s3.addressing_style or ("path" if settings.s3.endpoint_url else "auto")},
    )
    session = botocore.session.get_session()
    session.register_component("data_loader", _loader(session.get_config_variable("data_path")))
    try:
        client = boto3.session.Session(botocore_session=session).client(
            "s3", endpoint_url=settings.s3.endpoint_url, config=config
        )
        certificates = _certificates(session) if client.meta.endpoint_url.startswith("https:") else True
    except (BotoCoreError, ValueError, OSError) as error:
        raise SettingsInvalid(f"ONCELOG_S3_ENDPOINT_URL {settings.s3.endpoint_url}: {error}") from error
    # As bytes, a body leaves with its headers in one packet; as a file, botocore first asks with Expect: 100-continue.
    client.meta.events.unregister("before-parameter-build.s3.PutObject", convert_body_to_file_like_object)
    parse_listings_fast(client)
    _ask_for_encryption(client, settings.s3.encryption)
    name, threads = settings.s3.bucket, ThreadPoolExecutor(settings.s3.connections_max, thread_name_prefix="s3")
    through_boto3 = Boto3Requests(client, bucket=name, threads=threads)
    renew = partial(_renew_credentials, session)
    if not direct:
        return S3Bucket(
            client,
            name=name,
            prefix=settings.s3_prefix,
            threads=threads,
            objects=through_boto3,
            renew_credentials=renew,
        )
    objects = DirectRequests(
        client,
        bucket=name,
        credentials=session.get_credentials,
        certificates=certificates,
        connections_max=settings.s3.connections_max,
        connect_timeout_s=CONNECT_TIMEOUT_S,
        read_timeout_s=READ_TIMEOUT_S,
        encryption=settings.s3.encryption,
        otherwise=through_boto3,
    )
    return S3Bucket(
        client, name=name, prefix=settings.s3_prefix, threads=threads, objects=objects, renew_credentials=renew
    )


@cache
def _loader(data_path: str | None) -> Loader:
    """Return one loader for all clients: each would parse boto3's description of S3 anew, four fifths of its making."""
    return create_loader(data_path)


def _ask_for_encryption(client: "S3Client", fields: Mapping[str, str]) -> None:
    """Let boto3 send these fields with every request that writes an object."""

    def add(params: dict[str, Any], **_: Any) -> None:
        params.update(fields)

    if fields:
        for operation in ("PutObject", "CreateMultipartUpload"):
            client.meta.events.register(f"before-parameter-build.s3.{operation}", add)


def _renew_credentials(session: botocore.session.Session) -> None:
    """Read fixed credentials anew, from a file that was changed, say; botocore renews credentials that expire."""
    known = session.get_credentials()
    if type(known) is not Credentials:
        return
    found = session.get_component("credential_provider").load_credentials()
    if type(found) is Credentials:  # the very object that every client signs with
        known.access_key, known.secret_key, known.token = found.access_key, found.secret_key, found.token


def _certificates(session: botocore.session.Session) -> ssl.SSLContext:
    """Return the authorities that boto3 trusts: AWS_CA_BUNDLE or the profile's ``ca_bundle``, else botocore's own."""
    bundle: Any = session.get_config_variable("ca_bundle") or get_cert_path(True)
    if Path(bundle).is_dir():
        return ssl.create_default_context(capath=bundle)
    return ssl.create_default_context(cafile=bundle)
