"""What is checked of every architecture, against a plain loop over its layers.

The tests assert what is found here, and the table in the documentation is made of it.
"""

from __future__ import annotations

import copy
import itertools
import warnings
from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

import mechpaint as mp
from mechpaint.hooks import Reroute
from mechpaint.routes.route import Route
from tests import plain, tiny
from tests.architectures.recipes import OWN_RECIPES, RECIPES

ROUTES: dict[str, list] = {
    "0-1 4-5": [0, 1, 4, 5],
    "0 4 2-3 1 5": [0, 4, 2, 3, 1, 5],
    "5-0": [5, 4, 3, 2, 1, 0],
    "3 1 4 0 5 2": [3, 1, 4, 0, 5, 2],
    "0 2x9 5": [0, *[2] * 9, 5],
    "0 (1-4) 5": [0, (1, 2, 3, 4), 5],
    "0 (1-4)x3 5": [0, *[(1, 2, 3, 4)] * 3, 5],
    "0 (1+2) (3+4) 5": [0, [1, 2], [3, 4], 5],
    "3": [3],
}
"""Skipped, swapped, reversed, shuffled, repeated beyond the number of layers, averaged, averaged in a loop, added, and
one alone."""

LOOPED = "0 (1-3)x2 5"
LOOPED_STEPS = [0, (1, 2, 3), (1, 2, 3), 5]
UNVISITED = 4

BOUND = 5e-5
"""Of differences that are rounding in float32. Wrong orders differ by more than `CONTROL`."""

SWEPT_BOUND = 2e-4
"""Of the same in a sweep: fused attention rounds in every layer, and a layer that runs nine times lets that grow."""

CONTROL = 0.05

BFLOAT16_BOUND = 0.05
"""Of mean differences in bfloat16, which has 8 significant bits, relative to the mean logit. Not of the largest: a
rounded router may choose another expert for a token."""


@dataclass(frozen=True)
class Compatibility:
    """Compatibility mode, in which TransformerLens folds norms into weights.

    Args:
        own: What it changes of the unrouted model's log-probabilities: nothing, if TransformerLens gets it right.
        routed: What it changes of them under routes.
    """

    own: float
    routed: float


@dataclass(frozen=True)
class Found:
    """What was found of one architecture. Every number is the largest absolute difference of logits, unless it says.

    Args:
        kind: The class of the model.
        adapter: That of TransformerLens's adapter.
        identity: Whether the identity route has the same bits as the model, and leaves it as it was.
        orders: From the plain loop, over the routes that only order layers.
        groups: The same over those that average or add.
        swept: The same over all of them in one sweep, in which visits share calls, and layers run bare and with fused
            attention if they can.
        control: The smallest difference that the wrong order makes: between two routes, or from no route.
        rows: Between a batch and its rows, one at a time.
        left: Between a row padded on the left and the same unpadded; None if that differs without a route as well,
            as in models that count positions from the left whatever is masked.
        right: The same for padding on the right.
        watched: Of run_with_cache and run_with_hooks from the plain loop, an edit by a hook included.
        bfloat16_own: From the plain module in bfloat16 without a route: the mean, relative to the mean logit.
        bfloat16_ordered: The same from the plain loop, along routes that only order layers.
        bfloat16_averaged: The same along a route that averages.
        gradients: Of parameters' gradients from those of the plain loop, relative to the largest of all.
        unvisited: Whether layers that were not visited, and only those, have no gradient, but for weights that layers
            share.
        compatibility: Or what TransformerLens raised.
    """

    kind: str
    adapter: str
    identity: bool
    orders: float
    groups: float
    swept: float
    control: float
    rows: float
    left: float | None
    right: float | None
    watched: float
    bfloat16_own: float
    bfloat16_ordered: float
    bfloat16_averaged: float
    gradients: float
    unvisited: bool
    compatibility: Compatibility | str


