"""GSM8K on Gemma-3-270M, against lm-eval's own model of Hugging Face (`HFLM`), text for text.

MECHPAINT_DATA names a folder with gsm8k.jsonl and gsm8k_train.jsonl, in the columns of the data set on the hub.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import mechpaint as mp
from mechpaint.hooks import Skip
from mechpaint.models.presets import PRESETS
from mechpaint.routes.route import Route
from mechpaint.tasks import LmEval
from mechpaint.tasks.lm_eval.generation import generate
from tests.reordered import hflm

DATA = Path(os.environ.get("MECHPAINT_DATA", ""))
LIMIT = 2
MOST = 32  # new tokens: 256 would take minutes
ORDERS = {Route.identity(18): [*range(18)], Skip(8, 9).route(18): [*range(8), *range(10, 18)]}

pytestmark = [
    pytest.mark.models,
    pytest.mark.slow,
    pytest.mark.skipif(not (DATA / "gsm8k_train.jsonl").is_file(), reason="MECHPAINT_DATA names no such folder"),
]


@pytest.mark.parametrize("route", ORDERS, ids=str)
def test_gsm8k_is_written_as_by_hugging_faces_model(route):
    gemma = mp.load("gemma-3-270m")
    data, examples = (str(DATA / f"{name}.jsonl") for name in ("gsm8k", "gsm8k_train"))
    task = LmEval("gsm8k", data=data, examples=examples)
    task.loaded.set_config("generation_kwargs", {"max_gen_toks": MOST}, update=True)
    items = task.select(gemma, LIMIT).items
    texts = {prompt.number: answer.texts for prompt, answer in generate(gemma, items, route, LIMIT, lambda ticks: None)}
    peer = hflm(PRESETS["gemma-3-270m"].folder(), ORDERS[route], batch_size=LIMIT)
    peer.model.config.layer_types = [peer.model.config.layer_types[i] for i in ORDERS[route]]
    expected = peer.generate_until(_as_lm_eval_asks(task.loaded), disable_tqdm=True)
    assert texts == {i: (text,) for i, text in enumerate(expected)}
    assert all(len(prompt.tokens) > 300 for prompt in items)  # five examples before each question


def _as_lm_eval_asks(task):
    """Requests as `lm_eval.simple_evaluate` makes them, which draws the examples by this seed."""
    task.set_fewshot_seed(seed=1234)
    task.build_all_requests(limit=LIMIT, rank=0, world_size=1)
    return task.instances
