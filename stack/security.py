"""TLS and credentials for a stack that is started with `--secured`: one CA, one password, certificates for both ends.

Made once per stack, in a folder of its own, and read by servers and clients from there.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

FOLDER = "certificates"
USER = "oncelog"
"""The user that the printed variables name; it may do everything that Oncelog does."""

NAMES = ("127.0.0.1", "localhost", "::1")
"""The names of the servers' certificate."""


@dataclass(frozen=True)
class Security:
    """The files and the password of one stack; all files are PEM."""

    folder: Path

    @property
    def ca(self) -> Path:
        """The CA that has signed both certificates."""
        return self.folder / "ca.pem"

    @property
    def server(self) -> Path:
        """The servers' certificate."""
        return self.folder / "server.pem"

    @property
    def server_key(self) -> Path:
        """Its key, PKCS #8."""
        return self.folder / "server-key.pem"

    @property
    def server_both(self) -> Path:
        """Key and certificate in one file, as Kafka wants them."""
        return self.folder / "server-both.pem"

    @property
    def client(self) -> Path:
        """The clients' certificate."""
        return self.folder / "client.pem"

    @property
    def client_key(self) -> Path:
        """Its key, PKCS #8."""
        return self.folder / "client-key.pem"

    @property
    def password(self) -> str:
        """The password of `USER` at every server."""
        return (self.folder / "password").read_text()

    @classmethod
    def made(cls, folder: Path) -> Security:
        """The files in `folder`, made where there are none."""
        security = cls(folder)
        if not (folder / "password").exists():
            folder.mkdir(parents=True, exist_ok=True)
            security._make()
        return security

    def _make(self) -> None:
        import trustme  # a tool of tests, which only a secured stack needs

        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.ca))
        for issued, chain, key in (
            (authority.issue_cert(*NAMES), self.server, self.server_key),
            (authority.issue_cert(f"{USER}.client", common_name=USER), self.client, self.client_key),
        ):
            chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
            key.write_bytes(as_pkcs8(issued.private_key_pem.bytes()))
        self.server_both.write_bytes(self.server_key.read_bytes() + self.server.read_bytes())
        (self.folder / "password").write_text(secrets.token_urlsafe(24))


def security_of(data: Path, *, secured: bool) -> Security | None:
    """TLS and credentials of the stack with this data folder, None for one of open servers."""
    return Security.made(data / FOLDER) if secured else None


def as_pkcs8(key: bytes) -> bytes:
    """A PEM key in the form that Java reads, too."""
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        load_pem_private_key,
    )

    loaded = load_pem_private_key(key, password=None)
    return loaded.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
