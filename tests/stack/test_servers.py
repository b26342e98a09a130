"""The whole stack, with its real servers."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from temporalio import workflow
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from stack import Stack, process
from stack.errors import UsageError
from stack.server import Server
from stack.servers import DEFAULT
from stack.servers.temporal import SEARCH_ATTRIBUTES
from stack.settings import JAVA_OPTIONS_VARIABLE
from stack.state import State

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
WaitUntil = Callable[..., None]


@workflow.defn
class Sleeper:
    """Sleeps for a month."""

    @workflow.run
    async def run(self) -> str:
        await workflow.sleep(timedelta(days=30))
        return "slept"


@workflow.defn
class Greeter:
    """Answers at once."""

    @workflow.run
    async def run(self) -> str:
        return "hello"


def test_every_server_is_healthy(full_stack: Stack) -> None:
    assert [server.name for server in full_stack.servers] == [definition.name for definition in DEFAULT]
    assert {server.name: server.complaint() for server in full_stack.servers if not server.is_healthy()} == {}


def test_the_environment_leads_to_every_server(full_stack: Stack) -> None:
    variables = full_stack.environment()
    assert set(variables) == {
        "TEMPORAL_ADDRESS",
        "TEMPORAL_NAMESPACE",
        "ONCELOG_TEMPORAL_UI_URL",
        "ONCELOG_TEMPORAL_TEST_SERVER",
        "ONCELOG_REDIS_URL",
        "ONCELOG_KAFKA_BOOTSTRAP_SERVERS",
        "ONCELOG_ELASTICSEARCH_URL",
        "ONCELOG_S3_ENDPOINT_URL",
        "ONCELOG_S3_BUCKET",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
    }


def test_everything_listens_on_loopback_only(full_stack: Stack) -> None:
    state = State.read(full_stack.data)
    assert state is not None
    for port in state.ports.values():
        assert listening_addresses(port) <= {"0100007F", "0000000000000000FFFF00000100007F"}, port


async def test_temporal_runs_a_workflow(full_stack: Stack) -> None:
    client = await Client.connect(full_stack.environment()["TEMPORAL_ADDRESS"])
    queue = uuid.uuid4().hex
    async with Worker(client, task_queue=queue, workflows=[Greeter], workflow_runner=UnsandboxedWorkflowRunner()):
        assert await client.execute_workflow(Greeter.run, id=queue, task_queue=queue) == "hello"


async def test_temporal_knows_the_search_attributes(full_stack: Stack) -> None:
    client = await Client.connect(full_stack.environment()["TEMPORAL_ADDRESS"])
    wanted = ListSearchAttributesRequest(namespace=client.namespace)
    listed = await client.operator_service.list_search_attributes(wanted, retry=True)
    found = {name: IndexedValueType.Name(kind) for name, kind in listed.custom_attributes.items()}
    expected = {name: f"INDEXED_VALUE_TYPE_{kind.upper()}" for name, kind in SEARCH_ATTRIBUTES.items()}
    assert {name: found.get(name) for name in expected} == expected


async def test_the_test_server_skips_time(full_stack: Stack) -> None:
    path = str(full_stack.test_server_path)
    async with (
        await WorkflowEnvironment.start_time_skipping(
            test_server_existing_path=path, test_server_startup_timeout=timedelta(minutes=3)
        ) as environment,
        Worker(environment.client, task_queue="q", workflows=[Sleeper], workflow_runner=UnsandboxedWorkflowRunner()),
    ):
        assert await environment.client.execute_workflow(Sleeper.run, id="sleeper", task_queue="q") == "slept"


def test_temporals_journal_is_set_to_be_quick(full_stack: Stack) -> None:
    assert (full_stack.data / "temporal" / "data" / "temporal.db-wal").exists()


def test_s3_refuses_to_overwrite_and_keeps_what_is_locked(full_stack: Stack) -> None:
    variables = full_stack.environment()
    client = boto3.client(
        "s3",
        endpoint_url=variables["ONCELOG_S3_ENDPOINT_URL"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
        region_name=variables["AWS_REGION"],
        config=Config(s3={"addressing_style": "path"}),
    )
    bucket = f"lock-{uuid.uuid4().hex}"
    client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    assert client.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    client.put_object_lock_configuration(
        Bucket=bucket,
        ObjectLockConfiguration={
            "ObjectLockEnabled": "Enabled",
            "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}},
        },
    )
    version = client.put_object(Bucket=bucket, Key="a/1", Body=b"1", IfNoneMatch="*")["VersionId"]
    with pytest.raises(ClientError, match="PreconditionFailed"):
        client.put_object(Bucket=bucket, Key="a/1", Body=b"2", IfNoneMatch="*")
    with pytest.raises(ClientError, match="AccessDenied"):
        client.delete_object(Bucket=bucket, Key="a/1", VersionId=version)


def test_elasticsearch_runs_under_an_account_that_is_not_root(full_stack: Stack) -> None:
    pid = full_stack.server("elasticsearch").pid
    assert Path(f"/proc/{pid}").stat().st_uid != 0


def test_java_servers_get_the_options_of_the_environment(full_stack: Stack) -> None:
    (option,) = os.environ[JAVA_OPTIONS_VARIABLE].split()
    assert option in process_arguments(full_stack.server("kafka"))
    assert option in (full_stack.data / "elasticsearch" / "config" / "jvm.options").read_text().split()


def process_arguments(server: Server) -> list[str]:
    return Path(f"/proc/{server.pid}/cmdline").read_text().split("\0")


def test_elasticsearch_keeps_documents_through_a_crash(full_stack: Stack) -> None:
    server = full_stack.server("elasticsearch")
    assert put(f"{server.address}/crash/_doc/1", {"kept": True}) == 201
    before = server.pid
    server.kill()
    assert not server.is_running()
    assert not server.is_healthy()
    assert process.marked(server.folder) == []
    server.start()
    assert server.is_healthy()
    assert server.pid != before
    assert put(f"{server.address}/crash/_doc/1", {"kept": True}) == 200, "an update, not a creation"


@pytest.mark.parametrize("name", ["temporal", "redis", "kafka", "s3"])
def test_a_server_comes_back_after_a_crash_at_the_same_address(name: str, full_stack: Stack) -> None:
    server = full_stack.server(name)
    address = server.address
    server.kill()
    assert server.complaint() == "died (killed by SIGKILL)"
    server.start()
    assert (server.is_healthy(), full_stack.server(name).address) == (True, address)


def test_a_frozen_server_is_not_healthy_until_it_goes_on(full_stack: Stack) -> None:
    server = full_stack.server("redis")
    server.pause()
    try:
        assert server.is_running()
        assert not server.is_healthy()
    finally:
        server.resume()
    assert server.is_healthy()


def test_a_stopped_server_says_so_and_starts_again(full_stack: Stack) -> None:
    server = full_stack.server("s3")
    server.stop()
    assert server.complaint() == "stopped"
    with pytest.raises(UsageError, match="s3 does not run"):
        server.pause()
    server.start()
    assert server.is_healthy()


def test_two_stacks_run_side_by_side(full_stack: Stack) -> None:
    with Stack.temporary(["temporal", "redis", "kafka", "s3"]) as other:
        mine, others = full_stack.environment(), other.environment()
        addresses = [name for name in others if name.endswith(("ADDRESS", "URL", "SERVERS"))]
        assert len(addresses) == 5
        assert all(mine[name] != others[name] for name in addresses)
        assert all(server.is_healthy() for server in [*full_stack.servers, *other.servers])
        pids = {server.pid for server in [*full_stack.servers, *other.servers]}
        assert len(pids) == 9
    assert not other.data.exists()
    assert all(server.is_healthy() for server in full_stack.servers)


def test_toxiproxy_comes_on_demand() -> None:
    with Stack.temporary(["toxiproxy"]) as stack:
        assert stack.server("toxiproxy").is_healthy()
        assert set(stack.environment()) == {"ONCELOG_TOXIPROXY_URL"}
        with pytest.raises(UsageError, match="without temporal"):
            _ = stack.test_server_path


def test_postgresql_comes_on_demand_and_keeps_its_data() -> None:
    with Stack.temporary(["postgresql"]) as stack:
        server = stack.server("postgresql")
        identity = (server.folder / "data" / "global" / "pg_control").stat().st_ino
        server.restart()
        assert server.is_healthy()
        assert (server.folder / "data" / "global" / "pg_control").stat().st_ino == identity


def test_killing_the_parent_leaves_no_orphan_and_no_data(wait_until: WaitUntil) -> None:
    """Elasticsearch is the hard one: its launcher starts the real server as a child of its own, as another user."""
    code = (
        "import sys\n"
        "from stack import Stack\n"
        "with Stack.temporary(['elasticsearch', 'redis']) as stack:\n"
        "    print(stack.data, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    argv, pipe = [sys.executable, "-c", code], subprocess.PIPE
    with subprocess.Popen(argv, cwd=ROOT, text=True, stdin=pipe, stdout=pipe) as parent:
        assert parent.stdout is not None
        data = Path(parent.stdout.readline().strip())
        folders = [data / "elasticsearch", data / "redis"]
        started = [process.marked(folder) for folder in folders]
        assert [len(found) for found in started] == [2, 1]
        records = [process.read_record(folder) for folder in folders]
        assert all(record is not None and record.is_alive() for record in records)
        parent.kill()
        parent.wait()
    for record in records:
        assert record is not None
        assert record.supervisor.wait_end(30)
    wait_until(lambda: not any(identity.is_alive() for found in started for identity in found))
    assert not data.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root must start Elasticsearch as somebody else")
def test_unreachable_data_folder_is_refused_with_its_path(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    argv = [sys.executable, "-m", "stack", "up", "--own", "--only", "elasticsearch", "--data", str(closed / "data")]
    result = subprocess.run([*argv, "--name", "closed"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 3
    assert "cannot be reached by the account nobody" in result.stderr
    assert "chmod o+x" in result.stderr


def put(url: str, document: dict[str, object]) -> int:
    """PUT a JSON document; returns the HTTP status."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=120)
    try:
        connection.request("PUT", parts.path, json.dumps(document), {"Content-Type": "application/json"})
        return connection.getresponse().status
    finally:
        connection.close()


def listening_addresses(port: int) -> set[str]:
    """The addresses, as /proc/net writes them, with a listener on this port."""
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            address, _, number = fields[1].rpartition(":")
            if fields[3] == "0A" and int(number, 16) == port:
                found.add(address)
    return found
