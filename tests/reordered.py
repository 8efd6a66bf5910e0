"""lm-eval's own model of Hugging Face around layers that were put in order by hand: without the library."""

from __future__ import annotations

import copy
import functools
from typing import Any

import torch
import transformers
from lm_eval.models.huggingface import HFLM


@functools.cache
def plain(path: Any) -> Any:
    """The model of a folder."""
    return transformers.AutoModelForCausalLM.from_pretrained(path, attn_implementation="eager", dtype="float32").eval()


def hflm(path: Any, order: list[int], **options: Any) -> HFLM:
    """HFLM around the layers in this order; one that comes twice is copied, and has two places in a cache."""
    model = copy.deepcopy(plain(path))
    layers = [copy.deepcopy(model.model.layers[i]) for i in order]
    for place, layer in enumerate(layers):
        layer.self_attn.layer_idx = place
    model.model.layers = torch.nn.ModuleList(layers)
    model.config.num_hidden_layers = len(order)
    return HFLM(pretrained=model, tokenizer=transformers.AutoTokenizer.from_pretrained(path), **options)
