"""The tables of docs/settings.md, made from the settings' own descriptions: ``python -m tests.docs.settings_page``."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr

from oncelog.settings import Settings, variables

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
BEGIN, END = "<!-- begin: made by python -m tests.docs.settings_page -->\n", "<!-- end -->\n"
NAMES = {
    "s3": "S3",
    "redis": "Redis",
    "kafka": "Kafka",
    "elasticsearch": "Elasticsearch",
    "terminusdb": "TerminusDB",
    "log": "Logs",
}


def tables() -> str:
    """Return one table for the program itself, and one for each server."""
    servers = {name: field.annotation for name, field in Settings.model_fields.items() if name in NAMES}
    prefixes = tuple(f"ONCELOG_{name.upper()}_" for name in servers)
    own = [pair for pair in variables(Settings) if not pair[0].startswith(prefixes)]
    parts = ["## Pipeline\n", *_table(own)]
    for name, model in servers.items():
        assert isinstance(model, type)
        assert issubclass(model, BaseModel)
        parts += [f"\n## {NAMES[name]}\n", *_table(sorted(variables(model, f"ONCELOG_{name.upper()}_"), key=_by_url))]
    return "\n".join(parts) + "\n"


def _by_url(pair: tuple[str, Any]) -> bool:
    """Sort the address first, whatever model the other fields come from."""
    return not pair[0].endswith("_URL") or pair[0].count("_") > 2


def _table(pairs: list[tuple[str, Any]]) -> Iterator[str]:
    yield "| variable | default | meaning |\n| --- | --- | --- |"
    for name, field in pairs:
        yield f"| `{name}` | {_default(field)} | {field.description} |"


def _default(field: Any) -> str:
    value = field.default
    if value is None or value == "" or isinstance(value, SecretStr) or value == {}:
        return "none"
    return str(value).lower() if isinstance(value, bool | int) else f"`{value}`"


def page() -> str:
    """Return the page as it has to be."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    assert end, f"{PAGE.name}: expected {BEGIN.strip()} and {END.strip()}"
    return f"{before}{BEGIN}\n{tables()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page())
