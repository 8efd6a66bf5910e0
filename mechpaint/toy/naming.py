"""The paper's names of parameters: `W_K^1` for `layers.0.attn.k.weight`, and so on."""

from __future__ import annotations

import re

from torch import nn

_PARTS = {
    r"tok_embed\..*": "W_E",
    r"pos\..*": "P",
    r"head\..*": "W_U",
    r"ln_out\..*": "LN",
    r"layers\.(\d+)\.attn\.q\..*": "W_Q",
    r"layers\.(\d+)\.attn\.k\..*": "W_K",
    r"layers\.(\d+)\.attn\.v\..*": "W_V",
    r"layers\.(\d+)\.attn\.o\..*": "W_O",
    r"layers\.(\d+)\.(?:ff|mlp)\..*": "W_F",
    r"layers\.(\d+)\.ln\d\..*": "LN",
}


def paper_name(parameter: str) -> str:
    """The paper's name of a parameter, layers counted from 1: `layers.1.attn.o.weight` is `W_O^2`."""
    for pattern, name in _PARTS.items():
        found = re.fullmatch(pattern, parameter)
        if found:
            return f"{name}^{int(found[1]) + 1}" if found.groups() else name
    return parameter


def parameters_by_paper_name(model: nn.Module) -> dict[str, list[nn.Parameter]]:
    """All parameters of a toy model, by the paper's names."""
    named: dict[str, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        named.setdefault(paper_name(name), []).append(parameter)
    return named
