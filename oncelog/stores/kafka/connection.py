"""The connection to Kafka: addresses, TLS and SASL as every client of it takes them, and words for a refusal.

aiokafka tells of a broker that it cannot connect to only that it cannot, and leaves the reason to its log. So a
connection that failed is tried once more here, for the broker's own words.
"""

import asyncio
import ssl
import time
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import botocore.session
import httpx
from aiokafka.abc import AbstractTokenProvider
from aiokafka.conn import create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest
from botocore.exceptions import BotoCoreError, ClientError

from oncelog.errors import SettingsInvalid, UnusableReason
from oncelog.settings import KafkaSettings
from oncelog.settings.addresses import revealed
from oncelog.stores.tls import REASON, TlsNames, client_context, refused_certificate, speaks_tls, tls_remedy

DIAGNOSIS_TIMEOUT_S = 1.5
TOKEN_TIMEOUT_S = 5.0
TOKEN_SHARE = 0.8  # of a token's life, after which a new one is had
MSK_IAM = "AWS_MSK_IAM"

_TLS = TlsNames(
    ca="ONCELOG_KAFKA_SSL_CA_LOCATION",
    certificate="ONCELOG_KAFKA_SSL_CERTIFICATE_LOCATION",
    plain="set ONCELOG_KAFKA_SECURITY_PROTOCOL to PLAINTEXT or SASL_PLAINTEXT, or use the listener that does",
    encrypted="set ONCELOG_KAFKA_SECURITY_PROTOCOL to SSL or SASL_SSL",
)


class BrokerRefusalError(KafkaError):  # type: ignore[misc]
    """The brokers answer, and do not take this client: until a setting or a right is mended."""

    def __init__(self, cause: str, *, reason: UnusableReason, remedy: str) -> None:
        super().__init__(cause)
        self.cause = cause
        self.reason = reason
        self.remedy = remedy

    def __str__(self) -> str:
        return self.cause


class KafkaConnection:
    """How every client of one installation connects. ``options``: the arguments of aiokafka's clients for that."""

    def __init__(self, settings: KafkaSettings) -> None:
        """Read the certificates; raises SettingsInvalid."""
        self.servers = settings.bootstrap_servers
        self._settings = settings
        self._security: dict[str, Any] = {"security_protocol": settings.security_protocol}
        if settings.uses_tls:
            self._security["ssl_context"] = client_context(
                _TLS,
                ca=settings.ssl_ca_location,
                certificate=settings.ssl_certificate_location,
                key=settings.ssl_key_location,
                password=settings.ssl_key_password,
            )
        if settings.uses_sasl:
            self._security |= _sasl(settings)

    @property
    def options(self) -> Mapping[str, Any]:
        return {"bootstrap_servers": self.servers, "client_id": self._settings.client_id, **self._security}

    async def connected(self, connect: Callable[[], Awaitable[Any]]) -> None:
        """Let a client connect; raises KafkaError, the brokers' own refusal where there is one."""
        try:
            await connect()
        except KafkaConnectionError as error:
            raise await self._refusal() or error from error

    async def _refusal(self) -> KafkaError | None:
        """Connect to one broker after the other, and return the first refusal; None where none refuses."""
        for server in self.servers.split(","):
            host, _, port = server.strip().rpartition(":")
            try:
                async with asyncio.timeout(DIAGNOSIS_TIMEOUT_S):
                    connection = await create_conn(
                        host.strip("[]"),
                        int(port),
                        client_id=self._settings.client_id,
                        request_timeout_ms=int(1000 * DIAGNOSIS_TIMEOUT_S),
                        **self._security,
                    )
                    try:
                        await connection.send(MetadataRequest([]))  # a listener that asks for SASL refuses only this
                    finally:
                        connection.close()
            except (KafkaError, OSError, TimeoutError, httpx.HTTPError, ValueError) as error:
                if refusal := await self._in_words(error, host.strip("[]"), int(port)):
                    return refusal
        return None

    async def _in_words(self, error: Exception, host: str, port: int) -> BrokerRefusalError | None:
        if isinstance(error, BrokerRefusalError):
            return error
        if refusal := _sasl_refusal(error, self._settings.sasl_mechanism):
            return refusal
        context = self._security.get("ssl_context")
        if context and isinstance(error, KafkaConnectionError):
            error = await refused_certificate(host, port, context) or error
        if tls := tls_remedy(error, _TLS):
            return BrokerRefusalError(tls[0], reason=REASON, remedy=tls[1])
        if context and isinstance(error, ssl.SSLError | ConnectionResetError | KafkaConnectionError):
            remedy = f"{_TLS.plain}, or set {_TLS.certificate} if the server asks for one"
            return BrokerRefusalError(
                f"the broker ended the TLS handshake ({type(error).__name__})", reason=REASON, remedy=remedy
            )
        if isinstance(error, OSError | TimeoutError) and not isinstance(error, ConnectionResetError):
            return None  # no broker is there, or it stands still
        if not self._settings.uses_tls and await speaks_tls(host, port):
            return BrokerRefusalError("the broker speaks TLS there", reason=REASON, remedy=_TLS.encrypted)
        if not self._settings.uses_sasl:
            remedy = "set ONCELOG_KAFKA_SECURITY_PROTOCOL to SASL_SSL or SASL_PLAINTEXT if the listener asks for SASL"
            return BrokerRefusalError(
                f"the broker ended the connection: {error}", reason=UnusableReason.CREDENTIALS, remedy=remedy
            )
        return None


