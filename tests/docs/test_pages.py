"""Every page is executed from top to bottom on an installation of its own: console lines, Python, files."""

import ast
import importlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from oncelog.testing import OncelogEnvironment
from tests.docs.blocks import PAGES, ROOT, Block, blocks
from tests.docs.programs import run_console, run_script
from tests.integration.installation import Installation

pytestmark = pytest.mark.integration

EXECUTED = [page for page in PAGES if any(block.language in ("console", "python") for block in blocks(page))]
#: Runbooks are short, and share one installation.
RUNBOOKS = [page for page in EXECUTED if page.parent.name == "runbooks"]
#: Texts in scripts of the pages; each is replaced by its value on the installation under test.
ADDRESS, TASK_QUEUE = '"127.0.0.1:7233"', 'task_queue="oncelog"'


@pytest.mark.parametrize(
    "pages",
    [*([page] for page in EXECUTED if page not in RUNBOOKS), RUNBOOKS],
    ids=lambda pages: str(pages[0].relative_to(ROOT)) if len(pages) == 1 else pages[0].parent.name,
)
async def test_page_runs(
    pages: list[Path],
    installation: Installation,
    environment: Mapping[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for name, value in {**installation.variables, "TEMPORAL_NAMESPACE": installation.temporal.namespace}.items():
        monkeypatch.setenv(name, value)
    _use_installed_test_server(environment, monkeypatch)
    parts = [block for page in pages for block in blocks(page)]
    for block in parts:
        if block.title:
            (tmp_path / block.title).write_text(block.text)
    names: dict[str, Any] = {}
    async with installation.worker():
        for block in parts:
            if block.language == "console" and not block.not_run:
                await run_console(block, installation)
            elif block.language == "python" and not block.not_run:
                await _run_python(block, names, installation)


def _use_installed_test_server(environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tests on the pages find Temporal's test server, which they would download."""
    start = OncelogEnvironment.start
    path = environment["ONCELOG_TEMPORAL_TEST_SERVER"]
    monkeypatch.setattr(OncelogEnvironment, "start", lambda servers=None: start(servers, test_server=path))


async def _run_python(block: Block, names: dict[str, Any], installation: Installation) -> None:
    """Run a whole script in a process, a test as pytest would, and a fragment with the page's earlier names."""
    if "asyncio.run(" in block.text:
        temporal, settings = installation.temporal, installation.settings
        here = f'"{temporal.service_client.config.target_host}", namespace="{temporal.namespace}"'
        script = block.text.replace(ADDRESS, here).replace(TASK_QUEUE, f'task_queue="{settings.task_queue}"')
        await run_script(script, {**installation.variables, "TEMPORAL_NAMESPACE": temporal.namespace})
        return
    if block.title:
        names |= vars(importlib.import_module(Path(block.title).stem))
        return
    lines = "\n" * block.line + block.text  # a traceback names the page's line
    code = compile(lines, block.page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    before = set(names)
    result = eval(code, names)
    if inspect.iscoroutine(result):
        await result
    for name in [name for name in names if name not in before and name.startswith("test_")]:
        await names[name]()
