"""Checks of addresses in settings, and the credentials that some of them carry."""

import re
from typing import Annotated
from urllib.parse import unquote, urlsplit, urlunsplit

from pydantic import AfterValidator, SecretStr

_SERVER = re.compile(r"([^\s/@:]+|\[[^\s/@\]]+\])(:[0-9]+)?")

_LISTENING = re.compile(r"([^\s/@:]*|\[[^\s/@\]]+\]):[0-9]{1,5}")

#: Parameters of a query that clients read as credentials.
_SECRET_PARAMETERS = re.compile(r"(^|&)(username|password|api_?key|token)=", re.IGNORECASE)


def check_address(value: str) -> str:
    """Refuse a URL that clients would read otherwise than it is meant, with parts of a password for host or port."""
    for part in value.split(","):
        try:
            url = urlsplit(part.strip())
            _ = url.port
        except ValueError:  # its message may cite a part of a password
            raise ValueError("expected scheme://host:port, with user and password percent-encoded") from None
        if any(map(str.isspace, part.strip())) or "@" in url.path + url.query + url.fragment:
            raise ValueError("expected user and password percent-encoded")
        if _SECRET_PARAMETERS.search(url.query):
            raise ValueError("expected user and password before the host, or in variables of their own")
    return value


def check_plain_address(value: str) -> str:
    """Refuse a URL with more than scheme, credentials, host, port and path."""
    check_address(value)
    if any(urlsplit(part).query or urlsplit(part).fragment for part in value.split(",")):
        raise ValueError("expected nothing after ? or #")
    return value


def check_anonymous_address(value: str) -> str:
    """Refuse a URL with a user or a password in it."""
    check_plain_address(value)
    if "@" in value:
        raise ValueError("expected no user and password, which come from AWS' own variables and files")
    return value


def check_servers(value: str) -> str:
    """Refuse anything but host:port, several with commas between them."""
    for part in value.split(","):
        if not _SERVER.fullmatch(part.strip()):
            raise ValueError("expected host:port, several with commas between them")
    return value


def check_listening_address(value: str) -> str:
    """Refuse anything but host:port of this machine; no host is all of its addresses."""
    if not _LISTENING.fullmatch(value):
        raise ValueError("expected host:port, such as 127.0.0.1:9464 or :9464")
    return value


Servers = Annotated[str, AfterValidator(check_servers)]
ListeningAddress = Annotated[str, AfterValidator(check_listening_address)]


def split_credentials(value: str) -> tuple[str, str | None, str | None]:
    """Return the URLs without their credentials, and the one user and password that all of them carry.

    Raises ValueError where two URLs carry different ones.
    """
    found: set[tuple[str | None, str | None]] = set()
    clean = []
    for part in value.split(","):
        url = urlsplit(part.strip())
        credentials, at, host = url.netloc.rpartition("@")
        if at:
            user, _, password = credentials.partition(":")
            found.add((unquote(user) or None, unquote(password) or None))
        clean.append(urlunsplit(url._replace(netloc=host)))
    if len(found) > 1:
        raise ValueError("expected one user and password for all addresses")
    return ",".join(clean), *(found.pop() if found else (None, None))


def revealed(secret: SecretStr | None) -> str | None:
    """Return a secret for the client that sends it; nothing else may ask for it."""
    return None if secret is None else secret.get_secret_value()
