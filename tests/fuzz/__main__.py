"""Search with coverage as a guide: ``python -m tests.fuzz -max_total_time=300``; other options are libFuzzer's.

Atheris instruments the judging code and mutates the bytes from which Hypothesis draws definitions and documents, so
that a draw that reaches new code is kept. It ends with the first input that is beyond the clock.
"""

import sys
from typing import Any

import atheris

with atheris.instrument_imports(include=["oncelog.domain"]):
    from tests.fuzz.test_judging import test_no_input_holds_up_the_loop as judged


def main() -> None:
    harness: Any = judged  # Hypothesis adds an attribute that its types do not know
    atheris.Setup(sys.argv, harness.hypothesis.fuzz_one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
