"""`unroll`: a bridge with one block for every visit of a route, on the model's own weights.

As for a checkpoint, the model's class builds a model whose layers are the route. It has no memory for weights: every
parameter and every buffer in it is the very object that the source model has at the same place of the layer that is
visited. So nothing is copied, gradients of all visits of a layer add up in its parameters, and what TransformerLens
divides (a joint matrix of queries, keys and values) is shared as the source has it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge
from transformers import PreTrainedModel

from mechpaint.engine.agreement import remember
from mechpaint.engine.arguments import Routing, as_hook_set
from mechpaint.engine.compatibility import layer_path, silenced
from mechpaint.engine.route_runner import RouteRunner
from mechpaint.engine.unhooked_layers import has_foreign_hooks
from mechpaint.errors import CannotUnroll, first_line
from mechpaint.models.comparison import relative_difference, tolerance
from mechpaint.models.meta_device import bridge_of_zeros
from mechpaint.models.rearranged import single_layers, without_weights
from mechpaint.routes.route import Route

_TOKENS = 32
_SETTINGS = (
    "default_padding_side",
    "default_prepend_bos",
    "tokenizer_appends_eos",
    "tokenizer_prepends_bos",
    "d_vocab",
    "d_vocab_out",
    "device",
    "dtype",
)
"""What a bridge's configuration says of its tokenizer and of its weights."""
_SWITCHES = ("use_attn_result", "use_attn_in", "use_hook_mlp_in", "use_split_qkv_input")
"""Hook points that TransformerLens computes if asked to, by `set_…`."""


_NO_GROUPS = (
    "The blocks of an unrolled model run "
    "one after another, and none of them can run several and merge what they give: run this route with "
    "mechpaint.attach, which reads and intervenes by visit"
)
"""Why a route with groups is refused."""


class UnrolledBridge(TransformerBridge):
    """A TransformerBridge with one block for every visit of a route, on another bridge's weights. `unroll` makes it.

    Attributes:
        route: The route of the model that it was made of: block i is the layer at step i.
    """

    route: Route

    def process_weights(self, *args: Any, **kwargs: Any) -> None:
        """TransformerLens's own, as compatibility mode calls it, on weights that are copied for it first.

        It writes into weights; those of the model that this one was made of stay as they are.

        Args:
            args: What TransformerLens's own takes.
            kwargs: The same, by name.
        """
        if not getattr(self, "_weights_processed", False):
            _copy_weights(self)
        super().process_weights(*args, **kwargs)


def unroll(model: TransformerBridge, route: Routing) -> UnrolledBridge:
    """A TransformerBridge with one block for every visit of a route, for every tool of TransformerLens.

    `blocks.7.hook_resid_pre` is what the eighth visit reads, `cfg.n_layers` the number of visits, and a cache holds
    each of them; logit lens, patching, attribution and whatever else counts layers are those of the route. It computes
    what `attach` does, which is tried on random tokens.

    The weights are the model's own parameters, not copies: a change of them, training included, changes both models,
    and so does `.to`, after which only the one that it was called on is whole; so move or cast the model first.
    `enable_compatibility_mode` copies the weights before it changes them. The tokenizer is the model's, and so are the
    mode (training or evaluation), dtype, device and the hook points switched on by `set_use_attn_result` and its like.

    Args:
        model: A bridge on a Hugging Face model.
        route: A route of single layers, hook sets that only reroute, or a text of either, such as `"0-3 13-4 14-17"`.

    Raises:
        CannotUnroll: The route has groups; the hook set reads or hooks; the model's layers cannot stand where the route
            wants them; or the model is of a kind that `export` does not write either, has hooks, or is in
            compatibility mode.
        CannotReroute: This model's layers cannot be rerouted, or it is attached.
        RouteError: A route that cannot be read, leaves nothing, or names layers that the model does not have.
        HookSetError: A hook set that cannot be read, or a route of another number of layers.
    """
    hook_set = as_hook_set(route)
    if not hook_set.only_reroutes():
        raise CannotUnroll(
            f"expected hook sets that only reroute, and {hook_set} also reads or hooks. An unrolled model is a bridge "
            "with hook points of its own: unroll the route alone, and run the rest on what that gives, with "
            "mechpaint.attach or run_with_hooks"
        )
    runner = RouteRunner(model)
    taken = hook_set.route(runner.n_layers)
    order = single_layers(taken, CannotUnroll, _NO_GROUPS)
    original = _hugging_face(model)
    module, _ = without_weights(original, layer_path(model), order, "an unrolled model", CannotUnroll)
    made = bridge_of_zeros(cast(Any, module).to(original.dtype), None, str(model.cfg.model_name))
    _share(model, made, taken, order)
    made.__class__ = UnrolledBridge
    unrolled = cast(UnrolledBridge, made)
    unrolled.route = taken
    _follow(model, unrolled)
    _check(runner, unrolled)
    remember(unrolled)
    return unrolled


