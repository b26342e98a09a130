"""Settings of tests: read from variables, and with another address or another user of one server."""

from collections.abc import Mapping
from typing import Any

import pytest

from oncelog.settings import Settings


def settings_from(variables: Mapping[str, str], **given: Any) -> Settings:
    """Return the settings that these variables lead to, and no others of the environment's."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            if name.startswith("ONCELOG_"):
                patch.setenv(name, value)
        return Settings(**given)


def with_server(settings: Settings, **servers: Mapping[str, Any]) -> Settings:
    """Return the settings with other values for some servers: ``with_server(settings, redis={"url": …})``."""
    update = {}
    for name, values in servers.items():
        server = getattr(settings, name)
        update[name] = type(server).model_validate(server.model_dump() | dict(values))
    return settings.model_copy(update=update)