def _sasl_refusal(error: Exception, mechanism: str) -> BrokerRefusalError | None:
    """Return the words for a broker that does not know the user, or not the mechanism."""
    if isinstance(error, AuthenticationFailedError | SaslAuthenticationFailed):
        variables = "ONCELOG_KAFKA_SASL_USERNAME and ONCELOG_KAFKA_SASL_PASSWORD"
        if mechanism == "OAUTHBEARER":
            variables = "ONCELOG_KAFKA_SASL_OAUTHBEARER_*"
        if mechanism == MSK_IAM:
            variables = "AWS' credentials, or their policy kafka-cluster:Connect"
        cause = str(error) or "authentication failed"
        return BrokerRefusalError(cause, reason=UnusableReason.CREDENTIALS, remedy=f"mend {variables}")
    if isinstance(error, UnsupportedSaslMechanismError):
        remedy = f"set ONCELOG_KAFKA_SASL_MECHANISM to one that the brokers enable, found {mechanism}"
        return BrokerRefusalError(str(error), reason=UnusableReason.CREDENTIALS, remedy=remedy)
    if isinstance(error, IllegalSaslStateError):
        remedy = "set ONCELOG_KAFKA_SECURITY_PROTOCOL to PLAINTEXT or SSL, for this listener asks for no SASL"
        return BrokerRefusalError(str(error), reason=UnusableReason.CREDENTIALS, remedy=remedy)
    return None


def _sasl(settings: KafkaSettings) -> dict[str, Any]:
    if settings.sasl_mechanism == MSK_IAM:
        return {"sasl_mechanism": "OAUTHBEARER", "sasl_oauth_token_provider": _MskTokens()}
    if settings.sasl_mechanism == "OAUTHBEARER":
        return {"sasl_mechanism": "OAUTHBEARER", "sasl_oauth_token_provider": _ClientCredentials(settings)}
    return {
        "sasl_mechanism": settings.sasl_mechanism,
        "sasl_plain_username": settings.sasl_username,
        "sasl_plain_password": revealed(settings.sasl_password),
    }


class _Tokens(AbstractTokenProvider):  # type: ignore[misc]
    """Keeps a token for most of its life."""

    def __init__(self) -> None:
        self._token = ""
        self._renew_at_s = 0.0
        self._renewing = asyncio.Lock()

    async def token(self) -> str:
        """Return a token that is valid; raises BrokerRefusalError."""
        async with self._renewing:
            if time.monotonic() >= self._renew_at_s:
                self._token, life_s = await self._new()
                self._renew_at_s = time.monotonic() + TOKEN_SHARE * life_s
            return self._token

    @abstractmethod
    async def _new(self) -> tuple[str, float]:
        """Return a token and the seconds that it is valid for."""


class _ClientCredentials(_Tokens):
    """Tokens of OAuth 2.0's client credentials grant (RFC 6749, section 4.4)."""

    def __init__(self, settings: KafkaSettings) -> None:
        super().__init__()
        self._settings = settings
        self._url = settings.sasl_oauthbearer_token_endpoint_url or ""
        self._context = client_context(_TLS, ca=None, certificate=None, key=None)
        if settings.ssl_ca_location:
            self._context.load_verify_locations(settings.ssl_ca_location)

    async def _new(self) -> tuple[str, float]:
        settings = self._settings
        form = {"grant_type": "client_credentials"}
        if settings.sasl_oauthbearer_scope:
            form["scope"] = settings.sasl_oauthbearer_scope
        user, secret = settings.sasl_oauthbearer_client_id or "", revealed(settings.sasl_oauthbearer_client_secret)
        try:
            async with httpx.AsyncClient(verify=self._context, timeout=TOKEN_TIMEOUT_S) as client:
                answer = await client.post(self._url, data=form, auth=(user, secret or ""))
            answer.raise_for_status()
            found = answer.json()
            return str(found["access_token"]), float(found.get("expires_in", 300))
        except (httpx.HTTPError, ValueError, KeyError) as error:
            words = (str(error) or type(error).__name__).splitlines()[0]
            cause = f"no token from {self._url}: {words}"
            remedy = "mend ONCELOG_KAFKA_SASL_OAUTHBEARER_CLIENT_ID, _CLIENT_SECRET, _SCOPE or _TOKEN_ENDPOINT_URL"
            raise BrokerRefusalError(cause, reason=UnusableReason.CREDENTIALS, remedy=remedy) from error


class _MskTokens(_Tokens):
    """Tokens that AWS' own signer makes of AWS' own credentials."""

    def __init__(self) -> None:
        super().__init__()
        try:
            import aws_msk_iam_sasl_signer  # an extra
        except ImportError as error:
            raise SettingsInvalid(
                "ONCELOG_KAFKA_SASL_MECHANISM AWS_MSK_IAM: its signer is not installed; pip install 'oncelog[msk]'"
            ) from error
        self._sign = aws_msk_iam_sasl_signer.MSKAuthTokenProvider.generate_auth_token
        self._region = botocore.session.get_session().get_config_variable("region")
        if not self._region:
            raise SettingsInvalid("ONCELOG_KAFKA_SASL_MECHANISM AWS_MSK_IAM: no region; set AWS_REGION")

    async def _new(self) -> tuple[str, float]:
        try:
            token, expires_ms = await asyncio.to_thread(self._sign, self._region)
        except (BotoCoreError, ClientError, ValueError, RuntimeError) as error:
            raise BrokerRefusalError(
                f"no token from AWS' credentials: {error}",
                reason=UnusableReason.CREDENTIALS,
                remedy="mend AWS' credentials (AWS_PROFILE, AWS_ACCESS_KEY_ID …)",
            ) from error
        return str(token), max(1.0, expires_ms / 1000 - time.time())
