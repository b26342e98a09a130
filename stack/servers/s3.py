"""S3: the Versity gateway over a folder, with versioning and Object Lock on offer."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from stack.errors import UnreachableError
from stack.ports import HOST
from stack.programs import S3 as VERSITYGW
from stack.security import Security
from stack.servers.definition import Command, Definition, Location, plain_environment
from stack.servers.http import get

ACCESS_KEY = "oncelog"
SECRET_KEY = "oncelog-local"
"""Guards nothing but a server on this machine's loopback."""
REGION = "us-east-1"
BUCKET = "oncelog"
HEALTH_PATH = "/healthz"


class S3(Definition):
    """One S3 server."""

    name = "s3"
    program = VERSITYGW
    ports: ClassVar = {"s3": 7070}
    address_variable = "ONCELOG_S3_ENDPOINT_URL"

    def prepare(self, location: Location) -> Command:
        """Objects as files in `data`, their former versions in `versions`, its keys in the environment only."""
        folders = {"data": location.data, "versions": location.folder / "versions"}
        for folder in folders.values():
            folder.mkdir(parents=True, exist_ok=True)
        argv = [str(location.program), "--port", f"{HOST}:{location.ports['s3']}", "--region", REGION]
        keys = {"ROOT_ACCESS_KEY_ID": ACCESS_KEY, "ROOT_SECRET_ACCESS_KEY": SECRET_KEY}
        if location.security is not None:
            argv += ["--cert", str(location.security.server), "--key", str(location.security.server_key)]
            keys["ROOT_SECRET_ACCESS_KEY"] = location.security.password
        argv += ["--health", HEALTH_PATH, "--keep-alive", "--quiet", "posix"]
        argv += ["--versioning-dir", str(folders["versions"])]
        if not has_extended_attributes(location.data):
            sidecar = location.folder / "metadata"
            sidecar.mkdir(exist_ok=True)
            argv += ["--sidecar", str(sidecar)]
        return Command([*argv, str(location.data)], plain_environment(**keys))

    def environment(self, ports: Mapping[str, int]) -> dict[str, str]:
        """The endpoint, and the standard variables of AWS' own clients."""
        return {
            self.address_variable: f"http://{HOST}:{ports['s3']}",
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
        }

    def credentials(self, ports: Mapping[str, int], security: Security) -> dict[str, str]:
        """Another secret, and AWS' own variable for the CA."""
        return {
            self.address_variable: f"https://{HOST}:{ports['s3']}",
            "AWS_SECRET_ACCESS_KEY": security.password,
            "AWS_CA_BUNDLE": str(security.ca),
        }

    def check(self, environment: Mapping[str, str]) -> None:
        """Any answer but a server's error will do: without a signature, a well S3 refuses the request."""
        status, _ = get(environment[self.address_variable], "/", ca=environment.get("AWS_CA_BUNDLE"))
        if status >= 500:
            raise UnreachableError(f"S3 answers with HTTP status {status}")


def has_extended_attributes(folder: Path) -> bool:
    """Whether the file system keeps user attributes, where the gateway stores ETags and metadata."""
    try:
        os.setxattr(folder, "user.oncelog", b"probe")
        os.removexattr(folder, "user.oncelog")
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.EPERM):
            return False
        raise
    return True
