"""Code of the application's own, named as ``module:object`` on a command line."""

import sys
from pathlib import Path
from typing import TypeVar

from oncelog.errors import InputInvalid
from oncelog.named_object import named_object, split_name

Kind = TypeVar("Kind")


def load_object(path: str, kind: type[Kind]) -> Kind:
    """Return the object that ``module:object`` names; modules of the working folder are found, too.

    Raises InputInvalid unless it is there and of that kind.
    """
    if (name := split_name(path)) is None:
        raise InputInvalid(f"expected module:object, such as shop.views:orders, found {path!r}")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)
    try:
        found = named_object(*name)
    except (ImportError, AttributeError) as error:
        raise InputInvalid(f"{path}: {error}; is it installed here, and spelled so?") from error
    if not isinstance(found, kind):
        raise InputInvalid(f"{path}: expected a {kind.__name__}, found {type(found).__name__}")
    return found
