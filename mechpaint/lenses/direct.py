"""Direct logit attribution: which visits write a logit into the residual stream.

The unembedding is linear and the final residual stream a sum; once the final norm divides by what it did divide by, a
logit is a sum over all that was written (Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits"; Wang
et al. 2022, arXiv 2211.00593).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mechpaint.display.sanitize import short
from mechpaint.engine.arguments import Routing, as_hook_set
from mechpaint.engine.attach import Session, attach
from mechpaint.engine.attention_output import head_outputs, post_norm
from mechpaint.engine.tail import Tail
from mechpaint.errors import InputError
from mechpaint.hooks import Read, ReadStream
from mechpaint.lenses.answers import chosen_positions, one_token
from mechpaint.lenses.attribution import Attribution, Contribution
from mechpaint.lenses.frozen_norm import FrozenNorm
from mechpaint.models.comparison import relative_difference, tolerance
from mechpaint.models.loading import require_language_model
from mechpaint.models.token_text import one_row, token_texts
from mechpaint.routes.steps import Visit

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

Unit: TypeAlias = Literal["component", "head", "layer"]
_OUT, _GATHERED, _BEFORE_NORM, _ATTENTION, _MLP = (
    "hook_out",
    "attn.hook_z",
    "attn.hook_out",
    "hook_attn_out",
    "hook_mlp_out",
)
_READS: dict[str, tuple[str, ...]] = {
    "layer": (_OUT,),
    "component": (_OUT, _ATTENTION, _MLP),
    "head": (_OUT, _ATTENTION, _MLP, _GATHERED, _BEFORE_NORM),
}
_ROUNDINGS = 4.0
"""How many roundings the sum of a layer's input and of what it adds may have."""


def direct_logit_attribution(
    model: TransformerBridge,
    text: str | Sequence[int] | Int[Tensor, "position"] | Int[Tensor, "1 position"],
    hook_set: Routing | None = None,
    *,
    answer: str | int,
    wrong: str | int | None = None,
    position: int = -1,
    unit: Unit = "component",
) -> Attribution:
    """Divide a logit, or the difference of two, among the visits of a route that wrote it.

    The final norm's scale is that of the route's own final residual stream. Where a model has a norm after attention
    or MLP, what is written is what comes after that; its scale too is as it was when heads are told apart. In an
    averaged group each member has its update, divided by the number of members. The contributions add up to the logit,
    to rounding.

    Args:
        model: A bridge with a language-modelling head.
        text: A text, or its token ids.
        hook_set: A hook set or route, or the text of either, to run the model under; None for neither.
        answer: The token whose logit is divided, as text or number.
        wrong: A token whose logit is taken off; None for none.
        position: Where; negative ones count from the last.
        unit: `"component"`: attention and MLP of each visit. `"head"`: the same, attention head by head, with the bias
            of its output on its own. `"layer"`: each visit as a whole.

    Returns:
        The contributions, which draw themselves.

    Raises:
        InputError: Tokens or a position that do not exist; logits that are not the unembedding of a normed sum of these
            components, or an intervention that adds something that no component wrote.
        HookSetError: As for `attach`.
        LoadError: A model without a language-modelling head.
    """
    require_language_model(model, "direct logit attribution")
    if unit not in _READS:
        raise InputError(f'expected unit="component", "head" or "layer", got {short(unit)}')
    tokens = one_row(model, text)
    (place,) = chosen_positions(position, tokens.shape[1])
    pair = [one_token(model, answer)] + ([] if wrong is None else [one_token(model, wrong)])
    _check_points(model, unit)
    reads = [Read(point) for point in _READS[unit]]
    under = sum(reads, as_hook_set(hook_set or "") + ReadStream())
    with torch.no_grad(), attach(model, under) as session:
        logits = cast(Tensor, model(tokens))[0, place].double()
    readout = _Readout.of(Tail(model), session.stream[-1][0, place], pair, logits)
    with torch.no_grad():
        visits = [one for visit in session.route.visits() for one in _Written(model, session, visit, place).by(unit)]
    parts = [("embedding", None, None, session.stream[0][0, place].double()), *visits]
    contributions = [
        Contribution(part, float(readout.direction @ readout.norm.linear(vector)), visit, head)
        for part, visit, head, vector in parts
    ]
    texts = [*token_texts(model, torch.tensor(pair)), None][:2]
    every = (*contributions, readout.bias)
    found = Attribution(session.route, cast(str, texts[0]), texts[1], place, every, readout.logit)
    _check_sum(found, session.stream[-1].dtype)
    return found


def _check_points(model: TransformerBridge, unit: str) -> None:
    for layer in range(len(model.blocks)):
        for point in _READS[unit]:
            if f"blocks.{layer}.{point}" not in model.hook_dict:
                raise InputError(
                    f"layer {layer} of {type(model.original_model).__name__} has no {point!r}, so what it writes "
                    f'cannot be told apart by unit="{unit}": expected unit="layer"'
                )