def examine(name: str) -> Found:
    """Run all checks on one of the recipes."""
    model, module, tokens = tiny.bridge(name), tiny.module(name), _tokens(2, 9)
    with torch.no_grad():
        loop = loop_of(name, module, tokens)
        expected = {text: loop.logits(steps) for text, steps in ROUTES.items()}
        bare = model(tokens)
        found = {text: _routed(model, text, tokens) for text in ROUTES}
        pairs = itertools.combinations([bare, *expected.values()], 2)
        left, right = _padded(name, model)
        result = {
            "identity": _identity(model, tokens, bare),
            "orders": max(_apart(found[text], expected[text]) for text in ROUTES if "(" not in text),
            "groups": max(_apart(found[text], expected[text]) for text in ROUTES if "(" in text),
            "swept": _swept(model, tokens, expected),
            "control": min(_apart(a, b) for a, b in pairs),
            "rows": _apart(
                torch.cat([_routed(model, LOOPED, row[None]) for row in tokens]), _routed(model, LOOPED, tokens)
            ),
            "left": left,
            "right": right,
            "watched": _watched(model, loop, tokens),
            **_bfloat16(name, tokens),
        }
    gradients, unvisited = _gradients(name, model, module, tokens)
    return Found(
        kind=type(module).__name__,
        adapter=type(model.adapter).__name__,
        **result,
        gradients=gradients,
        unvisited=unvisited,
        compatibility=_compatibility(model, tokens),
    )


def _swept(model: TransformerBridge, tokens: Tensor, expected: dict[str, Tensor]) -> float:
    routes = {Route.parse(text, len(model.blocks)): text for text in ROUTES}
    return max(_apart(found, expected[routes[route]]) for route, found in mp.sweep(model, tokens, list(routes)))


def loop_of(name: str, module: Any, tokens: Tensor) -> plain.Loop:
    """The plain loop of a module."""
    if name in RECIPES:
        return plain.hugging_face(module, tokens)
    return (plain.simplified if "simplified" in name else plain.native)(module, tokens)


def _apart(a: Tensor, b: Tensor) -> float:
    return (a - b).abs().max().item()


def _relatively(a: Tensor, b: Tensor) -> float:
    return ((a.float() - b.float()).abs().mean() / b.float().abs().mean()).item()


def _tokens(rows: int, length: int) -> Tensor:
    """No padding among them: an encoder may count positions by it."""
    return tiny.tokens(rows, length).clamp(min=5)


def _routed(model: TransformerBridge, text: str, tokens: Tensor, **inputs: Any) -> Tensor:
    with mp.attach(model, Reroute(text)) as session:
        found = model(tokens, **inputs)
    assert str(session.route) == text
    return found


def _identity(model: TransformerBridge, tokens: Tensor, bare: Tensor) -> bool:
    before = _parts(model)
    with mp.attach(model, mp.HookSet()):
        attached = model(tokens)
    return torch.equal(attached, bare) and torch.equal(model(tokens), bare) and before == _parts(model)


def _parts(model: TransformerBridge) -> list[object]:
    blocks, names = model.blocks, [name for name, _ in model.named_parameters()]
    return [id(blocks), *map(id, blocks), names]


def _padded(name: str, model: TransformerBridge) -> tuple[float | None, float | None]:
    tokens, other = _tokens(2, 9).split(1)
    tokens = tokens[:, :6]
    padding = torch.full((1, 3), RECIPES[name].settings.get("pad_token_id", 0) if name in RECIPES else 0)
    kept, dropped = torch.ones_like(tokens), torch.zeros_like(padding)

    def apart(row: list[Tensor], mask: list[Tensor], places: slice) -> float | None:
        batch = torch.cat([torch.cat(row, 1), other])
        masks = torch.cat([torch.cat(mask, 1), torch.ones_like(other)])
        if _apart(model(batch, attention_mask=masks)[:1, places], model(tokens)) > BOUND:
            return None
        return _apart(_routed(model, LOOPED, batch, attention_mask=masks)[:1, places], _routed(model, LOOPED, tokens))

    left = apart([padding, tokens], [dropped, kept], slice(3, None))
    return left, apart([tokens, padding], [kept, dropped], slice(6))


