"""TLS as every store needs it: contexts from PEM files, and words for a handshake that fails."""

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from pydantic import SecretStr

from oncelog.errors import ContainerUnusable, SettingsInvalid, UnusableReason
from oncelog.settings.addresses import revealed

PROBE_TIMEOUT_S = 1.0

#: OpenSSL's words, in its own order of detail, each with its remedy. ``{ca}`` … are the names of settings.
_REMEDIES = (
    ("hostname mismatch", "connect by a name that the server's certificate has, or give it one with this name"),
    ("ip address mismatch", "connect by a name that the server's certificate has, or give it one with this address"),
    ("certificate has expired", "renew the server's certificate"),
    ("certificate is not yet valid", "set the clock of this machine, or renew the server's certificate"),
    ("certificate_verify_failed", "set {ca} to the PEM file of the CA that signed the server's certificate"),
    ("certificate_required", "set {certificate} to the client certificate that the server asks for"),
    ("certificate required", "set {certificate} to the client certificate that the server asks for"),
    ("bad_certificate", "set {certificate} to a client certificate of the CA that the server trusts"),
    ("bad certificate", "set {certificate} to a client certificate of the CA that the server trusts"),
    ("unknown_ca", "set {certificate} to a client certificate of the CA that the server trusts"),
    ("unknown ca", "set {certificate} to a client certificate of the CA that the server trusts"),
    ("handshake_failure", "set {certificate} to the client certificate that the server asks for"),
    ("wrong_version_number", "the server speaks no TLS there: {plain}"),
    ("record_layer_failure", "the server speaks no TLS there: {plain}"),
    ("unexpected_eof", "the server ended the handshake: {plain}, or set {certificate}"),
)


@dataclass(frozen=True)
class TlsNames:
    """The names of one server's settings, for remedies. ``plain``, ``encrypted``: how to connect without, with TLS."""

    ca: str
    certificate: str
    plain: str
    encrypted: str


def client_context(
    names: TlsNames, *, ca: str | None, certificate: str | None, key: str | None, password: SecretStr | None = None
) -> ssl.SSLContext:
    """Return a context that trusts the CA in the file, or the system's, and shows the client certificate.

    Raises SettingsInvalid for files that cannot be read.
    """
    try:
        context = ssl.create_default_context(cafile=ca)
    except (OSError, ValueError) as error:
        raise SettingsInvalid(f"{names.ca} {ca}: {error}; expected a PEM file of CA certificates") from error
    if certificate:
        try:
            context.load_cert_chain(certificate, key, revealed(password) or "")  # a callable would ask the terminal
        except (OSError, ValueError) as error:
            raise SettingsInvalid(
                f"{names.certificate} {certificate}: {error}; expected PEM files of a certificate and its key, and the "
                "key's password if it has one"
            ) from error
    return context


def tls_remedy(error: BaseException, names: TlsNames) -> tuple[str, str] | None:
    """Return the TLS failure's cause and its remedy, or None for an error that is none of TLS."""
    texts = [str(each) for each in _chain(error)]
    if not any(isinstance(each, ssl.SSLError) or "ssl" in str(each).lower() for each in _chain(error)):
        return None
    words = " ".join(texts).lower().replace(" ", "_")
    for sign, remedy in _REMEDIES:
        if sign.replace(" ", "_") in words:
            cause = next((text for text in texts if "ssl" in text.lower()), texts[0])
            return cause, remedy.format(ca=names.ca, certificate=names.certificate, plain=names.plain)
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        each = waiting.pop(0)
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        waiting += [each.__cause__, each.__context__]
        waiting += [one for one in getattr(each, "errors", ()) if isinstance(one, BaseException)]
        waiting += [one for one in each.args if isinstance(one, BaseException)]


async def refused_certificate(host: str, port: int, context: ssl.SSLContext) -> OSError | None:
    """Return the server's alert after a handshake, by which TLS 1.3 refuses a client certificate, or None."""
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(host, port, ssl=context)
            try:
                await reader.read(1)
            finally:
                writer.close()
    except TimeoutError:
        return None  # the server waits for a request
    except OSError as error:
        return error
    return None


async def speaks_tls(host: str, port: int) -> bool:
    """Return whether a TLS handshake succeeds there, or fails for a certificate; within ``PROBE_TIMEOUT_S``."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
    except ssl.SSLError as error:
        return "CERTIFICATE" in str(error).upper()
    except (OSError, TimeoutError):
        return False
    writer.close()
    with suppress(OSError, TimeoutError):
        await writer.wait_closed()
    return True


def tls_refusal(error: BaseException, names: TlsNames, store: str, doing: str) -> ContainerUnusable | None:
    """Return the error for a handshake that failed, or None for an error that is none of TLS."""
    found = tls_remedy(error, names)
    if found is None:
        return None
    cause, remedy = found
    return ContainerUnusable(store, "server", REASON, cause=cause, remedy=remedy, doing=doing, shared=True)


#: The reason of every refusal that TLS gives.
REASON = UnusableReason.TLS
