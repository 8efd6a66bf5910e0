"""`lm_eval`: the tasks of EleutherAI's evaluation harness, scored as lm-eval scores them."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, cast

from mechpaint.errors import TaskError
from mechpaint.models.bridges import stored_tokenizer
from mechpaint.models.loading import require_tokenizer
from mechpaint.scoring.encoding import context
from mechpaint.scoring.items import Outcome, record
from mechpaint.tasks.compatibility import require_causal
from mechpaint.tasks.task import Part, PlaceTask, Selection

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from mechpaint.planning.accelerators import Roofline
    from mechpaint.planning.cost import Cost
    from mechpaint.routes.prefix_tree import PrefixTree
    from mechpaint.statistics.metrics import Metric
    from mechpaint.statistics.results import Advance, Record, ReportedMetric
    from mechpaint.tasks.lm_eval.documents import Document
    from mechpaint.tasks.lm_eval.generation import Prompt
    from mechpaint.tasks.lm_eval.loading import Definition
    from mechpaint.tasks.lm_eval.metrics import Measure

_GENERATED = "generate_until"
_OUTPUT_TYPES = ("loglikelihood", "multiple_choice", "loglikelihood_rolling", _GENERATED)


@dataclass(frozen=True)
class LmEval(PlaceTask["Document | Prompt"]):
    """A task of lm-eval: ARC, HellaSwag, LAMBADA, WinoGrande and thousands more. `pip install 'mechpaint[eval]'`.

    Requests, filters, metrics, aggregations and standard errors are lm-eval's. Documents come in its order, the first
    `limit` of them, as with `--limit` there; `seed` has no effect. A document that exceeds the model's context is left
    out and named, where lm-eval truncates its beginning.

    Args:
        task: Its name in lm-eval.
        metric_name: The metric that is its score; by default `acc_norm`, `acc`, or the first. The others are reported
            too.
        folder: A folder of YAML files that may define it.
        data: A file with its documents, instead of the data set on the hub: any that `read_rows` takes.
        examples: A file of the same kind with documents for few-shot prompts; by default they are others of `data`.
        num_fewshot: The number of examples before each question; None for the task's own.
    """

    name: ClassVar[str] = "lm_eval"
    measure: ClassVar[str] = "the task's own metric"
    argument: ClassVar[str] = ":TASK[/METRIC]"
    task: str
    metric_name: str | None = None
    folder: str | None = None
    data: str | None = None
    examples: str | None = None
    num_fewshot: int | None = None

    def __post_init__(self) -> None:
        if self.num_fewshot is not None and self.num_fewshot < 0:
            raise TaskError(f"--num-fewshot must be 0 or more, got {self.num_fewshot}")

    @classmethod
    def from_argument(cls, argument: str | None) -> LmEval:
        """Parse `lm_eval:TASK` or `lm_eval:TASK/METRIC`."""
        task, _, metric = (argument or "").partition("/")
        if not task:
            raise TaskError(
                "expected a task of lm-eval, such as lm_eval:arc_easy, or with its metric lm_eval:arc_easy/acc"
            )
        return cls(task, metric or None)

    @cached_property
    def definition(self) -> Definition:
        """The sources of the task."""
        from mechpaint.tasks.lm_eval.loading import Definition

        return Definition(self.task, self.folder, self.data, self.examples, self.num_fewshot)

    @cached_property
    def loaded(self) -> Any:
        """lm-eval's task, `lm_eval.api.task.Task`, loaded once; TaskError if there is none, or it cannot be read."""
        from mechpaint.tasks.lm_eval.loading import load_task

        return load_task(self.definition)

    @cached_property
    def measure_used(self) -> Measure:
        """The metric that is its score."""
        from mechpaint.tasks.lm_eval.metrics import measure_of

        return measure_of(self.loaded, self.metric_name)

    @property
    def generates(self) -> bool:
        """Whether it has the model generate, as GSM8K does: then each route runs by itself, with a key-value cache."""
        return self.loaded.OUTPUT_TYPE == _GENERATED

    def check(self, model: TransformerBridge) -> None:
        """Refuse models that do not predict the next token, and tasks with other kinds of requests."""
        require_causal(model, f"the task {self}")
        require_tokenizer(model, f"the task {self}")
        own = stored_tokenizer(model)
        if own is not None and own.bos_token_id is None and own.eos_token_id is None:
            raise TaskError(
                f"the task {self} begins texts with a beginning- or end-of-text token, and this model's tokenizer has "
                "neither"
            )
        if self.loaded.OUTPUT_TYPE not in _OUTPUT_TYPES:
            raise TaskError(f"{self} asks for {self.loaded.OUTPUT_TYPE}; expected one of {', '.join(_OUTPUT_TYPES)}")

    def generate(self, model: TransformerBridge, rng: random.Random) -> Iterator[Document | Prompt]:
        """All documents, in lm-eval's order."""
        yield from self._documents(model, None)

    def select(self, model: TransformerBridge, limit: int | None = None, seed: int = 0) -> Selection[Document | Prompt]:
        """The first `limit` documents in lm-eval's order for any seed, without those that exceed the model's context.

        Raises:
            TaskError: As for other tasks; or documents have an empty answer, or no right one.
        """
        self._check_asked(model, limit)
        made = self._documents(model, limit)
        fitting = tuple(document for document in made if self.fits(model, document))
        if not fitting:
            raise TaskError(f"all {len(made)} items of {self} are longer than the model's {context(model)} tokens")
        return Selection(fitting, tuple(document.name for document in made if not self.fits(model, document)))

    def fits(self, model: TransformerBridge, item: Document | Prompt) -> bool:
        """Whether it fits the model's context, with the longest answer."""
        return item.longest <= context(model)

    def _documents(self, model: TransformerBridge, limit: int | None) -> Sequence[Document | Prompt]:
        from mechpaint.tasks.lm_eval.documents import Encoder, documents
        from mechpaint.tasks.lm_eval.generation import prompts
        from mechpaint.tasks.lm_eval.loading import why

        encoder = Encoder(stored_tokenizer(model), context(model))
        try:
            return (prompts if self.generates else documents)(self.loaded, encoder, limit)
        except TaskError:
            raise
        except Exception as error:  # the code and templates of tasks raise whatever they like
            raise TaskError(f"cannot ask {self}: {why(error, self.definition)}") from error

    def parts(self, items: Sequence[Document | Prompt], tree: PrefixTree) -> list[Part[Document | Prompt]]:
        """As other tasks; if the model generates, by route too."""
        from mechpaint.tasks.lm_eval.generation import parts

        whole = super().parts(items, tree)
        return parts(whole) if self.generates else whole

    def cost(
        self,
        model: TransformerBridge,
        parts: Sequence[Part[Document | Prompt]],
        batch_size: int,
        on: Roofline | None = None,
    ) -> Cost:
        """The cost of sweeps, or of generation."""
        from mechpaint.planning.accelerators import require_here
        from mechpaint.tasks.lm_eval.generation import cost

        if not self.generates:
            return super().cost(model, parts, batch_size, on)
        require_here(self, on)
        return cost(model, parts, batch_size)

    def records(
        self,
        model: TransformerBridge,
        items: Sequence[Document | Prompt],
        tree: PrefixTree,
        batch_size: int,
        advance: Advance,
    ) -> Iterator[Record]:
        """Sweep for logits at the documents' places, or generate along route after route."""
        if not self.generates:
            yield from super().records(model, items, tree, batch_size, advance)
            return
        from mechpaint.tasks.lm_eval.generation import generate
        from mechpaint.tasks.lm_eval.results import metrics_of_texts, to_json

        asked = cast("Sequence[Prompt]", items)
        for route in tree.routes:
            for prompt, generation in generate(model, asked, route, batch_size, advance):
                if not generation.finite:
                    yield record(self, prompt.name, route, math.nan, finite=False)
                    continue
                values = metrics_of_texts(self.loaded, prompt, generation.texts)
                yield record(self, prompt.name, route, self.measure_used.score(values), metrics=to_json(values))

    def score(self, item: Document | Prompt, outcome: Outcome) -> float:
        """The main metric's score."""
        return self.evaluate(item, outcome)[0]

    def evaluate(self, item: Document | Prompt, outcome: Outcome) -> tuple[float, str]:
        """The score, and lm-eval's metrics of all filters."""
        from mechpaint.tasks.lm_eval.results import metrics_of_answers, to_json

        whole_texts = self.loaded.OUTPUT_TYPE == "loglikelihood_rolling"
        pairs = zip(outcome.logprobs, outcome.greedy, strict=True)
        answers = [logprob if whole_texts else (logprob, all(greedy)) for logprob, greedy in pairs]
        values = metrics_of_answers(self.loaded, cast("Document", item), answers)
        return self.measure_used.score(values), to_json(values)

    def measured(self) -> str:
        """The metric's name, with the unit."""
        return self.measure_used.reading.measured(self.measure_used.name)

    def metric(self, items: Sequence[Document | Prompt]) -> Metric:
        """The metric's aggregation."""
        return self.measure_used.reading.metric(lambda: self._chance_values(items))

    def reported(self) -> tuple[ReportedMetric, ...]:
        """All metrics of all filters, its score included."""
        from mechpaint.tasks.lm_eval.metrics import all_metrics

        return all_metrics(self.loaded)

    def _chance_values(self, items: Sequence[Document | Prompt]) -> Mapping[str, Any]:
        from mechpaint.tasks.lm_eval.chance import values_of_silence, values_of_uniform

        if self.generates:
            return values_of_silence(self.loaded, self.measure_used, cast("Sequence[Prompt]", items))
        return values_of_uniform(self.loaded, self.measure_used, cast("Sequence[Document]", items), 2)

    def chance(self, model: TransformerBridge, items: Sequence[Document | Prompt]) -> float:
        """The score of guessing at random, or of always the same choice if that is better and all documents share it.

        If the model generates, the score of an empty text.
        """
        from mechpaint.tasks.lm_eval.chance import chance, chance_of_silence

        task, measure, metric = self.loaded, self.measure_used, self.metric(items)
        if self.generates:
            return chance_of_silence(task, measure, metric, cast("Sequence[Prompt]", items))
        return chance(task, measure, metric, cast("Sequence[Document]", items), int(model.cfg.d_vocab))

    def settings(self) -> dict[str, object]:
        """lm-eval's configuration of the task, and its version, but no names of files: the items say enough."""
        import lm_eval

        from mechpaint.tasks.lm_eval.loading import configuration

        own = {"task": self.name, "name": self.task, "metric": self.measure_used.name}
        return {**own, "configuration": configuration(self.loaded), "lm_eval": lm_eval.__version__}

    def __str__(self) -> str:
        shots = "" if self.num_fewshot is None else f" ({self.num_fewshot}-shot)"
        return f"{self.name}:{self.task}" + (f"/{self.metric_name}" if self.metric_name else "") + shots


