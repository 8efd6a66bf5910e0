"""Arguments that `attach`, `sweep`, `export` and the circuits share: routes, hook sets and tokens, or their texts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias, cast

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformer_lens.model_bridge import TransformerBridge

from mechpaint.display.sanitize import short
from mechpaint.engine.layer_inputs import Tokens
from mechpaint.errors import HookSetError, InputError, LoadError
from mechpaint.hooks import BUILT_IN, Reroute
from mechpaint.routes.hookset import HookSet
from mechpaint.routes.hookset_text import parse_hook_set
from mechpaint.routes.prefix_tree import PrefixTree
from mechpaint.routes.route import Route
from mechpaint.routes.stages import edited

Routing: TypeAlias = HookSet | Route | str
"""A hook set, a route, or a text of either: `"skip(4, 7) + read_attention()"`, `"0-3 14-17"`."""

Text: TypeAlias = Int[Tensor, "batch position"] | str | Sequence[str]
"""Token ids, or texts for the model's own tokenizer."""

_BUILT_IN: Mapping[str, type[HookSet]] = {one.text_name(): one for one in BUILT_IN}


def as_hook_set(given: object, known: Mapping[str, type[HookSet]] | None = None) -> HookSet:
    """Read a hook set, a route, or a text of either; `known` adds names to those of the built-in hook sets."""
    if isinstance(given, HookSet):
        return given
    if isinstance(given, Route):
        return Reroute(given)
    if not isinstance(given, str):
        several = isinstance(given, Sequence)
        remedy = "; join hook sets with +, run several routes with mechpaint.sweep" if several else ""
        raise HookSetError(
            "expected a hook set, a route, or a text of either, such as 'skip(4, 7)' or '0-3 14-17', got "
            f"{short(given)}{remedy}"
        )
    text = given.strip()
    if text and not text[0].isalpha():
        return Reroute(text)
    expected = "one of these names" if known else "one of these names; give a plugin's hook set as an object"
    return parse_hook_set(text, {**_BUILT_IN, **(known or {})}, expected)


def as_route(given: object, n_layers: int) -> Route:
    """Read a route, a hook set that only reroutes, or a text of either."""
    if isinstance(given, Route):
        given.check_model(n_layers)
        return given
    hook_set = as_hook_set(given)
    if not hook_set.only_reroutes():
        raise HookSetError(
            f"expected hook sets that only reroute, and {hook_set} also reads or hooks: run it with mechpaint.attach"
        )
    return hook_set.route(n_layers)


def as_swept(given: object, n_layers: int) -> Route:
    """Read a route, a hook set that reroutes and changes activations, or a text of either, as a sweep runs it."""
    if isinstance(given, Route):
        given.check_model(n_layers)
        return given
    hook_set = as_hook_set(given)
    if not hook_set.only_edits():
        raise HookSetError(
            f"a sweep runs hook sets that reroute and change activations, and {hook_set} also reads or hooks: run it "
            "with mechpaint.attach"
        )
    return edited(hook_set, n_layers)


def as_tree(given: object, n_layers: int) -> PrefixTree:
    """Read a prefix tree, or one or more of what `as_swept` reads."""
    if isinstance(given, PrefixTree):
        return given
    if isinstance(given, HookSet | Route | str):
        return PrefixTree([as_swept(given, n_layers)])
    if not isinstance(given, Iterable):
        raise HookSetError(f"expected routes, hook sets or texts of them, got {short(given)}")
    return PrefixTree(as_swept(one, n_layers) for one in cast(Iterable[object], given))


def as_tokens(model: TransformerBridge, given: object) -> tuple[Tokens, Tokens | None]:
    """Token ids; of texts that differ in length padded on the right, with the attention mask."""
    if isinstance(given, Tensor):
        return given, None
    rows = [_tokenized(model, text) for text in _texts(given)]
    lengths = torch.tensor([len(row) for row in rows], device=rows[0].device)
    pad: object = getattr(model.tokenizer, "pad_token_id", None)
    tokens = pad_sequence(rows, batch_first=True, padding_value=pad if isinstance(pad, int) else 0)
    mask = (torch.arange(tokens.shape[1], device=tokens.device) < lengths[:, None]).long()
    return tokens, None if mask.all() else mask


def _texts(given: object) -> list[str]:
    listed = isinstance(given, list | tuple)
    texts = [given] if isinstance(given, str) else list(cast(Sequence[object], given)) if listed else []
    if not texts or not all(isinstance(text, str) for text in texts):
        raise InputError(f"expected tokens [batch, position], a text or a list of texts, got {short(given)}")
    return cast(list[str], texts)


def _tokenized(model: TransformerBridge, text: str) -> Int[Tensor, "position"]:
    if model.tokenizer is None:
        raise LoadError(
            f"cannot read {short(text)}, since this model has no tokenizer: expected tokens [batch, position], "
            "or mechpaint.load(model, tokenizer=...)"
        )
    tokens = model.to_tokens(text, truncate=False)[0]
    if len(tokens) == 0:
        raise InputError(f"the text {text!r} has no tokens: expected one or more")
    return tokens
