"""`export`: a route as a checkpoint of its own, which plain transformers loads."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

import mechpaint
from mechpaint.display.sanitize import short
from mechpaint.engine.arguments import Routing, as_hook_set, as_route
from mechpaint.engine.route_runner import RouteRunner
from mechpaint.engine.sweep import sweep
from mechpaint.errors import CannotExport
from mechpaint.files import written_folder
from mechpaint.models.bridges import stored_tokenizer
from mechpaint.models.checkpoint import Checkpoint
from mechpaint.models.comparison import relative_difference
from mechpaint.models.mergekit import passthrough
from mechpaint.models.rearranged import single_layers
from mechpaint.routes.route import Route

if TYPE_CHECKING:
    import transformers

LONGEST_WINDOW = 1024
"""The check's tokens reach beyond sliding windows of this many tokens and less; settings are compared in any case."""

_BEYOND = 64
_COMPARED = 32


_NO_GROUPS = (
    "A checkpoint is a list of layers that "
    "run one after another, and none of them can run several and merge what they give: export a route without "
    "groups, or run this one with mechpaint.attach"
)
"""Why a route with groups is refused."""


@dataclass(frozen=True)
class Exported:
    """A checkpoint that `export` has written.

    Attributes:
        folder: The checkpoint.
        route: The route that it runs.
        order: The model's layers in the order in which the checkpoint has them.
        tokens: How many random tokens the checkpoint was checked on.
        difference: The largest absolute difference there between its logits and the routed model's.
    """

    folder: Path
    route: Route
    order: tuple[int, ...]
    tokens: int
    difference: float

    @property
    def agreement(self) -> str:
        """The agreement of the two, in words."""
        return f"up to {self.difference:.2g}" if self.difference else "bit for bit"


def export(
    model: TransformerBridge,
    what: Routing,
    out: str | Path,
    *,
    name: str | None = None,
    tokenizer: transformers.PreTrainedTokenizerBase | None = None,
    made_by: str = "mechpaint.export",
) -> Exported:
    """Write a checkpoint whose layers are a route, for plain transformers: no mechpaint, no hooks, no model code.

    The folder holds what `save_pretrained` writes, the tokenizer, a `README.md`, and the same as a `mergekit.yaml`.
    Before it gets its name, the checkpoint is loaded from disk and its logits (of a model without a head, its last
    hidden states) are compared with the routed model's, on random tokens that reach beyond sliding windows of up to
    `LONGEST_WINDOW` tokens.

    Args:
        model: A bridge on a Hugging Face model, in evaluation mode.
        what: A route, hook sets that only reroute, or a text of either, such as `"0-3 13-4 14-17"`.
        out: Where to; a new or an empty folder.
        name: What `README.md` and `mergekit.yaml` call the model; by default what it was loaded from.
        tokenizer: By default the model's own, as it was stored.
        made_by: The command to be named in `README.md`.

    Raises:
        CannotExport: The route has groups, the model's layers cannot stand where the route wants them, there is
            something at `out`, or the check has failed.
        CannotReroute: This model's layers cannot be rerouted.
        RouteError: A route that cannot be read, or of another number of layers.
        HookSetError: A hook set that cannot be read.
        CannotWrite: The disk is full, or the place cannot be written.
    """
    folder = free_folder(out)
    if not as_hook_set(what).only_reroutes():
        raise CannotExport(f"a checkpoint is a route and has no hooks; expected hook sets that reroute, got {what}")
    route = as_route(what, RouteRunner(model).n_layers)
    order = single_layers(route, CannotExport, _NO_GROUPS)
    if any(weight.is_meta for weight in model.original_model.parameters()):
        raise CannotExport(
            "some weights of this model are on disk or offloaded, and a checkpoint needs them in memory: load it "
            "without a device map, on the CPU if need be"
        )
    checkpoint = Checkpoint.of(model, order)
    name = name or str(model.cfg.model_name)
    tokenizer = tokenizer or stored_tokenizer(model)
    dtype = str(checkpoint.module.dtype).removeprefix("torch.")
    with written_folder(folder) as scratch:
        checkpoint.save(scratch)
        tokens, difference = _check(model, route, checkpoint, scratch)
        if tokenizer is not None:
            tokenizer.save_pretrained(scratch)
        done = Exported(folder, route, order, tokens, difference)
        (scratch / "README.md").write_text(_card(done, type(checkpoint.module).__name__, name, made_by), "utf-8")
        (scratch / "mergekit.yaml").write_text(passthrough(name, order, dtype, checkpoint.rearranged), "utf-8")
    return done


