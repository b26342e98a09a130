"""One installation of its own for each test."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from oncelog.settings import Settings
from tests.integration.installation import Installation


@pytest.fixture
async def installation(
    settings: Settings, environment: Mapping[str, str], tmp_path: Path
) -> AsyncIterator[Installation]:
    async with Installation.opened(settings, environment, tmp_path) as opened:
        yield opened
