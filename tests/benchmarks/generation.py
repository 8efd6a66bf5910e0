"""What generating under a route costs, against no cache and against plain Hugging Face. `make bench` prints it."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table
from transformers import AutoModelForCausalLM, PreTrainedModel

import mechpaint as mp
from mechpaint.hooks import Average, Loop, ReadResidual
from mechpaint.models.presets import PRESETS
from mechpaint.routes.route import Route

NEW = 64
TIMES = 5
LOOPED = Average(4, 13) + Loop(4, 13, times=3)
IN_SEQUENCE = Loop(4, 13, times=3)
"""As many visits, one after the other: what a plain model can be made to do."""


def plain_peer(route: Route) -> PreTrainedModel:
    """Gemma 3 by Hugging Face alone, with a route's layers: parameters are shared, each visit has a cache slot.

    Its attention is computed as in a bridge, not by a fused kernel.
    """
    model = AutoModelForCausalLM.from_pretrained(
        PRESETS["gemma-3-270m"].folder(), attn_implementation="eager", dtype=torch.float32
    )
    kinds, layers = model.config.layer_types, []
    order = [visit.layer for visit in route.visits()]
    for slot, i in enumerate(order):
        layer = model.model.layers[i]
        layers.append(copy.deepcopy(layer, memo={id(p): p for p in layer.parameters()}))
        layers[-1].self_attn.layer_idx = slot
    model.model.layers = torch.nn.ModuleList(layers)
    model.config.num_hidden_layers, model.config.layer_types = len(order), [kinds[i] for i in order]
    return model.eval()


class Bench:
    """A routed model, its plain peer, and a prompt of 16 tokens."""

    def __init__(self) -> None:
        self.model = mp.load("gemma-3-270m")
        n_layers = len(self.model.blocks)
        self.peer = plain_peer(IN_SEQUENCE.route(n_layers))
        self.prompt = torch.randint(10, 200_000, (1, 16), generator=torch.Generator().manual_seed(0))
        if not torch.equal(self.plainly(), self.routed(IN_SEQUENCE)()):
            raise RuntimeError("the plain model and the routed one generate different tokens")

    def plainly(self) -> torch.Tensor:
        """The peer by Hugging Face's loop."""
        return self._hugging_face(self.peer)

    def routed(self, hook_set: mp.HookSet) -> Callable[[], torch.Tensor]:
        """Under a hook set, by Hugging Face's loop."""

        def work() -> torch.Tensor:
            with mp.attach(self.model, hook_set):
                return self._hugging_face(self.model.original_model)

        return work

    def by_the_bridge(self, cached: bool = True) -> Callable[[], torch.Tensor]:
        """Under the looped hook set, by TransformerLens's loop."""

        def work() -> torch.Tensor:
            with mp.attach(self.model, LOOPED):
                return self.model.generate(
                    self.prompt, max_new_tokens=NEW, do_sample=False, stop_at_eos=False, verbose=False,
                    use_past_kv_cache=cached,
                )  # fmt: skip

        return work

    def _hugging_face(self, model: PreTrainedModel) -> torch.Tensor:
        return model.generate(self.prompt, max_new_tokens=NEW, do_sample=False, eos_token_id=None, pad_token_id=0)


def ratios(works: dict[str, Callable[[], object]], below: str, times: int) -> dict[str, str]:
    """Each one's time over that of `below`: they take turns, and a round's ratios are of that round."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for i in range(times):
        for name, work in list(works.items())[:: 1 if i % 2 else -1]:
            began = time.perf_counter()
            work()
            found[name].append(time.perf_counter() - began)
    shown = {}
    for name, seconds in found.items():
        each = [mine / other for mine, other in zip(seconds, found[below], strict=True)]
        fastest = min(seconds) / min(found[below])
        shown[name] = f"{statistics.median(each):.3f}  (of the fastest {fastest:.3f}; {times} times each)"
    return shown


def rows() -> list[tuple[str, str, str]]:
    """What was measured, its value, and what is wanted."""
    bench = Bench()
    with torch.no_grad():
        against_plain = ratios(
            {
                "plain": bench.plainly,
                "routed": bench.routed(IN_SEQUENCE),
                "averaged": bench.routed(LOOPED),
                "bridge": bench.by_the_bridge(),
                "read": bench.routed(LOOPED + ReadResidual()),
            },
            "plain",
            TIMES,
        )
        uncached = ratios({"cached": bench.by_the_bridge(), "uncached": bench.by_the_bridge(cached=False)}, "cached", 2)
    peer = "over plain Hugging Face with 38 layers"
    return [
        (f"10 layers looped three times, {peer}", against_plain["routed"], "at most 1.15"),
        (f"the same as averaged groups, {peer}", against_plain["averaged"], "at most 1.15"),
        (f"the same by TransformerLens's loop, {peer}", against_plain["bridge"], ""),
        (f"the same with every residual stream read, {peer}", against_plain["read"], ""),
        ("without a key-value cache over with one", uncached["uncached"], "at least 3"),
    ]


def main() -> None:
    """Measure and print."""
    table = Table("what", "measured", "wanted", title=f"Gemma-3-270M, {NEW} tokens after 16")
    for row in rows():
        table.add_row(*row)
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
