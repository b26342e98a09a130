"""A plugin of pytest: Redis gets the scripts of a folder in place of those of the same name."""

import os
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

#: The folder with the mutated scripts.
VARIABLE = "ONCELOG_TEST_LUA"


class _Lua:
    """The folder ``lua`` as ``importlib.resources`` gives it, with some files replaced."""

    def __init__(self, folder: Any, replaced: Path) -> None:
        self._folder = folder
        self._replaced = replaced

    def __truediv__(self, name: str) -> Any:
        if name == "lua":
            return _Lua(self._folder / name, self._replaced)
        mutated = self._replaced / name
        return mutated if mutated.exists() else self._folder / name


if VARIABLE in os.environ:
    replaced = Path(os.environ.pop(VARIABLE))  # Settings refuse names that they do not know
    pytest.MonkeyPatch().setattr("oncelog.stores.redis.redis.files", lambda package: _Lua(files(package), replaced))
