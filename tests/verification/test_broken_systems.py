"""The checker catches every broken version of the system by its code, and nothing in the system as it is."""

import pytest

from tests.verification import broken, broken_unique
from tests.verification.broken import Version, hunt

pytestmark = pytest.mark.no_cover

SCHEDULES_MAX = 400
HARMLESS_SCHEDULES = 40

VERSIONS = [*broken.VERSIONS, *broken_unique.VERSIONS]
BROKEN = [version for version in VERSIONS if version.codes]
HARMLESS = [version for version in VERSIONS if not version.codes]


@pytest.mark.parametrize("version", BROKEN, ids=lambda version: version.name)
def test_a_broken_version_is_caught(version: Version):
    assert hunt(version, schedules_max=SCHEDULES_MAX).caught


@pytest.mark.parametrize("version", HARMLESS, ids=lambda version: version.name)
def test_a_harmless_version_is_not_complained_about(version: Version):
    hunted = hunt(version, schedules_max=HARMLESS_SCHEDULES)
    assert not hunted.caught, hunted.report.findings
