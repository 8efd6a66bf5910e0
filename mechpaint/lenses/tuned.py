"""The tuned lens: the logit lens behind an affine translator of its own at every stage.

Belrose et al. 2023, "Eliciting Latent Predictions from Transformers with the Tuned Lens" (arXiv 2303.08112).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mechpaint.display.sanitize import short
from mechpaint.display.summary import Summarized, Summary
from mechpaint.engine.arguments import Routing, as_hook_set
from mechpaint.engine.tail import Tail
from mechpaint.errors import InputError
from mechpaint.files import written
from mechpaint.lenses.reading import Settings, Translate, read_through
from mechpaint.lenses.readout import LensReadout
from mechpaint.lenses.stages import stage_names
from mechpaint.models.comparison import relative_difference, tolerance
from mechpaint.routes.route import Route

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

By: TypeAlias = Literal["visit", "layer"]
_FORMAT = "mechpaint tuned lens 1"


@dataclass(frozen=True, eq=False)
class TunedLens(Summarized):
    """An affine translator for every stage of a route but the last: x becomes x + x @ weight + bias.

    `fit_tuned_lens` makes one, and `tuned_lens` reads through it. The last stage is read as it is.

    Attributes:
        route: The route that it was fitted on.
        weight: `[stage, d_model, d_model]`.
        bias: `[stage, d_model]`.
        probe: Logits that the model's tail gave for a fixed stream: by them another model is recognised.
        before: The logit lens's mean KL(last ‖ stage) on the windows held out, in nats, by stage.
        after: This lens's, on the same windows.
    """

    route: Route
    weight: Float[Tensor, "stage d_model d_model"]
    bias: Float[Tensor, "stage d_model"]
    probe: Float[Tensor, "vocab"]
    before: tuple[float, ...] = ()
    after: tuple[float, ...] = ()

    def __call__(self, stage: int, streams: Float[Tensor, "*rows d_model"]) -> Float[Tensor, "*rows d_model"]:
        """Residual streams of a stage, translated to where the model's tail reads.

        Args:
            stage: The stage, from 0; of the last one streams stay as they are.
            streams: Its residual streams.
        """
        if stage == len(self.weight):
            return streams
        weight, bias = (part[stage].to(streams.device, streams.dtype) for part in (self.weight, self.bias))
        return streams + streams @ weight + bias

    def for_route(self, route: Route, by: By) -> Translate:
        """The translator of each stage of a route.

        Args:
            route: The route that is read.
            by: `"visit"`: it is the route that this was fitted on. `"layer"`: a stage has the translator of the stage
                that followed the same layer there, for the first time.

        Raises:
            InputError: The route is another, or has a group or a layer that it was not fitted on.
        """
        if by == "visit":
            if route != self.route:
                raise InputError(
                    f"this lens was fitted on the route {self.route}, and {route} is read: fit one on that, or use "
                    'it layer by layer, by="layer"'
                )
            return self
        if by != "layer":
            raise InputError(f'expected by="visit" or "layer", got {short(by)}')
        places = self._places(route)
        return lambda stage, streams: self(places[stage], streams)

    def _places(self, route: Route) -> list[int]:
        """For each stage of a route the stage here that followed the same layer."""
        known: dict[tuple[int, ...], int] = {}
        for i, step in enumerate(self.route.steps):
            known.setdefault(step.layers, i + 1)
        missing = next((step for step in route.steps if len(step.layers) > 1 or step.layers not in known), None)
        if missing is not None:
            raise InputError(
                f"this lens was fitted on the route {self.route}, which does not say what comes after {missing}: "
                "expected a route of single layers that are on it, or a lens that is fitted on the route itself"
            )
        ends = [len(self.weight)]  # the last stage is read as it is
        return [0, *(known[step.layers] for step in route.steps[:-1]), *ends]

    def save(self, path: str | Path) -> None:
        """Write it to a safetensors file, atomically.

        Args:
            path: Such as `"lens.safetensors"`.

        Raises:
            CannotWrite: A full disk, or a path that cannot be written.
        """
        from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType]

        facts = {
            "format": _FORMAT,
            "route": str(self.route),
            "layers": str(self.route.n_layers),
            "before": json.dumps(self.before),
            "after": json.dumps(self.after),
        }
        tensors = {name: getattr(self, name).cpu().contiguous() for name in ("weight", "bias", "probe")}
        with written(Path(path)) as scratch:
            save_file(tensors, scratch, facts)

    @classmethod
    def load(cls, path: str | Path) -> TunedLens:
        """Read what `save` wrote.

        Args:
            path: The file.

        Raises:
            InputError: There is no such file, or it is none that `save` wrote.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with cast(Any, safe_open(str(path), framework="pt")) as file:
                facts = cast("Mapping[str, str]", file.metadata() or {})
                if facts.get("format") != _FORMAT:
                    raise InputError(f"{str(path)!r} is no tuned lens that mechpaint wrote")
                tensors = {name: cast(Tensor, file.get_tensor(name)) for name in ("weight", "bias", "probe")}
        except (OSError, SafetensorError) as error:
            raise InputError(f"cannot read a tuned lens from {str(path)!r}: {error}") from error
        route = Route.parse(facts["route"], int(facts["layers"]))
        before, after = (tuple(json.loads(facts[name])) for name in ("before", "after"))
        return cls(route, **tensors, before=before, after=after)

    def check_model(self, model: TransformerBridge) -> None:
        """Refuse another model than the one that it was fitted on.

        Args:
            model: The model that it is to read.

        Raises:
            InputError: Its layers are of another number or width, or its norm and unembedding are others.
        """
        has, takes = (len(model.blocks), int(model.cfg.d_model)), (self.route.n_layers, self.bias.shape[1])
        if has != takes:
            raise InputError(
                f"this lens is for a model of {takes[0]} layers and width {takes[1]}, not {has[0]} and {has[1]}"
            )
        found = probe(model)
        if not relative_difference(found, self.probe) <= 10 * tolerance(next(model.parameters()).dtype):
            raise InputError(
                "this lens was fitted on another model: the final norm or the unembedding are not the same"
            )

    def _summary(self) -> Summary:
        facts = [("route", str(self.route)), ("numbers", f"{self.weight.numel() + self.bias.numel():,}")]
        rows = [
            (name, f"{before:.3f}", f"{after:.3f}")
            for name, before, after in zip(stage_names(self.route), self.before, self.after, strict=False)
        ]
        columns = ("stage", "KL to the last, logit lens (nats)", "tuned lens")
        return Summary("Tuned lens", facts, columns, rows)

    def __repr__(self) -> str:
        return f'TunedLens("{self.route}", {len(self.weight)} translators)'


