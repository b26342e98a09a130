"""docker-compose.temporal.yml is what Compose accepts, and says the same as the stack."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from oncelog.settings import Settings, variables
from stack import versions
from stack.ports import port_variable
from stack.servers import BY_NAME, DEFAULT
from stack.servers.s3 import ACCESS_KEY, SECRET_KEY
from stack.servers.temporal import DYNAMIC_SETTINGS, SEARCH_ATTRIBUTES
from stack.settings import PORTS

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.temporal.yml"
PARSER = f"github.com/compose-spec/compose-go/v2/cmd@v{versions.COMPOSE_GO}"


def compose_command() -> list[str] | None:
    """A parser of Compose files: Docker Compose, or the parser it is made with, compiled by Go."""
    if shutil.which("docker"):
        version = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
        if version.returncode == 0:
            return ["docker", "compose", "-f", str(FILE), "config", "--format", "json"]
    if shutil.which("go"):
        return ["go", "run", PARSER, "--format", "json", str(FILE)]
    return None


def parse(environ: Mapping[str, str]) -> dict[str, Any]:
    """The file as Compose understands it."""
    argv = compose_command()
    if argv is None:
        pytest.skip("neither Docker Compose nor Go is installed, so nothing here can parse a Compose file")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ONCELOG_")}
    result = subprocess.run(argv, cwd=ROOT, env=kept | dict(environ), capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    parsed: dict[str, Any] = json.loads(result.stdout)
    return parsed


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return parse({})


def test_it_holds_the_same_servers_and_those_they_need(compose: dict[str, Any]) -> None:
    assert {definition.name for definition in DEFAULT} <= set(compose["services"])
    assert {"postgresql", "temporal-ui", "terminusdb"} <= set(compose["services"])


def test_its_images_are_the_pinned_ones(compose: dict[str, Any]) -> None:
    images = [service["image"] for service in compose["services"].values() if "build" not in service]
    assert dict(image.rsplit(":", 1) for image in images) == versions.CONTAINER_IMAGES


def test_it_listens_on_loopback_at_the_same_ports(compose: dict[str, Any]) -> None:
    published = published_ports(compose)
    assert {host for host, _ in published} == {"127.0.0.1"}
    expected = {PORTS[name] for name in ("temporal", "temporal_ui", "redis", "kafka", "elasticsearch", "s3")}
    assert {port for _, port in published} == expected | {3000, 6363, 9090}


def test_its_ports_are_set_by_the_same_variables() -> None:
    names = ["temporal", "temporal_ui", "redis", "kafka", "elasticsearch", "s3"]
    wanted = {name: 40000 + number for number, name in enumerate(names)}
    compose = parse({port_variable(name): str(port) for name, port in wanted.items()})
    assert set(wanted.values()) < {port for _, port in published_ports(compose)}
    advertised = compose["services"]["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert f"127.0.0.1:{wanted['kafka']}" in advertised


def test_every_server_has_a_health_check_and_every_job_ends(compose: dict[str, Any]) -> None:
    jobs = {
        name
        for service in compose["services"].values()
        for name, how in service.get("depends_on", {}).items()
        if how["condition"] == "service_completed_successfully"
    }
    assert jobs == {"temporal-schema", "temporal-setup"}
    assert {name for name, service in compose["services"].items() if "healthcheck" not in service} == jobs


def test_each_service_waits_for_the_health_of_others(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for service in services.values():
        for name, how in service.get("depends_on", {}).items():
            assert how["condition"] == "service_completed_successfully" or "healthcheck" in services[name]
            assert how["condition"] != "service_started"


def test_programs_have_settings_that_exist(compose: dict[str, Any]) -> None:
    known = {name for name, _ in variables(Settings)}
    programs = {name: service for name, service in compose["services"].items() if "build" in service}
    assert set(programs) == {"worker", "projector-documents", "projector-graph"}
    for service in programs.values():
        ours = {name: value for name, value in service["environment"].items() if name.startswith("ONCELOG_")}
        assert set(ours) <= known
        values = {name.removeprefix("ONCELOG_").lower(): value for name, value in ours.items()}
        assert Settings.model_validate(nested(values)).projection == "stream"


def test_programs_are_led_to_services_that_exist(compose: dict[str, Any]) -> None:
    environment = compose["services"]["worker"]["environment"]
    addresses = [value for name, value in environment.items() if name.endswith(("_URL", "_SERVERS", "_ADDRESS"))]
    hosts = {urlsplit(each if "://" in each else f"//{each}").hostname for each in addresses} - {"127.0.0.1"}
    waited_for = compose["services"]["worker"]["depends_on"]
    assert hosts == {"temporal", "redis", "kafka", "elasticsearch", "s3", "terminusdb"}
    assert hosts - {"temporal"} <= set(waited_for)
    assert "temporal" in compose["services"]["temporal-setup"]["depends_on"]


def test_programs_may_write_nothing_but_temporary_files(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        if "build" in service:
            assert service["read_only"]
            assert service["tmpfs"] == ["/tmp"]
            assert service["cap_drop"] == ["ALL"]


def test_all_data_lies_in_named_volumes(compose: dict[str, Any]) -> None:
    mounts = [mount for service in compose["services"].values() for mount in service.get("volumes", [])]
    used = {mount["source"] for mount in mounts if mount["type"] == "volume"}
    assert (
        used
        == set(compose["volumes"])
        == {"postgresql", "redis", "kafka", "elasticsearch", "s3", "terminusdb", "prometheus"}
    )


def test_mounted_files_exist(compose: dict[str, Any]) -> None:
    mounts = [mount for service in compose["services"].values() for mount in service.get("volumes", [])]
    mounted = {Path(mount["source"]).relative_to(ROOT) for mount in mounts if mount["type"] == "bind"}
    files = {path.relative_to(ROOT) for path in (ROOT / "monitoring").rglob("*.yml") if "test" not in path.name}
    assert mounted == {*files, Path("monitoring/dashboards")}


def test_grafana_is_given_a_source_and_dashboards(compose: dict[str, Any]) -> None:
    grafana = compose["services"]["grafana"]
    mounts = {Path(mount["source"]).name: mount["target"] for mount in grafana["volumes"]}
    folder = ROOT / "monitoring" / "grafana"
    source = yaml.safe_load((folder / "datasources.yml").read_text())["datasources"][0]
    address = urlsplit(source["url"])
    assert compose["services"][address.hostname]["ports"][0]["target"] == address.port
    scraping = yaml.safe_load((ROOT / "monitoring" / "prometheus.yml").read_text())
    assert source["jsonData"]["timeInterval"] == scraping["global"]["scrape_interval"]
    provider = yaml.safe_load((folder / "dashboards.yml").read_text())["providers"][0]
    assert provider["options"]["path"] == mounts["dashboards"]
    home = Path(grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert str(home.parent) == mounts["dashboards"]
    assert (ROOT / "monitoring" / "dashboards" / home.name).is_file()


def test_temporal_is_set_as_in_the_stack(compose: dict[str, Any]) -> None:
    content = compose["configs"]["temporal-dynamic"]["content"]
    for name, value in DYNAMIC_SETTINGS.items():
        assert f"{name}: [{{value: {value}}}]" in content
    setup = compose["services"]["temporal-setup"]["command"][0]
    for name, kind in SEARCH_ATTRIBUTES.items():
        assert name in setup
        assert f"--type {kind}" in setup


def test_its_comment_names_the_variables_of_the_stack(compose: dict[str, Any]) -> None:
    comment = FILE.read_text().partition("\nname:")[0]
    for definition in DEFAULT:
        for name, value in BY_NAME[definition.name].environment(PORTS).items():
            if name != "AWS_DEFAULT_REGION":
                assert f"{name}={value}" in comment
    s3 = compose["services"]["s3"]["environment"]
    assert (s3["ROOT_ACCESS_KEY_ID"], s3["ROOT_SECRET_ACCESS_KEY"]) == (ACCESS_KEY, SECRET_KEY)


def nested(values: Mapping[str, str]) -> dict[str, Any]:
    """Return settings as their model has them, those of a server in its own part."""
    parts: dict[str, Any] = {}
    for name, value in values.items():
        server, _, own = name.partition("_")
        if server in ("redis", "kafka", "elasticsearch", "s3", "terminusdb"):
            parts.setdefault(server, {})[own] = value
        else:
            parts[name] = value
    return parts


def published_ports(compose: dict[str, Any]) -> set[tuple[str, int]]:
    """Address and port of everything that can be reached from outside the containers."""
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    return {(port["host_ip"], int(port["published"])) for port in ports}