def _check_sum(found: Attribution, dtype: torch.dtype) -> None:
    """Refuse contributions that do not add up."""
    size = sum(abs(one.value) for one in found.contributions)
    if not abs(found.rounding) <= tolerance(dtype) * max(size, abs(found.logit)):
        raise InputError(
            f"the contributions add up to {found.logit - found.rounding:.4g} and the logit is {found.logit:.4g}: "
            "an intervention or a hook changes the residual stream between layers, which no component writes"
        )


@dataclass(frozen=True)
class _Readout:
    """The final norm at the final stream, and a direction of the unembedding: of an answer, or of a difference."""

    norm: FrozenNorm
    direction: Float[Tensor, "d_model"]
    bias: Contribution
    logit: float

    @classmethod
    def of(cls, tail: Tail, final: Tensor, pair: Sequence[int], logits: Tensor) -> _Readout:
        norm = FrozenNorm.of(tail.normed, final, "the final norm")
        direction, bias = tail.direction(pair[0])
        logit = float(logits[pair[0]])
        expected = float(direction @ (norm.linear(final) + norm.bias)) + bias
        if not abs(expected - logit) <= tolerance(final.dtype) * max(1.0, float(logits[logits.isfinite()].abs().max())):
            raise InputError(
                f"the logit is {logit:.4g} where unembedding the normed final stream gives {expected:.4g}: this model "
                "caps or scales its logits, or a hook changes them, so they are no sum of what visits write"
            )
        if len(pair) == 2:
            other, off = tail.direction(pair[1])
            direction, bias, logit = direction - other, bias - off, logit - float(logits[pair[1]])
        return cls(norm, direction, Contribution("bias", float(direction @ norm.bias) + bias), logit)


_Part: TypeAlias = tuple[str, Visit | None, int | None, Tensor]
"""A part's name, its visit, its head, and what it writes, in float64."""


@dataclass(frozen=True)
class _Written:
    """What one visit writes into the residual stream at one position."""

    model: TransformerBridge
    session: Session
    visit: Visit
    place: int

    def by(self, unit: str) -> list[_Part]:
        """Its parts; of a member of an averaged group, what the group hands on of them."""
        step = self.session.route.steps[self.visit.step]
        members = len(step.layers) if step.merge == "mean" else 1
        parts = [("layer", None, self._update())] if unit == "layer" else self._components(unit)
        return [(name, self.visit, head, vector / members) for name, head, vector in parts]

    def _at(self, point: str) -> Tensor:
        return self.session[point][self.visit][0, self.place].double()

    def _update(self) -> Tensor:
        return self._at(_OUT) - self._stream()

    def _stream(self) -> Tensor:
        return self.session.stream[self.visit.step][0, self.place].double()

    def _components(self, unit: str) -> list[tuple[str, int | None, Tensor]]:
        attention, mlp = self._at(_ATTENTION), self._at(_MLP)
        self._check_update(attention, mlp)
        whole = [("attention", None, attention)] if unit == "component" else self._heads(attention)
        return [*whole, ("mlp", None, mlp)]

    def _check_update(self, attention: Tensor, mlp: Tensor) -> None:
        """Refuse a layer that adds something else than its attention and its MLP."""
        stream, out = self._stream(), self._at(_OUT)
        sizes = stream.abs() + out.abs() + attention.abs() + mlp.abs()
        step = torch.finfo(self.session.stream[0].dtype).eps * _ROUNDINGS
        if not bool(((out - stream - attention - mlp).abs() <= step * sizes).all()):
            raise InputError(
                f"layer {self.visit.layer} at step {self.visit.step} adds something else than what its attention and "
                "its MLP write: this architecture scales or mixes them, or an intervention changes the layer as a "
                'whole. unit="layer" divides the logit among layers'
            )

    def _heads(self, attention: Tensor) -> list[tuple[str, int | None, Tensor]]:
        layer = self.visit.layer
        gathered = self.session[_GATHERED][self.visit][0, self.place]
        if gathered.ndim != 2:
            raise InputError(
                f"the attention of layer {layer} of {type(self.model.original_model).__name__} is not kept head by "
                'head: expected unit="component" or unit="layer"'
            )
        heads, bias = head_outputs(self.model, layer, gathered)
        norm = post_norm(self.model, layer)
        after = bias.new_zeros(bias.shape)
        if norm is not None:
            before = self.session[_BEFORE_NORM][self.visit][0, self.place]
            frozen = FrozenNorm.of(norm, before, f"the norm after the attention of layer {layer}")
            heads, bias, after = frozen.linear(heads), frozen.linear(bias), frozen.bias
        bias = bias + after
        if not relative_difference(heads.sum(0) + bias, attention) <= tolerance(gathered.dtype):
            raise InputError(
                f"the heads of layer {layer} at step {self.visit.step} do not add up to what its attention writes: the "
                'architecture does more, or an intervention changes the sum. Expected unit="component" or "layer"'
            )
        return [
            *(("head", head, vector) for head, vector in enumerate(heads)),
            *([("attention bias", None, bias)] if bool(bias.any()) else []),
        ]
