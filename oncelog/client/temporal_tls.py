"""Why a connection to Temporal by TLS is refused, and the remedy.

The SDK tells of a refused client certificate only that the connection ended, so the server is asked once more, without
one.
"""

import asyncio
import ssl
from collections.abc import Mapping
from typing import Any

from temporalio.service import TLSConfig

from oncelog.errors import ContainerUnusable
from oncelog.stores.tls import PROBE_TIMEOUT_S, REASON, TlsNames, speaks_tls, tls_remedy

CERTIFICATE_AND_KEY = "TEMPORAL_TLS_CLIENT_CERT_PATH and TEMPORAL_TLS_CLIENT_KEY_PATH"

_TLS = TlsNames(
    ca="TEMPORAL_TLS_SERVER_CA_CERT_PATH",
    certificate=CERTIFICATE_AND_KEY,
    plain="set TEMPORAL_TLS to false, or mend TEMPORAL_ADDRESS",
    encrypted="set TEMPORAL_TLS to true",
)
_ASKED_FOR = f"set {CERTIFICATE_AND_KEY} to the client certificate that the server asks for"
#: Words of the SDK's TLS library, with the remedy for each.
_REMEDIES = (
    ("UnknownIssuer", f"set {_TLS.ca} to the PEM file of the CA that signed the server's certificate"),
    ("NotValidForName", "set TEMPORAL_TLS_SERVER_NAME to a name that the server's certificate has"),
    ("Expired", "renew the server's certificate"),
    ("KeyMismatch", f"set {CERTIFICATE_AND_KEY} to a certificate and its own key"),
    ("PrivateKeyParseError", f"set {CERTIFICATE_AND_KEY} to PEM files, the key without a password"),
)


async def tls_refusal(config: Mapping[str, Any], error: Exception) -> ContainerUnusable | None:
    """Return the error for a connection that failed for TLS, None where TLS is not the reason.

    ``config``: the arguments of the connection.
    """
    found = _in_words(str(error)) or await _asked_again(config)
    if found is None:
        return None
    cause, remedy = found
    store = f"Temporal at {config['target_host']}"
    return ContainerUnusable(store, "server", REASON, cause=cause, remedy=remedy, doing="connecting", shared=True)


def _in_words(text: str) -> tuple[str, str] | None:
    return next(((text, remedy) for sign, remedy in _REMEDIES if sign in text), None)


async def _asked_again(config: Mapping[str, Any]) -> tuple[str, str] | None:
    host, _, port = config["target_host"].rpartition(":")
    host, tls = host.strip("[]"), config.get("tls")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # nothing is sent, and no answer is used
    context.set_alpn_protocols(["h2"])
    if not (tls or config.get("api_key")):
        return ("the server speaks TLS there", _TLS.encrypted) if await speaks_tls(host, int(port)) else None
    refusal = await _refusal(host, int(port), context)
    if refusal is None:
        return None
    cause, remedy = tls_remedy(refusal, _TLS) or (str(refusal), _ASKED_FOR)
    if isinstance(tls, TLSConfig) and tls.client_cert and CERTIFICATE_AND_KEY in remedy:
        remedy = f"set {CERTIFICATE_AND_KEY} to a client certificate of the CA that the server trusts"
        return "the server refuses the client certificate", remedy
    return cause, remedy


async def _refusal(host: str, port: int, context: ssl.SSLContext) -> OSError | None:
    """Return how a server ends a connection without a client certificate; None if it takes it, or is not there."""
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(host, port, ssl=context)
    except ssl.SSLError as error:
        return error
    except (OSError, TimeoutError):
        return None
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            data = await reader.read(1)
    except TimeoutError:
        return None  # the server waits for a request
    except OSError as error:
        return error
    finally:
        writer.close()
    return None if data else ConnectionResetError("the server ended the connection after the TLS handshake")
