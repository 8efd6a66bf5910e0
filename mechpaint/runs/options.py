"""Options of a run besides the analysis's own settings: keywords of `analyze`, options on the command line.

Each field's help is its help on the command line. Nothing here needs torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

MODEL, RUNNING, OUTPUT = "Model and tasks", "Running", "Output"
"""The parts of a command's help, after the analysis's own options."""


def option(default: Any, text: str, panel: str = MODEL) -> Any:
    """A field with its help, and the part of the help that it is in."""
    return field(default=default, metadata={"help": text, "panel": panel})


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """The model, and where it runs."""

    model: str | None = option(None, "A preset, a local Hugging Face folder, or a name on the hub.")
    device: str | None = option(None, "cpu, cuda, mps, …; by default the fastest there is.", RUNNING)
    device_map: str | None = option(None, "In place of a device: auto spreads the model over all there are.", RUNNING)
    dtype: str | None = option(None, "float32 (the default), bfloat16, float16.", RUNNING)


@dataclass(frozen=True, kw_only=True)
class HookOptions:
    """Hook sets under which everything runs; a search takes none, since they may not fit its routes."""

    hooks: str = option("", "Hook sets to run everything under, such as 'skip(4, 7)'.")


@dataclass(frozen=True, kw_only=True)
class TaskOptions:
    """The items that are scored."""

    task: list[str] = field(
        default_factory=list[str],
        metadata={"help": "What to measure; may be given several times. `mechpaint list` shows them.", "panel": MODEL},
    )
    limit: int = option(24, "How many items of each task; 0 for all, which may take days.")
    batch_size: int | None = option(
        None, "How many token rows go through the model together; by default as many as pay and fit.", RUNNING
    )
    seed: int = option(0, "Of the items' choice and order.")
    task_path: str | None = option(None, "A folder of YAML files that define tasks of lm-eval.")
    task_data: list[str] = field(
        default_factory=list[str],
        metadata={
            "help": "NAME=FILE: a local file for a task of lm-eval; NAME:fewshot=FILE for few-shot examples.",
            "panel": MODEL,
        },
    )
    num_fewshot: int | None = option(None, "Examples before each question of lm-eval's tasks; by default as they say.")


@dataclass(frozen=True, kw_only=True)
class SearchOptions(TaskOptions):
    """The items that a search scores and holds out."""

    limit: int = option(24, "How many items of each task the search scores.")
    held_out: int = option(100, "How many more, which it does not see, the routes that it finds are scored on.")
    seed: int = option(0, "Of the items' choice and order, and of everything random in the search.")


@dataclass(frozen=True, kw_only=True)
class ExecutionOptions:
    """Where the run is kept, and what computes it."""

    out: str = option("runs", "The folder of all runs.", OUTPUT)
    shard: str | None = option(
        None, "I/N, such as 2/8: compute only this share, where N processes work in one folder of runs.", RUNNING
    )
    engine: str = option(
        "here", "What computes: here, or ray (workers of a Ray cluster, or of one for this run).", RUNNING
    )
    workers: int | None = option(
        None, "How many workers of Ray; by default one for each GPU, or without GPUs one for each processor.", RUNNING
    )
    ray_address: str | None = option(
        None, "The Ray cluster, such as 10.0.0.1:6379; by default RAY_ADDRESS, or else this machine.", RUNNING
    )
