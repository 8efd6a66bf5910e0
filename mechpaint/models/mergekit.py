"""A route as a configuration for mergekit (https://github.com/arcee-ai/mergekit), which makes such checkpoints too."""

from __future__ import annotations

from collections.abc import Sequence

import yaml

from mechpaint.models.presets import PRESETS
from mechpaint.routes.steps import ascending_runs


def passthrough(model: str, order: Sequence[int], dtype: str, rearranged: Sequence[str] = ()) -> str:
    """The text of a `mergekit.yaml`, a passthrough merge of slices; it names settings that mergekit cannot reorder."""
    slices = [
        {"sources": [{"model": model, "layer_range": [first, last + 1]}]} for first, last in ascending_runs(order)
    ]
    merge = yaml.safe_dump(
        {"merge_method": "passthrough", "dtype": dtype, "slices": slices},
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=None,
    )
    return "".join(f"# {line}\n" for line in _remarks(model, rearranged)) + merge


def _remarks(model: str, rearranged: Sequence[str]) -> list[str]:
    remarks = ["mergekit-yaml mergekit.yaml OUT writes the same weights as those beside this file."]
    if model in PRESETS:
        remarks.append(
            f"{model} is mechpaint's own name: put the model's folder, or its name on the hub, in its place."
        )
    if rearranged:
        remarks += [
            f"mergekit cannot reorder {', '.join(rearranged)}. Where the number of layers changes, it stops;",
            "where it stays, put the config.json beside this file in the place of the one that mergekit writes.",
        ]
    return remarks
