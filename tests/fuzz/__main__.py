"""Search with coverage as a guide: ``python -m tests.fuzz -max_total_time=300``; other options are libFuzzer's.

Atheris instruments the judging code and mutates the bytes from which Hypothesis draws definitions and documents, so
that a draw that reaches new code is kept. It ends with the first input that is beyond the clock.
"""

import sys

import atheris

with atheris.instrument_imports(include=["oncelog.domain"]):
    from tests.fuzz.test_judging import test_no_input_holds_up_the_loop as judging


def main() -> None:
    atheris.Setup(sys.argv, judging.hypothesis.fuzz_one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
