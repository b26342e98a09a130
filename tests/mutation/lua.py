"""Hand-made mutations of the Lua scripts, each of which the contract suite on a real Redis must notice.

``python -m tests.mutation.lua [SCRIPT …]`` starts a Redis of its own, applies one after the other (or those of some
scripts) and runs the suite; exit code 1 if a mutation survives.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stack import Stack
from tests.mutation.trials import Trials, Verdict

SCRIPTS = Path(str(files("oncelog.stores.redis"))) / "lua"
TEST_LIMIT_S = 180.0
SUITE = (
    "test_turns.py",
    "test_statuses.py",
    "test_queue_in_redis.py",
    "test_redis_expiry.py",
    "test_overwritten_redis.py",
)


@dataclass(frozen=True)
class Mutation:
    """One change of a script: ``before`` occurs in it once; ``effect``: the fault that it plants."""

    script: str
    effect: str
    before: str
    after: str = ""

    def applied(self) -> str:
        """Return the mutated script; raises ValueError if it has changed since."""
        text = (SCRIPTS / f"{self.script}.lua").read_text()
        if text.count(self.before) != 1:
            raise ValueError(f"{self.script}.lua, {self.effect}: expected its text once; adapt the mutation")
        return text.replace(self.before, self.after)


_GRANT = """  redis.call('SET', turn, holder, 'PX', lease_ms)
  redis.call('ZREM', waiting, holder)
  redis.call('ZREM', seen, holder)
"""
_LEAVE = """  redis.call('ZREM', waiting, holder)
  redis.call('ZREM', seen, holder)
