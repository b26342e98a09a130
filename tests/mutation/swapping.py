"""A function's code swapped for that of its mutant, wherever the function object is held already."""

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FunctionType


class MutantUnfit(Exception):
    """The mutant cannot take the place of its function: it closes over other names, or nothing holds the function."""


def swapper(file: Path, function: str, mutated: bytes) -> Callable[[], None]:
    """Return a call that swaps the code of a loaded function, which decorators and registries may hold.

    ``mutated``: the source of its whole module. Raises MutantUnfit.
    """
    codes = {
        code.co_firstlineno: code for code in _codes(compile(mutated, file, "exec")) if code.co_qualname == function
    }
    held = [
        each
        for each in gc.get_objects()
        if isinstance(each, FunctionType)
        and each.__code__.co_filename == str(file)
        and each.__code__.co_qualname == function
    ]
    pairs = [(each, codes.get(each.__code__.co_firstlineno)) for each in held]
    if not pairs or any(code is None or code.co_freevars != each.__code__.co_freevars for each, code in pairs):
        raise MutantUnfit("unfit")

    def swap() -> None:
        for each, code in pairs:
            each.__code__ = code  # type: ignore[assignment]

    return swap


def _codes(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)
