"""The logit lens: the next token, as the model's own tail would read it off the residual stream at every stage.

nostalgebraist 2020, "interpreting GPT: the logit lens" (lesswrong.com/posts/AcKRB8wDpdaN6v6ru).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jaxtyping import Int
from torch import Tensor

from mechpaint.engine.arguments import Routing, as_hook_set
from mechpaint.lenses.reading import Settings, read_through
from mechpaint.lenses.readout import LensReadout

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


def logit_lens(
    model: TransformerBridge,
    text: str | Sequence[int] | Int[Tensor, "position"] | Int[Tensor, "1 position"],
    hook_set: Routing | None = None,
    *,
    answer: str | int | None = None,
    positions: int | Sequence[int] | None = None,
    top: int = 5,
    keep_logits: bool = False,
) -> LensReadout:
    """Read the next token off the residual stream before the first step of a route and after each.

    The model's own final norm and unembedding turn each stage into logits; where a step is a group, the stage is what
    the group hands on, its members' outputs averaged or their updates added. The last stage is the model's prediction.

    Args:
        model: A bridge with a language-modelling head.
        text: A text, or its token ids.
        hook_set: A hook set or route, or the text of either, to run the model under; None for neither.
        answer: A token, as text or number, whose rank and probability are kept at every stage.
        positions: Which positions are read; negative ones count from the last; None for all.
        top: How many of the most likely tokens are kept.
        keep_logits: Whether all logits are kept: stages times positions times vocabulary numbers.

    Returns:
        The readout, which draws itself.

    Raises:
        InputError: An answer that is no single token, positions that do not exist, or a text that cannot be read.
        HookSetError: As for `attach`; or a hook after the layers changes logits, which no lens would see.
        LoadError: A model without a language-modelling head.
    """
    settings = Settings(answer, positions, top, keep_logits)
    return read_through("logit lens", model, text, as_hook_set(hook_set or ""), settings, lambda route: _as_it_is)


def _as_it_is(stage: int, streams: Tensor) -> Tensor:
    return streams
