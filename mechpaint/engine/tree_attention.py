"""Attention within trees of tokens: the model's own masks, at positions in the own row, among a node's ancestors.

Hugging Face lets masks be registered under a name, and gives a registered one the model's own mask function: causal,
sliding or chunked. Where a model's masks or positions come from elsewhere this is not exact, so each model is compared
with separate rows, at the lengths that it is used for.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge
from transformers import AttentionMaskInterface

from mechpaint.engine.agreement import additions, close, square
from mechpaint.engine.fused_attention import fastest_attention, implementations
from mechpaint.engine.layer_inputs import LayerInputs
from mechpaint.engine.ownership import owned
from mechpaint.engine.route_runner import RouteRunner
from mechpaint.engine.token_tree import TokenTree
from mechpaint.engine.unhooked_layers import has_foreign_hooks
from mechpaint.errors import CannotReroute

Attention: TypeAlias = Callable[[], AbstractContextManager[None]]
"""Makes contexts for recording and running layers, as `fastest_attention` gives it."""

_NAME = "mechpaint_token_tree"
_KINDS = {"eager", "sdpa"}
_SHORT = 16
"""The length of rows that every model is compared at first."""
_VOCABULARY = 64
"""The tokens that made-up rows are drawn from: few enough to be words of every model, without those that pad or end."""
_CLEARLY = 0.05
"""The share of a wrong mask's squared error that rounding may reach."""
_CURRENT: ContextVar[_Masks] = ContextVar(_NAME)

_EXACT: WeakKeyDictionary[nn.Module, dict[tuple[object, ...], dict[int, bool]]] = WeakKeyDictionary()
"""The answers so far, by what was compared and the length of its rows."""


@dataclass(frozen=True, slots=True)
class _Masks:
    """The trees whose masks are made, and whether for fused attention."""

    tree: TokenTree
    fused: bool


