"""Models side by side: similarity matrices, as in figure 14, and their three spaces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Int

from mechpaint.analyses.claims import Claim, claims_table, disambiguate
from mechpaint.analyses.similarity.figures import draw_borders, shown
from mechpaint.analyses.similarity.findings import Findings
from mechpaint.analyses.similarity.labels import FULL
from mechpaint.analyses.similarity.measures import SIMILARITY
from mechpaint.analyses.similarity.spaces import splits
from mechpaint.display.figures import literal, panels
from mechpaint.report import Figure, Section, Table

if TYPE_CHECKING:
    import pandas as pd

    from mechpaint.statistics.results import ModelFacts

_SURE = 0.975


def beside(tables: Sequence[tuple[pd.DataFrame, ModelFacts]]) -> list[Section]:
    """Draw figure 14 and the three spaces of each model, and test A.3 on models of several depths."""
    names = disambiguate([facts.name for _, facts in tables])
    models = {name: Findings(table, facts) for name, (table, facts) in zip(names, tables, strict=True)}
    tested = _claims(models)
    return [*([_claims_table(tested)] if tested else []), _figure(models), _spaces_table(models)]


def _figure(models: dict[str, Findings]) -> Figure:
    """Draw all matrices on one colour scale."""
    columns = 2 if len(models) == 4 else min(3, len(models))
    drawing, drawn = panels(len(models), columns, 1.2 + 3.9 * columns, 4.2)
    matrices = [findings.matrix(FULL, SIMILARITY) for findings in models.values()]
    low = min(0.0, *(float(np.nanmin(matrix, initial=0.0)) for matrix in matrices))
    for ax, (name, findings), matrix in zip(drawn, models.items(), matrices, strict=True):
        ax.grid(False)
        image = ax.imshow(matrix, vmin=low, vmax=1, cmap="Blues")
        states = shown(findings.names(FULL))
        ax.set_xticks(range(len(states)), states, rotation=90, fontsize=7)
        ax.set_yticks(range(len(states)), states, fontsize=7)
        ax.spines[["bottom", "left"]].set_visible(False)
        ax.set_title(literal(f"{name}, {findings.facts.n_layers} layers"), fontsize=10)
        draw_borders(ax, findings.spaces)
        if ax is drawn[columns - 1]:
            drawing.colorbar(image, ax=drawn, shrink=0.6, label="cosine similarity")
    caption = (
        "Mean cosine similarity of the residual stream before the first layer and after each, over whole windows, all "
        "on one scale. Lines: the split into three stretches with the least variance within blocks; the table gives "
        "its stability. Paper: A.3, figure 14."
    )
    alt = f"Heatmaps of cosine similarity, layers by layers, one per model: {', '.join(models)}."
    return Figure("figure-14", "Figure 14: similarity of several models' layers", caption, alt, drawing)


def _spaces_table(models: dict[str, Findings]) -> Table:
    rows: list[tuple[str, ...]] = []
    for name, findings in models.items():
        depth = str(findings.facts.n_layers)
        if findings.spaces is None:
            rows.append((name, depth, "–", "–", "–", "–", "–"))
            continue
        spaces = findings.spaces
        stretches = (spaces.beginning, spaces.middle, spaces.ending)
        described = (f"{findings.stretch(stretch)} ({len(stretch)})" for stretch in stretches)
        rows.append((name, depth, *described, f"{spaces.explained:.0%}", f"{spaces.sure:.0%}"))
    caption = (
        "The states of each space, with their number in brackets; the share of the variance of similarities that is "
        "between blocks, and the share of bootstrap resamples of windows with the same split. No split: too few "
        "states, or NaN."
    )
    columns = ("model", "layers", "beginning", "middle", "ending", "between blocks", "same split in")
    return Table("spaces", "The three spaces", caption, columns, rows)


def _claims(models: dict[str, Findings]) -> list[Claim]:
    """Test A.3 on unrerouted models, shallowest first; empty if all have the same depth."""
    split = {
        name: findings for name, findings in models.items() if findings.spaces is not None and not findings.rerouted
    }
    if len({findings.facts.n_layers for findings in split.values()}) < 2:
        return []
    by_depth = sorted(split, key=lambda name: split[name].facts.n_layers)
    depths = [split[name].facts.n_layers for name in by_depth]
    sizes = np.stack([_sizes(split[name]) for name in by_depth], axis=1)
    each = "; ".join(
        f"{name} ({depth} layers): {', '.join(map(str, findings))}"
        for name, depth, findings in zip(by_depth, depths, sizes[0].tolist(), strict=True)
    )
    return [
        _claim("The beginning and the middle grow with depth.", each, _grows(sizes[..., :2], depths).all(axis=1)),
        _claim("The ending stays one layer.", each, (sizes[..., 2] == 1).all(axis=1)),
    ]


def _sizes(findings: Findings) -> Int[np.ndarray, "draw 3"]:
    """The number of states in each space, for each draw."""
    matrices = findings.matrices(FULL, SIMILARITY)
    ends = np.pad(splits(matrices)[0], ((0, 0), (1, 1)))
    ends[:, -1] = matrices.shape[-1]
    return np.diff(ends, axis=1)


def _grows(sizes: Int[np.ndarray, "draw model space"], depths: list[int]) -> Bool[np.ndarray, "draw space"]:
    """True where a space is larger in every deeper model; models of equal depth are not compared."""
    pairs = [(a, b) for a in range(len(depths)) for b in range(len(depths)) if depths[a] < depths[b]]
    return np.stack([sizes[:, b] > sizes[:, a] for a, b in pairs]).all(axis=0)


def _claim(text: str, each: str, held: Bool[np.ndarray, " draw"]) -> Claim:
    share = float(held[1:].mean())
    decided = "held" if share >= _SURE else "not held" if share <= 1 - _SURE else "undecided"
    evidence = f"states in the three spaces: {each}; true in {share:.0%} of the resamples"
    return Claim("A.3, figure 14", text, decided, evidence)


def _claims_table(tested: list[Claim]) -> Table:
    caption = (
        "Windows are resampled, and each resample is split anew. A claim held if it is true in at least 97.5 % of the "
        "resamples, and did not hold if in at most 2.5 %. The paper compares sizes of one model family."
    )
    return claims_table(tested, caption)
