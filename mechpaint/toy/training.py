"""Training of toy models, short enough to read in one sitting.

Batch i is a function of the task, the seed and i. So an interrupted training resumes from the weights, the optimiser's
state and the step alone, and ends bit for bit as if uninterrupted.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from mechpaint.display.progress import ticking
from mechpaint.display.summary import Summarized, Summary
from mechpaint.engine.attach import attach
from mechpaint.errors import TrainingError
from mechpaint.files import write_text
from mechpaint.routes.hookset import ATTENTION, HookSet, Patterns
from mechpaint.statistics.hits import hits
from mechpaint.toy import probes
from mechpaint.toy.bigram_task import BigramTask, ToyBatch
from mechpaint.toy.bridge import as_bridge
from mechpaint.toy.freezing import Freeze, FreezingSchedule
from mechpaint.toy.full import FullTransformer
from mechpaint.toy.simplified import SimplifiedTransformer
from mechpaint.toy.storage import fill, load_tensors, save, save_tensors

Row: TypeAlias = dict[str, int | float]
Advance: TypeAlias = Callable[[int], None]
_PROBES_SHOWN = 6


@dataclass(frozen=True)
class Sgd:
    """Stochastic gradient descent; with these defaults, the induction head forms in 100 to 120 steps at dim 128.

    Args:
        lr: Learning rate.
        momentum: Decay of the running sum of gradients.
        weight_decay: L2 penalty: the weight times this is added to the gradient.
    """

    lr: float = 0.5
    momentum: float = 0.8
    weight_decay: float = 1e-4

    def make(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        """Make the optimiser.

        Args:
            parameters: The parameters to train.
        """
        return torch.optim.SGD(parameters, **dataclasses.asdict(self))


@dataclass(frozen=True)
class AdamW:
    """Adam with decoupled weight decay.

    Args:
        lr: Learning rate.
        beta1: Decay of the running mean of the gradient.
        beta2: Decay of the running mean of its square.
        weight_decay: Decay of the weight per step, relative to the learning rate.
    """

    lr: float = 3e-3
    beta1: float = 0.9
    beta2: float = 0.99
    weight_decay: float = 1e-4

    def make(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        """Make the optimiser.

        Args:
            parameters: The parameters to train.
        """
        return torch.optim.AdamW(parameters, lr=self.lr, betas=(self.beta1, self.beta2), weight_decay=self.weight_decay)


@dataclass(frozen=True)
class Training:
    """Settings of a training.

    Args:
        steps: The number of updates.
        batch: Sequences per update, each of the model's full length.
        optimizer: `Sgd(...)` or `AdamW(...)`.
        loss: Over all tokens, or only at second and later occurrences of triggers.
        freeze: Matrices that learn later, or never.
        seed: Random seed of the batches; the model has its own.
        probe_every: Steps between probes; the model is also probed before the first and after the last step.
        test_size: Held-out sequences for probes, always the same.
        stop_at: The held-out in-context accuracy at which to stop early; None for never.
        checkpoint_every: Steps between checkpoints of a training in a folder, rounded up to a probe.

    Raises:
        TrainingError: Numbers below 1, or an unknown loss.
    """

    steps: int = 300
    batch: int = 64
    optimizer: Sgd | AdamW = field(default_factory=Sgd)
    loss: Literal["all", "in_context"] = "in_context"
    freeze: tuple[Freeze, ...] = ()
    seed: int = 0
    probe_every: int = 10
    test_size: int = 256
    stop_at: float | None = None
    checkpoint_every: int = 100

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "probe_every", "test_size", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise TrainingError(f"{name} must be 1 or more, got {getattr(self, name)}")
        if self.loss not in ("all", "in_context"):
            raise TrainingError(f"loss is 'all' or 'in_context', got {self.loss!r}")


@dataclass(frozen=True)
class History(Summarized):
    """The values of the probes over a training.

    Attributes:
        rows: One row per probe: `step` (the number of updates before it), and the values of `mechpaint.toy.probes`.
    """

    rows: tuple[Row, ...]

    @property
    def last(self) -> Row:
        """The final values."""
        return self.rows[-1]

    def first(self, name: str, value: float) -> int | None:
        """The first probed step at which a probe reached a value; None if it never did.

        Args:
            name: The probe, such as `"accuracy_in_context"`.
            value: The value to reach.
        """
        return next((int(row["step"]) for row in self.rows if row[name] >= value), None)

    def _summary(self) -> Summary:
        chosen = self.rows[:: max(1, -(-len(self.rows) // _PROBES_SHOWN))]
        chosen = (*chosen, self.rows[-1]) if self.rows and chosen[-1] is not self.rows[-1] else chosen
        names = [name for name in self.rows[0] if name != "step"] if self.rows else []
        rows = [(name.replace("_", " "), *(f"{row[name]:.3f}" for row in chosen)) for name in names]
        return Summary("Probes over training", (), ("at step", *(f"{row['step']:g}" for row in chosen)), rows)


def train(
    model: SimplifiedTransformer | FullTransformer,
    task: BigramTask,
    settings: Training | None = None,
    folder: str | Path | None = None,
    advance: Advance | None = None,
    also: Mapping[str, BigramTask] | None = None,
) -> History:
    """Train a model in place.

    Args:
        model: The model, on its own device.
        task: The task to train on.
        settings: The settings; None for `Training()`.
        folder: A folder for `log.jsonl`, a checkpoint, and finally the model; the same call resumes there. None to
            save nothing.
        advance: Called with the number of steps since the last call, instead of a progress bar.
        also: Further tasks to test on, such as `task.held_out_test()`: the history has their in-context accuracies by
            these names.

    Returns:
        The values of the probes.

    Raises:
        TrainingError: A task without triggers for the in-context loss, a vocabulary that does not fit, a freeze that
            names no parameter, or a folder with another training.
        LoadError: A damaged checkpoint.
    """
    settings = settings or Training()
    _check(model, task, settings)
    schedule = FreezingSchedule(model, settings.freeze)
    run = _Run(model, task, settings, Path(folder) if folder is not None else None, also or {})
    with ticking("training", settings.steps, advance) as tick:
        tick(run.step)
        while not run.done:
            schedule.apply(run.step)
            run.update()
            run.observe()
            tick(1)
    schedule.lift()
    run.finish()
    return History(tuple(run.rows))


class _Run:
    """A training in progress: model, optimiser, step, and probes so far."""

    def __init__(
        self,
        model: SimplifiedTransformer | FullTransformer,
        task: BigramTask,
        settings: Training,
        folder: Path | None,
        also: Mapping[str, BigramTask],
    ) -> None:
        self.model, self.task, self.settings, self.folder = model, task, settings, folder
        self.device = next(model.parameters()).device
        self.optimizer = settings.optimizer.make([p for p in model.parameters() if p.requires_grad])
        self.observer = Observer(model, task, settings.test_size, settings.seed)
        self.others = {name: Observer(model, other, settings.test_size, settings.seed) for name, other in also.items()}
        self.identity = _identity(model, task, settings, also)
        self.step, self.rows = 0, list[Row]()
        if not (folder and self._resumed(folder)):
            self.rows.append(self._seen())

    @property
    def done(self) -> bool:
        wanted = self.settings.stop_at
        early = wanted is not None and self.rows[-1]["accuracy_in_context"] >= wanted
        return self.step >= self.settings.steps or early

    def update(self) -> None:
        """Take one optimiser step on one batch."""
        batch = self.task.batch(self.settings.batch, self.model.config.length, self.settings.seed, self.step)
        loss = batch_loss(self.model, batch.to(self.device), self.settings.loss)
        self.optimizer.zero_grad()
        if loss.requires_grad:  # everything may be frozen
            loss.backward()
            self.optimizer.step()
        self.step += 1

    def observe(self) -> None:
        """Probe and save when due."""
        if self.step % self.settings.probe_every and self.step != self.settings.steps:
            return
        self.rows.append(self._seen())
        every = max(self.settings.checkpoint_every, self.settings.probe_every)
        if self.folder and (self.done or self.step % every < self.settings.probe_every):
            self._keep(self.folder)

    def _seen(self) -> Row:
        others = {name: observer.accuracy() for name, observer in self.others.items()}
        return {"step": self.step, **self.observer.values(), **others}

    def finish(self) -> None:
        """Save the trained model."""
        if self.folder:
            save(self.model, self.folder, self.task, training=dataclasses.asdict(self.settings))

    def _keep(self, folder: Path) -> None:
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        for i, state in cast(dict[int, dict[str, Tensor]], self.optimizer.state_dict()["state"]).items():
            tensors |= {f"optimizer.{i}.{name}": tensor for name, tensor in state.items()}
        rows = [json.dumps(row) for row in self.rows]
        # one file holds all that resuming needs, so a checkpoint is never half written
        metadata = {"identity": self.identity, "step": str(self.step), "rows": "\n".join(rows)}
        save_tensors(tensors, folder / "checkpoint.safetensors", metadata)
        write_text(folder / "log.jsonl", "\n".join(rows) + "\n")

    def _resumed(self, folder: Path) -> bool:
        path = folder / "checkpoint.safetensors"
        if not path.exists():
            return False
        tensors, metadata = load_tensors(path)
        if metadata.get("identity") != self.identity:
            raise TrainingError(f"{folder} holds the training of another model, task or settings: choose another")
        weights = {n.removeprefix("model."): t for n, t in tensors.items() if n.startswith("model.")}
        fill(self.model, weights, str(path))
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith("optimizer."):
                _, i, key = name.split(".")
                state.setdefault(int(i), {})[key] = tensor
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})
        self.step = int(metadata["step"])
        self.rows = [json.loads(line) for line in metadata["rows"].splitlines()]
        return True


def batch_loss(
    model: SimplifiedTransformer | FullTransformer, batch: ToyBatch, loss: Literal["all", "in_context"]
) -> Tensor:
    """The mean cross-entropy in nats, over all tokens or at second and later occurrences of triggers."""
    where = torch.ones_like(batch.tokens, dtype=torch.bool) if loss == "all" else batch.occurrences >= 2
    if not bool(where.any()):
        return torch.zeros(())  # a small batch of short sequences: nothing to learn from
    return functional.cross_entropy(model.logits_at(batch.tokens, where), batch.targets[where])


def _check(model: SimplifiedTransformer | FullTransformer, task: BigramTask, settings: Training) -> None:
    if settings.loss == "in_context" and not task.triggers:
        raise TrainingError("a task without triggers has nothing to learn in context: use loss='all'")
    if task.chain.vocabulary != model.config.vocabulary:
        raise TrainingError(
            f"the task has {task.chain.vocabulary} tokens and the model {model.config.vocabulary}: "
            "make the model with the task's vocabulary"
        )


def _identity(model: nn.Module, task: BigramTask, settings: Training, also: Mapping[str, BigramTask]) -> str:
    """Digest all that a checkpoint must agree in; lengths and intervals may change."""
    own = dataclasses.asdict(settings)
    kept: Mapping[str, Any] = {k: v for k, v in own.items() if k not in ("steps", "stop_at", "checkpoint_every")}
    parts = [type(model).__name__, cast(Any, model).config, type(settings.optimizer).__name__, task.settings(), kept]
    parts += [(name, other.settings()) for name, other in also.items()]
    return hashlib.sha256(repr(parts).encode()).hexdigest()


_HELD_OUT = 2**31
"""The index of the test batch, which is never trained on."""


class Observer:
    """Probes of one model, on one held-out batch."""

    def __init__(self, model: SimplifiedTransformer | FullTransformer, task: BigramTask, size: int, seed: int) -> None:
        self.model, self.task = model, task
        self.bridge = as_bridge(model)
        device = next(model.parameters()).device
        self.batch = task.batch(size, model.config.length, seed, _HELD_OUT).to(device)

    def accuracy(self) -> float:
        """Measure in-context accuracy alone, which is faster."""
        where = self.batch.occurrences >= 2
        with torch.no_grad():
            right = hits(self.model.logits_at(self.batch.tokens, where), self.batch.targets[where])
        return right.mean().item()

    def values(self) -> probes.Values:
        """Measure every probe; those of attention and memories only for models of the paper's form."""
        simplified = self.model if isinstance(self.model, SimplifiedTransformer) else None
        paper = simplified is not None and len(simplified.layers) >= 2
        with torch.no_grad(), attach(self.bridge, Patterns() if paper else HookSet()) as session:
            logits = self.bridge(self.batch.tokens)
        values = probes.predictions(logits, self.batch)
        values |= probes.divergences(logits, self.batch, self.task.chain.transitions)
        if simplified is None or not paper:
            return values
        patterns = [pattern[:, 0] for pattern in session[ATTENTION].values()]
        values |= probes.attention(patterns[0], patterns[-1], logits, self.batch)
        return values | probes.recalls(simplified, self.task.fixed_triggers, self.task.chain.transitions)
