"""Analyses made up for the tests, one of each kind that has a measure of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch

import mechpaint as mp
from mechpaint.analysis import Experiment, ModelAnalysis
from mechpaint.errors import InputError
from mechpaint.hooks import ReadAttention, Skip
from mechpaint.report import Report, Table
from tests import tiny


@dataclass(frozen=True)
class Gaze(ModelAnalysis):
    """How much each head looks at the position where it is."""

    name: ClassVar[str] = "gaze"
    question: ClassVar[str] = "How much does each head look at itself?"
    columns: ClassVar = {"layer": int, "head": int, "itself": float, "much": bool}
    model: ClassVar[str] = "some/model"

    rows: int = field(default=2, metadata={"help": "How many sequences."})
    without: int = 2

    def hook_sets(self, n_layers):
        return {
            "all layers": ReadAttention(),
            f"without {self.without}": Skip(self.without, self.without) + ReadAttention(),
        }

    def measure(self, model, label, hook_set):
        assert not torch.is_grad_enabled()
        with mp.attach(model, hook_set) as session:
            model(tiny.tokens(self.rows))
        for visit, pattern in session["attention"].items():
            for head, mean in enumerate(pattern.diagonal(dim1=2, dim2=3).mean(dim=(0, 2)).tolist()):
                yield {"layer": visit.layer, "head": head, "itself": mean, "much": mean > 0.5}

    def report(self, table, facts):
        rows = [(label, str(route), str(len(table[table["label"] == label]))) for label, route in facts.routes.items()]
        found = Table("gaze", "Gaze", "Heads measured.", ("label", "route", "heads"), rows)
        return Report(f"Gaze of {facts.name}, {facts.n_layers} layers", ["Where heads look."], [found])


@dataclass(frozen=True)
class Walks(Experiment):
    """Where walks end that double a vector by random rotations."""

    name: ClassVar[str] = "walks"
    question: ClassVar[str] = "Where do random walks end?"
    columns: ClassVar = {"seed": int, "step": int, "where": float, "threads": int}

    seeds: tuple[int, ...] = field(default=(0, 1, 2, 3), metadata={"help": "Which walks.", "selects_only": True})
    steps: int = 5
    scale: float = 0.5
    scales: tuple[float, ...] = (1.0, 0.25)
    words: tuple[str, ...] | None = ("far", "off")
    title: str = "Walks"
    shown: bool = True
    loud: bool = False
    least: int | None = None

    def __post_init__(self):
        if self.steps < 1:
            raise InputError(f"expected 1 step or more, got {self.steps}")

    def trials(self) -> Mapping[str, int]:
        return {f"Seed {seed}": self.steps for seed in self.seeds}

    def measure(self, label, advance):
        seed = int(label.split()[1])
        generator = torch.Generator().manual_seed(seed)
        at = torch.randn(64, 64, generator=generator)
        for step in range(self.steps):
            at = torch.tanh(at @ torch.randn(64, 64, generator=generator)) * self.scale
            advance(1)
            threads = torch.get_num_threads()
            yield {"seed": seed, "step": step, "where": at.double().mean().item(), "threads": threads}

    def report(self, table):
        last = table.groupby("label", sort=False)["where"].last()
        rows = [(label, f"{where:.6f}", str(self.settings())) for label, where in last.items()]
        return Report(self.title, ["Walks."], [Table("ends", "Ends", "At the last step.", ("walk", "end", "as"), rows)])