def _watched(model: TransformerBridge, loop: plain.Loop, tokens: Tensor) -> float:
    """Reads and edits under a route in which layer 4 comes after layer 0, and is the last but two to run."""
    text, steps = "0 4 2-3 1 5", [0, 4, 2, 3, 1, 5]
    after = loop.residual([0, 4])
    with mp.attach(model, Reroute(text)):
        logits, cache = model.run_with_cache(tokens)
        halved = model.run_with_hooks(tokens, fwd_hooks=[("blocks.4.hook_out", lambda x, hook: x / 2)])
    edited = plain.Loop(after / 2, loop.call, loop.tail)
    return max(
        _apart(logits, loop.logits(steps)),
        _apart(cache["blocks.4.hook_in"], loop.residual([0])),
        _apart(cache["blocks.4.hook_out"], after),
        _apart(halved, edited.logits([2, 3, 1, 5])),
    )


def _bfloat16(name: str, tokens: Tensor) -> dict[str, float]:
    with warnings.catch_warnings():  # Llama 4's vision model has complex numbers, which no text passes through
        warnings.filterwarnings("ignore", "Casting complex values", UserWarning)
        module = tiny.module(name).to(torch.bfloat16)
    model = mp.load(copy.deepcopy(module)) if name in RECIPES else OWN_RECIPES[name].wrap(module).to(torch.bfloat16)
    loop = loop_of(name, module, tokens)

    def apart(text: str, steps: list) -> float:
        found, expected = _routed(model, text, tokens), loop.logits(steps)
        assert found.dtype == expected.dtype  # some models return float32 nevertheless
        return _relatively(found, expected)

    return {
        "bfloat16_own": _relatively(model(tokens), loop.logits(list(range(tiny.N_LAYERS)))),
        "bfloat16_ordered": max(apart(text, ROUTES[text]) for text in ("3 1 4 0 5 2", "0 2x9 5")),
        "bfloat16_averaged": apart(LOOPED, LOOPED_STEPS),
    }


def _gradients(name: str, model: TransformerBridge, module: Any, tokens: Tensor) -> tuple[float, bool]:
    for parameter in itertools.chain(model.parameters(), module.parameters()):
        parameter.requires_grad_(True)  # a toy's are not all
    direction = torch.randn(2, 9, tiny.VOCABULARY, generator=torch.Generator().manual_seed(2))
    (_routed(model, LOOPED, tokens) * direction).sum().backward()
    (loop_of(name, module, tokens).logits(LOOPED_STEPS) * direction).sum().backward()
    own = {n.replace("._original_component", ""): p.grad for n, p in model.original_model.named_parameters()}
    # TransformerLens splits some joint matrices into copies of its own
    both = [(own[n], p.grad) for n, p in module.named_parameters() if own.get(n) is not None and p.grad is not None]
    apart = max(_apart(a, b) for a, b in both) / max(b.abs().max().item() for _, b in both)
    places = Counter(id(p) for block in model.blocks for p in block.parameters())
    reached = [
        any(p.grad is not None and p.grad.any() for p in block.parameters() if places[id(p)] == 1)
        for block in model.blocks
    ]
    model.zero_grad()
    return apart, reached == [i != UNVISITED for i in range(tiny.N_LAYERS)]


def _compatibility(model: TransformerBridge, tokens: Tensor) -> Compatibility | str:
    with torch.no_grad():
        before = [model(tokens).log_softmax(-1), _routed(model, LOOPED, tokens).log_softmax(-1)]
        try:
            with warnings.catch_warnings(action="ignore"):  # of what it leaves as it is, such as norms after a layer
                model.enable_compatibility_mode(disable_warnings=True)
            own = model(tokens).log_softmax(-1)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return Compatibility(_apart(own, before[0]), _apart(_routed(model, LOOPED, tokens).log_softmax(-1), before[1]))


def refusal(name: str) -> tuple[str, str, str]:
    """The model's class, its adapter's, and why its layers cannot be run along a route.

    Raises:
        LookupError: They can.
    """
    model = tiny.bridge(name)
    try:
        _routed(model, "0-1", _tokens(1, 3))
    except mp.CannotReroute as reason:
        return type(model.original_model).__name__, type(model.adapter).__name__, str(reason)
    raise LookupError(f"{name} was not refused")