def probe(model: TransformerBridge) -> Float[Tensor, "vocab"]:
    """The logits that a model's tail makes of a fixed stream."""
    weight = next(model.parameters())
    stream = torch.randn((1, int(model.cfg.d_model)), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return Tail(model).logits(stream.to(weight.device, weight.dtype))[0].float().cpu()


def tuned_lens(
    model: TransformerBridge,
    text: str | Sequence[int] | Int[Tensor, "position"] | Int[Tensor, "1 position"],
    lens: TunedLens | str | Path,
    hook_set: Routing | None = None,
    *,
    by: By = "visit",
    answer: str | int | None = None,
    positions: int | Sequence[int] | None = None,
    top: int = 5,
    keep_logits: bool = False,
) -> LensReadout:
    """Read the next token off the residual stream at every stage of a route, through a fitted lens.

    Args:
        model: The bridge that the lens was fitted on.
        text: A text, or its token ids.
        lens: The lens, or the path of one that was saved.
        hook_set: A hook set or route, or the text of either, to run the model under; None for the lens's own route.
        by: `"visit"`: the route is the lens's own. `"layer"`: on any other, each stage is read as the lens reads the
            stage after the same layer; an approximation, for what a layer is handed may be unlike what it was there.
        answer: A token, as text or number, whose rank and probability are kept at every stage.
        positions: Which positions are read; negative ones count from the last; None for all.
        top: How many of the most likely tokens are kept.
        keep_logits: Whether all logits are kept.

    Returns:
        The readout, which draws itself.

    Raises:
        InputError: A lens of another route or model, a file that holds none, or as for `logit_lens`.
        HookSetError: As for `logit_lens`.
        LoadError: A model without a language-modelling head.
    """
    fitted = lens if isinstance(lens, TunedLens) else TunedLens.load(lens)
    fitted.check_model(model)
    under = as_hook_set(fitted.route if hook_set is None else hook_set)
    settings = Settings(answer, positions, top, keep_logits)
    return read_through("tuned lens", model, text, under, settings, lambda route: fitted.for_route(route, by))
