"""What is timed: ratios within one run, on toys and on Gemma-3-270M. `make bench` prints them as tables.

Machines are noisy, so nothing here fails. Where two things are compared they take turns, and the median of the ratios
is what counts.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

import mechpaint as mp
from mechpaint.engine.fused_attention import fastest_attention
from mechpaint.engine.route_runner import RouteRunner
from mechpaint.hooks import Reroute, Skip
from mechpaint.routes.route import Route
from tests.benchmarks import generation, report_page, short_prompts, toy_data, toy_training
from tests.benchmarks.paper_suite import paper_suite


def seconds(work: Callable[[], object]) -> float:
    """How long it takes, once."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compared(a: Callable[[], object], b: Callable[[], object], times: int) -> str:
    """a's time over b's, in turns, after a warm-up of both: of the medians, and of the fastest."""
    a()
    b()
    above, below = [], []
    for i in range(times):
        for work, found in ((a, above), (b, below)) if i % 2 else ((b, below), (a, above)):
            found.append(seconds(work))
    medians = statistics.median(above) / statistics.median(below)
    return f"{medians:.3f}  (of the fastest {min(above) / min(below):.3f}; {times} times each)"


class Bench:
    """The model, the tokens, and each measurement as a row of text."""

    def __init__(self) -> None:
        self.model = mp.load("gemma-3-270m")
        self.n_layers = len(self.model.blocks)
        self.tokens = torch.randint(10, 200_000, (4, 64), generator=torch.Generator().manual_seed(0))
        self.routes = paper_suite(self.n_layers)
        self.table = Table("what", "measured", "wanted", title="Gemma-3-270M, 4 x 64 tokens")

    def add(self, what: str, found: str, wanted: str) -> None:
        """A row."""
        self.table.add_row(what, found, wanted)

    def sweep_against_its_parts(self) -> float:
        """The sweep's time over its layer calls and unembeddings, each timed alone. Gives the sweep's seconds.

        Every few routes the sweep waits while a run of all layers and a block of logits are timed alone, so that both
        meet the machine in the same mood.
        """
        runner = RouteRunner(self.model)
        layers_ = runner.fastest()
        attention = fastest_attention(runner, layers_)
        with attention():
            layer_inputs = runner.record(self.tokens)

        def every_layer() -> None:
            residual = layer_inputs.embeddings
            with attention():
                for layer, block in enumerate(layers_):
                    residual = runner.call(layer, residual, layer_inputs.layers[layer], block)

        rows = layer_inputs.embeddings[:, -1].repeat(32, 1)
        every_layer()
        runner.tail(rows)
        sweep = mp.sweep(self.model, self.tokens, self.routes, positions="last")
        layers: list[float] = []
        tails: list[float] = []
        spent, began = 0.0, time.perf_counter()
        for i, _ in enumerate(track(sweep, "sweep", total=len(sweep))):
            spent += time.perf_counter() - began
            if i % 5 == 0:
                layers.append(seconds(every_layer))
                tails.append(seconds(lambda: runner.tail(rows)))
            began = time.perf_counter()
        spent += time.perf_counter() - began
        blocks = len(sweep) * len(self.tokens) / len(rows)
        alone = statistics.mean(layers) / self.n_layers * sweep.layer_calls + statistics.mean(tails) * blocks
        self.add(
            f"sweep over its {sweep.layer_calls:,} layer calls and {blocks:.1f} blocks of logits, timed alone",
            f"{spent / alone:.3f}  ({spent:.1f} s over {alone:.1f} s)",
            "at most 1.03",
        )
        return spent

    def sweep_against_independent_runs(self, sweep: float) -> None:
        """One full-logits forward a route, each route once."""

        def alone(route: Route) -> None:
            with mp.attach(self.model, Reroute(route)):
                self.model(self.tokens)

        distinct = list(dict.fromkeys(self.routes))
        total = sum(seconds(lambda route=route: alone(route)) for route in track(distinct, "independent runs"))
        self.add(
            f"independent forwards of {len(distinct)} routes over the sweep",
            f"{total / sweep:.2f}  ({total:.1f} s over {sweep:.1f} s)",
            "at least 3.5",
        )

    def attach_against_the_bare_bridge(self) -> None:
        """Inside the context, where a session spends its time; and with entering and leaving it."""

        def attached() -> None:
            with mp.attach(self.model, mp.HookSet()):
                self.model(self.tokens)

        def bare() -> object:
            return self.model(self.tokens)

        self.add(
            "attach of nothing over the bare bridge, entering it each time",
            compared(attached, bare, 25),
            "at most 1.02",
        )

    def skipping(self) -> None:
        """Ten layers against eighteen, without logits: by layers alone 0.556."""
        runner = RouteRunner(self.model)
        layer_inputs = runner.record(self.tokens)
        short, full = Skip(5, 12).route(self.n_layers), Route.identity(self.n_layers)
        found = compared(lambda: runner.run(short, layer_inputs), lambda: runner.run(full, layer_inputs), 25)
        self.add("10 of 18 layers over all of them (10/18 = 0.556)", found, "in proportion")


def main() -> None:
    """Measure and print."""
    bench = Bench()
    with torch.no_grad():
        bench.attach_against_the_bare_bridge()
        bench.skipping()
        sweep = bench.sweep_against_its_parts()
        bench.sweep_against_independent_runs(sweep)
        for row in short_prompts.rows(bench.model, bench.routes):
            bench.add(*row)
    Console().print(bench.table)


def toys() -> None:
    """The toy models: their data and their training."""
    table = Table("what", "measured", "wanted", title="Toys, on one core")
    for row in (*toy_data.rows(), *toy_training.rows()):
        table.add_row(*row)
    Console().print(table)


if __name__ == "__main__":
    report_page.main()
    toys()
    generation.main()
    main()
