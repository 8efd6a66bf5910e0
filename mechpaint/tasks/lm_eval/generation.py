"""Tasks of lm-eval that generate: prompts, and the texts generated along each route."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch

from mechpaint.engine.route_runner import RouteRunner
from mechpaint.errors import TaskError
from mechpaint.planning.calibration import timed
from mechpaint.planning.cost import Cost, Memory, weights
from mechpaint.routes.prefix_tree import PrefixTree
from mechpaint.scoring.encoding import context
from mechpaint.scoring.items import Place
from mechpaint.tasks.lm_eval.documents import Encoder
from mechpaint.tasks.lm_eval.loading import instances_of
from mechpaint.tasks.lm_eval.registry import quiet
from mechpaint.tasks.task import Part

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from mechpaint.routes.route import Route
    from mechpaint.statistics.results import Advance

_TIMED = 4
"""The number of tokens that are generated to time one."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A document of a task that has the model generate.

    Args:
        name: Its name in the results; unique within its task.
        number: Its index among the task's documents.
        fields: lm-eval's document, which its metrics need.
        text: The prompt.
        tokens: Its token ids, at least one.
        options: lm-eval's `generation_kwargs` for it, as JSON: where to stop, whether to sample.
        most: The largest number of tokens that are generated.
        repeats: The number of texts that are generated.
    """

    name: str
    number: int
    fields: Any
    text: str
    tokens: tuple[int, ...]
    options: str
    most: int
    repeats: int = 1

    @property
    def longest(self) -> int:
        """The largest number of positions that prompt and answer take."""
        return len(self.tokens) + self.most

    @property
    def answer(self) -> None:
        """None: no answer's tokens are scored."""
        return None

    def rows(self) -> tuple[tuple[int, ...], ...]:
        """The prompt's tokens."""
        return (self.tokens,)

    def places(self) -> tuple[tuple[Place, ...], ...]:
        """Empty: the text is scored, not its log-probability."""
        return ()


@dataclass(frozen=True, slots=True)
class Generation:
    """The texts generated after a prompt, one for each repeat; and whether all logits were finite."""

    texts: tuple[str, ...]
    finite: bool


def prompts(task: Any, encoder: Encoder, limit: int | None) -> list[Prompt]:
    """The first prompts of a task, in its order; TaskError if a prompt is empty, or no tokens may be generated."""
    from lm_eval.models import utils

    from mechpaint.tasks.lm_eval.harness_model import MAX_GEN_TOKS

    with quiet():
        made: list[Prompt] = []
        for instance in instances_of(task, limit):
            text, options = instance.args
            most = int(cast(Any, utils).normalize_gen_kwargs(options, MAX_GEN_TOKS)["max_gen_toks"])
            made.append(
                Prompt(
                    f"document {instance.doc_id}",
                    instance.doc_id,
                    instance.doc,
                    text,
                    encoder.ids(text),
                    json.dumps(options, sort_keys=True),
                    most,
                    int(instance.repeats or 1),
                )
            )
    wrong = [str(prompt.number) for prompt in made if not prompt.tokens or prompt.most < 1]
    if wrong:
        raise TaskError(
            f"{len(wrong)} documents of lm_eval:{task.task_name} have an empty prompt, or allow no generated tokens. "
            f"Their indices, from 0: {', '.join(wrong[:10])}"
        )
    return made


def parts(whole: Sequence[Part[Any]]) -> list[Part[Any]]:
    """Cut parts further, one for each route: generated texts differ from the first token on."""
    return [
        Part(f"{_digest(str(route))}-{part.name}", f"{part.label}, along {route}", part.items, PrefixTree([route]))
        for part in whole
        for route in part.tree.routes
    ]


