"""A model along a route, for EleutherAI's lm-evaluation-harness: what `--model mechpaint` means.

Needs the extra `eval`. lm-eval 0.4 knows the models of its own package and those in its registry, and discovers none in
other packages. So the command `mechpaint-lm-eval` registers this one, and then runs `lm_eval`.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
from lm_eval._cli.utils import key_val_to_dict
from lm_eval.api.model import CacheHook
from lm_eval.models import huggingface
from torch import Tensor

import mechpaint
from mechpaint.engine.arguments import as_hook_set, as_route
from mechpaint.engine.kv_cache import layout
from mechpaint.engine.route_runner import RouteRunner
from mechpaint.errors import LoadError, TaskError
from mechpaint.hooks import BUILT_IN
from mechpaint.models.bridges import stored_tokenizer
from mechpaint.models.loading import digest, load, require_tokenizer
from mechpaint.routes.hookset import HookSet
from mechpaint.routes.route import Route
from mechpaint.tasks.compatibility import require_causal

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

__all__ = [
    "OPTIONS",
    "MechpaintLM",
]

OPTIONS = (
    "batch_size",
    "max_batch_size",
    "max_length",
    "truncation",
    "logits_cache",
    "softmax_dtype",
    "mixed_precision_dtype",
    "add_bos_token",
    "prefix_token_id",
    "think_end_token",
    "enable_thinking",
    "chat_template_args",
)
"""The options of lm-eval's `HFLM` that this model takes too, with the same meaning."""
_HFLM: Any = huggingface.HFLM  # lm-eval's decorator hides its type
MAX_GEN_TOKS = 256
"""lm-eval's default limit of generated tokens."""
_OWN = ("pretrained", "route", "kv", "device", "dtype", "tokenizer", "trust_remote_code")
_ONLY_SPEED = ("batch_size", "max_batch_size", "logits_cache")
_OWNER = "mechpaint"