def free_folder(out: str | Path) -> Path:
    """The absolute path of a folder that is to be made."""
    folder = Path(out).expanduser().absolute()
    try:
        folder.exists()
    except (OSError, ValueError) as error:  # too long for a name, or with a NUL
        raise CannotExport(f"cannot write to {short(str(out))}: {getattr(error, 'strerror', None) or error}") from error
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise CannotExport(f"there is something at {out} already; expected a new or an empty folder: choose another")
    return folder


def _check(model: TransformerBridge, route: Route, checkpoint: Checkpoint, folder: Path) -> tuple[int, float]:
    """Compare the checkpoint's logits with the routed model's: the number of tokens, and the largest difference."""
    tokens = _tokens(model, checkpoint)
    output = checkpoint.output(folder, tokens)
    if output.ndim == 3:
        positions = torch.zeros_like(tokens, dtype=torch.bool)
        positions[:, -_COMPARED:] = True
        ((_, expected),) = sweep(model, tokens, [route], positions=positions)
        output = output[0, -len(expected) :]
    else:  # one output for the whole sequence
        ((_, expected),) = sweep(model, tokens, [route])
    difference = output.to(expected.device).double() - expected.double()
    relative = relative_difference(output.to(expected.device), expected)
    largest = float(difference.abs().max())
    if not relative <= _rounding(expected):
        raise CannotExport(
            f"the checkpoint's logits differ from the routed model's by {largest:.2g} (relatively {relative:.2g}) on "
            f"{tokens.shape[1]} random tokens, so it was not written. Weights or hooks that were changed in the bridge "
            "alone are not in the Hugging Face model: load the model anew"
        )
    return tokens.shape[1], largest


def _rounding(logits: Float[Tensor, "position vocab"]) -> float:
    """The relative distance allowed between two ways to the same logits; other orders of layers are about 1 apart."""
    return min(0.2, 1000 * max(torch.finfo(logits.dtype).eps, torch.finfo(torch.float32).eps))


def _tokens(model: TransformerBridge, checkpoint: Checkpoint) -> Int[Tensor, "1 position"]:
    window = checkpoint.window if checkpoint.window <= LONGEST_WINDOW else 0
    # RoBERTa counts two positions more than it can take
    length = min(window + _BEYOND, (checkpoint.positions or 2**20) - 2)
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, int(model.cfg.d_vocab), (1, length), generator=generator).to(model.cfg.device)


def _card(done: Exported, kind: str, name: str, made_by: str) -> str:
    return f"""---
library_name: transformers
---

# {_code(name)} along the route {_code(str(done.route))}

The layers of {_code(name)}, which has {done.route.n_layers}, in this order:

    {_wrapped(done.order)}

It has no code of its own; transformers loads it as any other model:

```python
import transformers

model = transformers.{kind}.from_pretrained("this folder")
```

- Made by mechpaint {mechpaint.__version__}: {_code(made_by)}
- Checked on {done.tokens} random tokens: the logits are those of the routed model, {done.agreement}.
- A layer that occurs several times has weights of its own each time.
- `mergekit.yaml` says the same to mergekit.
- The weights stand under the licence of the model that they were taken from.
"""


def _code(text: str) -> str:
    """A text as Markdown code, whatever is in it."""
    line = " ".join(text.split())
    longest = max(map(len, re.findall("`+", line)), default=0)
    fence = "`" * (longest + 1)
    return f"{fence} {line} {fence}" if longest else f"`{line}`"


def _wrapped(order: Sequence[int]) -> str:
    rows = [order[i : i + 20] for i in range(0, len(order), 20)]
    return "\n    ".join(" ".join(map(str, row)) for row in rows)