def _tree_mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    mask_function: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor],
    dtype: torch.dtype = torch.float32,
    use_vmap: bool = False,
    **options: Any,
) -> Bool[Tensor, "batch 1 query key"] | Float[Tensor, "batch 1 query key"]:
    """A mask as Hugging Face asks for it, for one or several copies of the trees."""
    masks = _CURRENT.get()
    positions = masks.tree.positions
    rows, length = positions.shape
    if use_vmap or (q_length, kv_length) != (length, length) or batch_size % rows:
        raise CannotReroute(f"a mask of {batch_size} x {q_length} x {kv_length} is none of token trees")
    row = torch.arange(rows, device=positions.device)[:, None, None, None]
    query, key = positions[:, None, :, None], positions[:, None, None, :]
    own = mask_function(row, torch.zeros_like(row), query, key)
    allowed = own & masks.tree.allowed()[:, None]
    allowed = allowed.repeat(batch_size // rows, 1, 1, 1)
    if masks.fused:
        return allowed
    return torch.zeros(allowed.shape, dtype=dtype, device=allowed.device).masked_fill_(~allowed, torch.finfo(dtype).min)


AttentionMaskInterface.register(_NAME, _tree_mask)


@contextmanager
def tree_masks(runner: RouteRunner, tree: TokenTree) -> Generator[None]:
    """Within this context Hugging Face makes masks of token trees, for the attention that the model has before it."""
    config: Any = runner.model.original_model.config
    before = config._attn_implementation
    with owned(runner.model.original_model):
        token = _CURRENT.set(_Masks(tree, fused=before == "sdpa"))
        config._attn_implementation = _NAME
        try:
            yield
        finally:
            config._attn_implementation = before
            _CURRENT.reset(token)


def record_packed(runner: RouteRunner, tree: TokenTree, copies: int = 1) -> LayerInputs:
    """What a forward pass hands its layers for so many copies of the trees."""
    tokens, positions = tree.tokens.repeat(copies, 1), tree.positions.repeat(copies, 1)
    # with a mask of ones, for without one Hugging Face takes positions that begin again for sequences of their own
    with tree_masks(runner, tree):
        return runner.record(tokens, torch.ones_like(tokens), position_ids=positions)


def can_share(
    runner: RouteRunner, layers: Sequence[nn.Module], attention: Attention, longest: int, length: int
) -> bool:
    """Check that rows up to this length have the same results in packed rows of that one, and nobody looks at them."""
    whole: Any = runner.model.original_model
    config = getattr(whole, "config", None)
    if not hasattr(config, "_attn_implementation") or "position_ids" not in inspect.signature(whole.forward).parameters:
        return False
    with attention():
        kinds = set(implementations(config))
    if len(kinds) != 1 or not kinds <= _KINDS or has_foreign_hooks(runner.model) or has_foreign_hooks(whole):
        return False
    known = _EXACT.setdefault(whole, {}).setdefault((runner.identity, layers is runner.layers, *kinds), {})
    # masks and windows that have nothing to do with Hugging Face's show in rows of such a length only
    size = _rounded(max(longest, -(-2 * length // 3)))
    if any(exact for compared, exact in known.items() if compared >= size):
        return True
    for each in (_SHORT, size):
        if each not in known:
            known[each] = _exact(runner, layers, attention, each)
        if not known[each]:
            return False
    return True


def shares_tokens(model: TransformerBridge, longest: int, length: int) -> bool:
    """Tell whether a sweep of rows up to this length, packed in rows of that one, will run them as token trees."""
    if next(model.original_model.parameters()).is_meta:  # there is nothing to compare
        return False
    try:
        runner = RouteRunner(model)
        with torch.no_grad():
            layers = runner.fastest()
            return can_share(runner, layers, fastest_attention(runner, layers), longest, length)
    except CannotReroute:
        return False


def _rounded(length: int) -> int:
    """The next power of two, or one and a half times one."""
    power = 1 << max(length - 1, _SHORT - 1).bit_length()
    return power if length > 3 * power // 4 or power == _SHORT else 3 * power // 4


def _exact(runner: RouteRunner, layers: Sequence[nn.Module], attention: Attention, length: int) -> bool:
    """Compare what layers add to the embeddings of rows, and of their trees."""
    tokens, real = _made_up(runner, length)
    tree = TokenTree.of(tokens, real, price=length**2)  # all in one packed row
    seen = set(runner.harmless)
    try:
        with torch.no_grad(), attention():
            rows = runner.record(tokens, real)
            packed = record_packed(runner, tree)
            # what comes out if nothing is done about siblings: an answer that could not have been another is none
            control = runner.record(tree.tokens, torch.ones_like(tree.tokens), position_ids=tree.positions)
            expected = (added[real.bool().to(added.device)] for added in additions(runner, layers, rows))
            found, wrong = (
                (tree.at(added, tree.index[real.bool()]) for added in additions(runner, layers, inputs))
                for inputs in (packed, control)
            )
            return _closer(expected, found, wrong)
    except Exception:  # of layers that cannot run such rows, or masks that cannot be made
        return False
    finally:
        runner.harmless.intersection_update(seen)


def _closer(expected: Iterator[Tensor], found: Iterator[Tensor], wrong: Iterator[Tensor]) -> bool:
    """Tell whether what was found is what was expected, and what is wrong is not."""
    error = control = 0.0
    for a, b, c in zip(expected, found, wrong, strict=True):
        if not close([a], [b]):
            return False
        error, control = error + square(b - a), control + square(c - a)
    return error < _CLEARLY * control


def _made_up(runner: RouteRunner, length: int) -> tuple[Tensor, Tensor]:
    """Rows that share halves and quarters of their tokens, as long as the model takes them, and their mask."""
    size = min(length, max(int(runner.model.cfg.n_ctx), _SHORT))
    device, most = runner.model.cfg.device, min(_VOCABULARY, int(runner.model.cfg.d_vocab) - 3)
    drawn = torch.randint(most, (3, size), generator=torch.Generator().manual_seed(0))
    drawn[1, : size // 2] = drawn[0, : size // 2]
    drawn[2, : size // 4] = drawn[0, : size // 4]
    real = torch.ones_like(drawn)
    real[2, size // 2 :] = 0
    rows = 3 if length == _SHORT else 2
    return (drawn[:rows] + 3).to(device), real[:rows].to(device)
