"""Objects of an application's own, by their names."""

from importlib import import_module


def split_name(name: str) -> tuple[str, str] | None:
    """Return the module and the attribute that ``module:object`` names; None for another form."""
    module, _, attribute = name.partition(":")
    return (module, attribute) if module and attribute else None


def named_object(module: str, attribute: str) -> object:
    """Return the object by its attribute, which may have dots; raises the errors of its import and look-up."""
    found: object = import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part)
    return found
