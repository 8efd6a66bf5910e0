"""The painters' own code: recorded outputs, through `attach` and through `sweep`."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file

import mechpaint as mp
from mechpaint.analyses.painters import variant
from mechpaint.hooks import Reroute
from mechpaint.route import Route

GOLDEN = Path(os.environ.get("MECHPAINT_GOLDEN") or Path(__file__).parents[1] / "golden")
INDEX = json.loads((GOLDEN / "index.json").read_text())
CASES = INDEX["cases"]
INPUTS = load_file(GOLDEN / "inputs.safetensors")
LOGITS = load_file(GOLDEN / "logits.safetensors")


@cache
def _model(name):
    kind = getattr(transformers, INDEX["models"][name]["architecture"])
    return mp.load(kind.from_pretrained(GOLDEN / "models" / name, dtype=torch.float32))


def _route(case):
    steps = [tuple(step) if isinstance(step, list) else step for step in case["layer_order"]]
    return Route.of(steps, INDEX["models"][case["model"]]["num_layers"])


def _inputs(case):
    names = ("attention_mask", "token_type_ids")
    found = {name: INPUTS[f"{case['input']}/{name}"] for name in names if f"{case['input']}/{name}" in INPUTS}
    tokens = INPUTS[f"{case['input']}/input_ids"]
    if "attention_mask" in found:  # positions were counted from the first column
        found["position_ids"] = torch.arange(tokens.shape[1]).expand_as(tokens)
    return tokens, found


def _difference(case, logits):
    tokens, inputs = _inputs(case)
    real = inputs.get("attention_mask", torch.ones_like(tokens)).bool()
    difference = (logits - LOGITS[case["logits"]])[real].abs().max().item()
    assert difference == difference, "the logits are not numbers"
    return difference


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_attach(case):
    model, (tokens, inputs) = _model(case["model"]), _inputs(case)
    with torch.no_grad(), mp.attach(model, Reroute(_route(case))):
        assert _difference(case, model(tokens, **inputs)) < 1e-4


def _groups():
    found = defaultdict(list)
    for case in CASES:
        found[case["input"]].append(case)
    return found


@pytest.mark.parametrize("name", _groups())
def test_sweep(name):
    """All routes on one input at once."""
    cases = _groups()[name]
    model, (tokens, inputs) = _model(cases[0]["model"]), _inputs(cases[0])
    found = dict(mp.sweep(model, tokens, map(_route, cases), **inputs))
    for case in cases:
        assert _difference(case, found[_route(case)]) < 1e-4, case["id"]


@pytest.mark.parametrize(
    "case", [c for c in CASES if c["method"] in ("skip", "reverse", "random")], ids=lambda c: c["id"]
)
def test_negative_control(case):
    """The full model's logits, or those of a route that differs by one swap, must not pass."""
    model, (tokens, inputs) = _model(case["model"]), _inputs(case)
    steps = list(_route(case).steps)
    steps[-2:] = reversed(steps[-2:])
    for wrong in (Route.identity(len(model.blocks)), Route(tuple(steps), len(model.blocks))):
        if wrong == _route(case):
            continue
        with torch.no_grad(), mp.attach(model, Reroute(wrong)):
            assert _difference(case, model(tokens, **inputs)) > 1e-2


@pytest.mark.parametrize(
    "case",
    [c for c in CASES if not c["overlapping_range"] and c["method"] != "baseline"],
    ids=lambda c: c["id"],
)
def test_variants_are_the_orders_that_were_observed(case):
    n_layers = INDEX["models"][case["model"]]["num_layers"]
    assert variant(case["method"], n_layers, case["start_layer"], case["repeat_or_seed"]) == _route(case)
