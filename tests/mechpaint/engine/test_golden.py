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
from mechpaint.routes.route import Route

GOLDEN = Path(os.environ.get("MECHPAINT_GOLDEN") or Path(__file__).parents[2] / "golden")
INDEX = json.loads((GOLDEN / "index.json").read_text())
CASES = INDEX["cases"]
INPUTS = load_file(GOLDEN / "inputs.safetensors")
LOGITS = load_file(GOLDEN / "logits.safetensors")
GENERATED = load_file(GOLDEN / "generation.safetensors")
RUNS = INDEX["generation"]


@cache
def _model(name):
    kind = getattr(transformers, INDEX["models"][name]["architecture"])
    return mp.load(kind.from_pretrained(GOLDEN / "models" / name, dtype=torch.float32))


def _route(case):
    steps = [tuple(step) if isinstance(step, list) else step for step in case["layer_order"]]
    return Route.of(steps, INDEX["models"][case["model"]]["num_layers"])


def _inputs(case):
    names = ("attention_mask", "token_type_ids")
    inputs = {name: INPUTS[f"{case['input']}/{name}"] for name in names if f"{case['input']}/{name}" in INPUTS}
    tokens = INPUTS[f"{case['input']}/input_ids"]
    if "attention_mask" in inputs:  # positions were counted from the first column
        inputs["position_ids"] = torch.arange(tokens.shape[1]).expand_as(tokens)
    return tokens, inputs


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
    by_input = defaultdict(list)
    for case in CASES:
        by_input[case["input"]].append(case)
    return by_input


@pytest.mark.parametrize("name", _groups())
def test_sweep(name):
    """All routes on one input at once."""
    cases = _groups()[name]
    model, (tokens, inputs) = _model(cases[0]["model"]), _inputs(cases[0])
    logits = dict(mp.sweep(model, tokens, map(_route, cases), **inputs))
    for case in cases:
        assert _difference(case, logits[_route(case)]) < 1e-4, case["id"]


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


def _generated(run, **options):
    """Tokens and step logits of a run's prompt, continued greedily."""
    model = _model(run["model"])
    prompt = INPUTS[f"{run['prompt']}/input_ids"]
    mask = INPUTS.get(f"{run['prompt']}/attention_mask")
    done = model.generate(
        prompt, attention_mask=mask, max_new_tokens=run["max_new_tokens"], do_sample=False, stop_at_eos=False,
        output_logits=True, verbose=False, **options,
    )  # fmt: skip
    return done.sequences[:, prompt.shape[1] :], torch.stack(done.logits, dim=1)


def _run_route(run):
    n_layers = INDEX["models"][run["model"]]["num_layers"]
    return Reroute(variant(run["method"], n_layers, run["start_layer"], run["repeat_or_seed"]))


def _recorded(run, mode):
    logits = GENERATED.get(f"{run['id']}/{mode}/step_logits", GENERATED[f"{run['id']}/cache/step_logits"])
    return GENERATED[f"{run['id']}/{mode}/tokens"], logits


@pytest.mark.parametrize("mode", ["cache", pytest.param("nocache", marks=pytest.mark.slow)])
@pytest.mark.parametrize("run", RUNS, ids=lambda run: run["id"])
def test_generation(run, mode):
    """With averaged slots what the code's cache gave, without a cache what it gave without."""
    tokens, logits = _recorded(run, mode)
    with mp.attach(_model(run["model"]), _run_route(run), kv="averaged"):
        found_tokens, found_logits = _generated(run, use_past_kv_cache=mode == "cache")
    assert torch.equal(found_tokens, tokens)
    assert (found_logits - logits).abs().max() < 1e-4


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run["id"])
def test_generation_with_exact_slots_is_the_recorded_run_without_a_cache(run):
    """Also where the code's own cache gave other tokens: there the averaged slots must be told from the exact ones."""
    tokens, logits = _recorded(run, "nocache")
    with mp.attach(_model(run["model"]), _run_route(run)):
        found_tokens, found_logits = _generated(run)
    assert torch.equal(found_tokens, tokens)
    assert (found_logits - logits).abs().max() < 1e-4
    approximate, _ = _recorded(run, "cache")
    assert torch.equal(found_tokens, approximate) == run["tokens_equal"]
