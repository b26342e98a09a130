"""Profiles: the variables of several installations in one file, chosen by name."""

import os
import tomllib
from pathlib import Path

from rich.table import Table

from oncelog.cli.exits import Exit
from oncelog.cli.reporting import report_each, reported
from oncelog.cli.terminal import errors, text_line
from oncelog.errors import SettingsInvalid

#: The variables a profile may set, read by the settings, the Temporal client and the clients of S3.
PREFIXES = ("ONCELOG_", "TEMPORAL_", "AWS_")


@reported
def profiles() -> Exit:
    """List the profiles, and the file they lie in; ``oncelog --profile NAME`` uses one."""
    path = _path()
    found = read_profiles(path)

    def view() -> Table:
        table = Table("profile", "variables", box=None, pad_edge=False)
        for name, variables in found.items():
            table.add_row(text_line(name), text_line(", ".join(variables)))
        return table

    report_each(({"profile": name, "variables": list(variables)} for name, variables in found.items()), view)
    errors.print(f"from {path}" if found else f"no profiles in {path}")
    return Exit.FINE if found else Exit.FINDINGS


def use(name: str) -> None:
    """Set the variables of a profile, except those that the environment sets itself; raises SettingsInvalid."""
    path = _path()
    found = read_profiles(path)
    if name not in found:
        known = ", ".join(found) or "none"
        raise SettingsInvalid(f"profile {name}: expected one of {path}, which has {known}")
    for variable, value in found[name].items():
        os.environ.setdefault(variable, value)


def _path() -> Path:
    """Return the file with the profiles, whether it exists or not."""
    chosen = os.environ.get("ONCELOG_PROFILES_FILE")
    folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "oncelog"
    return Path(chosen) if chosen else folder / "profiles.toml"


def read_profiles(path: Path) -> dict[str, dict[str, str]]:
    """Return the variables by profile; of no file, none. Raises SettingsInvalid, without a value in the message."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SettingsInvalid(f"{path}: {error.strerror}") from error
    except ValueError as error:  # its message cites a place, and no value
        raise SettingsInvalid(f"{path}: expected TOML: {error}") from error
    return {name: _variables(path, name, table) for name, table in tables.items()}


def _variables(path: Path, name: str, table: object) -> dict[str, str]:
    if not isinstance(table, dict):
        raise SettingsInvalid(f'{path}: expected tables of variables, such as [{name}], found "{name}" = a value')
    variables: dict[str, str] = {}
    for variable, value in table.items():
        if not variable.startswith(PREFIXES):
            expected = ", ".join(f"{prefix}…" for prefix in PREFIXES)
            raise SettingsInvalid(f"{path}: profile {name}: expected {expected}, found {variable}")
        if not isinstance(value, str | int | float):
            raise SettingsInvalid(f"{path}: profile {name}: expected a text for {variable}")
        variables[variable] = str(value).lower() if isinstance(value, bool) else str(value)
    return variables
