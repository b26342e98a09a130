"""The wheel: its content, and that it works in an environment that has never seen the checkout."""

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.integration.conftest import installation
from tests.integration.installation import Installation
from tests.packaging.dockerfile import build_environment

__all__ = ["installation"]  # a fixture

ROOT = Path(__file__).parents[2]

#: An application as Temporal's samples lay it out: its modules have the names of our folders.
APPLICATION = {
    "activities.py": """
from temporalio import activity

@activity.defn
async def greet(name: str) -> str:
    return f"hello {name}"
""",
    "workflows.py": """
from datetime import timedelta
from temporalio import workflow
with workflow.unsafe.imports_passed_through():
    from activities import greet

@workflow.defn
class Greeting:
    @workflow.run
    async def run(self, name: str) -> str:
        return await workflow.execute_activity(greet, name, start_to_close_timeout=timedelta(seconds=60))
""",
    "worker.py": """
from temporalio.worker import Worker
from activities import greet
from workflows import Greeting

def new_worker(client):
    return Worker(client, task_queue="greetings", workflows=[Greeting], activities=[greet])
""",
    "application.py": """
import asyncio, json, os
from temporalio.client import Client
import worker
from oncelog.client.client import Command, Oncelog, new_command_id
from oncelog.workflows.command import InstanceCommand
from workflows import Greeting

async def main():
    client = await Client.connect(os.environ["TEMPORAL_ADDRESS"], namespace=os.environ["TEMPORAL_NAMESPACE"])
    async with worker.new_worker(client), Oncelog.connect() as oncelog:
        greeting = await client.execute_workflow(Greeting.run, "Lamp", id="greeting", task_queue="greetings")
        command = Command(command_id=new_command_id(), command_type="CREATE_INSTANCE", db_name="shop",
                          class_id="Product", instance_id="p1", payload={"name": greeting})
        result = await oncelog.submit(command)
    print(json.dumps({"greeting": greeting, "outcome": result.outcome, "type": InstanceCommand.__name__}))

asyncio.run(main())
""",
}

#: Links in `oncelog` lead to them.
LINKED = ("activities/*.py", "workflows/*.py", "worker.py")


def run(argv: Sequence[str | Path], folder: Path, variables: Mapping[str, str] = os.environ) -> str:
    fresh = {name: value for name, value in variables.items() if name != "PYTHONPATH"}
    argv = [str(part) for part in argv]
    done = subprocess.run(argv, cwd=folder, env=fresh, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run([sys.executable, "-m", "build", "--outdir", folder, ROOT], folder)  # the wheel from the source archive
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of the image's environment, made by the steps of the Dockerfile."""
    return build_environment(tmp_path_factory.mktemp("image")) / "bin"


def test_wheel_from_the_source_archive_holds_every_module(wheel: Path):
    modules = {f"oncelog/{path.relative_to(ROOT)}" for name in LINKED for path in ROOT.glob(name)}
    modules |= {str(path.relative_to(ROOT)) for path in (ROOT / "oncelog").rglob("*.py")}
    assert modules <= set(zipfile.ZipFile(wheel).namelist())


def test_wheel_claims_one_import_name(wheel: Path):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/", 1)[0] for name in names if ".dist-info/" not in name} == {"oncelog"}


def test_wheel_holds_workflows_activities_and_worker(wheel: Path):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"oncelog/worker.py", "oncelog/workflows/command.py", "oncelog/activities/command.py"} <= names


def test_wheel_holds_scripts_and_type_marker(wheel: Path):
    names = set(zipfile.ZipFile(wheel).namelist())
    data = {str(path.relative_to(ROOT)) for path in (ROOT / "oncelog").rglob("*.lua")} | {"oncelog/py.typed"}
    assert len(data) > 3
    assert data <= names


@pytest.mark.slow
def test_programs_run_in_a_fresh_environment(programs: Path, tmp_path: Path):
    assert "submit" in run([programs / "oncelog", "--help"], tmp_path)
    assert "oncelog-worker" in run([programs / "oncelog-worker", "--help"], tmp_path)
    assert "oncelog-projector" in run([programs / "oncelog-projector", "--help"], tmp_path)
    where = run([programs / "python", "-c", "import oncelog.worker as w; print(w.__file__)"], tmp_path)
    assert where.startswith(str(programs.parent))


@pytest.mark.integration
async def test_application_with_the_same_module_names_runs(programs: Path, installation: Installation, tmp_path: Path):
    for name, text in APPLICATION.items():
        (tmp_path / name).write_text(text)
    worker = await installation.program(programs / "oncelog-worker", "worker_ready", folder=tmp_path)
    await worker.ready()
    variables = {**installation.variables, "TEMPORAL_NAMESPACE": installation.temporal.namespace}
    said = json.loads(run([programs / "python", "application.py"], tmp_path, variables))
    assert said == {"greeting": "hello Lamp", "outcome": "APPLIED", "type": "InstanceCommand"}
    assert await worker.stop() == 0