def _hugging_face(model: TransformerBridge) -> PreTrainedModel:
    """The Hugging Face model in a bridge, if it can be built again with other layers."""
    original: Any = model.original_model
    name = type(original).__name__
    attach = "mechpaint.attach runs its routes, and reads and intervenes by visit"
    if not isinstance(original, PreTrainedModel):
        raise CannotUnroll(f"{name} is no Hugging Face model, whose configuration says what its layers are: {attach}")
    if not type(original).__module__.startswith("transformers.models."):
        raise CannotUnroll(
            f"the code of {name} is not part of transformers, so how it makes layers is unknown: {attach}"
        )
    if getattr(original.config, "quantization_config", None) is not None:
        raise CannotUnroll(f"this {name} is quantised: load it with its weights in float32, bfloat16 or float16")
    if model.compatibility_mode or vars(model).get("_weights_processed"):
        raise CannotUnroll(
            "this model's weights were processed by TransformerLens (compatibility mode): unroll it as mechpaint.load "
            "gives it, and call enable_compatibility_mode() of the unrolled model"
        )
    places = {str(weight.device) for weight in original.parameters()}
    if len(places) > 1 or "meta" in places:
        raise CannotUnroll(
            f"the weights of this {name} are on {', '.join(sorted(places))}: expected all of them on one device, with "
            "numbers. Load it without a device map"
        )
    points = model.hook_dict.items()
    hooked = next((name for name, point in points if point.bwd_hooks or has_foreign_hooks(point)), None)
    if hooked is not None:
        raise CannotUnroll(
            f"this model has a hook at {hooked}, which an unrolled model would not have: remove it, "
            "model.reset_hooks(including_permanent=True), and hook the unrolled model"
        )
    return original


def _share(model: TransformerBridge, unrolled: TransformerBridge, route: Route, order: Sequence[int]) -> None:
    """Put the tensors of a model into all places of an unrolled one: the same objects, ready for gradients."""
    for name, part, own in _pairs(model, unrolled, order):
        if not isinstance(own, type(part)) or not _shapes(part).items() <= _shapes(own).items():
            raise CannotUnroll(
                f"{name.strip('.')} of this {type(model.original_model).__name__} is not what its class makes of its "
                f"configuration for the layers {route}: it depends on the number of layers, or was changed "
                "after the model was loaded. mechpaint.attach runs the route"
            )
        for state in _states(part):  # of rotary embeddings only those for the kinds of layers that there are
            state.update({name: value for name, value in _tensors(own).items() if name in state})


def _states(module: nn.Module) -> tuple[dict[str, Any], ...]:
    """Where a module keeps its parameters, its buffers and its other attributes."""
    attributes: dict[str, Any] = vars(module)
    return attributes["_parameters"], attributes["_buffers"], attributes


def _tensors(module: nn.Module) -> dict[str, Tensor | None]:
    parameters, buffers, attributes = _states(module)
    return {**{name: value for name, value in attributes.items() if isinstance(value, Tensor)}, **parameters, **buffers}


def _shapes(module: nn.Module) -> dict[str, torch.Size | None]:
    return {name: None if tensor is None else tensor.shape for name, tensor in _tensors(module).items()}


def _pairs(
    model: TransformerBridge, unrolled: TransformerBridge, order: Sequence[int]
) -> Iterator[tuple[str, nn.Module, nn.Module | None]]:
    """Every module of an unrolled model by name, and the one of the model in whose place it stands, if it is there."""
    blocks, layers = _blocks(unrolled), _blocks(model)
    pairs = [(_parts(block), _parts(layers[layer])) for block, layer in zip(blocks, order, strict=True)]
    pairs += [
        (_parts(whole, blocks), _parts(own, layers))
        for whole, own in ((unrolled.original_model, model.original_model), (unrolled, model))
    ]
    for parts, own in pairs:
        for name, part in parts.items():
            yield name, part, own.get(name)


