"""The printed report: ratios first, then what they are made of."""

import statistics
from collections.abc import Callable, Iterable

from rich.console import Console
from rich.table import Table

from benchmarks.costs import Block, Cost
from benchmarks.load import Measurement
from benchmarks.raw_store import Batch
from benchmarks.streams import StreamCost

PAIRS = (
    ("Oncelog", "floor"),
    ("Oncelog", "floor of 7"),
    ("Oncelog, eager", "floor, eager"),
    ("Oncelog, eager", "floor of 7, eager"),
    ("Oncelog, early", "DBOS"),
    ("Oncelog, eager", "DBOS"),
    ("Oncelog", "DBOS"),
)

Figure = Callable[[Measurement], float]
FIGURES: dict[str, Figure] = {
    "throughput": lambda load: load.throughput,
    "p50": lambda load: load.p50_ms,
    "p99": lambda load: load.p99_ms,
}


def print_report(
    console: Console, blocks: list[Block], costs: list[Cost], streams: list[StreamCost], batches: list[Batch]
) -> None:
    """Print everything, medians over the rounds."""
    concurrencies = sorted({block.load.concurrency for block in blocks})
    for table in (
        _ratios(blocks, concurrencies),
        _figures(blocks, concurrencies),
        _cpu(blocks, max(concurrencies)),
        _costs(costs),
        _streams(streams),
        _batches(batches),
    ):
        console.print(table)
        console.print()


def _ratios(blocks: list[Block], concurrencies: list[int]) -> Table:
    table = _table("Ratios (throughput: more is better; latencies: less is better)", "")
    for concurrency in concurrencies:
        for figure in FIGURES:
            table.add_column(f"{figure}\nat {concurrency}", justify="right")
    for one, other in PAIRS:
        cells = [
            f"{_ratio(blocks, one, other, concurrency, figure):.2f}"
            for concurrency in concurrencies
            for figure in FIGURES.values()
        ]
        table.add_row(f"{one} / {other}", *cells)
    return table


def _figures(blocks: list[Block], concurrencies: list[int]) -> Table:
    table = _table("Figures", "")
    for concurrency in concurrencies:
        for unit in ("commands/s", "p50 ms", "p99 ms"):
            table.add_column(f"{unit}\nat {concurrency}", justify="right")
    for name in dict.fromkeys(block.contender for block in blocks):
        cells = [
            f"{statistics.median(_each(blocks, name, concurrency, figure).values()):.1f}"
            for concurrency in concurrencies
            for figure in FIGURES.values()
        ]
        table.add_row(name, *cells)
    return table


def _cpu(blocks: list[Block], concurrency: int) -> Table:
    table = _table(f"CPU per command at {concurrency} (ms)", "")
    chosen = [block for block in blocks if block.load.concurrency == concurrency]
    parts = list(chosen[0].cpu_s)
    for part in [*parts, "all"]:
        table.add_column(part, justify="right")
    for name in dict.fromkeys(block.contender for block in chosen):
        own = [block.cpu_ms_each for block in chosen if block.contender == name]
        figures = [statistics.median(each[part] for each in own) for part in parts]
        table.add_row(name, *(f"{figure:.1f}" for figure in [*figures, sum(figures)]))
    return table


def _costs(costs: list[Cost]) -> Table:
    table = _table("Per command", "", "history events", "workflow tasks", "requests")
    for cost in costs:
        counts = [str(count) if count is not None else "" for count in (cost.history_events, cost.workflow_tasks)]
        table.add_row(cost.contender, *counts, _words(cost.requests.items()))
    return table


def _streams(streams: list[StreamCost]) -> Table:
    table = _table("A commit (without Temporal) by length of the stream", "events", "the process knows")
    table.add_column("p50 ms", justify="right")
    table.add_column("to the shortest", justify="right")
    table.add_column("requests")
    shortest = {cost.knowing: cost.p50_ms for cost in reversed(streams)}
    for cost in sorted(streams, key=lambda cost: cost.knowing):
        ratio = cost.p50_ms / shortest[cost.knowing]
        row = (f"{cost.length:,}", cost.knowing, f"{cost.p50_ms:.1f}", f"{ratio:.2f}", _words(cost.requests.items()))
        table.add_row(*row)
    return table


def _batches(batches: list[Batch]) -> Table:
    """Show each contender beside the first one, which is what S3 takes."""
    table = _table(f"{batches[0].events:,} events at once", "")
    for column in ("events/s", f"to {batches[0].contender}", "CPU ms of this process per event"):
        table.add_column(column, justify="right")
    rates = {(batch.contender, batch.turn): batch.rate for batch in batches}
    for name in dict.fromkeys(batch.contender for batch in batches):
        own = [batch for batch in batches if batch.contender == name]
        ratio = statistics.median(batch.rate / rates[batches[0].contender, batch.turn] for batch in own)
        cpu_ms = statistics.median(batch.cpu_s * 1000 / batch.events for batch in own)
        table.add_row(name, f"{statistics.median(batch.rate for batch in own):,.0f}", f"{ratio:.2f}", f"{cpu_ms:.2f}")
    return table


def _each(blocks: list[Block], name: str, concurrency: int, figure: Figure) -> dict[int, float]:
    """Return a contender's figure by round."""
    return {
        block.turn: figure(block.load)
        for block in blocks
        if (block.contender, block.load.concurrency) == (name, concurrency)
    }


def _ratio(blocks: list[Block], one: str, other: str, concurrency: int, figure: Figure) -> float:
    """Return the median of each round's ratio, since what slows a machine down slows a round down."""
    ours, others = _each(blocks, one, concurrency, figure), _each(blocks, other, concurrency, figure)
    return statistics.median(ours[turn] / others[turn] for turn in ours)


def _words(requests: Iterable[tuple[str, float]]) -> str:
    return ", ".join(f"{number:g} {what}" for what, number in sorted(requests))


def _table(title: str, *columns: str) -> Table:
    return Table(*columns, title=title, title_justify="left", box=None, pad_edge=False)
