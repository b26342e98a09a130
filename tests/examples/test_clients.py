"""Clients in other languages: each starts a command by plain Temporal SDK and reads the result."""

import asyncio
import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.integration.installation import Installation

EXAMPLES = Path(__file__).parents[2] / "examples"
BUILD_TIMEOUT_S = 900  # the first build of a machine compiles gRPC
RUN_TIMEOUT_S = 300


def _tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"NOT TESTED: the client needs {name!r}, and this machine has none")
    return path


async def _run(argv: Sequence[str], folder: Path, variables: Mapping[str, str], *, timeout_s: int) -> str:
    process = await asyncio.create_subprocess_exec(
        *argv, cwd=folder, env=dict(variables), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(timeout_s):
        output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode() + output.decode()
    return output.decode()


async def _go_client(folder: Path) -> list[str]:
    program = folder / "client"
    argv = [_tool("go"), "build", "-o", str(program), "."]
    await _run(argv, EXAMPLES / "go-client", os.environ, timeout_s=BUILD_TIMEOUT_S)
    return [str(program)]


async def _typescript_client(folder: Path) -> list[str]:
    npm, node = _tool("npm"), _tool("node")
    copy = folder / "typescript-client"  # node_modules stay out of the tree
    shutil.copytree(EXAMPLES / "typescript-client", copy, ignore=shutil.ignore_patterns("node_modules", "dist"))
    await _run([npm, "ci", "--no-audit", "--no-fund"], copy, os.environ, timeout_s=BUILD_TIMEOUT_S)
    await _run([npm, "run", "build"], copy, os.environ, timeout_s=BUILD_TIMEOUT_S)
    return [node, str(copy / "dist" / "client.js")]


@pytest.mark.integration
@pytest.mark.parametrize("build", [_go_client, _typescript_client], ids=["go", "typescript"])
async def test_client_starts_a_command(build: Any, installation: Installation, tmp_path: Path):
    client = await build(tmp_path)
    temporal = installation.temporal
    variables = {
        **os.environ,
        "TEMPORAL_ADDRESS": temporal.service_client.config.target_host,
        "TEMPORAL_NAMESPACE": temporal.namespace,
        "TASK_QUEUE": installation.settings.task_queue,
        "COMMAND_ID": "make-p1",
    }

    async def run(payload: str) -> dict[str, Any]:
        argv = [*client, "shop/Product/é 1", payload]
        answer: dict[str, Any] = json.loads(await _run(argv, tmp_path, variables, timeout_s=RUN_TIMEOUT_S))
        return answer

    async with installation.worker():
        first = await run('{"name": "Lamp"}')
        again = await run('{"name": "Lamp"}')
    assert (first["outcome"], first["sequence_number"]) == ("APPLIED", 1)
    assert first["aggregate_id"] == "shop/Product/%C3%A9%201"
    assert again == first
    document = await installation.client.get(first["aggregate_id"], token=first["consistency_token"])
    assert document is not None
    assert document.body["data"] == {"name": "Lamp"}


@pytest.mark.parametrize("path", ["go-client/go.sum", "typescript-client/package-lock.json"])
def test_lock_file_pins_without_a_registry(path: str):
    text = (EXAMPLES / path).read_text()
    assert text.count("h1:") + text.count('"integrity"') > 10
    assert '"resolved"' not in text
    packages = json.loads((EXAMPLES / "typescript-client" / "package.json").read_text())
    pinned = {**packages["dependencies"], **packages["devDependencies"]}
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in pinned.values())