end"""

MUTATIONS = (
    Mutation("take_turn", "a place is kept for ever", "'-inf', now_ms - patience_ms", "'-inf', '-inf'"),
    Mutation("take_turn", "a place of a holder gone is kept", "  redis.call('ZREM', waiting, name)\n"),
    Mutation("take_turn", "a holder gone is looked at for ever", "  redis.call('ZREM', seen, name)\n"),
    Mutation("take_turn", "milliseconds are seconds", "time[1] * 1000 + math.floor(time[2] / 1000)", "time[1]"),
    Mutation("take_turn", "a turn has no lease", ", 'PX', lease_ms)", ")"),
    Mutation("take_turn", "a turn without a lease is believed", "  current = false --", "  --"),
    Mutation("take_turn", "the holder may not ask again", "current == holder or ", ""),
    Mutation("take_turn", "everybody holds the turn", "if current == holder or", "if true or"),
    Mutation("take_turn", "the queue is passed", "(not first or first == holder)", "true"),
    Mutation("take_turn", "the first in the queue is not served", "(not first or first == holder)", "not first"),
    Mutation("take_turn", "the holder stays in the queue", _GRANT, _GRANT.replace(", waiting", ", head .. '?'")),
    Mutation("take_turn", "the holder stays among those seen", _GRANT, _GRANT.replace(", seen", ", head .. '?'")),
    Mutation(
        "take_turn", "head and watermark are swapped", "known[1], known[2], known[3]", "known[2], known[1], known[3]"
    ),
    Mutation("take_turn", "the state is forgotten", "known[2], known[3]", "known[2], false"),
    Mutation("take_turn", "who does not queue stands in the queue", "if ARGV[4] ~= '1' then", "if false then"),
    Mutation("take_turn", "all have the same ticket", "(last[2] or 0) + 1", "1"),
    Mutation("take_turn", "the last one is served first", "(last[2] or 0) + 1", "(last[2] or 0) - 1"),
    Mutation(
        "take_turn", "a new ticket each time", "if not redis.call('ZSCORE', waiting, holder) then", "if true then"
    ),
    Mutation(
        "take_turn",
        "asking again keeps no place",
        "redis.call('ZADD', seen, now_ms",
        "redis.call('ZADD', seen, 'NX', now_ms",
    ),
    Mutation("take_turn", "the queue never expires", "redis.call('PEXPIRE', waiting, patience_ms)\n"),
    Mutation("take_turn", "those seen never expire", "redis.call('PEXPIRE', seen, patience_ms)\n"),
    Mutation(
        "take_turn",
        "the holder does not count",
        "redis.call('ZRANK', waiting, holder) + (current and 1 or 0)",
        "redis.call('ZRANK', waiting, holder)",
    ),
    Mutation("settle_turn", "a head is lowered", "tonumber(sequence) >= (known_head or 0)", "true"),
    Mutation("settle_turn", "a head is saved once", "tonumber(sequence) >= (known_head or 0)", "not known_head"),
    Mutation("settle_turn", "a watermark is lowered", "tonumber(published) >= (known_published or 0)", "true"),
    Mutation("settle_turn", "a watermark of nothing is saved", "(sequence ~= '' or published ~= '0')", "true"),
    Mutation("settle_turn", "a watermark alone is not saved", "(sequence ~= '' or published ~= '0')", "sequence ~= ''"),
    Mutation(
        "settle_turn",
        "generations share a watermark",
        "redis.call('HSET', head, watermark, published)",
        "redis.call('HSET', head, 'published', published)",
    ),
    Mutation("settle_turn", "a head never expires", "redis.call('EXPIRE', head, memory_s)\n"),
    Mutation("settle_turn", "every settlement releases", "if release == '1' then", "if true then"),
    Mutation("settle_turn", "no settlement releases", "if release == '1' then", "if false then"),
    Mutation("settle_turn", "anybody's turn is released", "if redis.call('GET', turn) == holder then", "if true then"),
    Mutation("settle_turn", "who leaves stays in the queue", _LEAVE, _LEAVE.replace(", waiting", ", head .. '?'")),
    Mutation("settle_turn", "who leaves stays among those seen", _LEAVE, _LEAVE.replace(", seen", ", head .. '?'")),
    Mutation("claim_command", "a claim is taken over", "if redis.call('EXISTS', KEYS[1]) == 1 then", "if false then"),
    Mutation("claim_command", "a claim never expires", "redis.call('EXPIRE', KEYS[1], ARGV[1])\n"),
    Mutation(
        "claim_command", "a duplicate is taken for the first", "return redis.call('HGETALL', KEYS[1])", "return false"
    ),
    Mutation("complete_command", "two contents are mixed", "  redis.call('DEL', KEYS[1])\n"),
    Mutation(
        "complete_command", "what stands is dropped", "if standing and standing ~= ARGV[2] then", "if standing then"
    ),
    Mutation(
        "complete_command", "a stage loses its first time", "redis.call('HSETNX', KEYS[1]", "redis.call('HSET', KEYS[1]"
    ),
    Mutation("complete_command", "a result is not kept", "unpack(ARGV, 4, stages_at - 1)", "unpack(ARGV, 4, 5)"),
    Mutation("complete_command", "a status never expires", "redis.call('EXPIRE', KEYS[1], ARGV[1])\n"),
)


class _Scripts:
    """The folder of the scripts as ``importlib.resources`` gives it, with one of them mutated."""

    def __init__(self, folder: Traversable, mutation: Mutation) -> None:
        self._folder = folder
        self._name = f"{mutation.script}.lua"
        self._text = mutation.applied()

    def __truediv__(self, name: str) -> Any:
        if name == "lua":
            return self
        return SimpleNamespace(read_text=lambda: self._text) if name == self._name else self._folder / "lua" / name


def planting(mutation: Mutation) -> Callable[[], None]:
    """Return the call after which Redis gets the mutated script."""

    def plant() -> None:
        pytest.MonkeyPatch().setattr(
            "oncelog.stores.redis.server.files", lambda package: _Scripts(files(package), mutation)
        )

    return plant


class Mutations:
    """Mutations tried one after the other on the collected suite; ``survivors``: unnoticed ones."""

    def __init__(self, mutations: Sequence[Mutation]) -> None:
        self._mutations = mutations
        self.survivors: list[Mutation] = []

    def run(self, trials: Trials) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            output = Path(scratch) / "output"
            limits_s = dict.fromkeys(trials.items, TEST_LIMIT_S)
            if trials.run(list(limits_s), plant=lambda: None, limits_s=limits_s, output=output).test:
                raise pytest.UsageError(f"the suite fails without a mutation: {output.read_text()}")
            for mutation in self._mutations:
                ended = trials.run(list(limits_s), plant=planting(mutation), limits_s=limits_s, output=output)
                self.survivors += [mutation] * (ended.verdict is Verdict.SURVIVED)
                print(f"{ended.verdict:9} {mutation.script}.lua: {mutation.effect}   {ended.test}", flush=True)


def main(scripts: Sequence[str]) -> int:
    """Run the mutations, print how each ended and the score, and return the exit code."""
    mutations = [mutation for mutation in MUTATIONS if not scripts or mutation.script in scripts]
    use = Mutations(mutations)
    folder = Path(__file__).parents[1] / "contract"
    with Stack.scratch() as stack:
        stack.up(["redis"])
        os.environ.update(stack.environment(), ONCELOG_TEST_STACK="existing")
        arguments = ["-q", "-s", "-p", "no:cacheprovider", "-m", "integration"]
        code = pytest.main([*arguments, *(str(folder / name) for name in SUITE)], plugins=[Trials(use.run)])
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        return int(code)
    print(f"Lua: {len(mutations) - len(use.survivors)} of {len(mutations)} mutations noticed")
    return 1 if use.survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