def _blocks(model: TransformerBridge) -> list[nn.Module]:
    return list(cast(Any, model).blocks)


def _parts(module: nn.Module, without: Sequence[nn.Module] = (), prefix: str = "") -> dict[str, nn.Module]:
    """A module and all within it, by name."""
    parts, left_out = {prefix: module}, set(map(id, without))
    for name, child in module.named_children():
        if id(child) not in left_out:
            parts |= _parts(child, without, f"{prefix}.{name}")
    return parts


def _follow(model: TransformerBridge, unrolled: TransformerBridge) -> None:
    """Give an unrolled model the mode, the tokenizer and the settings of its source."""
    unrolled.tokenizer = model.tokenizer
    vars(vars(unrolled)["_driver"])["tokenizer"] = model.tokenizer
    for name in _SETTINGS:
        setattr(unrolled.cfg, name, getattr(model.cfg, name))
    for name in _SWITCHES:
        if getattr(model.cfg, name, False):
            getattr(unrolled, f"set_{name}")(True)
    attention: Any = cast(Any, model.original_model.config)._attn_implementation
    if attention != "eager":
        cast(Any, unrolled.original_model).set_attn_implementation(attention)
    unrolled.train(model.training)


@torch.no_grad()
def _check(runner: RouteRunner, unrolled: UnrolledBridge) -> None:
    """Compare the unrolled model's logits with those of the routed one."""
    model, name = runner.model, type(runner.model.original_model).__name__
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, int(model.cfg.d_vocab), (1, _length(model)), generator=generator).to(model.cfg.device)
    with _evaluating(model), _evaluating(unrolled):
        with silenced(model), runner.run_along(unrolled.route):
            expected: Tensor = model(tokens)
        try:
            found: Tensor = unrolled(tokens)
        except Exception as error:  # Bamba, for one, needs a layer with attention
            raise CannotUnroll(
                f"a {name} with the layers {unrolled.route} does not run "
                f"({type(error).__name__}: {first_line(error)}): run this route with mechpaint.attach"
            ) from error
    if not expected.isfinite().all():  # a long loop may overflow, whoever runs it
        return
    difference = relative_difference(found, expected)
    if not difference <= tolerance(expected.dtype):
        raise CannotUnroll(
            f"unrolled, this {name} computes something else than under mechpaint.attach: logits differ by "
            f"{difference:.2g} of their size on {tokens.shape[1]} random tokens. Its class makes layers "
            "by their place in a way that its configuration cannot say, or it was changed after it was loaded: load it "
            "anew, or run this route with mechpaint.attach"
        )


def _length(model: TransformerBridge) -> int:
    """The length of a text that the model has positions for; RoBERTa counts two more than it can take."""
    config: Any = cast(Any, model.original_model).config.get_text_config()
    return max(1, min(_TOKENS, (getattr(config, "max_position_embeddings", None) or 2**20) - 2))


@contextmanager
def _evaluating(model: TransformerBridge) -> Generator[None]:
    """Within this context there is no dropout; every part has its own mode again afterwards."""
    modes = [(part, part.training) for whole in (model, model.original_model) for part in whole.modules()]
    model.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def _copy_weights(unrolled: UnrolledBridge) -> None:
    """Give every block, and what is outside of blocks, weights of its own."""
    blocks = _blocks(unrolled)
    outside = [*_parts(unrolled, blocks).values(), *_parts(unrolled.original_model, blocks).values()]
    for parts in (outside, *(_parts(block).values() for block in blocks)):
        copies: dict[Tensor, Tensor] = {}
        for part in parts:
            for state in _states(part)[:2]:
                state.update({name: _copied(tensor, copies) for name, tensor in state.items() if tensor is not None})


def _copied(tensor: Tensor, copies: dict[Tensor, Tensor]) -> Tensor:
    """A copy; of a tensor that stands in several places, and of one that is a copy, the same."""
    if tensor not in copies:
        copy = tensor.detach().clone()
        if isinstance(tensor, nn.Parameter):
            copy = nn.Parameter(copy, requires_grad=tensor.requires_grad)
        copies[tensor] = copies[copy] = copy
    return copies[tensor]
