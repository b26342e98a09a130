"""Profiles: the variables of several installations in one file."""

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from oncelog.cli import profiles
from oncelog.cli.app import app
from oncelog.errors import SettingsInvalid

FILE = """
[staging]
ONCELOG_NAMESPACE = "staging"
ONCELOG_CHECK_GRACE_S = 60
AWS_PROFILE = "shop-staging"

[production]
TEMPORAL_PROFILE = "prod"
ONCELOG_REDIS_URL = "rediss://u:c4n4ry@redis.example.org:6380/0"
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "profiles.toml"
    path.write_text(FILE)
    monkeypatch.setattr(os, "environ", {"ONCELOG_PROFILES_FILE": str(path), "ONCELOG_CHECK_GRACE_S": "5"})
    return path


@pytest.mark.usefixtures("file")
def test_profile_sets_what_the_environment_does_not():
    profiles.use("staging")
    assert {name: os.environ[name] for name in ("ONCELOG_NAMESPACE", "AWS_PROFILE", "ONCELOG_CHECK_GRACE_S")} == {
        "ONCELOG_NAMESPACE": "staging",
        "AWS_PROFILE": "shop-staging",
        "ONCELOG_CHECK_GRACE_S": "5",
    }


@pytest.mark.usefixtures("file")
def test_profiles_are_listed_without_values():
    found = CliRunner().invoke(app, ["profiles", "--json"])
    assert [json.loads(line)["profile"] for line in found.stdout.splitlines()] == ["staging", "production"]
    assert "c4n4ry" not in found.output


def test_unknown_profile_is_refused(file: Path):
    found = CliRunner().invoke(app, ["--profile", "prod", "status", "c1"])
    assert found.exit_code == 2
    assert f"profile prod: expected one of {file}, which has staging, production" in found.output


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[staging", "expected TOML"),
        ("staging = 1", "expected tables of variables"),
        ('[staging]\nPATH = "c4n4ry"', "found PATH"),
        ("[staging]\nONCELOG_NAMESPACE = ['c4n4ry']", "expected a text for ONCELOG_NAMESPACE"),
    ],
)
def test_malformed_file_is_refused_without_its_values(file: Path, text: str, problem: str):
    file.write_text(text)
    with pytest.raises(SettingsInvalid, match=problem) as refused:
        profiles.use("staging")
    assert "c4n4ry" not in refused.value.message


def test_absent_file_has_no_profiles(file: Path):
    file.unlink()
    with pytest.raises(SettingsInvalid, match="which has none"):
        profiles.use("staging")