@dataclass(frozen=True)
class Sources:
    """Sources of lm-eval's tasks, instead of lm-eval itself and the hub.

    Args:
        folder: A folder of YAML files that may define tasks, groups and tags.
        data: Files with documents by the names of their tasks, as in `LmEval`.
        examples: Files with documents for few-shot prompts by the names of their tasks.
        num_fewshot: The number of examples before each question; None for each task's own.
    """

    folder: str | None = None
    data: Mapping[str, str] = field(default_factory=dict[str, str])
    examples: Mapping[str, str] = field(default_factory=dict[str, str])
    num_fewshot: int | None = None

    @classmethod
    def of_options(cls, folder: str | None, files: Sequence[str], num_fewshot: int | None) -> Sources:
        """Parse the options of the command line.

        Args:
            folder: `--task-path`.
            files: Each `--task-data`: `NAME=FILE` or `NAME:fewshot=FILE`.
            num_fewshot: `--num-fewshot`.

        Raises:
            TaskError: A file without a task, or two for one task.
        """
        data: dict[str, str] = {}
        examples: dict[str, str] = {}
        for text in files:
            name, equals, file = text.partition("=")
            task, colon, split = name.partition(":")
            if not (task and equals and file) or (colon and split != "fewshot"):
                raise TaskError(f"--task-data: expected NAME=FILE or NAME:fewshot=FILE, got {text!r}")
            chosen = examples if colon else data
            if task in chosen:
                raise TaskError(f"--task-data: two files for {name!r}: {chosen[task]!r} and {file!r}")
            chosen[task] = file
        return cls(folder, data, examples, num_fewshot)

    def check_used(self, tasks: Sequence[object]) -> None:
        """Refuse sources that no task uses: a name is misspelt, or a task is missing.

        Args:
            tasks: All tasks that are asked for.

        Raises:
            TaskError: One of the sources is unused.
        """
        names = [task.task for task in tasks if isinstance(task, LmEval)]
        unused = [name for name in (*self.data, *self.examples) if name not in names]
        if unused:
            raise TaskError(
                f"--task-data names {unused[0]!r}, and no --task lm_eval:{unused[0]} is asked for; the tasks of "
                f"lm-eval that are: {', '.join(names) or 'none'}"
            )
        if not names and (self.folder is not None or self.num_fewshot is not None):
            option = "--num-fewshot" if self.folder is None else "--task-path"
            raise TaskError(f"{option} is for tasks of lm-eval, such as --task lm_eval:arc_easy, and there is none")


def lm_eval_tasks(name: str, sources: Sources | None = None) -> tuple[LmEval, ...]:
    """The tasks that a name of lm-eval stands for: one, or all of a group or tag.

    Args:
        name: The name of a task, a group such as `mmlu` or a tag such as `ai2_arc`; after a slash a metric, as in
            `arc_easy/acc`.
        sources: Where they are read from.

    Raises:
        TaskError: There is none of that name, or lm-eval is not installed.
    """
    from mechpaint.tasks.lm_eval.registry import members

    given = sources or Sources()
    asked = LmEval.from_argument(name)
    return tuple(
        LmEval(task, asked.metric_name, given.folder, given.data.get(task), given.examples.get(task), given.num_fewshot)
        for task in members(asked.task, given.folder)
    )