class MechpaintLM(_HFLM):
    """A causal language model along a route, for lm-eval.

    It is lm-eval's own `HFLM` around a model of `mechpaint.load`: requests, batches, padding, chat templates, stop
    texts and truncation work as there. The forward passes, and the generation with its key-value cache, follow the
    route. The model is attached only while it runs.

    Args:
        pretrained: Anything that `mechpaint.load` takes: a preset, a folder, a name on the hub, a model in memory.
        route: The route: its notation, `"0-3 13-4 14-17"`, or hook sets in their text form,
            `"average(4, 13) + loop(4, 13, times=3)"`; from Python also a `Route` or a `HookSet`. By default the model's
            own order.
        kv: How keys and values are cached while generating: `"exact"` or `"averaged"`, as in `attach`.
        device: As in `load`. lm-eval's command line passes `cuda:0` by default; without CUDA that means the fastest
            device there is.
        dtype: As in `load`.
        tokenizer: Used instead of the model's own.
        trust_remote_code: Whether code that comes with the model may run.
        options: Those of `OPTIONS`, as in `HFLM`.

    Raises:
        TaskError: There is no such argument, the hook sets also read or intervene, or the model does not predict the
            next token.
        RouteError: The route cannot be read, or names layers that the model does not have; `kv` is not known.
        HookSetError: There is no such hook set.
        LoadError: There is no such model, it has no tokenizer, or it is not a Hugging Face model.
        CannotReroute: This model's layers cannot be rerouted.
    """

    hook_sets: ClassVar[Mapping[str, type[HookSet]]] = {one.text_name(): one for one in BUILT_IN}
    """The hook sets that a route may name, by text name."""

    def __init__(
        self,
        pretrained: Any,
        route: str | int | Route | HookSet = "",
        kv: str = "exact",
        device: str | None = None,
        dtype: str | torch.dtype | None = None,
        tokenizer: Any = None,
        trust_remote_code: bool = False,
        **options: Any,
    ) -> None:
        _check_names(options, OPTIONS)
        hook_set = as_hook_set(
            str(route) if isinstance(route, int) else route, self.hook_sets
        )  # lm-eval reads '5' as 5
        if not hook_set.only_reroutes():
            raise TaskError(f"lm-eval needs hook sets that only reroute; {route} also reads or hooks")
        self.bridge = load(
            pretrained, device=_device(device), dtype=dtype, tokenizer=tokenizer, trust_remote_code=trust_remote_code
        )
        _require_fit(self.bridge)
        self._runner = RouteRunner(self.bridge)
        self.route = as_route(route if isinstance(route, Route) else hook_set, self._runner.n_layers)
        self.kv = kv
        self._layout = layout(kv, self.route)
        self._options = {name: str(value) for name, value in sorted(options.items()) if name not in _ONLY_SPEED}
        self._name = pretrained if isinstance(pretrained, str | Path) else type(pretrained).__name__
        own: Any = copy.deepcopy(stored_tokenizer(self.bridge))  # HFLM adds a padding token
        super().__init__(pretrained=self.bridge.original_model, tokenizer=own, **options)

    @classmethod
    def create_from_arg_string(cls, arg_string: str, additional_config: dict[str, Any] | None = None) -> MechpaintLM:
        """Make the model of `pretrained=smollm2-135m,route=skip(4, 7)`; commas in brackets or quotes do not separate.

        Args:
            arg_string: Arguments as `key=value`, separated by commas.
            additional_config: More arguments, such as the device; None values are ignored.
        """
        return cls.create_from_arg_obj(key_val_to_dict(arg_string), additional_config)

    @classmethod
    def create_from_arg_obj(
        cls, arg_dict: dict[str, Any], additional_config: dict[str, Any] | None = None
    ) -> MechpaintLM:
        """Make the model of arguments by name.

        Args:
            arg_dict: The arguments.
            additional_config: Further arguments, such as the device; `arg_dict` takes precedence, and None values are
                ignored.

        Raises:
            TaskError: There is no such argument, or no `pretrained`.
        """
        chosen = {name: value for name, value in (additional_config or {}).items() if value is not None}
        _check_names(arg_dict, (*_OWN, *OPTIONS))
        if "pretrained" not in arg_dict:
            raise TaskError("expected a model: --model_args pretrained=smollm2-135m, a folder or a name on the hub")
        return cls(**{**chosen, **arg_dict})

    def get_model_info(self) -> dict[str, Any]:
        """The model's facts in the `config` of lm-eval's results: the route, and what it was computed with."""
        return {
            "model_num_parameters": sum(parameter.numel() for parameter in self.bridge.original_model.parameters()),
            "model_dtype": str(self.bridge.cfg.dtype),
            "model_name": str(self._name),
            "model_layers": self.route.n_layers,
            "model_weights_sha256": digest(self.bridge),
            "route": str(self.route),
            "kv": self.kv,
            "mechpaint_version": mechpaint.__version__,
        }

    def set_cache_hook(self, cache_hook: CacheHook) -> None:
        """Take a cache of answers, `lm_eval --use_cache`, if it is empty or this model's along this route.

        lm-eval's cache knows answers by their requests alone, and would mix up those of different models or routes.

        Args:
            cache_hook: The hook with the cache.

        Raises:
            TaskError: It holds answers of another model, of another route, or under other settings.
        """
        if cache_hook.dbdict is not None:
            _claim(cast("MutableMapping[str, Any]", cache_hook.dbdict), self._identity())
        super().set_cache_hook(cache_hook)

    def _identity(self) -> str:
        """The facts that answers depend on besides the requests."""
        vocabulary = json.dumps(sorted(self.tokenizer.get_vocab().items()))
        facts = {
            "weights": digest(self.bridge),
            "vocabulary": hashlib.sha256(vocabulary.encode()).hexdigest(),
            "route": str(self.route),
            "kv": self.kv,
            **self._options,
        }
        return json.dumps(facts)

    def _model_call(self, inps: Tensor, attn_mask: Tensor | None = None, labels: Tensor | None = None) -> Tensor:
        with self._runner.run_along(self.route, self._layout):
            return cast(Tensor, super()._model_call(inps, attn_mask, labels))

    def _model_generate(self, context: Tensor, max_length: int, stop: list[str], **generation_kwargs: Any) -> Tensor:
        with self._runner.run_along(self.route, self._layout):
            return cast(Tensor, super()._model_generate(context, max_length, stop, **generation_kwargs))


def _check_names(given: Mapping[str, Any], known: tuple[str, ...]) -> None:
    unknown = [name for name in given if name not in known]
    if unknown:
        raise TaskError(
            f"the model mechpaint has no argument {unknown[0]!r}; it has: {', '.join((*_OWN, *OPTIONS))}. "
            "Quote a route that has commas outside brackets"
        )


def _device(asked: str | None) -> str | None:
    """Ignore `cuda:0`, which lm-eval's command line passes by default on any machine, if there is no CUDA."""
    return None if asked == "cuda:0" and not torch.cuda.is_available() else asked


def _require_fit(model: TransformerBridge) -> None:
    require_causal(model, "lm-eval")
    require_tokenizer(model, "lm-eval")
    whole = model.original_model
    if not hasattr(whole, "generate"):
        raise LoadError(f"lm-eval needs a Hugging Face model, got a {type(whole).__name__}")


def _claim(kept: MutableMapping[str, Any], mine: str) -> None:
    """Record whose answers a cache holds, or refuse it."""
    owner = kept.get(_OWNER)
    if owner == mine:
        return
    if owner is None and len(kept) == 0:
        kept[_OWNER] = mine
        return
    theirs: dict[str, str] = json.loads(owner) if isinstance(owner, str) else {}
    differs = [f"{name} {theirs.get(name)!r}" for name, value in json.loads(mine).items() if theirs.get(name) != value]
    whose = f"along another route, or of another model: {', '.join(differs)}" if theirs else "of another model"
    raise TaskError(
        f"the cache of --use_cache holds answers {whose}. lm-eval tells answers apart by their requests alone and "
        "would take them for this model's: give each model and route a cache of its own"
    )