def generate(
    model: TransformerBridge, asked: Sequence[Prompt], route: Route, batch_size: int, advance: Advance
) -> Iterator[tuple[Prompt, Generation]]:
    """Generate along a route with lm-eval's own code and a key-value cache, in batches of similar length.

    `advance` is called with 0 after each token of a batch, and with the number of its prompts at its end. Sampling is
    seeded, so that it repeats.
    """
    from lm_eval.api.instance import Instance

    from mechpaint.tasks.lm_eval.harness_model import MechpaintLM

    with quiet():
        lm = MechpaintLM(model, route, batch_size=batch_size, max_length=context(model))  # nothing is truncated
    for batch in _batches(asked, batch_size):
        instances = [
            Instance("generate_until", prompt.fields, (prompt.text, json.loads(prompt.options)), i)
            for i, prompt in enumerate(batch)
        ]
        with torch.random.fork_rng(), _watched(model, len(batch), advance) as finite:
            torch.manual_seed(int(_digest(f"{batch[0].name} {route}"), 16))
            texts = [lm.generate_until(instances, disable_tqdm=True) for _ in range(batch[0].repeats)]
        for prompt, of_it, numbers in zip(batch, zip(*texts, strict=True), finite, strict=True):
            yield prompt, Generation(of_it, numbers)
        advance(len(batch))


def cost(model: TransformerBridge, work: Sequence[Part[Any]], batch_size: int) -> Cost:
    """The cost if nothing stops early: the longest batch is timed for a few tokens, and scaled up."""
    batches = [(part.tree.routes[0], batch) for part in work for batch in _batches(part.items, batch_size)]
    route, longest = max(batches, key=lambda pair: _tokens(pair[1]))
    reading = timed(lambda: _generate(model, route, longest, 1)) / _tokens(longest)
    more = timed(lambda: _generate(model, route, longest, 1 + _TIMED)) - reading * _tokens(longest)
    a_step = max(0.0, more) / _TIMED
    seconds = [
        sum(
            (reading * _tokens(batch) + a_step * batch[0].most) * part.tree.routes[0].layer_calls / route.layer_calls
            for batch in _batches(part.items, batch_size)
        )
        for part in work
    ]
    calls = sum(along.layer_calls * batch[0].most for along, batch in batches)
    positions = len(longest) * max(prompt.longest for prompt in longest)
    kept = 8 * positions * int(model.cfg.d_model) * max(along.layer_calls for along, _ in batches)
    memory = Memory(weights(model), kept, 4 * int(model.cfg.d_vocab) * 3 * len(longest))
    return Cost(len(batches), calls, calls, None, tuple(seconds), memory)


def _batches(asked: Sequence[Prompt], batch_size: int) -> list[list[Prompt]]:
    """Batch prompts as `HFLM` does: the longest first, and only those with the same options together."""
    ordered = sorted(asked, key=lambda prompt: (-len(prompt.tokens), prompt.text))
    batches: list[list[Prompt]] = []
    for options in dict.fromkeys((prompt.options, prompt.repeats) for prompt in ordered):
        alike = [prompt for prompt in ordered if (prompt.options, prompt.repeats) == options]
        batches += [alike[i : i + batch_size] for i in range(0, len(alike), batch_size)]
    return batches


def _tokens(batch: Sequence[Prompt]) -> int:
    return len(batch) * max(len(prompt.tokens) for prompt in batch)


def _generate(model: TransformerBridge, route: Route, batch: Sequence[Prompt], count: int) -> None:
    tokens = torch.zeros((len(batch), max(len(prompt.tokens) for prompt in batch)), dtype=torch.long)
    with RouteRunner(model).run_along(route):
        cast(Any, model.original_model).generate(
            tokens.to(model.cfg.device), min_new_tokens=count, max_new_tokens=count, do_sample=False, pad_token_id=0
        )


@contextmanager
def _watched(model: TransformerBridge, prompts: int, advance: Advance) -> Generator[list[bool]]:
    """Advance the progress with every forward pass; yield, for each prompt, whether its logits were never NaN."""
    finite = [True] * prompts

    def look(module: Any, args: Any, output: Any) -> None:
        nan = output.logits[:, -1].isnan().any(dim=-1).view(prompts, -1).any(dim=-1)  # beams are rows too
        finite[:] = [before and not now for before, now in zip(finite, nan.tolist(), strict=True)]
        advance(0)

    hook = model.original_model.register_forward_hook(look)
    try:
        yield finite
    finally:
        hook.remove()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
